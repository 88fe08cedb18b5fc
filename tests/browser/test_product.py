"""The whole product behind a page: browser, sandbox, receiver and worker."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.settings import Settings
from tests.browser.guide_page import buy_on_guide_page
from tests.browser.merchant import Merchant
from tests.browser.visitor import Visitor
from tests.running import RunningService, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox

LONGEST_MERCHANT_UID = 255
LATER_SECONDS = 0.5

# What becomes of the order. tests/browser/shop/test_outcomes.py walks every outcome; the guide's page knows these two.
OUTCOMES = {"paid": "paid", "failed": "failed"}


@pytest_asyncio.fixture(loop_scope="session")
async def service(settings: Settings, sandbox: RunningSandbox, merchant: Merchant) -> AsyncIterator[RunningService]:
    """The receiver and the worker; the shop's page may call them, and redirects end at the shop."""
    pages = {"return_url": f"{merchant.origin}/done", "cors_origins": (merchant.origin,)}
    settings = settings.model_copy(update=pages | {"portone_tiers": ("123",)})
    async with running_receiver(settings) as service, patient_worker(settings):
        sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
        merchant.take_order = service.register
        yield service


async def order_of(visitor: Visitor) -> str:
    """Return the number of the order that the page has sent to its shop."""
    path, order = await visitor.merchant.next_post()
    assert path == "/orders"
    number: str = order["merchant_uid"]
    return number


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_outcome_by_callback_ends_in_its_order_state(
    desktop: Visitor, service: RunningService, outcome: str
) -> None:
    """The window's button, the callback and the completion call lead to the order's right state."""
    await desktop.sandbox.control("POST", "window", later_seconds=LATER_SECONDS)
    await buy_on_guide_page(desktop, service.url, longest=LONGEST_MERCHANT_UID, asks_always=True)
    await desktop.choose(outcome)
    await service.becomes(await order_of(desktop), state=OUTCOMES[outcome])
    await desktop.page.locator("#told:not(:empty)").wait_for()


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_outcome_by_redirect_ends_in_its_order_state(
    phone: Visitor, service: RunningService, outcome: str
) -> None:
    """On a phone the redirect leads through the receiver to the shop's page, and the order gets its right state."""
    await phone.sandbox.control("POST", "window", later_seconds=LATER_SECONDS)
    await buy_on_guide_page(phone, service.url, longest=LONGEST_MERCHANT_UID)
    await phone.page.locator(f"[data-outcome={outcome}]").click()
    await phone.page.wait_for_url(f"{phone.merchant.origin}/done?*")
    merchant_uid = await order_of(phone)
    assert f"merchant_uid={merchant_uid}" in phone.page.url
    await service.becomes(merchant_uid, state=OUTCOMES[outcome])


async def test_a_sub_stores_page_ends_in_its_own_paid_order(desktop: Visitor, service: RunningService) -> None:
    """With IMP.agency the payment, its webhook and the look are the sub-store's."""

    async def take_order(merchant_uid: str) -> None:
        await service.register(merchant_uid, tier="123")

    desktop.merchant.take_order = take_order
    await buy_on_guide_page(desktop, service.url, tier="123", longest=LONGEST_MERCHANT_UID)
    await desktop.choose("paid")
    await desktop.page.get_by_text("200 paid").wait_for()
    order = await service.read(await order_of(desktop))
    assert (order["state"], order["tier"]) == ("paid", "123")


@pytest.mark.parametrize("extra", ["", "&imp_uid=", "&imp_uid=null", "&imp_uid=undefined"])
async def test_the_guides_own_return_without_an_imp_uid_ends_paid(
    phone: Visitor, service: RunningService, extra: str
) -> None:
    """The guide's example of a redirect has merchant_uid alone; the order's payments are found by it."""
    await phone.sandbox.control("POST", "window", later_seconds=600)
    await buy_on_guide_page(phone, phone.merchant.origin, longest=LONGEST_MERCHANT_UID)  # not to the receiver yet
    await phone.page.locator("[data-outcome=paid_without_webhook]").click()
    await phone.page.wait_for_url("**/payment-redirect?*")
    merchant_uid = await order_of(phone)
    assert (await service.read(merchant_uid))["state"] == "pending"
    await phone.page.goto(f"{service.url}/payment-redirect?merchant_uid={merchant_uid}{extra}")
    await phone.page.wait_for_url(f"{phone.merchant.origin}/done?*state=paid*")
    await service.becomes(merchant_uid, state="paid")
