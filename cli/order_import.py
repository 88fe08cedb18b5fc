"""`portone-orders orders import`: register the orders of a CSV file, batch by batch."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.addresses import Addresses
from cli.calls import Server, key_refused, service_at
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.import_progress import ImportProgress
from cli.order_file import OrderFile, OrderLine
from cli.output import AsJson, count_of, print_json, progress_bar
from service.settings import Settings

if TYPE_CHECKING:
    from portone_orders_client.calls import Calls

_PATH = "/orders:batch"
# What it takes.
_ORDERS_MAX, _BYTES_MAX = 500, 900_000
# A service that restarts is waited for; one that is away for longer is named, and the import goes on later.
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch: how many orders are new or were known, and the lines that were refused, with reasons."""

    new: int
    known: int
    refused: Sequence[tuple[OrderLine, str]]


def import_orders(
    file: Annotated[Path, typer.Argument(help="A CSV file whose first line names the columns.", metavar="FILE.csv")],
    report: Annotated[
        Path | None, typer.Option(help="Where to write the refused lines; else FILE.csv.refused.csv.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="The file's encoding: Korean Excel may save cp949.")] = "utf-8-sig",
    as_json: AsJson = False,
) -> None:
    """Register the orders of a CSV file. If it is stopped, the same command goes on where it was.

    Columns: merchant_uid and amount, and perhaps currency, name, account, tier, expires_at, allow_billing_key_issue,
    metadata (JSON). Amounts are in the currency's own unit, as for `order register`. An order that is registered with
    the same terms already is left as it is. Lines that are refused are written to a CSV file, each with its reason;
    then the exit code is 1.

    Example: portone-orders orders import orders.csv
    """
    try:
        orders = OrderFile.of(file, encoding)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read ({error.strerror}): name a file that you may read.") from None
    progress = ImportProgress(orders, report or file.with_name(f"{file.name}.refused.csv"))
    if progress.is_resumed:
        typer.echo(f"Going on behind line {progress.counts.done} of {file}, where the last run stopped.", err=True)
    asyncio.run(import_file(orders, progress, service_at(Addresses.find(Settings.load()))))
    _tell(progress, as_json=as_json)


def _tell(progress: ImportProgress, *, as_json: bool) -> None:
    counts = progress.counts
    report = str(progress.report) if counts.refused else None
    if as_json:
        totals = {"registered": counts.registered, "known": counts.known, "refused": counts.refused}
        print_json(totals | {"report": report})
    else:
        typer.echo(f"{count_of(counts.registered, 'order')} registered, {counts.known:,} were known already.")
    if report:
        typer.echo(f"{count_of(counts.refused, 'line')} refused: {report} has each with its reason.", err=True)
        raise typer.Exit(ExitCode.FAILED)


async def import_file(orders: OrderFile, progress: ImportProgress, service: Server) -> None:
    """Send the lines that are not done, and save the progress after each batch."""
    await service.call("GET", "/healthz")  # says at once that it does not run, where a later call would wait for it
    progress.begin()
    with progress_bar() as bar:
        task = bar.add_task(orders.path.name, total=max(orders.lines, 1), completed=progress.counts.done)
        async with _calls(service) as calls:
            for lines in _batches(orders.read(after=progress.counts.done)):
                result = await _send(calls, service, progress.counts.run, lines)
                progress.save(lines[-1].number, result.new, result.known, result.refused)
                bar.update(task, completed=lines[-1].number)
    progress.end()


@asynccontextmanager
async def _calls(service: Server) -> "AsyncIterator[Calls]":
    import aiohttp
    from portone_orders_client.calls import Calls

    async with aiohttp.ClientSession() as session:
        yield Calls(service.url, service.key, session)


def _batches(lines: Iterator[OrderLine]) -> Iterator[list[OrderLine]]:
    """Yield the lines in batches that one call may have."""
    batch, size = list[OrderLine](), 0
    for line in lines:
        length = len(json.dumps(line.order))  # as it is sent, where a Korean letter takes six bytes
        if batch and (len(batch) == _ORDERS_MAX or size + length > _BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


async def _send(calls: "Calls", service: Server, run: str, lines: Sequence[OrderLine]) -> BatchResult:
    """Send a batch until each of its orders has an answer that will not get better."""
    refused = [(line, line.refusal) for line in lines if line.order is None]
    waiting, new, known = [line for line in lines if line.order is not None], 0, 0
    # With it a batch whose answer was lost gets that answer again, and its new orders are not counted as known.
    key = f"{run}-{lines[0].number}"
    ends = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while waiting:
        results = await _call(calls, service, [line.order for line in waiting], key)
        answered = list(zip(waiting, results, strict=True))
        new += sum(result["status"] == 201 for result in results)
        known += sum(result["status"] == 200 for result in results)
        refused += [(line, _reason(result)) for line, result in answered if 400 <= result["status"] < 500]
        waiting, key = [line for line, result in answered if result["status"] >= 500], ""
        if waiting and asyncio.get_running_loop().time() > ends:
            raise CommandFailed(f"The service cannot write now ({_reason(results[-1])}): run the command again later.")
        await asyncio.sleep(_PAUSE_SECONDS if waiting else 0)
    return BatchResult(new, known, sorted(refused, key=lambda each: each[0].number))


async def _call(calls: "Calls", service: Server, orders: Sequence[object], key: str) -> list[dict[str, Any]]:
    """Make one call and return its results. One that a stopped run began is waited for: it has the same key."""
    from portone_orders_client.calls import Refused, Unreachable

    body, headers = {"orders": orders}, {"Idempotency-Key": key} if key else {}
    while True:
        try:
            answer = await calls.make("POST", _PATH, body=body, headers=headers, patience=_PATIENCE_SECONDS)
        except Refused as refused:
            if refused.kind != "idempotency-key-in-use":
                raise key_refused(service) if refused.status == 401 else CommandFailed(refused.detail) from None
            await asyncio.sleep(_PAUSE_SECONDS)
        except Unreachable as error:
            again = f"{service.start}, or correct {service.setting}, and run the same command again"
            raise CommandFailed(f"{error}: {again}.") from None
        else:
            results: list[dict[str, Any]] = answer.fields["results"]
            return results


def _reason(result: dict[str, Any]) -> str:
    return str((result["problem"] or {}).get("detail") or f"The service answers {result['status']}.")
