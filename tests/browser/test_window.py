"""The payment window: the buyer's way through it, its outcomes, and its use by keyboard."""

from typing import Any

import pytest

from tests.browser.visitor import OPEN_FRAME, Visitor

OUTCOMES = [
    "paid", "vbank_issued", "failed", "closed", "tampered_amount", "tampered_currency", "test_channel", "slow",
    "paid_without_webhook", "webhook_first", "callback_first", "paid_then_refunded",
]  # fmt: skip


async def test_every_outcome_has_one_button(desktop: Visitor) -> None:
    """A page's own tests find them by `data-outcome`."""
    window = await desktop.open_window()
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
    window = await desktop.open_window()
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


async def test_a_window_that_has_ended_offers_no_other_end(phone: Visitor) -> None:
    """When the buyer sees the result, the outcomes' buttons are gone, and a sentence says why."""
    await phone.visit_ready_page()
    await phone.request_pay(pg="kakaopay", sandbox={"window": "redirect"})
    await phone.page.locator("[data-outcome=paid]").wait_for()
    await phone.page.locator("#step button[type=submit]").click()
    await phone.page.locator("#leave").wait_for()
    assert await phone.page.locator("[data-outcome]").count() == 0
    assert "한 창은 한 번만 끝나요." in await phone.page.locator(".outcomes").inner_text()


async def test_the_names_of_the_steps_stay_whole_on_a_phone(phone: Visitor) -> None:
    """No word is broken in two, in English either, whose words are longer."""
    await phone.visit_ready_page()
    await phone.request_pay(language="en", sandbox={"window": "redirect"})
    await phone.page.locator("#steps li").last.wait_for()
    heights = await phone.page.locator("#steps li").evaluate_all("(all) => all.map((one) => one.clientHeight)")
    assert len(heights) == 4
    assert max(heights) < 30
    assert await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_buyer_can_go_back_a_step(desktop: Visitor) -> None:
    """From the authentication to the card company and to the provider's window."""
    window = await desktop.open_window()
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
    window = await desktop.open_window(**params)
    await window.get_by_role("heading", name=heading).wait_for()


async def test_a_virtual_account_is_issued_and_paid_into_later(desktop: Visitor) -> None:
    """The result links to the page for the deposit, which opens beside the shop."""
    window = await desktop.open_window(pay_method="vbank", vbank_due="2027-03-01")
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
    assert (await desktop.payment())["status"] == "paid"


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
    window = await desktop.open_window()
    await window.get_by_role("button", name="BC카드").focus()
    await desktop.page.keyboard.press("Escape")
    assert (await desktop.result())["success"] is False


async def test_the_page_behind_is_out_of_reach_meanwhile(desktop: Visitor) -> None:
    """Neither the keyboard nor a screen reader gets there; afterwards both do."""
    window = await desktop.open_window()
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
    window = await desktop.open_window()
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
    window = await desktop.open_window(language=language)
    await window.get_by_role("heading", name=heading).wait_for()
    await window.locator("#language").click()
    await window.get_by_role("heading", name=heading).wait_for(state="detached")
