"""Check PortOne, under each account: does it answer, and does it accept the key?"""

import asyncio

import aiohttp

from service.account_settings import PortOneAccount
from service.domain.payment import ACCOUNT
from service.settings import Settings

_TIMEOUT_SECONDS = 4.0
_TOKEN_MAX_BYTES = 65_536


async def check_portone(settings: Settings) -> list[str]:
    """Ask PortOne for a token of each account, all at once."""
    accounts = settings.require("portone_imp_key", "portone_imp_secret").accounts
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_SECONDS)) as session:
        sentences = await asyncio.gather(*(_check_account(session, *account) for account in accounts.items()))
    return [sentence for sentence in sentences if sentence]


async def _check_account(session: aiohttp.ClientSession, name: str, account: PortOneAccount) -> str | None:
    """Return a sentence about a fault of the account's key or address, or None."""
    url, address = account.api_url, _address_setting(name)
    keys = {"imp_key": account.imp_key, "imp_secret": account.imp_secret.get_secret_value()}
    try:
        async with session.post(f"{url}/users/getToken", json=keys, allow_redirects=False) as answer:
            body = await answer.content.read(_TOKEN_MAX_BYTES)
    except TimeoutError:
        silence = f"does not answer within {_TIMEOUT_SECONDS:.0f} s"
        return f"PortOne at {url} {silence}: wait until it does, or correct {address}."
    except aiohttp.ClientConnectorDNSError:
        return f"PortOne at {url}: its host is not known: correct {address}."
    except aiohttp.InvalidURL:
        return f"{address} is not an address: use one like https://api.iamport.kr."
    except aiohttp.ClientError:
        return f"PortOne at {url} cannot be reached: let this machine reach it, or correct {address}."
    if answer.status == 401:
        return f"PortOne at {url} refuses the key: correct {key_setting(name)}."
    if answer.status == 429 or answer.status >= 500:
        return f"PortOne at {url} answers {answer.status}, so it is down or overloaded: wait, or correct {address}."
    if answer.status != 200 or b'"access_token"' not in body:
        return f"What answers at {url} ({answer.status}, {answer.content_type}) is not PortOne: correct {address}."
    return None


def key_setting(account: str) -> str:
    """Return the name of the setting that holds an account's key."""
    return "PORTONE_IMP_KEY and PORTONE_IMP_SECRET" if account == ACCOUNT else f"{account} in PORTONE_ACCOUNTS"


def _address_setting(account: str) -> str:
    return "PORTONE_API_URL" if account == ACCOUNT else f"the api_url of {account} in PORTONE_ACCOUNTS"
