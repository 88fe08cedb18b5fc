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


async def check_types(folder: Path, file: str) -> None:
    """Have TypeScript check the types that a program in JavaScript names in its comments, all of them strictly."""
    (folder / "node_modules").symlink_to(MODULES)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--noEmit"]
    compiler = MODULES / "typescript" / "bin" / "tsc"
    process = await asyncio.create_subprocess_exec(
        require_node(),
        compiler,
        *options,
        "--allowJs",
        "--checkJs",
        "--noEmit",
        file,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
