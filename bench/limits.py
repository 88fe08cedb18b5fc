"""The stores' own limits: pgbench making the same order change, and Redis taking pipelined jobs."""

import asyncio
import os
import re
import time
from itertools import count
from pathlib import Path

from bench import orders
from bench.measure import Bench, BenchFailed, Figures

SCRIPTS = Path(__file__).parent / "pgbench"
_CLIENTS = 32  # the scripts count on it
_THREADS = 2
_PIPELINE = 100
_PIPELINES = 4


async def pgbench(bench: Bench, script: str) -> Figures:
    """Transactions a second of a script, 32 clients, prepared statements."""
    await bench.stores.fresh(bench.size.table)
    words = [
        "--no-vacuum", f"--client={_CLIENTS}", f"--jobs={_THREADS}", "--protocol=prepared",
        f"--time={max(1, round(bench.size.seconds))}", f"--define=first={orders.FIRST}",
        f"--define=orders={bench.size.table}", "--define=turn=0", f"--file={SCRIPTS / script}",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(bench.stores.program_folder / "pgbench"),
        *words,
        env={"PATH": os.defpath} | bench.stores.libpq_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    found = re.search(r"tps = ([\d.]+)", said)
    if process.returncode or not found:
        raise BenchFailed(f"pgbench {script}: {said}")
    return {"settled_32": {"per_second": float(found[1])}}


async def redis_enqueue(bench: Bench) -> Figures:
    """Jobs a second in arq's two keys, a hundred a pipeline, four pipelines at once."""
    await bench.stores.client.flushall()
    numbers, done = count(), 0
    began = time.perf_counter()

    async def put() -> None:
        nonlocal done
        while time.perf_counter() - began < bench.size.seconds:
            pipe = bench.stores.client.pipeline(transaction=False)
            for number in (next(numbers) for _ in range(_PIPELINE)):
                pipe.psetex(f"arq:job:{number}", 86_400_000, b"x" * 100)
                pipe.zadd("arq:queue", {str(number): number})
            await pipe.execute()
            done += _PIPELINE

    await asyncio.gather(*(put() for _ in range(_PIPELINES)))
    return {"accepted_4": {"per_second": done / (time.perf_counter() - began)}}
