"""Checkout tokens: with one, a buyer's browser may read the state of one order, for a while.

A token is its end in Unix seconds (5 bytes) and a MAC of that and the order's number, 16 bytes of HMAC-SHA-256, in
base64url. It says nothing of the order, and nothing is stored of it.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

_TIME_BYTES = 5
_MAC_BYTES = 16
_BYTES = _TIME_BYTES + _MAC_BYTES  # a multiple of 3, so that base64 needs no padding
TOKEN_LENGTH = _BYTES * 4 // 3


def issue(secret: bytes, merchant_uid: str, ends_at: int) -> str:
    """Return a token that opens this order until the time."""
    end = ends_at.to_bytes(_TIME_BYTES)
    return urlsafe_b64encode(end + _mac(secret, end, merchant_uid)).decode()


def end_of(secrets: Sequence[bytes], token: bytes, merchant_uid: str) -> int | None:
    """Return when a token of this order ends; None: none of the secrets has made it for this order."""
    if len(token) != TOKEN_LENGTH:
        return None
    try:
        content = urlsafe_b64decode(token)
    except ValueError:
        return None
    end, mac = content[:_TIME_BYTES], content[_TIME_BYTES:]
    # Every secret is tried, and each comparison takes the same time wherever the bytes differ.
    matches = [hmac.compare_digest(_mac(secret, end, merchant_uid), mac) for secret in secrets]
    return int.from_bytes(end) if any(matches) else None


def _mac(secret: bytes, end: bytes, merchant_uid: str) -> bytes:
    """Sign the end, which has a fixed length, and then the number: no other pair gives the same bytes."""
    text = b"checkout" + end + merchant_uid.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, text, "sha256")[:_MAC_BYTES]
