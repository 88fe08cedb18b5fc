"""A visit to the shop: how a test buys something, and how it reads the return page and the timeline."""

from collections.abc import Sequence

from playwright.async_api import Page

from tests.browser.visitor import Visitor
from tests.running import until

# What every payment's timeline tells, in the order of the times; more may stand between.
OPENED = ("order.registered", "order.version", "payment.changed", "window.opened", "window.chosen")
DECIDED = ("notice.recorded", "portone.look", "decision", "order.version")
ANNOUNCED = ("payment.changed", "webhook.sent", *DECIDED)
COMPLETED = ("page.callback", "page.completion", "page.completion_answered")
UNANNOUNCED = ("payment.changed", *DECIDED)
# On a slow machine the service's own scan of PortOne's list may be quicker than the browser's call.
INSTEAD = {"notice.recorded": "portone.list"}


async def buy(visitor: Visitor, good: str = "chair", **choices: str) -> None:
    """Go to the checkout, choose, and press the button that pays."""
    page = visitor.page
    await page.goto(f"{visitor.sandbox.url}/shop")
    for name, value in {"good": good, **choices}.items():
        await page.locator(f"input[name={name}][value={value}]").check()
    await page.locator("#pay").click()


async def arrive_at(page: Page, view: str) -> str:
    """Wait for the return page to show this; return the order's number.

    A page that is open while its order is paid again shows the new state before it is left for the next one.
    """
    await page.locator(f"#result[data-view={view}]").wait_for()
    return await page.locator("#order-number:visible").inner_text()


async def kinds(page: Page) -> list[str]:
    """Return the kinds of the timeline's entries, from its top to its end."""
    shown: list[str] = await page.locator("#timeline > li").evaluate_all(
        "items => items.map((item) => item.dataset.kind)"
    )
    return shown


async def tells(page: Page, story: Sequence[str]) -> None:
    """Wait until the timeline holds these entries in this order, with others between or not."""

    async def is_told() -> bool:
        shown = iter(await kinds(page))
        return all(any(entry in (kind, INSTEAD.get(kind)) for entry in shown) for kind in story)

    try:
        await until(is_told, 30, pause_seconds=0.1)  # asking a browser costs it milliseconds
    except TimeoutError:
        raise AssertionError(f"{story} is not told by {await kinds(page)}") from None
