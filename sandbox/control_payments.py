"""The control API's payments: open them, move them, read all that is true of them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from sandbox.answers import answer
from sandbox.errors import BadInput
from sandbox.inputs import Body, read_object
from sandbox.ledger import Ledger, Terms
from sandbox.payment import LONGEST_IMP_UID, LONGEST_MERCHANT_UID, Payment
from sandbox.refunds import Refund
from sandbox.world import WORLD, World

MOST_BULK = 100_000
MOST_AT_ONCE = 1000

ACTIONS = ("pay", "fail", "issue", "deposit", "cancel", "finish-cancel", "expire", "abandon", "set")
# PortOne announces neither an ordinary failure nor an abandoned window; a raw overwrite is no event at all.
ANNOUNCED_ACTIONS = ("pay", "issue", "deposit", "cancel")


async def open_payment(request: web.Request) -> web.Response:
    """`POST /_control/payments`: opens a payment in `ready` and sends no webhook."""
    world, body = request.app[WORLD], read_object(await request.read())
    force = body.flag("force")
    terms = _read_terms(world, body)
    body.finish()
    return answer(truth(world.ledger.open(terms, force=force)), status=201)


async def pay_at_once(request: web.Request) -> web.Response:
    """`POST /_control/pay`: opens and pays a payment at once. It answers when the webhook was answered."""
    world, body = request.app[WORLD], read_object(await request.read())
    force, webhook = body.flag("force"), body.flag("webhook", True)
    terms = _read_terms(world, body)
    body.finish()
    payment = _open_and_pay(world, terms, force=force)
    if webhook:
        await world.sender.announce(payment)
    return answer(truth(payment), status=201)


async def pay_in_bulk(request: web.Request) -> web.Response:
    """`POST /_control/bulk`: makes `count` paid payments for the orders `prefix-0`, `prefix-1`, …"""
    world, body = request.app[WORLD], read_object(await request.read())
    count, prefix = body.whole("count", 1, 1, MOST_BULK), body.text("prefix", LONGEST_MERCHANT_UID - 7)
    at_once, webhook = body.whole("concurrency", 50, 1, MOST_AT_ONCE), body.flag("webhook")
    force = body.flag("force")
    terms = _read_terms(world, body, merchant_uid=prefix)
    body.finish()
    orders = [replace(terms, merchant_uid=f"{prefix}-{number}") for number in range(count)]
    payments = [_open_and_pay(world, order, force=force) for order in orders]
    if webhook:
        await _announce_all(world, payments, at_once)
    return answer({"count": count, "imp_uids": [payment.imp_uid for payment in payments]}, status=201)


async def move_payment(request: web.Request) -> web.Response:
    """`POST /_control/payments/{imp_uid}/{action}`: makes one of ACTIONS, then sends its webhook if it has one."""
    world, body = request.app[WORLD], read_object(await request.read())
    action = request.match_info["action"]
    if action not in ACTIONS:
        raise BadInput(f"The action must be one of {', '.join(ACTIONS)}.")
    payment = world.ledger.payment(request.match_info["imp_uid"])
    webhook, announced = body.optional_flag("webhook"), _announced(payment, action)
    move = _read_move(world.ledger, payment, action, body)
    body.finish()
    changes = len(payment.changes)
    move()
    if webhook is None:
        webhook = announced and len(payment.changes) > changes
    if webhook:
        await world.sender.announce(payment)
    return answer(truth(payment))


async def list_payments(request: web.Request) -> web.Response:
    """`GET /_control/payments[?merchant_uid=][&history=1]`: lists the payments as they are, without the fault switches.

    With `history` each has its every change, the opening first: what it set, and when.
    """
    ledger, merchant_uid = request.app[WORLD].ledger, request.query.get("merchant_uid")
    payments = ledger.payments() if merchant_uid is None else ledger.attempts(merchant_uid)
    shown = truth_with_history if request.query.get("history") == "1" else truth
    return answer({"payments": [shown(payment) for payment in payments]})


async def get_payment(request: web.Request) -> web.Response:
    """`GET /_control/payments/{imp_uid}`: answers one payment as it is."""
    return answer(truth(request.app[WORLD].ledger.payment(request.match_info["imp_uid"])))


def truth(payment: Payment) -> dict[str, Any]:
    """Return V1's fields together with the facts that V1 does not show."""
    return payment.fields | {
        "account": payment.account,
        "tier": payment.tier,
        "test": payment.test,
        "notice_urls": payment.notice_urls,
        "async_cancel": payment.async_cancel,
        "pending_cancels": len(payment.pending_cancels),
        "changed_at": payment.changes[-1].at,
        "changes": len(payment.changes),
    }


