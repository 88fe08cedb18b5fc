"""Node and TypeScript for tests: where they are, and what is done where there are none."""

import asyncio
import os
from pathlib import Path

import pytest

from contract.node import MODULES, find_node

MISSING = "The tests of TypeScript need Node and TypeScript: `make typescript` installs both."


def require_node() -> str:
    """Return Node's path. Without it the test is skipped, or fails where CI or REQUIRE_NODE is set."""
    node = find_node()
    if node is None or not (MODULES / "typescript").is_dir():
        required = os.environ.get("CI") == "true" or os.environ.get("REQUIRE_NODE") == "1"
        (pytest.fail if required else pytest.skip)(MISSING)
    return node


async def typescript(folder: Path, *files: str) -> None:
    """Check the types of these files, all of them strictly, and make JavaScript of them."""
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    (folder / "node_modules").symlink_to(MODULES)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node"]
    compiler = MODULES / "typescript" / "bin" / "tsc"
    process = await asyncio.create_subprocess_exec(
        require_node(), compiler, *options, *files, cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
