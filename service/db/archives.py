"""Old orders on their way to an archive and back: the tables `archives` and `archived_orders`, and what is deleted.

An order's content is one JSON text (archive_content_v1), in the archive and here. It is deleted only while both are the
same, in the transaction that writes down where it is. Its events are never deleted (docs/design.md §2.7).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from service.db import orders
from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Archived:
    """Where an archived order is: the name of the archive's folder, and when the order was deleted here."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class WalkedOrders:
    """A slice of the table of orders: the last number in it (None: there was none), and its orders that are old.

    `content` has the JSON of those that can be archived, by number; `kept` why the other old ones stay, and how many.
    """

    last: str | None
    count: int
    content: Mapping[str, str]
    kept: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Deleted:
    """The numbers of orders that were deleted, and that stayed because they have changed since they were written."""

    deleted: int
    changed: int


async def walk(db: Connection, after: str, before: datetime, limit: int, *, contents: bool) -> WalkedOrders:
    """Read the orders that follow `after` in the order of their numbers: `limit` rows, whatever is found in them.

    Without `contents` the texts are empty, for those who only count.
    """
    rows = await db.fetch(
        """
        WITH slice AS MATERIALIZED (
            SELECT o, o.merchant_uid, archive_obstacle_v1(o, $2) AS obstacle
            FROM orders o WHERE o.merchant_uid > $1 ORDER BY o.merchant_uid LIMIT $3
        )
        SELECT merchant_uid, obstacle,
               CASE WHEN obstacle IS NULL AND $4 THEN archive_content_v1(o)::text ELSE '' END AS content
        FROM slice ORDER BY merchant_uid
        """,
        after,
        before,
        limit,
        contents,
    )
    kept: dict[str, int] = {}
    for row in rows:
        if row["obstacle"] not in (None, "recent"):
            kept[row["obstacle"]] = kept.get(row["obstacle"], 0) + 1
    content = {row["merchant_uid"]: row["content"] for row in rows if row["obstacle"] is None}
    return WalkedOrders(rows[-1]["merchant_uid"] if rows else None, len(rows), content, kept)


async def expected(db: Connection) -> int:
    """Return about how many orders there are, as Postgres knows without counting."""
    count: float = await db.fetchval("SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'orders'::regclass")
    return int(count)


async def describe(db: Connection, mark: UUID, name: str, before: datetime) -> int:
    """Return the archive's number here, which this call gives it if it has none."""
    await db.execute(
        "INSERT INTO archives (mark, name, before) VALUES ($1, $2, $3) ON CONFLICT (mark) DO NOTHING",
        mark,
        name,
        before,
    )
    number: int = await db.fetchval("SELECT id FROM archives WHERE mark = $1", mark)
    return number


async def delete(db: Connection, archive: int, before: datetime, contents: Mapping[str, str]) -> Deleted:
    """Delete those of these orders that still are as the archive has them.

    Whoever registers, amends or settles one of them takes the same lock.
    """
    await orders.lock(db, list(contents))
    digests = [sha256(text.encode()).digest() for text in contents.values()]
    rows = await db.fetch(
        """
        SELECT o.merchant_uid, archive_obstacle_v1(o, $3) IS NULL
                               AND sha256(convert_to(archive_content_v1(o)::text, 'UTF8')) = g.digest AS is_same
        FROM orders o JOIN unnest($1::text[], $2::bytea[]) AS g (merchant_uid, digest)
            ON o.merchant_uid = g.merchant_uid
        WHERE o.merchant_uid = ANY($1::text[])
        """,
        list(contents),
        digests,
        before,
    )
    going = [row["merchant_uid"] for row in rows if row["is_same"]]
    if going:
        await _delete(db, going)
    await db.execute(
        "INSERT INTO archived_orders (merchant_uid, archive) SELECT unnest($1::text[]), $2", going, archive
    )
    return Deleted(len(going), len(rows) - len(going))


