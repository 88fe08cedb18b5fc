"""Write docs/command.md, every command with its options, from the command itself: `python -m docs.make_command`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cli.exit_codes import MEANINGS
from cli.main import app

PAGE = Path(__file__).with_name("command.md")
_NAME = "portone-orders"
_EXAMPLE = "Example: "
_INTRODUCTION = f"""\
# The command

<!-- made by `python -m docs.make_command` from the command itself: change its words, not this page -->

`{_NAME}` runs the service, looks at it, and acts on it. This page has the words of
`{_NAME} COMMAND --help`. The service that the environment or `.env` names is meant, or else the `make run` of this
folder (`STATE_DIR`).

- **At a glance** `{_NAME} status` says whether all is well and, if not, what to do; `top` shows the day as it
  goes; `doctor` names the culprit of each fault.
- **For people and programs** Tables and colours are only where a terminal is, and `NO_COLOR` turns colours off. In a
  pipe a list is one line for each, its values separated by tabs. With `--json` the standard output is one JSON
  document, or one for each event where a command follows. What is only for people goes to standard error.
- **Completion** `{_NAME} --install-completion` teaches your shell the commands, the options and their
  values (bash, zsh, fish, PowerShell); `--show-completion` prints the script instead.
- **One word or two** `orders` is another name of `order`.

## Exit codes

Every error is one sentence on standard error, which says what to do.

| code | meaning |
| --- | --- |
"""


@dataclass(frozen=True)
class DocumentedCommand:
    """A command by its whole name, with its parts as the parser has them."""

    name: str
    context: Any

    @property
    def command(self) -> Any:
        return self.context.command

    @property
    def paragraphs(self) -> list[str]:
        """The docstring's paragraphs, each on one line."""
        return [" ".join(part.split()) for part in (self.command.help or "").strip().split("\n\n")]

    @property
    def anchor(self) -> str:
        return self.name.replace(" ", "-")


def page() -> str:
    """Return the whole page."""
    commands = list(_commands())
    codes = "".join(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items())
    rows = "".join(f"| [`{one.name}`](#{one.anchor}) | {one.paragraphs[0]} |\n" for one in commands)
    overview = f"\n## All commands\n\n| command | what for |\n| --- | --- |\n{rows}"
    return _INTRODUCTION + codes + overview + "".join(f"\n{_section(one)}" for one in commands)


def _commands() -> Iterator[DocumentedCommand]:
    """Yield every command that is not hidden, in the order of `--help`."""
    command: Any = typer.main.get_command(app)
    yield from _below(command.make_context(_NAME, [], resilient_parsing=True), "")


def _below(context: Any, name: str) -> Iterator[DocumentedCommand]:
    if not hasattr(context.command, "commands"):
        yield DocumentedCommand(name, context)
        return
    if name and context.command.invoke_without_command:
        yield DocumentedCommand(name, context)
    for word, command in context.command.commands.items():
        if not command.hidden:
            below = command.make_context(word, [], parent=context, resilient_parsing=True)
            yield from _below(below, f"{name} {word}".strip())


def _section(one: DocumentedCommand) -> str:
    parts = [f"## {one.name}\n"]
    parts += [f"{text}\n" for text in one.paragraphs if not text.startswith(_EXAMPLE)]
    examples = [text.removeprefix(_EXAMPLE) for text in one.paragraphs if text.startswith(_EXAMPLE)]
    if examples:
        parts.append("For example:\n\n" + "".join(f"- `{example}`\n" for example in examples))
    if rows := [row for param in one.command.params if (row := _row(param, one.context))]:
        parts.append("\n".join(["| argument or option | meaning |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def _row(param: Any, context: Any) -> str:
    """Return a parameter's line of the table. `--help` is everywhere and left out."""
    if param.name == "help" or getattr(param, "hidden", False):
        return ""
    if param.param_type_name == "argument":
        names, text = param.metavar or param.name.upper(), param.help or ""
    else:
        names, text = param.get_help_record(context)
    return f"| `{_plain(names)}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _plain(names: str) -> str:
    """Return the names without the type of a switch, which says nothing."""
    return names.replace(" <bool>", "").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
