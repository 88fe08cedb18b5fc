"""Write the dashboard deploy/grafana/portone-orders.json from the list below: `python -m docs.make_dashboard`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "deploy" / "grafana" / "portone-orders.json"

_COLUMNS = 24
_HEIGHT = 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """A plot: its title, its unit, its width in columns, and its queries, each with what the legend calls it."""

    title: str
    unit: str
    width: int
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"


def _quantiles(name: str, by: str = "") -> list[tuple[str, str]]:
    """Return the queries of a histogram's median and 95th percentile."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({labels}) (rate({name}_bucket[$__rate_interval])))", f"{text}{legend}")
        for q, text in ((0.5, "median"), (0.95, "95 %"))
    ]


def _rate(name: str, by: str) -> tuple[str, str]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return f"sum by ({by}) (rate({name}[$__rate_interval]))", legend


# Row by row. A number that all receivers show is the same number, so the greatest is taken.
ROWS: dict[str, Sequence[Panel]] = {
    "At a glance": (
        Panel(
            "Limits of the promise that are passed",
            "short",
            6,
            [("max by (limit) (portone_orders_promise_broken)", "{{limit}}")],
            "stat",
        ),
        Panel(
            "Processes",
            "short",
            6,
            [("max by (kind, condition) (portone_orders_processes) > 0", "{{kind}} {{condition}}")],
            "stat",
        ),
        Panel(
            "Databases that keep notices",
            "short",
            4,
            [("min by (database) (portone_orders_database_ready)", "{{database}}")],
            "stat",
        ),
        Panel(
            "For a person",
            "short",
            8,
            [
                ("max(portone_orders_promise_open_problems)", "open problems"),
                ("max(portone_orders_promise_parked_notices)", "parked notices"),
                ("max(portone_orders_promise_unregistered_payments)", "money of unregistered orders"),
                ("max(portone_orders_promise_parked_unregistered)", "parked, unregistered"),
            ],
            "stat",
        ),
    ),
    "Notices": (
        Panel(
            "Notices a second",
            "short",
            8,
            [
                ("sum(rate(portone_orders_notices_accepted_total[$__rate_interval]))", "accepted"),
                ("sum(rate(portone_orders_notices_spilled_total[$__rate_interval]))", "spilled"),
                ("sum(rate(portone_orders_notices_not_recorded_total[$__rate_interval]))", "answered 503"),
                ("sum(rate(portone_orders_notices_without_room_total[$__rate_interval]))", "without room"),
            ],
        ),
        Panel("Looks a second", "short", 8, [_rate("portone_orders_notice_looks_total", "fate, outcome")]),
        Panel("From the notice to the commit", "s", 8, _quantiles("portone_orders_notice_commit_seconds")),
        Panel(
            "Age of what waits",
            "s",
            8,
            [
                ("max(portone_orders_promise_overdue_seconds)", "longest overdue"),
                ("max(portone_orders_promise_unregistered_overdue_seconds)", "of unregistered orders"),
            ],
        ),
        Panel(
            "Waiting",
            "short",
            8,
            [
                ("max(portone_orders_promise_open_notices)", "open notices"),
                ("max(portone_orders_queue_jobs)", "jobs in the queue"),
                ("max(portone_orders_spill_entries)", "spilled to Redis"),
            ],
        ),
        Panel("Time since the last sweep", "s", 8, [("portone_orders_sweep_age_seconds", "{{instance}}")]),
    ),
    "PortOne": (
        Panel("Calls a second", "short", 6, [_rate("portone_orders_portone_call_seconds_count", "account, result")]),
        Panel("Time of an answer", "s", 6, _quantiles("portone_orders_portone_call_seconds", "account")),
        Panel(
            "Down (1), key refused (2)",
            "short",
            6,
            [
                ("max by (account) (portone_orders_portone_breaker_open)", "{{account}} down"),
                ("2 * max by (account) (portone_orders_portone_key_refused)", "{{account}} key refused"),
                ("max(portone_orders_promise_keys_refused)", "keys refused"),
            ],
        ),
        Panel(
            "Time since the last whole ledger scan", "s", 6, [("max(portone_orders_promise_ledger_lag_seconds)", "lag")]
        ),
    ),
    "The receivers": (
        Panel("Answers a second", "short", 6, [_rate("portone_orders_requests_total", "status")]),
        Panel("From a notice to its durable row", "s", 6, _quantiles("portone_orders_accept_seconds")),
        Panel("From a completion call to its answer", "s", 6, _quantiles("portone_orders_completion_answer_seconds")),
        Panel(
            "Items of each kind that wait", "short", 6, [("sum by (work) (portone_orders_work_waiting)", "{{work}}")]
        ),
        Panel(
            "Items in a batch",
            "short",
            6,
            [
                (
                    "sum by (work) (rate(portone_orders_work_items_total[$__rate_interval]))"
                    " / sum by (work) (rate(portone_orders_work_batches_total[$__rate_interval]))",
                    "{{work}}",
                )
            ],
        ),
        Panel("Turned away a second", "short", 6, [_rate("portone_orders_work_shed_total", "work")]),
        Panel("Strangers a second", "short", 4, [_rate("portone_orders_connection_events_total", "event, kind")]),
        Panel(
            "Room of the spill stream that is used",
            "percentunit",
            4,
            [
                ("max(portone_orders_spill_bytes / portone_orders_spill_room_bytes)", "used"),
            ],
        ),
        Panel("Lag of the feed", "s", 4, [("max(portone_orders_feed_lag_seconds)", "lag")]),
    ),
    "Connections to Postgres": (
        Panel(
            "In use, of those that may be",
            "percentunit",
            8,
            [
                ("sum by (pool) (portone_orders_pool_busy) / sum by (pool) (portone_orders_pool_max)", "{{pool}}"),
            ],
        ),
        Panel("Open", "short", 8, [("sum by (pool) (portone_orders_pool_open)", "{{pool}}")]),
        Panel("Wait for one", "s", 8, _quantiles("portone_orders_pool_wait_seconds", "pool")),
    ),
    "Refunds and outgoing webhooks": (
        Panel("Refunds", "short", 6, [("max by (state) (portone_orders_refunds)", "{{state}}")]),
        Panel(
            "Webhooks a second",
            "short",
            6,
            [
                (
                    "max by (endpoint) (rate(portone_orders_endpoint_deliveries_total[$__rate_interval]))",
                    "{{endpoint}}",
                ),
                (
                    "max by (endpoint) (rate(portone_orders_endpoint_failures_total[$__rate_interval]))",
                    "{{endpoint}} failed",
                ),
                (
                    "max by (endpoint) (rate(portone_orders_endpoint_given_up_total[$__rate_interval]))",
                    "{{endpoint}} given up",
                ),
            ],
        ),
        Panel(
            "Behind",
            "s",
            6,
            [
                ("max by (endpoint) (portone_orders_endpoint_behind_seconds)", "{{endpoint}}"),
                ("max by (endpoint) (portone_orders_endpoint_late_orders)", "{{endpoint}} late orders"),
                ("max by (endpoint) (portone_orders_endpoint_disabled)", "{{endpoint}} disabled"),
            ],
        ),
        Panel("Time of an attempt", "s", 6, _quantiles("portone_orders_endpoint_attempt_seconds", "result")),
    ),
    "Processes": (
        Panel(
            "Memory", "bytes", 8, [('process_resident_memory_bytes{job=~"portone-orders-.*"}', "{{job}} {{instance}}")]
        ),
        Panel(
            "Processors",
            "short",
            8,
            [('rate(process_cpu_seconds_total{job=~"portone-orders-.*"}[$__rate_interval])', "{{job}} {{instance}}")],
        ),
        Panel("Open files", "short", 8, [('process_open_fds{job=~"portone-orders-.*"}', "{{job}} {{instance}}")]),
    ),
}


def dashboard() -> str:
    """Return the dashboard, as Grafana reads it."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    content = {
        "uid": "portone-orders",
        "title": "portone-orders",
        "tags": ["portone-orders"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": list(_panels()),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    y = 0
    for row, panels in ROWS.items():
        yield {"type": "row", "title": row, "collapsed": False, "gridPos": _place(0, y, _COLUMNS, 1), "panels": []}
        x, y = 0, y + 1
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            yield _panel(panel, _place(x, y, panel.width, _HEIGHT))
            x += panel.width
        y += _HEIGHT


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


if __name__ == "__main__":
    FILE.write_text(dashboard(), "utf-8")
