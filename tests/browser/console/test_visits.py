"""A person signs in, finds orders, reads why each is what it is, acts, and signs out."""

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.browser.accessible import check_accessible
from tests.browser.console.operator import Operator
from tests.browser.console.orders import ServiceWithOrders
from tests.browser.pictures import take_picture
from tests.browser.visitor import PHONE

# The state that each order's page says, and whether PortOne's word agrees with its terms.
STORIES = {
    "paid": ("paid", "agrees"),
    "forged": ("mismatched", "differs"),
    "lost": ("paid", "agrees"),
    "double": ("paid", "agrees"),
    "refunded": ("partially cancelled", "agrees"),
}
LISTS = ("/orders", "/problems", "/problems?foreign=1", "/notices", "/notices?tab=open", "/endpoints", "/actions")


async def test_the_story_of_each_order_is_read(operator: Operator, pictures: Path) -> None:
    """Every order is found by an imp_uid, and its page says why it is what it is, with evidence; axe finds nothing."""
    await operator.open()
    await check_accessible(operator.page)
    await operator.sign_in()
    await check_accessible(operator.page)
    await take_picture(operator.page, pictures, "console")
    page = operator.page
    for name, (state, compared) in STORIES.items():
        await operator.find(operator.made.payments[name])
        await expect(page.locator("h1 .id")).to_have_text(f"order-{name}")
        await expect(page.locator("h1 .state")).to_have_text(state)
        await expect(page.locator(".compare tr").filter(has_text=compared).first).to_be_visible()
        await check_accessible(page)
        await take_picture(page, pictures, f"console-{name}")
    await operator.find(operator.made.payments["duplicate"])
    await expect(page.get_by_text("duplicate payment").first).to_be_visible()
    await operator.find(operator.made.payments["lost"])
    assert await page.locator("[data-kind=notice] strong").all_inner_texts() == ["comparison with PortOne's list"]


async def test_what_is_wrong_is_put_right(operator: Operator, pictures: Path) -> None:
    """A parked notice is replayed and pays its order; a duplicate goes back; each action has who and why; then out."""
    page, made = operator.page, operator.made
    await operator.sign_in()
    await page.get_by_role("link", name="Parked notices").click()
    await expect(page.get_by_text("answer unreadable").first).to_be_visible()
    await operator.do("Replay this notice", "PortOne is well again")
    await made.service.becomes("order-parked", state="paid")
    await operator.find("order-parked")
    await expect(page.locator("h1 .state")).to_have_text("paid")
    await expect(page.locator("[data-kind=notice]").first).to_contain_text("says paid")
    await expect(page.locator("[data-kind=action]")).to_contain_text("replayed a notice")
    await expect(page.locator("[data-kind=action]")).to_contain_text("PortOne is well again")
    await operator.find(made.payments["duplicate"])
    await page.get_by_role("link", name="Give the money back").click()
    await expect(page.get_by_text("goes back to the buyer: 64,900 KRW")).to_be_visible()
    await check_accessible(page)
    await take_picture(page, pictures, "console-confirm")
    await page.go_back()
    await operator.do("Give the money back", "the buyer paid twice")
    await expect(page.locator(".story").get_by_text("Refund: intended")).to_be_visible()
    assert await made.pool.fetchval("SELECT state FROM refunds WHERE imp_uid = $1", made.payments["duplicate"])
    await operator.open("/actions")
    rows = await page.locator("tbody tr").all_inner_texts()
    assert [row for row in rows if "kim (pok_kim" in row and "the buyer paid twice" in row]
    assert [row for row in rows if "kim (pok_kim" in row and "PortOne is well again" in row]
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Service key").wait_for()
    await operator.open("/orders")
    await expect(page.get_by_label("Service key")).to_be_visible()


async def test_the_search_narrows(operator: Operator) -> None:
    """State, problem, amount and the beginning of a number narrow the list; the keyboard gets to the search."""
    await operator.sign_in()
    page = operator.page
    for query, expected in {
        "state=mismatched": ["order-forged"],
        "problem=duplicate_payment": ["order-double"],
        "amount=100": [],
        "amount=64,900+KRW&state=partially_cancelled": ["order-refunded"],
        "q=order-pa": ["order-paid", "order-parked"],
        "from=2000-01-01&to=2000-01-02": [],
    }.items():
        await operator.open(f"/orders?{query}")
        assert await page.locator("tbody td:first-child").all_inner_texts() == expected, query
    await page.keyboard.press("/")
    await page.keyboard.type("order-paid")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1 .state")).to_have_text("paid")


async def test_an_open_page_follows(operator: Operator) -> None:
    """An order's page shows the new state without being loaded again."""
    await operator.made.service.register("order-followed")
    await operator.sign_in()
    await operator.open("/order?number=order-followed")
    state = operator.page.locator("h1 .state")
    await expect(state).to_have_text("pending")
    await operator.made.sandbox.pay("order-followed", 64900)
    await expect(state).to_have_text("paid", timeout=20_000)


async def test_a_phone_at_night(chromium: Browser, with_orders: ServiceWithOrders, pictures: Path) -> None:
    """Nothing is wider than a phone but tables, in Korean and dark, and axe finds nothing serious."""
    night = PHONE | {"locale": "ko-KR", "color_scheme": "dark"}
    async with Operator.arrive(chromium, with_orders, **night) as operator:
        page = operator.page
        await operator.open()
        await page.get_by_label("서비스 키").fill(await with_orders.make_key())
        await page.get_by_role("button", name="로그인").click()
        await page.get_by_role("heading", name="오늘").wait_for()
        for path in ("", "/order?number=order-forged", *LISTS):
            await operator.open(path)
            await check_accessible(page)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        await operator.open("/order?number=order-forged")
        await take_picture(page, pictures, "console-night")
