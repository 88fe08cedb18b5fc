"""Let the oracle of faults/, which shares no code with the service, judge the rows that a measurement left."""

import json
from typing import Any

from bench import load, orders
from bench.databases import Databases
from bench.measure import BenchFailed
from faults import oracle

_AT_ONCE = 20_000
_PAYMENTS_A_CALL = 100


async def judge_orders(databases: Databases, standin_port: int, numbers: range) -> int:
    """Compare every row of these orders with PortOne's stand-in. Returns how many notices they have.

    All work must have ended before. Raises BenchFailed if a promise is broken.
    """
    notices = 0
    for start in range(0, len(numbers), _AT_ONCE):
        share = numbers[start : start + _AT_ONCE]
        truth = await _truth(standin_port, share)
        async with databases.session() as db:
            rows = await oracle.read_rows(db, [orders.merchant_uid(number) for number in share])
        if broken := oracle.judge(rows, truth):
            raise BenchFailed(f"{len(broken)} promises broken, the first: {broken[0]}")
        notices += len(rows.notices)
    print(f"the oracle read {len(numbers):,} orders and {notices:,} notices: nothing lost, nothing wrong")
    return notices


async def _truth(standin_port: int, numbers: range) -> list[dict[str, Any]]:
    truth: list[dict[str, Any]] = []
    for start in range(0, len(numbers), _PAYMENTS_A_CALL):
        names = "&".join(f"imp_uid[]={orders.imp_uid(n)}" for n in numbers[start : start + _PAYMENTS_A_CALL])
        answer = await load.ask(standin_port, load.get(f"/payments?{names}", "Authorization: a-token\r\n"))
        truth += json.loads(answer)["response"]
    return truth
