"""The page at `/docs` shows the whole document in a browser, and asks no other address for anything."""

from playwright.async_api import Browser, ConsoleMessage, Request

from service.http.app import ENDPOINTS
from service.settings import Settings
from tests.running import running_receiver


async def test_the_page_shows_every_endpoint_under_a_strict_policy(chromium: Browser, settings: Settings) -> None:
    """Every operation is on the page; the browser refuses nothing by the page's policy, and no other host is asked."""
    async with running_receiver(settings) as receiver:
        page = await chromium.new_page()
        complaints: list[str] = []
        addresses: list[str] = []

        def note_complaint(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complaints.append(message.text)

        def note_address(request: Request) -> None:
            addresses.append(request.url)

        page.on("console", note_complaint)
        page.on("request", note_address)
        await page.goto(f"{receiver.url}/docs")
        await page.locator(".opblock").first.wait_for()
        assert await page.locator(".opblock").count() == len(ENDPOINTS)
        await page.locator("#operations-orders-readOrder button.opblock-summary-control").click()
        await page.get_by_text("The order as it stands.").wait_for()
        assert complaints == []
        assert {address for address in addresses if not address.startswith((receiver.url, "data:"))} == set()
        await page.close()
