"""Find dead citations: what the repository's text cites, and what is not there.

`python -m docs.citations` prints them, and tests/docs/test_citations.py keeps them at none. Every page, Python file and
SQL file is read whole, so that file names in the tools' own strings are followed too.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PARTS = "service|workers|cli|sandbox|tests|faults|bench|docs|deploy"
_ROOMS = "http|usecases|db|redis|portone|shop|domain"
_PATH = rf"(?:{_PARTS})/[\w./*-]+\.(?:py|sql|md|toml|ya?ml|json|svg|png|js|css|html|txt|conf|service|target)\b"
_NAME = r"`[A-Za-z_][\w.]*`"

_PATHS = re.compile(rf"(?<![\w./-]){_PATH}(?:::\w+)?|`(?:{_PARTS})/[\w./-]*`")
_ROOT_PAGES = re.compile(r"(?<![\w./-])[A-Z][A-Z_-]+(?:\.[a-z]{2})?\.md\b")
_SECTIONS = re.compile(
    r"(?P<page>[\w./-]+\.md)[`)\]]*,?\s*(?:#|--)?\s*(?P<numbers>§\d+(?:\.\d+)*(?:(?:, | and | to )§\d+(?:\.\d+)*)*)"
    r"(?:, (?P<part>[A-Z]\w+)(?=[).:;]| [a-d]\b))?"
)
_NAMES_AFTER = re.compile(rf"`(?P<path>{_PATH})`(?P<names>(?:(?:,| and|, and| \()\s*{_NAME})+)")
_NAMES_BEFORE = re.compile(rf"(?P<names>(?:{_NAME}(?:,\s*|\s+and\s+))*{_NAME})\s+in\s+`(?P<path>{_PATH})`")
_MODULES = re.compile(rf"(?<=[`\s])(?:(?:{_PARTS})(?:\.\w+)+|(?:{_ROOMS})\.\w+(?:\.\w+)*)(?=`)")
_TESTS = re.compile(r"`(test_\w+)`")
_DECISIONS = re.compile(r"\b[Dd]ecision (\d+)")
_ELSEWHERE = re.compile(r"[(]issue\b|\bissue(?: \d|: )")

# Tests that plant what a check is to find.
_PLANTED = ("test_citations.py", "test_english.py")
_PLACEHOLDER = re.compile(r"NAME|NNNN")  # `functions/NAME_v1.sql` speaks of any


class Dead(NamedTuple):
    """A citation that leads nowhere, and where it stands."""

    file: str
    line: int
    cited: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.cited}"


def dead_citations(root: Path) -> list[Dead]:
    """Return every dead citation below the folder, sorted."""
    tree = _Tree(root)
    return sorted(
        {
            Dead(str(file.relative_to(root)), text.count("\n", 0, found.start()) + 1, cited)
            for file, text in tree.texts.items()
            for pattern, check in _KINDS
            for found in pattern.finditer(text)
            for cited in check(tree, file, found)
        }
    )


class _Tree:
    """The texts of a repository, and what they define."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.texts = {file: file.read_text("utf-8") for file in _files(root) if file.name not in _PLANTED}
        self.tests = {file.stem for file in self.texts}
        self.no_tests = set[str]()  # other names that begin as a test's does, such as a column's
        for file, text in self.texts.items():
            if file.is_relative_to(root / "tests"):
                self.tests.update(re.findall(r"def (test_\w+)", text))
            elif file.suffix != ".md":
                self.no_tests.update(re.findall(r"\b(test_\w+)\s*[:=(]", text))
        self.sections = cache(self._sections)

    def has(self, path: str) -> bool:
        return any(self.root.glob(path)) if "*" in path else (self.root / path).exists()

    def page(self, name: str, cited_in: Path) -> Path | None:
        """Return the page of that name, from the root or from the folder of whoever cites it."""
        return next((page for page in (self.root / name, cited_in.parent / name) if page in self.texts), None)

    def _sections(self, page: Path) -> frozenset[str]:
        """Return what may follow `§`: `2`, `2.4`, `4.13` for an item of a list, `3, Worker` for a heading's word."""
        found, section = set[str](), ""
        for line in self.texts[page].splitlines():
            if item := re.match(r"(\d+)\. ", line):
                found.add(f"{section}.{item[1]}")
            if not line.startswith("#"):
                continue
            if heading := re.match(r"#+ (\d+(?:\.\d+)*)\.? ", line):
                section = heading[1]
                found.add(section)
            found |= {f"{section.split('.')[0]}, {word}" for word in re.findall(r"\w+", line)}
        return frozenset(found)

    def defines(self, file: Path, name: str) -> bool:
        """Return whether a Python file defines the name, or another file has the word."""
        text = self.texts.get(file, "")
        last = re.escape(name.rpartition(".")[2])
        definition = rf'^\s*(?:(?:async )?def |class ){last}\b|^\s*{last}(?::| =)|"{last}"'
        return re.search(definition if file.suffix == ".py" else rf"\b{last}\b", text, re.MULTILINE) is not None

    def has_module(self, dotted: str) -> bool:
        """Return whether a module, or a name in one, has this dotted path, which may begin with a room of service."""
        parts = dotted.split(".")
        base = self.root if (self.root / parts[0]).exists() else self.root / "service"
        for count in range(len(parts), 0, -1):
            folder, rest = base.joinpath(*parts[:count]), parts[count:]
            for file in (folder.with_suffix(".py"), folder / "__init__.py"):
                if file in self.texts and (not rest or (folder.name == file.stem and self.defines(file, rest[0]))):
                    return True
        return any(f'"{dotted}"' in text for text in self.texts.values())  # a log event may begin as a room does


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if name[0] != "." and name not in ("node_modules", "__pycache__", "_build")
        ]
        yield from (Path(folder, name) for name in names if name.endswith((".py", ".sql", ".md")))


