"""Our signatures are those of Standard Webhooks, by a library that is not ours."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from service.domain.signing import secret_of, signed_headers


@given(
    key=st.binary(min_size=24, max_size=64), text=st.text(), message_id=st.from_regex(r"[0-9]{1,18}", fullmatch=True)
)
def test_a_library_verifies_each_message(key: bytes, text: str, message_id: str) -> None:
    """The library accepts each message, whatever its secret and body are."""
    body = text.encode("utf-8", "replace")
    headers = signed_headers([secret_of(key)], message_id, int(time.time()), body)
    Webhook(secret_of(key)).verify(body, headers, json_parse=False)


def test_both_secrets_verify_while_two_live() -> None:
    """During a rotation a receiver that has either secret can verify; one that has another cannot."""
    new, old, other = (secret_of(bytes([n]) * 32) for n in range(3))
    headers: dict[str, Any] = signed_headers([new, old], "7", int(time.time()), b"{}")
    for secret in (new, old):
        Webhook(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(b"{}", headers)


def test_a_changed_message_does_not_verify() -> None:
    """The id, the time and the body are signed."""
    secret = secret_of(b"k" * 32)
    headers = signed_headers([secret], "7", int(time.time()), b"{}")
    for changed in ({"webhook-id": "8"}, {"webhook-timestamp": str(int(time.time()) + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(b"{}", headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"[]", headers)
