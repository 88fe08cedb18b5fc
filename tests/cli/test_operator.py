"""The commands that a person runs on a live service."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from service.db import notice_list
from service.db.pool import Pool, in_statement
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


async def park(pool: Pool, imp_uid: str = "imp_lost") -> str:
    return str(
        await pool.fetchval(
            "INSERT INTO notices (id, source, imp_uid, registered, parked_at, last_outcome)"
            " VALUES (gen_random_uuid(), 'webhook', $1, false, now(), 'payment_unknown') RETURNING id",
            imp_uid,
        )
    )


async def test_a_parked_notice_is_listed_with_its_reason(environment: dict[str, str], pool: Pool) -> None:
    """`notices list` shows a parked notice and its reason."""
    notice = await park(pool)
    _, output = await run(environment, "notices", "list")
    assert notice in output
    assert "payment_unknown" in output


async def test_a_replayed_notice_is_due_and_written_down(environment: dict[str, str], pool: Pool) -> None:
    """Replaying makes the notice due at once, keeps when it came and what it claimed, and records who and why."""
    notice = await park(pool)
    await pool.execute("UPDATE notices SET received_at = now() - interval '2 hours', claimed_status = 'paid'")
    _, output = await run(environment, "notices", "replay", notice, "--who", "kim", "--why", "PortOne mended it")
    assert "1 notice is looked at again" in output
    assert await pool.fetchval("SELECT due_at <= now() AND parked_at IS NULL AND replayed_at <= now() FROM notices")
    [shown] = (await in_statement(pool, notice_list.waiting, 10)).notices
    assert (datetime.now(UTC) - shown.first_at > timedelta(minutes=119), shown.claimed_status) == (True, "paid")
    row = await pool.fetchrow("SELECT who, why, action, subject FROM operator_actions")
    assert row is not None
    assert tuple(row) == ("kim", "PortOne mended it", "notices.replay", notice)


async def test_in_a_pipe_a_notice_is_one_line_of_whole_values(environment: dict[str, str], pool: Pool) -> None:
    """Away from a terminal no value is cut, however narrow it is: one line a notice, its values separated by tabs."""
    notice = await park(pool)
    await pool.execute("UPDATE notices SET merchant_uid = repeat('주', 200)")
    _, output = await run(environment | {"COLUMNS": "40"}, "notices", "list")
    [line] = output.splitlines()
    values = line.split("\t")
    assert (values[0], values[2], values[3]) == (notice, "imp_lost", "주" * 200)
    assert values[-2:] == ["payment_unknown", "not seen"]


async def test_a_list_that_is_cut_says_so(environment: dict[str, str], pool: Pool) -> None:
    """Beyond its limit the list says how many there are; below it says nothing."""
    for number in range(3):
        await park(pool, f"imp_{number}")
    _, output = await run(environment, "notices", "list", "--limit", "2")
    assert output.splitlines()[-1] == "These are 2 of 3: --limit shows more."
    _, output = await run(environment, "notices", "list", "--limit", "3")
    assert len(output.splitlines()) == 3


@pytest.mark.parametrize("command", ["list", "show"])
async def test_notices_are_found_by_order_number_and_by_the_first_part_of_an_id(
    environment: dict[str, str], pool: Pool, command: str
) -> None:
    """An order number, an imp_uid and a prefix of an id each find the notice, also one that is handled."""
    await park(pool)
    notice = await park(pool, "imp_2")
    await pool.execute("UPDATE notices SET parked_at = NULL, handled_at = now() WHERE id::text = $1", notice)
    await pool.execute(
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_2', 'order-2', 'default', '', 'paid', 100, 'KRW', 0, 0, true, '{}', 1)"
    )
    for name in ("order-2", "imp_2", notice[:8], notice[:8].upper(), notice):
        _, output = await run(environment, "notices", command, name)
        assert output.count(notice) == 1
        assert "imp_lost" not in output


async def test_a_name_that_names_nothing_is_one_sentence(environment: dict[str, str], pool: Pool) -> None:
    """A name without a notice, or too short a part of an id, is answered in a sentence."""
    notice = await park(pool)
    _, output = await run(environment, "notices", "list", "order-9")
    assert output == "No notice is known by 'order-9'.\n"
    with pytest.raises(Exception, match="No notice is known by the id, imp_uid or order number"):
        await run(environment, "notices", "show", notice[:3])


async def test_a_replay_takes_the_first_part_of_an_id(environment: dict[str, str], pool: Pool) -> None:
    """A part that only one id begins with names it; one that several or none begin with is refused."""
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, registered, parked_at, last_outcome) SELECT id::uuid, 'webhook',"
        " 'imp_' || id, false, now(), 'payment_unknown' FROM unnest(ARRAY['aaaa0000-0000-4000-8000-000000000001',"
        " 'aaaa0000-0000-4000-8000-000000000002', 'bbbb0000-0000-4000-8000-000000000003']) AS id"
    )
    _, output = await run(environment, "notices", "replay", "bbbb", "--why", "mended")
    assert output == "1 notice is looked at again.\n"
    for part, sentence in (("aaaa", "Several notices"), ("cccc", "No notice has an id"), ("zz", "No notice has an id")):
        with pytest.raises(Exception, match=sentence):
            await run(environment, "notices", "replay", part, "--why", "mended")
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE parked_at IS NULL") == 1


async def test_parked_notices_are_dismissed(environment: dict[str, str], pool: Pool) -> None:
    """One notice, or all of a store that is in no setting, end without a look; who and why are recorded."""
    kept, first = await park(pool), await park(pool, "imp_2")
    await park(pool, "imp_3")
    await pool.execute(
        "UPDATE notices SET account = 'b', tier = 'xyz', last_outcome = 'store_not_configured' WHERE imp_uid <> $1",
        "imp_lost",
    )
    _, output = await run(environment, "notices", "dismiss", first[:13], "--who", "kim", "--why", "theirs")
    assert output == "1 notice is dismissed.\n"
    _, output = await run(environment, "notices", "dismiss", "--store", "b/xyz", "--why", "theirs")
    assert output == "1 notice is dismissed.\n"
    assert [str(row["id"]) for row in await pool.fetch("SELECT id FROM notices WHERE parked_at IS NOT NULL")] == [kept]
    row = await pool.fetchrow("SELECT who, why, action, subject FROM operator_actions ORDER BY id LIMIT 1")
    assert row is not None
    assert tuple(row) == ("kim", "theirs", "notices.dismiss", first)
    for words in ((), (kept, "--store", "b/xyz"), (kept,)):
        with pytest.raises(Exception, match=r"Name the notices|Give a reason"):
            await run(environment, "notices", "dismiss", *words)


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
    assert "1 payment differs. Nothing was changed." in output
    assert await pool.fetchval("SELECT count(*) FROM notices") == 0


async def test_reconciling_records_what_differs(
    environment: dict[str, str], settings: Settings, pool: Pool, sandbox: RunningSandbox
) -> None:
    """Each difference becomes a notice, and the run is recorded."""
    payment = await sandbox.pay("order-1", 64900)
    async with running_receiver(settings):
        _, output = await run(environment, "reconcile", "--why", "lost webhooks")
    assert "1 payment differs. It will be looked at." in output
    assert await pool.fetchval("SELECT imp_uid FROM notices WHERE source = 'reconcile'") == payment["imp_uid"]
    assert await pool.fetchval("SELECT why FROM operator_actions WHERE action = 'reconcile'") == "lost webhooks"


@pytest.mark.parametrize("since", ["2x", "91d", "0d", "d"])
async def test_a_wrong_window_is_answered_in_a_sentence(environment: dict[str, str], since: str) -> None:
    """An impossible window is refused with a sentence that says what is allowed."""
    with pytest.raises(Exception, match="--since must be like"):
        await run(environment, "reconcile", "--since", since)
