"""The result that a page is told, by callback and by redirect: docs/portone.md §5."""

from typing import Any

import pytest

from sandbox.browser.providers import PAYMENT_PROVIDERS
from tests.sandbox.browser.conftest import PAGE_ORIGIN, PageCaller

SHORT = ("tosspayments", "smartro_v2", "nice_v2", "paypal_v2", "ksnet", "welcome")
LONG = tuple(provider.code for provider in PAYMENT_PROVIDERS if provider.code not in SHORT)
# A captured success of KakaoPay's, without the values.
LONG_KEYS = {
    "success", "imp_uid", "merchant_uid", "pay_method", "currency", "name", "pg_provider", "pg_type", "pg_tid",
    "apply_num", "buyer_name", "buyer_email", "buyer_tel", "buyer_addr", "buyer_postcode", "custom_data", "status",
    "paid_amount", "paid_at", "receipt_url", "card_name", "bank_name", "card_quota", "card_number",
}  # fmt: skip


@pytest.mark.parametrize("provider", SHORT)
async def test_the_short_callback_has_two_ids_on_success_and_the_error_on_failure(
    page: PageCaller, provider: str
) -> None:
    """The provider decides the shape, not the script's version alone."""
    paid = await page.end("paid", provider=provider)
    assert paid.keys() == {"imp_uid", "merchant_uid"}
    failed = await page.end("failed", {"merchant_uid": "order-2"}, provider=provider)
    assert failed.keys() == {"imp_uid", "merchant_uid", "error_code", "error_msg"}


@pytest.mark.parametrize("provider", LONG)
async def test_the_long_callback_tells_success_status_and_the_facts(page: PageCaller, provider: str) -> None:
    """All other providers, also with the new script."""
    told = await page.end("paid", provider=provider)
    assert told.keys() | {"success"} >= LONG_KEYS
    assert (told["success"], told["status"], told["paid_amount"], told["pg_type"]) == (True, "paid", 64900, "payment")
    assert told["pg_provider"] == provider


@pytest.mark.parametrize("provider", [*SHORT, *LONG])
@pytest.mark.parametrize("outcome", ["paid", "vbank_issued"])
async def test_a_success_has_no_error_code(page: PageCaller, provider: str, outcome: str) -> None:
    """The guide's page takes any value but null, the empty text and 0 too, for a failure."""
    assert "error_code" not in await page.end(outcome, provider=provider)


async def test_unknown_texts_are_empty_and_few_are_null(page: PageCaller) -> None:
    """Buyer fields are empty, custom_data, card_name and bank_name null, as in a captured success of KakaoPay's."""
    told = await page.end("paid", {"pay_method": "kakaopay"}, provider="kakaopay")
    assert {told[name] for name in ("buyer_name", "buyer_email", "buyer_tel", "buyer_addr", "buyer_postcode")} == {""}
    assert [told[name] for name in ("custom_data", "card_name", "bank_name")] == [None] * 3
    assert told["emb_pg_provider"] == "kakaopay"


async def test_what_the_page_gave_is_told_again(page: PageCaller) -> None:
    """The buyer, and custom_data as a JSON text."""
    given = {"buyer_name": "홍길동", "buyer_tel": "010-4242-4242", "custom_data": {"seat": [1, "나"]}}
    told = await page.end("paid", given)
    assert (told["buyer_name"], told["buyer_tel"], told["custom_data"]) == (
        "홍길동",
        "010-4242-4242",
        '{"seat":[1,"나"]}',
    )


@pytest.mark.parametrize(("device", "name"), [("pc", "success"), ("mobile", "imp_success")])
async def test_the_long_callback_says_success_on_a_pc_and_imp_success_on_a_phone(
    page: PageCaller, device: str, name: str
) -> None:
    """The two words are those of the same provider's window, which stays in the page."""
    told = await page.end("paid", provider="danal_tpay", device=device)
    assert told[name] is True
    assert len({"success", "imp_success"} & told.keys()) == 1


