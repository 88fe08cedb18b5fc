"""Sends outgoing webhooks over HTTP. Whatever an endpoint does, an attempt ends in time and keeps few bytes."""

import socket
import ssl
import time
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from service.domain.delivery import DeliveryAttempt
from service.domain.network import is_local_name, is_public, literal_address
from service.durations import Durations

# Longer than a connection stays idle between two busy moments, shorter than servers and balancers usually keep it.
_IDLE_SECONDS = 30.0
_RESOLVED_SECONDS = 10
_ANSWER_MAX_BYTES = 4096
_FAILURE_MAX = 500
_URL_MAX = 2000
_USER_AGENT = "portone-orders"


_IN_OWN_NETWORK = "for services in your own network set ENDPOINTS_IN_PRIVATE_NETWORKS=true"


class PrivateAddress(OSError):
    """The endpoint's name leads into a private network: set ENDPOINTS_IN_PRIVATE_NETWORKS if that is meant."""

    def __init__(self, address: str) -> None:
        super().__init__(_not_public(address))


class UnusableUrl(ValueError):
    """The URL of an endpoint cannot be used; the message says why."""


def check_url(url: str, *, private: bool) -> None:
    """Raise UnusableUrl unless webhooks may be sent there. Names are resolved only when a connection is made."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UnusableUrl("it cannot be read") from None
    if len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise UnusableUrl(f"it must be at most {_URL_MAX} ASCII characters without spaces")
    if parts.scheme not in (("https", "http") if private else ("https",)):
        raise UnusableUrl("it must begin with https://" + (" or http://" if private else f"; {_IN_OWN_NETWORK}"))
    if not host or parts.username is not None or parts.fragment:
        raise UnusableUrl("it needs a host, and no user, password or fragment")
    if not private and not _may_be_public(unquote(host)):
        raise UnusableUrl(_not_public(host))


class Sender:
    """A client for all endpoints of a process; `close()` it at the end.

    The address is checked where the connection is made, so that a name which resolves differently the second time, or
    an address written out in the URL, gets nowhere. Redirects are not followed, and no proxy is used.
    """

    def __init__(self, timeout_seconds: float, *, private: bool, trusted: ssl.SSLContext | None = None) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # whoever sends bounds what is under way
                socket_factory=_any_socket if private else _public_socket,
                ttl_dns_cache=_RESOLVED_SECONDS,
                keepalive_timeout=_IDLE_SECONDS,
                ssl=trusted or True,
            ),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=timeout_seconds / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT, "Content-Type": "application/json"},
            auto_decompress=False,
            trust_env=False,
        )
        self.durations = {"delivered": Durations(), "failed": Durations()}

    async def close(self) -> None:
        await self._session.close()

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> DeliveryAttempt:
        """Make one attempt. Never raises: whatever goes wrong is the attempt's failure."""
        attempt = await self._attempt(url, headers, body)
        self.durations["delivered" if attempt.is_delivered else "failed"].add(attempt.seconds)
        return attempt

    async def _attempt(self, url: str, headers: dict[str, str], body: bytes) -> DeliveryAttempt:
        began = time.monotonic()
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                text = await _beginning(answer)
        except Exception as error:
            return DeliveryAttempt(None, time.monotonic() - began, _shortened(_in_words(error)))
        seconds = time.monotonic() - began
        if 200 <= answer.status < 300:
            return DeliveryAttempt(answer.status, seconds)
        return DeliveryAttempt(answer.status, seconds, _shortened(text), _retry_after(answer))


async def _beginning(answer: aiohttp.ClientResponse) -> str:
    """Return the first bytes of the answer. A connection on which more may come is not used again."""
    body = b""
    try:
        while len(body) <= _ANSWER_MAX_BYTES and (part := await answer.content.read(_ANSWER_MAX_BYTES)):
            body += part
    except (aiohttp.ClientError, TimeoutError):
        answer.close()  # the status has come, and it is the answer
    if len(body) > _ANSWER_MAX_BYTES:
        answer.close()
    return body[:_ANSWER_MAX_BYTES].decode("utf-8", "replace")


def _shortened(text: str) -> str:
    """Return one line that a terminal, a log and Postgres take."""
    return "".join(char if char.isprintable() else " " for char in text)[:_FAILURE_MAX]


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return f"{type(cause).__name__}: {cause}"


def _retry_after(answer: aiohttp.ClientResponse) -> timedelta:
    text = answer.headers.get("Retry-After", "")
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 9 else timedelta()


def _may_be_public(host: str) -> bool:
    """Return whether the host may be one of the open internet, as far as can be said without resolving its name."""
    address = literal_address(host)
    return not is_local_name(host) if address is None else is_public(address)


def _not_public(host: str) -> str:
    return f"{host} is not an address of the open internet; {_IN_OWN_NETWORK}"


def _any_socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)


def _public_socket(address: Any) -> socket.socket:
    """Make the socket for an address that is about to be connected to. Raises PrivateAddress."""
    host = address[4][0]
    if not is_public(host):
        raise PrivateAddress(host)
    return _any_socket(address)
