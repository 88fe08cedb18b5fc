"""A thin aiohttp receiver: `python -m bench.alternatives.receiver QUEUE PORT`.

QUEUE is a module here with `open_queue()`, which gives the coroutine that queues one notice; or `bare`, which queues
nothing: the limit of every receiver on aiohttp.
"""

import asyncio
import sys
from importlib import import_module

import orjson
import uvloop
from aiohttp import web


async def bare(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b"OK", content_type="text/plain")


async def create_app(queue: str) -> web.Application:
    app = web.Application()
    if queue == "bare":
        app.router.add_post("/webhooks/portone/v1", bare)
        return app
    put = await import_module(f"bench.alternatives.{queue}").open_queue()

    async def receive(request: web.Request) -> web.Response:
        notice = orjson.loads(await request.read())
        await put(notice["imp_uid"])
        return web.Response(body=b"OK", content_type="text/plain")

    app.router.add_post("/webhooks/portone/v1", receive)
    return app


async def serve(queue: str, port: int) -> None:
    runner = web.AppRunner(await create_app(queue), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
