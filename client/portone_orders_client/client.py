"""The client: one method for each call of the service that another service makes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from math import ceil
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from portone_orders_client.calls import Answer, Calls, WrongAnswer, address_of
from portone_orders_client.cursors import CursorStore
from portone_orders_client.following import follow
from portone_orders_client.models import Event, EventPage, Order, OrderPage, Version

_WAIT_SECONDS = 30.0
# Too short to wait, and more than a clock reads late.
_NO_TIME_SECONDS = 0.01


class OrdersClient:
    """Calls to one portone-orders with one service key. Use it as `async with OrdersClient(url, key) as orders:`.

    A call that gets no answer, 429 or 503 is made again for 30 s, with jitter, but not if its Retry-After is later.
    Raises Refused for any other answer that is no success, Unreachable when the 30 s are over, WrongAnswer for what is
    no answer to the call, and ValueError for a number or an address that cannot be one.

    `session`: an aiohttp session of yours, which stays open.
    """

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession | None = None) -> None:
        address = address_of(url)
        self._owns_session = session is None
        self._session = session or aiohttp.ClientSession()
        self._calls = Calls(address, key, self._session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session, unless it was given."""
        if self._owns_session:
            await self._session.close()

    async def register(self, merchant_uid: str, amount: int, **terms: Any) -> Order:
        """Register an order before it is paid; again with the same terms, it is returned as it stands.

        Terms: currency (KRW), name, account, tier, expires_at, metadata, allow_billing_key_issue. Raises Refused
        `other-terms` if the number is registered with others.
        """
        body = {"merchant_uid": merchant_uid, "amount": amount, **terms}
        return await self._write("POST", "/orders", merchant_uid, body)

    async def read(self, merchant_uid: str) -> Order:
        """Return the order as it stands. Raises Refused `order-not-registered`."""
        return _order_of((await self._calls.make("GET", _path(merchant_uid))).fields, merchant_uid)

    async def wait(self, order: Order, seconds: float = _WAIT_SECONDS) -> Order | None:
        """Return the order as soon as it has changed since this version of it; None if it did not in time."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > _NO_TIME_SECONDS:
            if (changed := await self._changed(order, left)) is not None:
                return changed
        return await self._changed(order, 0.0)

    async def list(
        self,
        *,
        merchant_uids: Sequence[str] = (),
        states: Sequence[str] = (),
        problems: Sequence[str] = (),
        closed: Sequence[str] = (),
        account: str | None = None,
        tier: str | None = None,
        updated_since: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> OrderPage:
        """Return a page of orders. Read on with the page's `next` as `cursor`, until it is None."""
        query = _query(
            merchant_uid=merchant_uids,
            state=states,
            problem=problems,
            closed=closed,
            account=account,
            tier=tier,
            updated_since=updated_since and updated_since.isoformat(),
            limit=limit,
            cursor=cursor,
        )
        page = _page(await self._calls.make("GET", "/orders", query=query), "orders")
        return OrderPage(orders=tuple(map(Order.of, page["orders"])), next=page["next"])

    async def history(self, merchant_uid: str) -> tuple[Version, ...]:
        """Return all versions of the order, the oldest first, each with what led to it."""
        versions: tuple[Version, ...] = ()
        after: int | None = 0
        while after is not None:
            query = _query(after=after or None)
            answer = await self._calls.make("GET", f"{_path(merchant_uid)}/history", query=query)
            page = _about(answer.fields, merchant_uid)
            versions += tuple(map(Version.of, page["versions"]))
            after = page["next"]
        return versions

    async def verify(self, merchant_uid: str, *, wait: float = 20.0) -> Order | None:
        """Have PortOne asked now, and return the order as it stands then; None: PortOne has not answered in time.

        `wait`: whole seconds, 20 at most.
        """
        answer = await self._call("POST", f"{_path(merchant_uid)}/verify", None, _prefer(wait), wait)
        return _order_of(answer.fields.get("order"), merchant_uid) if answer.status == 200 else None

    async def amend(self, order: Order, **terms: Any) -> Order:
        """Change the order's terms before it is paid: amount, currency, name, expires_at, metadata.

        Raises Refused `version-moved` if it is not as it was read any more.
        """
        path = _path(order.merchant_uid)
        return await self._write("PATCH", path, order.merchant_uid, terms, {"If-Match": _tag(order)})

    async def withdraw(self, merchant_uid: str, *, wait: float = 20.0) -> Order:
        """Close an order that nobody paid, once PortOne was asked. Raises Refused `money-came` if somebody has.

        `wait`: how long PortOne may take, in whole seconds, 20 at most.
        """
        return await self._write("POST", f"{_path(merchant_uid)}/withdraw", merchant_uid, {}, _prefer(wait), wait)

    async def accept(self, merchant_uid: str, imp_uid: str, *, who: str, why: str) -> Order:
        """Make a payment of another amount, or of a closed order, the order's as it is."""
        body = {"imp_uid": imp_uid, "who": who, "why": why}
        return await self._write("POST", f"{_path(merchant_uid)}/accept", merchant_uid, body)

    async def events(
        self, after: str | None = None, *, limit: int | None = None, wait: float = 0.0, **filters: Sequence[str]
    ) -> EventPage:
        """Return the events after a cursor; None: from the oldest, `now`: from the newest.

        `wait`: how many seconds to wait for the first, 60 at most. Filters: state, type, account, merchant_uid.
        """
        return await self._events(after, limit, wait, filters)

    def follow(
        self, store: CursorStore, *, start: str | None = None, **filters: Sequence[str]
    ) -> AsyncGenerator[Event, None]:
        """Yield every change of an order, for as long as it is iterated, from where the store says.

        An event counts as handled when the next one is asked for, and its cursor is saved then. So each event comes at
        least once: after a crash, those that were not saved come again; `merchant_uid` and `version` tell. Of one order
        they come in the order of its versions. `start`: where to begin while the store is empty; None: with the
        oldest, `now`: with the next. While the service is away it tries again, with jitter. Raises Refused.
        """

        async def read(after: str | None) -> EventPage:
            return await self._events(after, None, _WAIT_SECONDS, filters, patience=float("inf"))

        return follow(read, store, start)

    async def _events(
        self,
        after: str | None,
        limit: int | None,
        wait: float,
        filters: Mapping[str, Sequence[str]],
        patience: float = 30.0,
    ) -> EventPage:
        query = _query(after=after, limit=limit, wait=wait or None, **filters)
        answer = await self._calls.make("GET", "/events", query=query, wait=wait, patience=patience)
        page = _page(answer, "events")
        return EventPage(events=tuple(map(Event.of, page["events"])), next=page["next"])

    async def _changed(self, order: Order, seconds: float) -> Order | None:
        """Return the order when it has changed, or None after these seconds, or the whole ones among them.

        The service waits for whole seconds (RFC 7240), so less than one is cut off here.
        """
        whole = min(int(seconds + _NO_TIME_SECONDS), int(_WAIT_SECONDS))
        headers = {"If-None-Match": _tag(order), **_prefer(whole or seconds)}
        try:
            async with asyncio.timeout(seconds if seconds and not whole else None):
                answer = await self._calls.make("GET", _path(order.merchant_uid), headers=headers, wait=whole)
        except TimeoutError:
            return None
        return None if answer.status == 304 else _order_of(answer.fields, order.merchant_uid)

    async def _write(
        self,
        method: str,
        path: str,
        merchant_uid: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Order:
        given = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in body.items()}
        return _order_of((await self._call(method, path, given, headers, wait)).fields, merchant_uid)

    async def _call(
        self, method: str, path: str, body: object, headers: Mapping[str, str] | None, wait: float
    ) -> Answer:
        """Make a call that does something. Its key tells the service that a second try is the same call."""
        keyed = {"Idempotency-Key": f'"{uuid4()}"', **(headers or {})}
        return await self._calls.make(method, path, body=body, headers=keyed, wait=wait)


