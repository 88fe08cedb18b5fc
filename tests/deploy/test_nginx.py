"""deploy/nginx/portone-orders.conf does what docs/deploying.md says, with a real nginx before real receivers."""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from signal import Signals
from urllib.parse import parse_qs, urlsplit

from aiohttp import StreamReader

from service.db.pool import Pool
from service.settings import Settings
from tests.deploy.nginx import Nginx, running_nginx
from tests.ports import own_port
from tests.running import SERVICE_KEY, RunningService, bearer, running_receiver, until

RETURN_URL = "https://shop.example/order-done"
WEBHOOK = "/webhooks/portone/v1"
PROXIED = {"trusted_proxies": ("127.0.0.1",), "return_url": RETURN_URL}


@contextlib.asynccontextmanager
async def behind_nginx(settings: Settings, folder: Path, **values: object) -> AsyncIterator[Nginx]:
    """Run one receiver and nginx. The other address of the example has nobody behind it."""
    port = own_port()
    proxied = settings.model_copy(update={**PROXIED, **values})
    async with running_receiver(proxied, port), running_nginx(folder, (port, own_port())) as nginx:
        yield nginx


async def test_each_client_is_one_client(settings: Settings, tmp_path: Path) -> None:
    """A client's limit is its own behind nginx, and no X-Forwarded-For that it invents gives it another."""
    async with behind_nginx(settings, tmp_path, checkouts_per_client=1.0) as nginx:
        async with nginx.caller("127.0.0.2") as one, nginx.caller("127.0.0.3") as other:
            token = bearer((await one.register("order-1"))["checkout_token"])
            statuses = []
            for number in range(20):
                headers = {**token, "X-Forwarded-For": f"203.0.113.{number}"}
                statuses.append((await one.call("GET", "/checkout/order-1", headers=headers))[0])
            assert (await other.call("GET", "/checkout/order-1", headers=token))[0] == 200
        assert statuses[0] == 200
        assert 429 in statuses


async def test_what_passes_is_what_the_receiver_takes(settings: Settings, tmp_path: Path) -> None:
    """Bodies of 64 KiB pass, and batches of 1 MiB; so do many cookies, and any order's number in an address."""
    async with behind_nginx(settings, tmp_path) as nginx, nginx.caller() as caller:
        for number in ("주문/3", "a//b%2F", "x/../y"):
            await caller.register(number)
            assert (await caller.read(number))["merchant_uid"] == number
        assert (await caller.call("POST", WEBHOOK, data=b"imp_uid=imp_1&x=" + b"x" * 65_000))[0] == 200
        status, problem = await caller.call("POST", WEBHOOK, data=b"imp_uid=imp_1&x=" + b"x" * 66_000)
        assert (status, problem["type"]) == (413, "urn:portone-orders:problem:body-too-large")
        orders = [{"merchant_uid": f"batch-{n}", "amount": 1, "metadata": {"x": "y" * 500}} for n in range(500)]
        status, batch = await caller.call("POST", "/orders:batch", json={"orders": orders}, headers=bearer())
        assert (status, len(batch["results"])) == (200, 500)
        assert (await caller.call("GET", "/healthz", headers={"Cookie": "c=" + "c" * 31_000}))[0] == 200


async def test_waits_and_streams_pass_and_outlive_a_reload(settings: Settings, tmp_path: Path) -> None:
    """A read waits for its change, and a stream gives each event as it comes, also across `nginx -s reload`."""
    async with behind_nginx(settings, tmp_path) as nginx, nginx.caller() as caller:
        await caller.register("order-1")
        known = {**bearer(), "If-None-Match": '"1"', "Prefer": "wait=60"}
        waiting = asyncio.create_task(caller.call("GET", "/orders/order-1", headers=known))
        async with caller.session.get(f"{nginx.url}/events/stream", headers=bearer()) as stream:
            assert await next_event(stream.content) == ("order-1", 1)
            await nginx.reload()
            amended = {**bearer(), "If-Match": '"1"'}
            assert (await caller.call("PATCH", "/orders/order-1", headers=amended, json={"amount": 5}))[0] == 200
            assert await next_event(stream.content) == ("order-1", 2)
        async with asyncio.timeout(40):
            assert (await waiting)[1]["amount"] == 5


async def next_event(content: StreamReader) -> tuple[str, int]:
    """Return the next event's order and version."""
    async with asyncio.timeout(40):
        while not (line := await content.readline()).startswith(b"data:"):
            assert line
    event = json.loads(line.removeprefix(b"data:"))
    return event["merchant_uid"], event["version"]


