"""The webhook sender. It sends each webhook once, again only when asked, and records the answers."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from sandbox.config import DEFAULT_ACCOUNT
from sandbox.faults import FaultDesk
from sandbox.payment import Owner, Payment

# PortOne's own limits (connect 10 s, read 30 s).
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
REMEMBERED_DELIVERIES = 100_000
ENCODINGS = {"json": "application/json", "form": "application/x-www-form-urlencoded"}

CONSOLE_TEST_BODY = {"imp_uid": "imp_1234567890", "merchant_uid": "merchant_1234567890", "status": "paid"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook to send. Its body has no amount, no event id, no tier and no signature."""

    url: str | None
    body: dict[str, str]
    format: str
    """json or form"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one sending: `delivered` (there was an HTTP answer), `failed`, `dropped` or `no_url`."""

    url: str | None
    body: dict[str, str]
    format: str
    outcome: str
    answer_status: int | None = None
    error: str | None = None
    seconds: float = 0


def body_of(payment: Payment, status: str | None = None) -> dict[str, str]:
    """Return V1's webhook body, with the last refund's cancellation_id on cancels."""
    fields = payment.fields
    announced = status or str(fields["status"])
    body = {"imp_uid": payment.imp_uid, "merchant_uid": payment.merchant_uid, "status": announced}
    history = fields["cancel_history"]
    if announced == "cancelled" and isinstance(history, list) and history and isinstance(history[-1], dict):
        body["cancellation_id"] = str(history[-1].get("cancellation_id"))
    return body


class WebhookSender:
    """Sends to the payment's notice_urls, else to `URL[/accounts/{account}][/{tier}]`."""

    def __init__(
        self, webhook_url: str | None, desk: FaultDesk, on_delivery: Callable[[Delivery], None] = lambda _delivery: None
    ) -> None:
        self.webhook_url = webhook_url
        self.deliveries: deque[Delivery] = deque(maxlen=REMEMBERED_DELIVERIES)
        self._desk, self._on_delivery = desk, on_delivery
        self._session: aiohttp.ClientSession | None = None
        self._held: list[Webhook] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the pool of connections."""
        connector = aiohttp.TCPConnector(limit=0)  # bounded by the callers, not by the pool
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, connector=connector, cookie_jar=jar)

    async def stop(self) -> None:
        """Drop what is still to be sent, as PortOne would when it goes down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def urls_for(self, payment: Payment) -> list[str | None]:
        """Return the addresses for this payment's webhooks; [None] when none is configured."""
        return list(payment.notice_urls) or [self.url_for_owner(payment.owner)]

    def url_for_owner(self, owner: Owner) -> str | None:
        """Return the configured URL with the account, unless it is the default one, and the tier behind it."""
        if self.webhook_url is None or owner == Owner():
            return self.webhook_url
        account = [] if owner.account == DEFAULT_ACCOUNT else ["accounts", owner.account]
        parts = [self.webhook_url.rstrip("/"), *account, *filter(None, [owner.tier])]
        return "/".join([parts[0], *(quote(part, safe="") for part in parts[1:])])

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the HTTP client for calls to a shop."""
        if self._session is None:
            raise RuntimeError("The sender was not started.")
        return self._session

    @property
    def waiting(self) -> int:
        """Return how many webhooks are delayed, held back or being sent in the background."""
        return len(self._held) + len(self._tasks)

    async def announce(self, payment: Payment) -> None:
        """Send the payment's webhook under the fault switches. Return once answered, unless delayed or held back."""
        for url in self.urls_for(payment):
            for webhook in self.encoded(url, body_of(payment)):
                await self._send_under_faults(webhook)

    def announce_soon(self, payment: Payment) -> None:
        """Send the payment's webhook in the background."""
        self.in_background(self.announce(payment))

    def encoded(self, url: str | None, body: dict[str, str], chosen: str | None = None) -> list[Webhook]:
        """Return the webhook as json, form or both. Without a choice the switch decides."""
        chosen = chosen or self._desk.now.webhook_format
        return [Webhook(url, body, form) for form in ENCODINGS if chosen in (form, "both")]

    async def deliver(self, webhook: Webhook) -> Delivery:
        """Send once, without the fault switches, and record the answer."""
        delivery = await self._attempt(webhook)
        self._keep(delivery)
        return delivery

    async def deliver_all(self, webhooks: list[Webhook]) -> list[Delivery]:
        """Deliver several webhooks at once."""
        return await asyncio.gather(*(self.deliver(webhook) for webhook in webhooks))

    async def release_held(self) -> None:
        """Send the webhooks that were held back, last first, each after the previous one was answered."""
        waiting, self._held = self._held, []
        for webhook in reversed(waiting):
            await self.deliver(webhook)

    def forget(self) -> None:
        """Drop the records, and the webhooks that are delayed or held back."""
        self.deliveries.clear()
        self._held.clear()
        for task in self._tasks:
            task.cancel()

    async def _send_under_faults(self, webhook: Webhook) -> None:
        faults = self._desk.now
        if self._desk.drops_webhook():
            self._keep(Delivery(webhook.url, webhook.body, webhook.format, "dropped"))
        elif faults.webhook_reorder > 1:
            self._held.append(webhook)
            if len(self._held) >= faults.webhook_reorder:
                await self.release_held()
        elif faults.webhook_delay_seconds:
            self.in_background(self._deliver_late(webhook, faults.webhook_delay_seconds))
        else:
            await self._deliver_copies(webhook)

    async def _deliver_late(self, webhook: Webhook, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._deliver_copies(webhook)

    async def _deliver_copies(self, webhook: Webhook) -> None:
        faults = self._desk.now
        deliveries = await self.deliver_all([webhook] * faults.webhook_copies)
        if faults.webhook_retries:
            times, seconds = faults.webhook_retries, faults.webhook_retry_seconds
            self.in_background(self._retry(webhook, deliveries[-1], times, seconds))

    async def _retry(self, webhook: Webhook, last: Delivery, times: int, seconds: float) -> None:
        """Retry after network errors and 5xx, as PortOne does for shops that asked for it."""
        for _ in range(times):
            if last.answer_status is not None and last.answer_status < 500:
                return
            await asyncio.sleep(seconds)
            last = await self.deliver(webhook)

    async def _attempt(self, webhook: Webhook) -> Delivery:
        url, body, form = webhook.url, webhook.body, webhook.format
        if url is None:
            return Delivery(url, body, form, "no_url")
        payload = orjson.dumps(body) if form == "json" else urlencode(body).encode()
        headers = {"Content-Type": ENCODINGS[form]}
        started = time.monotonic()
        try:
            async with self.session.post(url, data=payload, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                status, error = answer.status, None
        except (aiohttp.ClientError, TimeoutError, ValueError) as failure:
            status, error = None, f"{type(failure).__name__}: {failure}"
        seconds = round(time.monotonic() - started, 6)
        return Delivery(url, body, form, "failed" if error else "delivered", status, error, seconds)

    def _keep(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._on_delivery(delivery)

    def in_background(self, sending: Coroutine[Any, Any, None]) -> None:
        """Let something happen that nobody waits for; it is given up when the sandbox stops or is reset."""
        task = asyncio.get_running_loop().create_task(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def as_json(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as the control API shows it, with the ids on the first level."""
    return {**delivery.body, **asdict(delivery)}
