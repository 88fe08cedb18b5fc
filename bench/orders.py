"""The orders of a run: their numbers say all about them, so that every process agrees without a word.

Standard library only: the stand-in and the alternatives know no more than this.
"""

FIRST = 1_000_000_000


def imp_uid(number: int) -> str:
    return f"imp_{number}"


def merchant_uid(number: int) -> str:
    return f"order_{number}"


def amount(number: int) -> int:
    """In won; bench/stores.py fills the table by the same rule."""
    return 1000 + number % 997 * 100


def webhook(number: int, status: str = "paid") -> bytes:
    """The body of PortOne's V1 webhook for this order's payment."""
    return b'{"imp_uid":"imp_%d","merchant_uid":"order_%d","status":"%s"}' % (number, number, status.encode())


def completion(number: int) -> bytes:
    """The body of the browser's completion call."""
    return b'{"imp_uid":"imp_%d","merchant_uid":"order_%d"}' % (number, number)
