"""Check the machine: free space on its disk, and the clocks of this machine and of Postgres."""

import shutil
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp

from cli.checks.databases import PostgresFailed, ask_postgres
from cli.checks.service import CLOCK_SECONDS, off_by
from cli.embedded.homes import known_home
from service.db.pool import Connection
from service.settings import Settings

_FREE_MIN_BYTES = 256 * 2**20
_MEBIBYTE = 2**20
_TIMEOUT_SECONDS = 4.0
_NTP = "set it by NTP"


async def check_disk(settings: Settings) -> list[str]:
    """Check the disks that hold the data of `dev`. Postgres' and Redis' own checks find theirs when they are full."""
    state = settings.state_dir.absolute()
    elsewhere = known_home(state / "postgres")
    folders = [folder for folder in dict.fromkeys((state, elsewhere)) if folder.exists()]
    return [sentence for folder in folders if (sentence := _fullness(folder))]


def _fullness(folder: Path) -> str | None:
    free = shutil.disk_usage(folder).free
    if free >= _FREE_MIN_BYTES:
        return None
    state = "is full" if free < _MEBIBYTE else f"has only {free // _MEBIBYTE} MiB left"
    return f"The disk of {folder} {state}: free space on it, or set STATE_DIR to a folder on another disk."


async def check_clock(settings: Settings) -> list[str]:
    """Compare this machine's clock with those of Postgres and PortOne. One that does not answer is left out."""
    return clock_faults(await _postgres_ahead(settings), await _portone_ahead(settings.portone_api_url))


def clock_faults(postgres: float | None, portone: float | None) -> list[str]:
    """Say whose clock is wrong. Each argument says how far a clock is ahead of this machine's; PortOne's is right."""
    postgres_agrees = postgres is None or abs(postgres) <= CLOCK_SECONDS
    if portone is None:
        if postgres is None or postgres_agrees:
            return []
        return [f"Postgres' clock is {off_by(postgres)} this machine's, and one of them is wrong: {_NTP}."]
    faults = []
    if abs(portone) > CLOCK_SECONDS:
        clocks = "The clocks of this machine and of Postgres are" if postgres is not None else "This machine's clock is"
        if not postgres_agrees:
            clocks = "This machine's clock is"
        faults.append(f"{clocks} {off_by(-portone)} PortOne's: {_NTP}.")
    if postgres is not None and not postgres_agrees and abs(postgres - portone) > CLOCK_SECONDS:
        faults.append(f"Postgres' clock is {off_by(postgres - portone)} PortOne's: {_NTP}.")
    return faults


async def _postgres_ahead(settings: Settings) -> float | None:
    async def read_clock(db: Connection) -> datetime:
        now: datetime = await db.fetchval("SELECT clock_timestamp()")
        return now

    try:
        return (await ask_postgres(settings, read_clock)).timestamp() - time.time()
    except PostgresFailed:
        return None


async def _portone_ahead(api_url: str) -> float | None:
    """Return how far PortOne's clock is ahead, from the header of any of its answers."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_SECONDS)) as session,
            session.get(api_url, allow_redirects=False) as answer,
        ):
            return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() - time.time()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
