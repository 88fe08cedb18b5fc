"""A seed is a schedule, so a failure that the explorer has found can be repeated."""

import asyncio
import sys

# A schedule with ten kills.
_SEED = 12


async def test_a_seed_gives_the_same_schedule_again() -> None:
    """Two runs with separate databases let the same calls through in the same order."""
    once, again = await asyncio.gather(_replayed(), _replayed())
    assert "KILL" in once
    assert once == again


async def _replayed() -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faults.explorer", "--replay", str(_SEED), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
