"""Run the processes `serve`, `worker` and `sandbox serve`. Production has many of each, `dev` one."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import structlog

from cli.errors import CommandFailed
from service.logs import configure_logs
from service.settings import Settings

log = structlog.get_logger()

# A webhook's answer takes milliseconds, a completion call's as long as it waits; SIGKILL often follows after 10 s.
_DRAIN_SECONDS = 8.0
# For the first of these calls still come on connections that a proxy keeps open, each of which ends with its answer.
_LEAVE_SECONDS = 1.0
# macOS refuses more than this, whatever its hard limit says.
_OPEN_FILES_MAX = 10_240


def run_receiver(settings: Settings) -> None:
    """Serve HTTP until SIGTERM or SIGINT."""
    raise_open_files_limit()
    _run(_serve(settings))


def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    from workers import main

    _run(main.run_worker(settings))


def become_sandbox(arguments: list[str]) -> None:
    """Replace this process with `python -m sandbox`, which imports nothing of ours."""
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", *arguments])  # noqa: S606


async def _serve(settings: Settings) -> None:
    from service.http.app import set_up

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = await set_up(settings, _DRAIN_SECONDS - _LEAVE_SECONDS, _LEAVE_SECONDS)
    try:
        await runner.listen(settings.host, settings.port)
        log.info("receiver.started", host=settings.host, port=settings.port)
        await stopped.wait()
    except OSError as error:
        raise CommandFailed(why_no_port(error, settings.host, settings.port, "PORT")) from error
    finally:
        await runner.cleanup()


def raise_open_files_limit() -> None:
    """Raise the limit of open files to the hard limit: each connection takes one, and the usual 1,024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):  # the system may know a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def why_no_port(error: OSError, host: str, port: int, setting: str) -> str:
    """Return the sentence for an address on which the server cannot listen."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is taken: stop the program that has it, or set {setting} to a free port."
        case errno.EACCES:
            return f"Port {port} needs root: set {setting} to a port above 1023."
        case _:
            return f"The address {host}:{port} cannot be listened on ({error.strerror}): change HOST or {setting}."


def _run(work: Coroutine[Any, Any, None]) -> None:
    configure_logs()
    # Objects that imports made stay forever, and a request leaves few cycles. Collecting at every 700th new object,
    # the default, cost 5 % of the receiver's time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        from uvloop import run
    except ImportError:  # not every platform has it
        asyncio.run(work)
    else:
        run(work)
