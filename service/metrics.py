"""Metrics in Prometheus' text format: the counts of this receiver, and the measure of the promise."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.db.endpoints import WebhookEndpoint
from service.db.promise import Measure


class BatchedWork(Protocol):
    """One kind of work that is done in batches; the counts are since the start."""

    waiting: int
    batches: int
    items: int
    shed: int


class _Works(Collector):
    """Reads the counts of each kind of work when the page is made, so that counting costs nothing."""

    def __init__(self) -> None:
        self.by_name: dict[str, BatchedWork] = {}

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("work_waiting", "Items that wait for the next batch", labels=["work"])
        batches = CounterMetricFamily("work_batches", "Batches", labels=["work"])
        items = CounterMetricFamily("work_items", "Items in batches", labels=["work"])
        shed = CounterMetricFamily("work_shed", "Items turned away because too many waited", labels=["work"])
        for name, work in self.by_name.items():
            waiting.add_metric([name], work.waiting)
            batches.add_metric([name], work.batches)
            items.add_metric([name], work.items)
            shed.add_metric([name], work.shed)
        return waiting, batches, items, shed


class _Endpoints(Collector):
    """Shows each endpoint that is told of changes, as it was last read."""

    def __init__(self) -> None:
        self.endpoints: Sequence[WebhookEndpoint] = ()

    def collect(self) -> Iterable[Metric]:
        delivered = CounterMetricFamily("endpoint_deliveries", "Webhooks answered with success", labels=["endpoint"])
        failed = CounterMetricFamily("endpoint_failures", "Attempts that failed", labels=["endpoint"])
        given_up = CounterMetricFamily("endpoint_given_up", "Events that were given up", labels=["endpoint"])
        late = GaugeMetricFamily("endpoint_late_orders", "Orders behind the endpoint's cursor", labels=["endpoint"])
        behind = GaugeMetricFamily("endpoint_behind_seconds", "Age of the oldest event not told", labels=["endpoint"])
        disabled = GaugeMetricFamily("endpoint_disabled", "1 if it gets nothing", labels=["endpoint"])
        for endpoint in self.endpoints:
            label = [endpoint.name]
            delivered.add_metric(label, endpoint.delivered)
            failed.add_metric(label, endpoint.failed)
            given_up.add_metric(label, endpoint.given_up)
            late.add_metric(label, endpoint.late)
            behind.add_metric(label, max(0.0, endpoint.behind_seconds or 0.0))
            disabled.add_metric(label, endpoint.disabled_at is not None)
        return delivered, failed, given_up, late, behind, disabled


class Metrics:
    """The registry of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._accepted = Counter("notices_accepted", "Notices that were made durable", registry=self._registry)
        self._spilled = Counter(
            "notices_spilled", "Notices made durable in Redis while Postgres was away", registry=self._registry
        )
        self._no_room = Counter(
            "notices_without_room", "Notices answered 503 because SPILL_MEGABYTES was used up", registry=self._registry
        )
        self._refused = Counter("notices_not_recorded", "Notices answered 503", registry=self._registry)
        self._batches = Counter("notice_batches", "INSERTs that recorded notices", registry=self._registry)
        self._events = Counter(
            "connection_events",
            "Connections and requests refused or closed",
            ["event", "kind"],
            registry=self._registry,
        )
        self._works = _Works()
        self._registry.register(self._works)
        self._endpoints = _Endpoints()
        self._registry.register(self._endpoints)
        self._requests = Counter("requests", "Requests answered", ["status"], registry=self._registry)
        self._by_status: dict[int, int] = {}  # since the page was last made
        self._feed_lag = Gauge(
            "feed_lag_seconds", "How long the feed has held back its oldest event", registry=self._registry
        )
        self._promise = {
            name: Gauge(f"promise_{name}", "See /healthz/promise", registry=self._registry)
            for name in Measure.__slots__
        }

    def watch(self, **works: BatchedWork) -> None:
        """Show these kinds of work, by name."""
        self._works.by_name |= works

    def show_endpoints(self, endpoints: Sequence[WebhookEndpoint]) -> None:
        """Show these endpoints, as they were read."""
        self._endpoints.endpoints = endpoints

    def count_batch(self, *, accepted: int, spilled: int, refused: int) -> None:
        """Count one write of intake."""
        self._batches.inc()
        self._accepted.inc(accepted)
        self._spilled.inc(spilled)
        self._refused.inc(refused)

    def count_no_room(self, notices: int) -> None:
        """Count notices that found no room in Redis while Postgres was away."""
        self._no_room.inc(notices)

    def count_event(self, event: str, kind: str) -> None:
        """Count a connection that was refused or closed, or a request that was not understood."""
        self._events.labels(event, kind).inc()

    def count_request(self, status: int) -> None:
        """Count one answer. A counter costs a lock, so answers are added to it only when the page is made."""
        self._by_status[status] = self._by_status.get(status, 0) + 1

    def text(self, measured: Measure | None, feed_lag_seconds: float | None = None) -> bytes:
        """Return the page; without a measure the gauges of the promise and the feed are NaN."""
        self._feed_lag.set(float("nan") if feed_lag_seconds is None else feed_lag_seconds)
        while self._by_status:
            status, count = self._by_status.popitem()
            self._requests.labels(status).inc(count)
        values = asdict(measured) if measured else {}
        for name, gauge in self._promise.items():
            value = values.get(name)
            gauge.set(float("nan") if value is None else value)
        return generate_latest(self._registry)
