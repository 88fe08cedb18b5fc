"""Every mistake of other integrations that this project avoids has a test with its number."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1] / "service"


def test_each_of_the_17_mistakes_has_a_test_with_its_number() -> None:
    """Each mistake of docs/portone.md §4, numbered 1 to 17, has a test; `test_6_and_7_…` counts for two."""
    files = [TESTS / "test_mistakes.py", *(TESTS / "http").glob("test_*.py")]
    names = [name for file in files for name in re.findall(r"^async def test_(\d[\w]*)", file.read_text("utf-8"), re.M)]
    numbers = {int(number) for name in names for number in re.findall(r"(?:^|_and_)(\d+)(?=_)", name)}
    assert numbers == set(range(1, 18))
