"""Prometheus' own evaluation of the alerts, by promtool, on the pages that processes answered."""

import asyncio
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.exposition import PREFIX

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yml"
GROUP = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}
MISSING = "The tests of the alerts need promtool: `make promtool` installs it."

# The page of each job; None: nobody answered.
Pages = Mapping[str, str | None]

# Minutes of a healthy service, then minutes of the fault. What counts goes on as it did between the two pages.
_STEPS_BEFORE, _STEPS_DURING, _STEP = 8, 80, "15s"
_JUDGED_AT = "18m"


def require_promtool() -> str:
    """Return promtool's path. Without it the test is skipped, or fails where CI or REQUIRE_PROMTOOL is set."""
    path = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if path is None:
        linux_ci = os.environ.get("CI") == "true" and sys.platform == "linux"
        (pytest.fail if linux_ci or os.environ.get("REQUIRE_PROMTOOL") == "1" else pytest.skip)(MISSING)
    return path


async def firing(before: Pages, during: Pages, folder: Path) -> set[str]:
    """Return the alerts that fire once the second pages have been answered for some minutes."""
    test = {
        "interval": _STEP,
        "input_series": list(_series(before, during)),
        "promql_expr_test": [
            {
                "expr": f'vector(1) and on() ALERTS{{alertname="{name}",alertstate="firing"}}',
                "eval_time": _JUDGED_AT,
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for name in ALERTS
        ],
    }
    content = {"rule_files": [str(RULES)], "evaluation_interval": _STEP, "tests": [test]}
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    code, said = await run("test", "rules", str(file))
    silent = set(re.findall(r'expr: .*alertname=\\?"(\w+)\\?"', said))
    assert silent if code else not silent, said  # any other failure is a fault of the file
    return ALERTS.keys() - silent


async def run(*arguments: str) -> tuple[int, str]:
    """Run promtool. Return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        require_promtool(), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def _series(before: Pages, during: Pages) -> Iterator[dict[str, str]]:
    """Yield each sample's series, and `up` as Prometheus itself adds it for each target."""
    for job in before:
        samples = [_samples(pages[job] or "") for pages in (before, during)]
        for name, labels in {**samples[0], **samples[1]}:
            values = [sample.get((name, labels)) for sample in samples]
            text = "".join(f',{label}="{value}"' for label, value in labels)
            yield {"series": f'{name}{{job="{job}",instance="one"{text}}}', "values": _notation(name, *values)}
        up = [float(pages[job] is not None) for pages in (before, during)]
        yield {"series": f'up{{job="{job}",instance="one"}}', "values": _notation("up", *up)}


_Sample = tuple[str, tuple[tuple[str, str], ...]]


def _samples(page: str) -> dict[_Sample, float]:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


def _notation(name: str, before: float | None, during: float | None) -> str:
    """Return both values, as promtool repeats them."""
    counts = name.endswith(("_total", "_bucket", "_count", "_sum"))
    growth = (during or 0.0) - (before or 0.0) if counts else 0.0
    return f"{_repeated(before, 0.0, _STEPS_BEFORE)} {_repeated(during, growth, _STEPS_DURING)}"


def _repeated(value: float | None, growth: float, times: int) -> str:
    if value is None:
        return f"_x{times}"
    if math.isnan(value):
        return " ".join(["NaN"] * times)
    return f"{value:f}+{growth:f}x{times - 1}"
