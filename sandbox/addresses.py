"""Rules for the addresses that the sandbox may call, and for the names under which it may be called. Pure."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

ANY = "*"


class AddressPolicy:
    """The hosts that are allowed: this machine's loopback addresses, and those that the sandbox was started with."""

    def __init__(self, allowed: Iterable[str] = (), webhook_url: str | None = None) -> None:
        given = {host.lower().strip("[]") for host in allowed}
        # Whoever starts the sandbox with a webhook's address wants it to be called.
        self._allowed = given | ({host} if webhook_url and (host := _host_of(webhook_url)) else set())

    def refusal(self, url: str) -> str | None:
        """Say in a sentence why this address is not called, or return None where it may be."""
        host = _host_of(url)
        if host is None:
            return f"{url[:200]} is no http or https address."
        if ANY in self._allowed or host in self._allowed or is_loopback_name(host):
            return None
        return f"{host} is not this machine; start the sandbox with --allow-host {host} to let it call there."

    def answers_to(self, host_header: str, *, loopback_only: bool) -> bool:
        """Say whether a request for this Host is meant for us.

        A name that is neither ours nor allowed may belong to a foreign page whose DNS answers with this machine.
        """
        host = _host_of(f"http://{host_header}")
        if host is None:
            return False
        if host in self._allowed or is_loopback_name(host):
            return True
        return not loopback_only and _address(host) is not None


def is_loopback_name(host: str) -> bool:
    """Say whether this host is this machine. A name that merely resolves to it may tomorrow resolve elsewhere."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and is_loopback(address)


def is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether the address is loopback, also as an IPv4 address inside an IPv6 one."""
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _host_of(url: str) -> str | None:
    """Return the host of an http or https address, in lower case, or None for anything else."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    # What the URL parsers of Python and of the client could read differently is refused.
    odd = "\\" in url or "@" in parts.netloc or any(character <= " " for character in url)
    return parts.hostname if usable and not odd and parts.hostname else None
