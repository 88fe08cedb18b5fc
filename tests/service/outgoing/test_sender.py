"""An attempt ends in time, reads little and goes nowhere that it was not sent, whatever the endpoint does."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from service.outgoing.sender import Sender, UnusableUrl, check_url
from tests.receiving import Received, receiving


@contextlib.asynccontextmanager
async def _sender(seconds: float = 5.0, *, private: bool = True) -> AsyncIterator[Sender]:
    sender = Sender(seconds, private=private)
    yield sender
    await sender.close()


@contextlib.asynccontextmanager
async def _speaking(answer: bytes, times: int = 1) -> AsyncIterator[str]:
    """Run a server that answers these bytes, again and again, and no valid HTTP perhaps."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(times):
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_redirect_is_a_failure_and_not_followed() -> None:
    """A redirect is not followed, wherever it leads."""

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"}, text="go away")

    async with receiving(answer) as endpoint, _sender() as sender:
        attempt = await sender.send(endpoint.url, {}, b"{}")
    assert (attempt.status, attempt.failure, attempt.is_delivered) == (307, "go away", False)
    assert len(endpoint.received) == 1


async def test_an_endpoint_that_stalls_runs_into_the_time_out() -> None:
    """An endpoint that takes the request and says nothing is given up in time."""

    async def answer(_: Received) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with receiving(answer) as endpoint, _sender(0.1) as sender:
        attempt = await sender.send(endpoint.url, {}, b"{}")
    assert (attempt.status, attempt.failure) == (None, "no answer in time")


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 999999 x\r\n\r\n", b"\x00\xff" * 2000])
async def test_garbage_is_a_failure(answer: bytes) -> None:
    """Bytes that are no HTTP are a failure like any other, with a reason of one printable line."""
    async with _speaking(answer) as url, _sender() as sender:
        attempt = await sender.send(url, {}, b"{}")
    assert not attempt.is_delivered
    assert attempt.failure
    assert attempt.failure.isprintable()
    assert len(attempt.failure) <= 500


async def test_an_endless_answer_is_cut() -> None:
    """Of an answer that does not end only the beginning is read and kept."""
    head = b"HTTP/1.1 500 x\r\nContent-Length: 1000000000\r\n\r\n"
    async with _speaking(head + b"x" * 100_000, 1000) as url, _sender() as sender:
        attempt = await sender.send(url, {}, b"{}")
    assert (attempt.status, attempt.failure) == (500, "x" * 500)


async def test_a_success_whose_body_never_ends_is_a_success() -> None:
    """The status is the answer: a body that stalls does not undo it."""
    async with _speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx") as url, _sender() as sender:
        attempt = await sender.send(url, {}, b"{}")
    assert attempt.is_delivered


async def test_retry_after_is_read() -> None:
    """Seconds in Retry-After are read; anything else there is not."""
    for text, seconds in (("120", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("9" * 30, 0), ("-1", 0)):

        async def answer(_: Received, text: str = text) -> web.StreamResponse:
            return web.Response(status=503, headers={"Retry-After": text})

        async with receiving(answer) as endpoint, _sender() as sender:
            attempt = await sender.send(endpoint.url, {}, b"{}")
        assert attempt.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f.1"])
async def test_no_connection_is_made_into_a_private_network(host: str) -> None:
    """An address of this machine or a private network is refused before anything is sent there, however it is spelt."""
    async with receiving() as endpoint, _sender(private=False) as sender:
        port = endpoint.url.rpartition(":")[2]
        attempt = await sender.send(f"http://{host}:{port}", {}, b"{}")
    assert attempt.status is None
    assert "not an address of the open internet" in (attempt.failure or "")
    assert not endpoint.received


async def test_a_name_that_comes_to_lead_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that is connected to is checked, so a name that was harmless before gets nowhere now."""
    real: Callable[..., Any] = socket.getaddrinfo

    def rebound(host: str, *args: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "hooks.example.com" else host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    async with receiving() as endpoint:
        port = endpoint.url.rpartition(":")[2].partition("/")[0]
        async with _sender(private=False) as sender:
            attempt = await sender.send(f"http://hooks.example.com:{port}/", {}, b"{}")
        assert "not an address" in (attempt.failure or "")
        async with _sender(private=True) as sender:
            assert (await sender.send(f"http://hooks.example.com:{port}/", {}, b"{}")).is_delivered
    assert len(endpoint.received) == 1


async def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment would connect where it likes, so it is not used."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with receiving() as endpoint, _sender() as sender:
        assert (await sender.send(endpoint.url, {}, b"{}")).is_delivered


@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "ftp://a.example/", "https://", "https://u:p@a.example/", "https://a.example/#x",
     "https://a.example:port/", "https://127.0.0.1/", "https://[::1]/", "https://a b/", "https://[", "가"],
)  # fmt: skip
def test_an_unusable_url_is_refused(url: str) -> None:
    """A URL that is not https, carries a password or names a private address is refused when it is given."""
    with pytest.raises(UnusableUrl):
        check_url(url, private=False)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7F000001", "127.0.0.1.", "%3127.0.0.1", "0",
     "10.0.0.7", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "169.254.169.254", "localhost", "LOCALHOST.",
     "a.localhost", "localhost.localdomain", "ip6-localhost"],
)  # fmt: skip
def test_what_is_known_to_be_private_is_refused_at_once(host: str) -> None:
    """A private address in any form, and a name of the machine itself, is refused in the sentence of a connection."""
    with pytest.raises(UnusableUrl, match=r"is not an address of the open internet; .* ENDPOINTS_IN_PRIVATE_NETWORKS"):
        check_url(f"https://{host}/hooks", private=False)
    check_url(f"https://{host}/hooks", private=True)


def test_http_names_the_setting_that_allows_it() -> None:
    """An http URL is refused with the name of the setting that allows it in one's own network."""
    with pytest.raises(UnusableUrl, match=r"begin with https://; .* ENDPOINTS_IN_PRIVATE_NETWORKS=true"):
        check_url("http://10.0.0.7/hooks", private=False)


def test_usable_urls_are_taken() -> None:
    """An https URL is taken; http and private addresses are where the setting lets them."""
    check_url("https://hooks.example.com:8443/portone?x=1", private=False)
    check_url("http://10.0.0.7/hooks", private=True)
    for host in ("8.8.8.8", "134744072", "[2001:4860:4860::8888]", "localhost.example.com", "mylocalhost", "face.b00c"):
        check_url(f"https://{host}/", private=False)
