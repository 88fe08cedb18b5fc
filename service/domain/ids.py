"""What may be an id. Everything that names a payment or an order passes here before it is used or stored."""

import re

IMP_UID_MAX = 64
MERCHANT_UID_MAX = 255
TIER_LENGTH = 3
ACCOUNT_MAX = 32

# PortOne's own look like `imp_448280090638`. Nothing that could be a path of its own (`.`, `/`) is let in.
_IMP_UID = re.compile(rf"[A-Za-z0-9_-]{{1,{IMP_UID_MAX}}}")
# Unicode's categories Cc and Cs, as they have been since Unicode 1 and ever will be.
_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIER = re.compile(rf"[A-Za-z0-9]{{{TIER_LENGTH}}}")
# Ours, not PortOne's: a part of an address, and a word in logs.
_ACCOUNT = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{ACCOUNT_MAX - 1}}}")


def is_imp_uid(text: str) -> bool:
    return _IMP_UID.fullmatch(text) is not None


def is_tier(text: str) -> bool:
    return _TIER.fullmatch(text) is not None


def is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def is_merchant_uid(text: str) -> bool:
    """1 to 255 characters of any script; no control characters and no lone surrogates."""
    return 1 <= len(text) <= MERCHANT_UID_MAX and is_plain(text)


def is_plain(text: str) -> bool:
    """Whether Postgres and a log line can hold the text: no NUL, control characters or lone surrogates."""
    # What is ASCII and printable is plain, and nearly every text is: half the cost of asking the pattern.
    return (text.isascii() and text.isprintable()) or _NOT_PLAIN.search(text) is None