async def _delete(db: Connection, going: Sequence[str]) -> None:
    """Delete these orders, and what hangs on them, from the leaves on."""
    rows = await db.fetch(
        """
        SELECT imp_uid FROM payments WHERE merchant_uid = ANY($1::text[]) AND (status <> 'ready' OR lesser IS NOT NULL)
        UNION ALL
        SELECT imp_uid FROM payments WHERE merchant_uid = ANY($1::text[]) AND status = 'ready' AND lesser IS NULL
        """,
        going,
    )
    imp_uids = [row["imp_uid"] for row in rows]
    await db.execute(
        "DELETE FROM refund_moves WHERE imp_uid = ANY("
        "ARRAY(SELECT imp_uid FROM refunds WHERE merchant_uid = ANY($1::text[])))",
        going,
    )
    await db.execute("DELETE FROM refunds WHERE merchant_uid = ANY($1::text[])", going)
    await db.execute("DELETE FROM preparations WHERE merchant_uid = ANY($1::text[])", going)
    await db.execute("DELETE FROM searches WHERE merchant_uid = ANY($1::text[])", going)
    if imp_uids:
        await db.execute("DELETE FROM notices WHERE imp_uid = ANY($1::text[])", imp_uids)
        await db.execute("DELETE FROM payments WHERE imp_uid = ANY($1::text[])", imp_uids)
    await db.execute("DELETE FROM orders WHERE merchant_uid = ANY($1::text[])", going)


async def missing_events(db: Connection, versions: Mapping[str, int]) -> list[str]:
    """Return those of the orders whose event of this version is not here: another database made them."""
    rows = await db.fetch(
        """
        SELECT g.merchant_uid FROM unnest($1::text[], $2::integer[]) AS g (merchant_uid, version)
        WHERE NOT EXISTS (SELECT FROM order_events e WHERE e.merchant_uid = g.merchant_uid AND e.version = g.version
                          OFFSET 0)
        """,
        list(versions),
        list(versions.values()),
    )
    return [row["merchant_uid"] for row in rows]


async def restore(db: Connection, contents: Mapping[str, str]) -> list[str]:
    """Put those of the orders back that are not here; return their numbers.

    A payment that was looked at meanwhile stays as it was last seen. An older archive lacks the columns that were added
    since: each needs its default here.
    """
    await orders.lock(db, list(contents))
    rows = await db.fetch(
        """
        INSERT INTO orders
        SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                        jsonb_populate_record(NULL::orders, g->'order') AS r
        ON CONFLICT (merchant_uid) DO NOTHING RETURNING merchant_uid
        """,
        _array(contents.values()),
    )
    restored = [row["merchant_uid"] for row in rows]
    given = _array(contents[merchant_uid] for merchant_uid in restored)
    for statement in _RESTORING:
        await db.execute(statement, given)
    await db.execute("DELETE FROM archived_orders WHERE merchant_uid = ANY($1::text[])", restored)
    return restored


_RESTORING = (
    """
    INSERT INTO payments
    SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                    jsonb_populate_recordset(NULL::payments, g->'payments') AS r ON CONFLICT DO NOTHING
    """,
    # All columns but the one that Postgres makes.
    """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, account, tier, claimed_status, cancellation_id, registered,
                         crowded, received_at, arrivals, tries, due_at, claimed_until, last_outcome, handled_at,
                         parked_at, replayed_at)
    SELECT r.id, r.source, r.imp_uid, r.merchant_uid, r.account, r.tier, r.claimed_status, r.cancellation_id,
           r.registered, r.crowded, r.received_at, r.arrivals, r.tries, r.due_at, r.claimed_until, r.last_outcome,
           r.handled_at, r.parked_at, r.replayed_at
    FROM jsonb_array_elements($1::text::jsonb) AS g, jsonb_populate_recordset(NULL::notices, g->'notices') AS r
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO refunds
    SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                    jsonb_populate_recordset(NULL::refunds, g->'refunds') AS r ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO refund_moves OVERRIDING SYSTEM VALUE
    SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                    jsonb_populate_recordset(NULL::refund_moves, g->'refund_moves') AS r ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO preparations
    SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                    jsonb_populate_recordset(NULL::preparations, g->'preparations') AS r ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO searches
    SELECT r.* FROM jsonb_array_elements($1::text::jsonb) AS g,
                    jsonb_populate_recordset(NULL::searches, g->'searches') AS r ON CONFLICT DO NOTHING
    """,
)


def _array(contents: Iterable[str]) -> str:
    """Return JSON texts as one JSON array, without reading them."""
    return f"[{','.join(contents)}]"


async def find(db: Connection, merchant_uids: Sequence[str]) -> dict[str, Archived]:
    """Return where those of the orders are that were archived."""
    rows = await db.fetch(
        """
        SELECT o.merchant_uid, a.name, a.at FROM archived_orders o JOIN archives a ON a.id = o.archive
        WHERE o.merchant_uid = ANY($1::text[])
        """,
        list(merchant_uids),
    )
    return {row["merchant_uid"]: Archived(row["name"], row["at"]) for row in rows}
