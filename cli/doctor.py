"""Check that the service and everything that it needs are well, and name the culprit of each fault in a sentence."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cli.checks.databases import PostgresFailed, check_postgres, check_redis
from cli.checks.encryption import check_encryption
from cli.checks.endpoints import check_endpoints
from cli.checks.machine import check_clock, check_disk
from cli.checks.portone import check_portone
from cli.checks.public import check_address, check_pages
from cli.checks.service import check_feed, check_problems, check_promise, check_receivers, check_stores, check_workers
from cli.checks.standby import check_standby
from cli.checks.vacuum import check_vacuum
from cli.errors import in_a_sentence
from service.settings import Settings, SettingsError

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
    "Address": check_address,
    "Pages": check_pages,
    "Encryption": check_encryption,
    "Disk": check_disk,
    "Vacuum": check_vacuum,
    "Standby": check_standby,
    "Clock": check_clock,
}


# What is wrong here holds payments up now; what is wrong elsewhere can wait for a person.
_GRAVE = {"Settings", "Postgres", "Redis", "PortOne", "Receivers", "Workers", "Promise", "Feed", "Address"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one part's check: its faults, each a sentence, or why it was `not_checked`."""

    part: str
    faults: Sequence[str] = ()
    not_checked: str = ""

    @property
    def holds_up(self) -> bool:
        """True if payments are held up for as long as this part has a fault."""
        return bool(self.faults) and self.part in _GRAVE

    @property
    def lines(self) -> list[str]:
        if self.not_checked:
            return [f"{self.part}: not checked, {self.not_checked}"]
        return [f"{self.part}: {fault}" for fault in self.faults] or [f"{self.part}: ok"]


async def examine(load: Callable[[], Settings]) -> list[Finding]:
    """Load the settings and run all checks side by side. Settings that are wrong are the only finding then."""
    try:
        settings = load()
    except SettingsError as error:
        return [Finding("Settings", [str(error)])]
    results = await asyncio.gather(*(_run(check, settings) for check in CHECKS.values()))
    of_part = dict(zip(CHECKS, results, strict=True))
    return [_finding(part, result, postgres_told=bool(of_part["Postgres"])) for part, result in of_part.items()]


def _finding(part: str, result: list[str] | PostgresFailed, *, postgres_told: bool) -> Finding:
    if not isinstance(result, PostgresFailed):
        return Finding(part, result)
    return Finding(part, not_checked="because of Postgres") if postgres_told else Finding(part, [str(result)])


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
