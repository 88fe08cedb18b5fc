"""README.ko.md says the same as README.md, as far as a test can tell."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ENGLISH, KOREAN = [(REPOSITORY / name).read_text("utf-8") for name in ("README.md", "README.ko.md")]


def blocks(page: str) -> list[str]:
    """Return the code blocks, which readers copy."""
    return re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def names(page: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, page, re.MULTILINE))


def test_the_commands_are_the_same() -> None:
    """Each code block of the one page stands in the other, to the letter and in the same order."""
    assert blocks(KOREAN) == blocks(ENGLISH)


def test_the_endpoints_are_the_same() -> None:
    """The tables of calls name the same calls."""
    call = r"^\| (`(?:GET|POST|PATCH|PUT|DELETE) .*?) \|"
    assert names(KOREAN, call) == names(ENGLISH, call)


def test_the_korean_page_knows_no_other_commands_and_settings() -> None:
    """Commands and settings that are named in Korean are named in English."""
    english = ENGLISH + "".join(page.read_text("utf-8") for page in (REPOSITORY / "docs").glob("*.md"))
    for pattern in (r"`(portone-orders [a-z]+|make [a-z]+)", r"`([A-Z]+_[A-Z_]+)"):
        assert names(KOREAN, pattern) <= names(english, pattern)


def test_both_pages_lead_to_each_other() -> None:
    """A reader of one language finds the other."""
    assert "](README.ko.md)" in ENGLISH
    assert "](README.md)" in KOREAN
