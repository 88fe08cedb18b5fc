"""Check that the service and everything that it needs are well, and name the culprit of each fault in a sentence."""

import asyncio
from collections.abc import Awaitable, Callable

from cli.checks.databases import PostgresFailed, check_postgres, check_redis
from cli.checks.endpoints import check_endpoints
from cli.checks.machine import check_clock, check_disk
from cli.checks.portone import check_portone
from cli.checks.service import check_feed, check_problems, check_promise, check_receivers, check_stores, check_workers
from cli.errors import in_a_sentence
from service.settings import Settings

_LIMIT_SECONDS = 7.0

# A check returns a sentence for each fault, with what to do. An error that it raises counts as one fault.
Check = Callable[[Settings], Awaitable[list[str]]]

CHECKS: dict[str, Check] = {
    "Postgres": check_postgres,
    "Redis": check_redis,
    "PortOne": check_portone,
    "Receivers": check_receivers,
    "Workers": check_workers,
    "Promise": check_promise,
    "Feed": check_feed,
    "Stores": check_stores,
    "Problems": check_problems,
    "Endpoints": check_endpoints,
    "Disk": check_disk,
    "Clock": check_clock,
}


async def examine(settings: Settings) -> tuple[list[str], bool]:
    """Run all checks side by side. Returns a line for each part or each of its faults, and whether all are well."""
    results = await asyncio.gather(*(_run(check, settings) for check in CHECKS.values()))
    of_part = dict(zip(CHECKS, results, strict=True))
    lines, well = [], True
    for part, result in of_part.items():
        match result:
            case PostgresFailed() if of_part["Postgres"]:
                lines.append(f"{part}: not checked, because of Postgres")
            case PostgresFailed():
                lines.append(f"{part}: {result}")
                well = False
            case []:
                lines.append(f"{part}: ok")
            case _:
                lines += [f"{part}: {sentence}" for sentence in result]
                well = False
    return lines, well


async def _run(check: Check, settings: Settings) -> list[str] | PostgresFailed:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return await check(settings)
    except PostgresFailed as failed:
        return failed
    except TimeoutError:
        return [f"the check did not end within {_LIMIT_SECONDS:.0f} s: run `portone-orders doctor` again."]
    except Exception as error:
        sentence = in_a_sentence(error)
        if sentence is None:
            raise
        return [sentence]
