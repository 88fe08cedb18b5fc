"""A small TCP proxy between two parts that can cut, delay and go half-open."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

_CHUNK = 64 * 1024


class Proxy:
    """Listens on a free loopback port and forwards to its targets, one after the other.

    Half-open means that connections stay open, and new ones are accepted, but no data arrives.
    """

    def __init__(self, name: str, targets: Sequence[int]) -> None:
        self.name = name
        self.delay_seconds = 0.0
        self.cuts = 0
        self._targets = itertools.cycle(targets)
        self._forwarding = asyncio.Event()
        self._forwarding.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection, those that are being made included."""
        if self._server:
            self._server.close()
            self._server = None
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection."""
        self.cuts += len(self._writers) // 2
        for writer in list(self._writers):
            writer.transport.abort()

    def go_half_open(self) -> None:
        self._forwarding.clear()

    def heal(self) -> None:
        """Forward again, at once. Half-open connections are reset, because their missing data is unknown."""
        self.delay_seconds = 0.0
        if not self._forwarding.is_set():
            self.cut()
            self._forwarding.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # stopped meanwhile
            writer.transport.abort()
            return
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        writer = self._serving.pop(task)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._forwarding.wait()
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", next(self._targets))
            self._writers.add(target_writer)
            try:
                await asyncio.gather(self._pump(reader, target_writer), self._pump(target_reader, writer))
            finally:
                self._writers.discard(target_writer)
                target_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._forwarding.wait()
                writer.write(chunk)
                await writer.drain()
        if writer.can_write_eof() and not writer.transport.is_closing():
            with contextlib.suppress(OSError):
                writer.write_eof()