async def test_an_issued_account_is_a_success_in_ready(page: PageCaller) -> None:
    """With the account's number, bank, holder and due time, though nothing is paid."""
    told = await page.end("vbank_issued", {"pay_method": "vbank", "vbank_due": "2027-03-01"})
    assert (told["success"], told["status"], told["paid_at"]) == (True, "ready", 0)
    assert (told["vbank_name"], told["vbank_date"]) == ("KB국민은행", "2027-03-01 23:59:59")
    assert told["vbank_num"]
    assert told["vbank_holder"]
    assert (await page.payment())["status"] == "ready"


@pytest.mark.parametrize(
    ("provider", "code", "sentence", "status"),
    [
        ("kakaopay", None, "[결제포기] 사용자가 결제를 취소하셨습니다", "failed"),
        ("danal", "USER_CANCEL", "[결제포기] 사용자가 결제를 취소하셨습니다", "ready"),
        ("html5_inicis", "01", "F0005:결제가 중단되었습니다({}).01 | 사용자가 결제를 취소 하였습니다.", "failed"),
        ("tosspayments", "PAY_PROCESS_CANCELED", "사용자에 의해 결제가 취소되었습니다.", "ready"),
    ],
)
async def test_closing_the_window_is_a_failure_with_an_imp_uid(
    page: PageCaller, provider: str, code: str | None, sentence: str, status: str
) -> None:
    """At some providers the payment fails with that reason, at the others it stays ready; the code may be missing."""
    told = await page.end("closed", provider=provider)
    payment = await page.payment()
    assert told["imp_uid"] == payment["imp_uid"]
    assert (told.get("error_code"), told["error_msg"]) == (code, sentence.format(payment["imp_uid"]))
    assert (payment["status"], payment["fail_reason"]) == (status, told["error_msg"] if status == "failed" else None)


@pytest.mark.parametrize(("provider", "code"), [("html5_inicis", "8320"), ("tosspayments", "REJECT_CARD_COMPANY")])
async def test_a_refused_card_is_told_in_the_providers_raw_words(page: PageCaller, provider: str, code: str) -> None:
    """There is no common table of codes; the payment keeps the sentence."""
    told = await page.end("failed", provider=provider)
    assert (told["error_code"], told["error_msg"]) == (code, (await page.payment())["fail_reason"])


async def test_a_paid_order_is_refused_with_f1002_exactly(page: PageCaller) -> None:
    """The object is the captured one; no window opens and no payment is made."""
    await page.end("paid")
    refused = await page.ask({})
    assert refused["window"] is None
    assert refused["data"] == {
        "success": False,
        "imp_uid": None,
        "merchant_uid": "order-1",
        "error_code": "F1002",
        "error_msg": "이미 결제가 이루어진 거래건입니다.",
    }
    assert len(await page.payments()) == 1


@pytest.mark.parametrize(
    ("asked", "opens"),
    [
        ({"amount": 64900}, True),
        ({"amount": 100}, False),
        ({"amount": 64900, "currency": "JPY"}, False),
    ],
)
async def test_a_window_for_another_amount_or_currency_than_prepared_does_not_open(
    page: PageCaller, asked: dict[str, Any], opens: bool
) -> None:
    """The imp_uid is null, because nothing was made."""
    prepared = {"merchant_uid": "order-1", "amount": 64900, "currency": "KRW"}
    assert (await page.caller.call("POST", "/payments/prepare", json=prepared)).code == 0
    answered = await page.ask(asked)
    assert (answered["window"] is not None) is opens
    assert len(await page.payments()) == int(opens)
    if not opens:
        assert answered["data"]["imp_uid"] is None


async def test_preparing_guards_windows_and_not_payments_by_api(page: PageCaller) -> None:
    """A currency that was not prepared is not compared."""
    await page.caller.call("POST", "/payments/prepare", json={"merchant_uid": "order-1", "amount": 64900})
    assert (await page.ask({"currency": "JPY"}))["window"] is not None
    assert await page.caller.pay("order-1", 100, force=True)


async def test_a_redirect_tells_both_ids_and_imp_success(page: PageCaller) -> None:
    """All as texts."""
    query = await page.returned("paid")
    payment = await page.payment()
    assert query == {"imp_uid": payment["imp_uid"], "merchant_uid": "order-1", "imp_success": "true"}


