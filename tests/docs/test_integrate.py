"""The examples of docs/integrate.md run as they are printed."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import pytest
from portone_orders_client import Event, Finding, Order, OrdersClient

from service.domain.event_type import EVENT_TYPES
from service.settings import Settings
from tests.node import check_types, require_node
from tests.running import PATIENT, SERVICE_KEY, RunningService, bearer, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "integrate.md").read_text("utf-8")
_PATIENCE_SECONDS = 60.0


def example(language: str) -> str:
    """Return the page's last block in this language; before it there are single commands."""
    *_, block = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


@contextlib.asynccontextmanager
async def program(folder: Path, receiver: RunningService, *words: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run an example in a folder, and kill it at the end. Yields what it prints."""
    env = {**os.environ, "BASE_URL": receiver.url, "SERVICE_KEY": SERVICE_KEY}
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def line(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return (await output.readline()).decode().strip()


# Where the call to the carrier stands in an example, and what kills the program there.
KILLS = {
    "python": ("call_carrier(what, merchant_uid, key=", "os.kill(os.getpid(), 9)"),
    "js": ("await callCarrier(task.what", 'process.kill(process.pid, "SIGKILL"); await new Promise(() => {});'),
}
_NOTES = {"python": "tasks.note(await", "js": "note(await get"}


def killed(language: str, *, before: str = "", after: str = "") -> str:
    """Return the example as it is when it is killed right before or after the line that begins so."""
    lines = []
    for text in example(language).splitlines():
        indent, kill = text[: len(text) - len(text.lstrip())], KILLS[language][1]
        if before and text.lstrip().startswith(before):
            lines.append(indent + kill)
        lines.append(text)
        if after and text.lstrip().startswith(after):
            lines.append(indent + kill)
    assert len(lines) == len(example(language).splitlines()) + 1
    return "\n".join(lines)


class Carrier:
    """The shop, and the carrier as the example calls it: each printed line is a call, and the line is its key."""

    def __init__(self, folder: Path, receiver: RunningService, sandbox: RunningSandbox, language: str) -> None:
        self.receiver = receiver
        self.sandbox = sandbox
        self.calls: list[str] = []
        self._folder = folder
        self._language = language

    async def pay(self, order: str) -> None:
        await self.sandbox.pay(order, 100, imp_uid=f"imp_{order}")
        await self.receiver.decided(f"imp_{order}", order)

    async def run(self, until: str, text: str | None = None) -> list[str]:
        """Run the example until it makes this call or kills itself. Return what the carrier did so far."""
        name = {"python": "ship.py", "js": "ship.mjs"}[self._language]
        (self._folder / name).write_text(text or example(self._language), "utf-8")
        words = [sys.executable if self._language == "python" else require_node(), name]
        async with program(self._folder, self.receiver, *words) as output:
            while call := await line(output):
                self.calls.append(call)
                if call == until:
                    break
        return list(dict.fromkeys(self.calls))  # the carrier drops what has a key of before


async def ships(carrier: Carrier, language: str) -> None:
    """Kill the example at each step: nothing is missed, and what goes out twice has the key of before."""
    (call, _), note = KILLS[language], _NOTES[language]
    for number in (1, 2):
        await carrier.receiver.register(f"order-{number}", 100)
    await carrier.pay("order-1")
    assert await carrier.run("", killed(language, before=note)) == []
    assert await carrier.run("", killed(language, before=call)) == []
    assert await carrier.run("", killed(language, after=call)) == ["ship order-1"]
    await carrier.pay("order-2")
    assert await carrier.run("ship order-2") == ["ship order-1", "ship order-2"]
    assert carrier.calls == ["ship order-1", "ship order-1", "ship order-2"]


async def recalls(carrier: Carrier) -> None:
    """Ship no order that was withdrawn before its money came, until it is accepted; recall one that is given back."""
    service, headers = carrier.receiver, bearer() | PATIENT
    await service.register("order-3", 100)
    assert (await service.call("POST", "/orders/order-3/withdraw", headers=headers))[0] == 200
    await carrier.pay("order-3")
    await service.becomes("order-3", state="paid", closed="withdrawn")
    await carrier.sandbox.move("imp_order-1", "cancel")
    await service.becomes("order-1", state="cancelled")
    done = ["ship order-1", "ship order-2", "recall order-1"]
    assert await carrier.run(done[-1]) == done  # it has passed the payment of order-3
    body = {"imp_uid": "imp_order-3", "who": "kim", "why": "it is in stock"}
    assert (await service.call("POST", "/orders/order-3/accept", json=body, headers=headers))[0] == 200
    assert await carrier.run("ship order-3") == [*done, "ship order-3"]


@pytest.mark.parametrize("language", ["python", "js"])
async def test_the_example_ships_once(
    settings: Settings, sandbox: RunningSandbox, tmp_path: Path, language: str
) -> None:
    """A service ships each deliverable order and recalls one that is given back, wherever it is killed."""
    if language == "js":
        (tmp_path / "ship.mjs").write_text(example(language), "utf-8")
        await check_types(tmp_path, "ship.mjs")
    async with running_receiver(settings) as receiver, running_worker(settings):
        sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
        carrier = Carrier(tmp_path, receiver, sandbox, language)
        await ships(carrier, language)
        await recalls(carrier)


async def test_the_curl_examples_answer_as_the_page_says(settings: Settings, tmp_path: Path) -> None:
    """Each curl of the page is answered with a success, or with 304 where the page says so."""
    assert shutil.which("curl")
    script = example("sh").replace("wait=30", "wait=1")
    async with running_receiver(settings) as receiver, program(tmp_path, receiver, "sh", "-ec", script) as output:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answers = (await output.read()).decode()
    assert "urn:portone-orders:problem:" not in answers
    assert re.findall(r"^HTTP/1.1 (\d+)", answers, re.MULTILINE) == ["200", "304"]
    pages = [json.loads(text) for text in answers.splitlines() if text.startswith('{"events"')]
    assert len(pages) == 2
    for page in pages:
        assert [(event["type"], event["merchant_uid"]) for event in page["events"]] == [("order.registered", "ship-1")]


def test_the_table_has_every_event() -> None:
    """Each type of event has a row that says what to do with it."""
    rows = [row for row in PAGE.splitlines() if row.startswith("| `order.")]
    types = [name for row in rows for name in re.findall(r"`(order\.\w+)`", row.split("|")[1])]
    assert sorted(types) == sorted(EVENT_TYPES)


@pytest.mark.parametrize("record", [Order, Event, Finding])
def test_the_table_has_every_field(record: type) -> None:
    """The fields of the client's records are those that the page lists."""
    [row] = [row for row in PAGE.splitlines() if row.startswith(f"| `{record.__name__}`")]
    assert re.findall(r"`(\w+)`", row.split("|")[2]) == [
        *(field.name for field in fields(record)),
        *(["is_deliverable"] if record is Order else []),
    ]


def test_every_method_that_the_page_names_is_the_clients() -> None:
    """The list of the client's other calls is complete."""
    sentence = re.search(r"The other calls are (.*?)\. What", PAGE, re.DOTALL)
    assert sentence
    methods = {name for name in vars(OrdersClient) if not name.startswith("_")} - {"close", "follow", "read"}
    assert set(re.findall(r"`(\w+)`", sentence[1])) == methods
