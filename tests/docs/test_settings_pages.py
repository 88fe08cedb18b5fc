"""The pages that list every setting and every metric agree with the code."""

from docs import make_metrics
from docs.make_settings import pages


def test_every_setting_is_named_where_a_reader_looks() -> None:
    """The pages' tables and docker-compose.yml's list equal what `python -m docs.make_settings` writes."""
    for path, text in pages().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `python -m docs.make_settings`"


def test_every_metric_is_in_the_table() -> None:
    """The table of docs/telemetry.md equals what `python -m docs.make_metrics` writes."""
    assert make_metrics.PAGE.read_text("utf-8") == make_metrics.page(), "run `python -m docs.make_metrics`"
