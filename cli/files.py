"""Small private files, written whole or not at all."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read (0600). A reader sees the old text or the new, never a part."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_or_none(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError, UnicodeDecodeError):
        return None


def remember(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
    """Return the file's text. The first time, write what `make` returns."""
    stored = read_or_none(path)
    if stored:
        return stored
    text = make()
    write_private(path, text)
    return text
