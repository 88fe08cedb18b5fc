"""The commands and names in docs/runbook.md exist."""

import re
import shlex
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer

from cli.main import app
from docs.make_metrics import ours
from service.db.promise import Measure
from service.domain.notice import Outcome
from service.domain.order import ProblemKind
from service.domain.refund import Hold
from service.exposition import PREFIX
from service.redis.spill import SPILL_STREAM, UNREADABLE_STREAM
from service.settings import Settings
from service.usecases.promise import broken_promises

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "runbook.md").read_text("utf-8")
SOURCES = [file for part in ("service", "workers") for file in (REPOSITORY / part).rglob("*.py")]
_LOGGED = re.compile(r'(?:log\.\w+|log_fault|\.note)\(\s*"([a-z_]+\.[a-z_]+)"')
EVENTS = {event for file in SOURCES for event in _LOGGED.findall(file.read_text("utf-8"))}

# In code spans and in blocks, where a comment may follow. A span stays on one line, so that it can be copied.
COMMANDS = sorted(
    {line.strip() for line in re.findall(r"portone-orders ([a-z][^`#\n]*)", PAGE)}
    | set(re.findall(r"`((?:notices|problems) [^`]+)`", PAGE))
    | set(re.findall(r"--no-deps worker ([^`\n]+)", PAGE))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_typed(command: str) -> None:
    """Each command exists, and takes these options and arguments."""
    target: Any = typer.main.get_command(app)
    words = shlex.split(command.replace("NOTICE_ID", str(uuid4())))
    while hasattr(target, "commands"):
        target = target.commands[words.pop(0)]
        if not words:
            return  # the page names only the group
    if not words and any(parameter.required for parameter in target.params):
        return  # the page names only the command
    target.make_context(command, words)


def test_every_event_is_one_that_is_logged() -> None:
    """Each dotted name in backticks is an event that the service logs."""
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE))
    assert len(named) > 10
    assert named <= EVENTS


def test_every_metric_is_exposed() -> None:
    """Each named metric is on /metrics even before anything happened."""
    named = {PREFIX + name for name in re.findall(r"`((?:promise|notices|feed|endpoint)_[a-z_]+)`", PAGE)}
    assert named
    assert named <= ours().keys()


def test_each_reason_of_the_promise_has_a_section() -> None:
    """Every sentence that /healthz/promise may answer is a heading, without its number."""
    settings = Settings(_env_file=None)
    every = Measure(1e9, 1e9, 10**9, 10**9, 10**9, 10**9, 10**9, 1e9, 10**9)
    reasons = [re.sub(r"\d+", "…", reason) for reason in broken_promises(every, settings, 1e9)]
    assert sorted(reasons) == sorted(re.findall(r'^### "(.+)"$', PAGE, re.MULTILINE))


def test_every_kind_of_problem_has_its_line() -> None:
    """The page has a line for each problem, and for each reason to park a notice."""
    rows = {kind for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for kind in re.findall(r"`(\w+)`", row)}
    assert rows == {kind.value for kind in ProblemKind} | {"unknown_order"}
    parked = {
        Outcome.ORDER_NOT_REGISTERED,
        Outcome.ORDER_ARCHIVED,
        Outcome.PAYMENT_UNKNOWN,
        Outcome.ANSWER_UNREADABLE,
        Outcome.STORE_NOT_CONFIGURED,
    }
    assert not [outcome for outcome in parked if f"`{outcome}`" not in PAGE]


def test_every_other_name_is_ours() -> None:
    """The page's names of settings, Redis streams and the reason of a held refund are the code's."""
    settings = {name.lower() for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE)}
    assert settings - {"merchant_uid", "imp_uid", "notice_id"} <= Settings.model_fields.keys()
    assert {SPILL_STREAM, UNREADABLE_STREAM} == set(re.findall(r"`(notices:[a-z:]+)`", PAGE))
    assert f"`{Hold.HOURLY_CAP}`" in PAGE


def test_every_link_within_leads_to_a_heading() -> None:
    """Every `#…` link leads to a heading, by the address that Markdown derives from its text."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
