"""Metrics in Prometheus' text format: what this receiver did, and how the fleet keeps its promise."""

from dataclasses import asdict

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from service.db.promise import Measure


class Metrics:
    """One registry a process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._accepted = Counter("notices_accepted", "Notices that were made durable", registry=self._registry)
        self._spilled = Counter(
            "notices_spilled", "Of these, accepted into Redis while Postgres was away", registry=self._registry
        )
        self._refused = Counter("notices_not_recorded", "Notices answered 503", registry=self._registry)
        self._batches = Counter("notice_batches", "INSERTs that recorded them", registry=self._registry)
        self._requests = Counter("requests", "Requests answered", ["status"], registry=self._registry)
        self._by_status: dict[int, int] = {}  # since the page was last made
        self._promise = {
            name: Gauge(f"promise_{name}", "See /healthz/promise", registry=self._registry)
            for name in Measure.__slots__
        }

    def count_batch(self, *, accepted: int, spilled: int, refused: int) -> None:
        """One write of intake's."""
        self._batches.inc()
        self._accepted.inc(accepted)
        self._spilled.inc(spilled)
        self._refused.inc(refused)

    def count_request(self, status: int) -> None:
        """One answer. Counted here, as each counter has a lock; the page adds them up."""
        self._by_status[status] = self._by_status.get(status, 0) + 1

    def text(self, measured: Measure | None) -> bytes:
        """The page; without a measure the promise's gauges say NaN."""
        while self._by_status:
            status, count = self._by_status.popitem()
            self._requests.labels(status).inc(count)
        values = asdict(measured) if measured else {}
        for name, gauge in self._promise.items():
            value = values.get(name)
            gauge.set(float("nan") if value is None else value)
        return generate_latest(self._registry)
