"""Amounts as V1 writes them: JSON numbers in the currency's own unit, such as KRW 64900 and USD 6.0."""

from decimal import Decimal, InvalidOperation

from sandbox.errors import NotANumber

WireAmount = int | float

CURRENCIES_WITHOUT_DECIMALS = frozenset({"KRW", "JPY", "VND"})
LARGEST_AMOUNT = Decimal(10**12)  # well inside what a float and a 64-bit integer hold exactly


def decimals_of(currency: str) -> int:
    """Return how many decimals an amount of this currency may have."""
    return 0 if currency in CURRENCIES_WITHOUT_DECIMALS else 2


def to_wire(amount: Decimal, currency: str) -> WireAmount:
    """Write an amount as V1 does: an integer for KRW, otherwise a number with decimals."""
    return int(amount) if decimals_of(currency) == 0 else float(amount)


def read_amount(value: object) -> Decimal:
    """Read a JSON number or a form's text exactly. Raises NotANumber."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise NotANumber
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise NotANumber from None
    if not amount.is_finite():
        raise NotANumber
    return amount


def fits(amount: Decimal, currency: str) -> bool:
    """Say whether the amount is within bounds and has no more decimals than its currency."""
    if abs(amount) > LARGEST_AMOUNT:
        return False
    return amount == round(amount, decimals_of(currency))
