"""Have schemathesis call every operation of the document on the running service: `python -m contract.fuzz`.

No answer may be 5xx, have a status or media type that the document does not name, or break its schema.
"""

import argparse
import asyncio
import re
import sys
from pathlib import Path

from faults.stack import KEY, RECEIVERS, Stack, running_stack

HERE = Path(__file__).parent
_SCHEMATHESIS = HERE / ".venv" / "bin" / "schemathesis"
_CASES = re.compile(r" *(\d+) generated")
# Calls that ask PortOne first need its answer, else they answer 503, which the document names and this tool forbids.
_ASK_PORTONE = r"^(withdraw|verify)Order$"
_PATIENT = ("--include-operation-id-regex", _ASK_PORTONE)
# A stream of server-sent events never ends by itself.
_HASTY = ("--exclude-operation-id-regex", rf"{_ASK_PORTONE}|^stream")
# Drawn at random for each operation, after the cases that the document's limits and examples give.
_EXAMPLES = 100
_FEW_EXAMPLES = 5


async def main(wanted: int, seed: int, examples: int) -> int:
    """Make at least this many calls, from one seed after the other. Returns 0 if the service kept to its document."""
    cases, failed = 0, False
    async with running_stack(0.1) as stack:
        while cases < wanted and not failed:
            for wait, chosen in ((0, _HASTY), (20, _PATIENT)):
                words = [*chosen, "--header", f"Prefer: wait={wait}"]
                generated, status = await _run(stack, seed, examples, words)
                cases, failed = cases + generated, failed or status != 0
            seed += 1
        faults = [line for name in RECEIVERS for line in _faults(stack.folder / f"{name}.log")]
    failed = failed or bool(faults)
    verdict = "the service broke its document" if failed else "all as documented"
    sys.stdout.write("".join(faults[:10]) + f"{cases} cases: {verdict}\n")
    return int(failed)


async def _run(stack: Stack, seed: int, examples: int, words: list[str]) -> tuple[int, int]:
    """Run schemathesis. Returns how many cases it made, and its exit status."""
    process = await asyncio.create_subprocess_exec(
        _SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run", f"{stack.entry_url}/openapi.json",
        "--header", f"Authorization: Bearer {KEY}", "--seed", str(seed), "--max-examples", str(examples),
        "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color", *words,
        stdout=asyncio.subprocess.PIPE, cwd=stack.folder,
    )  # fmt: skip
    assert process.stdout  # noqa: S101 - it is a pipe
    cases = 0
    async for line in process.stdout:
        sys.stdout.write(text := line.decode("utf-8", "replace"))
        sys.stdout.flush()
        cases += int(found[1]) if (found := _CASES.match(text)) else 0
    return cases, await process.wait()


def _faults(log: Path) -> list[str]:
    """Return the lines of a receiver's log that tell of a fault of ours."""
    return [line for line in log.read_text("utf-8", "replace").splitlines(keepends=True) if "request.failed" in line]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="at least this many calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="draw few cases at random")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.cases, given.seed, _FEW_EXAMPLES if given.small else _EXAMPLES)))
