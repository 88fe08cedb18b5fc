"""Each outcome of the window, at a desk and on a phone, ends on the shop's right page."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.accessible import check_accessible
from tests.browser.pictures import take_picture
from tests.browser.shop.visit import ANNOUNCED, COMPLETED, OPENED, UNANNOUNCED, arrive_at, buy, tells
from tests.browser.visitor import Visitor
from tests.running import RunningService


@dataclass(frozen=True)
class Ending:
    """Where an outcome leads: the shop's page, the order's state, and what the timeline must tell."""

    view: str
    state: str
    story: tuple[str, ...] = ANNOUNCED
    webhook: str = "beside"
    """Whether the webhook is sent before, after or beside the browser's result."""
    problems: tuple[str, ...] = ()


ENDINGS = {
    "paid": Ending("paid", "paid"),
    "vbank_issued": Ending("deposit", "awaiting_deposit"),
    "failed": Ending("failed", "failed", UNANNOUNCED),
    "closed": Ending("failed", "failed", UNANNOUNCED),
    "tampered_amount": Ending("mismatched", "mismatched", problems=("wrong_amount",)),
    "tampered_currency": Ending("mismatched", "mismatched", problems=("wrong_amount", "wrong_currency")),
    "test_channel": Ending("test", "pending", problems=("test_channel",)),
    "slow": Ending("paid", "paid", webhook="after"),
    "paid_without_webhook": Ending("paid", "paid", UNANNOUNCED),
    "webhook_first": Ending("paid", "paid", webhook="before"),
    "callback_first": Ending("paid", "paid", UNANNOUNCED, webhook="after"),
    "paid_then_refunded": Ending("refunded", "cancelled", ("payment.changed", *ANNOUNCED)),
}


@pytest.mark.parametrize("outcome", ENDINGS)
async def test_each_outcome_by_callback_ends_on_its_page(
    desktop: Visitor, service: RunningService, pictures: Path, outcome: str
) -> None:
    """At a desk the window lies over the page; its end, the callback and the call to the service lead on."""
    ending = ENDINGS[outcome]
    await buy(desktop)
    await desktop.choose(outcome)
    await ends(desktop, service, ending, "window.called_back")
    await tells(desktop.page, COMPLETED)
    await take_picture(desktop.page, pictures, f"desktop-{outcome}")


@pytest.mark.parametrize("outcome", ENDINGS)
async def test_each_outcome_by_redirect_ends_on_its_page(
    phone: Visitor, service: RunningService, pictures: Path, outcome: str
) -> None:
    """On a phone the browser leaves for the window and comes back through the service."""
    ending = ENDINGS[outcome]
    await buy(phone)
    await phone.page.locator(f"[data-outcome={outcome}]").click()
    await ends(phone, service, ending, "window.redirected")
    await tells(phone.page, ("window.redirected", "page.returned"))
    await take_picture(phone.page, pictures, f"phone-{outcome}")


async def ends(visitor: Visitor, service: RunningService, ending: Ending, result: str) -> None:
    """Check that the page shows how it ended, that the service says so, that the timeline tells why, and accessibility.

    `result` is the timeline's name for the browser's result.
    """
    page = visitor.page
    order = await service.read(await arrive_at(page, ending.view))
    assert order["state"] == ending.state
    assert [problem["kind"] for problem in order["problems"]] == list(ending.problems)
    await tells(page, (*OPENED, *ending.story))
    orders = {"before": ("webhook.sent", result), "after": (result, "webhook.sent"), "beside": (result,)}
    await tells(page, orders[ending.webhook])
    await expect(page.locator("li[data-kind='order.version']").last).to_contain_text(ending.state)
    await check_accessible(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