def _path(merchant_uid: str) -> str:
    """Return the order's address. Raises ValueError for a number that can stand in none, so that no order has it."""
    if merchant_uid in ("", ".", ".."):
        raise ValueError(f"No order has the number {merchant_uid!r}: it cannot stand in an address.")
    return f"/orders/{quote(merchant_uid, safe='')}"


def _order_of(fields: Any, merchant_uid: str) -> Order:
    return Order.of(_about(fields, merchant_uid))


def _about(fields: Any, merchant_uid: str) -> Any:
    """Return the fields of an answer about this order. Raises WrongAnswer if it is about something else."""
    if not isinstance(fields, dict) or fields.get("merchant_uid") != merchant_uid:
        raise WrongAnswer(f"The answer is not about the order {merchant_uid!r}")
    return fields


def _page(answer: Answer, items: str) -> Any:
    """Return the fields of a page of these items. Raises WrongAnswer if the answer is none."""
    if items not in answer.fields:
        raise WrongAnswer(f"The answer is no page of {items}")
    return answer.fields


def _prefer(wait: float) -> dict[str, str]:
    """Return the header that has the service wait, for whole seconds: a part of one is rounded up."""
    return {"Prefer": f"wait={ceil(wait)}"}


def _tag(order: Order) -> str:
    return f'"{order.version}"'


def _query(**given: object) -> list[tuple[str, str]]:
    """Return the query's pairs: none for None, and one for each value of a sequence."""
    pairs: list[tuple[str, str]] = []
    for name, value in given.items():
        values = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
        pairs += [(name, str(each)) for each in values]
    return pairs