def _path(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    path, _, name = found[0].strip("`").partition("::")
    if not _PLACEHOLDER.search(path) and not (tree.has(path) and (not name or name in tree.tests)):
        yield f"there is no {found[0].strip('`')}"


def _root_page(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    if tree.page(found[0], file) is None:
        yield f"there is no page {found[0]}"


def _section(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    if (page := tree.page(found["page"], file)) is None:
        return  # then its path is what is dead
    numbers = re.findall(r"\d+(?:\.\d+)*", found["numbers"])
    for section in (*numbers, *([f"{numbers[-1]}, {found['part']}"] if found["part"] else [])):
        if section not in tree.sections(page):
            yield f"{found['page']} has no §{section}"


def _names(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    path = found["path"]
    if not path.endswith((".py", ".sql")) or not tree.has(path):
        return
    for name in re.findall(r"`([\w.]+)`", found["names"]):
        if not tree.defines(tree.root / path, name):
            yield f"{path} does not define {name}"


def _module(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    if not tree.has_module(found[0]):
        yield f"there is no {found[0]}"


def _test(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    if found[1] not in tree.tests | tree.no_tests:
        yield f"there is no test {found[1]}"


def _decision(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    if not tree.has(f"docs/decisions/{int(found[1]):04}-*.md"):
        yield f"there is no decision {found[1]}"


def _elsewhere(tree: _Tree, file: Path, found: re.Match[str]) -> Iterator[str]:
    yield f"{found[0]}: what is cited is not in the repository"


# What a citation looks like, and what says whether it is dead.
_KINDS: tuple[tuple[re.Pattern[str], Callable[[_Tree, Path, re.Match[str]], Iterator[str]]], ...] = (
    (_PATHS, _path),
    (_ROOT_PAGES, _root_page),
    (_SECTIONS, _section),
    (_NAMES_AFTER, _names),
    (_NAMES_BEFORE, _names),
    (_MODULES, _module),
    (_TESTS, _test),
    (_DECISIONS, _decision),
    (_ELSEWHERE, _elsewhere),
)


if __name__ == "__main__":
    dead = dead_citations(Path(__file__).parents[1])
    print(*dead, sep="\n")  # noqa: T201
    sys.exit(bool(dead))
