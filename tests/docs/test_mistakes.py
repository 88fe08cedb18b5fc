"""Every mistake of others that this project stands on has a test that carries its number."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1] / "service"


def test_each_of_the_17_mistakes_has_a_test_with_its_number() -> None:
    """`test_6_and_7_…` is two of them; PORTONE.md §4 numbers them from 1 to 17."""
    files = [TESTS / "test_mistakes.py", *(TESTS / "http").glob("test_*.py")]
    names = [name for file in files for name in re.findall(r"^async def test_(\d[\w]*)", file.read_text("utf-8"), re.M)]
    numbers = {int(number) for name in names for number in re.findall(r"(?:^|_and_)(\d+)(?=_)", name)}
    assert numbers == set(range(1, 18))
