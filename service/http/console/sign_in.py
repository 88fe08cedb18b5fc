"""Sign in with a service key of the scope `admin`, and sign out."""

import math
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from service.errors import ServiceError
from service.http.console.guard import ConsoleRefused, read_form
from service.http.console.visits import HOME, Visit, go_to

log = structlog.get_logger()


async def show_sign_in(visit: Visit) -> web.StreamResponse:
    """Ask for a key. Whoever has signed in already goes on."""
    if visit.session is not None:
        return go_to(_own_page(visit.request.query.get("next", "")))
    return _form(visit, 200, visit.request.query.get("next", ""))


async def sign_in(visit: Visit) -> web.StreamResponse:
    """Start a session, or show the form again. Wrong keys of one client are limited, and right ones do not count."""
    client, limit = visit.receiver.clients.client_address(visit.request), visit.receiver.limits.wrong_keys
    fields = await read_form(visit.request)
    next_page = fields.get("next", "")
    if wait := math.ceil(limit.wait_seconds(client)):
        response = _form(visit, 429, next_page, wait)
        response.headers["Retry-After"] = str(wait)
        return response
    try:
        session = await visit.receiver.sessions.sign_in(fields.get("key", "").strip())
    except ServiceError:
        limit.give_back(client)  # nobody can say whether the key is right
        raise
    if session is None:
        log.warning("console.sign_in_refused")
        return _form(visit, 403, next_page)
    limit.give_back(client)
    log.info("console.signed_in", who=session.who)
    return visit.signed_in(go_to(_own_page(next_page)), session.token)


def _form(visit: Visit, status: int, next_page: str, wait: int = 0) -> web.Response:
    return visit.page("sign_in.html", status, next=next_page, refused=status == 403, wait=wait)


async def sign_out(visit: Visit) -> web.StreamResponse:
    """End the session at every receiver."""
    if visit.session is not None:
        fields = await read_form(visit.request)
        require_form_of(visit, fields.get("csrf", ""))
        await visit.receiver.sessions.sign_out(visit.session)
    return visit.signed_out(go_to("/console/sign-in"))


def require_form_of(visit: Visit, csrf: str) -> None:
    """Let nothing be done but by a form that was made for this session. Raises ConsoleRefused."""
    if visit.session is None or not visit.session.has_made(csrf):
        raise ConsoleRefused(403, "This form is of another session: open the page again.")


def _own_page(address: str) -> str:
    """Return the page to go on to: one of the console's, whatever the address says."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return HOME
    is_own = not (parts.scheme or parts.netloc) and f"{parts.path}/".startswith(f"{HOME}/")
    is_plain = ".." not in parts.path and address.isascii() and address.isprintable() and "\\" not in address
    return address if is_own and is_plain else HOME
