"""Check what the world outside meets: the receiver's public address, and the pages that call it or end there.

Without PUBLIC_URL the address is not known, and only the two settings are read.
"""

import asyncio
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from service.settings import Settings

_TIMEOUT_SECONDS = 4.0
_READY_MAX_BYTES = 65_536
# As a browser writes it: no path, no slash at the end, no capitals, and no port that the scheme implies.
_ORIGIN = re.compile(r"https?://[^/\s@?#*]+", re.ASCII)
_IMPLIED = {"http": 80, "https": 443}
_COMPLETION = "/payment/complete"


async def check_address(settings: Settings) -> list[str]:
    """Ask the receiver under its public name, as PortOne and the buyers' browsers do."""
    if not settings.public_url:
        return []
    if _is_open(settings.public_url):
        advice = "put TLS in front of the receivers, and write https:// in PUBLIC_URL"
        return [f"PUBLIC_URL ({settings.public_url}) is not https, so that all travels in the open: {advice}."]
    async with _session() as session:
        if fault := await _unreachable(session, settings.public_url):
            return [fault]
        origins = [origin for origin in settings.cors_origins if not _origin_fault(origin)]
        answers = await asyncio.gather(*(_allows(session, settings.public_url, origin) for origin in origins))
    shut = [origin for origin, allowed in zip(origins, answers, strict=True) if not allowed]
    return [_not_allowed(settings.public_url, origin) for origin in shut]


async def check_pages(settings: Settings) -> list[str]:
    """Check that CORS_ORIGINS has origins as browsers send them, and that RETURN_URL is a page that answers."""
    faults = [fault for origin in settings.cors_origins if (fault := _origin_fault(origin))]
    if settings.return_url:
        async with _session() as session:
            faults += await _return_faults(session, settings)
    return faults


def _is_open(url: str) -> bool:
    """Return whether calls to this address can be read on their way: plain HTTP beyond this machine and its network."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and not ip_address(parts.hostname or "").is_private
    except ValueError:  # a name
        return parts.scheme == "http" and parts.hostname != "localhost"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_SECONDS))


async def _unreachable(session: aiohttp.ClientSession, url: str) -> str | None:
    """Return why /readyz cannot be read under this address; None if it answers, whatever it says of the databases."""
    about, correct = f"PUBLIC_URL ({url})", "correct PUBLIC_URL"
    try:
        async with session.get(f"{url}/readyz", allow_redirects=False) as answer:
            body = await answer.content.read(_READY_MAX_BYTES)
    except (aiohttp.ClientError, TimeoutError) as error:
        reason, advice = _reason(error)
        return f"{about} {reason}: {advice}, or {correct}."
    if 300 <= answer.status < 400:
        return f"{about} redirects to {answer.headers.get('Location', 'another address')}: {correct} to where it leads."
    if b'"postgres"' not in body:
        return (
            f"What answers at {about} ({answer.status}) is no receiver: have its proxy pass all paths on, or {correct}."
        )
    return None


def _reason(error: Exception) -> tuple[str, str]:
    """Return in words why a page could not be read, and what to do."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "has a host that is not known", "add it to the DNS"
        case aiohttp.ClientSSLError():
            return "has a certificate that is not accepted", "renew the certificate"
        case TimeoutError():
            return f"does not answer within {_TIMEOUT_SECONDS:.0f} s", "let this machine reach it"
        case aiohttp.InvalidURL():
            return "is not an address", "write it like https://pay.shop.example"
        case _:
            return "cannot be reached", "start what listens there"


async def _allows(session: aiohttp.ClientSession, url: str, origin: str) -> bool:
    """Return whether a browser would let a page of this origin make its completion call."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    try:
        async with session.options(url + _COMPLETION, headers=headers, allow_redirects=False) as answer:
            return answer.headers.get("Access-Control-Allow-Origin") == origin
    except (aiohttp.ClientError, TimeoutError):
        return False


def _not_allowed(url: str, origin: str) -> str:
    return (
        f"{url} does not let pages of {origin} call {_COMPLETION}: restart the receivers with this CORS_ORIGINS, and"
        " have the proxy pass OPTIONS and the Access-Control headers on."
    )


def _origin_fault(origin: str) -> str | None:
    """Return a sentence if no browser sends this origin, with what it would send if that is plain."""
    if not _ORIGIN.match(origin):
        return f"CORS_ORIGINS has {origin!r}, which is no origin: write each like https://shop.example."
    try:
        parts = urlsplit(origin)
        port = "" if parts.port in (None, _IMPLIED[parts.scheme]) else f":{parts.port}"
    except ValueError:
        return f"CORS_ORIGINS has {origin!r}, whose port is none: write each like https://shop.example."
    sent = f"{parts.scheme}://{f'[{parts.hostname}]' if ':' in (parts.hostname or '') else parts.hostname}{port}"
    return None if origin == sent else f"CORS_ORIGINS has {origin}, which no browser sends: write {sent}."


async def _return_faults(session: aiohttp.ClientSession, settings: Settings) -> list[str]:
    url, correct = settings.return_url, "correct RETURN_URL"
    if settings.public_url and url.startswith(f"{settings.public_url}/payment-redirect"):
        return [f"RETURN_URL ({url}) is the receiver's own address, where phones go round in circles: set your page."]
    try:
        async with session.get(url, allow_redirects=False) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        reason, advice = _reason(error)
        return [f"RETURN_URL ({url}) {reason}: {advice}, or {correct}."]
    if status == 404 or status >= 500:
        return [f"RETURN_URL ({url}) answers {status}, so phones end on no page: put the page there, or {correct}."]
    return []
