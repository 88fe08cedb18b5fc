"""Measure three promises on the whole service: `python -m faults.shows dropped|flushall|outage|all`."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from faults import oracle
from faults.report import write_report
from faults.stack import KEY, Stack, running_stack

_AT_ONCE = 50
_POLL_SECONDS = 0.1
_WITHIN_SECONDS = 60.0
_AMOUNT = 1000
_OUTAGE_MINUTES = 10


async def dropped(count: int) -> list[str]:
    """Drop every webhook, and make no completion call."""
    async with running_stack(0.1) as stack:
        await _register(stack, "dropped", count)
        await asyncio.sleep(_until_walk_seconds(stack))
        await stack.control("DELETE", "calls")
        await stack.control("POST", "faults", {"webhook_drop": True})
        await _bulk(stack, "dropped", count, webhook=True)
        seconds = await _until_right(stack, count)
        calls = await stack.control("GET", "calls")
        walks = calls["by_template"].get("GET /payments/status/{payment_status}", 0)
        return [
            f"{count} payments, all webhooks dropped, no completion call: all orders right {seconds:.1f} s after the"
            f" last payment, with a ledger scan every {60 * stack.scale:.0f} s ({60:.0f} s, scaled)",
            f"PortOne calls: {calls['total']} in all, {walks or _walks(calls)} of them pages of the ledger"
            f" ({_counts(calls)})",
        ]


async def flushall(count: int) -> list[str]:
    """Send FLUSHALL several times while many payments are in flight."""
    async with running_stack(0.1) as stack:
        await _register(stack, "flushed", count)
        paying = asyncio.create_task(_bulk(stack, "flushed", count, webhook=True))
        flushes = 0
        while not paying.done():
            await asyncio.sleep(0.15)
            async with stack.redis_client() as redis:
                await redis.flushall()
            flushes += 1
        await paying
        seconds = await _until_right(stack, count)
        rows = await _rows(stack)
        twice = sum(order["version"] != 2 for order in rows.orders)
        return [
            f"{count} payments in flight, FLUSHALL {flushes} times among them: all orders right {seconds:.1f} s after"
            f" the last payment, {twice} changed more than once, {len(rows.notices)} notices recorded"
        ]


async def outage(count: int) -> list[str]:
    """Stop PortOne for ten scaled minutes while many notices wait, then let it return."""
    scale = 0.05
    async with running_stack(scale) as stack:
        await _register(stack, "down", count)
        await _register(stack, "fresh", 1)
        await stack.control("POST", "faults", {"api_answer": "503"})
        await stack.control("DELETE", "calls")
        await _bulk(stack, "down", count, webhook=True)
        await asyncio.sleep(_OUTAGE_MINUTES * 60 * scale)
        during = (await stack.control("GET", "calls"))["total"]
        parked = sum(notice["parked_at"] is not None for notice in (await _rows(stack)).notices)
        await stack.control("DELETE", "faults")
        returned = time.monotonic()
        fresh = await _complete_fresh(stack)
        seconds = await _until_right(stack, count + 1, since=returned)
        drained = await _fairness(stack)
        return [
            f"PortOne down for {_OUTAGE_MINUTES} minutes (scaled to {_OUTAGE_MINUTES * 60 * scale:.0f} s) with {count}"
            f" notices waiting: {parked} parked, {during} calls while it was down",
            f"all orders right {seconds:.1f} s after its return; {drained}",
            f"a new completion call at its return was answered {fresh}",
        ]


SHOWS: dict[str, tuple[Callable[[int], Coroutine[Any, Any, list[str]]], int]] = {
    "dropped": (dropped, 1000),
    "flushall": (flushall, 1000),
    "outage": (outage, 2000),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.shows", description=__doc__)
    parser.add_argument("show", choices=[*SHOWS, "all"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--report", action="store_true", help="write the figures into docs/faults.md")
    options = parser.parse_args()
    figures: list[str] = []
    for name in SHOWS if options.show == "all" else [options.show]:
        show, count = SHOWS[name]
        lines = asyncio.run(show(options.count or count))
        sys.stdout.write("\n".join(lines) + "\n")
        figures += [f"- `{name}`: {line}" for line in lines]
    if options.report:
        write_report(shows=figures)
    return 0


async def _register(stack: Stack, prefix: str, count: int) -> None:
    waiting = iter(range(count))

    async def register() -> None:
        assert stack.session  # noqa: S101
        for number in waiting:
            body = {"merchant_uid": f"{prefix}-{number}", "amount": _AMOUNT}
            headers = {"Authorization": f"Bearer {KEY}"}
            async with stack.session.post(f"{stack.entry_url}/orders", json=body, headers=headers) as answer:
                answer.raise_for_status()

    await asyncio.gather(*(register() for _ in range(_AT_ONCE)))


async def _bulk(stack: Stack, prefix: str, count: int, *, webhook: bool) -> None:
    body = {"count": count, "prefix": prefix, "amount": _AMOUNT, "webhook": webhook, "concurrency": _AT_ONCE}
    await stack.control("POST", "bulk", body, seconds=_WITHIN_SECONDS)


async def _until_right(stack: Stack, count: int, since: float | None = None) -> float:
    """Wait until the oracle finds nothing wrong, and return the seconds. Raises TimeoutError."""
    started = since or time.monotonic()
    truth = await stack.truth()
    async with asyncio.timeout(_WITHIN_SECONDS):
        while True:
            rows = await _rows(stack)
            if len(rows.orders) == count and not oracle.judge(rows, truth):
                return time.monotonic() - started
            await asyncio.sleep(_POLL_SECONDS)


async def _rows(stack: Stack) -> oracle.Rows:
    db = await stack.connect()
    try:
        return await oracle.read_rows(db)
    finally:
        await db.close()


async def _complete_fresh(stack: Stack) -> str:
    """Pay and call at once, as a browser does. Returns the answer, and how long it took."""
    assert stack.session  # noqa: S101
    body = {"merchant_uid": "fresh-0", "amount": _AMOUNT, "webhook": False}
    paid = await stack.control("POST", "pay", body)
    call = {"imp_uid": paid["imp_uid"], "merchant_uid": "fresh-0"}
    started = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=20)
    async with stack.session.post(f"{stack.entry_url}/payment/complete", json=call, timeout=timeout) as answer:
        content: Any = await answer.json()
        return f"{answer.status} {content.get('state') or content.get('reason')} in {time.monotonic() - started:.2f} s"


async def _fairness(stack: Stack) -> str:
    """Return when the oldest and the newest tenth of the backlog ended, in seconds after its first notice ended."""
    db = await stack.connect()
    try:
        [row] = await db.fetch(
            """
            WITH numbered AS (
                SELECT extract(epoch FROM handled_at - min(handled_at) OVER ()) AS after,
                       ntile(10) OVER (ORDER BY received_at, id) AS tenth
                FROM notices WHERE handled_at IS NOT NULL
            )
            SELECT avg(after) FILTER (WHERE tenth = 1) AS oldest, avg(after) FILTER (WHERE tenth = 10) AS newest
            FROM numbered
            """
        )
    finally:
        await db.close()
    return f"the oldest tenth ended {row['oldest']:.1f} s after the first notice, the newest {row['newest']:.1f} s"


def _until_walk_seconds(stack: Stack) -> float:
    """Return a wait that outlasts the first walk of the whole ledger, which would find everything at once."""
    return 3 + 2 * 60 * stack.scale / 10


def _walks(calls: dict[str, Any]) -> int:
    return sum(count for template, count in calls["by_template"].items() if "status" in template)


def _counts(calls: dict[str, Any]) -> str:
    return ", ".join(f"{template} {count}" for template, count in sorted(calls["by_template"].items()))


if __name__ == "__main__":
    sys.exit(main())
