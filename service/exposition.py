"""The metrics of one process in Prometheus' text format.

Every metric is a line that names where its numbers are. They are read when the page is made, so counting costs no more
than an addition, and nothing is done for a page that nobody reads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.db.lending import ConnectionPool
from service.durations import Durations

PREFIX = "portone_orders_"

# The labels' values of a sample; () where a metric has no labels.
Labels = tuple[str, ...]
Numbers = Callable[[], Mapping[Labels, float]]
NAN = float("nan")


class BatchedWork(Protocol):
    """One kind of work that is done in batches; the counts are since the start."""

    waiting: int
    batches: int
    items: int
    shed: int


@dataclass(frozen=True, slots=True)
class _Shown(Collector):
    """One metric, and the function that reads it."""

    empty: Callable[[], Metric]
    add: Callable[[Metric], None]

    def collect(self) -> Iterable[Metric]:
        family = self.empty()
        self.add(family)
        return (family,)


class Exposition:
    """The page of one process: what each has, and what it is told to show besides."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._works: dict[str, BatchedWork] = {}
        self._pools: dict[str, ConnectionPool] = {}
        ProcessCollector(registry=self._registry)
        self._show_works()
        self._show_pools()

    def watch(self, **works: BatchedWork) -> None:
        """Show these kinds of work, by name."""
        self._works |= works

    def watch_pool(self, name: str, pool: ConnectionPool) -> None:
        """Show this pool of connections to Postgres."""
        self._pools[name] = pool

    def gauge(self, name: str, meaning: str, read: Numbers, labels: Sequence[str] = ()) -> None:
        """Show a number that goes up and down."""
        self._show(GaugeMetricFamily, name, meaning, labels, read)

    def counter(self, name: str, meaning: str, read: Numbers, labels: Sequence[str] = ()) -> None:
        """Show a number that only grows; its samples end in `_total`."""
        self._show(CounterMetricFamily, name, meaning, labels, read)

    def histogram(
        self, name: str, meaning: str, read: Callable[[], Mapping[Labels, Durations]], labels: Sequence[str] = ()
    ) -> None:
        """Show durations."""

        def add(family: Metric) -> None:
            for values, durations in read().items():
                cast("HistogramMetricFamily", family).add_metric(values, durations.buckets(), durations.total_seconds)

        self._registry.register(_Shown(lambda: HistogramMetricFamily(PREFIX + name, meaning, labels=labels), add))

    def families(self) -> list[Metric]:
        """Return every metric of the page, with its meaning."""
        return list(self._registry.collect())

    def text(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def _show(
        self,
        kind: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        meaning: str,
        labels: Sequence[str],
        read: Numbers,
    ) -> None:
        def add(family: Metric) -> None:
            for values, number in read().items():
                cast("GaugeMetricFamily", family).add_metric(values, number)

        self._registry.register(_Shown(lambda: kind(PREFIX + name, meaning, labels=labels), add))

    def _show_works(self) -> None:
        def each(read: Callable[[BatchedWork], int]) -> Numbers:
            return lambda: {(name,): read(work) for name, work in self._works.items()}

        label = ("work",)
        self.gauge("work_waiting", "Items that wait for the next batch", each(lambda work: work.waiting), label)
        self.counter("work_batches", "Batches", each(lambda work: work.batches), label)
        self.counter("work_items", "Items in batches", each(lambda work: work.items), label)
        self.counter("work_shed", "Items turned away because too many waited", each(lambda work: work.shed), label)

    def _show_pools(self) -> None:
        def each(read: Callable[[ConnectionPool], float]) -> Numbers:
            return lambda: {(name,): read(pool) for name, pool in self._pools.items()}

        def busy(pool: ConnectionPool) -> float:
            return pool.get_size() - pool.get_idle_size()

        label = ("pool",)
        self.gauge("pool_busy", "Connections to Postgres in use", each(busy), label)
        self.gauge("pool_open", "Connections to Postgres", each(lambda pool: pool.get_size()), label)
        self.gauge("pool_max", "Connections to Postgres at most", each(lambda pool: pool.get_max_size()), label)
        self.histogram(
            "pool_wait_seconds",
            "Time until a connection to Postgres was free",
            lambda: {(name,): pool.waits for name, pool in self._pools.items()},
            label,
        )
