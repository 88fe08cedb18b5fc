"""The queries of the alerts and of the dashboard are PromQL, and name what is exposed; each alert has its page."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from docs import make_dashboard
from docs.make_metrics import ours
from tests.alerts.promtool import ALERTS, RULES, run

REPOSITORY = Path(__file__).parents[2]
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text("utf-8")
DASHBOARD = json.loads(make_dashboard.FILE.read_text("utf-8"))
# Metrics that Prometheus and its library add.
THEIRS = re.compile(r"up$|process_")


def queries() -> dict[str, str]:
    """Return every query by where it stands, those in the alerts' summaries included."""
    of_panels = {
        f"panel {panel['title']!r} {target['refId']}": target["expr"].replace("$__rate_interval", "5m")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }
    of_summaries = {
        f"summary of {name}": query
        for name, rule in ALERTS.items()
        for query in re.findall(r'query "([^"]+)"', rule["annotations"]["summary"])
    }
    return of_panels | of_summaries | {f"alert {name}": rule["expr"] for name, rule in ALERTS.items()}


def names_in(query: str) -> set[str]:
    """Return the metrics that a query names."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name or "")
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return names


USED = {name for query in queries().values() for name in names_in(query)}
HISTOGRAMS = {name for name, metric in ours().items() if metric.type == "histogram"}


def base_name(name: str) -> str:
    """Return a metric's name without what a histogram's series end in."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in HISTOGRAMS else name


def test_what_is_named_is_exposed() -> None:
    """Every metric that an alert or a panel names is one of ours, or one that Prometheus or its library adds."""
    assert len(USED) > 30
    assert {base_name(name) for name in USED if not THEIRS.match(name)} <= ours().keys()


def test_what_is_exposed_is_used() -> None:
    """Every metric of ours is in a panel or in an alert, without exception."""
    assert ours().keys() <= {base_name(name) for name in USED}


def test_the_dashboard_is_made_from_its_list() -> None:
    """The file equals what `python -m docs.make_dashboard` writes."""
    assert make_dashboard.FILE.read_text("utf-8") == make_dashboard.dashboard()


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_leads_to_its_page(name: str) -> None:
    """An alert's link leads to a heading of the runbook, and its summary has the heading's words."""
    headings = {_anchor(heading): heading for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)}
    annotations = ALERTS[name]["annotations"]
    page, _, anchor = annotations["runbook"].partition("#")
    assert page == "docs/runbook.md"
    assert re.sub(r"\{\{.*?\}\}", "…", annotations["summary"]) == headings[anchor].strip('"')


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


async def test_prometheus_takes_the_rules() -> None:
    """Promtool finds no fault in the alerts, templates included, nor in the configuration beside them."""
    for command in (("check", "rules", str(RULES)), ("check", "config", str(RULES.with_name("prometheus.yml")))):
        code, said = await run(*command)
        assert code == 0, said


async def test_prometheus_takes_the_clusters_configuration(tmp_path: Path) -> None:
    """Promtool finds no fault in what Prometheus reads in Kubernetes, and the jobs have the names that alerts use."""
    config = yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "prometheus.yaml").read_text("utf-8"))
    beside_compose = yaml.safe_load(RULES.with_name("prometheus.yml").read_text("utf-8"))
    assert [job["job_name"] for job in config["scrape_configs"]] == [
        job["job_name"] for job in beside_compose["scrape_configs"]
    ]
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]  # Debian's promtool knows no Kubernetes
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    code, said = await run("check", "config", "--syntax-only", str(file))
    assert code == 0, said
