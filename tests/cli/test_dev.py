"""`portone-orders dev`, end to end: real processes, real databases, the sandbox over HTTP."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from cli.embedded.homes import remove_home
from service.settings import Settings
from tests.cli.dev_run import READY, DevRun, dev, environment, gone, shell
from tests.ports import own_port
from tests.sandbox_client import RunningSandbox


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder in which `dev` runs. The data that root's Postgres keeps elsewhere is removed too."""
    yield tmp_path
    remove_home(tmp_path / ".run" / "postgres")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevRun]:
    """A run that is ready, for the tests that only look at one."""
    folder = tmp_path_factory.mktemp("dev")
    async with dev(folder) as run:
        await run.until(READY)
        yield run
    remove_home(folder / ".run" / "postgres")


@pytest.mark.xdist_group("dev")
@pytest.mark.asyncio(loop_scope="module")
async def test_the_shops_address_comes_first_and_its_orders_are_registered(run: DevRun) -> None:
    """The first address is the shop's; it registers orders, may call the receiver, and is where redirects end. The
    metrics' addresses are the receiver's and the worker's."""
    shop = (await run.until("http://")).split()[1]
    env = run.env_file()
    assert shop == f"{env['SANDBOX_URL']}/shop"
    order = json.loads(await shell(f"curl -s {shop}/api/orders -H 'Content-Type: application/json' -d '{{}}'"))
    preflight = f"curl -s -i -X OPTIONS {env['BASE_URL']}/payment/complete -H 'Origin: {env['SANDBOX_URL']}'"
    assert f"Access-Control-Allow-Origin: {env['SANDBOX_URL']}" in await shell(preflight)
    redirect = f"{env['BASE_URL']}/payment-redirect?imp_uid=imp_1&merchant_uid={order['merchant_uid']}"
    assert f"Location: {shop}/return?merchant_uid={order['merchant_uid']}" in await shell(f"curl -s -i '{redirect}'")
    of_receiver, of_worker = (await run.until("metrics ")).split()[1:]
    patient = "curl -s --retry 30 --retry-connrefused --retry-delay 1"  # a worker does not say when it is ready
    assert "portone_orders_notices_accepted_total" in await shell(f"{patient} {of_receiver}")
    assert "portone_orders_notice_looks_total" in await shell(f"{patient} {of_worker}")


@pytest.mark.xdist_group("dev")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_run_in_the_same_folder_is_refused(run: DevRun) -> None:
    """A second run reports in one sentence that the first one runs, and does no harm."""
    async with dev(run.state_dir.parent) as second:
        assert await second.rest() == 1
    assert len(second.lines) == 1
    assert f"already running in {run.state_dir} (pid {run.process.pid})" in second.lines[0]
    assert run.process.returncode is None


@pytest.mark.xdist_group("dev")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_healthy_run_has_no_settings_that_differ(run: DevRun) -> None:
    """`settings` beside a running `dev` warns of nothing, also of a port that only `dev` was given."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "settings"),
        cwd=run.state_dir.parent,
        env=environment(run.state_dir.parent, {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert err.decode().count("\n") == 1, err.decode()
    assert err.startswith(b"These are the values of the receiver ")
    names = [line.partition("=")[0] for line in out.decode().splitlines()]
    assert names == [name.upper() for name in Settings.model_fields]


async def test_the_three_lines_end_in_a_paid_order_that_survives_a_restart(folder: Path) -> None:
    """The three printed lines, run at once one after the other, register, pay and end in `paid`; a restart from a
    shell that has sourced the env file goes on with the same databases."""
    async with dev(folder) as run:
        await run.until(READY)
        register, pay, complete = [await run.until(". /") for _ in range(3)]
        registered = json.loads(await shell(register))
        assert registered["state"] == "pending"
        assert json.loads(await shell(pay))["status"] == "paid"
        order = registered["merchant_uid"]
        assert json.loads(await shell(complete)) == {"merchant_uid": order, "state": "paid"}
        assert await run.end() == 0
        [stopped] = [line for line in run.lines if "the data stays in" in line]
        elsewhere = run.state_dir / "postgres" / "elsewhere"
        assert stopped.endswith(f" and {elsewhere.read_text()}" if elsewhere.exists() else f" in {run.state_dir}")
    async with dev(folder, **run.env_file()) as again:
        await again.until(READY)
        read = f'curl -s $BASE_URL/orders/{order} -H "Authorization: Bearer $SERVICE_KEY"'
        assert json.loads(await shell(f". {again.state_dir}/env; {read}"))["state"] == "paid"


async def test_given_pages_stay_the_users_own(folder: Path) -> None:
    """RETURN_URL and CORS_ORIGINS that are set stay in force; the shop's origin is added to the latter."""
    given = {"RETURN_URL": "http://127.0.0.1:3000/done", "CORS_ORIGINS": "http://127.0.0.1:3000"}
    async with dev(folder, **given) as run:
        await run.until(READY)
        env = run.env_file()
        for origin in (given["CORS_ORIGINS"], env["SANDBOX_URL"]):
            preflight = f"curl -s -i -X OPTIONS {env['BASE_URL']}/payment/complete -H 'Origin: {origin}'"
            assert f"Access-Control-Allow-Origin: {origin}" in await shell(preflight)
        answer = await shell(f"curl -s -i '{env['BASE_URL']}/payment-redirect?imp_uid=imp_1&merchant_uid=order-1'")
        assert f"Location: {given['RETURN_URL']}?" in answer


