"""Check what a failover of Postgres, or a crash, would lose, and whether the standbys that are read are recent."""

from dataclasses import dataclass
from datetime import datetime

from cli.checks.databases import ERRORS, SECONDS, ask_postgres, postgres_sentence
from service.database_url import servers_of
from service.db.pool import Connection, patient_connection
from service.settings import Settings

_LOST = (
    "so a failover loses what was acknowledged last, notices and versions of orders that other services may have read"
)


@dataclass(frozen=True, slots=True)
class StandbyFacts:
    """The primary's settings, and how many standbys follow. `synchronous` None: our user may not know."""

    named: str
    commit: str
    standbys: int
    synchronous: int | None


async def check_standby(settings: Settings) -> list[str]:
    """Check that a standby is synchronous, where there is one, and that READ_DATABASE_URL's is recent."""
    facts = await ask_postgres(settings, _read)
    several = len(servers_of(settings.database_url.get_secret_value())) > 1
    return [*standby_faults(facts, several=several), *await _read_faults(settings)]


def standby_faults(facts: StandbyFacts, *, several: bool) -> list[str]:
    """Return a sentence for what can be lost. `several`: DATABASE_URL names more than one server."""
    if facts.commit == "off":
        return [
            "Postgres' synchronous_commit is off, so a crash or a failover loses what was acknowledged last, notices"
            " too: set it to on."
        ]
    if not (facts.standbys or several or facts.named):
        return []
    if facts.commit == "local":
        return [f"Postgres' synchronous_commit is local, which waits for no standby, {_LOST}: set it to on."]
    if not facts.named:
        advice = "name the standby there, or accept the loss (docs/failover.md)"
        return [f"The standby is asynchronous (synchronous_standby_names is empty), {_LOST}: {advice}."]
    if facts.synchronous == 0:
        return [
            f"Every commit waits for a standby (synchronous_standby_names is {facts.named}), and none follows: start"
            " one, or empty that setting."
        ]
    return []


async def _read(db: Connection) -> StandbyFacts:
    row = await db.fetchrow(
        """
        SELECT current_setting('synchronous_standby_names') AS named, current_setting('synchronous_commit') AS commit,
               (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' OR state IS NULL) AS standbys,
               -- A user without the role pg_monitor sees that there are standbys, and no more of them.
               (SELECT CASE WHEN count(*) = count(state)
                            THEN count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END
                FROM pg_stat_replication) AS synchronous
        """
    )
    assert row is not None  # noqa: S101 - it returns one row
    return StandbyFacts(**row)


async def _read_faults(settings: Settings) -> list[str]:
    """Say what keeps the standbys of READ_DATABASE_URL from answering, so that the primary answers everything."""
    url = settings.read_database_url.get_secret_value()
    if not url:
        return []
    try:
        async with patient_connection(url, SECONDS, any_server=True) as standby:
            there = await _newest_report(standby)
    except ERRORS as error:
        return [postgres_sentence(url, error).replace("DATABASE_URL", "READ_DATABASE_URL")]
    here = await ask_postgres(settings, _newest_report)
    if here is None:
        return []
    behind = (here - there).total_seconds() if there else None
    if behind is not None and behind <= settings.read_age_max_seconds:
        return []
    state = "has none of this service's data" if behind is None else f"is {behind:.0f} s behind"
    return [
        f"The standby in READ_DATABASE_URL {state}, so the primary answers what it should: correct the URL, or see what"
        " holds its replay back."
    ]


async def _newest_report(db: Connection) -> datetime | None:
    newest: datetime | None = await db.fetchval("SELECT max(seen_at) FROM processes")
    return newest
