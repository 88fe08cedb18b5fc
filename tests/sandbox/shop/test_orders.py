"""The shop's back end makes the number, sets the price, and registers the order with the service key."""

from typing import Any

import pytest

from sandbox.shop.catalogue import GOODS, MOST_OF_ONE
from tests.running import bearer
from tests.sandbox.shop.conftest import ShopCaller


async def test_an_order_is_registered_at_the_catalogues_price(shop: ShopCaller) -> None:
    """The service holds the order in its smallest unit; the page is given the amount in the currency's own."""
    for good, quantity, amount, minor in (("chair", 2, 129800, 129800), ("book", 3, 18.0, 1800)):
        choice = {"good": good, "quantity": quantity, "language": "en"}
        status, checkout = await shop.call("POST", "/api/orders", json=choice)
        assert (status, checkout["amount"]) == (201, amount)
        order = await shop.service.read(checkout["merchant_uid"])
        assert (order["amount"], order["currency"]) == (minor, checkout["currency"])
        assert order["name"] == checkout["name"] == f"{GOODS[good].name_en} × {quantity}"
        assert (order["state"], order["metadata"]) == ("pending", {"good": good, "quantity": quantity})


async def test_the_page_learns_an_orders_state_from_the_service(shop: ShopCaller) -> None:
    """The order is read with the key that the back end holds, and comes with what another attempt needs."""
    merchant_uid = await shop.order(good="lamp")
    await shop.sandbox.pay(merchant_uid, 28000)
    await shop.service.becomes(merchant_uid, state="paid")
    status, body = await shop.call("GET", f"/api/orders/{merchant_uid}")
    assert (status, body["order"]["state"], body["order"]["paid_amount"]) == (200, "paid", 28000)
    assert body["checkout"]["amount"] == 28000
    assert (await shop.call("GET", "/api/orders/nobodys"))[0] == 404


async def test_a_page_reads_its_orders_state_with_a_token(shop: ShopCaller) -> None:
    """The page gets a token with its order, and another by asking; each opens the order's state at the service."""
    status, checkout = await shop.call("POST", "/api/orders", json={"good": "lamp"})
    merchant_uid = checkout["merchant_uid"]
    renewed = await shop.call("POST", f"/api/orders/{merchant_uid}/token", json={})
    assert (status, renewed[0]) == (201, 200)
    for token in (checkout["checkout_token"], renewed[1]["checkout_token"]):
        answer = await shop.service.call("GET", f"/checkout/{merchant_uid}", headers=bearer(token))
        assert (answer[0], answer[1]["state"]) == (200, "pending")
    assert (await shop.call("POST", "/api/orders/nobodys/token", json={}))[0] == 502
    assert (await shop.service.read(merchant_uid))["version"] == 1  # another token changes nothing


@pytest.mark.parametrize(
    "choice",
    [
        {"good": "chair", "amount": 1},
        {"good": "yacht"},
        {"good": "chair", "quantity": 0},
        {"good": "chair", "quantity": MOST_OF_ONE + 1},
        {"good": "chair", "quantity": "2"},
        {"good": "chair", "language": "fr"},
        {"good": "chair", "merchant_uid": "mine"},
    ],
)
async def test_a_page_sets_neither_price_nor_number(shop: ShopCaller, choice: dict[str, Any]) -> None:
    """Anything but a good, a quantity and a language is 400, with one sentence."""
    status, body = await shop.call("POST", "/api/orders", json=choice)
    assert (status, body["error"][-1]) == (400, ".")


async def test_a_foreign_page_cannot_order_or_report(shop: ShopCaller) -> None:
    """Another origin is 403, and a body that a form could send is 415."""
    merchant_uid = await shop.order()
    for path, body in (("/api/orders", {}), (f"/api/orders/{merchant_uid}/seen", {"kind": "page.callback"})):
        foreign = {"Origin": "http://elsewhere.example"}
        assert (await shop.call("POST", path, json=body, headers=foreign))[0] == 403
        assert (await shop.call("POST", path, data={"good": "chair"}))[0] == 415
        assert (await shop.call("POST", path, json=body, headers={"Origin": shop.sandbox.url}))[0] in (200, 201)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "order.version"},
        {"kind": "page.callback", "evidence": []},
        {"kind": "page.callback", "at": -1},
    ],
)
async def test_a_page_reports_only_what_pages_see(shop: ShopCaller, body: dict[str, Any]) -> None:
    """A report of another kind, or of another shape, is 400 and no event."""
    merchant_uid = await shop.order()
    assert (await shop.call("POST", f"/api/orders/{merchant_uid}/seen", json=body))[0] == 400
    too_much = {"kind": "page.callback", "evidence": {"text": "x" * 9000}}
    assert (await shop.call("POST", f"/api/orders/{merchant_uid}/seen", json=too_much))[0] == 400