def truth_with_history(payment: Payment) -> dict[str, Any]:
    """Return the truth, and how it came about."""
    history = [{"at": change.at, "fields": change.fields} for change in payment.changes]
    return truth(payment) | {"history": history}


def _read_terms(world: World, body: Body, merchant_uid: str | None = None) -> Terms:
    currency = body.currency()
    return Terms(
        merchant_uid=merchant_uid or body.text("merchant_uid", LONGEST_MERCHANT_UID),
        amount=body.amount(currency),
        currency=currency,
        tier=body.optional_text("tier", 10),
        test=body.flag("sandbox"),
        pay_method=body.optional_text("pay_method", 40) or "card",
        imp_uid=None if merchant_uid else body.optional_text("imp_uid", LONGEST_IMP_UID),
        notice_urls=_read_notice_urls(world, body),
        async_cancel=body.flag("async_cancel"),
        fields=body.mapping("fields"),
        account=world.read_account(body),
    )


def _read_notice_urls(world: World, body: Body) -> tuple[str, ...]:
    url = body.url("notice_url", world.addresses)
    return () if url is None else (url,)


def _open_and_pay(world: World, terms: Terms, *, force: bool) -> Payment:
    payment = world.ledger.open(terms, force=force)
    if terms.pay_method == "vbank":
        world.ledger.issue(payment)
        world.ledger.deposit(payment)
    else:
        world.ledger.pay(payment, force=force)
    return payment


def _announced(payment: Payment, action: str) -> bool:
    """Say whether PortOne sends a webhook for this move, if it changes anything."""
    if action == "finish-cancel":
        return any(pending.webhook for pending in payment.pending_cancels[:1])
    return action in ANNOUNCED_ACTIONS


def _read_move(ledger: Ledger, payment: Payment, action: str, body: Body) -> Callable[[], None]:
    """Return the move that the request asks for, to be made by calling it."""
    force = body.flag("force")
    match action:
        case "cancel":
            return _read_cancel(ledger, payment, body, force=force)
        case "finish-cancel":
            return partial(ledger.finish_cancel, payment)
        case "fail":
            reason = body.optional_text("reason") or "카드사 승인이 거절되었습니다."
            return partial(ledger.fail, payment, reason, force=force)
        case "issue":
            due_at = body.whole("vbank_date", 0, 0, 2**40)
            return partial(ledger.issue, payment, due_at, force=force)
        case "set":
            return partial(ledger.overwrite, payment, body.mapping("fields"))
        case _:
            moves = {"pay": ledger.pay, "deposit": ledger.deposit, "expire": ledger.expire}
            return partial(moves.get(action, ledger.abandon), payment, force=force)


def _read_cancel(ledger: Ledger, payment: Payment, body: Body, *, force: bool) -> Callable[[], None]:
    """Read a cancel from the console: a refund, or the end of a virtual account that nobody paid into."""
    amount = body.optional_amount("amount", str(payment.fields["currency"]))
    reason = body.optional_text("reason")
    if payment.account_issued:
        return partial(ledger.void, payment, reason)
    return partial(ledger.cancel, payment, Refund(amount, reason=reason, webhook=True), force=force)


async def _announce_all(world: World, payments: list[Payment], at_once: int) -> None:
    """Send the webhooks of all payments, at most `at_once` at the same time."""
    waiting = iter(payments)

    async def announce_one_after_another() -> None:
        for payment in waiting:
            await world.sender.announce(payment)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(announce_one_after_another())
