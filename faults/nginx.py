"""nginx as deploy/nginx/portone-orders.conf sets it, for tests and measurements."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cli.errors import CommandFailed

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "nginx" / "portone-orders.conf"
# A caller that keeps its connection for a whole measurement must not meet nginx's limit of calls for each.
_MAIN = """\
{user}worker_processes 2;
worker_shutdown_timeout 20s;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/portone-orders.conf;
}}
"""


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def nginx_words(program: str, folder: Path, changes: Mapping[str, str], connections: int) -> tuple[str, ...]:
    """Write the configuration into the folder. Returns the command that runs nginx with it, in the foreground.

    `changes`: texts of the example that are the operator's own, each with its replacement. Raises CommandFailed.
    """
    text = CONFIGURATION.read_text("utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            raise CommandFailed(f"{CONFIGURATION} has {old!r} {text.count(old)} times.")
        text = text.replace(old, new)
    user = "user root;\n" if os.geteuid() == 0 else ""
    main = _MAIN.format(folder=folder, user=user, connections=connections)
    (folder / "portone-orders.conf").write_text(text, "utf-8")
    (folder / "nginx.conf").write_text(main, "utf-8")
    return (program, "-p", str(folder), "-e", str(folder / "start.log"), "-c", "nginx.conf", "-g", "daemon off;")


def receivers_at(ports: tuple[int, int], folder: Path) -> dict[str, str]:
    """Return the changes that name two receivers on these ports, and the folder for the log."""
    return {
        "server 127.0.0.1:8080 ": f"server 127.0.0.1:{ports[0]} ",
        "server 127.0.0.1:8090 ": f"server 127.0.0.1:{ports[1]} ",
        "/var/log/nginx/portone-orders.log": str(folder / "access.log"),
    }
