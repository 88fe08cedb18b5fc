"""Screenshots. `make pictures` writes those of docs/; every other run writes them where nobody looks."""

import os
from pathlib import Path

from playwright.async_api import Page


def picture_folder(elsewhere: Path) -> Path:
    """Return the folder that PICTURES names, or this one."""
    folder = Path(os.environ.get("PICTURES") or elsewhere)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def take_picture(page: Page, folder: Path, name: str, *, whole: bool = True) -> None:
    """Take one at rest: no animation, no blinking caret."""
    await page.screenshot(path=folder / f"{name}.png", full_page=whole, animations="disabled", caret="hide")
