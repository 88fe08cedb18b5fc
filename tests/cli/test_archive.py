"""Old orders go into an archive whole, at most once, and come back as they were."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli import archive_moves
from cli.archive_files import ArchiveFolder
from cli.errors import CommandFailed
from service.db.pool import Pool
from service.errors import OtherDatabase
from service.settings import Settings
from service.usecases import archiving
from tests.cli.conftest import Commands
from tests.cli.test_operator import environment, run
from tests.running import RunningService, bearer, running_receiver, until
from tests.service import stored

__all__ = ["environment"]  # the fixture

DAY = f"{datetime.now(UTC) - timedelta(days=150):%Y-%m-%d}"
# Every table that an archive has a part of, and the one that is not touched.
TABLES = ("orders", "payments", "notices", "refunds", "refund_moves", "preparations", "searches", "order_events")
FINAL = ["cancelled", "closed", "paid"]
KEPT = {"open": 1, "problem": 1, "refund": 1, "waiting": 2}

_ORDERS = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state, closed, paid_amount, cancelled_amount,
                        imp_uid, problems, metadata, created_at, updated_at)
    SELECT name, 1000, 'KRW', now() - interval '160 days', state, closed, paid, given_back,
           CASE WHEN paid > 0 THEN 'imp_' || name END, problems::jsonb, '{"카트": [1, 2.5]}',
           now() - interval '400 days', now() - CASE name WHEN 'young' THEN interval '120 days' ELSE '200 days' END
    FROM (VALUES
        ('paid', 'paid', NULL, 1000, 0, '[]'), ('cancelled', 'cancelled', NULL, 1000, 1000, '[]'),
        ('closed', 'pending', 'withdrawn', 0, 0, '[]'), ('open', 'pending', NULL, 0, 0, '[]'),
        ('problem', 'paid', NULL, 1000, 0, '[{"kind": "duplicate_payment", "imp_uid": "imp_2"}]'),
        ('refund', 'paid', NULL, 1000, 0, '[]'), ('waiting', 'paid', NULL, 1000, 0, '[]'),
        ('parked', 'paid', NULL, 1000, 0, '[]'), ('young', 'paid', NULL, 1000, 0, '[]')
    ) AS g (name, state, closed, paid, given_back, problems);
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems, 'registration'
    FROM orders;
    INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
                          cancellations, live, paid_at, details, written_ticket)
    SELECT 'imp_' || merchant_uid, merchant_uid, 'default', '', 'paid', 1000, 'KRW', 0, 0, true, now(),
           '{"pg": "줄\\n바꿈"}'::jsonb, 7 FROM orders WHERE paid_amount > 0
    UNION ALL SELECT 'imp_opened', 'paid', 'default', '', 'ready', 1000, 'KRW', 0, 0, true, NULL, '{}', 8;
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, handled_at, parked_at, last_outcome)
    SELECT gen_random_uuid(), 'webhook', imp_uid, merchant_uid, true,
           CASE WHEN merchant_uid <> 'parked' THEN now() END, CASE WHEN merchant_uid = 'parked' THEN now() END, 'looked'
    FROM payments WHERE status = 'paid';
    INSERT INTO refunds (imp_uid, merchant_uid, state, kinds, found_at, who, why, by_person, ended_at, due_at)
    VALUES ('imp_cancelled', 'cancelled', 'withdrawn', '{wrong_amount}', now(), 'kim', 'mistake', true, now(), NULL),
           ('imp_refund', 'refund', 'intended', '{wrong_amount}', now(), 'kim', 'mistake', true, NULL, now());
    INSERT INTO refund_moves (imp_uid, round, state, who, why) VALUES ('imp_cancelled', 1, 'withdrawn', 'kim', 'no');
    INSERT INTO preparations (merchant_uid, outcome, due_at) VALUES ('paid', 'done', NULL);
    INSERT INTO searches (merchant_uid, wanted_at, began_at, last_outcome) VALUES ('paid', now(), now(), 'looked');
    INSERT INTO order_checks (merchant_uid, next_check_at) VALUES ('waiting', now() + interval '1 day')
"""


