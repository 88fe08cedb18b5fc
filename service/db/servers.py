"""Connections to the primary: the one of a URL's servers that takes writes, and that no other has replaced.

asyncpg goes through several hosts too, but one that does not answer uses up the time of all, and a demoted primary that
still takes writes is as good to it as any (docs/decisions/0029-refuse-a-primary-of-an-earlier-timeline.md).
"""

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import asyncpg
import structlog
from asyncpg.connect_utils import SessionAttribute

from service.database_url import Demoted, NoPrimary, PostgresServer, servers_of
from service.db import sessions
from service.db.sessions import DatabaseSession

log = structlog.get_logger()

# A server that has not answered by then is given company: the next is asked as well.
_NEXT_SECONDS = 0.25
# A process that knows of no timeline yet asks every server, and waits this much longer for those that are slow.
_OTHERS_SECONDS = 1.0
# All servers are asked this often whether another one was promoted, also while no connection is in use: the first read
# after a pause must not be of an earlier primary's rows.
_LOOK_SECONDS = 1.0
_LOOK_TIMEOUT_SECONDS = 1.0

# The timeline as the server writes it now. That of `pg_control_checkpoint` changes seconds after a promotion only.
_STANDING = """
    SELECT pg_is_in_recovery() AS recovering, current_setting('transaction_read_only') = 'on' AS read_only,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END AS segment,
           (SELECT system_identifier FROM pg_control_system()) AS cluster,
           current_setting('synchronous_standby_names') <> '' AS waits
"""
_STANDING_WITHOUT_TIMELINE = """
    SELECT pg_is_in_recovery() AS recovering, current_setting('transaction_read_only') = 'on' AS read_only,
           NULL AS segment, NULL AS cluster, false AS waits
"""
_FAILS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# Which of the servers is the primary is our own question.
_ANY = SessionAttribute.any
# Services that speak Postgres' protocol and have other storage below do not know timelines.
_KNOWS_NO_TIMELINE = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.UndefinedFunctionError,
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The branch of a cluster's history that a primary writes. Each promotion begins a new one, with a larger number.

    `cluster` is the system identifier, which a primary and its standbys share.
    """

    cluster: int
    number: int


class ServerConnection(DatabaseSession):
    """A connection that knows the timeline of its server, None if the server cannot tell.

    `waits`: its commits may wait for a standby. Such a commit must not be cancelled, because Postgres then shows it to
    everybody, though no standby has it: what is answered because of it would be lost with the server.
    """

    __slots__ = ("is_left", "timeline", "waits")

    timeline: Timeline | None
    waits: bool
    is_left: bool

    def _cancel_current_command(self, waiter: Any, cancel_waiter: Any = None) -> None:
        """Leave a statement for which nobody waits any more to Postgres, which ends it by statement_timeout.

        Whoever lent the connection ends it then (`service/db/lending.py`).
        """
        if self.waits:
            self.is_left = True
        else:
            super()._cancel_current_command(waiter, cancel_waiter)  # type: ignore[misc]  # private, so without a stub


class Lineage:
    """The newest timeline of each cluster that this process has seen, and its connections to the primaries."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._connections: weakref.WeakSet[ServerConnection] = weakref.WeakSet()
        self._look_at: dict[str, float] = {}

    def keep(self, connection: ServerConnection) -> None:
        """Keep a new connection until a later primary than its own is seen. Raises Demoted if that was seen already."""
        if timeline := connection.timeline:
            self._learn(timeline)
            if self._is_outdated(timeline):
                raise Demoted
        self._connections.add(connection)

    def _learn(self, timeline: Timeline) -> None:
        """Take note of a primary's timeline. If it is a new one, connections to earlier primaries end at once."""
        if timeline.number <= self._newest.get(timeline.cluster, 0):
            return
        if timeline.cluster in self._newest:
            log.warning("postgres.promoted", timeline=timeline.number)
        self._newest[timeline.cluster] = timeline.number
        for connection in list(self._connections):
            if connection.timeline and self._is_outdated(connection.timeline) and not connection.is_closed():
                connection.terminate()

    def _is_outdated(self, timeline: Timeline) -> bool:
        return timeline.number < self._newest.get(timeline.cluster, 0)

    def is_look_due(self, url: str) -> bool:
        """Return True at most once a second, to one of the pools that share the URL."""
        due = time.monotonic() >= self._look_at.get(url, 0.0)
        if due:
            self._look_at[url] = time.monotonic() + _LOOK_SECONDS
        return due


_Task = asyncio.Task[ServerConnection]
_Attempt = Callable[[], Coroutine[Any, Any, ServerConnection]]

