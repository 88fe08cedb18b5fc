"""The worker's metrics: looks, PortOne's calls, deliveries, and whether it takes up notices."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from service.durations import Durations
from service.exposition import Exposition, Labels
from service.portone.client import PortOne
from service.usecases.heartbeat import Vitals
from service.usecases.look_counts import LookCounts


class WorkerMetrics(Exposition):
    """The metrics of one worker. Its parts are set once they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = LookCounts()
        self.accounts: Mapping[str, PortOne] = {}
        self.deliveries: Mapping[str, Durations] = {}
        self.vitals = Vitals()
        self._began = time.time()
        self._show_looks()
        self._show_portone()
        self._show_vitals()
        self.histogram(
            "endpoint_attempt_seconds",
            "Time that attempts at outgoing webhooks took",
            lambda: {(result,): durations for result, durations in self.deliveries.items()},
            ("result",),
        )

    async def page(self) -> bytes:
        """Return the page."""
        return self.text()

    def _show_looks(self) -> None:
        self.counter(
            "notice_looks",
            "Looks for notices, by their outcome and the notice's fate",
            lambda: self.looks.fates,
            ("outcome", "fate"),
        )
        self.histogram(
            "notice_commit_seconds",
            "Time from a notice to the commit of the look that handled it",
            lambda: {(): self.looks.commits},
        )

    def _show_portone(self) -> None:
        def durations() -> Mapping[Labels, Durations]:
            every = ((name, client.durations.items()) for name, client in self.accounts.items())
            return {(name, result): calls for name, results in every for result, calls in results}

        def is_open() -> Mapping[Labels, float]:
            return {(name,): client.breaker.is_open for name, client in self.accounts.items()}

        def refused() -> Mapping[Labels, float]:
            return {(name,): client.standing.refused_at is not None for name, client in self.accounts.items()}

        label = ("account",)
        self.histogram("portone_call_seconds", "Time that PortOne's answers took", durations, ("account", "result"))
        self.gauge("portone_breaker_open", "1 while PortOne is down and is only probed", is_open, label)
        self.gauge("portone_key_refused", "1 while PortOne refuses the account's key", refused, label)

    def _show_vitals(self) -> None:
        def age() -> Mapping[Labels, float]:
            worked_at = self.vitals.worked_at or datetime.fromtimestamp(self._began, UTC)
            return {(): (datetime.now(UTC) - worked_at).total_seconds()}

        self.gauge("sweep_age_seconds", "Time since the worker's last whole sweep, which comes every 2 s", age)
