"""The work of one notice, for the workers: fetch the payment, compare it, commit the order's state."""

import os
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

_SETTLE = Path(__file__).with_name("settle.sql").read_text("utf-8")


class Work:
    """A pool of connections, kept-alive calls and one token: `await Work.open()` once a process."""

    pool: Any
    session: aiohttp.ClientSession

    @classmethod
    async def open(cls) -> "Work":
        work = cls()
        # As many statements at once as pay here: with 50 or 100 the same statement is no faster.
        work.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20)
        work.session = aiohttp.ClientSession(
            os.environ["PORTONE_API_URL"],
            connector=aiohttp.TCPConnector(limit=100),
            timeout=aiohttp.ClientTimeout(total=6),
        )
        async with work.session.post("/users/getToken", json={"imp_key": "k", "imp_secret": "s"}) as response:
            token = (await response.json(loads=orjson.loads))["response"]["access_token"]
        work.session.headers["Authorization"] = token
        return work

    async def settle(self, imp_uid: str) -> None:
        """Raise unless PortOne's payment could be read; write only what agrees with the order."""
        async with self.session.get(f"/payments/{imp_uid}") as response:
            response.raise_for_status()
            payment = orjson.loads(await response.read())["response"]
        if payment["status"] == "paid":
            await self.pool.execute(
                _SETTLE, payment["merchant_uid"], payment["amount"], payment["currency"], payment["imp_uid"]
            )

    async def close(self) -> None:
        await self.session.close()
        await self.pool.close()