async def test_a_failed_redirect_tells_the_error(page: PageCaller) -> None:
    """error_code and error_msg, beside imp_success=false."""
    query = await page.returned("failed")
    assert (query["imp_success"], query["error_code"], query["error_msg"]) == (
        "false",
        "8320",
        "카드사 승인이 거절되었습니다.",
    )


async def test_an_issued_account_is_imp_success_true(page: PageCaller) -> None:
    """Though nothing is paid."""
    assert (await page.returned("vbank_issued"))["imp_success"] == "true"


async def test_kiwoompay_may_say_false_of_a_payment_that_ends_paid(page: PageCaller) -> None:
    """Its approval is asynchronous."""
    await page.caller.control("window", later_seconds=0)
    assert (await page.returned("slow", provider="daou"))["imp_success"] == "false"
    while (await page.caller.control("webhooks", "GET")).content["waiting"]:
        pass
    assert (await page.payment())["status"] == "paid"


async def test_an_inicis_transfer_says_neither_success_nor_imp_success(page: PageCaller) -> None:
    """The two ids alone."""
    assert (await page.returned("paid", {"pay_method": "trans"})).keys() == {"imp_uid", "merchant_uid"}


@pytest.mark.parametrize("provider", SHORT)
async def test_the_current_pages_redirect_has_the_ids_alone(page: PageCaller, provider: str) -> None:
    """Providers of the short shape."""
    assert (await page.returned("paid", provider=provider)).keys() == {"imp_uid", "merchant_uid"}


async def test_certification_redirects_with_success(page: PageCaller) -> None:
    """imp_uid, merchant_uid and success."""
    query = await page.returned("paid", kind="certification", provider="danal")
    assert query.keys() == {"imp_uid", "merchant_uid", "success"}
    assert query["success"] == "true"


@pytest.mark.parametrize(
    ("address", "start"),
    [
        (f"{PAGE_ORIGIN}/back", f"{PAGE_ORIGIN}/back?imp_uid="),
        (f"{PAGE_ORIGIN}/back?a=1&b=%ED%95%9C", f"{PAGE_ORIGIN}/back?a=1&b=%ED%95%9C&imp_uid="),
        ("/back", f"{PAGE_ORIGIN}/back?imp_uid="),
        ("back", f"{PAGE_ORIGIN}/shop/back?imp_uid="),
    ],
)
async def test_the_redirect_keeps_the_addresss_own_query(page: PageCaller, address: str, start: str) -> None:
    """It is a 302 by GET, and a relative address is the page's."""
    window = await page.open({"m_redirect_url": address}, device="mobile", mode="redirect")
    await page.choose(window, "paid")
    assert (await page.location(window)).startswith(start)


async def test_values_are_encoded_once_as_utf_8(page: PageCaller) -> None:
    """An order's number may have characters that mean something in a query."""
    window = await page.open({"m_redirect_url": f"{PAGE_ORIGIN}/back", "merchant_uid": "주문 1&a=%41"}, mode="redirect")
    await page.choose(window, "failed")
    location = await page.location(window)
    assert "merchant_uid=%EC%A3%BC%EB%AC%B8%201%26a%3D%2541&" in location
    assert "error_msg=%EC%B9%B4%EB%93%9C%EC%82%AC%20%EC%8A%B9%EC%9D%B8" in location


@pytest.mark.parametrize("address", ["javascript:alert(1)", "app://done", "http://[", "http://a b/", "", 42])
async def test_without_a_usable_redirect_address_the_result_is_lost(page: PageCaller, address: Any) -> None:
    """The window ends on a page of PortOne's that says so."""
    window = await page.open({"m_redirect_url": address}, device="mobile", mode="redirect")
    await page.choose(window, "paid")
    answered = await page.caller.session.get(f"{page.caller.url}/v1/windows/{window}/return", allow_redirects=False)
    assert answered.status == 200
    assert "결제 결과를 받을 곳이 없어요" in await answered.text()