@pytest.fixture
async def planted(pool: Pool) -> None:
    """Orders of 200 days ago, three of which are final, and a younger one."""
    await pool.execute(_ORDERS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "orders-2025"


@pytest.fixture
def _in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order a part, a statement and a transaction, so that there are many places to stop at."""
    monkeypatch.setattr(archive_moves, "_ORDERS_IN_A_PART", 1)
    monkeypatch.setattr(archiving, "_WALKED_AT_ONCE", 1)
    monkeypatch.setattr(archiving, "MOVED_AT_ONCE", 1)


async def _rows(pool: Pool) -> dict[str, list[str]]:
    """Return all rows of the tables, as texts."""
    return {
        table: sorted(
            row["text"]
            for row in await pool.fetch(f"SELECT to_jsonb(t)::text AS text FROM {table} t")  # noqa: S608 - ours
        )
        for table in TABLES
    }


async def _names(pool: Pool, table: str) -> list[str]:
    rows = await pool.fetch(f"SELECT DISTINCT merchant_uid FROM {table} ORDER BY 1")  # noqa: S608 - the test names it
    return [row["merchant_uid"] for row in rows]


def _archived(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted(folder.glob("orders-*.jsonl.gz"))
        for line in gzip.decompress(file.read_bytes()).decode().splitlines()
    ]


@pytest.mark.usefixtures("planted")
async def test_a_dry_run_counts(environment: dict[str, str], pool: Pool) -> None:
    """A dry run says what could be archived and why other old orders stay, and changes nothing."""
    before = await _rows(pool)
    code, output = await run(environment, "archive", "--before", DAY, "--dry-run", "--json")
    counted = json.loads(output)
    assert (code, counted["orders"], counted["kept"], counted["deleted"]) == (0, 3, KEPT, None)
    _, output = await run(environment, "archive", "--before", DAY, "--dry-run")
    assert "3 orders could be archived. Nothing was changed." in output
    assert await _rows(pool) == before


@pytest.mark.usefixtures("planted")
async def test_a_whole_circle(environment: dict[str, str], pool: Pool, folder: Path, settings: Settings) -> None:
    """Final orders are written, deleted but for their events, answered 410, never registered again, and come back."""
    before = await _rows(pool)
    command = ("archive", "--before", DAY, "--to", str(folder))
    code, output = await run(environment, *command, "--json")
    written = json.loads(output)
    assert (code, written["orders"], written["kept"], written["deleted"]) == (0, 3, KEPT, None)
    assert written["rows"] == {
        "orders": 3, "payments": 3, "notices": 2, "events": 3, "refunds": 1, "refund_moves": 1, "preparations": 1,
        "searches": 1,
    }  # fmt: skip
    assert await _rows(pool) == before
    assert [line["order"]["merchant_uid"] for line in _archived(folder)] == FINAL

    code, output = await run(environment, *command, "--delete", "--who", "kim", "--why", "two years", "--json")
    assert json.loads(output) == written | {"deleted": 3}
    for table in ("orders", "payments", "refunds"):
        assert not set(FINAL) & set(await _names(pool, table))
    assert await _names(pool, "archived_orders") == FINAL
    assert (await _rows(pool))["order_events"] == before["order_events"]
    async with running_receiver(settings) as receiver:
        await _is_gone(receiver)

    _, output = await run(environment, "archive", "restore", str(folder), "--order", "paid", "--who", "lee")
    assert "1 order put back." in output
    assert await _names(pool, "archived_orders") == ["cancelled", "closed"]
    for expected in ("2 orders put back.", "0 orders put back."):
        _, output = await run(environment, "archive", "restore", str(folder))
        assert expected in output
    assert await _rows(pool) == before
    actions = await pool.fetch("SELECT who, why, action, subject FROM operator_actions ORDER BY id LIMIT 2")
    assert [tuple(action) for action in actions] == [
        ("kim", "two years", "archive.delete", "orders-2025"),
        ("lee", "restored by hand", "archive.restore", "orders-2025"),
    ]


async def _is_gone(receiver: RunningService) -> None:
    """Every call about an archived order says so, but its history is there."""
    again = {"merchant_uid": "paid", "amount": 1000}
    for method, path, body in (
        ("GET", "/orders/paid", None),
        ("POST", "/orders", again),
        ("POST", "/orders/paid/withdraw", {}),
        ("POST", "/orders/paid/verify", None),
        ("POST", "/orders/paid/accept", {"imp_uid": "imp_paid", "who": "kim", "why": "x"}),
    ):
        status, problem = await receiver.call(method, path, json=body, headers=bearer())
        assert (status, problem["type"]) == (410, "urn:portone-orders:problem:order-archived"), path
        assert "(orders-2025, " in problem["detail"]
    status, history = await receiver.call("GET", "/orders/paid/history", headers=bearer())
    assert (status, len(history["versions"])) == (200, 1)
    status, batch = await receiver.call("POST", "/orders:batch", json={"orders": [again]}, headers=bearer())
    assert batch["results"][0]["status"] == 410
    status, _ = await receiver.call("GET", "/orders/nobody", headers=bearer())
    assert status == 404


class _Killed(BaseException):
    """The process is killed here."""


def _killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Kill the process at its n-th step: before or after a file, a manifest or a transaction."""
    steps = iter(range(10**6))

    def one() -> None:
        if next(steps) == step:
            raise _Killed

    for holder, name in ((ArchiveFolder, "write"), (ArchiveFolder, "write_part")):
        monkeypatch.setattr(holder, name, _between(getattr(holder, name), one))
    for name in ("begin_deleting", "delete", "begin_restoring", "restore"):
        monkeypatch.setattr(archiving, name, _between_awaited(getattr(archiving, name), one))


def _between(work: Any, step: Any) -> Any:
    def stepped(*args: Any) -> Any:
        step()
        result = work(*args)
        step()
        return result

    return stepped


def _between_awaited(work: Any, step: Any) -> Any:
    async def stepped(*args: Any) -> Any:
        step()
        result = await work(*args)
        step()
        return result

    return stepped


async def _until_done(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command again and again, killed one step later each time. Returns how often it was killed."""
    for step in range(200):
        with monkeypatch.context() as patch:
            _killed_at(patch, step)
            try:
                await run(environment, *words)
            except _Killed:
                continue
            return step
    raise AssertionError("it never ends")


@pytest.mark.usefixtures("planted", "_in_small_steps")
async def test_killed_anywhere_it_goes_on(
    environment: dict[str, str], pool: Pool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any step and started again, the command writes, deletes and puts back each order once."""
    before = await _rows(pool)
    killed = await _until_done(environment, monkeypatch, "archive", "--before", DAY, "--to", str(folder), "--delete")
    assert killed > 5
    assert [line["order"]["merchant_uid"] for line in _archived(folder)] == FINAL
    assert await _names(pool, "archived_orders") == FINAL
    assert await _until_done(environment, monkeypatch, "archive", "restore", str(folder)) > 5
    assert await _rows(pool) == before


@pytest.mark.usefixtures("planted")
async def test_what_has_changed_since_stays(environment: dict[str, str], pool: Pool, folder: Path) -> None:
    """An order that is not as it was written any more is not deleted, whatever has changed of it."""
    command = ("archive", "--before", DAY, "--to", str(folder))
    await run(environment, *command)
    await pool.execute("UPDATE payments SET details = '{}' WHERE merchant_uid = 'paid'")
    await pool.execute("INSERT INTO order_checks VALUES ('closed', now())")
    _, output = await run(environment, *command, "--delete")
    assert "1 order deleted here." in output
    assert "2 have changed since they were written, and stay." in output
    assert await _names(pool, "archived_orders") == ["cancelled"]


@pytest.mark.usefixtures("planted")
async def test_what_is_not_as_it_was_written_is_refused(
    environment: dict[str, str], pool: Pool, folder: Path, tmp_path: Path
) -> None:
    """A damaged file deletes and restores nothing, and an archive of another database, day or kind is refused."""
    command = ("archive", "--before", DAY, "--to", str(folder))
    await run(environment, *command)
    [part] = await asyncio.to_thread(lambda: list(folder.glob("orders-*")))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    for words in ((*command, "--delete"), ("archive", "restore", str(folder))):
        with pytest.raises(CommandFailed, match="is not as it was written"):
            await run(environment, *words)
    assert await pool.fetchval("SELECT count(*) FROM archived_orders") == 0
    part.write_bytes(whole)
    await pool.execute("DELETE FROM orders WHERE merchant_uid = 'closed'")
    await pool.execute("DELETE FROM order_events WHERE merchant_uid = 'closed'")
    with pytest.raises(OtherDatabase):
        await run(environment, "archive", "restore", str(folder))
    refused: tuple[tuple[tuple[str, ...], str], ...] = (
        (("archive", "--before", "2020-01-01", "--to", str(folder)), "name another folder"),
        (("archive", "--before", DAY, "--to", str(tmp_path)), "has other files"),
        (("archive", "--before", f"{datetime.now(UTC):%Y-%m-%d}", "--to", str(folder)), "at least 100 days ago"),
        (("archive", "--before", "yesterday", "--dry-run"), "must be a day"),
        (("archive", "--before", DAY), "Name the folder"),
        (("archive", "restore", str(tmp_path)), "has no manifest"),
    )
    for given, sentence in refused:
        with pytest.raises(CommandFailed, match=sentence):
            await run(environment, *given)


async def test_every_column_comes_back(pool: Pool) -> None:
    """The one table that is put back column by column is put back with all of them, but for the one Postgres makes."""
    from service.db.archives import _RESTORING

    [statement] = [text for text in _RESTORING if "INTO notices" in text]
    columns = statement[statement.index("(") + 1 : statement.index(")")].replace("\n", " ").split(",")
    rows = await pool.fetch(
        "SELECT attname::text AS name FROM pg_attribute"
        " WHERE attrelid = 'notices'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
    )
    assert {column.strip() for column in columns} == {row["name"] for row in rows}


async def test_money_of_an_archived_order_is_seen(
    commands: Commands, pool: Pool, redis_url: str, tmp_path: Path
) -> None:
    """A refund at PortOne for an archived order is parked for a person, and counts once the order is back."""
    await commands.service.register("order-1")
    imp_uid = (await commands.sandbox.pay("order-1", 64900))["imp_uid"]
    await commands.service.becomes("order-1", state="paid")
    await pool.execute("UPDATE orders SET updated_at = now() - interval '200 days'")
    await pool.execute("DELETE FROM order_checks")
    folder = str(tmp_path / "old")

    async def is_archived() -> bool:
        # A walk of the ledger may have queued a notice of this payment: until it is handled, its order stays.
        await commands.run("archive", "--before", DAY, "--to", folder, "--delete")
        return not await _names(pool, "orders")

    await until(is_archived)
    await commands.sandbox.move(imp_uid, "cancel")

    async def is_parked() -> bool:
        # A walk of the ledger may have seen the refund too, beside the webhook.
        return {row["last_outcome"] for row in await _parked(pool, imp_uid)} == {"order_archived"}

    await until(is_parked)
    assert "0 orders" not in await commands.run("archive", "restore", folder)
    notice, *_ = await _parked(pool, imp_uid)
    await commands.run("notices", "replay", str(notice["id"]), "--why", "restored", REDIS_URL=redis_url)
    await commands.service.becomes("order-1", state="cancelled")


async def _parked(pool: Pool, imp_uid: str) -> list[asyncpg.Record]:
    return [row for row in await stored.notices(pool, imp_uid) if row["parked_at"] is not None]
