"""Answers to what browsers call tell the limit and what is left of it."""

import pytest

from service.settings import Settings
from tests.running import bearer, running_receiver

COMPLETION = {"imp_uid": "imp_1", "merchant_uid": "order-1"}


@pytest.mark.usefixtures("still_limits")
@pytest.mark.parametrize(
    ("method", "path", "name", "statuses"),
    [
        ("POST", "/payment/complete", "completions", [202, 202, 202]),  # beyond its rate a call does not wait
        ("GET", "/payment-redirect", "completions", [200, 200, 200]),
        ("GET", "/checkout/order-1", "checkout", [401, 401, 429]),
    ],
)
async def test_an_answer_tells_the_limit(
    settings: Settings, method: str, path: str, name: str, statuses: list[int]
) -> None:
    """Each answer has the policy, and what remains: refusals too."""
    limits = {"completions_per_client": 2.0, "checkouts_per_client": 2.0, "completion_wait_seconds": 0.0}
    seen = []
    async with running_receiver(settings.model_copy(update=limits)) as receiver:
        for _ in statuses:
            body = COMPLETION if method == "POST" else None
            query = COMPLETION if method == "GET" else None
            async with receiver.session.request(method, receiver.url + path, json=body, params=query) as answer:
                assert answer.headers["RateLimit-Policy"] == f'"{name}";q=2;w=1'
                seen.append((answer.status, answer.headers["RateLimit"]))
    left = [f'"{name}";r={remaining};t=1' for remaining in (1, 0, 0)]
    assert seen == list(zip(statuses, left, strict=True))


async def test_a_rate_below_one_has_a_longer_window(settings: Settings) -> None:
    """A quota is a whole number, so a slow rate is told as one call in several seconds."""
    slow = settings.model_copy(update={"checkouts_per_client": 0.4})
    async with running_receiver(slow) as receiver, receiver.session.get(f"{receiver.url}/checkout/order-1") as answer:
        assert answer.headers["RateLimit-Policy"] == '"checkout";q=1;w=3'


async def test_other_answers_have_no_limit_to_tell(settings: Settings) -> None:
    """Webhooks, and what needs a service key, are answered without these fields."""
    async with running_receiver(settings) as receiver:
        for method, path in (("POST", "/webhooks/portone/v1"), ("GET", "/orders/order-1")):
            async with receiver.session.request(method, receiver.url + path, headers=bearer()) as answer:
                assert "RateLimit" not in answer.headers
