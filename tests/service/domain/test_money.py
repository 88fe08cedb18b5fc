"""Money is whole numbers of a currency's smallest unit, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.money import DECIMALS, MAX_AMOUNT, InexactAmount, is_known, to_minor, whole_to_minor


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("64900", "KRW", 64900),
        ("64900.0", "KRW", 64900),
        ("6.00", "USD", 600),
        ("6.1", "USD", 610),
        ("0.01", "USD", 1),
        ("1.234", "KWD", 1234),
        ("0", "KRW", 0),
        ("1E+3", "JPY", 1000),
        (str(MAX_AMOUNT), "KRW", MAX_AMOUNT),
    ],
)
def test_exact_amounts(amount: str, currency: str, minor: int) -> None:
    """V1's decimals become whole numbers."""
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.5", "KRW"),
        ("6.001", "USD"),
        ("-1", "KRW"),
        ("NaN", "KRW"),
        ("sNaN", "KRW"),
        ("Infinity", "USD"),
        ("-Infinity", "USD"),
        (str(MAX_AMOUNT + 1), "KRW"),
        (str(MAX_AMOUNT), "USD"),
        ("1E+400", "KRW"),
        ("1E-400", "KRW"),
        ("1E+999999", "USD"),
    ],
)
def test_amounts_that_are_none(amount: str, currency: str) -> None:
    """What is no whole number of the smallest unit, or out of range, is refused; nothing is rounded."""
    with pytest.raises(InexactAmount):
        to_minor(Decimal(amount), currency)


@given(st.decimals(), st.sampled_from(sorted(DECIMALS)))
def test_exact_or_refused(amount: Decimal, currency: str) -> None:
    """Whatever comes: the very same amount, or InexactAmount."""
    try:
        minor = to_minor(amount, currency)
    except InexactAmount:
        return
    assert 0 <= minor <= MAX_AMOUNT
    assert Decimal(minor).scaleb(-DECIMALS[currency]) == amount


def test_known_currencies() -> None:
    """Three capital letters each; the ones that shops use are there, and no test code is."""
    assert all(len(code) == 3 and code.isupper() and code.isascii() for code in DECIMALS)
    assert all(is_known(code) for code in ("KRW", "USD", "JPY", "EUR", "CNY"))
    assert not any(is_known(code) for code in ("XXX", "XTS", "krw", "", "WON"))


@given(st.integers() | st.integers(0, MAX_AMOUNT), st.sampled_from(sorted(DECIMALS)))
def test_a_whole_number_needs_no_decimals(amount: int, currency: str) -> None:
    """The short way for whole numbers comes to what the long one does, or refuses the same."""
    try:
        minor = to_minor(Decimal(amount), currency)
    except InexactAmount:
        with pytest.raises(InexactAmount):
            whole_to_minor(amount, currency)
    else:
        assert whole_to_minor(amount, currency) == minor
