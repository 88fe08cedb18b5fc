"""The page for those who receive webhooks says what the code does."""

import asyncio
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from service.db.feed import FeedEvent
from service.domain.delivery import DOWN_AFTER
from service.domain.signing import secret_of, signed_headers
from service.domain.timetable import Timetable
from service.usecases.endpoint_turn import event_message
from tests.node import require_node

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")


def test_the_message_is_ours() -> None:
    """The message on the page is, field by field, what is sent for this event."""
    at = datetime(2026, 11, 27, 2, tzinfo=UTC)
    event = FeedEvent(
        id=42, type="order.paid", merchant_uid="order-1", version=2, state="paid", closed=None, amount=64900,
        currency="KRW", paid_amount=64900, cancelled_amount=0, imp_uid="imp_1", problems=(), account="default", at=at,
    )  # fmt: skip
    [message] = re.findall(r"\n(\{\"type\".*?\}\})\n", PAGE, re.DOTALL)
    assert orjson.loads(message) == orjson.loads(event_message(event))


def _example(language: str) -> str:
    [block] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


class _Transaction:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


SECRET = secret_of(b"0123456789abcdef0123456789abcdef")
BODY = b'{"type": "order.paid", "data": {"id": "evt_2a", "type": "order.paid"}}'


def messages() -> list[tuple[dict[str, str], bytes, int]]:
    """Return requests, each with the status that it must get: a genuine one, twice, and forgeries of all kinds."""
    now = int(time.time())
    genuine = signed_headers((SECRET,), "evt_2a", now, BODY)
    signatures = ("v1,aa", "v1,%%%", "garbage", "v1", "v1,", "v9,x", "v1,\u20ac".encode().decode("latin-1"))
    forged = [(genuine | {"webhook-signature": signature}, BODY) for signature in signatures]
    forged += [
        (genuine | {"webhook-timestamp": at}, BODY) for at in ("nan", "inf", "x", "-1", "9" * 400, str(now - 600))
    ]
    forged += [({}, BODY), ({}, b""), (genuine, b"\xff\xfe"), (genuine, b"[]"), (genuine, b"{")]
    odd = [(signed_headers((SECRET,), "evt_2b", now, body), body) for body in (b"", b"[]", b"{}", b"x")]
    return [(genuine, BODY, 204), (genuine, BODY, 204), *((*each, 400) for each in forged + odd)]


async def test_the_python_receiver_outlives_forgeries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver applies a genuine event once, and answers 400 to whatever is not one."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    seen, applied = set[str](), list[str]()

    async def remember(event_id: str) -> bool:
        is_new = event_id not in seen
        seen.add(event_id)
        return is_new

    async def apply(event: dict[str, Any]) -> None:
        applied.append(event["id"])

    names: dict[str, Any] = {
        "database": SimpleNamespace(transaction=_Transaction), "remember": remember, "apply": apply
    }  # fmt: skip
    exec(_example("python"), names)  # noqa: S102 - the page's example
    app = web.Application()
    app.router.add_post("/hooks", names["hooks"])
    async with TestServer(app) as server, ClientSession() as session:
        for headers, body, expected in messages():
            async with session.post(server.make_url("/hooks"), data=body, headers=headers) as answer:
                assert answer.status == expected, (headers, body)
    assert applied == ["evt_2a"]


# Packages as far as the example uses them. Like Express 4, this one leaves a handler's promise alone.
_PACKAGES = {
    "express": """
import { createServer } from "node:http";

export default function express() {
  const handlers = [];
  return {
    post: (path, ...added) => handlers.push(...added),
    listen: (port, host, ready) =>
      createServer((request, response) => {
        const parts = [];
        response.sendStatus = (status) => response.writeHead(status).end();
        request.on("data", (part) => parts.push(part));
        request.on("end", () => {
          if (request.headers["content-type"] === "application/json") request.body = Buffer.concat(parts);
          handlers.at(-1)(request, response);
        });
      }).listen(port, host, function () { ready(this.address().port); }),
  };
}
express.raw = () => null;
""",
    "standardwebhooks": """
import { createHmac } from "node:crypto";

export class Webhook {
  constructor(secret) {
    this.key = Buffer.from(secret.replace("whsec_", ""), "base64");
  }

  verify(body, headers) {
    const [id, at, given] = ["id", "timestamp", "signature"].map((name) => headers[`webhook-${name}`]);
    if (!id || !at || !given) throw new Error("Missing required headers");
    if (!(Math.abs(Date.now() / 1000 - parseInt(at, 10)) < 300)) throw new Error("Message timestamp too old");
    const mac = createHmac("sha256", this.key).update(`${id}.${at}.${body}`).digest("base64");
    if (!given.split(" ").includes(`v1,${mac}`)) throw new Error("No matching signature found");
    return JSON.parse(body);
  }
}
""",
}
_AROUND = """
const seen = new Set();
async function applyOnce(event) {
  if (seen.size === 0) { seen.add("a first try that fails"); throw new Error("the database is away"); }
  if (!seen.has(event.id)) console.log(event.id);
  seen.add(event.id);
}
app.listen(0, "127.0.0.1", (port) => console.log(port));
"""


async def test_the_node_receiver_outlives_forgeries(tmp_path: Path) -> None:
    """The receiver applies a genuine event once, answers 400 to a forged one, and 500 where it cannot apply it."""
    for name, text in _PACKAGES.items():
        package = tmp_path / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text('{"type": "module", "main": "index.js"}', "utf-8")
        (package / "index.js").write_text(text, "utf-8")
    (tmp_path / "hooks.mjs").write_text(_example("javascript") + _AROUND, "utf-8")
    process = await asyncio.create_subprocess_exec(
        require_node(), "hooks.mjs", cwd=tmp_path, env={**os.environ, "WEBHOOK_SECRET": SECRET},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    try:
        async with asyncio.timeout(60), ClientSession() as session:
            url = f"http://127.0.0.1:{int(await process.stdout.readline())}/hooks"
            sent = [message for message in messages() if message[0].get("webhook-id") != "evt_2b"]
            for headers, body, expected in [(*sent[0][:2], 500), *sent]:
                kind = {"Content-Type": "application/json" if expected != 400 or len(body) % 2 else "text/plain"}
                async with session.post(url, data=body, headers=headers | kind) as answer:
                    assert answer.status == expected, (headers, body)
            assert await process.stdout.readline() == b"evt_2a\n"
    finally:
        process.kill()
        assert not (await process.communicate())[0]


def test_the_waits_are_ours() -> None:
    """The waits between attempts, and the failures that make an endpoint down, are the code's."""
    seconds = [wait.total_seconds() for wait in Timetable().deliveries]
    hours = ", ".join(f"{wait / 3600:.0f}" for wait in seconds[5:-1])
    assert f"after 5 s, 30 s, 2, 10 and 30 min, {hours} and {seconds[-1] / 3600:.0f} h," in PAGE
    assert seconds[:5] == [5, 30, 120, 600, 1800]
    assert DOWN_AFTER == 10
    assert "fails ten times" in PAGE
