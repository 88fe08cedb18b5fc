"""The shop's pages load nothing from elsewhere, run nothing inline, and speak both languages."""

import re

import pytest

from sandbox.shop.pages import FILES, FOLDER
from tests.sandbox.conftest import Caller
from tests.sandbox.shop.conftest import ShopCaller

PAGES = sorted(FOLDER.glob("*.html"))
SCRIPTS = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.js")}


def texts(language: str) -> set[str]:
    [table] = re.findall(rf"^  {language}: {{\n(.*?)^  }},", SCRIPTS["texts.js"], re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^    (\w+):", table, re.MULTILINE))


def test_every_text_is_there_in_both_languages() -> None:
    """Both tables have the same keys, and each key that a page or a script names is one."""
    assert texts("ko") == texts("en")
    named = {key for page in PAGES for key in re.findall(r'data-(?:text|label)="(\w+)"', page.read_text("utf-8"))}
    named |= {key for script in SCRIPTS.values() for key in re.findall(r"\btext\(\"(\w+)\"", script)}
    assert named <= texts("ko")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_nothing_inline_and_nothing_foreign(page: object) -> None:
    """No script, style or handler stands in the HTML, and every address is the sandbox's own."""
    html = getattr(page, "read_text")("utf-8")  # noqa: B009
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert all(address.startswith(("/", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', html))


def test_no_file_names_another_host() -> None:
    """Scripts and styles name no address but that of the SVG language."""
    for file in FILES.by_name.values():
        hosts = set(re.findall(r"https?://[^\s\"'`)]+", file.read_text("utf-8")))
        assert hosts <= {"http://www.w3.org/2000/svg"}, file.name


async def test_a_page_is_sent_with_a_strict_policy(shop: ShopCaller) -> None:
    """Nothing inline, nothing from elsewhere, calls to the service alone, and in nobody's frame."""
    for path in ("", "/return"):
        async with shop.session.get(f"{shop.url}{path}") as answer:
            assert answer.status == 200
            assert "<!-- " not in await answer.text()  # every part of the page is in its place
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == f"'self' {shop.service.url}"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in str(policy)


async def test_files_are_served_by_name_only(shop: ShopCaller) -> None:
    """Each file of the pages is there with its type; a name that leaves the folder is 404."""
    for name in FILES.by_name:
        assert (await shop.call("GET", f"/static/{name}"))[0] == 200
    for name in ("..%2f__init__.py", "%2e%2e%2fpages.py", "checkout.html", "nothing.js"):
        assert (await shop.call("GET", f"/static/{name}"))[0] == 404


async def test_the_sandboxs_address_is_the_shops(shop: ShopCaller) -> None:
    """`/` leads to the shop."""
    async with shop.session.get(shop.sandbox.url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/shop")


async def test_without_a_service_the_shop_says_what_it_needs(stranger: Caller) -> None:
    """A sandbox that knows no service shows how to start it with one, and its back end is 503."""
    async with stranger.session.get(f"{stranger.url}/shop") as answer:
        assert "--service-url" in await answer.text()
    assert (await stranger.call("POST", "/shop/api/orders", json={})).status == 503
