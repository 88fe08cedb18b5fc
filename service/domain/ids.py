"""The shapes of ids. Every name of a payment or an order passes here before it is used or stored."""

import re

IMP_UID_MAX = 64
MERCHANT_UID_MAX = 255
TIER_LENGTH = 3
ACCOUNT_MAX = 32

# PortOne's look like `imp_448280090638`. No `.` and no `/`, which could change the path of a request.
_IMP_UID = re.compile(rf"[A-Za-z0-9_-]{{1,{IMP_UID_MAX}}}")
# Unicode's categories Cc and Cs, which never change.
_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIER = re.compile(rf"[A-Za-z0-9]{{{TIER_LENGTH}}}")
# Our own name, not PortOne's: part of a URL, and a word in logs.
_ACCOUNT = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{ACCOUNT_MAX - 1}}}")


def is_imp_uid(text: str) -> bool:
    return _IMP_UID.fullmatch(text) is not None


def is_tier(text: str) -> bool:
    return _TIER.fullmatch(text) is not None


def is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def is_merchant_uid(text: str) -> bool:
    """Return whether the text has 1 to 255 characters of any script, none a control character or lone surrogate."""
    return 1 <= len(text) <= MERCHANT_UID_MAX and is_plain(text)


def can_stand_in_address(merchant_uid: str) -> bool:
    """Return whether the order can be read under its number: not under `.` or `..` (RFC 3986 §5.2.4).

    Clients take them for steps of the path, also written as `%2E%2E`, and ask for something else.
    """
    return merchant_uid not in (".", "..")


def is_plain(text: str) -> bool:
    """Return whether Postgres and a log line can carry the text: no NUL, control characters or lone surrogates."""
    # Nearly every text is printable ASCII, and this test costs half as much as the pattern.
    return (text.isascii() and text.isprintable()) or _NOT_PLAIN.search(text) is None