async def test_sigterm_leaves_no_process_and_a_private_env_file(folder: Path) -> None:
    """After SIGTERM no process that it started still runs; the env file is 0600, sourceable, and has the addresses."""
    async with dev(folder) as run:
        await run.until(READY)
        pids = run.pids()
        assert pids.keys() == {"receiver", "worker", "sandbox", "redis", "postgres"}
        env_file = run.state_dir / "env"
        assert env_file.stat().st_mode & 0o777 == 0o600
        assert run.state_dir.stat().st_mode & 0o777 == 0o700
        names = "BASE_URL SANDBOX_URL SERVICE_KEY DATABASE_URL REDIS_URL PORTONE_API_URL PORTONE_IMP_KEY"
        for name in [*names.split(), "PORTONE_IMP_SECRET"]:
            assert await shell(f". {env_file}; printf %s ${name}"), name
        assert await run.end() == 0
    for pid in pids.values():
        await gone(pid)


async def test_ctrl_c_in_the_terminal_and_a_hangup_end_it_too(folder: Path) -> None:
    """SIGINT and SIGHUP stop it cleanly with exit code 0, even during the start."""
    async with dev(folder) as run:
        await run.until("Postgres")
        assert await run.end(signal.SIGINT) == 0
    async with dev(folder) as run:
        await run.until(READY)
        assert await run.end(signal.SIGHUP) == 0


async def test_a_taken_port_is_named_with_its_setting(folder: Path) -> None:
    """A taken port stops the start before any part runs, with one sentence that names the setting."""
    for setting in ("PORT", "SANDBOX_PORT"):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, dev(folder, **{setting: str(port)}) as run:
            assert await run.rest() == 1
        assert run.lines == [
            f"Port {port} on 127.0.0.1 is taken: stop the program that has it, or set {setting} to a free port."
        ]


async def test_two_taken_ports_are_named_at_once(folder: Path) -> None:
    """Both sentences come together, so that nobody frees one port only to learn of the other."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    other = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    ports = [str(one.sockets[0].getsockname()[1]) for one in (server, other)]
    async with server, other, dev(folder, PORT=ports[0], SANDBOX_PORT=ports[1]) as run:
        assert await run.rest() == 1
    assert [line.partition(" on ")[0] for line in run.lines] == [f"Port {port}" for port in ports]


async def test_a_state_dir_that_cannot_be_used_is_one_sentence(folder: Path) -> None:
    """A file in the place of STATE_DIR is reported in one sentence that names the setting."""
    (folder / "file").touch()
    async with dev(folder, STATE_DIR="file") as run:
        assert await run.rest() == 1
    assert len(run.lines) == 1
    assert run.lines[0].startswith(f"STATE_DIR ({folder / 'file'}) cannot be used")


async def test_a_process_that_dies_is_started_again(folder: Path) -> None:
    """Each killed part is restarted, a line says so, and the service goes on working."""
    async with dev(folder) as run:
        await run.until(READY)
        for name, pid in run.pids().items():
            os.kill(pid, signal.SIGKILL)
            line = await run.until("started again")
            assert line.strip().lower().startswith(f"! {name} ended, signal sigkill")
            await run.until("runs again")
        key = "-H \"Authorization: Bearer $SERVICE_KEY\" -H 'Content-Type: application/json'"
        order = '{"merchant_uid":"after","amount":1000}'
        answer = await shell(f". {run.state_dir}/env; curl -s --retry 5 -d '{order}' {key} $BASE_URL/orders")
        assert json.loads(answer)["state"] == "pending"


async def test_the_next_run_copes_with_what_a_killed_one_left(folder: Path) -> None:
    """After kill -9 of `dev`, the next run stops the processes that are left and goes on with the data."""
    async with dev(folder) as run:
        await run.until(READY)
        left = run.pids()
        run.process.kill()
        await run.process.wait()
    async with dev(folder, **_same_ports(run.env_file())) as again:
        await again.until(READY)
        assert not set(left.values()) & set(again.pids().values())
    for pid in left.values():
        await gone(pid)


async def test_given_databases_replace_the_embedded_ones(
    folder: Path, database_url: str, redis_url: str, sandbox: RunningSandbox
) -> None:
    """DATABASE_URL, REDIS_URL and PORTONE_API_URL replace the embedded parts, and real keys are not written."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PORTONE_API_URL": sandbox.url}
    keys = {"PORTONE_IMP_KEY": sandbox.imp_key, "PORTONE_IMP_SECRET": sandbox.imp_secret}
    async with dev(folder, **given, **keys) as run:
        await run.until(READY)
        assert not (run.state_dir / "postgres").exists()
        assert not (run.state_dir / "redis").exists()
        assert sum("(given, " in line for line in run.lines) == 3
        written = run.env_file()
        assert given.items() <= written.items()
        assert not keys.keys() & written.keys()


