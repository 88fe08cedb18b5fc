"""The page in the manner of PortOne's guide: how a test opens it and presses its button."""

from pathlib import Path

from tests.browser.visitor import PORTONE_SCRIPT, Visitor

GUIDE_PAGE = (Path(__file__).parent / "guide.html").read_text("utf-8")
LONGEST_MERCHANT_UID = 255


async def buy_on_guide_page(
    visitor: Visitor,
    server: str,
    tier: str = "",
    *,
    longest: int = LONGEST_MERCHANT_UID,
    asks_always: bool = False,
    query: str = "",
) -> None:
    """Go to the page and press its button. Its script's address is PortOne's, answered inside the browser.

    `asks_always` lets the page make the completion call after a failure too; the guide's own page then shows the error.
    """
    await visitor.answer_portones_script(query)
    values = {
        "{server}": server,
        "{tier}": tier,
        "{longest}": str(longest),
        "{asks_always}": str(asks_always).lower(),
    }
    page = GUIDE_PAGE
    for name, value in values.items():
        page = page.replace(name, value)
    await visitor.page.goto(visitor.merchant.add_page("/chair", PORTONE_SCRIPT, page))
    await visitor.page.get_by_role("button", name="결제하기").click()
