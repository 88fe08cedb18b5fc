"""The calls of an order's life, which every system answers alike: register, confirm, webhook, completion, read."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import load, orders
from bench.systems import SERVICE_KEY, WEBHOOKS

_KEY = f"Authorization: Bearer {SERVICE_KEY}\r\n"
# How `confirm_url` answers when it could not look. That loses a sale, but the call was made well, so it is counted.
UNSURE = 424


@dataclass(frozen=True)
class Call:
    """A call about an order: its request, and the status of a good answer, with a text that its body contains."""

    name: str
    request: Callable[[int], bytes]
    good: int = 200
    contains: bytes = b""


REGISTER = Call("register", lambda n: load.post("/orders", orders.registration(n), _KEY), 201)
CONFIRM = Call("confirm", lambda n: load.post("/payments/confirm", orders.question(n)))
WEBHOOK = Call("webhook", lambda n: load.post(WEBHOOKS, orders.webhook(n)))
COMPLETE = Call("complete", lambda n: load.post("/payment/complete", orders.completion(n)))
READ = Call("read", lambda n: load.get(f"/orders/{orders.merchant_uid(n)}", _KEY))
READ_PAID = replace(READ, contains=b'"state":"paid"')
