"""The built site in a browser: readable by all, on a desk and on a phone, and it can be searched without a network."""

import os
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, Request

from tests.browser.accessible import check_accessible
from tests.browser.pictures import picture_folder, take_picture
from tests.browser.visitor import PHONE

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
MISSING = "The tests of the site need it: `make docs` builds it."
# axe takes ten seconds for a page as long as the settings' or the API's.
PAGES = ["index.html", "how-it-works.html", "integrate.html", "deploying.html", "sandbox.html"]


def require_site() -> Path:
    """Return the built site's folder. Without it the test is skipped, or fails where CI or REQUIRE_SITE is set."""
    if not (SITE / "index.html").exists():
        required = os.environ.get("CI") == "true" or os.environ.get("REQUIRE_SITE") == "1"
        (pytest.fail if required else pytest.skip)(MISSING)
    return SITE / "docs"


async def open_page(page: Page, name: str) -> None:
    await page.goto((require_site() / name).as_uri())
    await page.locator("h1").first.wait_for()


@pytest.mark.parametrize(("scheme", "names"), [("light", PAGES), ("dark", ["sandbox.html"])])
async def test_axe_finds_nothing_serious(
    chromium: Browser, tmp_path: Path, scheme: Literal["light", "dark"], names: list[str]
) -> None:
    """Five pages have enough contrast, names and order, one of them in the dark too, and ask nobody for anything."""
    page = await chromium.new_page(color_scheme=scheme)
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    for name in names:
        await open_page(page, name)
        await check_accessible(page)
        await take_picture(page, picture_folder(tmp_path), f"site-{scheme}-{Path(name).stem}", whole=False)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    await page.close()


async def test_a_phone_shows_it_whole(chromium: Browser) -> None:
    """No page is wider than a phone, and axe finds nothing serious there."""
    context = await chromium.new_context(**PHONE)
    page = await context.new_page()
    for name in (*PAGES, "api.html"):
        await open_page(page, name)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    await check_accessible(page)
    await context.close()


async def test_it_is_searched_without_a_network(chromium: Browser) -> None:
    """The search finds a setting's page, in the reader's own browser."""
    page = await chromium.new_page()
    await page.goto(f"{(require_site().parent / 'search.html').as_uri()}?q=TRUSTED_PROXIES")
    await page.locator("ul.search a", has_text="Configuration").first.wait_for()
    await page.close()
