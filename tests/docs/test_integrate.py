"""The examples of docs/integrate.md run as they are printed."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from service.settings import Settings
from tests.node import require_node, typescript
from tests.running import SERVICE_KEY, RunningService, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "integrate.md").read_text("utf-8")
_PATIENCE_SECONDS = 60.0


def example(language: str) -> str:
    """Return the page's one block in this language."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
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


async def ships_once(
    folder: Path, receiver: RunningService, sandbox: RunningSandbox, settings: Settings, *words: str
) -> None:
    """Kill the example between two payments: each is shipped, and none twice."""

    async def pay(number: int) -> None:
        await receiver.register(f"order-{number}", 100)
        await sandbox.pay(f"order-{number}", 100, imp_uid=f"imp_{number}")
        assert (await receiver.decided(f"imp_{number}", f"order-{number}"))[1]["state"] == "paid"

    async with running_worker(settings):
        await pay(1)
        async with program(folder, receiver, *words) as output:
            assert await line(output) == "ship order-1"
        await pay(2)
        async with program(folder, receiver, *words) as output:
            assert await line(output) == "ship order-2"
            await pay(3)
            assert await line(output) == "ship order-3"


async def test_the_python_example_ships_once(settings: Settings, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """A service in Python ships each paid order once, although it is killed in between."""
    (tmp_path / "ship.py").write_text(example("python"), "utf-8")
    async with running_receiver(settings) as receiver:
        await ships_once(tmp_path, receiver, sandbox, settings, sys.executable, "ship.py")


async def test_the_typescript_example_ships_once(settings: Settings, sandbox: RunningSandbox, tmp_path: Path) -> None:
    """A service in TypeScript ships each paid order once, although it is killed in between."""
    (tmp_path / "ship.ts").write_text(example("ts"), "utf-8")
    await typescript(tmp_path, "ship.ts")
    async with running_receiver(settings) as receiver:
        await ships_once(tmp_path, receiver, sandbox, settings, require_node(), "ship.js")


async def test_the_curl_examples_answer_as_the_page_says(settings: Settings, tmp_path: Path) -> None:
    """Each curl of the page is answered with a success, or with 304 where the page says so."""
    assert shutil.which("curl")
    script = example("sh").replace("wait=30", "wait=1")
    async with running_receiver(settings) as receiver, program(tmp_path, receiver, "sh", "-ec", script) as output:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answers = (await output.read()).decode()
    assert "urn:portone-orders:problem:" not in answers
    assert re.findall(r"^HTTP/1.1 (\d+)", answers, re.MULTILINE) == ["200", "304"]
    [page] = [json.loads(text) for text in answers.splitlines() if text.startswith('{"events"')]
    assert [(event["type"], event["merchant_uid"]) for event in page["events"]] == [("order.registered", "order-1")]


def test_every_method_that_the_page_names_is_the_clients() -> None:
    """The list of the client's other calls is complete."""
    from portone_orders_client import OrdersClient

    sentence = re.search(r"The other calls are (.*?)\. What", PAGE, re.DOTALL)
    assert sentence
    methods = {name for name in vars(OrdersClient) if not name.startswith("_")} - {"close", "follow", "read"}
    assert set(re.findall(r"`(\w+)`", sentence[1])) == methods
