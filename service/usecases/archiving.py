"""Archiving: old orders of which nothing is to come are moved into files, and can be put back.

Nothing is deleted that is not in a file, and nothing twice: an order goes in the transaction that writes down where it
is. Its events stay, so that nobody who reads the feed misses one
(docs/decisions/0031-archive-orders-but-keep-their-events.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from service.db import archives, operator_actions
from service.db.archives import Archived, Deleted, WalkedOrders
from service.db.pool import Connection, Pool, in_snapshot, in_transaction
from service.errors import OrderArchived, OrderNotRegistered, OtherDatabase

# What changed in 90 days is compared with PortOne's list once a day, and an archived order would seem unknown there.
LEAST_AGE = timedelta(days=100)
# Orders that one statement walks, and that one transaction deletes or puts back: it holds their locks for some 10 ms.
_WALKED_AT_ONCE = 1_000
MOVED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """An archive as the database knows it: the id in its manifest, its folder's name, and how old its orders are."""

    id: UUID
    name: str
    before: datetime


async def walk(pool: Pool, after: str, before: datetime, *, contents: bool = True) -> WalkedOrders:
    """Read the next orders, all that is stored of each as of one moment. Raises PostgresUnavailable."""
    return await in_snapshot(pool, archives.walk, after, before, _WALKED_AT_ONCE, contents=contents)


async def begin_deleting(pool: Pool, mark: Mark, who: str, why: str) -> int:
    """Write down who deletes what the archive has, and why. Return the archive's number here."""

    async def work(db: Connection) -> int:
        number = await archives.describe(db, mark.id, mark.name, mark.before)
        await operator_actions.append(db, who, why, "archive.delete", [mark.name])
        return number

    return await in_transaction(pool, work)


async def delete(pool: Pool, number: int, mark: Mark, lines: Iterable[str]) -> Deleted:
    """Delete those of the orders that still are as their lines have them. Raises PostgresUnavailable."""
    return await in_transaction(pool, archives.delete, number, mark.before, _by_number(lines))


async def begin_restoring(pool: Pool, mark: Mark, who: str, why: str) -> None:
    """Write down who puts the archive's orders back, and why."""
    await in_transaction(pool, operator_actions.append, who, why, "archive.restore", [mark.name])


async def restore(pool: Pool, lines: Iterable[str]) -> int:
    """Put those of the orders back that are not here; return how many.

    What came for them meanwhile is parked, and looked at again once they are here. Raises OtherDatabase or
    PostgresUnavailable.
    """
    contents = _by_number(lines)

    async def work(db: Connection) -> int:
        versions = {merchant_uid: int(str(_order(line)["version"])) for merchant_uid, line in contents.items()}
        if missing := await archives.missing_events(db, versions):
            raise OtherDatabase(f"{missing[0]} has none")
        return len(await archives.restore(db, contents))

    return await in_transaction(pool, work)


async def why_unknown(db: Connection, merchant_uid: str) -> OrderArchived | OrderNotRegistered:
    """Return the error for an order that is not here: it was archived, or never registered."""
    for archived in (await archives.find(db, [merchant_uid])).values():
        return archived_error(archived)
    return OrderNotRegistered()


def archived_error(archived: Archived) -> OrderArchived:
    """Return the error that says where an order is."""
    return OrderArchived(f"{archived.name}, {archived.at:%Y-%m-%d}")


def _by_number(lines: Iterable[str]) -> Mapping[str, str]:
    return {str(_order(line)["merchant_uid"]): line for line in lines}


def _order(line: str) -> Mapping[str, object]:
    order: Mapping[str, object] = orjson.loads(line)["order"]
    return order
