"""The exit codes of every command. `--help` and docs/command.md print this table."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The way in which a command ended."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    STOPPED = 130
    UNREAD = 141


MEANINGS = {
    ExitCode.DONE: "It did what it was asked for. `status`, `doctor`: all is well.",
    ExitCode.FAILED: "It could not; one sentence says why, and what to do. `status`: something needs a person."
    " `doctor`: a fault. `orders import`: lines were refused. `order watch`: an order may not be delivered.",
    ExitCode.REFUSED: "It was called wrongly, or a setting is wrong. `status`: payments are held up now.",
    ExitCode.STOPPED: "Ctrl-C stopped it.",
    ExitCode.UNREAD: "Whoever read its output went away, as `head` does.",
}


def epilog() -> str:
    """Return the table for the end of `--help`."""
    return "\n\n".join(["Exit codes:", *(f"{code.value}: {text}" for code, text in MEANINGS.items())])
