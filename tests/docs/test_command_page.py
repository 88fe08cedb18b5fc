"""The page of the command agrees with the command."""

from docs import make_command


def test_the_page_is_what_the_command_says() -> None:
    """The committed page equals what `python -m docs.make_command` writes."""
    assert make_command.PAGE.read_text("utf-8") == make_command.page(), "run `python -m docs.make_command`"


def test_every_command_has_its_section() -> None:
    """Each command of the table has a section of its own, and none has the words of another's."""
    page = make_command.page()
    assert page.count("\n## ") == page.count("\n| [`") + 2
    for name in ("status", "order import", "events follow", "sandbox play"):
        assert f"\n## {name}\n" in page
