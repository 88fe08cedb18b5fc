"""The OpenAPI 3.1 document at `/openapi.json`, and a page at `/docs` that shows it.

The page is Swagger UI, from the files in the wheel of `drf-spectacular-sidecar`: nothing comes from another address, so
that its Content-Security-Policy may be strict. The package itself is never imported, because it asks for Django.
"""

import asyncio
import gzip
from collections.abc import Iterable
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from service.http.document import build
from service.http.endpoints import Endpoint, EndpointTable, HttpAnswer

_PAGE = Path(__file__).with_name("docs_page")
_PACKAGE, _PACKAGE_FILES = "drf_spectacular_sidecar", Path("static/drf_spectacular_sidecar/swagger-ui-dist")
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    # Swagger UI sets styles by script, which needs no exception; `data:` is for the images in its style sheet.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=3600",
    "Vary": "Accept-Encoding",
}


class Document:
    """The document of an application's endpoints, made when somebody first asks for it."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)

    @cached_property
    def body(self) -> bytes:
        return orjson.dumps(build(self._endpoints), option=orjson.OPT_APPEND_NEWLINE)


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


@endpoints.add(
    "GET",
    "/docs",
    "This document as a page",
    id="showDocs",
    answers={200: HttpAnswer("A page for a browser.", str, media_type="text/html")},
)
async def show_docs(request: web.Request) -> web.Response:
    return await _file(request, "index.html")


@endpoints.add(
    "GET",
    "/docs/{file}",
    "A part of that page",
    id="showDocsFile",
    answers={200: HttpAnswer("A style sheet or a script.", str, media_type="text/*")},
    problems=("not-found",),
)
async def show_docs_file(request: web.Request) -> web.Response:
    return await _file(request, request.match_info["file"])


async def _file(request: web.Request, name: str) -> web.Response:
    """Answer one of the page's files, compressed where the browser takes that. Raises HTTPNotFound."""
    path = _paths().get(name)
    if path is None:
        raise web.HTTPNotFound
    whole, compressed = await asyncio.to_thread(_bodies, path)
    headers, takes_gzip = _HEADERS, "gzip" in request.headers.get("Accept-Encoding", "")
    if takes_gzip:
        headers = _HEADERS | {"Content-Encoding": "gzip"}
    return web.Response(
        body=compressed if takes_gzip else whole,
        content_type=_MEDIA_TYPES[path.suffix],
        charset="utf-8",
        headers=headers,
    )


@cache
def _paths() -> dict[str, Path]:
    """Return where the files of the page are. Nothing else can be asked for."""
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        return {}
    swagger = Path(package.submodule_search_locations[0]) / _PACKAGE_FILES
    ours = {name: _PAGE / name for name in ("index.html", "start.js")}
    return ours | {name: swagger / name for name in ("swagger-ui.css", "swagger-ui-bundle.js")}


@cache
def _bodies(path: Path) -> tuple[bytes, bytes]:
    whole = path.read_bytes()
    return whole, gzip.compress(whole)
