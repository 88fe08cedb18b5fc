"""`problems` lists payments with problems, has them refunded, and resolves them."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.db.pool import Pool
from service.domain.payment import ACCOUNT
from service.domain.refund import Policy
from service.portone.client import PortOne
from service.settings import Settings
from tests.cli.test_commands import run
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import TIMES, Shop, make_refunder
from workers.parts import Parts, make_parts

WHO = ("--who", "kim", "--why", "the customer called")


@pytest.fixture
async def shop(settings: Settings, pool: Pool, sandbox: RunningSandbox) -> AsyncIterator[Shop]:
    async with make_parts(settings) as parts:
        yield Shop(pool, sandbox, replace(parts.verifier, times=TIMES))


def _variables(settings: Settings) -> dict[str, str]:
    return {"DATABASE_URL": settings.database_url.get_secret_value()}


async def test_without_problems_it_says_so(tmp_path: Path, settings: Settings) -> None:
    """Without problems the list is a sentence, and the exit code is 0."""
    assert await run(tmp_path, "problems", "list", **_variables(settings)) == (0, "There are no open problems.\n")


async def test_problems_are_listed(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """Each problem is a line with kind, order, payment and money held, also for an order that nobody registered."""
    _, duplicate = await shop.paid_twice("order-1")
    unknown = (await shop.sandbox.pay("order-9", 6.0, currency="USD"))["imp_uid"]
    await shop.announce("order-9", unknown)
    code, output = await run(tmp_path, "problems", "list", **_variables(settings))
    assert (code, output.splitlines()) == (
        0,
        [
            f"duplicate_payment  order-1  {duplicate}  holds 64900 KRW",
            "Beside these, 1 payment holds money of unregistered orders: see --foreign.",
        ],
    )
    foreign = await run(tmp_path, "problems", "list", "--foreign", **_variables(settings))
    assert foreign == (0, f"unknown_order  order-9  {unknown}  holds 6.00 USD\n")


async def test_a_test_payment_moved_no_money(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A test-channel payment is not said to hold money."""
    imp_uid = await shop.paid_wrongly("order-1", 64900, sandbox=True)
    line = f"test_channel  order-1  {imp_uid}  test payment of 64900 KRW: no money moved\n"
    assert await run(tmp_path, "problems", "list", **_variables(settings)) == (0, line)


