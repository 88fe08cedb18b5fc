"""Requests that are nearly HTTP: a mark in each, and bytes changed, left out or added. No 5xx, no byte in a log."""

import asyncio
import contextlib
import random
from collections import Counter

MARK = b"S3CRETm4rk"
_PATHS = ("/webhooks/portone/v1", "/payment/complete", "/payment-redirect", "/payments/confirm", "/orders", "/")
_AT_ONCE = 64
# One that is not whole has no answer yet.
_ANSWER_SECONDS = 1.0


def mutated(rng: random.Random) -> bytes:
    """Return a request with a mark in it, and bytes of it changed, left out or added."""
    path = rng.choice(_PATHS).encode()
    body = b'{"imp_uid":"%b","merchant_uid":"%b","amount":1}' % (MARK, MARK)
    request = bytearray(
        b"%b %b?%b=%b HTTP/1.1\r\nHost: %b\r\n%b: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (rng.choice([b"GET", b"POST", MARK]), path, MARK, MARK, MARK, b"X-" + MARK, MARK, len(body), body)
    )
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(request))
        match rng.randrange(3):
            case 0:
                request[at] = rng.randrange(256)
            case 1:
                del request[at]
            case _:
                request[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
    return bytes(request)


async def send_mutants(port: int, count: int, seed: int) -> Counter[bytes]:
    """Send this many mutated requests over raw sockets, and count the statuses of the answers."""
    rng, statuses = random.Random(seed), Counter[bytes]()  # noqa: S311 - a run that can be repeated
    requests = iter(range(count))

    async def send_on() -> None:
        for _ in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(mutated(rng))
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    statuses.update((await reader.readline()).split(b" ")[1:2])
            writer.close()

    await asyncio.gather(*(send_on() for _ in range(_AT_ONCE)))
    return statuses
