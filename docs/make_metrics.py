"""Write the table of all metrics in docs/telemetry.md from the code: `python -m docs.make_metrics`."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric

from docs.make_settings import replaced
from service.exposition import PREFIX, Exposition
from service.metrics import Metrics
from service.usecases.measuring import SharedState, show_shared
from workers.metrics import WorkerMetrics

PAGE = Path(__file__).parent / "telemetry.md"
_MADE = "<!-- made by `python -m docs.make_metrics` -->\n"
_END = "<!-- end of what is made -->\n"


def pages() -> dict[str, Exposition]:
    """Return a receiver's and a worker's page, before anything happened."""
    receiver = Metrics()
    show_shared(receiver, SharedState)
    return {"receiver": receiver, "worker": WorkerMetrics()}


def ours() -> dict[str, Metric]:
    """Return each metric of ours by its name in queries, so without those that Prometheus' library adds."""
    every = (metric for page in pages().values() for metric in page.families())
    return {query_name(metric): metric for metric in every if metric.name.startswith(PREFIX)}


def query_name(metric: Metric) -> str:
    """Return the name by which a query asks for a metric; a histogram's buckets end in `_bucket`."""
    return metric.name + ("_total" if metric.type == "counter" else "")


def table() -> str:
    """Return the table."""
    return "| metric | of | meaning |\n| --- | --- | --- |\n" + "".join(_rows())


def _rows() -> Iterator[str]:
    shown: dict[str, list[str]] = {}
    for kind, page in pages().items():
        for metric in page.families():
            shown.setdefault(query_name(metric), []).append(kind)
    for name, metric in ours().items():
        yield f"| `{name}` | {', '.join(shown[name])} | {metric.documentation} |\n"


def page() -> str:
    """Return the right content of the page."""
    return replaced(PAGE.read_text("utf-8"), _MADE, table(), _END)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
