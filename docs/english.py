"""Check the English of docstrings, comments and pages, and that a name means one thing: `python -m docs.english`.

CONTRIBUTING.md ("Plain English") has the rules in words; `docs/english_rules.py` has the tables.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from docs.english_rules import ALLOWED, CLAUSE, HALF, HOMES, PHRASE, VERBS, WORD, WORDS, Allowed

ROOT = Path(__file__).parents[1]
ROOMS = ("service", "workers", "cli", "sandbox", "faults", "bench", "docs", "tests")
PRODUCT = ("service", "workers", "cli")
NOT_OURS = {".venv", "_build", "node_modules", "results"}

_HALF = re.compile(rf"(?:{HALF})(?!\w)")
_CLAUSE = re.compile(rf"(?:{CLAUSE})(?!\w)")
_PHRASE = re.compile(rf"(?:{PHRASE})(?!\w)")
_SENTENCE_END = re.compile(r"[.;](?:\s|$)|\n\n")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_COMMENT = {".py": re.compile(r"(?:^|\s)# .*"), ".sql": re.compile(r"--.*")}
_OPEN_OTHERWISE = "open with what it does (a verb) or is (a noun)"
_SET_A_COMMA = f"{_OPEN_OTHERWISE}, or set a comma before the main clause"


class Finding(NamedTuple):
    """Something to write otherwise: where it is, what it says, and what to write instead."""

    file: str
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text!r}: {self.instead}"


@dataclass(frozen=True)
class Source:
    """A program, an SQL file or a page."""

    file: str
    text: str
    tree: ast.Module

    @classmethod
    def read(cls, root: Path, path: Path) -> Self:
        text = path.read_text("utf-8")
        return cls(path.relative_to(root).as_posix(), text, ast.parse(text if path.suffix == ".py" else ""))

    @cached_property
    def docstrings(self) -> Sequence[tuple[int, str]]:
        """Each docstring with its line."""
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        nodes = (node for node in ast.walk(self.tree) if isinstance(node, kinds))
        return [(node.body[0].lineno, text) for node in nodes if (text := ast.get_docstring(node, clean=False))]

    def prose(self) -> dict[int, str]:
        """Return the lines that are read as English: a page's, or a program's comments and docstrings."""
        comment = _COMMENT.get(Path(self.file).suffix)
        if comment is None:
            page = _CODE.sub(lambda code: "…" + "\n" * code.group().count("\n"), self.text)
            return dict(enumerate(page.split("\n"), 1))
        lines = enumerate(self.text.split("\n"), 1)
        prose = {number: match.group() for number, line in lines if (match := comment.search(line))}
        for first, text in self.docstrings:
            prose |= dict(enumerate(text.split("\n"), first))
        return prose


def is_half_sentence(docstring: str) -> bool:
    """Tell whether a docstring opens with a clause that lacks its main verb."""
    sentence = " ".join(_SENTENCE_END.split(docstring.strip(), maxsplit=1)[0].split())
    before_colon, colon, _ = _CODE.sub("it", sentence).partition(":")
    if _CLAUSE.match(sentence):
        return not _has_verb(sentence.partition(", ")[2])
    if _PHRASE.match(sentence):
        return not _has_verb(before_colon, sure=bool(colon))
    return bool(_HALF.match(sentence))


def _has_verb(clause: str, *, sure: bool = False) -> bool:
    """Tell whether one of the words may be a verb; where it must be `sure`, a plural does not count."""
    words = re.findall(r"[\w']+", clause)[1:]
    return any(word in VERBS or (not sure and word.endswith(("s", "ed"))) for word in words)


def openings(source: Source) -> Iterator[Finding]:
    """Yield the docstrings that open with half a sentence."""
    for line, text in source.docstrings:
        if is_half_sentence(text):
            instead = _SET_A_COMMA if _CLAUSE.match(text) else _OPEN_OTHERWISE
            yield Finding(source.file, line, text.strip().partition("\n")[0], instead)


def words(source: Source) -> Iterator[Finding]:
    """Yield the words that have a plainer one."""
    if not WORD.search(source.text):
        return  # the usual case, found quickly
    for line, text in source.prose().items():
        for match in WORD.finditer(_CODE.sub("…", text)):
            instead = WORDS[int((match.lastgroup or "")[1:])].instead
            yield Finding(source.file, line, match.group().strip(), f"write: {instead}")


def definitions(source: Source) -> Iterator[tuple[str, int]]:
    """Yield each name that a module defines at its top, but for type variables and annotated types."""
    for node in source.tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if not ast.unparse(value).startswith(("TypeVar(", "ParamSpec(", "Annotated[")):
                    yield name, node.lineno
            case _:
                pass


def collisions(sources: Iterable[Source]) -> Iterator[Finding]:
    """Yield each name that is defined outside its one module, and each class or constant that is defined twice."""
    first: dict[str, str] = {}
    for source in sources:
        if not source.file.startswith((*PRODUCT, "sandbox")):
            continue
        module = source.file.removesuffix(".py").replace("/", ".")
        for name, line in definitions(source):
            home = HOMES.get(name, module)
            if home != module:
                yield Finding(source.file, line, name, f"this name belongs to {home}" if home else "find another name")
            elif (other := _other(first, name, source.file)) != source.file:
                yield Finding(source.file, line, name, f"find another name: {other} has this one")


def _other(first: dict[str, str], name: str, file: str) -> str:
    """Return the file that has a class or constant of this name; this one, if none has it yet."""
    # The sandbox plays PortOne, and has its own words for what PortOne has.
    return first.setdefault(name, file) if name[0].isupper() and file.startswith(PRODUCT) else file


def read(root: Path) -> list[Source]:
    """Read the programs, SQL files and pages, without the tables here, which name what they ban."""
    paths = [path for room in ROOMS for path in sorted((root / room).rglob("*")) if not NOT_OURS & set(path.parts)]
    ours = [path for path in paths if path.suffix in {".py", ".sql", ".md"} and "english" not in path.stem]
    return [Source.read(root, path) for path in (*sorted(root.glob("*.md")), *ours)]


def find(sources: Sequence[Source]) -> list[Finding]:
    """Return everything to write otherwise."""
    each = [finding for source in sources for check in (openings, words) for finding in check(source)]
    return sorted([*each, *collisions(sources)])


def without_allowed(findings: Sequence[Finding], allowed: Sequence[Allowed]) -> list[Finding]:
    """Return the findings that no exception covers, and the exceptions that cover nothing."""

    def covers(exception: Allowed, finding: Finding) -> bool:
        return exception.file == finding.file and exception.text in finding.text

    left = [finding for finding in findings if not any(covers(exception, finding) for exception in allowed)]
    unused = [exception for exception in allowed if not any(covers(exception, finding) for finding in findings)]
    return left + [Finding(file, 0, text, "no longer there: take the exception out") for file, text, _ in unused]


def main() -> int:
    """Print everything to write otherwise; return the exit status."""
    sources = read(ROOT)
    findings = find(sources)
    left = without_allowed(findings, ALLOWED)
    for finding in left:
        print(finding)
    docstrings = sum(len(source.docstrings) for source in sources)
    half = sum(finding.instead in (_OPEN_OTHERWISE, _SET_A_COMMA) for finding in findings)
    if left:
        print(f"{len(left)} findings. Of {docstrings} docstrings {half} open with half a sentence.")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
