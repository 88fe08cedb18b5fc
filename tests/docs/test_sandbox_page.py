"""The page of the sandbox has a table of outcomes that names what the payment window's buttons name."""

import re
from pathlib import Path

from sandbox.browser.outcome_names import WindowOutcome

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "sandbox.md").read_text("utf-8")
TEXTS = (REPOSITORY / "sandbox" / "browser" / "static" / "outcome_texts.js").read_text("utf-8")


def test_an_outcome_has_one_name() -> None:
    """Each outcome stands once on the page, with its button's name and sentence, in the order of the buttons."""
    button = r'^  (\w+): \{\n    name: \[".*", "(.*)"\],\n    text: \[".*", "(.*)"\],'
    of_buttons = re.findall(button, TEXTS, re.MULTILINE)
    (table,) = re.findall(r"^\| button \| `outcome` .*\n\| .*\n((?:\| .*\n)+)", PAGE, re.MULTILINE)
    rows = re.findall(r"^\| ([^|`]+) \| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert [(code, name, text) for name, code, text in rows] == of_buttons
    assert [code for code, _, _ in of_buttons] == list(WindowOutcome)
