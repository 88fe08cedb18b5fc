"""The SDK's script as it is served: its address, its settings, and who may load it."""

import re

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer

from sandbox.__main__ import _read_config, _read_options
from sandbox.app import create_app
from sandbox.config import Keys, SandboxConfig
from tests.sandbox.browser.conftest import PageCaller
from tests.sandbox.conftest import Caller

SCRIPTS = ("/v1/iamport.js", "/v1/iamport.esm.js")


async def settings_of(caller: Caller, path: str, **headers: str) -> dict[str, object]:
    """Return the settings that the script is served with."""
    async with caller.session.get(f"{caller.url}{path}", headers=headers) as answer:
        assert answer.status == 200
        found = re.search("^const SETTINGS = (.*);$", await answer.text(), re.MULTILINE)
        assert found
        settings: dict[str, object] = orjson.loads(found[1])
        return settings


@pytest.mark.parametrize("path", SCRIPTS)
async def test_the_script_leads_back_to_the_address_it_was_loaded_from(stranger: Caller, path: str) -> None:
    """A page needs to know one address alone."""
    assert (await settings_of(stranger, path))["origin"] == stranger.url


@pytest.mark.parametrize("path", SCRIPTS)
async def test_under_portones_own_name_the_script_leads_to_this_machine(stranger: Caller, path: str) -> None:
    """A browser that maps cdn.iamport.kr to the sandbox opens its windows at the sandbox's own address."""
    assert (await settings_of(stranger, path, Host="cdn.iamport.kr"))["origin"] == stranger.url


async def test_a_public_address_is_what_the_script_leads_to() -> None:
    """--public-url names it, for a sandbox behind another server."""
    server = TestServer(create_app(SandboxConfig(public_url="https://sandbox.test/")))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, str(server.make_url("")).rstrip("/"))
        assert (await settings_of(caller, SCRIPTS[0]))["origin"] == "https://sandbox.test"
    await server.close()


async def test_the_scripts_address_may_choose_the_outcome_and_the_window(stranger: Caller) -> None:
    """Anything else there is ignored, and cannot get into the script's text."""
    chosen = await settings_of(stranger, "/v1/iamport.js?outcome=slow&window=popup")
    assert (chosen["outcome"], chosen["window"]) == ("slow", "popup")
    ignored = await settings_of(stranger, '/v1/iamport.js?outcome=";alert(1)//&window=tab')
    assert (ignored["outcome"], ignored["window"]) == (None, None)


@pytest.mark.parametrize("path", SCRIPTS)
async def test_pages_of_every_origin_may_load_the_script(stranger: Caller, path: str) -> None:
    """A module needs CORS for that."""
    async with stranger.session.get(f"{stranger.url}{path}", headers={"Origin": "https://shop.example"}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_windows_pages_have_a_strict_policy(page: PageCaller) -> None:
    """Nothing inline, nothing from elsewhere; only what the SDK frames may be framed."""
    window = await page.open(mode="redirect")
    for path, framed in (("/v1/frame", True), (f"/v1/windows/{window}", False), ("/v1/deposits", False)):
        async with page.caller.session.get(f"{page.caller.url}{path}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
            assert "unsafe" not in policy
            assert ("frame-ancestors 'none'" not in policy) is framed
            assert "<script>" not in await answer.text()


async def test_no_file_beside_the_pages_can_be_loaded(stranger: Caller) -> None:
    """The pages' own scripts, style sheet and picture can, and nothing else."""
    for name, status in (
        ("window.css", 200),
        ("window.js", 200),
        ("icon.svg", 200),
        ("window.html", 404),
        ("sdk", 404),
    ):
        async with stranger.session.get(f"{stranger.url}/v1/static/{name}") as answer:
            assert answer.status == status
    async with stranger.session.get(f"{stranger.url}/v1/static/..%2Fpages.py") as answer:
        assert answer.status == 404


async def test_a_strict_sandbox_has_channels_for_known_user_codes_alone() -> None:
    """The default account's code, and each other account's name."""
    config = SandboxConfig(strict=True, user_code="imp12345678", accounts={"shop-b": Keys("b", "b")})
    server = TestServer(create_app(config))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, str(server.make_url("")).rstrip("/"))
        counts = {}
        for code in ("imp12345678", "shop-b", "imp00000000", ""):
            channels = (await caller.call("GET", "/v1/channels", params={"user_code": code})).content["channels"]
            counts[code] = len(channels)
        assert counts == {"imp12345678": 4, "shop-b": 4, "imp00000000": 0, "": 0}
        page = PageCaller(caller)
        await page.open(user_code="shop-b", tier="123")
        payment = await page.payment()
        assert (payment["account"], payment["tier"]) == ("shop-b", "123")
        assert (await page.ask({"merchant_uid": "order-2"}, user_code="nobody"))["window"] is None
    await server.close()


def test_the_command_takes_what_concerns_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options and environment variables are the same settings."""
    given = ["--user-code", "imp1", "--strict", "--allow-host", "a.test", "--public-url", "http://b.test"]
    by_option = _read_config(_read_options(given))
    environment = {"USER_CODE": "imp1", "STRICT": "1", "ALLOWED_HOSTS": "a.test", "PUBLIC_URL": "http://b.test"}
    for name, value in environment.items():
        monkeypatch.setenv(f"SANDBOX_{name}", value)
    by_environment = _read_config(_read_options([]))
    expected = ("imp1", True, ("a.test",), "http://b.test")
    for config in (by_option, by_environment):
        assert (config.user_code, config.strict, config.allowed_hosts, config.public_url) == expected
