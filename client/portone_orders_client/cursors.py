"""Where a follower keeps its place in the feed, so that it goes on there after its own restart."""

import asyncio
import os
from pathlib import Path
from typing import Protocol


class CursorStore(Protocol):
    """A place for one follower's cursor. Keep it with what the follower does: best in the same database transaction."""

    async def load(self) -> str | None:
        """Return the cursor that was saved last, or None before the first."""
        ...

    async def save(self, cursor: str) -> None:
        """Keep the cursor. Once this returns, a restart must find it."""
        ...


class MemoryCursor:
    """A cursor that is forgotten with the process, for followers that only look."""

    def __init__(self) -> None:
        self._cursor: str | None = None

    async def load(self) -> str | None:
        """Return the cursor."""
        return self._cursor

    async def save(self, cursor: str) -> None:
        """Keep the cursor."""
        self._cursor = cursor


class FileCursor:
    """A cursor in a file, which is replaced as a whole: a crash leaves the old one or the new one, never a part."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    async def load(self) -> str | None:
        """Return the cursor in the file, or None if there is no file."""
        return await asyncio.to_thread(self._read)

    async def save(self, cursor: str) -> None:
        """Write the cursor to the disk."""
        await asyncio.to_thread(self._write, cursor)

    def _read(self) -> str | None:
        try:
            return self._path.read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def _write(self, cursor: str) -> None:
        new = self._path.with_name(f"{self._path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            file.write(cursor)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
