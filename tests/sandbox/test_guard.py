"""The control API obeys this machine's own programs, and no web page; nothing beyond this machine is called."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from sandbox.addresses import AddressPolicy
from sandbox.answers import POLICY, answer, guard_our_own
from sandbox.app import create_app
from sandbox.config import SandboxConfig
from tests.sandbox.conftest import Caller, Shop

JSON = {"Content-Type": "application/json"}
PAID = b'{"merchant_uid": "order-1", "amount": 1000}'


@asynccontextmanager
async def running(config: SandboxConfig) -> AsyncIterator[Caller]:
    server = TestServer(create_app(config))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Caller(session, str(server.make_url("")).rstrip("/"))
    await server.close()


async def payments(caller: Caller) -> list[object]:
    found: list[object] = (await caller.control("payments", "GET")).content["payments"]
    return found


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_can_send_is_refused(stranger: Caller, content_type: str) -> None:
    """A foreign page sends such bodies without asking; only JSON changes anything."""
    refused = await stranger.call("POST", "/_control/pay", data=PAID, headers={"Content-Type": content_type})
    assert refused.status == 415
    assert await payments(stranger) == []


async def test_a_call_without_a_content_type_changes_nothing(stranger: Caller) -> None:
    """Neither a POST nor a DELETE without one is obeyed."""
    for method, path in (("POST", "/_control/reset"), ("DELETE", "/_control/faults"), ("POST", "/v1/windows")):
        assert (await stranger.call(method, path)).status == 415


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://localhost:1"])
@pytest.mark.parametrize("path", ["/_control/pay", "/v1/windows", "/v1/deposits/imp_1"])
async def test_a_page_of_another_origin_is_refused(stranger: Caller, origin: str, path: str) -> None:
    """A page of this machine on another port is refused too, though it sends JSON."""
    refused = await stranger.call("POST", path, data=PAID, headers=JSON | {"Origin": origin})
    assert (refused.status, refused.content["error"]) == (403, "Pages of another origin may not do this.")
    assert await payments(stranger) == []


async def test_our_own_page_is_obeyed(stranger: Caller) -> None:
    """The sandbox's own origin is no other."""
    paid = await stranger.call("POST", "/_control/pay", data=PAID, headers=JSON | {"Origin": stranger.url})
    assert paid.status == 201


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example"]
)
@pytest.mark.parametrize("path", ["/_control/payments", "/v1/channels", "/v1/deposits/all/state"])
async def test_a_name_that_resolves_to_this_machine_is_refused(stranger: Caller, host: str, path: str) -> None:
    """A foreign page whose DNS answers with 127.0.0.1 is of our origin for the browser, but not under our name."""
    assert (await stranger.call("GET", path, headers={"Host": host})).status == 403


@pytest.mark.parametrize("host", ["localhost:8081", "127.0.0.1:8081", "[::1]:8081", "sandbox.localhost", "127.0.0.2"])
async def test_this_machines_own_names_are_ours(stranger: Caller, host: str) -> None:
    """Loopback addresses and localhost, with any port: a tunnel may change it."""
    assert (await stranger.call("GET", "/_control/payments", headers={"Host": host})).status == 200


async def test_the_control_api_has_no_cors(stranger: Caller) -> None:
    """A preflight is not answered, so that no browser sends JSON from elsewhere."""
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with stranger.session.options(f"{stranger.url}/_control/pay", headers=preflight) as answered:
        assert answered.status == 403
        assert "Access-Control-Allow-Origin" not in answered.headers


async def test_an_allowed_host_is_a_name_of_ours_and_may_be_called() -> None:
    """A host that --allow-host names is accepted both ways."""
    async with running(SandboxConfig(allowed_hosts=("sandbox.test",))) as caller:
        assert (await caller.call("GET", "/_control/payments", headers={"Host": "sandbox.test:8081"})).status == 200
        opened = await caller.control("payments", merchant_uid="a", amount=1, notice_url="http://sandbox.test/hook")
        assert opened.status == 201


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7/", "http://shop.example/hook", "https://169.254.169.254/", "http://0.0.0.0/"]
)
async def test_no_webhook_goes_beyond_this_machine(stranger: Caller, url: str) -> None:
    """Each way to give an address refuses it in a sentence that says how to allow it."""
    imp_uid = await stranger.open()
    for path, body in (
        ("payments", {"merchant_uid": "order-2", "amount": 1, "notice_url": url}),
        ("webhooks/send", {"imp_uid": imp_uid, "url": url}),
        ("console-test", {"url": url}),
        ("account", {"webhook_url": url}),
    ):
        refused = await stranger.control(path, **body)
        assert refused.status == 400
        assert "--allow-host" in refused.content["error"]
    assert (await stranger.control("webhooks", "GET")).content["deliveries"] == []


async def test_a_redirect_of_a_webhooks_receiver_is_not_followed(stranger: Caller, shop: Shop) -> None:
    """Else a receiver on this machine could send the sandbox elsewhere."""
    shop.answer_status = 307
    imp_uid = await stranger.open()
    sent = await stranger.control("webhooks/send", imp_uid=imp_uid)
    assert [one["answer_status"] for one in sent.content["deliveries"]] == [307]
    assert len(shop.so_far()) == 1


@pytest.mark.parametrize(
    ("url", "is_called"),
    [
        ("http://127.0.0.1:8080/hook", True),
        ("http://127.8.9.1/", True),
        ("http://localhost:1/", True),
        ("http://shop.localhost/", True),
        ("http://[::1]:8080/", True),
        ("http://[::ffff:127.0.0.1]/", True),
        ("http://127.1/", False),
        ("http://2130706433/", False),
        ("http://0x7f.1/", False),
        ("http://[::]/", False),
        ("http://localhost.evil.example/", False),
        ("http://evil.example#@127.0.0.1/", False),
        ("http://127.0.0.1@evil.example/", False),
        ("http://evil.example\\@127.0.0.1/", False),
        ("http://127.0.0.1:99999/", False),
        ("http://127.0.0.1 .evil.example/", False),
        ("ftp://127.0.0.1/", False),
        ("file:///etc/passwd", False),
        ("javascript:alert(1)", False),
        ("", False),
        ("http://", False),
        ("http://[", False),
    ],
)
def test_only_this_machines_addresses_are_called(url: str, is_called: bool) -> None:
    """Only the address's own text decides, because a name that resolves to this machine may resolve elsewhere later."""
    assert (AddressPolicy().refusal(url) is None) is is_called


def test_the_configured_webhook_address_is_allowed() -> None:
    """The host of the webhook's address at the start is allowed, as docker-compose needs for its receiver."""
    policy = AddressPolicy(webhook_url="http://receiver:8080/webhooks/portone/v1")
    assert policy.refusal("http://receiver:8080/other") is None
    assert policy.refusal("http://elsewhere:8080/") is not None


@pytest.mark.parametrize(
    ("peer", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403), ("fe80::1%eth0", 403)],
)
async def test_other_machines_have_no_control(peer: str, status: int) -> None:
    """Only this machine may pull the strings, whatever address the sandbox listens on."""

    async def handler(_request: web.Request) -> web.Response:
        return answer({})

    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return (peer, 1) if name == "peername" else default

    app = web.Application()
    app[POLICY] = AddressPolicy()
    headers = {"Host": "127.0.0.1:8081"}
    request = make_mocked_request("GET", "/_control/payments", headers=headers, transport=Transport(), app=app)
    assert (await guard_our_own(request, handler)).status == status
