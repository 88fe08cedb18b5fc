"""`portone-orders archive`: move old orders into files, and put them back."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CommandFailed
from cli.operator import Who, Why, me
from cli.output import AsJson, count_of, print_json

if TYPE_CHECKING:
    from cli.archive_moves import ArchiveReport

archive = typer.Typer(name="archive", invoke_without_command=True)

_KEPT = {
    "open": "may still be paid",
    "problem": "have a problem",
    "refund": "are being refunded",
    "waiting": "wait for something",
}


@archive.callback()
def archive_orders(
    context: typer.Context,
    before: Annotated[
        str, typer.Option(help="Orders that were last changed before this day, 2025-01-01, at least 100 days ago.")
    ] = "",
    to: Annotated[Path | None, typer.Option(help="The archive's folder, which is made.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Then delete here what the archive has.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; write and delete nothing.")] = False,
    who: Who = "",
    why: Why = "archived by hand",
    as_json: AsJson = False,
) -> None:
    """Write orders that are old and final into files, with their payments, events, notices and refunds.

    Paid, cancelled and closed orders are, of which nothing is to come: no problem, no refund, nothing that waits. With
    --delete they are then deleted here, and reading one answers 410 with the archive's name. Their events stay, and so
    does the feed. If it is stopped, the same command goes on where it was.

    Example: portone-orders archive --before 2025-01-01 --dry-run

    Example: portone-orders archive --before 2025-01-01 --to /backup/orders-2024 --delete --why "kept two years"
    """
    if context.invoked_subcommand is not None:
        return
    from cli import archive_moves
    from cli.archive_files import ArchiveFolder

    time = archive_moves.read_time(before)
    if dry_run:
        _tell(asyncio.run(archive_moves.count(time)), as_json=as_json)
        return
    if to is None:
        raise CommandFailed("Name the folder to write with --to, or give --dry-run.")
    _tell(asyncio.run(archive_moves.archive(time, ArchiveFolder(to), delete, who or me(), why)), as_json=as_json)


@archive.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="The folder of an archive.", metavar="FOLDER")],
    only: Annotated[list[str] | None, typer.Option("--order", help="Only this order; may be given again.")] = None,
    who: Who = "",
    why: Why = "restored by hand",
    as_json: AsJson = False,
) -> None:
    """Put an archive's orders back where they came from. Orders that are here stay as they are.

    Example: portone-orders archive restore /backup/orders-2024 --why "refunds for 2024"
    """
    from cli import archive_moves
    from cli.archive_files import ArchiveFolder

    count = asyncio.run(archive_moves.restore(ArchiveFolder(folder), frozenset(only or ()), who or me(), why))
    if as_json:
        print_json({"restored": count})
    else:
        typer.echo(f"{count_of(count, 'order')} put back.")


def _tell(report: "ArchiveReport", *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for reason, count in sorted(report.kept.items()):
        typer.echo(f"{count:,} old ones stay, because they {_KEPT[reason]}.", err=True)
    if report.folder is None:
        typer.echo(f"{count_of(report.orders, 'order')} could be archived. Nothing was changed.")
        return
    size = report.bytes / 1e6
    typer.echo(f"{count_of(report.orders, 'order')} are in {report.folder}, {size:,.1f} MB.")
    if report.deleted is not None:
        typer.echo(f"{count_of(report.deleted, 'order')} deleted here.")
    if report.changed:
        typer.echo(f"{report.changed:,} have changed since they were written, and stay.", err=True)
