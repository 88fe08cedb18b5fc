"""A client of the console without a browser: cookies, and forms as the pages have them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

from aiohttp import ClientSession, CookieJar

from tests.running import SERVICE_KEY

Page = tuple[int, str, dict[str, str]]


class ConsoleClient:
    """Someone at the console. Redirects are not followed."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str = "", **options: Any) -> Page:
        return await self.request("GET", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> Page:
        """Return the status, the page, and the headers."""
        address = f"{self.url}/console{path}"
        async with self.session.request(method, address, allow_redirects=False, **options) as answer:
            return answer.status, unescape(await answer.text()), dict(answer.headers)

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Page:
        """Send a form, as a page of the console does unless the headers say otherwise."""
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} if headers is None else headers
        return await self.request("POST", path, data=fields, headers=sent)

    async def sign_in(self, key: str = SERVICE_KEY) -> int:
        """Sign in with a key, and return the answer's status."""
        return (await self.post("/sign-in", key=key))[0]

    async def csrf(self) -> str:
        """Return the token of this session's forms."""
        _, page, _ = await self.get("/actions")
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found, page
        return found[1]

    async def do(self, name: str, subject: str, why: str = "a test") -> Page:
        """Carry out an operation."""
        return await self.post("/confirm", csrf=await self.csrf(), do=name, subject=subject, why=why)


@asynccontextmanager
async def console_client(url: str, **options: Any) -> AsyncIterator[ConsoleClient]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True), **options) as session:
        yield ConsoleClient(url, session)
