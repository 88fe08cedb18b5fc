"""The payment window: the buyer's way through it, its outcomes, the autopilot, and how it opens on each device."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FrameLocator, Page

from tests.browser.merchant import PLAIN
from tests.browser.visitor import OPEN_FRAME, Visitor

OUTCOMES = [
    "paid", "vbank_issued", "failed", "closed", "tampered_amount", "tampered_currency", "test_channel", "slow",
    "paid_without_webhook", "webhook_first", "callback_first", "paid_then_refunded",
]  # fmt: skip
STAYS_IN_THE_PAGE = ["danal", "danal_tpay", "smilepay", "payco", "bluewalnut", "settle_acc"]


async def open_window(visitor: Visitor, **params: Any) -> FrameLocator:
    await visitor.visit_plain_page()
    await visitor.init()
    await visitor.request_pay(**params)
    return visitor.window


async def modes(visitor: Visitor) -> list[str]:
    """Return how the windows so far have opened."""
    return [window["mode"] for window in (await visitor.sandbox.control("GET", "window"))["windows"]]


async def payment(visitor: Visitor) -> dict[str, Any]:
    (found,) = (await visitor.sandbox.control("GET", "payments"))["payments"]
    known: dict[str, Any] = found
    return known


async def test_every_outcome_has_one_button(desktop: Visitor) -> None:
    """A page's own tests find them by `data-outcome`."""
    window = await open_window(desktop)
    await window.locator("[data-outcome=paid]").wait_for()
    found = await window.locator("[data-outcome]").evaluate_all("(all) => all.map((one) => one.dataset.outcome)")
    assert found == OUTCOMES


@pytest.mark.parametrize(
    ("company", "way", "fields"),
    [
        ("KB국민카드", "ISP 인증", ["인증서", "비밀번호"]),
        ("신한카드", "안심클릭(MPI)", ["카드번호", "CVC", "안심클릭 비밀번호"]),
        ("신한카드", "간편결제", ["결제 비밀번호 6자리"]),
    ],
)
async def test_a_buyer_goes_from_the_provider_to_the_result(
    desktop: Visitor, company: str, way: str, fields: list[str]
) -> None:
    """The way is method, card company, authentication (ISP, MPI or simple pay), approval and result."""
    window = await open_window(desktop)
    await window.get_by_role("heading", name="어느 카드로 결제할까요?").wait_for()
    await window.get_by_role("button", name=company).click()
    await window.get_by_role("heading", name=f"{company} 결제").wait_for()
    await window.get_by_role("button", name=way).click()
    for label in fields:
        await window.get_by_label(label, exact=True).wait_for()
    await window.get_by_role("button", name="64,900원 결제하기").click()
    await window.get_by_role("heading", name="결제가 끝났어요").wait_for()
    await window.get_by_role("button", name="상점으로 돌아가기").click()
    assert (await desktop.result())["status"] == "paid"


async def test_a_buyer_can_go_back_a_step(desktop: Visitor) -> None:
    """From the authentication to the card company and to the provider's window."""
    window = await open_window(desktop)
    await window.get_by_role("button", name="BC카드").click()
    await window.get_by_role("button", name="ISP").click()
    await window.get_by_role("button", name="이전").click()
    await window.get_by_role("heading", name="BC카드 결제").wait_for()
    await window.get_by_role("button", name="이전").click()
    await window.get_by_role("heading", name="어느 카드로 결제할까요?").wait_for()


@pytest.mark.parametrize(
    ("params", "heading"),
    [
        ({"pg": "kakaopay"}, "간편결제 비밀번호"),
        ({"pay_method": "phone", "digital": True}, "휴대폰 인증"),
        ({"pay_method": "trans"}, "어느 은행을 쓸까요?"),
    ],
)
async def test_the_first_step_is_the_methods_own(desktop: Visitor, params: dict[str, Any], heading: str) -> None:
    """A simple pay asks for its password, a phone bill for the phone, a transfer for the bank."""
    window = await open_window(desktop, **params)
    await window.get_by_role("heading", name=heading).wait_for()


async def test_a_virtual_account_is_issued_and_paid_into_later(desktop: Visitor) -> None:
    """The result links to the page for the deposit, which opens beside the shop."""
    window = await open_window(desktop, pay_method="vbank", vbank_due="2027-03-01")
    await window.get_by_role("button", name="신한은행").click()
    await window.get_by_role("heading", name="가상계좌가 발급됐어요").wait_for()
    async with desktop.context.expect_page() as opened:
        await window.get_by_role("link", name="나중에 입금하는 화면").click()
    bank = await opened.value
    await window.get_by_role("button", name="상점으로 돌아가기").click()
    result = await desktop.result()
    assert (result["status"], result["vbank_date"]) == ("ready", "2027-03-01 23:59:59")
    await bank.get_by_text(result["vbank_num"]).wait_for()
    await bank.get_by_role("button", name="64,900원 입금하기").click()
    await bank.get_by_text("입금했어요. 상점에 웹훅으로 알렸어요.").wait_for()
    assert (await payment(desktop))["status"] == "paid"


