"""A visit: one request of a person, with the language and the session that it has, and how it is answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from service.errors import PostgresUnavailable, ServiceError, UnfitPooler
from service.http.console.guard import ConsoleRefused, is_https, protect, require_name, require_own_page, require_text
from service.http.console.languages import COOKIE, LANGUAGES, Language, language_of, translator
from service.http.console.rendering import render
from service.http.faults import log_fault
from service.http.problems import RETRY_AFTER_SECONDS, HttpProblem
from service.http.receiver import RECEIVER, Receiver
from service.usecases.console_sessions import LASTS, Session

HOME = "/console"
SIGN_IN = "/console/sign-in"
_LANGUAGE_SECONDS = 365 * 86_400
_COME_AGAIN = {"Retry-After": str(RETRY_AFTER_SECONDS)}


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that came under a name of ours. `session` None: nobody has signed in."""

    request: web.Request
    receiver: Receiver
    language: Language
    https: bool
    session: Session | None = None

    @property
    def who(self) -> str:
        """The name under which this person's actions are recorded. Only who has signed in gets to a handler."""
        return self.session.who if self.session else ""

    def say(self, sentence: str, **values: object) -> str:
        """Say a sentence in the visitor's language."""
        return translator(self.language)(sentence, **values)

    def page(self, template: str, status: int = 200, **values: Any) -> web.Response:
        """Answer a page, made of its template."""
        path = self.request.rel_url.path
        other = {**self.request.query, "lang": "en" if self.language == "ko" else "ko"}
        text = render(
            template,
            self.language,
            session=self.session,
            path=path,
            switch=f"{quote(path)}?{urlencode(other)}",
            **values,
        )
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")

    def signed_in(self, response: web.Response, token: str) -> web.Response:
        """Give the browser the session's token. Without https, on this machine, the cookie cannot be `__Host-`."""
        response.set_cookie(
            _cookie(self.https), token, max_age=int(LASTS.total_seconds()), path="/" if self.https else HOME,
            httponly=True, samesite="Strict", secure=self.https,
        )  # fmt: skip
        return response

    def signed_out(self, response: web.Response) -> web.Response:
        """Take the token from the browser."""
        response.del_cookie(
            _cookie(self.https), path="/" if self.https else HOME, httponly=True, samesite="Strict", secure=self.https
        )
        return response


VisitHandler = Callable[[Visit], Awaitable[web.StreamResponse]]


def go_to(address: str, **query: str) -> web.Response:
    """Send the browser to a page of the console, with GET."""
    location = f"{address}?{urlencode(query)}" if query else address
    return web.Response(status=303, headers={"Location": location})


def visited(handler: VisitHandler, *, signed_in: bool = True) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a route's handler, which lets in only those who are entitled, and answers every error as a page."""

    async def answer(request: web.Request) -> web.StreamResponse:
        receiver = request.app[RECEIVER]
        visit = Visit(request, receiver, language_of(request), is_https(request, receiver.clients))
        try:
            response = await _answer(visit, handler, signed_in=signed_in)
        except Exception as error:
            response = _error_page(visit, error)
        if not response.prepared:
            protect(response)
            _keep_language(visit, response)
        return response

    return answer


async def _answer(visit: Visit, handler: VisitHandler, *, signed_in: bool) -> web.StreamResponse:
    request, settings = visit.request, visit.receiver.settings
    require_name(request, settings.console_hosts, https=visit.https)
    require_text(request.query)
    if request.method == "POST":
        require_own_page(request, https=visit.https)
    if token := request.cookies.get(_cookie(visit.https)):
        visit = replace(visit, session=await visit.receiver.sessions.find(token))
    if signed_in and visit.session is None:
        return go_to(SIGN_IN, next=str(request.rel_url)) if request.method == "GET" else go_to(SIGN_IN)
    return await handler(visit)


def _cookie(https: bool) -> str:
    return "__Host-console" if https else "console"


def _keep_language(visit: Visit, response: web.StreamResponse) -> None:
    if visit.request.query.get("lang") in LANGUAGES:
        response.set_cookie(
            COOKIE, visit.language, max_age=_LANGUAGE_SECONDS, path=HOME, samesite="Strict", secure=visit.https
        )


def _error_page(visit: Visit, error: Exception) -> web.StreamResponse:
    match error:
        case ConsoleRefused():
            status, sentence, headers = error.status, str(error), error.headers
        case HttpProblem():
            status, sentence, headers = error.status, "This form cannot be read.", error.headers
        case UnfitPooler():
            status, headers = 503, _COME_AGAIN
            sentence = "The pooler before Postgres is not set as it must be: portone-orders doctor says what it lacks."
        case PostgresUnavailable():
            status, headers = 503, _COME_AGAIN
            sentence = "Postgres is silent; notices are accepted meanwhile. See “Postgres is away” in the runbook."
        case ServiceError() if error.transient:
            status, headers = 503, _COME_AGAIN
            sentence = "Too many people read at once: reload this page in a moment."
        case _:
            log_fault("console.failed", error)
            status, sentence, headers = 500, "This is a fault of the service itself: its log has “console.failed”.", {}
    response = visit.page("error.html", status, sentence=sentence)
    response.headers.update(headers)
    return response
