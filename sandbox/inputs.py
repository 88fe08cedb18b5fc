"""Read the bodies of control requests. Every wrong value becomes one clear sentence."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from sandbox.addresses import AddressPolicy
from sandbox.errors import BadInput, NotANumber
from sandbox.money import decimals_of, fits, read_amount


class Body:
    """A JSON object whose members are taken one by one; `finish` refuses those that nobody asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = dict(values)

    def has(self, name: str) -> bool:
        """Say whether the member is there, also as null, and was not taken."""
        return name in self._left

    def given(self, name: str) -> bool:
        """Say whether the member is there and not null. A null is taken by this."""
        return self._left.get(name) is not None or self._left.pop(name, None) is not None

    def text(self, name: str, longest: int = 200) -> str:
        """Take a text that must be there and must not be empty."""
        text = self.optional_text(name, longest)
        if text is None:
            raise BadInput(f"{name} is missing.")
        return text

    def optional_text(self, name: str, longest: int = 200) -> str | None:
        """Take a text of 1 to `longest` characters, or None when it is absent or null."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise BadInput(f"{name} must be a text of 1 to {longest} characters.")
        return value

    def url(self, name: str, addresses: AddressPolicy) -> str | None:
        """Take an address that the sandbox may call, or None."""
        url = self.optional_text(name, 2000)
        refusal = None if url is None else addresses.refusal(url)
        if refusal is not None:
            raise BadInput(f"{name}: {refusal}")
        return url

    def flag(self, name: str, default: bool = False) -> bool:
        """Take true or false; null is the default."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise BadInput(f"{name} must be true or false.")
        return value

    def optional_flag(self, name: str) -> bool | None:
        """Take true or false, or None when it is absent or null."""
        return self.flag(name) if self.given(name) else None

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Take a number within bounds."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(f"{name} must be a number.")
        if not least <= value <= most:
            raise BadInput(f"{name} must be from {least} to {most}.")
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """Take a whole number within bounds."""
        value = self.number(name, default, least, most)
        if not isinstance(value, int):
            raise BadInput(f"{name} must be a whole number.")
        return value

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        """Take one of the options, or None when it is absent or null."""
        chosen = self.optional_text(name)
        if chosen is not None and chosen not in options:
            raise BadInput(f"{name} must be one of {', '.join(options)}.")
        return chosen

    def currency(self) -> str:
        """Take an ISO 4217 code; KRW when it is absent."""
        currency = self.optional_text("currency", 3) or "KRW"
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
            raise BadInput("currency must be an ISO 4217 code such as KRW.")
        return currency

    def amount(self, currency: str) -> Decimal:
        """Take a positive amount as V1 writes it: KRW 64900, USD 6.0."""
        amount = self.optional_amount("amount", currency)
        if not amount:
            raise BadInput("amount must be there and above 0.")
        return amount

    def optional_amount(self, name: str, currency: str) -> Decimal | None:
        """Take an amount of 0 or more, or None when it is absent or null."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        try:
            amount = read_amount(value)
        except NotANumber:
            raise BadInput(f"{name} must be a number.") from None
        if amount < 0 or not fits(amount, currency):
            decimals = decimals_of(currency)
            raise BadInput(f"{name} must be from 0 to 10^12, with at most {decimals} decimals in {currency}.")
        return amount

    def mapping(self, name: str) -> dict[str, Any]:
        """Take a JSON object that can be written as JSON again; an empty one when it is absent or null."""
        value = self._left.pop(name, None)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise BadInput(f"{name} must be a JSON object.")
        try:
            orjson.dumps(value)
        except orjson.JSONEncodeError:
            raise BadInput(f"{name} is nested too deeply.") from None
        return value

    def anything(self, name: str) -> Any:
        """Take any value, for a caller that checks it itself; None when it is absent."""
        return self._left.pop(name, None)

    def finish(self) -> None:
        """Refuse members that nobody took, because a misspelt switch must not pass for a set one."""
        if self._left:
            raise BadInput(f"Unknown: {', '.join(sorted(self._left))}.")


def read_object(raw: bytes) -> Body:
    """Read a JSON object. An empty body is an empty object."""
    if not raw.strip():
        return Body({})
    try:
        values = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadInput("The body must be JSON.") from None
    if not isinstance(values, dict):
        raise BadInput("The body must be a JSON object.")
    return Body(values)
