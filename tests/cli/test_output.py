"""Tables and colours are for people: a pipe gets whole values, and a program JSON."""

import io
import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cli.output import count_of, print_json, print_table, progress_bar, working


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def show(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard output and standard error a terminal for the rest of the test."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return shown


_ROWS = [("order-with-a-very-long-number-0000000000000001", "paid"), ("[bold]2", "failed")]


def test_a_terminal_gets_a_table_in_which_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long value is folded, a word with a colour has it, and what looks like markup stays as it is."""
    terminal = show(monkeypatch)
    print_table(("merchant_uid", "state"), _ROWS, {"paid": "green"})
    table = terminal.getvalue()
    assert "merchant_uid" in table
    assert "\x1b[32mpaid" in table
    assert "[bold]2" in table
    assert "…" not in table


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets the table without colours."""
    terminal = show(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("merchant_uid", "state"), _ROWS, {"paid": "green"})
    assert "\x1b[32m" not in terminal.getvalue()
    assert "paid" in terminal.getvalue()


def test_a_pipe_gets_whole_values(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe each row is one line, cut at tabs, without a head; and no progress is shown."""
    with working("Waiting"), progress_bar():
        print_table(("merchant_uid", "state"), _ROWS, {"paid": "green"})
    shown = capsys.readouterr()
    assert shown.out == "".join("\t".join(row) + "\n" for row in _ROWS)
    assert shown.err == ""


def test_a_person_sees_that_something_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal what takes longer says what it does."""
    terminal = show(monkeypatch)
    with working("Asking PortOne"):
        pass
    assert "Asking PortOne …" in terminal.getvalue()


def test_json_is_indented_for_people_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person gets an indented document; Postgres' own types, times and mappings are written as JSON has them."""
    terminal = show(monkeypatch)
    print_json({"at": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=1)})
    assert terminal.getvalue() == (
        '{\n  "at": "2026-01-01T00:00:00+00:00",\n  "id": "00000000-0000-0000-0000-000000000001"\n}\n'
    )


@pytest.mark.parametrize(("number", "text"), [(0, "0 orders"), (1, "1 order"), (1200, "1,200 orders")])
def test_numbers_agree_with_their_nouns(number: int, text: str) -> None:
    """One is one order, and more are orders."""
    assert count_of(number, "order") == text
