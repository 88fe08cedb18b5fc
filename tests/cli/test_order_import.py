"""An import registers every line of a file once, tells what was refused, and goes on after it was stopped."""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from cli.calls import Server
from cli.errors import CommandFailed
from cli.import_progress import ImportProgress
from cli.order_file import OrderFile
from cli.order_import import import_file
from service.db.pool import Pool
from tests.cli.conftest import Commands
from tests.ports import own_port
from tests.running import bearer, until


async def refused_lines(report: Path) -> list[tuple[str, str]]:
    with report.open(encoding="utf-8-sig", newline="") as file:
        return [(row["line"], row["reason"]) for row in csv.DictReader(file)]


async def test_a_file_is_imported_and_its_refused_lines_are_reported(commands: Commands, tmp_path: Path) -> None:
    """New orders are registered, known ones left as they are, and refused ones reported, by us and by the service."""
    file = tmp_path / "orders.csv"
    file.write_text("merchant_uid,amount,account\nold-1,100,\nnew-1,200,\nold-2,300,\nbad-1,x,\nbad-2,1,nobody\n")
    await commands.run("order", "register", "old-1", "100")
    await commands.run("order", "register", "old-2", "999")
    code, output = await commands.run_to_end("orders", "import", "orders.csv", "--json")
    assert code == 1
    report = file.with_name("orders.csv.refused.csv")
    counts = {"registered": 1, "known": 1, "refused": 3, "report": report.name}
    assert json.loads(output.splitlines()[0]) == counts
    assert "3 lines refused: orders.csv.refused.csv has each with its reason." in output
    lines = await refused_lines(report)
    assert [number for number, _ in lines] == ["4", "5", "6"]
    for (_, reason), words in zip(lines, ("with other terms", "'x' is not an amount", "account"), strict=True):
        assert words in reason
    assert (await commands.service.read("new-1"))["amount"] == 200
    assert not file.with_name("orders.csv.progress").exists()


async def test_a_stopped_import_goes_on_where_it_was(commands: Commands, pool: Pool, tmp_path: Path) -> None:
    """A second run sends only what was not done; every order is registered once, and no refusal is reported twice."""
    path, report = tmp_path / "orders.csv", tmp_path / "refused.csv"
    rows = [f"order-{number},{'x' if number % 500 == 0 else 100}" for number in range(1, 4_001)]
    path.write_text("\n".join(["merchant_uid,amount", *rows, ""]))
    service = Server(commands.service.url, "The service", "start it", "BASE_URL", bearer())
    orders = OrderFile.of(path, "utf-8")
    first = ImportProgress(orders, report)
    running = asyncio.create_task(import_file(orders, first, service))

    async def has_begun() -> bool:
        return first.counts.done > 500

    await until(has_begun)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert first.counts.done < 4_001
    with report.open("a") as file:  # as if it had been killed before it saved
        file.write("2,,,")
    second = ImportProgress(orders, report)
    assert second.is_resumed
    await import_file(orders, second, service)
    counts = second.counts
    assert (counts.registered + counts.known, counts.refused) == (3_992, 8)
    assert await pool.fetchval("SELECT count(*) FROM orders") == 3_992
    assert await pool.fetchval("SELECT count(*) FROM order_events") == 3_992
    assert [number for number, _ in await refused_lines(report)] == [
        str(number + 1) for number in range(500, 4_001, 500)
    ]


async def test_large_orders_fit_into_their_calls(commands: Commands, tmp_path: Path) -> None:
    """Orders whose texts are long, in letters that take six bytes in a call, go out in as many calls as they need."""
    metadata = json.dumps({"memo": "양" * 600}, ensure_ascii=False).replace('"', '""')
    lines = "".join(f'order-{number},1,"{metadata}"\n' for number in range(400))
    (tmp_path / "orders.csv").write_text(f"merchant_uid,amount,metadata\n{lines}")
    assert "400 orders registered" in await commands.run("orders", "import", "orders.csv")


async def test_a_file_that_has_changed_is_begun_again(commands: Commands, tmp_path: Path) -> None:
    """The progress is of one content: another file of the same name is imported from its first line."""
    path = tmp_path / "orders.csv"
    path.write_text("merchant_uid,amount\na,1\nb,1\n")
    ImportProgress(OrderFile.of(path, "utf-8"), tmp_path / "report.csv").save(3, 2, 0, [])
    path.write_text("merchant_uid,amount\nc,1\nd,1\n")
    assert "2 orders registered" in await commands.run("orders", "import", "orders.csv")


async def test_what_keeps_it_from_importing_is_one_sentence(commands: Commands, tmp_path: Path) -> None:
    """A wrong key, a wrong address or no file is told in one sentence."""
    (tmp_path / "orders.csv").write_text("merchant_uid,amount\na,1\n")
    with pytest.raises(CommandFailed, match="refuses the key: set SERVICE_KEY"):
        await commands.run("orders", "import", "orders.csv", SERVICE_KEY="wrong")
    nobody = f"http://127.0.0.1:{own_port()}"
    with pytest.raises(CommandFailed, match=r"does not answer .*: start it with `make run`"):
        await commands.run("orders", "import", "orders.csv", BASE_URL=nobody)
    with pytest.raises(CommandFailed, match=r"none.csv cannot be read .*: name a file that you may read"):
        await commands.run("orders", "import", "none.csv")
