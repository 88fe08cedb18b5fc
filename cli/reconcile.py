"""`portone-orders reconcile`: compare PortOne's own list with what is stored, now."""

import asyncio
import time
from datetime import timedelta
from typing import Annotated

import typer

from cli.ago import read_ago
from cli.errors import CommandFailed
from cli.operator import Who, Why, me
from cli.output import AsJson, print_json, print_table

_LONGEST = timedelta(days=90)
_COLUMNS = ("imp_uid", "merchant_uid")


def reconcile(
    since: Annotated[str, typer.Option(help="How far back: 30m, 12h, 2d; at most 90d.")] = "2d",
    dry_run: Annotated[bool, typer.Option(help="Only print the differences; change nothing.")] = False,
    who: Who = "",
    why: Why = "reconciled by hand",
    as_json: AsJson = False,
) -> None:
    """Compare PortOne's list with what is stored, and have every difference looked at by the workers.

    Example: portone-orders reconcile --since 12h --dry-run
    """
    from cli.reconcile_walk import walk

    count, differing = asyncio.run(walk(_seconds_ago(since), dry_run, who or me(), why))
    if as_json:
        payments = [dict(zip(_COLUMNS, names, strict=True)) for names in differing]
        print_json({"count": count, "changed": not dry_run, **({"payments": payments} if dry_run else {})})
        return
    print_table(_COLUMNS, differing)
    differ, they = ("1 payment differs", "It") if count == 1 else (f"{count} payments differ", "They")
    typer.echo(f"{differ}. " + ("Nothing was changed." if dry_run else f"{they} will be looked at."))


def _seconds_ago(since: str) -> int:
    ago = read_ago(since)
    if ago is None or not timedelta() < ago <= _LONGEST:
        raise CommandFailed(f"--since must be like 30m, 12h or 2d, and at most 90d, not {since!r}.")
    return int(time.time() - ago.total_seconds())
