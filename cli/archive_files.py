"""The files of an archive: a manifest, and parts of orders as gzipped JSON lines, an order a line.

A part appears whole or not at all, and then the manifest names it. So whoever is killed goes on behind the last part.
"""

import gzip
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import orjson

from cli.errors import CommandFailed
from cli.files import read_or_none
from service.db.migrate import sql_files
from service.usecases.archiving import Mark

_MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """A file of the archive: how many orders it has, the numbers of its first and last, its size and its digest."""

    file: str
    orders: int
    first: str
    last: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of an archive: all orders that were last changed before a time, and could be archived.

    `schema` names the migrations of the database that it came from. `rows` counts what the parts have, `kept` the old
    orders that stayed, by reason. `after` is the last number that was walked.
    """

    id: UUID
    before: datetime
    made_at: datetime
    made_by: str
    schema: Sequence[str]
    format: int = _FORMAT
    program: str = field(default_factory=lambda: version("portone-orders"))
    complete: bool = False
    after: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    parts: Sequence[ArchivePart] = ()

    @classmethod
    def begun(cls, before: datetime, who: str) -> Self:
        """Return the manifest of a new archive."""
        return cls(uuid4(), before, datetime.now(before.tzinfo), who, list(sql_files()))

    @property
    def orders(self) -> int:
        return self.rows.get("orders", 0)

    def with_part(self, part: ArchivePart | None, rows: Counter[str], kept: Counter[str], after: str) -> "Manifest":
        """Return the manifest with one more part, if there were orders for it."""
        return replace(
            self,
            after=after,
            rows=dict(Counter(self.rows) + rows),
            kept=dict(Counter(self.kept) + kept),
            parts=[*self.parts, part] if part else self.parts,
        )


@dataclass(frozen=True, slots=True)
class ArchiveFolder:
    """The folder of one archive."""

    path: Path

    def mark(self, manifest: Manifest) -> Mark:
        """Return what the database keeps of the archive."""
        return Mark(manifest.id, self.path.resolve().name, manifest.before)

    def make(self) -> None:
        """Make the folder, unless it is there, so that the disk knows it. Raises CommandFailed where it has files."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(self.path.resolve().parent)
        if any(self.path.iterdir()):
            raise CommandFailed(f"{self.path} has other files: name a folder that is new or empty.")

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None where the folder has none. Raises CommandFailed."""
        text = read_or_none(self.path / _MANIFEST)
        if text is None:
            return None
        try:
            read: dict[str, Any] = orjson.loads(text)
            if read["format"] != _FORMAT:
                raise CommandFailed(f"{self.path} has another format than this version reads: use a newer version.")
            read |= {
                "id": UUID(read["id"]),
                "before": datetime.fromisoformat(read["before"]),
                "made_at": datetime.fromisoformat(read["made_at"]),
                "parts": [ArchivePart(**part) for part in read["parts"]],
            }
            return Manifest(**read)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise CommandFailed(f"{self.path / _MANIFEST} cannot be read: take the archive from a copy.") from None

    def write(self, manifest: Manifest) -> None:
        """Write the manifest, and return once the disk has it: orders are deleted because of what it says."""
        self._write(_MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))

    def write_part(self, number: int, orders: Mapping[str, str]) -> ArchivePart:
        """Write orders' lines, and return once the disk has them."""
        data = gzip.compress("".join(f"{line}\n" for line in orders.values()).encode(), compresslevel=6, mtime=0)
        name, numbers = f"orders-{number:05}.jsonl.gz", list(orders)
        self._write(name, data)
        return ArchivePart(name, len(orders), numbers[0], numbers[-1], len(data), sha256(data).hexdigest())

    def _write(self, name: str, data: bytes) -> None:
        """Write a file that only its owner can read, whole or not at all."""
        written = self.path / f".{name}"
        with open(written, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.path / name)
        _sync(self.path)

    def lines(self, part: ArchivePart) -> Iterator[str]:
        """Yield the part's orders. Raises CommandFailed before the first unless the file is as it was written."""
        try:
            data = (self.path / part.file).read_bytes()
        except OSError as error:
            raise CommandFailed(f"{self.path / part.file} cannot be read ({error.strerror}).") from None
        if sha256(data).hexdigest() != part.sha256:
            raise CommandFailed(f"{self.path / part.file} is not as it was written: take it from a copy.")
        yield from gzip.decompress(data).decode().removesuffix("\n").split("\n")


def _sync(folder: Path) -> None:
    """Have the disk know the folder's new names."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
