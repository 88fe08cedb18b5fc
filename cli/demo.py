"""`portone-orders demo`: realistic traffic against the sandbox, with what goes wrong in a shop."""

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from cli.addresses import Addresses
from cli.calls import Server, sandbox_at, service_at
from cli.demo_buyers import Buyer, BuyerVisit, choose, pays_by_card
from cli.errors import CommandFailed
from cli.order_reads import read_order
from cli.output import AsJson, count_of, on_terminal, print_json
from cli.sandbox_calls import Control
from service.settings import Settings

# A machine that cannot keep up lets the rate fall, instead of piling buyers up.
_UNDER_WAY_MAX = 200
_POLL_SECONDS = 0.2


@dataclass
class Traffic:
    """The counts so far: buyers by what they did, changes of their orders by type, and calls that failed."""

    began: float = field(default_factory=time.monotonic)
    buyers: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    under_way: int = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def demo(
    rate: Annotated[float, typer.Option(min=0.01, max=50, help="New orders a second.")] = 2.0,
    seconds: Annotated[float, typer.Option("--for", min=0, help="End after this many seconds; 0: never.")] = 0.0,
    failures: Annotated[
        float, typer.Option(min=0, max=1, help="The share of orders with which something goes wrong.")
    ] = 0.2,
    as_json: AsJson = False,
) -> None:
    """Let buyers come to the sandbox: they register, pay, fail, pay twice, forge and lose webhooks. Ctrl-C ends it.

    It needs a service whose PortOne is the sandbox, as `make run` starts one. `portone-orders top` shows in another
    terminal what the service makes of them. Order numbers begin with demo-.

    Example: portone-orders demo --rate 10 --failures 0.3
    """
    addresses = Addresses.find(Settings.load())
    service, control = service_at(addresses), Control(sandbox_at(addresses))
    traffic = Traffic()
    try:
        asyncio.run(run_demo(service, control, traffic, rate=rate, seconds=seconds or None, failures=failures))
    finally:
        if traffic.buyers:
            _tell(traffic, as_json=as_json)


async def run_demo(
    service: Server, control: Control, traffic: Traffic, *, rate: float, seconds: float | None, failures: float,
    patience_seconds: float = 20.0,
) -> None:  # fmt: skip
    """Let buyers come at this rate until the time is up or it is cancelled. Whoever has come may finish."""
    prefix, rng = f"demo-{secrets.token_hex(2)}-", random.Random()  # noqa: S311 - buyers need no secrecy
    await _pay_the_first(service, control, prefix, patience_seconds)
    async with _counting(service, prefix, traffic), asyncio.TaskGroup() as buyers:
        with contextlib.suppress(TimeoutError), _live(traffic):
            async with asyncio.timeout(seconds):
                while True:
                    if traffic.under_way < _UNDER_WAY_MAX:
                        visit = BuyerVisit.new(service, control, prefix)
                        buyers.create_task(_serve(choose(failures, rng), visit, traffic))
                    await asyncio.sleep(rng.expovariate(rate))


async def _pay_the_first(service: Server, control: Control, prefix: str, patience_seconds: float) -> None:
    """Pay one order and wait for it, because a service that asks another PortOne would never see the payments."""
    visit = BuyerVisit.new(service, control, prefix)
    await pays_by_card(visit)
    ends = time.monotonic() + patience_seconds
    while (await read_order(service, visit.merchant_uid))["state"] != "paid":
        if time.monotonic() > ends:
            raise CommandFailed(
                f"The service at {service.url} does not see what is paid at the sandbox at {control.server.url}: start"
                " both with `make run`, or run `portone-orders doctor`."
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _serve(buyer: Buyer, visit: BuyerVisit, traffic: Traffic) -> None:
    """Serve one buyer. A call that fails is counted, because a service that is restarted must not end the traffic."""
    traffic.buyers[_name(buyer)] += 1
    traffic.under_way += 1
    try:
        await buyer(visit)
    except CommandFailed as error:
        traffic.failed[str(error)] += 1
    finally:
        traffic.under_way -= 1


def _name(buyer: Buyer) -> str:
    return buyer.__name__.replace("_", " ")


@asynccontextmanager
async def _counting(service: Server, prefix: str, traffic: Traffic) -> AsyncIterator[None]:
    """Count the changes of this run's orders for as long as it runs."""
    from portone_orders_client import MemoryCursor, OrdersClient

    newest = str((await service.call("GET", "/events?after=now"))["next"])

    async def count(orders: OrdersClient) -> None:
        async for event in orders.follow(MemoryCursor(), start=newest):
            if event.merchant_uid.startswith(prefix):
                traffic.changes[event.type] += 1

    async with OrdersClient(service.url, service.key) as orders:
        counting = asyncio.create_task(count(orders))
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.wait([counting])


@contextlib.contextmanager
def _live(traffic: Traffic) -> Iterator[None]:
    """Show the traffic as it comes, where a person sees it."""
    if not on_terminal():
        yield
        return
    with Live(get_renderable=lambda: Text("\n".join(_lines(traffic))), refresh_per_second=4, transient=True):
        yield


def _lines(traffic: Traffic) -> Iterator[str]:
    total = sum(traffic.buyers.values())
    rate = f"{total / max(traffic.seconds, 1):.1f} a second"
    yield f"{count_of(total, 'buyer')} in {traffic.seconds:.0f} s, {rate}, {traffic.under_way} under way"
    yield from _tallied(traffic.buyers)
    if traffic.changes:
        yield "Changes of their orders"
        yield from _tallied(traffic.changes)
    if traffic.failed:
        yield "Calls that failed"
        yield from _tallied(traffic.failed)


def _tallied(tally: "Counter[str]") -> Iterator[str]:
    for name, count in tally.most_common():
        yield f"  {count:>6,}  {name}"


def _tell(traffic: Traffic, *, as_json: bool) -> None:
    if as_json:
        parts: dict[str, object] = {"buyers": traffic.buyers, "changes": traffic.changes, "failed": traffic.failed}
        print_json({"seconds": round(traffic.seconds, 1), **parts})
    else:
        typer.echo("\n".join(_lines(traffic)))
