"""V1's access tokens: one per key, shared by all who ask, 30 minutes long. No I/O; the clock is given."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.config import Keys
from sandbox.ledger import Clock

EXTEND_WHEN_LEFT_SECONDS = 60
EXTENSION_SECONDS = 5 * 60
BEARER = "Bearer "


@dataclass(slots=True)
class Token:
    """An access token and the unix second at which it dies."""

    access_token: str
    expired_at: int


class TokenDesk:
    """Gives out an account's token and tells a live one from any other."""

    def __init__(self, imp_key: str, imp_secret: str, clock: Clock) -> None:
        self.imp_key = imp_key
        self._clock = clock
        self.reset(imp_secret)

    def reset(self, imp_secret: str) -> None:
        """No token yet, and PortOne's usual life for those to come."""
        self.imp_secret = imp_secret
        self.life_seconds = 30 * 60
        self._token: Token | None = None

    def issue(self, imp_key: str, imp_secret: str) -> Token | None:
        """The same token while it lives, 5 min longer when under 1 min is left; None for a wrong secret."""
        if (imp_key, imp_secret) != (self.imp_key, self.imp_secret):
            return None
        left_seconds = self._left_seconds()
        if self._token is None or left_seconds <= 0:
            self._token = Token(secrets.token_hex(20), self.now() + self.life_seconds)
        elif left_seconds < EXTEND_WHEN_LEFT_SECONDS:
            self._token.expired_at += EXTENSION_SECONDS
        return self._token

    def accepts(self, authorization: str) -> bool:
        """Whether the header carries the live token, bare or after `Bearer`."""
        if self._token is None or self._left_seconds() <= 0:
            return False
        return authorization.removeprefix(BEARER) == self._token.access_token

    def expire(self) -> None:
        """Let the token die now, also for those who hold it."""
        self._token = None

    def now(self) -> int:
        """PortOne's clock, in unix seconds."""
        return int(self._clock())

    def _left_seconds(self) -> float:
        return self._token.expired_at - self._clock() if self._token else 0


class TokenDesks:
    """A desk for each account; a token opens the account that it was given out for."""

    def __init__(self, keys: Mapping[str, Keys], clock: Clock) -> None:
        self._keys = keys
        self.of_account = {name: TokenDesk(its.imp_key, its.imp_secret, clock) for name, its in keys.items()}

    def reset(self) -> None:
        """No tokens yet, and the secrets as they were at the start."""
        for name, desk in self.of_account.items():
            desk.reset(self._keys[name].imp_secret)

    def with_key(self, imp_key: str) -> TokenDesk | None:
        """The desk of the account that has this key."""
        return next((desk for desk in self.of_account.values() if desk.imp_key == imp_key), None)

    def account_of(self, authorization: str) -> str | None:
        """Whose live token the header carries, if any's."""
        return next((name for name, desk in self.of_account.items() if desk.accepts(authorization)), None)