# One for the process: what one pool sees of a promotion, all must heed.
LINEAGE = Lineage()


class Servers:
    """The servers of one URL, and where the primary was last."""

    def __init__(self, url: str, *, any_server: bool = False) -> None:
        """`any_server`: whichever answers will do, in the URL's order, a standby too."""
        self._url, self._any_server = url, any_server
        self._servers = servers_of(url)
        self._primary: PostgresServer | None = None
        self._looking: asyncio.Task[None] | None = None

    async def connect(self, *_: Any, **options: Any) -> ServerConnection:
        """Connect to the primary, as `asyncpg.Pool` asks for it. Raises NoPrimary, Demoted, or an error of asyncpg's.

        Until a primary was found, every server is asked, so that an earlier primary is known from the newest.
        """
        is_first = self._primary is None and not self._any_server
        servers = sorted(self._servers, key=lambda server: server != self._primary)
        attempts = [partial(self._attempt, server, options) for server in servers]
        return await _first_of(attempts, *((0.0, _OTHERS_SECONDS) if is_first else (_NEXT_SECONDS, 0.0)))

    def look_around(self) -> None:
        """See whether another server was promoted, once a second from the first use on.

        Connections to an earlier primary end then: a statement may wait there for a standby that does not follow it,
        and a read shows nothing that was written since.
        """
        if len(self._servers) == 1 or self._any_server:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while True:
            if self._primary and LINEAGE.is_look_due(self._url):
                await asyncio.gather(*(self._see(server) for server in self._servers if server != self._primary))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _see(self, server: PostgresServer) -> None:
        with contextlib.suppress(*_FAILS):
            async with asyncio.timeout(_LOOK_TIMEOUT_SECONDS):
                (await self._attempt(server, {})).terminate()

    async def _attempt(self, server: PostgresServer, options: dict[str, Any]) -> ServerConnection:
        options = options | {"host": server.host, "port": server.port, "connection_class": ServerConnection}
        connection = cast("ServerConnection", await sessions.connect(self._url, target_session_attrs=_ANY, **options))
        connection.timeline, connection.is_left = None, False
        connection.waits = len(self._servers) > 1 and not self._any_server
        try:
            if not self._any_server:
                await _examine(connection)
            LINEAGE.keep(connection)
        except BaseException:
            connection.terminate()
            raise
        self._primary = server
        return connection


async def _examine(connection: ServerConnection) -> None:
    """Find out what the connection must know of its server. Raises NoPrimary if that takes no writes."""
    try:
        row = await connection.fetchrow(_STANDING)
    except _KNOWS_NO_TIMELINE:
        row = await connection.fetchrow(_STANDING_WITHOUT_TIMELINE)
    assert row is not None  # noqa: S101 - it returns one row
    if row["recovering"] or row["read_only"]:
        raise NoPrimary
    connection.waits |= row["waits"]
    if row["segment"]:
        # Its name begins with the timeline, in eight hexadecimal digits.
        connection.timeline = Timeline(row["cluster"], int(row["segment"][:8], 16))


async def _first_of(attempts: Sequence[_Attempt], every_seconds: float, others_seconds: float) -> ServerConnection:
    """Return the connection of the first attempt that succeeds, unless a slower one shows that its server was demoted.

    A further attempt begins when one has failed, or after `every_seconds`. Once one has succeeded, those that are under
    way have `others_seconds`. Raises the most serious error.
    """
    waiting, running, ended = list(attempts), set[_Task](), list[_Task]()
    try:
        while (waiting or running) and not any(_is_good(task) for task in ended):
            if waiting:
                running.add(asyncio.create_task(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=every_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            ended += done
        if running and others_seconds:
            done, running = await asyncio.wait(running, timeout=others_seconds)
            ended += done
        chosen = next((task for task in ended if _is_good(task)), None)
        ended = [task for task in ended if task is not chosen]
    finally:
        for task in running:
            task.cancel()
        for task in (*running, *ended):
            task.add_done_callback(_throw_away)
    if chosen:
        return chosen.result()
    errors = [error for task in ended if (error := task.exception())]
    # Without one, the connection that was made is closed already.
    raise max(errors, key=_seriousness, default=ConnectionResetError())


def _is_good(task: _Task) -> bool:
    return task.exception() is None and not task.result().is_closed()


def _throw_away(task: _Task) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def _seriousness(error: BaseException) -> int:
    """Rank an error by what it tells a person: that a server does not answer is less than why another one refuses."""
    match error:
        case Demoted():
            return 3
        case NoPrimary():
            return 1
        case OSError():
            return 0
        case _:
            return 2
