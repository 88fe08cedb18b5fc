"""Orders as examples of the OpenAPI document."""

from typing import Any

_AT = "2026-11-24T05:00:00.000000+00:00"

PENDING: dict[str, Any] = {
    "merchant_uid": "order-1",
    "state": "pending",
    "closed": None,
    "version": 1,
    "amount": 64900,
    "registered_amount": None,
    "currency": "KRW",
    "paid_amount": 0,
    "cancelled_amount": 0,
    "imp_uid": None,
    "problems": [],
    "test_channel": False,
    "allow_billing_key_issue": False,
    "prepared": None,
    "name": None,
    "account": "default",
    "tier": None,
    "metadata": None,
    "expires_at": "2026-12-24T05:00:00.000000+00:00",
    "created_at": _AT,
    "updated_at": _AT,
}
REGISTERED = PENDING | {"checkout_token": "AGtFvYDPq5Q2n1m0X4l7y3c9VhQe"}
_CHANGED = PENDING | {"version": 2, "updated_at": "2026-11-24T05:01:00.000000+00:00"}
_PAYMENT = {
    "imp_uid": "imp_448280090638",
    "status": "paid",
    "amount": 64900,
    "currency": "KRW",
    "cancelled_amount": 0,
    "paid_at": "2026-11-24T05:00:58+00:00",
    "details": {"pay_method": "card", "pg_provider": "html5_inicis"},
}

PAID = _CHANGED | {
    "state": "paid",
    "paid_amount": 64900,
    "imp_uid": _PAYMENT["imp_uid"],
    "payment": _PAYMENT,
}
RECHECKED = {
    "asked_at": "2026-11-24T05:01:00.000000+00:00",
    "changed": True,
    "window_open": False,
    "payments": [_PAYMENT],
    "order": PAID,
}
MISMATCHED = _CHANGED | {
    "state": "mismatched",
    "imp_uid": _PAYMENT["imp_uid"],
    "problems": [{"kind": "wrong_amount", "imp_uid": _PAYMENT["imp_uid"]}],
    "payment": _PAYMENT | {"amount": 100},
}
WITHDRAWN = _CHANGED | {"closed": "withdrawn", "payment": None}
AMENDED = _CHANGED | {"amount": 59900, "payment": None}

_OF_NOBODY = dict.fromkeys(("notice_id", "source", "looked_at", "ticket", "who", "why"))
_VERSION_1 = {
    "version": 1,
    "at": _AT,
    "state": "pending",
    "closed": None,
    "amount": 64900,
    "currency": "KRW",
    "paid_amount": 0,
    "cancelled_amount": 0,
    "imp_uid": None,
    "problems": [],
    "test_channel": False,
    "evidence": _OF_NOBODY | {"cause": "registration", "facts": []},
}
HISTORY = {
    "merchant_uid": "order-1",
    "versions": [
        _VERSION_1,
        _VERSION_1
        | {"version": 2, "at": _CHANGED["updated_at"], "state": "paid", "paid_amount": 64900}
        | {
            "imp_uid": _PAYMENT["imp_uid"],
            "evidence": _OF_NOBODY
            | {
                "cause": "look",
                "notice_id": "019ab4e2-7c61-7d1e-9d55-3f0c8b0a1c11",
                "source": "webhook",
                "looked_at": _CHANGED["updated_at"],
                "ticket": 17,
                "facts": [
                    {
                        "imp_uid": _PAYMENT["imp_uid"],
                        "account": "default",
                        "tier": "",
                        "status": "paid",
                        "amount": 64900,
                        "currency": "KRW",
                        "cancelled_amount": 0,
                        "live": True,
                    }
                ],
            },
        },
    ],
    "next": None,
}

NEW_LEAST = {"merchant_uid": "order-1", "amount": 64900}
NEW_MOST = {
    "merchant_uid": '주문/2026-11-24 "1"',
    "amount": 600,
    "currency": "USD",
    "name": "A book",
    "account": "shop-b",
    "tier": "abc",
    "expires_at": "2026-12-24T00:00:00Z",
    "metadata": {"cart": 17},
    "allow_billing_key_issue": True,
}
FORCED = {"force": True, "who": "kim", "why": "PortOne is down, and the buyer called"}
ACCEPTED = {"imp_uid": "imp_448280090638", "who": "kim", "why": "a shipping fee was added"}

BATCH_REGISTERED = {"merchant_uid": "order-1", "status": 201, "order": REGISTERED, "problem": None}
BATCH_REFUSED = {
    "merchant_uid": '주문/2026-11-24 "1"',
    "status": 409,
    "order": None,
    "problem": {
        "type": "urn:portone-orders:problem:other-terms",
        "title": "Conflict",
        "status": 409,
        "detail": "This merchant_uid is registered already, with other terms. (amount)",
    },
}
