"""Servers that speak Redis' protocol and answer as a test wants: Sentinels above all."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

Answer = Callable[[Sequence[bytes]], bytes]


@contextlib.asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve Redis' protocol on a port: each command, as its words, gets this answer."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                count = int((await reader.readuntil(b"\n"))[1:])
                words = [await _word(reader) for _ in range(count)]
                writer.write(b"+OK\r\n" if words[0] == b"CLIENT" else answer(words))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def _word(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readuntil(b"\n"))[1:])
    return (await reader.readexactly(size + 2))[:-2]


def array(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Sentinel:
    """A Sentinel's view, which a test changes: the master's port, and the epoch of the configuration."""

    def __init__(self, port: int = 0, epoch: int = 1, flags: bytes = b"master") -> None:
        self.port, self.epoch, self.flags = port, epoch, flags

    def __call__(self, words: Sequence[bytes]) -> bytes:
        state = {
            b"name": b"mymaster",
            b"ip": b"127.0.0.1",
            b"port": b"%d" % self.port,
            b"flags": self.flags,
            b"config-epoch": b"%d" % self.epoch,
        }
        return b"*1\r\n" + array(*(word for pair in state.items() for word in pair))
