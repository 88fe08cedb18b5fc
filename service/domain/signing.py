"""Signatures of outgoing webhooks, as Standard Webhooks has them (https://www.standardwebhooks.com), version `v1`."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256

SECRET_PREFIX = "whsec_"  # noqa: S105 - how each secret begins
SECRET_BYTES = 32


def secret_of(key: bytes) -> str:
    """Return the text of a secret, as the libraries of Standard Webhooks take it."""
    return SECRET_PREFIX + b64encode(key).decode()


def signed_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a message, with a signature for each secret that lives."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + b64encode(hmac.digest(key, content, sha256)).decode()
