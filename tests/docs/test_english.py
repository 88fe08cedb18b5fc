"""The English lint finds what it says it finds, and leaves plain sentences alone."""

from pathlib import Path

import pytest

from docs.english import ROOT, Finding, find, is_half_sentence, read, without_allowed
from docs.english_rules import ALLOWED, Allowed


@pytest.mark.parametrize(
    "docstring",
    [
        "What a batch's answers mean.",
        "Whose live token the header carries, if any's.",
        "Whether it is there.",
        "How far it has come.",
        "Those of the payments that are stored.",
        "The same, once: False, and nothing was kept.",
        "The same for several, all at once.",
        "So many calls wait already that one more may not.",
        "Nor is one that nobody registered.",
        "As if PortOne had been asked so much earlier.",
        "None: nothing is known.",
        "One that is queued again at once is due a little later.",
        "Where files cost no disk. Copying makes 300.",
        "When an order's terms may still change: before its payment.",
        "Of these orders: payments that hold money.",
        "With ALLOW_TEST_CHANNEL.",
        "Switched off since then: the SDK still refuses.",
        "Paid, and announced by webhook alone: the order is paid.",
        "Not even once; what is open again is asked about at the next turn.",
    ],
)
def test_half_sentences_are_found(docstring: str) -> None:
    """A docstring that opens without a main verb, or with a word like "What", is a finding."""
    assert is_half_sentence(docstring)


@pytest.mark.parametrize(
    "docstring",
    [
        "Record a batch of notices.",
        "A rate of calls under each account.",
        "The same terms twice are one order.",
        "Nothing is applied, and the sentence names the file.",
        "One webhook is sent five times.",
        "When Redis is away, notices are recorded in Postgres.",
        "After SIGTERM no process that it started still runs.",
        "Without a service key nobody reads an order.",
        "With `error_code` the browser goes on to the shop's page.",
        "Shared parts of the commands: databases and keys.",
        "Seed a schedule.\n\nWhat follows is free.",
    ],
)
def test_sentences_and_names_of_things_are_plain(docstring: str) -> None:
    """A sentence with a main verb passes, and so does a noun that names the thing."""
    assert not is_half_sentence(docstring)


def found_in(folder: Path, **texts: str) -> list[tuple[str, int, str]]:
    """Return the findings in files of these texts; `service__a` is service/a.py."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}{'' if '.' in name else '.py'}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return [(finding.file, finding.line, finding.text) for finding in find(read(folder))]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("# Read it anew.\n", "anew"),
        ("one = 1  # of so many\n", "so many"),
        ('"""A page.\n\nIt is kept, for it is asked for again."""\n', "for"),
        ('"""A page that is read, for aiohttp\'s own default would refuse it."""\n', "for"),
    ],
)
def test_words_with_a_plainer_one_are_found(tmp_path: Path, text: str, word: str) -> None:
    """A banned word in a comment or a docstring is found, with the line that it stands on."""
    [(file, line, found)] = found_in(tmp_path, service__a=text)
    assert (file, found) == ("service/a.py", word)
    assert word in text.splitlines()[line - 1]


@pytest.mark.parametrize(
    "text",
    [
        'TEXT = "so many"\n',
        '"""A page, for people that are many."""\n',
        '"""A rate, for two looks at most."""\n',
        "# The word `anew`.\n",
        "anew = 1\n",
        "# Terms are amended, and a door is knocked upon.\n",
    ],
)
def test_code_and_plain_words_are_left_alone(tmp_path: Path, text: str) -> None:
    """Code, strings, words in backticks and a "for" that is not "because" are no findings."""
    assert found_in(tmp_path, service__a=text) == []


def test_pages_and_sql_are_read_too(tmp_path: Path) -> None:
    """A page is read without its code, and an SQL file only in its comments."""
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "a.sql").write_text("-- Drawn anew.\nSELECT 'anew';\n")
    (tmp_path / "README.md").write_text("```\nanew\n```\n\nIn turn.\n")
    assert found_in(tmp_path) == [("README.md", 5, "In turn"), ("service/a.sql", 1, "anew")]


def test_a_name_has_one_home(tmp_path: Path) -> None:
    """A name outside its module, a retired name and a second class of one name are found; a private one may repeat."""
    names = found_in(
        tmp_path,
        service__a="class Problem: ...\nclass Page: ...\nAWAY = 1\ndef _own(): ...\n",
        workers__b="class Page: ...\ndef _own(): ...\ndef judge(): ...\n",
        sandbox__c="class Page: ...\nclass Settled: ...\n",
    )
    assert names == [
        ("sandbox/c.py", 2, "Settled"),
        ("service/a.py", 1, "Problem"),
        ("service/a.py", 3, "AWAY"),
        ("workers/b.py", 1, "Page"),
        ("workers/b.py", 3, "judge"),
    ]


def test_the_repository_has_nothing_to_write_otherwise() -> None:
    """No docstring, comment, page or name is a finding, but for the exceptions."""
    assert without_allowed(find(read(ROOT)), ALLOWED) == []


def test_an_exception_covers_its_own_finding_and_must_cover_one() -> None:
    """An exception takes a finding of its file and text out; one that covers nothing becomes a finding."""
    finding = Finding("a.py", 3, "anew", "write: again")
    assert without_allowed([finding], [Allowed("a.py", "anew", "a name")]) == []
    left = without_allowed([finding], [Allowed("b.py", "anew", "a name")])
    assert [(each.file, each.line) for each in left] == [("a.py", 3), ("b.py", 0)]
