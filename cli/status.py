"""`portone-orders status`: one screen that says whether all is well and, if not, what to do first."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from cli.exit_codes import ExitCode
from cli.output import AsJson, print_json, working
from cli.screen import Screen
from cli.settings_source import load_settings
from cli.today_page import Weight, as_json, figures, plot
from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from cli.doctor import Finding
    from service.usecases.today import Today

_POSTGRES_SECONDS = 5.0
STYLES: dict[Weight, str] = {"well": "", "look": "yellow", "bad": "bold red"}
_VERDICTS: dict[Weight, str] = {
    "well": "All is well.",
    "look": "Payments go on, but something needs a person:",
    "bad": "Payments are held up:",
}
_CODES: dict[Weight, ExitCode] = {"well": ExitCode.DONE, "look": ExitCode.FAILED, "bad": ExitCode.REFUSED}


@dataclass(frozen=True, slots=True)
class Health:
    """Findings with the most serious first, and today's figures; None: Postgres does not give them."""

    findings: "Sequence[Finding]"
    today: "Today | None"

    @property
    def weight(self) -> Weight:
        """The most serious fault's weight: `bad` holds payments up, `look` can wait for a person."""
        if any(finding.holds_up for finding in self.findings):
            return "bad"
        return "look" if self.faults else "well"

    @property
    def faults(self) -> list[str]:
        return [f"{finding.part}: {fault}" for finding in self.findings for fault in finding.faults]


def status(as_json: AsJson = False) -> None:
    """Say whether all is well and, if not, what to do: the faults that `doctor` finds, and today's figures.

    The exit code is 0 if all is well, 1 if something needs a person, and 2 if payments are held up.
    """
    with working("Examining"):
        seen = asyncio.run(look(cache(load_settings)))
    if as_json:
        print_json(_json(seen))
    else:
        _show(seen, Screen())
    if code := _CODES[seen.weight]:
        raise typer.Exit(code)


async def look(load: Callable[[], Settings]) -> Health:
    """Examine all parts and read today's figures, side by side."""
    from cli.doctor import examine

    findings, today = await asyncio.gather(examine(load), _today(load))
    return Health(sorted(findings, key=lambda finding: not finding.holds_up), today)


async def _today(load: Callable[[], Settings]) -> "Today | None":
    """Read today's figures. What keeps them from being read is a finding of its own, or of Postgres."""
    import asyncpg

    from service.db.pool import answered_within, open_pool
    from service.errors import PostgresUnavailable
    from service.usecases.today import read_today

    try:
        settings = load().require("database_url")
        pool = await open_pool(settings.database_url.get_secret_value(), 1)
    except (SettingsError, ValueError):
        return None
    try:
        return await answered_within(_POSTGRES_SECONDS, read_today(pool, settings))
    except (PostgresUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return None
    finally:
        pool.terminate()


def _json(seen: Health) -> dict[str, object]:
    verdict = {"well": "well", "look": "needs a person", "bad": "payments are held up"}[seen.weight]
    return {"status": verdict, "faults": seen.faults, "today": seen.today and as_json(seen.today)}


def _show(seen: Health, screen: Screen) -> None:
    screen.line(_VERDICTS[seen.weight], STYLES[seen.weight] or "bold green")
    for finding in seen.findings:
        for fault in finding.faults:
            screen.line(f"  {finding.part}: {fault}", STYLES["bad" if finding.holds_up else "look"])
    if seen.today:
        screen.line()
        for line in page(seen.today):
            screen.text(line)


def page(today: "Today") -> Iterator[Text]:
    """Yield a styled line for each of today's figures, and the plot of its hours."""
    for figure in figures(today):
        yield Text.assemble((f"  {figure.label:<11}", "dim"), (figure.text, STYLES[figure.weight]))
    most = f"  at most {max(span.paid for span in today.hours):,} paid in an hour"
    yield Text.assemble(("  by hour    ", "dim"), (plot(today.hours), "cyan"), (most, "dim"))
