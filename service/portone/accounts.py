"""A client for each PortOne account, with a token, a circuit breaker and connections of its own.

An account whose key is refused, or whose PortOne is down, does not keep the others from being asked.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from service.account_settings import PortOneAccount
from service.domain.timetable import Timetable
from service.errors import AccountNotConfigured
from service.portone.client import PortOne

Client = TypeVar("Client")


@asynccontextmanager
async def open_accounts(accounts: Mapping[str, PortOneAccount], times: Timetable) -> AsyncIterator[dict[str, PortOne]]:
    """Open the accounts' clients, by the accounts' names, and close them at the end."""
    async with AsyncExitStack() as stack:
        clients = {}
        for name, account in accounts.items():
            client = clients[name] = PortOne(
                account.api_url, account.imp_key, account.imp_secret.get_secret_value(), times, name
            )
            stack.push_async_callback(client.close)
        yield clients


def account_client(accounts: Mapping[str, Client], account: str) -> Client:
    """Return the account's client. Raises AccountNotConfigured: stored orders may name an account that was removed."""
    try:
        return accounts[account]
    except KeyError:
        raise AccountNotConfigured(account) from None
