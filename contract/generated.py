"""Let two generators make clients from the document, and use both: `python -m contract.generated`.

`openapi-python-client` makes Python, and `openapi-typescript` types for TypeScript. Each client registers an order,
reads it, waits for its payment and follows the feed of the running service. The programs beside this file are what a
user of those clients writes.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from contract.node import MODULES, find_node
from faults.stack import KEY, Stack, running_stack

HERE = Path(__file__).parent
_TYPES = ["--strict", "--noEmit", "false", "--target", "es2022", "--module", "nodenext", "--types", "node"]


async def main() -> int:
    """Make and use both clients. Returns 0 if both did all that they should."""
    async with running_stack(0.1) as stack:
        with tempfile.TemporaryDirectory() as folder:
            for use in (_python, _typescript):
                sys.stdout.write(f"{await use(stack, Path(folder))}\n")
    return 0


async def _python(stack: Stack, folder: Path) -> str:
    """Make and use the Python client."""
    environment = HERE / ".venv" / "bin"
    await _fetch_document(stack, folder)
    words = ["generate", "--path", "openapi.json", "--output-path", "generated_orders", "--meta", "none"]
    output = await _run(folder, environment / "openapi-python-client", *words)
    if "Unable to parse" in output or "will be omitted" in output:  # an operation or a model is missing
        raise SystemExit(output)
    shutil.copy(HERE / "use_python.py", folder)
    return await _run(folder, environment / "python", "use_python.py", stack=stack)


async def _typescript(stack: Stack, folder: Path) -> str:
    """Make the types, check a program against them, and run it."""
    await _fetch_document(stack, folder)
    node = find_node() or sys.exit("Install Node with `make typescript`.")
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    generator = MODULES / "openapi-typescript" / "bin" / "cli.js"
    await _run(folder, node, generator, "openapi.json", "--output", "orders.ts")
    shutil.copy(HERE / "use_typescript.ts", folder)
    await _run(folder, node, MODULES / "typescript" / "bin" / "tsc", *_TYPES, "use_typescript.ts")
    return await _run(folder, node, "use_typescript.js", stack=stack)


async def _fetch_document(stack: Stack, folder: Path) -> None:
    assert stack.session  # noqa: S101 - it is started
    async with stack.session.get(f"{stack.entry_url}/openapi.json") as answer:
        (folder / "openapi.json").write_bytes(await answer.read())


async def _run(folder: Path, *words: str | Path, stack: Stack | None = None) -> str:
    """Run a program in the folder. Returns what it prints; ends this one if it fails."""
    env = dict(os.environ)
    if stack:
        sandbox = f"http://127.0.0.1:{stack.sandbox_port}"
        env |= {"BASE_URL": stack.entry_url, "SERVICE_KEY": KEY, "SANDBOX_URL": sandbox}
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    text = output.decode("utf-8", "replace").strip()
    if process.returncode:
        raise SystemExit(f"{text}\n{Path(words[-1]).name} failed")
    return text


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
