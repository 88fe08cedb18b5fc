"""The places to which the benchmark writes."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
LARGE_GROWTH = DOCS / "growth.json"
