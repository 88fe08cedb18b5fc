"""What docs/runbook.md tells an operator to type, or to look for, is there."""

import re
import shlex
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer

from cli.main import app
from service.db.promise import Measure
from service.domain.notice import Outcome
from service.domain.order import ProblemKind
from service.domain.refund import Hold
from service.metrics import Metrics
from service.redis.queue import SPILL_STREAM, UNREADABLE_STREAM
from service.settings import Settings
from service.usecases.promise import broken_promises

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "runbook.md").read_text("utf-8")
SOURCES = [file for part in ("service", "workers") for file in (REPOSITORY / part).rglob("*.py")]
EVENTS = set(re.findall(r'log\.\w+\(\s*"([a-z_]+\.[a-z_]+)"', "\n".join(file.read_text("utf-8") for file in SOURCES)))

# In code spans and in the blocks, where a comment may follow. A span is never broken: it is there to be copied.
COMMANDS = sorted(
    {line.strip() for line in re.findall(r"portone-orders ([a-z][^`#\n]*)", PAGE)}
    | set(re.findall(r"`((?:notices|problems) [^`]+)`", PAGE))
    | set(re.findall(r"--no-deps worker ([^`\n]+)", PAGE))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_typed(command: str) -> None:
    """The command exists, and takes these options and arguments."""
    found: Any = typer.main.get_command(app)
    words = shlex.split(command.replace("NOTICE_ID", str(uuid4())))
    while hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
        if not words:
            return  # a group, spoken of by its name
    if not words and any(parameter.required for parameter in found.params):
        return  # the same of a command
    found.make_context(command, words)


def test_every_event_is_one_that_is_logged() -> None:
    """Each dotted name in backticks is an event of ours."""
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE))
    assert len(named) > 10
    assert named <= EVENTS


def test_every_metric_is_exposed() -> None:
    """Each metric that is named stands on the page of /metrics, as it is before anything happened."""
    exposed = Metrics().text(None).decode()
    named = set(re.findall(r"`((?:promise|notices)_[a-z_]+)`", PAGE))
    assert named
    assert not [name for name in named if f"\n{name} " not in exposed]


def test_each_reason_of_the_promise_has_a_section() -> None:
    """Every sentence that /healthz/promise may answer is a heading, its number left out."""
    settings = Settings(_env_file=None)
    every = Measure(1e9, 10**9, 10**9, 10**9, 1e9)
    reasons = [re.sub(r"\d+", "…", reason) for reason in broken_promises(every, settings)]
    assert sorted(reasons) == sorted(re.findall(r'^### "(.+)"$', PAGE, re.MULTILINE))


def test_every_kind_of_problem_has_its_line() -> None:
    """A person finds each problem in the table, and each reason for which a notice is parked."""
    rows = {kind for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for kind in re.findall(r"`(\w+)`", row)}
    assert rows == {kind.value for kind in ProblemKind} | {"unknown_order"}
    parked = {Outcome.ORDER_NOT_REGISTERED, Outcome.PAYMENT_UNKNOWN, Outcome.ANSWER_UNREADABLE}
    assert not [outcome for outcome in parked if f"`{outcome}`" not in PAGE]


def test_every_other_name_is_ours() -> None:
    """Settings, Redis' streams and what a held refund says are named as the code names them."""
    settings = {name.lower() for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", PAGE)}
    assert settings - {"merchant_uid", "imp_uid", "notice_id"} <= Settings.model_fields.keys()
    assert {SPILL_STREAM, UNREADABLE_STREAM} == set(re.findall(r"`(notices:[a-z:]+)`", PAGE))
    assert f"`{Hold.HOURLY_CAP}`" in PAGE


def test_every_link_within_leads_to_a_heading() -> None:
    """`#…` is the heading's text, as a reader of Markdown makes an address of it."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
