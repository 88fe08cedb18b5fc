"""Chromium for tests: where it is, how it is started, and what is done where there is none."""

import os
import shutil

import pytest

MACOS_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# The headless shell first: it has no windows, profiles and extensions, which cost each test a core for half a second.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    MACOS_CHROME,
)
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No name but this machine's resolves, so that a request that would leave it fails. One stranger's name points here.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]
MISSING = "The browser tests need Chromium: `make browser` installs it, or name one in CHROMIUM."


def find_chromium() -> str | None:
    """Return the browser's path, or None."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def require_chromium() -> str:
    """Return the browser's path. Without one the test is skipped, or fails where CI or REQUIRE_BROWSER is set."""
    path = find_chromium()
    if path is None:
        required = os.environ.get("CI") == "true" or os.environ.get("REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)(MISSING)
    return path
