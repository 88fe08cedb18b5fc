"""A real Chromium, a sandbox, and a shop's page of another origin. All of it runs in the session's one event loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from sandbox.config import SandboxConfig
from tests.browser.chromium import ARGUMENTS, require_chromium
from tests.browser.merchant import Merchant, running_merchant
from tests.browser.visitor import PHONE, Visitor
from tests.sandbox_client import RunningSandbox, running_sandbox

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests share one event loop, because a browser lives in the loop that it was started in."""
    in_one_loop = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(in_one_loop, append=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def chromium() -> AsyncIterator[Browser]:
    path = require_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A sandbox in the browser's event loop."""
    async with running_sandbox(SandboxConfig()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def merchant() -> AsyncIterator[Merchant]:
    async with running_merchant() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def desktop(chromium: Browser, sandbox: RunningSandbox, merchant: Merchant) -> AsyncIterator[Visitor]:
    """A visitor at a desk."""
    async with Visitor.arrive(chromium, sandbox, merchant) as visitor:
        yield visitor


@pytest_asyncio.fixture(loop_scope="session")
async def phone(chromium: Browser, sandbox: RunningSandbox, merchant: Merchant) -> AsyncIterator[Visitor]:
    """A visitor with a phone."""
    async with Visitor.arrive(chromium, sandbox, merchant, **PHONE) as visitor:
        yield visitor


@pytest_asyncio.fixture(loop_scope="session")
async def strict_desktop(chromium: Browser, merchant: Merchant) -> AsyncIterator[Visitor]:
    """A visitor of a shop whose sandbox refuses what is not set up, as PortOne does."""
    async with (
        running_sandbox(SandboxConfig(strict=True)) as sandbox,
        Visitor.arrive(chromium, sandbox, merchant) as visitor,
    ):
        yield visitor
