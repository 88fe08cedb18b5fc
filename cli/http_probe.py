"""One GET, for a server that is starting: without a client library, whose import takes longer than the start."""

import asyncio


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Whether it answers 200."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
    finally:
        writer.close()
