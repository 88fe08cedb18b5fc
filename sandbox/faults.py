"""Switches that make the sandbox fail as PortOne, or the network before it, can fail."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sandbox.errors import BadInput
from sandbox.inputs import Body

FORMATS = ("json", "form", "both")
WHEN = ("before", "after")
API_ANSWERS = ("401", "429", "500", "502", "503", "half_body", "garbage", "wrong_shape", "hang", "reset")
MOST_SECONDS = 3600
MOST_CALLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Faults:
    """The switches, all off by default. api_* act on V1 calls, webhook_* on the sender, the others on reads."""

    latency_seconds: float = 0
    api_answer: str | None = None
    """One of API_ANSWERS instead of the right answer."""
    api_when: str = "before"
    """`after` carries the call out and then answers wrongly: a refund that was made and timed out."""
    api_times: int | None = None
    """For how many calls; None is all of them."""
    api_probability: float = 1
    api_path: str | None = None
    """Only calls whose path contains this; None is all of them."""
    seed: int = 0
    stale_seconds: float = 0
    """Reads answer the state of this many seconds ago."""
    hide_payments: bool | tuple[str, ...] = False
    """Payments that PortOne claims not to know: all, or these imp_uids."""
    omit_sandbox: bool = False
    """Answers lack `sandbox`, as older captures do."""
    batch_latest_only: bool = False
    """A merchant_uid in a batch look brings its latest attempt only; PortOne does not say which it is."""
    webhook_drop: bool = False
    webhook_drop_probability: float = 0
    webhook_copies: int = 1
    webhook_delay_seconds: float = 0
    webhook_reorder: int = 0
    """Hold this many webhooks back, then send them last first. 0 and 1 hold none."""
    webhook_format: str = "json"
    """json, form, or both: the console's choice."""
    webhook_retries: int = 0
    """PortOne retries only where asked by mail: at most 5 times, until the answer is 200."""
    webhook_retry_seconds: float = 60

    def hides(self, imp_uid: str) -> bool:
        """Say whether reads answer as if this payment did not exist."""
        return self.hide_payments if isinstance(self.hide_payments, bool) else imp_uid in self.hide_payments


class FaultDesk:
    """The present switches, and the counts and random numbers that they need."""

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self.set(Faults())

    def set(self, faults: Faults) -> None:
        """Take new switches; counts and chances start again."""
        self.now = faults
        self._times_left = faults.api_times
        # One generator each, so that a webhook more or less does not change which calls fail.
        self._api_chance = random.Random(faults.seed)  # noqa: S311 - a repeatable test, no secret
        self._webhook_chance = random.Random(faults.seed)  # noqa: S311

    def clear(self) -> None:
        """Switch everything off, and let go of the calls that hang."""
        self.set(Faults())
        self.release()

    def release(self) -> None:
        """Let go of the calls that hang; their connections are cut."""
        self._released.set()
        self._released = asyncio.Event()

    async def hang(self) -> None:
        """Wait until the calls that hang are let go."""
        await self._released.wait()

    def take_api_answer(self, path: str) -> str | None:
        """Return the wrong answer for this call, or None. It uses up one of `api_times`."""
        if self.now.api_answer is None or (self.now.api_path or "") not in path:
            return None
        if self._times_left == 0 or self._api_chance.random() >= self.now.api_probability:
            return None
        if self._times_left is not None:
            self._times_left -= 1
        return self.now.api_answer

    def drops_webhook(self) -> bool:
        """Say whether this webhook is lost."""
        return self.now.webhook_drop or self._webhook_chance.random() < self.now.webhook_drop_probability


def read_faults(body: Body, now: Faults) -> Faults:
    """Return the switches after this request: those it names are set, null is off, the others stay."""
    named = {name: read(body, name) for name, read in _READERS.items() if body.has(name)}
    body.finish()
    return replace(now, **named)


def _seconds(body: Body, name: str) -> float:
    return body.number(name, 0, 0, MOST_SECONDS)


def _hidden(body: Body, name: str) -> bool | tuple[str, ...]:
    match body.anything(name):
        case None:
            return False
        case bool() as hidden:
            return hidden
        case list() as imp_uids if all(isinstance(imp_uid, str) for imp_uid in imp_uids):
            return tuple(imp_uids)
        case _:
            raise BadInput(f"{name} must be true, false or a list of imp_uids.")


_READERS: dict[str, Callable[[Body, str], Any]] = {
    "latency_seconds": _seconds,
    "api_answer": lambda body, name: body.choice(name, API_ANSWERS),
    "api_when": lambda body, name: body.choice(name, WHEN) or "before",
    "api_times": lambda body, name: body.whole(name, 0, 0, MOST_CALLS) if body.given(name) else None,
    "api_probability": lambda body, name: body.number(name, 1, 0, 1),
    "api_path": lambda body, name: body.optional_text(name),
    "seed": lambda body, name: body.whole(name, 0, 0, 2**53),
    "stale_seconds": _seconds,
    "hide_payments": _hidden,
    "omit_sandbox": lambda body, name: body.flag(name),
    "batch_latest_only": lambda body, name: body.flag(name),
    "webhook_drop": lambda body, name: body.flag(name),
    "webhook_drop_probability": lambda body, name: body.number(name, 0, 0, 1),
    "webhook_copies": lambda body, name: body.whole(name, 1, 1, 1000),
    "webhook_delay_seconds": _seconds,
    "webhook_reorder": lambda body, name: body.whole(name, 0, 0, 1000),
    "webhook_format": lambda body, name: body.choice(name, FORMATS) or "json",
    "webhook_retries": lambda body, name: body.whole(name, 0, 0, 5),
    "webhook_retry_seconds": _seconds,
}
