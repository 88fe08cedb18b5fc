"""The browser tests without a browser: skipped on a machine of one's own, a failure in CI."""

import pytest

from tests.browser import chromium


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a browser, where nobody has said that there must be one."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    for name in ("CHROMIUM", "CI", "REQUIRE_BROWSER"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_without_a_browser_a_test_is_skipped_with_a_sentence(no_browser: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    with pytest.raises(pytest.skip.Exception, match="`make browser` installs it"):
        chromium.require_chromium()


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("REQUIRE_BROWSER", "1")])
async def test_where_a_browser_is_required_its_absence_is_a_failure(
    no_browser: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """CI never skips these tests."""
    no_browser.setenv(name, value)
    with pytest.raises(pytest.fail.Exception, match="need Chromium"):
        chromium.require_chromium()


async def test_a_browser_may_be_named(no_browser: pytest.MonkeyPatch) -> None:
    """CHROMIUM wins over what the PATH has."""
    no_browser.setenv("CHROMIUM", "/opt/chromium")
    assert chromium.require_chromium() == "/opt/chromium"
