"""Probe a starting server with a GET. No client library is used, because its import takes longer than the start."""

import asyncio


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Return whether the server answers 200."""
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
