"""An operator's command chooses its settings, and says which."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.checks.databases import ask_postgres
from cli.main import app
from cli.settings_source import load_settings
from cli.state import StateDir
from service.db import processes
from service.settings import Settings
from service.settings_text import HIDDEN
from tests.running import running_receiver, running_worker, until

DEV = {
    "BASE_URL": "http://127.0.0.1:8080",
    "SERVICE_KEY": "key of dev",
    "DATABASE_URL": "postgresql://portone:secret@127.0.0.1:5001/portone_orders",
    "REDIS_URL": "redis://:secret@127.0.0.1:5002/0",
    "PORTONE_API_URL": "http://127.0.0.1:8081",
    "PORTONE_IMP_KEY": "sandbox",
    "PORTONE_IMP_SECRET": "sandbox's",
    "PORTONE_ACCOUNTS": json.dumps({"shop-b": {"imp_key": "sandbox-shop-b", "imp_secret": "sandbox's"}}),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (*DEV, *map(str.upper, Settings.model_fields)):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def running_dev(folder: Path) -> None:
    """Leave the folder as a running `dev` does. This process stands for it."""
    StateDir(folder / ".run").write_env(DEV)


def test_without_a_running_dev_they_are_the_environments(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a running `dev` the environment and `.env` count, and only `settings` says so."""
    Path(".env").write_text("DATABASE_URL=postgresql://shop@db/orders\n")
    assert load_settings().database_url.get_secret_value() == "postgresql://shop@db/orders"
    assert capsys.readouterr() == ("", "")
    result = CliRunner().invoke(app, ["settings"])
    assert result.stderr.startswith("Settings come from the environment and .env; no `make run` is running in /")
    assert len(result.stdout.splitlines()) == len(Settings.model_fields)


def test_a_command_with_nothing_to_talk_to_says_what_to_start() -> None:
    """`doctor` with nothing running opens with the missing `make run`, before the settings that it would bring."""
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert result.output.startswith("No `make run` is running in /")
    assert ": start it in another terminal, or name the databases" in result.output.splitlines()[0]


async def test_settings_are_those_of_the_running_receiver(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`settings` prints the values of the receiver that runs, says whose they are, and who differs from them."""
    running = settings.model_copy(update={"calls_per_second": 7.0, "return_url": "https://shop.example"})
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    async with running_receiver(running):
        result = await _settings_of_a_running("receiver")
    values = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert (values["CALLS_PER_SECOND"], values["RETURN_URL"]) == ("7.0", "https://shop.example")
    assert settings.portone_imp_secret.get_secret_value() not in result.output
    assert values["PORTONE_IMP_SECRET"] == HIDDEN
    whose, differs = result.stderr.splitlines()
    assert whose.startswith(f"These are the values of the receiver {os.getpid()} on ")
    assert differs.startswith("A receiver that is started here now differs: ")
    assert "CALLS_PER_SECOND=100.0" in differs


async def test_settings_name_a_worker_that_differs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose settings are not the receiver's is named with the values that differ."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    async with running_worker(settings.model_copy(update={"calls_per_second": 7.0})), running_receiver(settings):
        result = await _settings_of_a_running("receiver", "worker")
    [line] = [line for line in result.stderr.splitlines() if line.startswith("The worker ")]
    assert line.endswith(" differs: CALLS_PER_SECOND=7.0")


async def test_without_a_receiver_settings_say_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a running receiver the values are those of the shell, and a sentence says so."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("CALLS_PER_SECOND", "8")
    result = await _settings_of_a_running()
    assert "CALLS_PER_SECOND=8.0" in result.stdout
    assert result.stderr.splitlines()[1:] == [
        "No receiver runs on that database: one that is started here has these values."
    ]


async def _settings_of_a_running(*kinds: str) -> Result:
    """Run `settings` once processes of these kinds have reported themselves."""

    async def have_reported() -> bool:
        every = await ask_postgres(Settings.load(), processes.read)
        return {process.kind for process in every} == set(kinds)

    await until(have_reported)
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["settings"]))


@pytest.mark.usefixtures("running_dev")
def test_a_running_dev_is_used_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """The databases, PortOne and key of a running `dev` are used, even if `.env` has the real PortOne's keys."""
    Path(".env").write_text("PORTONE_IMP_KEY=real\nPORTONE_IMP_SECRET=real\nPORT=9000\n")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == DEV["DATABASE_URL"]
    assert settings.redis_url.get_secret_value() == DEV["REDIS_URL"]
    assert (settings.portone_api_url, settings.portone_imp_key) == (DEV["PORTONE_API_URL"], "sandbox")
    assert settings.portone_accounts["shop-b"].imp_key == "sandbox-shop-b"
    assert [key.get_secret_value() for key in settings.service_keys] == ["key of dev"]
    assert settings.port == 9000
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("Databases, PortOne and keys come from the `make run` in /")


@pytest.mark.usefixtures("running_dev")
def test_what_the_environment_sets_counts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment is the one that `doctor` tries."""
    monkeypatch.setenv("PORTONE_IMP_KEY", "mine")
    settings = load_settings()
    assert (settings.portone_imp_key, settings.portone_api_url) == ("mine", DEV["PORTONE_API_URL"])


@pytest.mark.usefixtures("running_dev")
@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_with_other_databases_nothing_of_dev_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A database of another service is never mixed with those of `dev`."""
    url = DEV[name].replace("127.0.0.1", "elsewhere")
    Path(".env").write_text(f"{name}={url}\n")
    settings = load_settings()
    assert {settings.database_url.get_secret_value(), settings.redis_url.get_secret_value()} == {"", url}
    assert settings.portone_imp_key == ""
    assert "; the databases are not those of the `make run` in /" in capsys.readouterr().err


@pytest.mark.usefixtures("running_dev")
def test_a_shell_that_sourced_the_env_file_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URLs of `dev` in the environment name no other service."""
    for name, value in DEV.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["settings"])
    assert result.stderr.startswith("Databases, PortOne and keys come from the `make run`")
    assert f"DATABASE_URL=postgresql://portone:{HIDDEN}@127.0.0.1:5001/portone_orders" in result.stdout
    assert f"SERVICE_KEYS={HIDDEN}" in result.stdout


@pytest.mark.usefixtures("running_dev")
def test_a_dev_that_has_ended_is_not_taken() -> None:
    """The env file of a `dev` that has ended is ignored."""
    Path(".run/lock").write_text(f"{2**22 + 1}")
    assert load_settings().database_url.get_secret_value() == ""
    assert Path(".run/env").exists()
