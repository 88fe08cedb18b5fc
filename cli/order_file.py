"""Read orders from a CSV file: a line for each order, its columns named by the first line."""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import orjson

from cli.amounts import read_amount
from cli.errors import CommandFailed

COLUMNS = (
    "merchant_uid", "amount", "currency", "name", "account", "tier", "expires_at", "allow_billing_key_issue",
    "metadata",
)  # fmt: skip
_NEEDED = {"merchant_uid", "amount"}
_DELIMITERS = ",;\t"
_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A line of the file, and the order to send for it or why it cannot be sent."""

    number: int
    fields: Mapping[str, str]
    order: Mapping[str, Any] | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class OrderFile:
    """A CSV file of orders. `digest` names its content; `lines` is about how many it has, for a progress bar."""

    path: Path
    encoding: str
    digest: str
    lines: int

    @classmethod
    def of(cls, path: Path, encoding: str) -> "OrderFile":
        """Read the file once to know its digest and length. Raises OSError, or CommandFailed for no encoding."""
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise CommandFailed(f"{encoding!r} is no encoding: give one such as utf-8 or cp949.") from None
        digest, lines = hashlib.sha256(), 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                lines += piece.count(b"\n")
        return cls(path, encoding, digest.hexdigest(), lines)

    def read(self, after: int = 0) -> Iterator[OrderLine]:
        """Yield the lines behind a number. Raises CommandFailed for a file that is no CSV of orders."""
        try:
            with self.path.open(encoding=self.encoding, newline="") as file:
                for number, row, is_whole in _rows(file):
                    if number > after and any(row.values()):
                        yield _line(number, row, is_whole=is_whole)
        except UnicodeDecodeError:
            raise CommandFailed(
                f"{self.path} cannot be read as {self.encoding}: name its encoding, such as --encoding cp949."
            ) from None
        except csv.Error as error:
            raise CommandFailed(f"{self.path} is not a CSV file ({error}): save it as CSV, in UTF-8.") from None


def _rows(file: TextIO) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Yield each row with the number of its last line, and whether it has a value for each column."""
    columns, delimiter = _columns(file.readline())
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    for values in reader:
        row = dict(zip(columns, map(str.strip, values), strict=False))
        yield reader.line_num + 1, row, len(values) == len(columns)


def _columns(first: str) -> tuple[list[str], str]:
    """Return the columns' names and what separates them, which in some countries' spreadsheets is a semicolon."""
    delimiter = max(_DELIMITERS, key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if missing := sorted(_NEEDED - set(columns)):
        raise CommandFailed(
            f"The first line must name the columns, and {' and '.join(missing)} is not among them: it may have"
            f" {', '.join(COLUMNS)}."
        )
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise CommandFailed(
            f"No order has a column {unknown[0]!r}: rename or remove it; {', '.join(COLUMNS)} are known."
        )
    if len(set(columns)) < len(columns):
        raise CommandFailed("The first line names a column twice: remove one of them.")
    return columns, delimiter


def _line(number: int, row: dict[str, str], *, is_whole: bool) -> OrderLine:
    if not is_whole:
        return OrderLine(number, row, None, "It has more or fewer values than there are columns.")
    try:
        return OrderLine(number, row, _order({name: text for name, text in row.items() if text}))
    except (CommandFailed, ValueError) as error:
        return OrderLine(number, row, None, str(error))


def _order(fields: dict[str, str]) -> dict[str, Any]:
    """Return the body of `POST /orders` for a line. Raises CommandFailed or ValueError with the reason."""
    if missing := sorted(_NEEDED - set(fields)):
        raise ValueError(f"It has no {' and no '.join(missing)}.")
    order: dict[str, Any] = dict(fields)
    order["amount"] = read_amount(fields["amount"], fields.get("currency", "KRW"))
    if allowed := fields.get("allow_billing_key_issue"):
        if allowed.lower() not in _YES:
            raise ValueError("allow_billing_key_issue must be true or false.")
        order["allow_billing_key_issue"] = _YES[allowed.lower()]
    if metadata := fields.get("metadata"):
        try:
            order["metadata"] = orjson.loads(metadata)
        except orjson.JSONDecodeError:
            raise ValueError("metadata must be a JSON object.") from None
    return order