async def test_a_given_database_that_is_away_is_waited_for(folder: Path) -> None:
    """An unreachable DATABASE_URL is reported in one line with its address and setting, without its password."""
    port = own_port()
    async with dev(folder, DATABASE_URL=f"postgresql://shop:secret@127.0.0.1:{port}/orders") as run:
        line = await run.until("not reachable")
        assert f"127.0.0.1:{port}/orders is not reachable, because nothing listens at this address: start it" in line
        assert "DATABASE_URL" in line
        assert await run.end() == 0
    assert "secret" not in "\n".join(run.lines)


async def test_a_given_portone_needs_its_keys(folder: Path) -> None:
    """PORTONE_API_URL without keys stops the start with one sentence and exit code 2."""
    async with dev(folder, PORTONE_API_URL="http://127.0.0.1:9") as run:
        assert await run.rest() == 2
    assert run.lines == ["Set PORTONE_IMP_KEY and PORTONE_IMP_SECRET in the environment or in .env."]


async def test_a_portone_that_refuses_the_key_has_a_cross(
    folder: Path, database_url: str, redis_url: str, sandbox: RunningSandbox
) -> None:
    """A given PortOne that refuses the key is shown with a ✗ and a sentence, and the rest runs."""
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "PORTONE_API_URL": sandbox.url}
    async with dev(folder, **given, PORTONE_IMP_KEY=sandbox.imp_key, PORTONE_IMP_SECRET="wrong") as run:
        await run.until(READY)
    crosses = [line.strip() for line in run.lines if "✗" in line]
    refused = f"✗ PortOne at {sandbox.url} refuses the key: correct PORTONE_IMP_KEY and PORTONE_IMP_SECRET."
    assert crosses == [refused]
    assert not [line for line in run.lines if "✓ PortOne" in line]


async def test_a_redis_that_keeps_nothing_has_a_cross(folder: Path, database_url: str, redis_url: str) -> None:
    """A given Redis that may lose what it accepts is shown with a ✗ and what to set."""
    async with Redis.from_url(redis_url) as redis:
        await redis.config_set("appendonly", "no")
        try:
            async with dev(folder, DATABASE_URL=database_url, REDIS_URL=redis_url) as run:
                await run.until(READY)
        finally:
            await redis.config_set("appendonly", "yes")
    [cross] = [line.strip() for line in run.lines if "✗" in line]
    assert cross.startswith("✗ Redis at 127.0.0.1:")
    assert "may lose what it accepts: set appendonly to yes" in cross
    assert not [line for line in run.lines if "✓ Redis" in line]


async def test_keys_that_are_not_used_are_answered_with_a_sentence(
    folder: Path, database_url: str, redis_url: str
) -> None:
    """Keys in `.env` without PORTONE_API_URL are reported as not used, with what to set; the sandbox's own are not."""
    (folder / ".env").write_text("PORTONE_IMP_KEY=real\nPORTONE_IMP_SECRET=real\n")
    given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    async with dev(folder, **given) as run:
        await run.until(READY)
    [line] = [line for line in run.lines if "PORTONE_IMP_KEY" in line]
    assert "the sandbox plays PortOne and the key is not used: to ask PortOne, set PORTONE_API_URL=" in line
    (folder / ".env").unlink()
    async with dev(folder, **run.env_file()) as again:
        await again.until(READY)
    assert not [line for line in again.lines if "PORTONE_IMP_KEY" in line]


def _same_ports(env: dict[str, str]) -> dict[str, str]:
    return {
        "PORT": env["BASE_URL"].rpartition(":")[2],
        "SANDBOX_PORT": env["SANDBOX_URL"].rpartition(":")[2],
    }
