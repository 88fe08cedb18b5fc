"""An endpoint that verifies with the `standardwebhooks` package and misbehaves at random; `receiver.mjs` is its twin.

`python -m faults.told.receiver PORT LOG SECRET TRAP SHARE`: whatever it accepts is in the log before it is answered, so
that a killed endpoint forgets nothing. SHARE of the requests meet a fault; TRAP is where its redirects lead.
"""

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

FAULTS = ("fail", "throttle", "redirect", "garbage", "reset", "stall", "slow")
# These accept the webhook; `stall` never says so, and `slow` says it late.
_ACCEPTING = ("stall", "slow")
_SLOW_SECONDS = 0.5


class Receiver:
    """One endpoint, with what it needs to decide each request."""

    def __init__(self, log: Path, secret: str, trap: str, share: float) -> None:
        self._webhook = Webhook(secret)
        self._log = log.open("ab", buffering=0)
        self._trap = trap
        self._share = share
        self._random = Random()  # noqa: S311 - faults, no secrets

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._random.choice(FAULTS) if self._random.random() < self._share else None
        if fault is None or fault in _ACCEPTING:
            self._log.write(orjson.dumps(self._record(body, dict(request.headers))) + b"\n")
        return web.Response(status=204) if fault is None else await self._misbehave(fault, request)

    def _record(self, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        try:
            data: dict[str, Any] = self._webhook.verify(body, headers)["data"]
        except WebhookVerificationError as error:
            return {"verified": str(error)}
        return data | {"id": request_id(headers), "verified": True}

    async def _misbehave(self, fault: str, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None  # noqa: S101 - the request is being answered
        match fault:
            case "fail":
                return web.Response(status=500, text="broken")
            case "throttle":
                return web.Response(status=429, headers={"Retry-After": "0"})
            case "redirect":
                return web.Response(status=307, headers={"Location": self._trap})
            case "garbage":
                transport.write(b"\x00\xffgarbage\r\n\r\n")
                transport.close()
            case "reset":
                transport.abort()
            case "stall":
                await asyncio.sleep(3600)
            case _:
                await asyncio.sleep(_SLOW_SECONDS)
        return web.Response()


def request_id(headers: dict[str, str]) -> str:
    """Return the id of a webhook, however its header is spelt."""
    return next(value for name, value in headers.items() if name.lower() == "webhook-id")


def main() -> None:
    port, log, secret, trap, share = sys.argv[1:]
    app = web.Application()
    app.router.add_post("/", Receiver(Path(log), secret, trap, float(share)).take)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None, handle_signals=False)


if __name__ == "__main__":
    main()