async def test_the_whole_way_goes_by_keyboard(desktop: Visitor) -> None:
    """The window has the focus when it opens, keeps it, and gives it back to the page's button."""
    await desktop.visit_plain_page()
    await desktop.init()
    keyboard = desktop.page.keyboard
    await desktop.page.focus("#before")
    await desktop.request_pay()
    await desktop.window.get_by_role("heading", name="어느 카드로 결제할까요?").wait_for()
    await press_until(desktop, "BC카드")
    await keyboard.press("Enter")
    await press_until(desktop, "앱카드")
    await keyboard.press("Space")
    await desktop.window.get_by_label("결제 비밀번호 6자리").wait_for()
    await press_until(desktop, "")
    await keyboard.press("Enter")  # in the field: the form's own way to go on
    await desktop.window.get_by_role("heading", name="결제가 끝났어요").wait_for()
    await press_until(desktop, "상점으로 돌아가기")
    await keyboard.press("Enter")
    assert (await desktop.result())["status"] == "paid"
    assert await desktop.page.evaluate("document.activeElement.id") == "before"


async def press_until(visitor: Visitor, label: str) -> None:
    """Press Tab until the window's focus is on the element that begins so, or, for no label, on a field."""
    for _ in range(30):
        await visitor.page.keyboard.press("Tab")
        focused = visitor.window.locator(":focus")
        if await focused.count() == 0:
            continue
        tag, text = await focused.evaluate("(element) => [element.tagName, element.textContent]")
        if tag == "INPUT" if label == "" else text.startswith(label):
            return
    raise AssertionError(f"Tab does not reach {label or 'a field'}.")


async def test_escape_closes_the_window(desktop: Visitor) -> None:
    """It is the close button's key."""
    window = await open_window(desktop)
    await window.get_by_role("button", name="BC카드").focus()
    await desktop.page.keyboard.press("Escape")
    assert (await desktop.result())["success"] is False


async def test_the_page_behind_is_out_of_reach_meanwhile(desktop: Visitor) -> None:
    """Neither the keyboard nor a screen reader gets there; afterwards both do."""
    window = await open_window(desktop)
    await window.locator("[data-outcome=paid]").wait_for()
    assert await desktop.page.evaluate("document.querySelector('main').inert")
    await desktop.choose("paid")
    await desktop.result()
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert not await desktop.page.evaluate("document.querySelector('main').inert")


async def test_what_the_buyer_enters_leaves_the_window_never(desktop: Visitor) -> None:
    """No request has it, neither a card's number nor a password."""
    sent: list[str] = []
    desktop.context.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    window = await open_window(desktop)
    await window.get_by_role("button", name="신한카드").click()
    await window.get_by_role("button", name="MPI").click()
    await window.get_by_label("카드번호").fill("4242424242424242")
    await window.get_by_role("button", name="결제하기").click()
    await window.locator("#leave").click()
    await desktop.result()
    assert not [request for request in sent if "4242424242" in request]


@pytest.mark.parametrize(
    ("language", "heading"), [("en", "Which card would you like to use?"), ("ko", "어느 카드로 결제할까요?")]
)
async def test_the_window_speaks_the_requested_language(desktop: Visitor, language: str, heading: str) -> None:
    """A button changes it."""
    window = await open_window(desktop, language=language)
    await window.get_by_role("heading", name=heading).wait_for()
    await window.locator("#language").click()
    await window.get_by_role("heading", name=heading).wait_for(state="detached")


@pytest.mark.parametrize("provider", STAYS_IN_THE_PAGE)
async def test_on_a_phone_these_windows_stay_in_the_page(phone: Visitor, provider: str) -> None:
    """They call back instead of redirecting."""
    await open_window(phone, pg=provider)
    await phone.choose("paid")
    assert (await phone.result())["imp_success"] is True
    assert await modes(phone) == ["overlay"]


@pytest.mark.parametrize(
    ("params", "mode"),
    [
        ({"pg": "html5_inicis", "customer_uid": "card-1"}, "overlay"),
        ({"pg": "mobilians", "pay_method": "phone"}, "overlay"),
        ({"pg": "mobilians"}, "redirect"),
        ({"pg": "html5_inicis"}, "redirect"),
        ({"pg": "kakaopay"}, "redirect"),
        ({"pg": "tosspayments"}, "redirect"),
    ],
)
async def test_on_a_phone_the_provider_and_the_request_decide(
    phone: Visitor, params: dict[str, Any], mode: str
) -> None:
    """Most windows redirect; Inicis with customer_uid and Mobilians' phone bill stay in the page."""
    await open_window(phone, **params)
    where = phone.page if mode == "redirect" else phone.window
    await where.locator("[data-outcome=paid]").wait_for()
    assert await modes(phone) == [mode]


async def test_on_a_pc_windows_stay_in_the_page_and_the_old_paypal_redirects(desktop: Visitor) -> None:
    """It is the one that does so on both devices."""
    await open_window(desktop, pg="paypal", m_redirect_url="/back")
    await desktop.page.locator("[data-outcome=paid]").click()
    await desktop.page.wait_for_url("**/back?imp_uid=*")
    assert await modes(desktop) == ["redirect"]