async def test_nobody_meets_a_machines_error(tmp_path: Path) -> None:
    """With no receiver a buyer still lands at the shop, and everybody else is told to come again."""
    async with running_nginx(tmp_path, (own_port(), own_port())) as nginx, nginx.caller() as caller:
        assert await lands(caller, "?imp_uid=imp_1&merchant_uid=%EC%A3%BC%EB%AC%B8%2F3") == ("주문/3", "internal-error")
        assert await lands(caller, "?merchant_uid=" + "x" * 40_000) == ("", "bad-request")
        assert await lands(caller, "?merchant_uid=order-1", headers={"X": "x" * 40_000}) == ("", "bad-request")
        body = {"imp_uid": "imp_1", "merchant_uid": "order-1"}
        async with caller.session.post(nginx.url + WEBHOOK, json=body) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        origin = {"Origin": "https://shop.example"}
        async with caller.session.post(f"{nginx.url}/payment/complete", json=body, headers=origin) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
            assert (answer.status, (await answer.json())["type"]) == (503, "about:blank")
        async with caller.session.post(f"{nginx.url}/payment/complete", json=body, headers={"Origin": "x"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        status, refusal = await caller.call("POST", "/payments/confirm", json=body)
        assert (status, refusal["status"]) == (424, 424)
        assert refusal["reason"].startswith("주문을 확인할 수 없습니다")


async def lands(caller: RunningService, query: str, **options: object) -> tuple[str, str]:
    """Return the number and the reason with which a browser lands at the shop."""
    address = f"{caller.url}/payment-redirect{query}"
    async with caller.session.get(address, allow_redirects=False, **options) as answer:  # type: ignore[arg-type]
        assert answer.status == 303, await answer.text()
        page = urlsplit(answer.headers["Location"])
    assert page._replace(query="").geturl() == RETURN_URL
    found = parse_qs(page.query, keep_blank_values=True)
    assert found["state"] == ["pending"]
    return found["merchant_uid"][0], found["reason"][0]


class Receiver:
    """`portone-orders serve` as a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self.port = own_port()
        self._env = {
            **os.environ,
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "SERVICE_KEYS": SERVICE_KEY,
            "TRUSTED_PROXIES": "127.0.0.1",
            "PORT": str(self.port),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Receiver":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process and self._process.returncode is None:
            await self.end(Signals.SIGKILL)

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        command = (sys.executable, "-m", "cli.main", "serve")
        self._process = await asyncio.create_subprocess_exec(*command, env=self._env, stdout=-3, stderr=-3)
        await until(self._listens)

    def send(self, number: Signals) -> None:
        """Send it this signal."""
        assert self._process
        self._process.send_signal(number)

    async def end(self, number: Signals) -> None:
        """Send it this signal, and wait for its end."""
        self.send(number)
        assert self._process
        await self._process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


class Load:
    """Callers that give notice and read an order, again and again."""

    def __init__(self, caller: RunningService) -> None:
        self._caller = caller
        self._stopped = False
        self.statuses = Counter[tuple[str, int]]()
        self.accepted: set[str] = set()

    async def run(self, name: str) -> None:
        """Call until the load is stopped."""
        number = 0
        while not self._stopped:
            number += 1
            imp_uid = f"imp_{name}_{number}"
            status, _ = await self._caller.call("POST", WEBHOOK, json={"imp_uid": imp_uid, "merchant_uid": "order-1"})
            self.statuses["webhook", status] += 1
            self.accepted.add(imp_uid)
            order = {"merchant_uid": f"{name}-{number}", "amount": 100}
            status, _ = await self._caller.call("POST", "/orders", json=order, headers=bearer())
            self.statuses["register", status] += 1
            status, _ = await self._caller.call("GET", "/orders/order-1", headers=bearer())
            self.statuses["read", status] += 1

    async def goes_on(self) -> None:
        """Wait for fifty calls more."""
        enough = self.statuses.total() + 50

        async def has_more() -> bool:
            return self.statuses.total() >= enough

        await until(has_more)

    def stop(self) -> None:
        self._stopped = True


async def test_restarts_and_deaths_refuse_no_call(settings: Settings, pool: Pool, tmp_path: Path) -> None:
    """nginx is reloaded, a receiver restarted, the other frozen and killed under load: every call is answered well."""
    sooner = {"proxy_read_timeout 22s;": "proxy_read_timeout 2s;"}  # to find the frozen one
    async with (
        Receiver(settings) as one,
        Receiver(settings) as other,
        running_nginx(tmp_path, (one.port, other.port), sooner) as nginx,
        nginx.caller(for_each_call=True) as caller,
    ):
        await caller.register("order-1")
        load = Load(caller)
        async with asyncio.TaskGroup() as callers:
            for number in range(8):
                callers.create_task(load.run(str(number)))
            await load.goes_on()
            await nginx.reload()
            await load.goes_on()
            await one.end(Signals.SIGTERM)
            await load.goes_on()
            await one.start()
            await load.goes_on()  # until no call is left that found it stopped
            other.send(Signals.SIGSTOP)
            webhooks = [caller.call("POST", WEBHOOK, json={"imp_uid": f"imp_{n}"}) for n in range(8)]
            assert {status for status, _ in await asyncio.gather(*webhooks)} == {200}
            await other.end(Signals.SIGKILL)
            await load.goes_on()
            load.stop()
    assert {call for call in load.statuses if call[1] >= 400} == set(), load.statuses
    rows = await pool.fetch("SELECT DISTINCT imp_uid FROM notices")
    assert load.accepted <= {row["imp_uid"] for row in rows}
