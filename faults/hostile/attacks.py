"""The attacks: what strangers send, what happens meanwhile, and what genuine callers may expect all the while."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from faults.hostile.genuine import Genuine
from faults.hostile.laden import OWN_ORDER, OWN_PAYMENT
from faults.hostile.strangers import Flood, Strangers
from faults.hostile.town import SLOW_ACCOUNT, TIER, Town
from service.db import notices

WEBHOOKS = "/webhooks/portone/v1"
_OUTAGE_SHARE = 0.4
_BAD_ROWS = 40
_OLD_ROWS = 100_000
_PRUNED_AT_ONCE = 1_000

# At this rate the notices of a day at 40 a second are pruned within an hour.
_PRUNED_A_SECOND_MIN = 1_000

Meanwhile = Callable[[Town, float], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """One attack. The seconds are how late a genuine order may become paid during it; None: not while it lasts."""

    name: str
    line: str
    strangers: Strangers
    meanwhile: Meanwhile | None = None
    prepare: Callable[[Town, Genuine], Awaitable[Strangers]] | None = None
    paid_within_seconds: float = 2.0
    postgres_is_away: bool = False
    starves: bool = False


def from_client(number: int) -> str:
    return f"X-Forwarded-For: 203.0.113.{number}\r\n"


def _webhook(imp_uid: str, merchant_uid: str | None, status: str = "paid") -> str:
    order = f',"merchant_uid":"{merchant_uid}"' if merchant_uid else ""
    return f'{{"imp_uid":"{imp_uid}"{order},"status":"{status}"}}'


def _own(number: int) -> str:
    return _webhook(OWN_PAYMENT, OWN_ORDER, ("paid", "ready", "cancelled", "failed")[number])


def _invented(prefix: str) -> Sequence[str]:
    return _webhook(f"imp_{prefix}_{{n}}", None), _webhook(f"imp_{prefix}_{{n}}", OWN_ORDER)


async def _portone_fails(town: Town, seconds: float) -> None:
    """Let PortOne answer 503 for the middle part of the attack."""
    await asyncio.sleep(seconds * (1 - _OUTAGE_SHARE) / 2)
    await town.portone("POST", "faults", api_answer="503")
    await asyncio.sleep(seconds * _OUTAGE_SHARE)
    await town.portone("DELETE", "faults")


async def _postgres_goes(town: Town, seconds: float) -> None:
    await asyncio.sleep(seconds * (1 - _OUTAGE_SHARE) / 2)
    await town.lose_postgres(seconds * _OUTAGE_SHARE)


async def _worker_hangs(town: Town, seconds: float) -> None:
    await town.freeze_worker(seconds)


async def _park_old(town: Town, _: Genuine) -> Strangers:
    """Park notices of a registered order, so long ago that they are pruned."""
    await town.db.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, received_at, parked_at, last_outcome)"
        " SELECT gen_random_uuid(), 'webhook', 'imp_old_' || n, $1, true, now() - interval '40 days',"
        " now() - interval '40 days', 'payment_unknown' FROM generate_series(1, $2::integer) AS n",
        OWN_ORDER,
        _OLD_ROWS,
        timeout=60,
    )
    return Strangers()


async def _prune(town: Town, seconds: float) -> None:
    """Prune for this long, as the worker does each day. Raises RuntimeError if that is too slow."""
    keep, pruned, began = timedelta(days=30), 0, time.monotonic()
    while time.monotonic() < began + seconds and pruned < _OLD_ROWS:
        pruned += await notices.prune(town.db, keep, keep, _PRUNED_AT_ONCE)
    rate = pruned / (time.monotonic() - began)
    if rate < _PRUNED_A_SECOND_MIN:
        raise RuntimeError(f"only {rate:.0f} old notices a second were pruned")


async def _announce_elsewhere(town: Town, genuine: Genuine) -> Strangers:
    """Let strangers announce each genuine payment under another tier, again and again, before PortOne does."""
    pairs = zip(genuine.imp_uids, genuine.orders, strict=True)
    bodies = [_webhook(imp_uid, order) for imp_uid, order in pairs]
    return Strangers([Flood(100, f"{WEBHOOKS}/{TIER}", bodies, from_client(1))])


async def _spoil_payments(town: Town, _: Genuine) -> Strangers:
    """Make payments whose rows at PortOne cannot be read, and let strangers announce them beside the others."""
    bodies = []
    rng = random.Random(11)  # noqa: S311 - a run that can be repeated
    for number in range(_BAD_ROWS):
        paid = await town.portone(
            "POST", "pay", merchant_uid=f"bad-{number}-{rng.random()}", amount=1000, webhook=False
        )
        bad = rng.choice([{"amount": "many"}, {"amount": None}, {"status": 7}, {"cancel_history": "x"}, {"imp_uid": 1}])
        await town.portone("POST", f"payments/{paid['imp_uid']}/set", fields=bad)
        bodies.append(_webhook(paid["imp_uid"], OWN_ORDER))
    return Strangers([Flood(40, WEBHOOKS, bodies, from_client(1))])


_QUESTION = '{{"imp_uid":"imp_{{n}}","merchant_uid":"{}","amount":1000}}'

ATTACKS = (
    Attack(
        "one_payment",
        "1,800 webhooks a second about the stranger's own unpaid payment",
        Strangers([Flood(1800, WEBHOOKS, [_own(number) for number in range(4)], from_client(1))]),
    ),
    Attack(
        "invented",
        "1,500 webhooks a second of invented payments, half of them of a registered order",
        Strangers([Flood(1500, WEBHOOKS, _invented("new"), from_client(1))]),
    ),
    Attack(
        "invented_outage",
        "the same, while PortOne answers 503: genuine notices are retried",
        Strangers([Flood(1500, WEBHOOKS, _invented("out"), from_client(1))]),
        _portone_fails,
        paid_within_seconds=15.0,
    ),
    Attack(
        "pruning",
        f"{_OLD_ROWS:,} parked notices of a registered order are old, and are pruned meanwhile",
        Strangers(),
        _prune,
        _park_old,
    ),
    Attack(
        "confirmations",
        "1,000 `confirm_url` questions a second, and completions, reads and `/readyz` from three addresses",
        Strangers(
            [
                Flood(
                    500, "/payments/confirm", [_QUESTION.format("g-{n}"), _QUESTION.format(OWN_ORDER)], from_client(1)
                ),
                Flood(500, "/payments/confirm", [_QUESTION.format("c-confirmations-{n}")], from_client(2)),
                Flood(
                    100,
                    "/payment/complete",
                    [_webhook("imp_own", OWN_ORDER)],
                    "Prefer: wait=1\r\n" + from_client(3),
                    senders=10,
                ),
                Flood(200, f"/orders/{OWN_ORDER}", (), "Authorization: Bearer wrong\r\n" + from_client(4)),
                Flood(200, "/readyz", (), from_client(5)),
            ]
        ),
    ),
    Attack(
        "silent",
        "1,500 silent connections of six addresses, and completions that wait",
        Strangers(
            [
                Flood(
                    60,
                    "/payment/complete",
                    [_webhook("imp_wait_{n}", OWN_ORDER)],
                    "Prefer: wait=3\r\n" + from_client(6),
                )
            ],
            silent_each=250,
        ),
    ),
    Attack(
        "slow_account",
        "another account answers after 4 s, and gets four notices a second",
        Strangers([Flood(4, f"{WEBHOOKS}/accounts/{SLOW_ACCOUNT}", [_webhook("imp_slow_{n}", None)], from_client(1))]),
    ),
    Attack(
        "other_tier",
        "strangers announce each genuine payment under another tier first",
        Strangers(),
        prepare=_announce_elsewhere,
    ),
    Attack(
        "bad_rows",
        "payments whose rows at PortOne cannot be read are looked at in the same batches",
        Strangers(),
        prepare=_spoil_payments,
    ),
    Attack(
        "searches",
        "200 returns a second without an imp_uid, which make PortOne be asked by order number",
        Strangers([Flood(200, f"/payment-redirect?merchant_uid={OWN_ORDER}", (), from_client(1), senders=4)]),
    ),
    Attack(
        "spill",
        "Postgres is away during a flood of invented payments",
        Strangers([Flood(1000, WEBHOOKS, _invented("spill"), from_client(1))]),
        _postgres_goes,
        paid_within_seconds=15.0,
        postgres_is_away=True,
    ),
    Attack(
        "starved",
        "no attack: the only worker hangs, and the promise must say so",
        Strangers(),
        _worker_hangs,
        paid_within_seconds=60.0,
        starves=True,
    ),
)


def small(attack: Attack) -> Attack:
    """Return the attack at a third of its rates, for a machine that does other things too."""
    floods = [replace(flood, rate=flood.rate / 3) for flood in attack.strangers.floods]
    return replace(attack, strangers=replace(attack.strangers, floods=floods))
