"""A Postgres that refuses us for what only an operator can correct is a named condition: no 500, and no traceback."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from service.db.pool import Pool
from service.settings import Settings
from tests.running import bearer, running_receiver, running_worker, until

Change = Callable[[str], str]

_FULL_DISK = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION full_disk();
    CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON notices FOR EACH ROW EXECUTE FUNCTION full_disk();
    CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON ledger_scans FOR EACH ROW EXECUTE FUNCTION full_disk()
"""
_READ_ONLY = "ALTER DATABASE {database} SET default_transaction_read_only = on"


def same(url: str) -> str:
    return url


def wrong_password(url: str) -> str:
    return re.sub(r"portone:[^@]*@", "portone:wrong@", url)


def no_database(url: str) -> str:
    return re.sub(r"/test_\w+", "/nowhere", url)


async def has_failed(logs: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the worker has tried to work, and failed."""
    return any(line["event"] == "turn.failed" for line in logs)


CONDITIONS = [
    pytest.param(wrong_password, "", "it refuses the password", id="a wrong password"),
    pytest.param(no_database, "", "it has no database of this name", id="no database"),
    pytest.param(same, _FULL_DISK, "its disk is full", id="a full disk"),
    pytest.param(same, "DROP TABLE orders, notices CASCADE", "its tables or functions are missing", id="no tables"),
    pytest.param(same, _READ_ONLY, "it is read-only", id="a standby"),
]


@pytest.mark.parametrize(("change", "statement", "reason"), CONDITIONS)
async def test_what_postgres_refuses_is_503_and_named(
    settings: Settings, pool: Pool, change: Change, statement: str, reason: str
) -> None:
    """A registration is answered 503 with the reason, a webhook is kept in Redis, and no error of ours is logged."""
    url = settings.database_url.get_secret_value()
    if statement:
        await pool.execute(statement.format(database=url.rpartition("/")[2]))
    changed = settings.model_copy(update={"database_url": SecretStr(change(url))})
    with capture_logs() as logs:
        async with running_receiver(changed) as receiver, running_worker(changed):
            order = {"merchant_uid": "order-1", "amount": 1}
            answers: list[tuple[int, Any]] = [
                await receiver.call("POST", "/orders", json=order, headers=bearer()),
                await receiver.call("GET", "/orders/order-1", headers=bearer()),
                await receiver.call("GET", "/healthz/promise", headers=bearer()),
                await receiver.call("GET", "/metrics", headers=bearer()),
                await receiver.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"}),
            ]
            await until(lambda: has_failed(logs))
    registered, *_, webhook = answers
    assert registered[0] == 503
    assert reason in registered[1]["detail"]
    assert webhook[0] == 200
    assert not [status for status, _ in answers if status == 500]
    assert not [line for line in logs if "exc_info" in line or "exception" in line]
