"""The console's own style sheet, script and picture, which browsers keep until they change."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from service.http.console.guard import protect

_FOLDER = Path(__file__).with_name("static")
_MEDIA_TYPES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
FILE_ADDRESS = "/console/files/{name}"


@cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


@cache
def address_of(name: str) -> str:
    """Return the file's address, which is another one when its content is."""
    return f"/console/files/{name}?{sha256(_content(name)).hexdigest()[:12]}"


async def show_file(request: web.Request) -> web.Response:
    """Answer a file, also to who has not signed in: the sign-in page needs it. Raises HTTPNotFound."""
    name = request.match_info["name"]
    if name not in _MEDIA_TYPES:
        raise web.HTTPNotFound
    response = web.Response(body=_content(name), content_type=_MEDIA_TYPES[name], charset="utf-8")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    protect(response, kept=True)
    return response
