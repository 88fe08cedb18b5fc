"""Play a window's end: what PortOne does, whom it tells and when, and what the browser is told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from sandbox.browser.confirmation import ask_shop
from sandbox.browser.opening import OTHER_AMOUNT, read_vbank_due
from sandbox.browser.outcome_names import WindowOutcome
from sandbox.browser.providers import REFUSED
from sandbox.browser.results import OUR_CODE, Ending, make_result
from sandbox.browser.windows import Result, Window
from sandbox.errors import Refused
from sandbox.payment import Payment
from sandbox.refunds import Refund
from sandbox.world import World

TAMPERED_AMOUNT = 100
TAMPERED_CURRENCIES = ("USD", "JPY")
REFUND_REASON = "고객 요청"
NOT_CERTIFIED = "본인인증에 실패하였습니다."
CERTIFICATION_CLOSED = "사용자가 본인인증을 취소하였습니다."


async def choose(world: World, window: Window, outcome: WindowOutcome) -> Result:
    """End the window so, unless it has ended; whoever chooses twice gets the first result."""
    if window.playing is None:
        window.playing = asyncio.get_running_loop().create_task(_play(world, window, outcome))
    # Shielded, because a browser that leaves must not stop a payment that is under way.
    return await asyncio.shield(window.playing)


async def _play(world: World, window: Window, outcome: WindowOutcome) -> Result:
    world.windows.tell(window, "chosen", outcome=outcome.value)
    if window.payment is None:
        ending = _certified(window, outcome)
    else:
        try:
            ending = await _PLAYS[outcome](world, window, window.payment)
        except Refused as refused:  # a test has moved the payment meanwhile, through the control API
            ending = _failure(window, window.payment, OUR_CODE, str(refused))
    result = make_result(window.opening, ending)
    how = "redirected" if window.opening.mode == "redirect" else "called_back"
    world.windows.tell(window, how, outcome=outcome.value, data=result.data, return_url=result.return_url)
    return result


async def _paid(world: World, window: Window, payment: Payment) -> Ending:
    """Approved; the webhook is on its way while the browser is told."""
    if failure := await _approve(world, window, payment):
        return failure
    world.sender.announce_soon(payment)
    return _success(payment)


async def _without_webhook(world: World, window: Window, payment: Payment) -> Ending:
    return await _approve(world, window, payment) or _success(payment)


async def _webhook_first(world: World, window: Window, payment: Payment) -> Ending:
    """The browser is told when the webhook has been answered: PortOne's webhook priority."""
    if failure := await _approve(world, window, payment):
        return failure
    await world.sender.announce(payment)
    return _success(payment)


async def _callback_first(world: World, window: Window, payment: Payment) -> Ending:
    if failure := await _approve(world, window, payment):
        return failure
    _later(world, partial(world.sender.announce, payment))
    return _success(payment)


async def _slow(world: World, window: Window, payment: Payment) -> Ending:
    """The browser is told while the payment is still `ready`; it is approved some seconds later."""
    if failure := await _confirm(world, window, payment):
        return failure

    async def settle() -> None:
        world.ledger.pay(payment)
        await world.sender.announce(payment)

    _later(world, settle)
    # Kiwoompay says so of a payment that ends paid.
    says = False if window.opening.provider.code == "daou" else None
    return Ending(payment.imp_uid, payment.merchant_uid, payment.fields, says_success=says)


async def _then_refunded(world: World, window: Window, payment: Payment) -> Ending:
    ending = await _paid(world, window, payment)

    async def refund() -> None:
        world.ledger.cancel(payment, Refund(reason=REFUND_REASON, webhook=True))
        await world.sender.announce(payment)

    if ending.success:
        _later(world, refund)
    return ending


async def _tampered_amount(world: World, window: Window, payment: Payment) -> Ending:
    """The page asked for less than the shop's price. PortOne refuses only where the shop had prepared the amount."""
    if world.ledger.prepared_for(payment.owner, payment.merchant_uid) is not None:
        return Ending(None, payment.merchant_uid, {}, False, OUR_CODE, OTHER_AMOUNT)
    amount = payment.fields["amount"]
    world.ledger.overwrite(payment, {"amount": TAMPERED_AMOUNT if amount != TAMPERED_AMOUNT else amount + 100})
    return await _paid(world, window, payment)


