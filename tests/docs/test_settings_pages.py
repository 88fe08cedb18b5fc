"""The pages that list every setting and every metric agree with the code."""

import pytest

from docs import make_metrics
from docs.make_settings import pages
from service.settings import Settings

_TEXTS = {
    name: str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, str | int | float)
}


def test_every_setting_is_named_where_a_reader_looks() -> None:
    """The pages' tables and docker-compose.yml's list equal what `python -m docs.make_settings` writes."""
    for path, text in pages().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `python -m docs.make_settings`"


def test_every_metric_is_in_the_table() -> None:
    """The table of docs/telemetry.md equals what `python -m docs.make_metrics` writes."""
    assert make_metrics.PAGE.read_text("utf-8") == make_metrics.page(), "run `python -m docs.make_metrics`"


@pytest.mark.parametrize("name", _TEXTS)
def test_a_default_can_be_written_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting may be given its default, as the page writes it."""
    monkeypatch.setenv(name.upper(), _TEXTS[name])
    assert getattr(Settings(), name) == Settings.model_fields[name].default
