"""Measure the limits of the databases: pgbench making the same order change, and Redis taking pipelined jobs."""

import asyncio
import os
import re
import time
from itertools import count
from pathlib import Path

from bench import orders
from bench.measure import Bench, BenchFailed, Figures

SCRIPTS = Path(__file__).parent / "pgbench"
_CLIENTS = 32  # the scripts depend on it
_THREADS = 2
_PIPELINE = 100
_PIPELINES = 4


async def pgbench(bench: Bench, script: str) -> Figures:
    """Measure the transactions a second of a script, with 32 clients and prepared statements."""
    await bench.databases.fresh(bench.size.table)
    words = [
        "--no-vacuum", f"--client={_CLIENTS}", f"--jobs={_THREADS}", "--protocol=prepared",
        f"--time={max(1, round(bench.size.seconds))}", f"--define=first={orders.FIRST}",
        f"--define=orders={bench.size.table}", "--define=turn=0", f"--file={SCRIPTS / script}",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(bench.databases.program_folder / "pgbench"),
        *words,
        env={"PATH": os.defpath} | bench.databases.libpq_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    rate = re.search(r"tps = ([\d.]+)", output)
    if process.returncode or not rate:
        raise BenchFailed(f"pgbench {script}: {output}")
    return {"settled_32": {"per_second": float(rate[1])}}


async def redis_enqueue(bench: Bench) -> Figures:
    """Measure the jobs a second in arq's two keys, with four concurrent pipelines of a hundred jobs."""
    await bench.databases.client.flushall()
    numbers, done = count(), 0
    began = time.perf_counter()

    async def put() -> None:
        nonlocal done
        while time.perf_counter() - began < bench.size.seconds:
            pipe = bench.databases.client.pipeline(transaction=False)
            for number in (next(numbers) for _ in range(_PIPELINE)):
                pipe.psetex(f"arq:job:{number}", 86_400_000, b"x" * 100)
                pipe.zadd("arq:queue", {str(number): number})
            await pipe.execute()
            done += _PIPELINE

    await asyncio.gather(*(put() for _ in range(_PIPELINES)))
    return {"accepted_4": {"per_second": done / (time.perf_counter() - began)}}
