"""The obvious handlers on aiohttp and asyncpg, one statement a request: `python -m bench.alternatives.plain PORT`.

They promise nothing: no notice is recorded, no look is shared, nothing is tried again, and no key is asked for.
"""

import asyncio
import os
import sys
from typing import Any

import aiohttp
import asyncpg
import orjson
import uvloop
from aiohttp import web

_REGISTER = """
    INSERT INTO plain_orders (merchant_uid, amount, currency, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
_READ = """
    SELECT merchant_uid, state, amount, currency, paid_amount, imp_uid, name, created_at, updated_at
    FROM plain_orders WHERE merchant_uid = $1
"""
_PAYABLE = "SELECT amount FROM plain_orders WHERE merchant_uid = $1 AND state = 'pending'"
_PAY = """
    UPDATE plain_orders SET state = 'paid', paid_amount = $2, imp_uid = $4, updated_at = now()
    WHERE merchant_uid = $1 AND amount = $2 AND currency = $3
"""


class Shop:
    """The handlers, with a pool of connections, kept-alive calls and one token."""

    def __init__(self, pool: Any, portone: aiohttp.ClientSession) -> None:
        self._pool, self._portone = pool, portone

    async def register(self, request: web.Request) -> web.Response:
        order = orjson.loads(await request.read())
        values = (order["merchant_uid"], order["amount"], order["currency"], order["name"])
        done = await self._pool.execute(_REGISTER, *values)
        return _answer(order, 201 if done == "INSERT 0 1" else 200)

    async def read(self, request: web.Request) -> web.Response:
        row = await self._pool.fetchrow(_READ, request.match_info["merchant_uid"])
        return _answer(dict(row)) if row else _answer({}, 404)

    async def confirm(self, request: web.Request) -> web.Response:
        question = orjson.loads(await request.read())
        amount = await self._pool.fetchval(_PAYABLE, question["merchant_uid"])
        return _answer({}) if amount == question["amount"] else _answer({"reason": "not payable"}, 409)

    async def complete(self, request: web.Request) -> web.Response:
        """Answer the browser's call and PortOne's webhook alike: fetch the payment, compare and write."""
        notice = orjson.loads(await request.read())
        async with self._portone.get(f"/payments/{notice['imp_uid']}") as response:
            response.raise_for_status()
            payment = orjson.loads(await response.read())["response"]
        values = (payment["merchant_uid"], payment["amount"], payment["currency"], payment["imp_uid"])
        paid = payment["status"] == "paid" and await self._pool.execute(_PAY, *values) == "UPDATE 1"
        return _answer({"state": "paid"}) if paid else _answer({"reason": "not paid"}, 400)


def _answer(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def serve(port: int) -> None:
    """Serve until the process is stopped."""
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10)
    portone = aiohttp.ClientSession(os.environ["PORTONE_API_URL"], connector=aiohttp.TCPConnector(limit=100))
    async with portone.post("/users/getToken", json={"imp_key": "k", "imp_secret": "s"}) as response:
        portone.headers["Authorization"] = orjson.loads(await response.read())["response"]["access_token"]
    shop, app = Shop(pool, portone), web.Application()
    app.router.add_post("/orders", shop.register)
    app.router.add_get("/orders/{merchant_uid}", shop.read)
    app.router.add_post("/payments/confirm", shop.confirm)
    app.router.add_post("/payment/complete", shop.complete)
    app.router.add_post("/webhooks/portone/v1", shop.complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
