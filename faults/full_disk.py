"""Fill the disk of a running server of ours, without root and without a disk.

Its processes may write no file beyond a size that its log has reached, so each further write to the log fails, as on a
disk that is full. The system says "File too large" (EFBIG) for it instead of "No space left on device" (ENOSPC). Linux
alone can limit a process that runs.
"""

import asyncio
import contextlib
import os
import resource
import subprocess
from pathlib import Path

import asyncpg

from cli.processes import Process

# All of Postgres' files but the segments of its log, which have 16 MB, are smaller in an episode.
_POSTGRES_BYTES = 4 * 2**20
_FILL = "SELECT pg_logical_emit_message(true, '', repeat('-', 1000000))"
_CONNECT_SECONDS = 5.0
_RECOVERY_SECONDS = 30.0
_POLL_SECONDS = 0.05


class FullDisk:
    """The disk of a server that runs, on which no file grows beyond a size until it is freed."""

    def __init__(self, process: Process, size: int) -> None:
        self._process, self._size = process, size
        self._limit(str(size))

    def free(self) -> None:
        """Let the files of the server grow again, if it still runs."""
        self._limit("unlimited")

    def start_again(self) -> None:
        """Start the server again, after it has ended, on the full disk."""
        own = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, own[1]))
        try:
            self._process.start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, own)

    def _limit(self, size: str) -> None:
        if self._process.pid and self._process.running:
            _limit(self._process.pid, size)  # which hands it on to its later children
            for child in _children(self._process.pid):
                _limit(child, size)


def _limit(pid: int, size: str) -> None:
    """Limit the files of a process. Its own user may do that, and root without all capabilities may not."""
    try:
        owner, user, group = Path(f"/proc/{pid}").stat(), None, None
        if owner.st_uid != os.getuid():
            user, group = owner.st_uid, owner.st_gid
        words = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
        subprocess.run(
            words, cwd="/", check=True, capture_output=True, user=user, group=group, extra_groups=[] if user else None
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        if Path(f"/proc/{pid}").exists():
            raise


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def fill_redis(process: Process, folder: Path) -> FullDisk:
    """Fill the disk of a Redis that keeps its data in this folder."""
    return FullDisk(process, max(file.stat().st_size for file in folder.glob("appendonlydir/*.incr.aof")))


async def fill_postgres(process: Process, url: str) -> FullDisk:
    """Fill the disk of a Postgres, whose log is written up to the limit before."""
    session = await _connect(url)
    try:
        query = "SELECT file_offset FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())"
        while await session.fetchval(query) < _POSTGRES_BYTES:
            await session.execute(_FILL)
    finally:
        session.terminate()
    return FullDisk(process, _POSTGRES_BYTES)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect once it has recovered, because its disk may have been full a moment ago."""
    async with asyncio.timeout(_RECOVERY_SECONDS):
        while True:
            try:
                return await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
            except asyncpg.CannotConnectNowError:
                await asyncio.sleep(_POLL_SECONDS)


async def write_until_full(url: str) -> None:
    """Write to a Postgres whose disk is full until it fails. It then tries to recover, again and again."""
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        session = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            while True:
                await session.execute(_FILL)
        finally:
            session.terminate()
