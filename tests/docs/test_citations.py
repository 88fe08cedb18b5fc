"""Every citation in docs, docstrings, comments and tools leads to something in the repository."""

from pathlib import Path

import pytest

from docs.citations import dead_citations

REPOSITORY = Path(__file__).parents[2]

# A repository in miniature, all of whose citations lead somewhere.
SOUND = {
    "README.md": "[design](docs/design.md) §2.1, `service/db/`, and `settle` in `service/domain/settle.py`.",
    "docs/design.md": "## 2. Rules\n### 2.1 One rule\n`workers/main.py`\n## 3. Flows\n### Worker\n1. Claim.\n",
    "docs/decisions/0001-use-locks.md": "See (`service/domain/settle.py`, `settle`, `S.PAID`), `test_it_pays`.",
    "service/domain/settle.py": "# docs/design.md §2, Rules: decision 1\nclass S:\n    PAID = 1\ndef settle(): 1\n",
    "service/db/one.sql": "-- docs/design.md §3.1; `service/db/functions/NAME_v1.sql` is any.\n-- `test_channel`",
    "workers/main.py": "# `service.domain.settle`, `domain.settle.S` tests/test_pay.py::test_it_pays\ntest_channel = 1",
    "tests/test_pay.py": "def test_it_pays(): ...\n",
}


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")


def test_every_citation_leads_somewhere() -> None:
    """No page, docstring, comment or tool cites what the repository does not have."""
    assert not dead_citations(REPOSITORY)


def test_sound_citations_are_left_alone(tmp_path: Path) -> None:
    """A repository whose citations all lead somewhere has no dead ones."""
    _write(tmp_path, SOUND)
    assert not dead_citations(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "reported"),
    [
        ("README.md", "See service/gone.py.", "there is no service/gone.py"),
        ("docs/faults.md", "In `service/gone/` and more.", "there is no service/gone/"),
        ("service/db/two.sql", "-- docs/gone.md has it", "there is no docs/gone.md"),
        ("service/a.py", "# tests/test_pay.py::test_gone[1]", "there is no tests/test_pay.py::test_gone"),
        ("service/a.py", '"""Rules (RULES.md §2.1)."""', "there is no page RULES.md"),
        ("service/a.py", '"""Rules (docs/design.md §2.9)."""', "docs/design.md has no §2.9"),
        ("service/a.py", '"""Rules (docs/design.md §2 and §9)."""', "docs/design.md has no §9"),
        ("service/a.py", '"""Flows (docs/design.md §3, Redirect)."""', "docs/design.md has no §3, Redirect"),
        ("service/a.py", '"""Flows (docs/design.md §3.7)."""', "docs/design.md has no §3.7"),
        ("docs/faults.md", "By [it](design.md) §4.", "design.md has no §4"),
        ("README.md", "(`service/domain/settle.py`, `gone`)", "service/domain/settle.py does not define gone"),
        ("README.md", "`PAID`, `Gone` in `service/domain/settle.py`", "service/domain/settle.py does not define Gone"),
        ("README.md", "(`service/db/one.sql`, `gone`)", "service/db/one.sql does not define gone"),
        ("README.md", "By `test_gone`.", "there is no test test_gone"),
        ("service/a.py", '"""See `service.domain.gone`."""', "there is no service.domain.gone"),
        ("service/a.py", '"""See `domain.settle.gone`."""', "there is no domain.settle.gone"),
        ("README.md", "Run `python -m docs.gone`.", "there is no docs.gone"),
        ("service/a.py", '"""See decision 2."""', "there is no decision 2"),
        ("tests/test_pay.py", "# (" + "issue: main job)", "(" + "issue: what is cited is not in the repository"),
    ],
)  # fmt: skip
def test_a_dead_citation_is_found(tmp_path: Path, name: str, text: str, reported: str) -> None:
    """Each kind of citation that leads nowhere is reported, once and with its line."""
    _write(tmp_path, SOUND | {name: f"{SOUND.get(name, '')}\n\n{text}\n"})
    [dead] = dead_citations(tmp_path)
    assert str(dead) == f"{name}:{SOUND.get(name, '').count(chr(10)) + 3}: {reported}"
