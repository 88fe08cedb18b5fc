"""The commands that a person runs on a live service."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from service.db.pool import Pool
from service.settings import Settings
from tests.running import running_receiver
from tests.sandbox_client import RunningSandbox


@pytest.fixture
def environment(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)  # away from a developer's .env
    return {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "PORTONE_API_URL": settings.portone_api_url,
        "PORTONE_IMP_KEY": settings.portone_imp_key,
        "PORTONE_IMP_SECRET": settings.portone_imp_secret.get_secret_value(),
    }


async def run(environment: dict[str, str], *words: str) -> tuple[int, str]:
    """Run a command in its own thread, because it has its own event loop."""
    result = await asyncio.to_thread(CliRunner().invoke, app, list(words), env={**environment, "COLUMNS": "300"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


async def park(pool: Pool) -> str:
    return str(
        await pool.fetchval(
            "INSERT INTO notices (id, source, imp_uid, registered, parked_at, last_outcome)"
            " VALUES (gen_random_uuid(), 'webhook', 'imp_lost', false, now(), 'payment_unknown') RETURNING id"
        )
    )


async def test_a_parked_notice_is_listed_with_its_reason(environment: dict[str, str], pool: Pool) -> None:
    """`notices list` shows a parked notice and its reason."""
    notice = await park(pool)
    _, output = await run(environment, "notices", "list")
    assert notice in output
    assert "payment_unknown" in output


async def test_a_replayed_notice_is_due_and_written_down(environment: dict[str, str], pool: Pool) -> None:
    """Replaying makes the notice due at once, and records who did it and why."""
    notice = await park(pool)
    _, output = await run(environment, "notices", "replay", notice, "--who", "kim", "--why", "PortOne mended it")
    assert "1 notices will be looked at again" in output
    assert await pool.fetchval("SELECT due_at <= now() AND parked_at IS NULL FROM notices")
    row = await pool.fetchrow("SELECT who, why, action, subject FROM operator_actions")
    assert row is not None
    assert tuple(row) == ("kim", "PortOne mended it", "notices.replay", notice)


async def test_a_replay_wants_a_reason(environment: dict[str, str], pool: Pool) -> None:
    """A replay without a reason is refused, and nothing is replayed."""
    notice = await park(pool)
    with pytest.raises(Exception, match="Give a reason"):
        await run(environment, "notices", "replay", notice)
    assert await pool.fetchval("SELECT parked_at IS NOT NULL FROM notices")


async def test_a_dry_run_only_says_what_differs(
    environment: dict[str, str], pool: Pool, sandbox: RunningSandbox
) -> None:
    """A dry run names an unannounced payment and writes nothing."""
    payment = await sandbox.pay("order-1", 64900)
    _, output = await run(environment, "reconcile", "--since", "2d", "--dry-run")
    assert payment["imp_uid"] in output
    assert "1 payments differ. Nothing was changed." in output
    assert await pool.fetchval("SELECT count(*) FROM notices") == 0


async def test_reconciling_records_what_differs(
    environment: dict[str, str], settings: Settings, pool: Pool, sandbox: RunningSandbox
) -> None:
    """Each difference becomes a notice, and the run is recorded."""
    payment = await sandbox.pay("order-1", 64900)
    async with running_receiver(settings):
        _, output = await run(environment, "reconcile", "--why", "lost webhooks")
    assert "1 payments differ. They will be looked at." in output
    assert await pool.fetchval("SELECT imp_uid FROM notices WHERE source = 'reconcile'") == payment["imp_uid"]
    assert await pool.fetchval("SELECT why FROM operator_actions WHERE action = 'reconcile'") == "lost webhooks"


@pytest.mark.parametrize("since", ["2x", "91d", "0d", "d"])
async def test_a_wrong_window_is_answered_in_a_sentence(environment: dict[str, str], since: str) -> None:
    """An impossible window is refused with a sentence that says what is allowed."""
    with pytest.raises(Exception, match="--since must be like"):
        await run(environment, "reconcile", "--since", since)
