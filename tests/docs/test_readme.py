"""The instructions in the README and the pages work."""

import re
from pathlib import Path

import pytest

from docs.site import pages
from service.http import bodies, completions, feed_query, order_batches, waiting
from service.http.app import ENDPOINTS
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")


def test_every_target_in_the_readme_is_one() -> None:
    """Each `make X` in the README exists."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Every link of a page leads to a file of the repository; test_citations.py follows what a page only names."""
    linked = [page.parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))]
    assert not [str(path) for path in linked if not path.exists()]


def test_every_call_in_the_table_is_an_endpoint() -> None:
    """The README's table of calls names calls of the OpenAPI document."""
    calls = set(re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) .*?)` \|", README, re.MULTILINE))
    assert calls
    assert calls <= {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}


def test_every_setting_in_the_readme_is_one() -> None:
    """Every capital name in backticks is a setting or a variable of the shell."""
    shells = {"BASE_URL", "SANDBOX_URL", "SERVICE_KEY"}
    names = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", README)) - shells
    assert {name.lower() for name in names} <= Settings.model_fields.keys()


def test_a_decision_says_why_and_how_it_is_held() -> None:
    """Each decision has a context, a decision, consequences and a check, on about half a page."""
    decisions = sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        text = path.read_text("utf-8")
        for part in ("**Context.**", "**Decision.**", "**Consequences.**", "**The check.**"):
            assert text.count(part) == 1, path.name
        assert len(text.split()) < 400, path.name


def test_a_proxy_lets_pass_what_the_service_takes() -> None:
    """The page's numbers for a reverse proxy are the code's, with room for the answer after the longest wait."""
    page = (REPOSITORY / "docs" / "deploying.md").read_text("utf-8")
    assert "| bodies | 64 KiB, a batch of orders 1 MiB |" in page
    assert (bodies.BODY_MAX_BYTES, order_batches.BATCH_MAX_BYTES) == (64 * 1024, 1024 * 1024)
    assert "| waiting | 75 s to read, 22 s for webhooks, 25 s for completions" in page
    assert (waiting._WAIT_MAX_SECONDS, feed_query._WAIT_MAX_SECONDS, completions._WAIT_MAX_SECONDS) == (60, 60, 20)
