"""docs/api.md agrees with the endpoints' declarations."""

from docs.make_api import PAGE, page


def test_the_page_is_made_from_the_code() -> None:
    """The page equals what `python -m docs.make_api` writes."""
    assert PAGE.read_text("utf-8") == page(), "run `python -m docs.make_api`"
