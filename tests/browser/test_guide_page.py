"""A page in the manner of PortOne's guide, with PortOne's own script address, against the sandbox alone."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.browser.guide_page import buy_on_guide_page
from tests.browser.visitor import Visitor


async def only_payment(visitor: Visitor) -> dict[str, Any]:
    payments = (await visitor.sandbox.control("GET", "payments"))["payments"]
    assert len(payments) == 1
    payment: dict[str, Any] = payments[0]
    return payment


async def test_the_guides_page_pays_by_callback(desktop: Visitor) -> None:
    """Its placeholders and its order number of 44 characters open a window that ends in a paid V1 payment."""
    desktop.merchant.answer = {"state": "paid"}
    await buy_on_guide_page(desktop, desktop.merchant.origin)
    await desktop.choose("paid")
    await desktop.page.get_by_text("200 paid").wait_for()
    payment = await only_payment(desktop)
    assert (payment["status"], payment["amount"], payment["currency"]) == ("paid", 64900, "KRW")
    assert (payment["name"], payment["buyer_name"], payment["buyer_postcode"]) == (
        "노르웨이 회전 의자",
        "홍길동",
        "01181",
    )
    assert len(payment["merchant_uid"]) == 44
    assert await desktop.merchant.next_post() == ("/orders", {"merchant_uid": payment["merchant_uid"]})
    completion = {"imp_uid": payment["imp_uid"], "merchant_uid": payment["merchant_uid"]}
    assert await desktop.merchant.next_post() == ("/payment/complete", completion)


async def test_the_guides_page_pays_by_redirect_on_a_phone(phone: Visitor) -> None:
    """On a phone's user agent the browser comes back to m_redirect_url, with both ids in the query."""
    await buy_on_guide_page(phone, phone.merchant.origin)
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.wait_for_url("**/payment-redirect?*")
    payment = await only_payment(phone)
    assert payment["status"] == "paid"
    query = {name: values[0] for name, values in parse_qs(urlsplit(phone.page.url).query).items()}
    assert query == {"imp_uid": payment["imp_uid"], "merchant_uid": payment["merchant_uid"], "imp_success": "true"}


async def test_the_guides_page_shows_why_it_failed(desktop: Visitor) -> None:
    """After a refusal `error_code` is there, and `error_msg` is a sentence."""
    await buy_on_guide_page(desktop, desktop.merchant.origin)
    await desktop.choose("failed")
    await desktop.page.get_by_text("failed: 카드사 승인이 거절되었습니다.").wait_for()
    assert (await only_payment(desktop))["status"] == "failed"


async def test_the_guides_sub_store_pays_under_its_tier(desktop: Visitor) -> None:
    """IMP.agency makes the payment one of the sub-store's."""
    desktop.merchant.answer = {"state": "paid"}
    await buy_on_guide_page(desktop, desktop.merchant.origin, tier="123")
    await desktop.choose("paid")
    await desktop.page.get_by_text("200 paid").wait_for()
    payment = await only_payment(desktop)
    assert (payment["tier"], payment["status"]) == ("123", "paid")
