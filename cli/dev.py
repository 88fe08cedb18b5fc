"""Run the whole service on this machine: each part is a process that is restarted when it dies."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any

from cli.dev_parts import LocalParts
from cli.dev_plan import Plan
from cli.errors import CommandFailed
from cli.ports import try_port
from cli.screen import Screen
from cli.serve import why_no_port
from cli.state import StateDir
from service.settings import Settings


def run_dev(settings: Settings) -> None:
    """Start everything, wait for Ctrl-C, SIGTERM or SIGHUP, then stop what was started."""
    asyncio.run(_dev(settings, Screen(), time.monotonic()))


async def _dev(settings: Settings, screen: Screen, began: float) -> None:
    stopped = _stop_event()
    plan = Plan(settings, StateDir(settings.state_dir))
    parts = LocalParts(plan, screen)
    try:
        await _run_until(stopped, _start(plan, parts, screen))
        if not stopped.is_set():
            plan.state.write_env(plan.env_file(parts.databases))
            _show(plan, screen, time.monotonic() - began)
            await _run_until(stopped, parts.keep_running())
    finally:
        if parts.started:
            screen.step("Stopping")
            await parts.stop()
            screen.done(f"Stopped; the data stays in {' and '.join(map(str, parts.data_folders))}")


async def _start(plan: Plan, parts: LocalParts, screen: Screen) -> None:
    if not plan.has_sandbox:
        plan.settings.require("portone_imp_key", "portone_imp_secret")
    if plan.ignores_key:
        screen.warn(
            "PORTONE_IMP_KEY is set and PORTONE_API_URL is not, so the sandbox plays PortOne and the key is not used:"
            " to ask PortOne, set PORTONE_API_URL=https://api.iamport.kr too."
        )
    await parts.stop_leftovers()
    _check_ports(plan)
    await parts.start()


def _show(plan: Plan, screen: Screen, seconds: float) -> None:
    """Print the short screen that ends the start."""
    screen.line()
    screen.line(f"portone-orders is ready after {seconds:.1f} s. Ctrl-C stops it.", "bold green")
    if plan.has_sandbox:
        screen.line(f"  shop      {plan.shop_url}  <- try a payment in your browser")
    screen.line(f"  receiver  {plan.base_url}")
    screen.line(f"  console   {plan.base_url}/console  <- look at orders; sign in with the settings' SERVICE_KEY")
    portone = plan.sandbox_url if plan.has_sandbox else plan.settings.portone_api_url
    screen.line(f"  {'sandbox ' if plan.has_sandbox else 'PortOne '}  {portone}")
    screen.line(f"  metrics   {'  '.join(plan.metrics_urls)}")
    screen.line(f"  settings  {plan.state.env_file}")
    screen.line(f"  logs      {plan.state.path / 'logs'}")
    screen.line()
    steps = "pay it, verify it" if plan.has_sandbox else "read it back"
    screen.line(f"Register an order, {steps}: copy these lines into another terminal")
    for line in plan.three_lines():
        screen.line()
        screen.line(line)
    screen.line()


def _check_ports(plan: Plan) -> None:
    """Raise CommandFailed unless every port can be listened on. Both are named at once if both are taken."""
    settings = plan.settings
    wanted = [(settings.host, settings.port, "PORT")]
    if plan.has_sandbox:
        wanted.append(("127.0.0.1", settings.sandbox_port, "SANDBOX_PORT"))
    if reasons := [reason for place in wanted if (reason := _why_not(*place))]:
        raise CommandFailed("\n".join(reasons))


def _why_not(host: str, port: int, setting: str) -> str | None:
    try:
        try_port(host, port)
    except OSError as error:
        return why_no_port(error, host, port, setting)
    return None


def _stop_event() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores it for us
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _run_until(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run the work. Cancel it as soon as `stopped` is set."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
    if not working.cancelled():
        working.result()
