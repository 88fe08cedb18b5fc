"""Screenshots, which a run takes where PICTURES asks for them: `make pictures` writes those of docs/."""

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
    if "PICTURES" not in os.environ:  # a fifth of a second of a core each
        return
    await page.screenshot(path=folder / f"{name}.png", full_page=whole, animations="disabled", caret="hide")
