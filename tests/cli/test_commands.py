"""The commands that answer and end: settings, migrate, --version; and their mistakes."""

import asyncio
import sys
from pathlib import Path

import pytest

from service.settings import Settings
from service.settings_text import HIDDEN, hide_password, setting_texts
from tests.cli.dev_run import environment


async def run(folder: Path, *arguments: str, **variables: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        cwd=folder,
        env=environment(folder, variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


def variables_of(settings: Settings) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "PORTONE_API_URL": settings.portone_api_url,
        "PORTONE_IMP_KEY": settings.portone_imp_key,
        "PORTONE_IMP_SECRET": settings.portone_imp_secret.get_secret_value(),
    }


def test_settings_are_shown_with_secrets_hidden() -> None:
    """Every setting is listed, without any secret or any URL's password."""
    settings = Settings(
        _env_file=None,
        database_url="postgresql://shop:s3cret@db:5432/orders?sslmode=require&password=s3cret2",
        redis_url="rediss://:s3cret3@cache:6380/0",
        portone_imp_secret="s3cret4",
        service_keys=("s3cret5", "s3cret6"),
    )
    text = "\n".join(f"{name}={value}" for name, value in setting_texts(settings).items())
    assert "s3cret" not in text
    assert f"DATABASE_URL=postgresql://shop:{HIDDEN}@db:5432/orders" in text
    assert f"REDIS_URL=rediss://:{HIDDEN}@cache:6380/0" in text
    assert f"SERVICE_KEYS={HIDDEN},{HIDDEN}" in text
    assert len(text.splitlines()) == len(Settings.model_fields)


@pytest.mark.parametrize(
    "url", ["redis://cache:6379/0", "postgresql://shop@db/orders", "unix:///run/redis.sock?db=0", ""]
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    """A URL without a password is shown unchanged."""
    assert hide_password(url) == url


def test_a_password_that_should_have_been_encoded_is_hidden_too() -> None:
    """A password is hidden even if it contains a slash or an @, which should have been encoded."""
    assert hide_password("redis://:pa/s@s@cache:6379/0") == f"redis://:{HIDDEN}@cache:6379/0"


async def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    """A wrong setting ends in one sentence that names it, and exit code 2."""
    code, output = await run(tmp_path, "settings", PORT="many")
    assert code == 2
    assert output.startswith("Correct these settings in the environment or in .env: PORT:")
    assert output.count("\n") == 1


async def test_migrate_says_what_it_did(tmp_path: Path, settings: Settings) -> None:
    """`migrate` says that the database is up to date, or in one sentence that it does not answer."""
    assert await run(tmp_path, "migrate", **variables_of(settings)) == (0, "The database is up to date.\n")
    code, output = await run(tmp_path, "migrate", DATABASE_URL="postgresql://shop@127.0.0.1:1/orders")
    assert code == 1
    assert "Traceback" not in output
    assert output.count("\n") == 1


async def test_version(tmp_path: Path) -> None:
    """--version prints the program's name and version."""
    code, output = await run(tmp_path, "--version")
    assert code == 0
    assert output.startswith("portone-orders ")
