"""Amounts are exact whole numbers of a currency's smallest unit."""

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
    """V1's decimals become whole numbers of the smallest unit."""
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
    """An amount that is not a whole number of the smallest unit, or out of range, is refused and never rounded."""
    with pytest.raises(InexactAmount):
        to_minor(Decimal(amount), currency)


@given(st.decimals(), st.sampled_from(sorted(DECIMALS)))
def test_exact_or_refused(amount: Decimal, currency: str) -> None:
    """Every decimal is converted to exactly the same amount or raises InexactAmount."""
    try:
        minor = to_minor(amount, currency)
    except InexactAmount:
        return
    assert 0 <= minor <= MAX_AMOUNT
    assert Decimal(minor).scaleb(-DECIMALS[currency]) == amount


def test_known_currencies() -> None:
    """The known currencies have three capital letters, include those that shops use, and no test codes."""
    assert all(len(code) == 3 and code.isupper() and code.isascii() for code in DECIMALS)
    assert all(is_known(code) for code in ("KRW", "USD", "JPY", "EUR", "CNY"))
    assert not any(is_known(code) for code in ("XXX", "XTS", "krw", "", "WON"))


@given(st.integers() | st.integers(0, MAX_AMOUNT), st.sampled_from(sorted(DECIMALS)))
def test_a_whole_number_needs_no_decimals(amount: int, currency: str) -> None:
    """The fast conversion of whole numbers equals the general one, and refuses the same amounts."""
    try:
        minor = to_minor(Decimal(amount), currency)
    except InexactAmount:
        with pytest.raises(InexactAmount):
            whole_to_minor(amount, currency)
    else:
        assert whole_to_minor(amount, currency) == minor
