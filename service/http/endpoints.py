"""The declaration of an endpoint, beside its handler. The routes and the OpenAPI document are both made from it.

    endpoints = EndpointTable("orders")

    @endpoints.add(
        "GET", "/orders/{merchant_uid}", "Read an order", id="readOrder", scope="orders:read",
        answers={200: HttpAnswer("The order as it stands.", OrderAnswer)}, problems=("order-not-registered",),
    )
    async def read_order(request: web.Request) -> web.Response: ...

What follows from a part is not said again: a `scope` means that the route lets in nobody without it, and 401, 403 and
503; a body means 400, 408, 413 and 415, and a parameter may bring problems of its own. Each problem's status, meaning
and example are in `service/http/problem_types.py`.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from aiohttp import web
from pydantic import BaseModel

from service.http.field_types import Account, MerchantUid, Tier
from service.http.problem_types import POSTGRES_PROBLEMS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AHandler = TypeVar("AHandler", bound=Handler)
ScopeName = Literal["orders:read", "orders:write", "events:read", "metrics"]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

# Any problem that follows from having a body, and from having one that must be JSON.
_BODY_PROBLEMS = ("unreadable-body", "body-not-finished", "body-too-large")
# Where Postgres is away, a receiver that has not read the keys yet cannot tell a right one.
_KEY_PROBLEMS = ("service-key", "missing-scope", *POSTGRES_PROBLEMS)
_JSON_PROBLEMS = ("malformed-json", "not-json")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query, the path or a header. `type` is any annotation that pydantic can describe."""

    name: str
    place: Literal["query", "path", "header"]
    type: Any
    description: str = ""
    example: Any = None
    required: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer."""

    name: str
    description: str
    pattern: str = ""
    required: bool = True
    example: str = ""


RETRY_AFTER = Header("Retry-After", "Seconds until it is worth trying again.", "^[0-9]+$", example="2")


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body. `strict`: it must be JSON, and be declared as JSON; otherwise a form does as well."""

    model: type[BaseModel]
    examples: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    strict: bool = True
    problems: tuple[str, ...] = _BODY_PROBLEMS

    @property
    def media_types(self) -> tuple[str, ...]:
        return (JSON,) if self.strict else (JSON, FORM)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer that is no problem document. `model`: a pydantic model or annotation; None: it has no body."""

    description: str
    model: Any = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    media_type: str = JSON


PATH_PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("merchant_uid", "path", MerchantUid, "Percent-encoded, also its slashes.", "order-1", required=True),
        Parameter("account", "path", Account, example="shop-b", required=True, problems=("not-found",)),
        Parameter("file", "path", Literal["swagger-ui.css", "swagger-ui-bundle.js", "start.js"], required=True),
        Parameter("tier", "path", Tier, example="abc", required=True, problems=("not-found",)),
    )
}


class Rest(TypedDict, total=False):
    """The parts of an endpoint that not every one has."""

    scope: ScopeName
    checkout_token: bool
    parameters: tuple[Parameter, ...]
    body: Body
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method at one address: its handler, and all that a caller may know of it."""

    method: str
    path: str
    handler: Handler
    tag: str
    id: str
    summary: str
    description: str = ""
    scope: ScopeName | None = None
    checkout_token: bool = False
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: Mapping[int, HttpAnswer]
    problems: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """Return the path for aiohttp's router. Its own default refuses braces."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", self.path)

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters, those of the path first."""
        return (*(PATH_PARAMETERS[name] for name in re.findall(r"\{(\w+)\}", self.path)), *self.parameters)

    @property
    def all_problems(self) -> Iterator[str]:
        """Yield the kind of every problem that the endpoint may answer, some more than once."""
        yield from self.problems
        for parameter in self.all_parameters:
            yield from parameter.problems
        if self.body:
            yield from self.body.problems
            if self.body.strict:
                yield from _JSON_PROBLEMS
        if self.scope:
            yield from _KEY_PROBLEMS
        if self.checkout_token:
            yield "checkout-token"
        yield "internal-error"


class EndpointTable:
    """The endpoints of one module, all under one tag of the document."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._endpoints: list[Endpoint] = []

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        description: str = "",
        *,
        id: str,  # noqa: A002 - OpenAPI's own word is operationId
        answers: Mapping[int, HttpAnswer],
        **rest: Unpack[Rest],
    ) -> Callable[[AHandler], AHandler]:
        """Declare that the function below answers here. Leaves the function as it is."""

        def declare(handler: AHandler) -> AHandler:
            endpoint = Endpoint(
                method=method,
                path=path,
                handler=handler,
                tag=self._tag,
                id=id,
                summary=summary,
                description=description,
                answers=answers,
                **rest,
            )
            self._endpoints.append(endpoint)
            return handler

        return declare
