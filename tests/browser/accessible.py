"""axe's verdict on a page."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

GRAVE = ("serious", "critical")


async def check_accessible(page: Page) -> None:
    """Fail on whatever axe calls serious or critical, with the elements that it means."""
    await page.emulate_media(reduced_motion="reduce")  # what is half faded in has no contrast yet
    result = (await Axe().run(page)).response
    grave = [found for found in result["violations"] if found["impact"] in GRAVE]
    named = [f"{found['id']}: {found['help']} {[node['target'] for node in found['nodes']]}" for found in grave]
    assert named == [], "\n".join(named)
    assert result["passes"], "axe has looked at nothing."
