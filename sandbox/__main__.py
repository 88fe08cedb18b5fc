"""Run PortOne V1 on this machine: `python -m sandbox`."""

import argparse
import asyncio
import errno
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.app import create_app
from sandbox.config import DEFAULT_ACCOUNT, Keys, SandboxConfig, ShopConfig
from sandbox.state_file import StateFileProblem

STOP_WITHIN_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the process's exit code."""
    options = _read_options(arguments)
    config = _read_config(options)
    try:
        _run(serve(config, options.host, options.port))
    except StateFileProblem as problem:
        return _complain(str(problem))
    except OSError as error:
        return _complain(_explained(error, options.host, options.port))
    return 0


async def serve(config: SandboxConfig, host: str, port: int) -> None:
    """Listen, print the address in one line, and stop about a second after a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(create_app(config), access_log=None, shutdown_timeout=STOP_WITHIN_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        address, actual_port = runner.addresses[0][:2]
        shown = f"[{address}]" if ":" in address else address
        sys.stdout.write(f"sandbox listening on http://{shown}:{actual_port}\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one, so that a benchmark does not measure the stand-in."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = SandboxConfig()
    parser = argparse.ArgumentParser(prog="sandbox", description="A stand-in for PortOne V1 over real HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    parser.add_argument("--port", type=_port, default=8081, help="default %(default)s; 0 picks a free one")
    parser.add_argument("--webhook-url", help="the console's Endpoint URL; a tier's is URL/TIER")
    parser.add_argument("--imp-key", default=os.environ.get("SANDBOX_IMP_KEY") or default.imp_key)
    parser.add_argument("--imp-secret", default=os.environ.get("SANDBOX_IMP_SECRET") or default.imp_secret)
    more = "one more account; its Endpoint URL is URL/accounts/NAME[/TIER]"
    accounts = [_account(text) for text in os.environ.get("SANDBOX_ACCOUNTS", "").split(",") if text]
    parser.add_argument(
        "--account", type=_account, action="append", default=accounts, metavar="NAME:KEY:SECRET", help=more
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep the payments here over a restart")
    _add_browser_options(parser, default)
    shop = "the service whose orders the shop at /shop registers, with the key in SANDBOX_SERVICE_KEY"
    parser.add_argument("--service-url", default=os.environ.get("SANDBOX_SERVICE_URL"), metavar="URL", help=shop)
    return parser.parse_args(arguments)


def _add_browser_options(parser: argparse.ArgumentParser, default: SandboxConfig) -> None:
    """Add what concerns pages, and the addresses they may name."""
    user_code = "what the page gives to IMP.init; default %(default)s"
    parser.add_argument("--user-code", default=os.environ.get("SANDBOX_USER_CODE") or default.user_code, help=user_code)
    strict = "refuse user codes and channels that are not set up, instead of opening a window"
    parser.add_argument("--strict", action="store_true", default=os.environ.get("SANDBOX_STRICT") == "1", help=strict)
    hosts = [host for host in os.environ.get("SANDBOX_ALLOWED_HOSTS", "").split(",") if host]
    allow = "a host beside this machine that may be called, and under whose name browsers may come; * is any"
    parser.add_argument("--allow-host", action="append", default=hosts, metavar="HOST", help=allow)
    public = "the address under which browsers reach the sandbox, where it is behind another server"
    parser.add_argument(
        "--public-url", default=os.environ.get("SANDBOX_PUBLIC_URL") or None, metavar="URL", help=public
    )


def _read_config(options: argparse.Namespace) -> SandboxConfig:
    return SandboxConfig(
        imp_key=options.imp_key,
        imp_secret=options.imp_secret,
        webhook_url=options.webhook_url,
        state_file=options.state,
        accounts=dict(options.account),
        user_code=options.user_code,
        strict=options.strict,
        allowed_hosts=tuple(options.allow_host),
        public_url=options.public_url,
        shop=_read_shop(options.service_url),
    )


def _read_shop(service_url: str | None) -> ShopConfig | None:
    """Return what the shop needs, or None. Its key comes from the environment, where `ps` does not show it."""
    key = os.environ.get("SANDBOX_SERVICE_KEY")
    return ShopConfig(service_url.rstrip("/"), key) if service_url and key else None


def _account(text: str) -> tuple[str, Keys]:
    name, *keys = text.split(":")
    if not (name and name != DEFAULT_ACCOUNT and len(keys) == 2 and all(keys)):
        raise argparse.ArgumentTypeError("an account is NAME:KEY:SECRET, and its name not that of the first")
    return name, Keys(*keys)


def _port(text: str) -> int:
    """Read a port. uvloop would take a number that is too large modulo 65536."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _explained(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what listens there, or choose another with --port."
    return f"The sandbox cannot run on {host}:{port}: {error.strerror or error}."


def _complain(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
