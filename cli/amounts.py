"""Read an amount of money as a person types it. Every command reads amounts here, and refuses what is ambiguous."""

import re
from decimal import Decimal

from cli.errors import CommandFailed
from service.domain.money import DECIMALS, MAX_AMOUNT, InexactAmount, is_known, to_minor

_AMOUNT = re.compile(r"(\d{1,19})(?:\.(\d+))?", re.ASCII)
HELP = "In the currency's own unit, with all its decimals: 64900, or 6.00 with --currency USD."


def read_amount(text: str, currency: str) -> int:
    """Return the amount in the currency's smallest unit: 64900 of KRW is 64900, 6.00 of USD is 600.

    Raises CommandFailed for what could mean two amounts: 6 USD might be cents, and 64.900 KRW thousands.
    """
    if not is_known(currency):
        raise CommandFailed(f"{currency!r} is not a currency: give an ISO 4217 code in capitals, such as KRW.")
    decimals, match = DECIMALS[currency], _AMOUNT.fullmatch(text)
    if match is None:
        raise CommandFailed(
            f"{text!r} is not an amount: write only digits{' and a point' * (decimals > 0)}, like {_example(decimals)}."
        )
    if len(match[2] or "") != decimals:
        rule = f"has {decimals} decimals" if decimals else "has no decimals"
        raise CommandFailed(
            f"{text} {currency} is ambiguous, because {currency} {rule}: write it like {_example(decimals)}."
        )
    try:
        minor = to_minor(Decimal(text), currency)
    except InexactAmount:
        raise CommandFailed(f"{text} {currency} is too much: the most is {MAX_AMOUNT} of the smallest unit.") from None
    if not minor:
        raise CommandFailed("An amount must be more than 0.")
    return minor


def _example(decimals: int) -> str:
    return f"6.{'0' * decimals}" if decimals else "64900"
