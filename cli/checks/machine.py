"""Check the machine: free space on its disk, and the clocks of this machine and of Postgres."""

import shutil
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from asyncpg import Record

from cli.checks.databases import PostgresFailed, ask_postgres
from cli.checks.service import CLOCK_SECONDS, off_by
from cli.embedded.homes import known_home
from service.db.pool import Connection
from service.settings import Settings

_FREE_MIN_BYTES = 256 * 2**20
# A reader that restarts is behind by less.
_KEPT_MAX_BYTES = 2 * 2**30
_MEBIBYTE = 2**20
_TIMEOUT_SECONDS = 4.0
_NTP = "set it by NTP"


async def check_disk(settings: Settings) -> list[str]:
    """Check the disks that hold the data of `dev` and, where it runs on this machine, of Postgres.

    Redis' and another machine's Postgres' own checks find their disks when they are full.
    """
    state = settings.state_dir.absolute()
    local, kept = await _postgres_disk(settings)
    folders = dict.fromkeys((state, known_home(state / "postgres"), *local))
    return [fault for folder in folders if (fault := fullness(folder, _free(folder)))] + kept


def _free(folder: Path) -> int:
    """Return the free bytes of a folder's disk; of one that is not there, or not ours to see, more than enough."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _FREE_MIN_BYTES


async def _postgres_disk(settings: Settings) -> tuple[list[Path], list[str]]:
    """Return Postgres' data folder if it can be seen from here, and a sentence for each slot that fills its disk."""

    async def read(db: Connection) -> tuple[str | None, list[Record]]:
        folder = await db.fetchval(
            """
            SELECT setting FROM pg_settings
            WHERE name = 'data_directory' AND coalesce(inet_server_addr() <<= inet '127.0.0.0/8', true)
            """
        )
        return folder, await db.fetch(
            """
            SELECT slot_name, CASE WHEN pg_is_in_recovery() THEN 0
                                   ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END::float8 AS bytes
            FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL
            """
        )

    try:
        folder, slots = await ask_postgres(settings, read)
    except PostgresFailed:
        return [], []
    kept = [slot for slot in slots if slot["bytes"] > _KEPT_MAX_BYTES]
    return [Path(folder)] if folder else [], [kept_log(slot["slot_name"], slot["bytes"]) for slot in kept]


def kept_log(slot: str, kept: float) -> str:
    """Return the sentence for a replication slot that nobody reads, with the bytes of the log that it keeps."""
    drop = f"SELECT pg_drop_replication_slot('{slot}')"
    return f"Nobody reads Postgres' replication slot {slot}, which keeps {kept / 2**30:.0f} GiB of its log: run {drop}."


def fullness(folder: Path, free: int) -> str | None:
    """Return a sentence if a folder's disk has too few free bytes to go on for long."""
    if free >= _FREE_MIN_BYTES:
        return None
    state = "is full" if free < _MEBIBYTE else f"has only {free // _MEBIBYTE} MiB left"
    return f"The disk of {folder} {state}: free space on it, or move that folder to another disk."


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