async def test_paypal_v2_is_a_pop_up_with_a_callback_on_a_phone_too(phone: Visitor) -> None:
    """`m_redirect_url` is ignored."""
    await phone.visit_plain_page()
    await phone.init()
    async with phone.context.expect_page() as opened:
        await phone.request_pay(pg="paypal_v2", m_redirect_url="/back")
    await (await opened.value).locator("[data-outcome=paid]").click()
    assert (await phone.result()).keys() == {"imp_uid", "merchant_uid"}


@pytest.mark.parametrize("mode", ["overlay", "popup", "redirect"])
async def test_a_request_may_choose_how_its_window_opens(desktop: Visitor, mode: str) -> None:
    """`sandbox: {window}` is for shops that want to see all three; PortOne's script ignores it."""
    await desktop.visit_plain_page()
    await desktop.init()
    await choose_in(desktop, mode, "paid", sandbox={"window": mode})
    assert await modes(desktop) == [mode]


async def choose_in(visitor: Visitor, mode: str, outcome: str, **params: Any) -> None:
    """Request a payment whose window opens so, and choose its outcome there."""
    if mode == "popup":
        async with visitor.context.expect_page() as opened:
            await visitor.request_pay(**params)
        await (await opened.value).locator(f"[data-outcome={outcome}]").click()
        await visitor.result()
        return
    await visitor.request_pay(m_redirect_url="/back", **params)
    where = visitor.page if mode == "redirect" else visitor.window
    await where.locator(f"[data-outcome={outcome}]").click()
    await (visitor.page.wait_for_url("**/back?*") if mode == "redirect" else visitor.result())


async def test_a_redirect_without_an_address_loses_its_result(phone: Visitor) -> None:
    """The window ends on a page of PortOne's, which says so; the payment is made all the same."""
    await open_window(phone)
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.get_by_role("heading", name="결제 결과를 받을 곳이 없어요").wait_for()
    assert (await payment(phone))["status"] == "paid"


async def test_a_redirect_calls_nothing_back(phone: Visitor) -> None:
    """The page is left at the request, and its callback never comes."""
    await open_window(phone, m_redirect_url="/back")
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.wait_for_url("**/back?*")
    assert await phone.page.evaluate("window.results ?? null") is None


async def complete(visitor: Visitor, page: Page, mode: str) -> None:
    """Wait for the autopilot to end the window that a request has opened."""
    if mode == "redirect":
        await page.wait_for_url("**/back?*")
        return
    await visitor.result()


@pytest.mark.parametrize("mode", ["overlay", "popup", "redirect"])
@pytest.mark.parametrize(("outcome", "status"), [("paid", "paid"), ("failed", "failed"), ("closed", "failed")])
async def test_the_autopilot_ends_every_window_by_itself(
    desktop: Visitor, mode: str, outcome: str, status: str
) -> None:
    """`POST /_control/window` is all that another product's own tests need."""
    await desktop.sandbox.control("POST", "window", outcome=outcome)
    await open_window(desktop, m_redirect_url="/back", sandbox={"window": mode})
    await complete(desktop, desktop.page, mode)
    assert (await payment(desktop))["status"] == status


async def test_the_scripts_address_may_be_the_autopilot(desktop: Visitor) -> None:
    """`?outcome=` lets every window of the page end so, `?window=` lets it open so."""
    await desktop.visit_plain_page(f"{desktop.sandbox.url}/v1/iamport.js?outcome=failed&window=redirect")
    await desktop.init()
    await desktop.request_pay(m_redirect_url="/back")
    await desktop.page.wait_for_url("**/back?*imp_success=false*")
    assert await modes(desktop) == ["redirect"]


async def test_a_page_opened_from_a_file_works(desktop: Visitor, tmp_path: Path) -> None:
    """It has the origin `null`, to which no message can be addressed by name."""
    page = tmp_path / "shop.html"
    page.write_text(PLAIN.replace("{script}", f"{desktop.sandbox.url}/v1/iamport.js"))
    await desktop.page.goto(page.as_uri())
    await desktop.init()
    await desktop.request_pay()
    await desktop.choose("paid")
    assert (await desktop.result())["status"] == "paid"


async def test_a_window_that_is_loaded_again_after_its_end_goes_on_to_the_page(phone: Visitor) -> None:
    """A browser's back button leads there."""
    await open_window(phone, m_redirect_url="/back")
    await phone.page.locator("[data-outcome=paid]").wait_for()
    window = phone.page.url
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.wait_for_url("**/back?*")
    await phone.page.goto(window)
    await phone.page.wait_for_url("**/back?*")
    assert (await payment(phone))["status"] == "paid"


async def test_a_window_that_is_forgotten_says_so(phone: Visitor) -> None:
    """A reset of the sandbox forgets it."""
    await open_window(phone)
    await phone.page.locator("[data-outcome=paid]").wait_for()
    await phone.sandbox.control("POST", "reset")
    await phone.page.locator("[data-outcome=paid]").click()
    await phone.page.get_by_role("alert").wait_for()
