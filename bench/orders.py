"""The orders of a run. All facts of an order follow from its number, so every process knows them.

This module uses only the standard library, because the stand-in and the alternatives import it.
"""

from collections.abc import Iterator
from itertools import count

FIRST = 1_000_000_000
# The first number that is in no table: orders from here on are registered during a measurement.
FIRST_NEW = 2_000_000_000


def around(table: int) -> Iterator[int]:
    """Yield the numbers of all orders in the table, again and again."""
    return (FIRST + number % table for number in count())


def imp_uid(number: int) -> str:
    return f"imp_{number}"


def merchant_uid(number: int) -> str:
    return f"order_{number}"


def amount(number: int) -> int:
    """Return the amount in won. bench/databases.py fills the table by the same rule."""
    return 1000 + number % 997 * 100


def webhook(number: int, status: str = "paid") -> bytes:
    """Return the body of PortOne's V1 webhook for the order's payment."""
    return b'{"imp_uid":"imp_%d","merchant_uid":"order_%d","status":"%s"}' % (number, number, status.encode())


def completion(number: int) -> bytes:
    """Return the body of the browser's completion call."""
    return b'{"imp_uid":"imp_%d","merchant_uid":"order_%d"}' % (number, number)


def registration(number: int) -> bytes:
    """Return the body that registers the order."""
    return b'{"merchant_uid":"order_%d","amount":%d,"currency":"KRW","name":"A pair of shoes"}' % (
        number,
        amount(number),
    )


def question(number: int) -> bytes:
    """Return the body of PortOne's question whether the order may be paid."""
    return b'{"imp_uid":"imp_%d","merchant_uid":"order_%d","amount":%d}' % (number, number, amount(number))
