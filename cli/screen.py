"""Print for a person: coloured on a terminal, as plain lines elsewhere. Printing never fails."""

import sys
from contextlib import suppress
from io import TextIOWrapper

from rich.console import Console
from rich.text import Text


class Screen:
    """Lines on standard output. A terminal that has gone away is no error, because the parts must still be stopped."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal may not know ✓
        self._console = Console(soft_wrap=True, highlight=False)

    def step(self, text: str) -> None:
        self._print(Text.assemble(("  … ", "dim"), text))

    def done(self, text: str) -> None:
        self._print(Text.assemble(("  ✓ ", "green"), text))

    def warn(self, text: str) -> None:
        self._print(Text.assemble(("  ! ", "yellow"), text))

    def fail(self, text: str) -> None:
        self._print(Text.assemble(("  ✗ ", "red"), text))

    def line(self, text: str = "", style: str = "") -> None:
        self._print(Text(text, style))

    def text(self, text: Text) -> None:
        self._print(text)

    def _print(self, text: Text) -> None:
        with suppress(OSError, SystemExit):  # rich would exit on a broken pipe
            self._console.print(text)
            sys.stdout.flush()
