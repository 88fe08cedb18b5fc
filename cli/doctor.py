"""Check that everything the service needs is there, and say what to do if it is not."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from cli.errors import CommandFailed, in_a_sentence
from service.account_settings import PortOneAccount
from service.domain.payment import ACCOUNT
from service.settings import Settings

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT_SECONDS = 10.0

# A check returns a sentence for each fault, with what to do. An error that it raises counts as one fault.
Check = Callable[[Settings], Awaitable[list[str]]]


async def examine(settings: Settings) -> dict[str, list[str]]:
    """Return the faults of each part. A part without faults has an empty list."""
    return {name: await _run(check, settings) for name, check in CHECKS.items()}


async def _run(check: Check, settings: Settings) -> list[str]:
    try:
        return await check(settings)
    except Exception as error:
        sentence = in_a_sentence(error)
        if sentence is None:
            raise
        return [sentence]


async def check_postgres(settings: Settings) -> list[str]:
    import asyncpg

    from service.db.migrate import pending

    url = settings.require("database_url").database_url.get_secret_value()
    connection = await asyncpg.connect(url, timeout=_TIMEOUT_SECONDS)
    try:
        missing = await pending(connection)
    finally:
        await connection.close()
    return [f"Migrations are missing ({', '.join(missing)}): run `portone-orders migrate`."] if missing else []


async def check_redis(settings: Settings) -> list[str]:
    """Check that Redis keeps all that it accepts, because it may take notices (docs/design.md §2.1)."""
    from service.errors import RedisUnavailable
    from service.redis.queue import connect, weaknesses

    redis = connect(settings.require("redis_url").redis_url.get_secret_value())
    try:
        return [f"{advice}." for advice in await weaknesses(redis)]
    except RedisUnavailable as error:
        raise CommandFailed(f"It cannot be reached or refuses us ({error}): check REDIS_URL.") from error
    finally:
        await redis.aclose(close_connection_pool=True)


async def check_portone(settings: Settings) -> list[str]:
    import aiohttp

    accounts = settings.require("portone_imp_key", "portone_imp_secret").accounts
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_SECONDS)) as session:
        sentences = [await _check_account(session, name, account) for name, account in accounts.items()]
    return [sentence for sentence in sentences if sentence]


async def _check_account(session: "aiohttp.ClientSession", name: str, account: PortOneAccount) -> str | None:
    """Return a sentence about a fault of the account's key or address, or None."""
    import aiohttp

    keys = {"imp_key": account.imp_key, "imp_secret": account.imp_secret.get_secret_value()}
    default = name == ACCOUNT
    try:
        async with session.post(f"{account.api_url}/users/getToken", json=keys) as answer:
            if answer.status == 401:
                setting = "PORTONE_IMP_KEY and PORTONE_IMP_SECRET" if default else f"{name} in PORTONE_ACCOUNTS"
                return f"PortOne refuses the key: correct {setting}."
            if answer.status != 200 or b'"access_token"' not in await answer.read():
                setting = "PORTONE_API_URL" if default else f"the api_url of {name} in PORTONE_ACCOUNTS"
                return f"PortOne answers {answer.status} without a token: check {setting}."
    except (aiohttp.ClientError, TimeoutError) as error:
        if default:
            raise
        return f"{name} in PORTONE_ACCOUNTS cannot be reached ({type(error).__name__}): check its api_url."
    return None


CHECKS: dict[str, Check] = {"Postgres": check_postgres, "Redis": check_redis, "PortOne": check_portone}
