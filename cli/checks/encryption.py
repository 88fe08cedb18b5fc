"""Check that what goes to a database on another machine is encrypted, and that no other server can pass for it."""

import os
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from cli.addresses import place
from service.database_url import servers_of
from service.redis_url import read_redis_url
from service.settings import Settings

# Of Postgres' `sslmode`s these check the certificate. asyncpg's default is `prefer`.
_CHECKED = ("verify-ca", "verify-full")


async def check_encryption(settings: Settings) -> list[str]:
    """Say which database on another machine is reached without TLS, or without a look at its certificate."""
    return [
        *_of_postgres(settings.database_url.get_secret_value(), "DATABASE_URL"),
        *_of_postgres(settings.read_database_url.get_secret_value(), "READ_DATABASE_URL"),
        *_of_redis(settings.redis_url.get_secret_value()),
    ]


def _of_postgres(url: str, setting: str) -> list[str]:
    mode = parse_qs(urlsplit(url).query).get("sslmode", [os.environ.get("PGSSLMODE", "prefer")])[-1]
    if not url or mode in _CHECKED or not any(_is_remote(server.host) for server in servers_of(url)):
        return []
    return [
        f"Postgres at {place(url)} is another machine, and nobody checks its certificate:"
        f" add sslmode=verify-full and sslrootcert to {setting}."
    ]


def _of_redis(url: str) -> list[str]:
    if not url:
        return []
    address, name = read_redis_url(url), place(url)
    hosts = [host for host, _ in address.sentinels] or [address.options.get("host", "localhost")]
    if not any(map(_is_remote, hosts)):
        return []
    advice = "start REDIS_URL with rediss, and name its CA in ssl_ca_certs"
    if not address.is_encrypted:
        return [f"Redis at {name} is another machine, and is reached without TLS: {advice}."]
    if address.options.get("ssl_cert_reqs", "required") != "required":
        return [f"Redis at {name} is another machine, and nobody checks its certificate: {advice}."]
    return []


def _is_remote(host: str | None) -> bool:
    """Say whether a host is another machine. A name without a dot is of a network of containers."""
    if host is None or host.startswith("/"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return "." in host.rstrip(".") and not host.endswith(".localhost")
