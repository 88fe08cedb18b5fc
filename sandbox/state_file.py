"""Keep payments over a restart, in one JSON file that is replaced as a whole, so that it is never half written."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from sandbox.ledger import Ledger, Prepared
from sandbox.payment import Change, Owner, Payment, PendingCancel
from sandbox.world import WORLD

SAVE_EVERY_SECONDS = 0.5  # a killed sandbox forgets no more than this
# A payment's fields follow from its changes.
SAVED = tuple(field.name for field in fields(Payment) if field.name != "fields")


class StateFileProblem(Exception):
    """The state file cannot be read or written; the message is one sentence that says which."""


def load(ledger: Ledger, file: Path) -> None:
    """Load the saved payments. A missing file is an empty ledger. Raises StateFileProblem."""
    if not file.exists():
        return
    try:
        saved = orjson.loads(file.read_bytes())
        payments = [_payment(row) for row in saved["payments"]]
        prepared = {(Owner(*owner), order): _prepared(*terms) for owner, order, terms in saved["prepared"]}
    except (OSError, ValueError, ArithmeticError, KeyError, IndexError, TypeError) as error:
        sentence = f"The sandbox's state in {file} cannot be read: remove the file or name another."
        raise StateFileProblem(sentence) from error
    for payment in payments:
        ledger.add(payment)
    ledger.prepared |= prepared


def dump(ledger: Ledger) -> bytes:
    """Return the ledger as bytes for `load`."""
    # Shallow: orjson writes the changes by itself, where asdict would copy each of them first.
    payments = [{name: getattr(payment, name) for name in SAVED} for payment in ledger.payments()]
    prepared = [[[*owner], order, [str(one.amount), one.currency]] for (owner, order), one in ledger.prepared.items()]
    return orjson.dumps({"payments": payments, "prepared": prepared})


def save(ledger: Ledger, file: Path) -> None:
    """Write a temporary file, then move it over the old one. Only its owner may read it. Raises StateFileProblem."""
    try:
        descriptor, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(dump(ledger))
            Path(beside).replace(file)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        sentence = f"The sandbox cannot write its state to {file}: {error.strerror}."
        raise StateFileProblem(sentence) from error


async def keep_saved(app: web.Application) -> AsyncIterator[None]:
    """Save changes while the application runs, and once more when it stops."""
    ledger, file = app[WORLD].ledger, app[WORLD].config.state_file
    if file is None:
        yield
        return
    save(ledger, file)  # better no sandbox than one that will forget
    saver = asyncio.create_task(_save_changes(ledger, file))
    yield
    saver.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await saver
    save(ledger, file)


async def _save_changes(ledger: Ledger, file: Path) -> None:
    saved_revision = ledger.revision
    while True:
        await asyncio.sleep(SAVE_EVERY_SECONDS)
        if ledger.revision != saved_revision:
            saved_revision = ledger.revision
            with contextlib.suppress(StateFileProblem):  # a full disk must not stop the payments
                save(ledger, file)


def _prepared(amount: str, currency: str | None) -> Prepared:
    return Prepared(Decimal(amount), currency)


def _payment(row: dict[str, Any]) -> Payment:
    changes = [Change(**change) for change in row.pop("changes")]
    pending = [PendingCancel(**cancel) for cancel in row.pop("pending_cancels")]
    payment = Payment(**row | {"notice_urls": tuple(row["notice_urls"])}, pending_cancels=pending)
    for change in changes:
        payment.apply(change)
    return payment