async def test_a_partial_refund_reads_as_one(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """Of a payment that was given back in part, the list has what is left of how much."""
    imp_uid = await shop.paid_wrongly("order-1", 100)
    await shop.sandbox.move(imp_uid, "cancel", amount=30)
    await shop.pool.execute("UPDATE last_looks SET looked_at = looked_at - interval '1 minute'")
    await shop.announce("order-1", imp_uid)
    _, listed = await run(tmp_path, "problems", "list", **_variables(settings))
    assert listed == f"wrong_amount  order-1  {imp_uid}  holds 70 KRW of 100 KRW: 30 KRW was given back\n"


async def test_an_account_waits_for_its_money(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A virtual account with the wrong amount waits for money, and holds none yet."""
    await shop.order("order-1")
    imp_uid = (await shop.sandbox.open("order-1", 100, pay_method="vbank"))["imp_uid"]
    await shop.sandbox.move(imp_uid, "issue")
    await shop.announce("order-1", imp_uid)
    _, listed = await run(tmp_path, "problems", "list", **_variables(settings))
    assert listed == f"wrong_amount  order-1  {imp_uid}  waits for a deposit of 100 KRW\n"


async def test_odd_fields_are_shown(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """An unreadable payment's line has the amount that can be read, and the odd fields as PortOne gave them."""
    await shop.order("order-1")
    imp_uid = (await shop.sandbox.pay("order-1", 64900))["imp_uid"]
    await shop.sandbox.move(imp_uid, "set", fields={"status": "in_process", "cancel_amount": "0"})
    await shop.announce("order-1", imp_uid)
    _, listed = await run(tmp_path, "problems", "list", **_variables(settings))
    odd = 'unreadable: cancel_amount "0", status "in_process"'
    assert listed == f"unreadable_payment  order-1  {imp_uid}  PortOne says 64900 KRW  {odd}\n"


async def test_own_problems_come_first_and_foreign_money_pages(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """Foreign payments never hide the shop's own problem; they are listed apart, by pages and filters."""
    own = await shop.paid_wrongly("order-1", 100)
    foreign = sorted((await shop.sandbox.control("POST", "bulk", count=5, prefix="zzz", amount=10))["imp_uids"])
    await shop.announce("", *foreign)
    code, listed = await run(tmp_path, "problems", "list", "--limit", "1", **_variables(settings))
    assert (code, listed.splitlines()) == (
        0,
        [
            f"wrong_amount  order-1  {own}  holds 100 KRW",
            "Beside these, 5 payments hold money of unregistered orders: see --foreign.",
        ],
    )
    words = ("problems", "list", "--foreign", "--limit", "3")
    _, first = await run(tmp_path, *words, **_variables(settings))
    assert first.splitlines()[-1] == f"These are 3 of 5: --after {foreign[2]} goes on."
    _, second = await run(tmp_path, *words, "--after", foreign[2], **_variables(settings))
    assert [line.split()[2] for line in (first.splitlines()[:3] + second.splitlines())] == foreign
    _, narrowed = await run(tmp_path, *words, "--number", "zzz-4", **_variables(settings))
    assert narrowed.count("zzz-") == 1
    _, late = await run(tmp_path, *words, "--since", "2999-01-01", **_variables(settings))
    assert late == "There is no such money of unregistered orders.\n"
    not_ours = await run(tmp_path, *words, **_variables(settings), ORDER_PREFIXES="order-,shop-")
    assert not_ours == (0, "There is no such money of unregistered orders.\n")
    code, refused = await run(tmp_path, "problems", "list", "--number", "zzz", **_variables(settings))
    assert (code, "--foreign" in refused) == (1, True)


async def test_a_person_has_a_payment_refunded(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A person's refund keeps who and why, ignores the policy, and is sent by a worker like an automatic one."""
    _, duplicate = await shop.paid_twice("order-1")
    code, output = await run(tmp_path, "problems", "refund", duplicate, *WHO, **_variables(settings))
    assert (code, output.partition(" is to be refunded (duplicate_payment)")[0]) == (
        0, f"Recorded: {duplicate} of order-1",
    )  # fmt: skip
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["who"], refund["why"], refund["by_person"]) == (
        "intended", "kim", "the customer called", True,
    )  # fmt: skip
    _, listed = await run(tmp_path, "problems", "list", **_variables(settings))
    assert re.search(r"refund intended, by kim on \d{4}-\d\d-\d\d \d\d:\d\d: the customer called$", listed.rstrip())
    actions = await shop.pool.fetch("SELECT who, why, action, subject FROM operator_actions")
    assert [tuple(action) for action in actions] == [("kim", "the customer called", "problems.refund", duplicate)]
    await _send(settings, shop)
    assert (await shop.refund(duplicate))["state"] == "refunded"
    moves = await shop.pool.fetch("SELECT state, who, why FROM refund_moves ORDER BY id")
    assert [tuple(move) for move in moves][:2] == [
        ("intended", "kim", "the customer called"),
        ("asked", "kim", "the customer called"),
    ]
    assert await run(tmp_path, "problems", "list", **_variables(settings)) == (0, "There are no open problems.\n")


def _client(parts: Parts) -> PortOne:
    client = parts.verifier.accounts[ACCOUNT]
    assert isinstance(client, PortOne)
    return client


async def _send(settings: Settings, shop: Shop) -> None:
    """Run a worker's refunds 10 minutes later, under the default policy."""
    await shop.let_the_finding_age()
    async with make_parts(settings) as parts:
        refunder = make_refunder(parts.verifier, _client(parts), policy=Policy())
        assert await refunder.refund_due() == 1


@pytest.mark.parametrize(
    ("terms", "why"),
    [({"sandbox": True}, "a test payment holds no money"), ({"pay_method": "vbank"}, "an account to refund to")],
)
async def test_what_cannot_be_refunded_is_said(
    tmp_path: Path, settings: Settings, shop: Shop, terms: dict[str, Any], why: str
) -> None:
    """A payment that cannot be refunded is refused with the reason, and no refund is recorded."""
    payment = await shop.paid_wrongly("order-1", **terms)
    code, output = await run(tmp_path, "problems", "refund", payment, *WHO, **_variables(settings))
    assert (code, output.count("\n"), why in output) == (1, 1, True)
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_a_refund_is_not_asked_for_twice(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A refund that was sent is not sent again, even for a person."""
    _, duplicate = await shop.paid_twice("order-1")
    await run(tmp_path, "problems", "refund", duplicate, *WHO, **_variables(settings))
    await shop.sandbox.faults(api_answer="reset", api_path="/payments/cancel")
    await _send(settings, shop)
    code, output = await run(tmp_path, "problems", "refund", duplicate, *WHO, **_variables(settings))
    assert code == 1
    assert "its refund is asked, and is not asked for twice" in output


async def test_a_problem_is_resolved(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A resolved problem is recorded with who and why, is open no more, and is no longer refunded by a policy."""
    _, duplicate = await shop.paid_twice("order-1")
    code, output = await run(tmp_path, "problems", "resolve", duplicate, *WHO, **_variables(settings))
    assert (code, output) == (0, f"Resolved: duplicate_payment of {duplicate}, order-1\n")
    rows = await shop.pool.fetch("SELECT merchant_uid, imp_uid, kind, who, why FROM resolutions")
    assert [tuple(row) for row in rows] == [("order-1", duplicate, "duplicate_payment", "kim", "the customer called")]
    assert await run(tmp_path, "problems", "list", **_variables(settings)) == (0, "There are no open problems.\n")
    _, listed = await run(tmp_path, "problems", "list", "--resolved", **_variables(settings))
    assert listed.rstrip().endswith("by kim: the customer called")
    async with make_parts(settings) as parts:
        refunder = make_refunder(parts.verifier, _client(parts))
        assert await refunder.intents.intend_due() == 0


async def test_what_is_not_open_cannot_be_resolved(tmp_path: Path, settings: Settings) -> None:
    """Resolving an unknown payment fails with one sentence and exit code 1."""
    code, output = await run(tmp_path, "problems", "resolve", "imp_1", *WHO, **_variables(settings))
    assert (code, output) == (1, "imp_1 has no open problem: see `portone-orders problems list`.\n")


async def test_a_person_accepts_a_payment(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A payment of another amount is accepted with who and why, and is no problem any more; again changes nothing."""
    payment = await shop.paid_wrongly("order-1", 67900)
    for _ in range(2):
        code, output = await run(tmp_path, "problems", "accept", payment, *WHO, **_variables(settings))
        assert (code, output) == (0, f"Accepted: {payment} of order-1, which is paid (version 3).\n")
    assert await run(tmp_path, "problems", "list", **_variables(settings)) == (0, "There are no open problems.\n")
    actions = await shop.pool.fetch("SELECT who, why, action, subject FROM operator_actions")
    assert [tuple(action) for action in actions] == [("kim", "the customer called", "orders.accept", payment)]


async def test_what_cannot_be_accepted_is_said(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """A payment that is not stored, of another currency, or of no registered order is refused in one sentence."""
    dollars = await shop.paid_wrongly("order-1", 6.0, currency="USD")
    unknown = (await shop.sandbox.pay("order-9", 100))["imp_uid"]
    await shop.announce("order-9", unknown)
    for imp_uid, sentence in (
        ("imp_9", "no payment is stored as 'imp_9'"),
        (dollars, "more than its amount disagrees"),
        (unknown, "No order is registered"),
    ):
        code, output = await run(tmp_path, "problems", "accept", imp_uid, *WHO, **_variables(settings))
        assert (code, output.count("\n"), sentence in output) == (1, 1, True)


@pytest.mark.parametrize("verb", ["refund", "resolve", "accept"])
async def test_who_and_why_are_needed(tmp_path: Path, settings: Settings, verb: str) -> None:
    """`--who` and `--why` may be neither left out nor empty."""
    code, _ = await run(tmp_path, "problems", verb, "imp_1", "--who", "kim", **_variables(settings))
    assert code == 2
    code, output = await run(tmp_path, "problems", verb, "imp_1", "--who", " ", "--why", "x", **_variables(settings))
    assert (code, output) == (1, "Give --who and --why: neither may be empty.\n")
