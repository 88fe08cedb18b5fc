"""`GET /openapi.yaml`, which describes every endpoint and every answer as an OpenAPI 3.1 document."""

from functools import cache
from importlib import resources

from aiohttp import web


@cache
def document() -> bytes:
    """Return the document as it is shipped beside this module."""
    return (resources.files("service.http") / "openapi.yaml").read_bytes()


async def serve_document(request: web.Request) -> web.Response:
    return web.Response(body=document(), content_type="application/yaml")
