"""Move old orders into an archive's files and back. Apart from the command, whose start need not import databases."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from cli.archive_files import ArchiveFolder, Manifest
from cli.errors import CommandFailed
from cli.output import progress_bar
from cli.settings_source import load_settings
from service.db import archives
from service.db.archives import Deleted
from service.db.pool import Pool, in_statement, open_pool
from service.usecases import archiving

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_ORDERS_IN_A_PART = 10_000


@dataclass(frozen=True, slots=True)
class Job:
    """A run of the command: the database, and what shows how far it is."""

    pool: Pool
    progress: "Progress"

    def bar(self, what: str, total: int | None) -> "Callable[[int], None]":
        """Show how far this is; return what moves it on."""
        task: TaskID = self.progress.add_task(what, total=total)
        return lambda count: self.progress.advance(task, count)


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """The result of a run.

    `deleted` None: nothing was to be deleted. `changed`: orders that have changed since they were written, and stay
    here. `folder` None: they were only counted.
    """

    folder: str | None
    before: datetime
    orders: int
    rows: dict[str, int]
    kept: dict[str, int]
    bytes: int = 0
    deleted: int | None = None
    changed: int = 0


def read_time(text: str) -> datetime:
    """Return the time that a person means, which is local unless it says otherwise. Raises CommandFailed."""
    try:
        time = datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise CommandFailed(f"--before must be a day, like 2025-01-01, not {text!r}.") from None
    if datetime.now(UTC) - time < archiving.LEAST_AGE:
        days = archiving.LEAST_AGE.days
        raise CommandFailed(f"--before must be at least {days} days ago: younger orders are compared with PortOne.")
    return time


@asynccontextmanager
async def _open() -> AsyncIterator[Job]:
    settings = load_settings().require("database_url")
    pool = await open_pool(settings.database_url.get_secret_value(), 1)
    try:
        with progress_bar() as progress:
            yield Job(pool, progress)
    finally:
        await pool.close()


async def count(before: datetime) -> ArchiveReport:
    rows, kept = Counter[str](), Counter[str]()
    async with _open() as job:
        advance = job.bar("Counting", await in_statement(job.pool, archives.expected))
        after: str | None = ""
        while after is not None:
            walked = await archiving.walk(job.pool, after, before, contents=False)
            rows["orders"] += len(walked.content)
            kept += Counter(walked.kept)
            advance(walked.count)
            after = walked.last
    return ArchiveReport(None, before, rows["orders"], dict(rows), dict(kept))


async def archive(before: datetime, folder: ArchiveFolder, delete: bool, who: str, why: str) -> ArchiveReport:
    async with _open() as job:
        manifest = await _write(job, folder, _begun(folder, before, who))
        deleted = await _delete(job, folder, manifest, who, why) if delete else None
    size = sum(part.bytes for part in manifest.parts)
    report = ArchiveReport(str(folder.path), before, manifest.orders, manifest.rows, manifest.kept, size)
    return replace(report, deleted=deleted.deleted, changed=deleted.changed) if deleted else report


def _begun(folder: ArchiveFolder, before: datetime, who: str) -> Manifest:
    """Return the folder's manifest, which is new where the folder is. Raises CommandFailed."""
    manifest = folder.manifest()
    if manifest is None:
        folder.make()
        manifest = Manifest.begun(before, who)
        folder.write(manifest)
    if manifest.before != before:
        raise CommandFailed(f"{folder.path} has the orders before {manifest.before:%Y-%m-%d}: name another folder.")
    return manifest


async def _write(job: Job, folder: ArchiveFolder, manifest: Manifest) -> Manifest:
    """Write the parts that are missing."""
    advance = job.bar("Writing", await in_statement(job.pool, archives.expected))
    while not manifest.complete:
        manifest = await _write_part(job, folder, manifest, advance)
        folder.write(manifest)
    return manifest


async def _write_part(job: Job, folder: ArchiveFolder, manifest: Manifest, advance: Callable[[int], None]) -> Manifest:
    orders, kept, after, complete = dict[str, str](), Counter[str](), manifest.after, False
    while len(orders) < _ORDERS_IN_A_PART and not complete:
        walked = await archiving.walk(job.pool, after, manifest.before)
        orders |= walked.content
        kept += Counter(walked.kept)
        advance(walked.count)
        after, complete = walked.last or after, walked.last is None
    part = folder.write_part(len(manifest.parts) + 1, orders) if orders else None
    return replace(manifest.with_part(part, _count_rows(orders.values()), kept, after), complete=complete)


def _count_rows(lines: Iterable[str]) -> Counter[str]:
    """Count the rows of each kind."""
    rows = Counter[str]()
    for line in lines:
        rows["orders"] += 1
        rows.update({kind: len(value) for kind, value in orjson.loads(line).items() if isinstance(value, list)})
    return rows


async def _delete(job: Job, folder: ArchiveFolder, manifest: Manifest, who: str, why: str) -> Deleted:
    """Delete what the archive has, batch by batch."""
    mark, deleted, changed = folder.mark(manifest), 0, 0
    number = await archiving.begin_deleting(job.pool, mark, who, why)
    for lines in _batches(job, folder, manifest, "Deleting"):
        batch = await archiving.delete(job.pool, number, mark, lines)
        deleted, changed = deleted + batch.deleted, changed + batch.changed
    return Deleted(deleted, changed)


async def restore(folder: ArchiveFolder, wanted: frozenset[str], who: str, why: str) -> int:
    manifest, count = folder.manifest(), 0
    if manifest is None:
        raise CommandFailed(f"{folder.path} has no manifest.json: name the folder of an archive.")
    async with _open() as job:
        await archiving.begin_restoring(job.pool, folder.mark(manifest), who, why)
        for lines in _batches(job, folder, manifest, "Restoring"):
            count += await archiving.restore(job.pool, [line for line in lines if _is_wanted(line, wanted)])
    return count


def _is_wanted(line: str, wanted: frozenset[str]) -> bool:
    return not wanted or orjson.loads(line)["order"]["merchant_uid"] in wanted


def _batches(job: Job, folder: ArchiveFolder, manifest: Manifest, what: str) -> Iterator[Sequence[str]]:
    """Yield the archive's orders, as many as one transaction moves."""
    advance = job.bar(what, manifest.orders)
    for part in manifest.parts:
        lines = folder.lines(part)
        while batch := list(islice(lines, archiving.MOVED_AT_ONCE)):
            yield batch
            advance(len(batch))
