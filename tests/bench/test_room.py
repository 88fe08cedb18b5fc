"""The run among many orders, in miniature, and its table."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import orders, room_report
from bench.filling import Filling
from bench.marked import write_made
from bench.room import Plan, measure
from bench.room_report import Measured


async def test_a_run_in_miniature_measures_each_row_of_the_table(tmp_path: Path) -> None:
    """Among few orders everything that is measured works, and PortOne's list is what the filled tables say."""
    [figures] = await measure(replace(Plan.small(), sizes=(2_400,)), tmp_path)
    assert all(figures[name] > 0 for name in room_report.ROWS)


@pytest.mark.parametrize(("size", "new"), [(100_000, 16_000), (10_000_000, 16_000), (2_400, 200)])
def test_the_orders_that_are_not_paid_yet_are_as_many_as_are_settled(size: int, new: int) -> None:
    """Orders that are spread over all others are as many as the newest, and none is both."""
    filling = Filling(size, new=new)
    spread, newest = filling.pending_spread, filling.pending_new
    assert len(spread) == len(newest) == new
    assert newest[-1] == orders.FIRST + size - 1
    assert orders.FIRST <= spread[0] < spread[-1] < newest[0]
    assert spread[-1] - spread[0] > 0.8 * (size - new)


def test_tables_filled_for_a_page_have_no_order_that_waits() -> None:
    """Without new orders none is spread over the table either."""
    assert not Filling(1_000).pending_new
    assert not Filling(1_000).pending_spread


def test_the_table_has_the_ratio_of_each_figure(tmp_path: Path) -> None:
    """A figure stands with few orders, with many, and as their ratio, between the page's own words."""
    few = dict.fromkeys((*room_report.ROWS, "fill_seconds"), 200.0)
    measured = Measured((100, 1000), 256, 10, few, few | {"reads": 150.0})
    page = tmp_path / "growing.md"
    page.write_text(room_report.PAGE.read_text("utf-8"), "utf-8")
    for again in (measured, replace(measured, ledger=20)):
        write_made(page, "room", room_report.table(again, minutes=1.0))
    text = page.read_text("utf-8")
    assert "| orders read a second, anywhere in the table | 200 | 150 | 0.75 |" in text
    assert text.count("| ratio |") == 1
    assert "compared 20 payments" in text
    assert "## Changing a large table" in text
