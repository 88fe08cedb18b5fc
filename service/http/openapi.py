"""`GET /openapi.json`, which describes every endpoint and every answer as an OpenAPI 3.1 document."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import orjson
from aiohttp import web

from service.http.document import build
from service.http.endpoints import Endpoint, EndpointTable, HttpAnswer


class Document:
    """The document of an application's endpoints, made when somebody first asks for it."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)

    @cached_property
    def fields(self) -> dict[str, Any]:
        return build(self._endpoints)

    @cached_property
    def body(self) -> bytes:
        return orjson.dumps(self.fields, option=orjson.OPT_APPEND_NEWLINE)


DOCUMENT = web.AppKey("document", Document)

endpoints = EndpointTable("health")


@endpoints.add(
    "GET",
    "/openapi.json",
    "This document",
    id="readOpenapi",
    answers={200: HttpAnswer("OpenAPI 3.1.", dict[str, Any])},
)
async def serve_document(request: web.Request) -> web.Response:
    return web.Response(body=request.app[DOCUMENT].body, content_type="application/json")
