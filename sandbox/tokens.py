"""V1's access tokens: one per key, shared by all callers, for 30 minutes. No I/O; the clock is given."""

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
    """An access token and the unix second at which it expires."""

    access_token: str
    expired_at: int


class TokenDesk:
    """The issuer of one account's token. It tells a live token from any other."""

    def __init__(self, imp_key: str, imp_secret: str, clock: Clock) -> None:
        self.imp_key = imp_key
        self._clock = clock
        self.reset(imp_secret)

    def reset(self, imp_secret: str) -> None:
        """Forget the token, and give later ones PortOne's usual life."""
        self.imp_secret = imp_secret
        self.life_seconds = 30 * 60
        self._token: Token | None = None

    def issue(self, imp_key: str, imp_secret: str) -> Token | None:
        """Return the live token, extended by 5 min when under 1 min is left, or a new one. None for a wrong secret."""
        if (imp_key, imp_secret) != (self.imp_key, self.imp_secret):
            return None
        left_seconds = self._left_seconds()
        if self._token is None or left_seconds <= 0:
            self._token = Token(secrets.token_hex(20), self.now() + self.life_seconds)
        elif left_seconds < EXTEND_WHEN_LEFT_SECONDS:
            self._token.expired_at += EXTENSION_SECONDS
        return self._token

    def accepts(self, authorization: str) -> bool:
        """Say whether the header carries the live token, bare or after `Bearer`."""
        if self._token is None or self._left_seconds() <= 0:
            return False
        return authorization.removeprefix(BEARER) == self._token.access_token

    def expire(self) -> None:
        """Let the token expire now, also for callers that have it."""
        self._token = None

    def now(self) -> int:
        """Return PortOne's time in unix seconds."""
        return int(self._clock())

    def _left_seconds(self) -> float:
        return self._token.expired_at - self._clock() if self._token else 0


class TokenDesks:
    """One desk for each account. A token opens only the account that it was issued for."""

    def __init__(self, keys: Mapping[str, Keys], clock: Clock) -> None:
        self._keys = keys
        self.of_account = {name: TokenDesk(its.imp_key, its.imp_secret, clock) for name, its in keys.items()}

    def reset(self) -> None:
        """Forget all tokens, and take the secrets of the start again."""
        for name, desk in self.of_account.items():
            desk.reset(self._keys[name].imp_secret)

    def with_key(self, imp_key: str) -> TokenDesk | None:
        """Return the desk of the account that has this key, or None."""
        return next((desk for desk in self.of_account.values() if desk.imp_key == imp_key), None)

    def account_of(self, authorization: str) -> str | None:
        """Return the account whose live token the header carries, or None."""
        return next((name for name, desk in self.of_account.items() if desk.accepts(authorization)), None)
