"""The parameters of request_pay take effect in the payment: docs/portone.md §5."""

from typing import Any

import pytest

from tests.sandbox.browser.conftest import PageCaller
from tests.sandbox.conftest import Shop


async def test_the_payment_is_ready_before_the_window_shows(page: PageCaller) -> None:
    """So that there is an imp_uid when the buyer closes it."""
    await page.open()
    payment = await page.payment()
    assert (payment["status"], payment["amount"], payment["currency"], payment["pay_method"]) == (
        "ready",
        64900,
        "KRW",
        "card",
    )


@pytest.mark.parametrize("length", [1, 40, 41, 44, 255])
async def test_an_order_number_may_have_255_characters(page: PageCaller, length: int) -> None:
    """The guide's own has 44."""
    assert (await page.end("paid", {"merchant_uid": "x" * length}))["merchant_uid"] == "x" * length


@pytest.mark.parametrize("merchant_uid", ["", "x" * 256, None])
async def test_other_order_numbers_open_no_window(page: PageCaller, merchant_uid: str | None) -> None:
    """The callback gets a sentence, and imp_uid null."""
    refused = await page.ask({"merchant_uid": merchant_uid})
    assert (refused["window"], refused["data"]["imp_uid"]) == (None, None)
    assert refused["data"]["error_msg"] == "merchant_uid는 1자 이상 255자 이하의 문자열이어야 합니다."


@pytest.mark.parametrize(
    ("params", "field", "value"),
    [
        ({"buyer_email": "a@b.example"}, "buyer_email", "a@b.example"),
        ({"buyer_addr": "서울"}, "buyer_addr", "서울"),
        ({"currency": "USD", "amount": 6.5}, "amount", 6.5),
        ({"currency": "USD", "amount": 6.5}, "currency", "USD"),
        ({"currency": ""}, "currency", "KRW"),
        ({"amount": "64900"}, "amount", 64900),
        ({"merchant_uid": 42}, "merchant_uid", "42"),
        ({"tax_free": 1000}, "tax_free", 1000),
        ({"vat_amount": 500}, "vat_amount", 500),
        ({"custom_data": {"a": 1}}, "custom_data", '{"a":1}'),
        ({"custom_data": "text"}, "custom_data", '"text"'),
        ({"escrow": True}, "escrow", True),
        ({"pay_method": "samsungpay"}, "pay_method", "samsung"),
        ({"customer_uid": "card-1"}, "customer_uid_usage", "issue"),
        ({"name": "긴" * 2000}, "name", "긴" * 1000),
    ],
)
async def test_parameters_take_effect_in_the_payment(
    page: PageCaller, params: dict[str, Any], field: str, value: Any
) -> None:
    """The payment shows them as PortOne does."""
    await page.open(params)
    assert (await page.payment())[field] == value


async def test_every_parameter_is_accepted(page: PageCaller) -> None:
    """Parameters of single providers, and unknown ones, change nothing here."""
    others = {
        "digital": True, "language": "en", "app_scheme": "shop://done", "biz_num": "1234567890", "popup": True,
        "period": {"interval": "1m"}, "display": {"card_quota": [6]}, "card": {"direct": {"code": "361", "quota": 0}},
        "bypass": {"a": {"b": [None]}}, "naverPopupMode": True, "useCardPoint": False, "cashReceiptType": "personal",
        "company": "가게", "extra": [], "products": [{"id": "1", "unitPrice": 1, "quantity": 1}], "unheard_of": {},
    }  # fmt: skip
    assert (await page.end("paid", others))["status"] == "paid"


@pytest.mark.parametrize(
    ("text", "due_at"),
    [
        ("2027-03-01", 1803913199),
        ("20270301", 1803913199),
        ("2027-03-01 10:30:00", 1803864600),
        ("20270301103000", 1803864600),
        ("202703011030", 1803864600),
    ],
)
async def test_vbank_due_is_read_in_all_its_forms(page: PageCaller, text: str, due_at: int) -> None:
    """In Korea's time; a day alone is its end."""
    await page.end("vbank_issued", {"vbank_due": text})
    assert (await page.payment())["vbank_date"] == due_at


@pytest.mark.parametrize("text", ["soon", "", None, "2027-13-01", 20270301.5])
async def test_an_unreadable_vbank_due_is_the_usual_time(page: PageCaller, text: Any) -> None:
    """Three days."""
    await page.end("vbank_issued", {"vbank_due": text})
    payment = await page.payment()
    assert payment["vbank_date"] == payment["vbank_issued_at"] + 3 * 24 * 3600


async def test_notice_url_takes_the_place_of_the_consoles(page: PageCaller, shop: Shop) -> None:
    """The console's gets nothing then."""
    await page.end("webhook_first", {"notice_url": f"{shop.url}/own"})
    assert [arrival.path for arrival in shop.so_far()] == ["/hook/own"]


async def test_notice_url_may_be_an_array(page: PageCaller, shop: Shop) -> None:
    """Each of its addresses gets the webhook."""
    await page.end("webhook_first", {"notice_url": [f"{shop.url}/a", f"{shop.url}/b"]})
    assert sorted(arrival.path for arrival in shop.so_far()) == ["/hook/a", "/hook/b"]


@pytest.mark.parametrize("name", ["notice_url", "confirm_url"])
async def test_a_page_cannot_send_the_sandbox_elsewhere(page: PageCaller, name: str) -> None:
    """An address beyond this machine opens no window, and the callback says why."""
    for given in ("http://shop.example/hook", "http://10.0.0.7/", "file:///etc/passwd"):
        refused = await page.ask({name: given})
        assert refused["window"] is None
        assert refused["data"]["error_msg"].startswith(f"{name}을(를) 호출할 수 없습니다")
    assert await page.payments() == []


async def test_an_accounts_name_is_its_user_code(page: PageCaller) -> None:
    """Nobody's code is the default account's, unless the sandbox is strict."""
    await page.open(user_code="{고객사 식별코드}")
    assert (await page.payment())["account"] == "default"


async def test_a_window_is_found_by_its_secret_id_alone(page: PageCaller) -> None:
    """Another page cannot guess it."""
    await page.open()
    for path in ("/state", ""):
        assert (await page.caller.session.get(f"{page.caller.url}/v1/windows/imp_1{path}")).status == 404
    refused = await page.caller.call("POST", "/v1/windows/guessed/outcome", json={"outcome": "paid"})
    assert refused.status == 404


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "other"},
        {"device": "watch"},
        {"mode": "tab"},
        {"outcome": "won"},
        {"page_origin": "javascript:alert(1)"},
        {"params": []},
        {"more": 1},
    ],
)
async def test_a_frame_that_asks_nonsense_is_told_in_one_sentence(page: PageCaller, asked: dict[str, Any]) -> None:
    """400, and no payment."""
    base = {"page_origin": "http://localhost:3000", "params": {"merchant_uid": "a", "amount": 1}}
    refused = await page.caller.call("POST", "/v1/windows", json=base | asked)
    assert (refused.status, refused.content["error"][-1]) == (400, ".")
    assert await page.payments() == []
