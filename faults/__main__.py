"""Run episodes of purchases under a storm of faults, judged by an oracle: `python -m faults --episodes 200`.

With `--failover` Postgres has a synchronous standby, which takes over in the middle of each episode.
Each episode's result is kept as a line, so the same command continues where it stopped. `--seed N` repeats one.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

import orjson

from faults.episode import Episode, run_episode
from faults.postgres_pair import PostgresPair
from faults.redis_group import RedisGroup
from faults.report import summary, write_report
from faults.stack import Stack, running_stack

_SCALE = 0.01
# A new stack after these, so that data of a long run does not distort the measurements.
_EPISODES_A_STACK = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--seed", type=int, help="run only this seed, and show what happened")
    parser.add_argument("--failover", action="store_true", help="let Postgres and Redis fail over in each episode")
    parser.add_argument("--results", type=Path, help="default: .run/faults.jsonl, or .run/failover.jsonl")
    parser.add_argument("--only", help="inject only this kind of trouble")
    parser.add_argument("--report", action="store_true", help="write docs/faults.md from the results")
    parser.add_argument("--fresh", action="store_true", help="delete earlier results")
    parser.add_argument("--keep-logs", type=Path, help="copy the logs of the parts here")
    options = parser.parse_args()
    options.results = options.results or Path(".run") / ("failover.jsonl" if options.failover else "faults.jsonl")
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    if options.seed is not None:
        return await _replay(options)
    if options.fresh:
        options.results.unlink(missing_ok=True)
    earlier = _read(options.results)
    missing = [seed for seed in range(1, options.episodes + 1) if seed not in {result["seed"] for result in earlier}]
    for first in range(0, len(missing), _EPISODES_A_STACK):
        async with _stack(options) as stack:
            for seed in missing[first : first + _EPISODES_A_STACK]:
                episode = await run_episode(stack, seed)
                _keep(options.results, episode)
                _say(episode)
    results = [result for result in _read(options.results) if result["seed"] <= options.episodes]
    sys.stdout.write("\n".join(summary(results)) + "\n")
    if options.report:
        write_report(**{"failovers" if options.failover else "episodes": [f"- {line}" for line in summary(results)]})
    return int(any(result["broken"] for result in results))


def _stack(options: argparse.Namespace) -> contextlib.AbstractAsyncContextManager[Stack]:
    if options.failover:
        return running_stack(_SCALE, postgres=PostgresPair, redis=RedisGroup)
    return running_stack(_SCALE)


async def _replay(options: argparse.Namespace) -> int:
    async with _stack(options) as stack:
        episode = await run_episode(stack, options.seed, only=options.only)
        if options.keep_logs:
            options.keep_logs.mkdir(parents=True, exist_ok=True)
            for log in stack.folder.glob("*.log"):
                (options.keep_logs / log.name).write_bytes(log.read_bytes())
    sys.stdout.write("\n".join(episode.notes) + "\n")
    _say(episode)
    sys.stdout.write("\n".join(summary([episode.line()])) + "\n")
    return int(bool(episode.broken))


def _say(episode: Episode) -> None:
    sys.stdout.write(
        f"seed {episode.seed}: {episode.seconds:.1f} s, {episode.orders} orders, {episode.acknowledged} acknowledged,"
        f" right after {episode.orders_right_seconds:.1f} s, at rest after {episode.rest_seconds:.1f} s,"
        f" {'ok' if not episode.broken else 'BROKEN'}\n"
    )
    for sentence in episode.broken:
        sys.stdout.write(f"  BROKEN: {sentence}\n")
    sys.stdout.flush()


def _read(results: Path) -> list[dict[str, object]]:
    if not results.exists():
        return []
    return [orjson.loads(line) for line in results.read_bytes().splitlines() if line.strip()]


def _keep(results: Path, episode: Episode) -> None:
    """Append the result durably, so that a run that is stopped loses nothing."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("ab") as file:
        file.write(orjson.dumps(episode.line()) + b"\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(main())
