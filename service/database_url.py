"""The URL of Postgres: one server or several, of which one is the primary. asyncpg reads the rest of it.

`postgresql://user:password@one:5432,two:5432/name?target_session_attrs=read-write`, as libpq has it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_SCHEMES = ("postgresql", "postgres")
_DEFAULT_PORT = 5432
_PORT_MAX = 65535
_HOST = re.compile(r"\[(?P<six>[^\[\]]+)\](?::(?P<six_port>.*))?|(?P<name>[^:\[\]]*)(?::(?P<port>.*))?")
# What `target_session_attrs` may be, in the URL of the primary and in that of servers that are only read.
WRITABLE = ("read-write", "primary")
READABLE = ("any",)


class NoPrimary(ConnectionError):
    """This server takes no writes: it is a standby, or read-only."""


class Demoted(ConnectionError):
    """This server is an earlier primary: another one was promoted since."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """The address of one server. `host` None: a socket or the environment's, as the libraries have it."""

    host: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return "a socket" if host is None or host.startswith("/") else f"{host}:{self.port}"


def check_url(url: str, attributes: Sequence[str] = WRITABLE) -> None:
    """Check a URL that a person gave. Raises ValueError with a sentence that shows nothing of it but a name."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        raise ValueError(f"must start with {_SCHEMES[0]}://")
    try:
        unencoded = urlsplit(url).netloc.count("@") > 1
    except ValueError:  # its text would show part of a password
        unencoded = True
    if unencoded:
        raise ValueError("cannot be read: percent-encode special characters in its password")
    servers_of(url)
    attribute = target_of(url)
    if attribute and attribute not in attributes:
        raise ValueError(f"its target_session_attrs must be {' or '.join(attributes)}, or be left out")


def servers_of(url: str) -> list[PostgresServer]:
    """Return the servers that the URL names, in its order. Raises ValueError."""
    query = _query(url)
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    if hosts:
        return [_server(text, number) for number, text in enumerate(hosts.split(","), 1)]
    if not query.get("host"):
        return [PostgresServer()]
    named = [_server(text, number) for number, text in enumerate(query["host"].split(","), 1)]
    if "port" not in query:
        return named
    ports = [_port(text, number) for number, text in enumerate(query["port"].split(","), 1)]
    if len(ports) not in (1, len(named)):
        raise ValueError(f"has {len(ports)} ports for {len(named)} hosts: give one for all, or one for each")
    return [PostgresServer(server.host, ports[number % len(ports)]) for number, server in enumerate(named)]


def target_of(url: str) -> str:
    """Return the URL's target_session_attrs, which say which of the servers may be used; empty if it has none."""
    return _query(url).get("target_session_attrs", "")


def places(url: str) -> str:
    """Return the servers and the database that the URL names, without its password, for people."""
    return f"{','.join(map(str, servers_of(url)))}{urlsplit(url).path}"


def _query(url: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}


def _server(text: str, number: int) -> PostgresServer:
    if text.startswith(("/", "%2F", "%2f")):
        return PostgresServer(unquote(text), _DEFAULT_PORT)
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError(f"names a host that cannot be read (its {number}.): an IPv6 address stands in brackets")
    host, port = match["six"] or unquote(match["name"] or ""), match["six_port"] or match["port"]
    if not host:
        raise ValueError(f"names an empty host (its {number}.): hosts are separated by one comma")
    return PostgresServer(host, _port(port, number) if port is not None else _DEFAULT_PORT)


def _port(text: str, number: int) -> int:
    # The text is never shown: after a password that was not encoded, it may be a part of that.
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _PORT_MAX:
        raise ValueError(
            f"has no number from 1 to {_PORT_MAX} as the port of its {number}. host: correct that, or"
            " percent-encode special characters in its password"
        )
    return int(text)
