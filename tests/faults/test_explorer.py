"""A seed is a schedule: what the explorer found once can be had again."""

import asyncio
import sys

# A schedule with ten kills.
_SEED = 12


async def test_a_seed_gives_the_same_schedule_again() -> None:
    """Two runs with stores of their own let the same calls through in the same order."""
    once, again = await asyncio.gather(_replayed(), _replayed())
    assert "KILL" in once
    assert once == again


async def _replayed() -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faults.explorer", "--replay", str(_SEED), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()
