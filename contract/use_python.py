"""A program that uses the generated client: it registers an order, reads it, waits for it, and follows the feed."""

import os
import sys
import threading
from typing import Any

import httpx
from generated_orders.api.events import read_events
from generated_orders.api.orders import read_order, register_order
from generated_orders.client import AuthenticatedClient
from generated_orders.models import Event, Events, Order, OrderBody, OrderWithPayment, Problem
from generated_orders.types import UNSET

NUMBER = "주문/python"


def check(holds: object, what: Any) -> None:
    if not holds:
        raise SystemExit(f"openapi-python-client: {what}")


def pay() -> None:
    body = {"imp_uid": "imp_python", "merchant_uid": NUMBER, "amount": 64900}
    httpx.post(f"{os.environ['SANDBOX_URL']}/_control/pay", json=body).raise_for_status()


def follow(client: AuthenticatedClient) -> list[Event]:
    """Read the order's events until it is paid."""
    events: list[Event] = []
    after: Any = UNSET
    while not events or events[-1].state != "paid":
        page = read_events.sync(client=client, after=after, wait=30, merchant_uid=[NUMBER])
        if not isinstance(page, Events):
            raise SystemExit(page)
        events += page.events
        after = page.next_
    return events


def main() -> None:
    client = AuthenticatedClient(os.environ["BASE_URL"], os.environ["SERVICE_KEY"], timeout=httpx.Timeout(90))
    registered = register_order.sync(client=client, body=OrderBody(merchant_uid=NUMBER, amount=64900))
    check(isinstance(registered, Order) and registered.state == "pending", registered)

    answer = read_order.sync_detailed(NUMBER, client=client)
    check(isinstance(answer.parsed, OrderWithPayment) and answer.parsed.payment is None, answer)

    paying = threading.Timer(0.2, pay)
    paying.start()
    changed = read_order.sync(NUMBER, client=client, if_none_match=answer.headers["ETag"], prefer="wait=60")
    check(isinstance(changed, OrderWithPayment) and changed.state == "paid", changed)
    paying.join()

    events = [(event.type_, event.version) for event in follow(client)]
    check(events == [("order.registered", 1), ("order.paid", 2)], events)

    refused = register_order.sync(client=client, body=OrderBody(merchant_uid=NUMBER, amount=1))
    check(isinstance(refused, Problem) and refused.type_.endswith(":other-terms"), refused)
    sys.stdout.write("openapi-python-client: registered, read, waited and followed\n")


main()
