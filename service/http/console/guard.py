"""The checks before any page of the console: who may open it, and from where.

The name under which a page is opened is checked against DNS rebinding: a stranger's name that is made to point here is
not one of ours. What changes anything must come from a page of ours, by the browser's own word (Sec-Fetch-Site,
Origin), beside the token in the form.
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from service.http.bodies import read_kept_body
from service.http.client_address import ClientAddresses

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_FIELDS_MAX = 20

# No style, script or frame but our own files, and nobody may frame a page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`, with which browsers send the Origin `null` from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ConsoleRefused(Exception):
    """A refusal, which the page shows as a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def require_name(request: web.Request, names: tuple[str, ...], *, https: bool) -> None:
    """Let nobody in under a name that is not ours, nor without https but from this machine. Raises ConsoleRefused."""
    name = _name(request.host)
    if name in _LOOPBACK:
        return
    if name not in {known.lower() for known in names}:
        raise ConsoleRefused(421, "The console does not answer under this name: add it to CONSOLE_HOSTS.")
    if not https:
        raise ConsoleRefused(
            403,
            "The console needs https: name your proxy in TRUSTED_PROXIES, and let it send X-Forwarded-Proto.",
        )


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_https(request: web.Request, clients: ClientAddresses) -> bool:
    """Return whether the browser speaks https, with us or with our own proxy."""
    if request.secure:
        return True
    forwarded = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    return forwarded == "https" and clients.trusts(request.remote or "")


def require_own_page(request: web.Request, *, https: bool) -> None:
    """Let a form be sent by a page of ours alone. Raises ConsoleRefused.

    A browser says itself where a form comes from, an old one by the Origin alone. A proxy may leave out the port.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own = f"{'https' if https else 'http'}://{request.host}"
    if site != "same-origin" and (site is not None or origin != own):
        raise ConsoleRefused(403, "This was not sent by a page of the console.")


async def read_form(request: web.Request) -> Mapping[str, str]:
    """Read a form's fields. Raises HttpProblem for a body that is too long or never ends, and ConsoleRefused."""
    body = await read_kept_body(request)
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError:
        raise ConsoleRefused(400, "This form cannot be read.") from None
    require_text(fields)
    return fields


def require_text(values: Mapping[str, str]) -> None:
    """Let no text through that Postgres cannot store. Raises ConsoleRefused."""
    if any("\0" in value for value in values.values()):
        raise ConsoleRefused(400, "This form cannot be read.")


def protect(response: web.StreamResponse, *, kept: bool = False) -> None:
    """Set the headers of each answer. `kept`: it may be cached."""
    response.headers.update(_HEADERS)
    if not kept:
        response.headers["Cache-Control"] = "no-store"
