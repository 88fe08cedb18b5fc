"""The progress of an import of orders, in files beside its own, so that it goes on after it was stopped."""

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import orjson

from cli.files import read_or_none, write_private
from cli.order_file import COLUMNS, OrderFile, OrderLine


@dataclass
class ImportCounts:
    """The lines that are done, up to the number `done`, and the size of the report that has the refused ones.

    `run` names this import in its Idempotency-Keys: one that begins again must not get the last one's answers.
    """

    digest: str
    run: str
    done: int = 0
    registered: int = 0
    known: int = 0
    refused: int = 0
    report_bytes: int = 0


class ImportProgress:
    """The progress of one import. A crash between two saves repeats at most one batch, which changes nothing."""

    def __init__(self, file: OrderFile, report: Path) -> None:
        self.report = report
        self._path = file.path.with_name(f"{file.path.name}.progress")
        self.counts = _loaded(self._path, file.digest) or ImportCounts(file.digest, uuid4().hex)

    @property
    def is_resumed(self) -> bool:
        """True if an earlier run has done a part."""
        return self.counts.done > 0

    def begin(self) -> None:
        """Write down which run this is, before anything is sent under its name."""
        self._write()

    def save(self, done: int, new: int, known: int, refused: Iterable[tuple[OrderLine, str]]) -> None:
        """Add a batch. The report is written first, and cut back to what is saved when an import goes on."""
        counts, lines = self.counts, list(refused)
        if lines:
            counts.report_bytes = _append(self.report, counts.report_bytes, lines)
        counts.done, counts.registered, counts.known = done, counts.registered + new, counts.known + known
        counts.refused += len(lines)
        self._write()

    def _write(self) -> None:
        write_private(self._path, orjson.dumps(asdict(self.counts)).decode())

    def end(self) -> None:
        """Forget the progress: every line is done."""
        self._path.unlink(missing_ok=True)


def _loaded(path: Path, digest: str) -> ImportCounts | None:
    """Return what an earlier run of the same content has saved."""
    try:
        counts = ImportCounts(**orjson.loads(read_or_none(path) or ""))
    except (orjson.JSONDecodeError, TypeError):
        return None
    return counts if counts.digest == digest else None


def _append(report: Path, size: int, lines: Iterable[tuple[OrderLine, str]]) -> int:
    """Write refused lines behind the first `size` bytes of the report. Returns its new size."""
    with report.open("r+" if size else "w", encoding="utf-8-sig" if not size else "utf-8", newline="") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        writer = csv.DictWriter(file, ("line", "reason", *COLUMNS), extrasaction="ignore", restval="")
        if not size:
            writer.writeheader()
        writer.writerows({**line.fields, "line": line.number, "reason": reason} for line, reason in lines)
        file.flush()
        os.fsync(file.fileno())
    return report.stat().st_size
