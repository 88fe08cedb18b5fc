"""A checkout token opens one order until its end, and nothing else does."""

from hypothesis import given
from hypothesis import strategies as st

from service.domain.checkout_token import TOKEN_LENGTH, end_of, issue

SECRET, OTHER = b"s" * 32, b"o" * 32
END = 1_800_000_000
numbers = st.text(min_size=1, max_size=255)


@given(numbers, st.integers(0, 2**40 - 1))
def test_a_token_has_its_end(merchant_uid: str, end: int) -> None:
    """A token's end is read from it, whatever the order's number, and is short enough for any header."""
    token = issue(SECRET, merchant_uid, end)
    assert len(token) == TOKEN_LENGTH == 28
    assert end_of([SECRET], token.encode(), merchant_uid) == end


@given(numbers, numbers)
def test_a_token_opens_no_other_order(merchant_uid: str, other: str) -> None:
    """A token is bound to its order's number."""
    opened = end_of([SECRET], issue(SECRET, merchant_uid, END).encode(), other)
    assert (opened is not None) == (merchant_uid == other)


def test_secrets_can_be_changed() -> None:
    """Every secret that is still configured is believed, and no other."""
    token = issue(OTHER, "order-1", END).encode()
    assert end_of([SECRET, OTHER], token, "order-1") == END
    assert end_of([SECRET], token, "order-1") is None
    assert end_of([], token, "order-1") is None


@given(st.integers(0, TOKEN_LENGTH - 1), st.integers(0, 255))
def test_a_changed_token_opens_nothing(place: int, byte: int) -> None:
    """Each byte counts: of the MAC and of the end, which nobody can move."""
    token = issue(SECRET, "order-1", END).encode()
    changed = token[:place] + bytes([byte]) + token[place + 1 :]
    assert (end_of([SECRET], changed, "order-1") is not None) == (changed == token)


@given(st.binary(max_size=60))
def test_garbage_opens_nothing(garbage: bytes) -> None:
    """Garbage instead of a token opens nothing, and is no error."""
    assert end_of([SECRET], garbage, "order-1") is None
