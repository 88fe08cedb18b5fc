"""Print a command's answer: tables and colours on a terminal, tab-separated lines in a pipe, JSON with `--json`."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def on_terminal() -> bool:
    """Return whether a person sees the output as it comes."""
    return sys.stdout.isatty()


def print_json(value: object) -> None:
    """Print one JSON document: indented for a person, on one line in a pipe."""
    import orjson

    option = orjson.OPT_INDENT_2 if on_terminal() else None
    typer.echo(orjson.dumps(value, default=_plain, option=option).decode())


def _plain(value: Any) -> object:
    """Return what JSON has for a value that it lacks: a text for Postgres' own UUIDs, an object for a mapping."""
    return str(value) if isinstance(value, UUID) else dict(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Mapping[str, str] | None = None) -> None:
    """Print a table where a person sees all of it, and otherwise whole values that a program can cut at the tabs.

    `styles`: the colours of the words that have one.
    """
    given = list(rows)
    if not on_terminal():
        typer.echo("".join("\t".join(row) + "\n" for row in given), nl=False)
    elif given:
        from rich import box
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        table = Table(*(Column(name, overflow="fold") for name in columns), box=box.SIMPLE_HEAD)  # nothing is cut off
        for row in given:
            # Text, because a value may look like markup.
            table.add_row(*(Text(value, (styles or {}).get(value, "")) for value in row))
        Console().print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is being done for as long as it is, on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} …"):
        yield


def progress_bar() -> "Progress":
    """Return a progress bar on standard error; it shows only where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: 1 order, 2 orders."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
