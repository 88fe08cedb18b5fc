"""Serve pages, and the scripts, style sheets and pictures that they load, each a file beside its module."""

from pathlib import Path

from aiohttp import web

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class StaticFiles:
    """The files of a folder that a page may load, found by their names alone."""

    def __init__(self, folder: Path) -> None:
        self.by_name = {file.name: file for file in folder.iterdir() if file.suffix in TYPES}

    async def serve(self, request: web.Request) -> web.Response:
        """Answer the file of the address's last part; 404 for any other name."""
        file = self.by_name.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=file.read_bytes(), content_type=TYPES[file.suffix], charset="utf-8", headers=headers)


def html(text: str, policy: str, referrer: str) -> web.Response:
    """Answer a page under a Content-Security-Policy and a Referrer-Policy. No browser keeps it."""
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": referrer,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.Response(text=text, content_type="text/html", headers=headers)
