"""The payment windows that pages have opened, in memory and bounded. No I/O."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.browser.outcome_names import WindowOutcome
from sandbox.browser.providers import Provider
from sandbox.payment import Payment

MOST_WINDOWS = 2000
DEFAULT_LATER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Opening:
    """A page's request for a window, and the way it opens."""

    kind: str
    """`payment` or `certification`"""
    provider: Provider
    params: dict[str, Any]
    device: str
    """`pc` or `mobile`"""
    mode: str
    """`overlay`, `popup` or `redirect`"""
    page_origin: str
    redirect_url: str | None = None
    confirm_url: str | None = None
    outcome: WindowOutcome | None = None
    """The outcome that the page itself chose, for its own tests."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a window, as the browser is told."""

    data: dict[str, Any]
    """The data that the callback gets."""
    return_url: str | None
    """Where a redirect leads; None without an `m_redirect_url`."""


@dataclass(slots=True, eq=False)
class Window:
    """One window. A certification has no payment."""

    id: str
    imp_uid: str
    merchant_uid: str
    opening: Opening
    payment: Payment | None = None
    playing: asyncio.Task[Result] | None = None
    """The outcome that was chosen, under way or over."""

    @property
    def result(self) -> Result | None:
        """Return the result, or None while the window is open."""
        over = self.playing is not None and self.playing.done() and not self.playing.cancelled()
        return self.playing.result() if self.playing and over and not self.playing.exception() else None


@dataclass(slots=True)
class WindowDesk:
    """Every window, and the autopilot. The window that was opened first is forgotten first."""

    autopilot: WindowOutcome | None = None
    later_seconds: float = DEFAULT_LATER_SECONDS
    """How long after the browser's result that which comes late happens."""
    windows: OrderedDict[str, Window] = field(default_factory=OrderedDict)
    listeners: list[Callable[[Window, str, dict[str, Any]], None]] = field(default_factory=list)
    """Called with a window, what happened to it, and evidence."""

    def add(self, imp_uid: str, merchant_uid: str, opening: Opening, payment: Payment | None = None) -> Window:
        """Keep a new window under an id that nobody can guess."""
        window = Window(secrets.token_urlsafe(16), imp_uid, merchant_uid, opening, payment)
        self.windows[window.id] = window
        while len(self.windows) > MOST_WINDOWS:
            self.windows.popitem(last=False)
        return window

    def tell(self, window: Window, event: str, **evidence: Any) -> None:
        """Tell the listeners what happened to a window."""
        for listener in self.listeners:
            listener(window, event, {"imp_uid": window.imp_uid, **evidence})

    def clear(self) -> None:
        """Forget the windows and the autopilot."""
        self.windows.clear()
        self.autopilot, self.later_seconds = None, DEFAULT_LATER_SECONDS
