"""Ids are recognised by their shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import can_stand_in_address, is_imp_uid, is_merchant_uid, is_plain, is_tier


@pytest.mark.parametrize("text", ["imp_448280090638", "i", "i" * 64, "A-Z_0-9"])
def test_an_imp_uid(text: str) -> None:
    """An imp_uid has 1 to 64 letters, digits, `_` or `-`."""
    assert is_imp_uid(text)


@pytest.mark.parametrize(
    "text", ["", "i" * 65, "imp_1\n", "\nimp_1", "imp 1", "imp/1", "..", "imp_1?", "imp_é", "임프", "１"]
)
def test_no_imp_uid(text: str) -> None:
    """A text that could be a path, a line or another script is no imp_uid."""
    assert not is_imp_uid(text)


@pytest.mark.parametrize(
    "text", ["o", "o" * 255, "가" * 255, "🛒" * 255, "a/b?c#d%", "'\"", " ", "..", "\u200b", "\u2028"]
)
def test_a_merchant_uid(text: str) -> None:
    """A merchant_uid has 1 to 255 characters of any script."""
    assert is_merchant_uid(text)


@pytest.mark.parametrize(("text", "can"), [(".", False), ("..", False), ("...", True), ("./", True), ("%2e", True)])
def test_a_number_that_no_address_can_name(text: str, can: bool) -> None:
    """`.` and `..` are resolved by whoever sends the request, so no order can be read under them."""
    assert can_stand_in_address(text) is can


@pytest.mark.parametrize("text", ["", "o" * 256, "\0", "a\n", "\t", "\x7f", "\x85", "\ud800", "a\udfff"])
def test_no_merchant_uid(text: str) -> None:
    """A text with control characters or surrogates is no merchant_uid."""
    assert not is_merchant_uid(text)


@pytest.mark.parametrize(
    ("text", "tier"),
    [("abc", True), ("A1z", True), ("ab", False), ("abcd", False), ("ab/", False), ("ab\n", False), ("가나다", False)],
)
def test_a_tier(text: str, tier: bool) -> None:
    """A tier has three letters or digits."""
    assert is_tier(text) is tier


@given(st.text())
def test_what_is_plain_can_be_stored(text: str) -> None:
    """Plain text is UTF-8 without NUL, so Postgres accepts it."""
    if is_plain(text):
        assert b"\0" not in text.encode()
