import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sandbox.ledger import Ledger, Prepared, Terms
from sandbox.money import read_amount
from sandbox.payment import Owner
from sandbox.state_file import StateFileProblem, dump, load
from tests.sandbox.conftest import Caller

SECONDS_TO_STOP = 10


async def start(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SANDBOX_IMP_KEY": "", "SANDBOX_IMP_SECRET": ""},
    )


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Caller]]:
    process = await start("--port", "0", *options)
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    shown = re.fullmatch(r"sandbox listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert shown, line
    async with aiohttp.ClientSession() as session:
        yield process, Caller(session, shown[1])
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), SECONDS_TO_STOP)


async def test_payments_survive_a_restart(tmp_path: Path) -> None:
    """A payment from before SIGTERM is there after a start with the same state file."""
    state = str(tmp_path / "sandbox.json")
    async with running("--state", state) as (_, caller):
        imp_uid = await caller.pay("order-1", 6.5, currency="USD", tier="001")
    async with running("--state", state) as (_, caller):
        await caller.log_in()
        seen = await caller.v1(f"/payments/{imp_uid}", tier="001")
        assert (seen.response["status"], seen.response["amount"]) == ("paid", 6.5)
        assert await caller.pay("order-2") != imp_uid


async def test_a_signal_stops_it_though_a_call_hangs() -> None:
    """SIGINT ends it within seconds, with exit code 0 and nothing on the error output."""
    async with running() as (process, caller):
        await caller.control("faults", api_answer="hang")
        hung = asyncio.create_task(caller.v1("/payments/imp_1"))
        while (await caller.control("calls", "GET")).content["in_flight"] == 0:
            assert not hung.done()
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), SECONDS_TO_STOP)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await hung
    assert (process.returncode, errors) == (0, b"")


async def test_a_taken_port_is_one_sentence() -> None:
    """No traceback, exit code 1."""
    async with running() as (_, caller):
        second = await start("--port", caller.url.rpartition(":")[2])
        _, errors = await asyncio.wait_for(second.communicate(), 30)
    assert second.returncode == 1
    assert re.fullmatch(rb"Port \d+ on 127\.0\.0\.1 is taken: .*\n", errors)


async def test_an_unusable_state_file_is_one_sentence(tmp_path: Path) -> None:
    """Garbage in it, or a folder that is not there: exit code 1, no traceback."""
    garbage = tmp_path / "garbage.json"
    garbage.write_text('{"payments": [{}]}')
    for state in (garbage, tmp_path / "absent" / "state.json"):
        process = await start("--port", "0", "--state", str(state))
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, errors.count(b"\n")) == (1, 1)
        assert str(state).encode() in errors


def test_a_saved_ledger_is_taken_up_whole(tmp_path: Path) -> None:
    """Changes, refunds under way and prepared amounts come back as they were."""
    ledger = Ledger(lambda: 1.5)
    payment = ledger.open(Terms("order-1", read_amount(1000), tier="001", async_cancel=True))
    ledger.pay(payment)
    ledger.prepare(Owner(), "order-2", Prepared(read_amount("6.50"), "USD"))
    file = tmp_path / "state.json"
    file.write_bytes(dump(ledger))
    loaded = Ledger(lambda: 2.5)
    load(loaded, file)
    assert list(loaded.payments()) == [payment]
    assert (loaded.prepared, loaded.revision) == (ledger.prepared, ledger.revision - 1)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"payments": [{"changes": 1}], "prepared": []}'])
def test_a_state_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is never overwritten by mistake."""
    file = tmp_path / "state.json"
    file.write_bytes(content)
    with pytest.raises(StateFileProblem):
        load(Ledger(lambda: 0), file)
