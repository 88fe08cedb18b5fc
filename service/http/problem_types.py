"""The kinds of problem that an endpoint may answer: the status of each, what it means, and the sentence of an example.

A kind is the stable part of a problem document's `type` (docs/decisions/0005-name-problem-types-by-urn.md).
"""

from dataclasses import dataclass

TYPE = "urn:portone-orders:problem:"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem. `example` is a `detail` as the code words it; where it is empty, `meaning` is its sentence."""

    status: int
    meaning: str
    example: str = ""

    @property
    def detail(self) -> str:
        return self.example or self.meaning


PROBLEM_TYPES = {
    "bad-request": ProblemType(400, "HTTP itself was misused.", "Send a well-formed HTTP request."),
    "unreadable-body": ProblemType(400, "The body is not encoded as its headers say."),
    "malformed-json": ProblemType(
        400,
        "The body is not JSON in UTF-8, or nested too deeply; `detail` says what is wrong where.",
        "The body cannot be read as JSON: unexpected end of data: line 1 column 4 (char 3).",
    ),
    "invalid-order": ProblemType(
        400,
        "Fields are missing, wrong or unknown; `detail` names each.",
        "Correct these fields: amount: Input should be greater than or equal to 1.",
    ),
    "unknown-account": ProblemType(400, "This account is not configured: add it to PORTONE_ACCOUNTS."),
    "unknown-tier": ProblemType(
        400, "This tier is not configured for the account.", "This tier is not configured: add it to PORTONE_TIERS."
    ),
    "invalid-parameters": ProblemType(
        400,
        "Parameters in the address are wrong or unknown; `detail` names each.",
        "Correct these parameters: limit: Input should be less than or equal to 500.",
    ),
    "unknown-cursor": ProblemType(
        400,
        "This cursor is beyond the feed, so it is another database's: begin again without it, or with after=now.",
    ),
    "malformed-cursor": ProblemType(
        400, "Send `next` of the page before as cursor, with the same parameters as for that page."
    ),
    "malformed-if-match": ProblemType(400, "Send If-Match as the order's ETag, quotes included."),
    "malformed-if-none-match": ProblemType(400, "Send If-None-Match as the order's ETag, quotes included."),
    "malformed-idempotency-key": ProblemType(
        400, "Send one Idempotency-Key of 1 to 255 printable ASCII characters, in quotes."
    ),
    "unusable-notice": ProblemType(
        400,
        "The notice names no usable payment. Nothing was kept.",
        "The notice names no usable payment. (the body is neither JSON nor a form)",
    ),
    "unusable-merchant-uid": ProblemType(400, "merchant_uid must be 1 to 255 characters without control ones."),
    "wrong-amount": ProblemType(400, "The amount that was paid is not the order's."),
    "wrong-currency": ProblemType(400, "The currency that was paid is not the order's."),
    "wrong-store": ProblemType(400, "The payment was made in another store than the order's."),
    "test-channel": ProblemType(400, "The payment was made on a test channel, so no money moved."),
    "billing-key-issue": ProblemType(400, "The payment only issued a billing key, so it does not count as paid."),
    "other-order": ProblemType(400, "The payment is not for this order."),
    "payment-failed": ProblemType(400, "The payment failed; start another one."),
    "payment-unknown": ProblemType(400, "PortOne knows no such payment."),
    "service-key": ProblemType(
        401,
        "The service key is missing, wrong, revoked or expired.",
        "Send a service key as 'Authorization: Bearer …'.",
    ),
    "checkout-token": ProblemType(
        401,
        "The checkout token is missing, is another order's, or has ended.",
        "Send this order's checkout_token as 'Authorization: Bearer …'.",
    ),
    "missing-scope": ProblemType(
        403, "The service key may not do this.", "This service key lacks the scope orders:write."
    ),
    "not-found": ProblemType(404, "There is nothing at this address."),
    "order-not-registered": ProblemType(404, "No order is registered under this merchant_uid."),
    "method-not-allowed": ProblemType(405, "The address takes other methods.", "Use GET, HEAD here."),
    "body-not-finished": ProblemType(408, "Send the whole body within 5 seconds."),
    "idempotency-key-in-use": ProblemType(
        409, "The first call with this Idempotency-Key is still running: call again a little later."
    ),
    "other-terms": ProblemType(
        409,
        "The number is registered already, with other terms. Nothing was changed.",
        "This merchant_uid is registered already, with other terms. (amount)",
    ),
    "order-closed": ProblemType(
        409,
        "The order is closed, so its terms stay as they are: register another one.",
        "The order is closed: register another one. (expired)",
    ),
    "money-came": ProblemType(409, "The order has been paid, so it can be neither changed nor withdrawn."),
    "deposit-awaited": ProblemType(
        409,
        "An account that was issued for the order still takes a deposit: cancel it at PortOne first, or use force.",
    ),
    "not-acceptable": ProblemType(
        409,
        "This payment cannot be accepted as it is; `detail` says why. Nothing was changed.",
        "This payment cannot be accepted as it is. (its refund was asked for)",
    ),
    "order-archived": ProblemType(
        410,
        "The order is old, and was moved to an archive, which `detail` names. Its history is still here.",
        "The order was archived: `portone-orders archive restore` brings it back. (2025, 2026-11-27)",
    ),
    "version-moved": ProblemType(
        412, "The order has changed since it was read: read it again, and send its new ETag as If-Match."
    ),
    "body-too-large": ProblemType(413, "The body is longer than it may be.", "Send a body of at most 64 KiB."),
    "not-json": ProblemType(415, "Send the order as application/json."),
    "unknown-expectation": ProblemType(417, "Send no other Expect than 100-continue."),
    "idempotency-key-reused": ProblemType(
        422, "This Idempotency-Key was used for another call: take a new one for each."
    ),
    "if-match-required": ProblemType(428, "Send the ETag that the order was read with as If-Match."),
    "too-many-calls": ProblemType(
        429, "More calls than the limits of one client, or of all together, allow.", "Call again a little later."
    ),
    "internal-error": ProblemType(500, "A fault in this program.", "Something went wrong here; try again."),
    "too-many-webhooks": ProblemType(
        503, "More webhooks than the limits allow; not recorded.", "Send this again a little later."
    ),
    "nothing-recorded": ProblemType(
        503,
        "The notice could not be recorded anywhere; send it again.",
        "The notice could not be recorded anywhere; send it again. (neither Postgres nor Redis can be reached)",
    ),
    "feed-held-back": ProblemType(503, "It is not known yet up to which event the feed can be read; try again."),
    "postgres-away": ProblemType(
        503, "Postgres cannot be reached now. Nothing was changed.", "Postgres cannot be reached now."
    ),
    "pooler-unfit": ProblemType(
        503,
        "The pooler before Postgres is not set as it must be. Nothing was changed.",
        "The pooler before Postgres is not set as it must be. (a pooler before it loses prepared statements)",
    ),
    "portone-not-asked": ProblemType(
        503, "PortOne could not be asked in time whether money has come; try again. Nothing was changed."
    ),
    "overloaded": ProblemType(503, "Too many calls of this kind are waiting; call again a little later."),
}

# Any endpoint that reads or writes orders.
POSTGRES_PROBLEMS = ("postgres-away", "pooler-unfit")
DATABASE_PROBLEMS = (*POSTGRES_PROBLEMS, "overloaded")
# Any address may answer these too, so that no endpoint lists them.
GENERAL = ("not-found", "method-not-allowed", "bad-request", "unknown-expectation")
# A caller that waits as long as Retry-After says may succeed.
RETRIED = frozenset({429, 503})