async def _tampered_currency(world: World, window: Window, payment: Payment) -> Ending:
    currency = next(one for one in TAMPERED_CURRENCIES if one != payment.fields["currency"])
    world.ledger.overwrite(payment, {"currency": currency})
    return await _paid(world, window, payment)


async def _test_channel(world: World, window: Window, payment: Payment) -> Ending:
    world.ledger.move_to_test_channel(payment)
    return await _paid(world, window, payment)


async def _issued(world: World, window: Window, payment: Payment) -> Ending:
    """A virtual account: a success to the browser, though nothing is paid."""
    world.ledger.issue(payment, read_vbank_due(window.opening.params))
    world.sender.announce_soon(payment)
    return _success(payment)


async def _failed(world: World, window: Window, payment: Payment) -> Ending:
    world.ledger.fail(payment, REFUSED)
    return _failure(window, payment, window.opening.provider.fail_code, REFUSED)


async def _closed(world: World, window: Window, payment: Payment) -> Ending:
    provider = window.opening.provider
    text = provider.close_text.format(imp_uid=payment.imp_uid)
    if provider.close_fails:
        world.ledger.fail(payment, text)
    else:
        world.ledger.abandon(payment)
    return _failure(window, payment, provider.close_code, text)


_PLAYS: dict[WindowOutcome, Callable[[World, Window, Payment], Awaitable[Ending]]] = {
    WindowOutcome.PAID: _paid,
    WindowOutcome.VBANK_ISSUED: _issued,
    WindowOutcome.FAILED: _failed,
    WindowOutcome.CLOSED: _closed,
    WindowOutcome.TAMPERED_AMOUNT: _tampered_amount,
    WindowOutcome.TAMPERED_CURRENCY: _tampered_currency,
    WindowOutcome.TEST_CHANNEL: _test_channel,
    WindowOutcome.SLOW: _slow,
    WindowOutcome.PAID_WITHOUT_WEBHOOK: _without_webhook,
    WindowOutcome.WEBHOOK_FIRST: _webhook_first,
    WindowOutcome.CALLBACK_FIRST: _callback_first,
    WindowOutcome.PAID_THEN_REFUNDED: _then_refunded,
}


async def _approve(world: World, window: Window, payment: Payment) -> Ending | None:
    """Ask the shop's confirm_url, then take the money; return the failure where the shop says no."""
    if failure := await _confirm(world, window, payment):
        return failure
    world.ledger.pay(payment)
    return None


async def _confirm(world: World, window: Window, payment: Payment) -> Ending | None:
    url = window.opening.confirm_url
    reason = await ask_shop(world.sender.session, url, payment) if url else None
    if reason is None:
        return None
    world.windows.tell(window, "not_confirmed", reason=reason)
    world.ledger.fail(payment, reason)
    return _failure(window, payment, OUR_CODE, reason)


def _later(world: World, happen: Callable[[], Awaitable[None]]) -> None:
    async def wait_and_happen() -> None:
        await asyncio.sleep(world.windows.later_seconds)
        try:
            await happen()
        except Refused:  # a test has moved the payment meanwhile
            return

    world.sender.in_background(wait_and_happen())


def _success(payment: Payment) -> Ending:
    return Ending(payment.imp_uid, payment.merchant_uid, payment.fields)


def _failure(window: Window, payment: Payment, code: str | None, text: str) -> Ending:
    return Ending(payment.imp_uid, window.merchant_uid, payment.fields, False, code, text)


def _certified(window: Window, outcome: WindowOutcome) -> Ending:
    """A certification has no payment."""
    ending = Ending(window.imp_uid, window.merchant_uid, {})
    provider = window.opening.provider
    match outcome:
        case WindowOutcome.FAILED:
            return replace(ending, success=False, error_code=provider.fail_code, error_msg=NOT_CERTIFIED)
        case WindowOutcome.CLOSED:
            return replace(ending, success=False, error_code=provider.close_code, error_msg=CERTIFICATION_CLOSED)
        case _:
            return ending
