"""The setting REDIS_URL: one server, or the Sentinels that know which of several servers is the master.

Sentinels are written as most libraries do: `redis+sentinel://:password@host:26379,host:26379/mymaster/0`, and
`rediss+sentinel://` for TLS to the servers and to the Sentinels. Errors show no part of the URL, which has a password.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_PLAIN = ("redis", "rediss", "unix")
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_SENTINEL_PORT = 26379
_PORT_MAX = 65_535
_EXAMPLE = "redis+sentinel://:password@host:26379,host:26379/mymaster/0"
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINELS_OWN = ("sentinel_username", "sentinel_password")
_OPTIONS = (
    "db", "username", "password", "client_name", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
    "health_check_interval",
)  # fmt: skip
_URL = re.compile(r"(?P<scheme>[^:]+)://(?:(?P<user>[^?]*)@)?(?P<hosts>[^/?]*)(?P<path>[^?]*)(?P<query>.*)", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """The place of Redis, with redis-py's options for a connection to a server, and for one to a Sentinel."""

    options: Mapping[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    master: str = ""

    @property
    def is_encrypted(self) -> bool:
        return "ssl_check_hostname" in self.options

    @property
    def place(self) -> str:
        """The address without its password, for people."""
        database = self.options.get("db", 0)
        if self.sentinels:
            hosts = ",".join(f"{host}:{port}" for host, port in self.sentinels)
            return f"Sentinel {hosts}/{self.master}/{database}"
        if path := self.options.get("path"):
            return f"a socket{path}"
        return f"{self.options.get('host', 'localhost')}:{self.options.get('port', 6379)}/{database}"


def read_redis_url(url: str) -> RedisAddress:
    """Read REDIS_URL. Raises ValueError with what is wrong, fit to follow "REDIS_URL: "."""
    match = _URL.fullmatch(url)
    scheme = match["scheme"] if match else ""
    if match is None or scheme not in _PLAIN + _SENTINEL:
        raise ValueError("must start with redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://")
    _check_options(scheme, match["query"])
    if scheme in _SENTINEL:
        return _of_sentinels(match)
    if "," in match["hosts"]:
        raise ValueError(f"names several servers, and only Sentinels know which is the master: write {_EXAMPLE}")
    return RedisAddress(_server_options(url, "" if scheme == "unix" else match["path"].strip("/")))


def _of_sentinels(match: re.Match[str]) -> RedisAddress:
    master, _, database = match["path"].strip("/").partition("/")
    if not master:
        raise ValueError(f"must name Sentinel's master after the hosts, as {_EXAMPLE}")
    sentinels = tuple(_host(part) for part in match["hosts"].split(","))
    user = f"{match['user']}@" if match["user"] else ""
    plain = f"{match['scheme'].partition('+')[0]}://{user}sentinel/{database}{match['query']}"
    options = _server_options(plain, database)
    own = {name.removeprefix("sentinel_"): options.pop(name) for name in _SENTINELS_OWN if name in options}
    del options["host"]
    shared = {name: value for name, value in options.items() if name in _TLS}
    return RedisAddress(options, sentinels, own | shared, unquote(master))


def _host(text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text.strip())
    port = int(match["port"] or _SENTINEL_PORT) if match else 0
    if match is None or not 0 < port <= _PORT_MAX:
        raise ValueError(f"must name each Sentinel as host:port, with commas between them, as {_EXAMPLE}")
    return unquote(match["host"].strip("[]")), port


def _server_options(url: str, database: str) -> dict[str, Any]:
    """Return redis-py's options of a URL that names one server."""
    # Here, because a start of the command that asks for no database should not wait for redis-py.
    from redis.asyncio.connection import SSLConnection, parse_url

    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        if "connection URL" in str(error):  # redis-py names the option, and not its value
            raise ValueError(str(error).removesuffix(".")) from None
        # The parser's own error would show part of a password.
        raise ValueError("cannot be read: percent-encode special characters in its password") from None
    if database and not database.isdecimal():
        raise ValueError("must end in the number of a database, as /0")
    if options.get("connection_class") is SSLConnection:
        # redis-py's own default accepts any certificate of any host.
        options.setdefault("ssl_check_hostname", options.get("ssl_cert_reqs", "required") != "none")
    return options


def _check_options(scheme: str, query: str) -> None:
    given = parse_qs(query.removeprefix("?"), keep_blank_values=True)
    known: tuple[str, ...] = _OPTIONS
    if scheme.startswith("rediss"):
        known = (*known, *_TLS)
    if scheme in _SENTINEL:
        known = (*known, *_SENTINELS_OWN)
    for name, values in given.items():
        if name in _TLS and name not in known:
            raise ValueError(f"has the option {name}, which is for TLS: start it with rediss")
        if name not in known:
            raise ValueError(f"has an option that is not known: these are {', '.join(known)}")
        if name in _TLS_FILES and not os.access(values[0], os.R_OK):
            raise ValueError(f"names a file in {name} that cannot be read")
    if given.get("ssl_cert_reqs", ["required"])[0] not in ("required", "optional", "none"):
        raise ValueError("has an ssl_cert_reqs that is not required, optional or none")
