"""Logs are JSON lines for programs, and readable on a terminal; a payment can be followed through them."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from service.settings import Settings
from tests.running import patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox
from tests.service.conftest import Logged
from workers import verify

_PROGRAM = """
import asyncio, logging
from service.logs import Lines, configure_logs
import structlog

async def main():
    configure_logs()
    structlog.get_logger().warning("redis.weak", advice="set appendonly to yes")
    Lines().info("request.handled", status=200)
    logging.getLogger("theirs").warning("something")
    try:
        raise ValueError("its text")
    except ValueError:
        structlog.get_logger().exception("turn.failed")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_programs_get_json() -> None:
    """Where nobody looks on, each line is JSON with the time, the level and the event, tracebacks included."""
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert sorted(line["event"] for line in lines) == ["redis.weak", "request.handled", "something", "turn.failed"]
    assert all(line["timestamp"].endswith("Z") and line["level"] for line in lines)
    assert "ValueError: its text" in next(line["exception"] for line in lines if line["event"] == "turn.failed")


def test_a_person_at_a_terminal_gets_readable_lines() -> None:
    """On a terminal the same events are lines for a reader, and none is JSON."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=theirs, env=os.environ | {"NO_COLOR": "1"}) as run:
        os.close(theirs)
        text = b"".join(_until_closed(ours)).decode()
    os.close(ours)
    assert run.returncode == 0
    assert not [line for line in text.splitlines() if line.startswith("{")]
    for part in (
        "redis.weak",
        "advice='set appendonly to yes'",
        "request.handled",
        "something",
        "ValueError: its text",
    ):
        assert part in text


def _until_closed(terminal: int) -> Iterator[bytes]:
    try:
        while part := os.read(terminal, 4096):
            yield part
    except OSError:  # on Linux the end of a terminal is an error
        return


async def test_a_payment_can_be_followed(
    settings: Settings,
    sandbox: RunningSandbox,
    logged: Callable[[ModuleType], Logged],
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """The receiver's line of a webhook names the notice, and the worker's its payment and its order too."""
    of_worker = logged(verify)
    async with running_receiver(settings) as service, patient_worker(settings):
        sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
        await service.register("order-1")
        await sandbox.pay("order-1", 64900, imp_uid="imp_1")
        await service.becomes("order-1", state="paid")
        await asyncio.sleep(0)  # the lines of a turn are written at its end
    lines: list[dict[str, Any]] = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    handled = [line for line in lines if line["event"] == "request.handled" and "notice" in line]
    [looked] = [line for line in of_worker.of("notices.verified") if line["orders"] == ["order-1"]]
    assert looked["payments"] == {line["notice"]: "imp_1" for line in handled}
    named = {line["route"] for line in lines if line.get("merchant_uid") == "order-1"}
    assert named == {"/orders", "/orders/{merchant_uid}"}
