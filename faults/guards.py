"""Take each guard of docs/design.md §2 out of a copy, and show what notices: `python -m faults.guards`.

If no test and no schedule fails without a guard, the guard is useless or not tested. The work tree is never touched.
First the unchanged copy must pass all the tests and schedules that are used here.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.report import write_report

ROOT = Path(__file__).parent.parent
_COPIED = (
    "service", "workers", "cli", "sandbox", "faults", "tests", "docs", "contract", "deploy",
    "pyproject.toml", "README.md",
)  # fmt: skip
_SECONDS = 300

EXPLORER = ("-m", "faults.explorer", "--seed", "1", "--schedules", "600", "--jobs", "4", "--no-deadlocks")
# The unchanged copy needs no long exploration: `make explore` does that.
EXPLORER_SHORT = (*EXPLORER[:5], "60", *EXPLORER[6:])


def _test(*names: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names)


@dataclass(frozen=True)
class Guard:
    """A guard: its file and text, the text that replaces it, and the command that must notice."""

    name: str
    file: str
    text: str
    instead: str
    noticed_by: tuple[str, ...] = EXPLORER


GUARDS = (
    Guard(
        "row before acknowledgement",
        "service/usecases/intake.py",
        "            recorded = await self._recorder.record(batch)\n",
        "            self._later = asyncio.create_task(self._recorder.record(batch))\n"
        "            recorded = [notice.id for notice in batch]\n",
    ),
    Guard(
        "failover: a primary of an earlier timeline is refused",
        "service/db/servers.py",
        "            if self._is_outdated(timeline):\n                raise Demoted\n",
        "",
        _test("tests/service/db/test_servers.py", "-k", "takes_over"),
    ),
    Guard(
        "failover: connections to a demoted primary end",
        "service/db/servers.py",
        "                connection.terminate()\n",
        "                pass\n",
        _test("tests/service/db/test_servers.py", "-k", "leaves_a_demoted_primary"),
    ),
    Guard(
        "failover: a commit that waits for a standby is not cancelled",
        "service/db/servers.py",
        "        if self.waits:\n",
        "        if not self:\n",
        _test("tests/service/db/test_servers.py", "-k", "takes_over"),
    ),
    Guard(
        "failover: a spilled notice is forgotten once a standby has its row",
        "service/db/notices.py",
        '"SELECT FROM notices WHERE id = ANY($1) FOR KEY SHARE"',
        '"SELECT FROM notices WHERE id = ANY($1)"',
        _test("tests/service/db/test_servers.py", "-k", "takes_over"),
    ),
    Guard(
        "failover: a connection that takes no writes is not kept",
        "service/db/pool.py",
        "                    connection.terminate()\n",
        "",
        _test("tests/service/db/test_servers.py", "-k", "takes_no_writes"),
    ),
    Guard(
        "clock: cron lines are planned again after it was set",
        "workers/woken.py",
        "                line.calculate_next(datetime.now(self.timezone))\n",
        "                pass\n",
        _test("tests/workers/test_woken.py", "-k", "clock"),
    ),
    Guard(
        "clock: a new worker plans its cron lines again",
        "workers/woken.py",
        "            line.next_run = None ",
        "            pass ",
        _test("tests/workers/test_woken.py", "-k", "clock"),
    ),
    Guard(
        "clock: jobs of a wrong one are no backlog",
        "service/redis/queue.py",
        "_now_ms() + _PLANNED_MS))",
        '"+inf"))',
        _test("tests/service/redis/test_queue.py"),
    ),
    Guard(
        "readiness: a disk that is full keeps nothing",
        "service/usecases/readiness.py",
        "return PostgresState.DISK_FULL if self._finds_disk_full() else PostgresState.OK",
        "return PostgresState.OK",
        _test("tests/service/http/test_health.py"),
    ),
    Guard(
        "standbys: an answer is no older than may be",
        "service/usecases/standby_reads.py",
        "if age is None or age > age_max_seconds:",
        "if age is None:",
        _test("tests/service/db/test_servers.py", "-k", "takes_over"),
    ),
    Guard(
        "standbys: an order that a standby lacks may be new",
        "service/usecases/reading.py",
        "            if dated.value and dated.age_seconds <= age_max_seconds:\n",
        "            if dated.age_seconds:\n",
        _test("tests/service/http/test_standby_reads.py"),
    ),
    Guard(
        "console: a form is of its session",
        "service/http/console/sign_in.py",
        "    if visit.session is None or not visit.session.has_made(csrf):\n",
        "    if visit.session is None:\n",
        _test("tests/service/http/test_console.py"),
    ),
    Guard(
        "console: a form comes from a page of ours",
        "service/http/console/visits.py",
        '    if request.method == "POST":\n',
        '    if request.method == "OTHER":\n',
        _test("tests/service/http/test_console.py"),
    ),
    Guard(
        "console: a stranger's name is not answered",
        "service/http/console/guard.py",
        "    if name not in {known.lower() for known in names}:\n",
        "    if name is None:\n",
        _test("tests/service/http/test_console.py"),
    ),
    Guard(
        "console: only an admin's key opens a session",
        "service/usecases/console_sessions.py",
        "    return Scope.ADMIN in key.scopes and not key.is_expired(datetime.now(UTC))\n",
        "    return not key.is_expired(datetime.now(UTC))\n",
        _test("tests/service/http/test_console.py"),
    ),
    Guard(
        "feed: an event that is committed late is waited for",
        "service/domain/feed_horizon.py",
        "        if not position.writers:\n",
        "        if position.writers is not None:\n",
        _test("tests/service/db/test_feed.py"),
    ),
    Guard(
        "feed: a horizon ends with Postgres' life",
        "service/domain/feed_horizon.py",
        "        if self._kept is None or self._kept.life != position.life:\n",
        "        if self._kept is None:\n",
        _test("tests/service/domain/test_feed_horizon.py"),
    ),
    Guard(
        "feed: a prepared transaction is waited for",
        "service/domain/feed_horizon.py",
        "self.life == later.life and not later.prepared and",
        "self.life == later.life and",
        _test("tests/service/domain/test_feed_horizon.py"),
    ),
    Guard(
        "feed: what nobody announced is found",
        "service/usecases/following.py",
        "_POLL_SECONDS = 1.0\n",
        "_POLL_SECONDS = 1000.0\n",
        _test("tests/service/http/test_events.py::test_a_change_that_nobody_announced"),
    ),
    Guard(
        "waiting reads: a change during the read is not lost",
        "service/usecases/reading.py",
        "                changed.clear()\n                view = await self.read(merchant_uid)\n",
        "                view = await self.read(merchant_uid)\n                changed.clear()\n",
        _test("tests/service/usecases/test_reading.py"),
    ),
    Guard(
        "conflict-free insert",
        "service/db/notices.py",
        "WHERE o.merchant_uid = g->>3)\n        ON CONFLICT DO NOTHING\n",
        "WHERE o.merchant_uid = g->>3)\n",
    ),
    Guard(
        "without a registered order a payment has one notice",
        "service/db/notices.py",
        "        WHERE (SELECT true FROM orders o WHERE o.merchant_uid = g->>3)\n",
        "",
        _test("tests/service/db/test_notices.py"),
    ),
    Guard(
        "a notice that was recorded before keeps its row",
        "service/db/notices.py",
        " AND id NOT IN (SELECT id FROM known)\n",
        "\n",
        _test("tests/service/db/test_notices.py"),
    ),
    Guard(
        "what comes with a repeated notice is recorded by itself",
        "service/db/notices.py",
        "(rest := [notice for notice in group if notice.id not in rows])",
        "(rest := group if group[0].id not in rows else [])",
        _test("tests/service/db/test_notices.py"),
    ),
    Guard(
        "claim: one look at a notice at a time",
        "service/db/functions/claim_notices_v3.sql",
        "              AND (n.claimed_until IS NULL OR n.claimed_until <= now())\n",
        "",
        _test("tests/service/db/test_looks.py"),
    ),
    Guard(
        "claim: payments one at a time",
        "service/db/functions/claim_notices_v3.sql",
        "SELECT DISTINCT hashtext(n.imp_uid) AS k FROM notices n WHERE n.id = ANY(ids) ORDER BY k) AS sorted;",
        "SELECT DISTINCT hashtext(n.id::text) AS k FROM notices n WHERE n.id = ANY(ids) ORDER BY k) AS sorted;",
        _test("tests/service/db/test_looks.py"),
    ),
    Guard(
        "tickets: a late answer is dropped",
        "service/domain/staleness.py",
        "    if look.began_ticket < stored.written_ticket:\n        return Verdict.LATE\n",
        "",
        _test("tests/service/domain/test_staleness.py"),
    ),
    Guard(
        "tickets: drawn before the request",
        "service/domain/judgement.py",
        "look = stored.looks.get(payment.imp_uid), Look(payment, ticket)",
        "look = stored.looks.get(payment.imp_uid), Look(payment, 2**62)",
        _test("tests/service/test_mistakes.py", "-k", "slow_reader"),
    ),
    Guard(
        "a look ends with its connection",
        "service/usecases/verification.py",
        "                    judgement += await self.write(connection, claim, answers)\n",
        "                    async with one_connection(self.pool) as connection:\n"
        "                        judgement += await self.write(connection, claim, answers)\n",
        _test("tests/service/test_lost_connection.py"),
    ),
    Guard(
        "less progress is kept out",
        "service/domain/staleness.py",
        "    if stored.lesser is None:\n        return Verdict.KEEP_OUT\n",
        "    if stored.lesser is None:\n        return Verdict.STORE\n",
        _test("tests/service/test_regressed.py"),
    ),
    Guard(
        "lock before read",
        "service/usecases/verification.py",
        "            await orders.lock(db, merchant_uids)\n",
        "",
        _test("tests/service/test_races.py", "-k", "under_the_locks"),
    ),
    Guard(
        "what was read without a lock is compared under it",
        "service/db/functions/write_looks_v2.sql",
        "            RAISE serialization_failure USING MESSAGE = 'what was read before the lock has changed';\n",
        "            NULL;\n",
        _test("tests/service/db/test_looks.py"),
    ),
    Guard(
        "a look serves exactly what was claimed for it",
        "service/db/functions/write_looks_v2.sql",
        "alike->3) AS i))\n          AND arrivals = (alike->>1)::integer AND handled_at",
        "alike->3) AS i))\n          AND handled_at",
        _test("tests/service/db/test_looks.py"),
    ),
    Guard(
        "lock before read, on registering",
        "service/db/functions/register_orders_v2.sql",
        "    PERFORM pg_advisory_xact_lock(2, k) FROM (\n"
        "        SELECT DISTINCT hashtext(g->>0) AS k FROM jsonb_array_elements(given) AS g ORDER BY k) AS sorted;\n",
        "",
        _test("tests/service/test_races.py", "-k", "registered_while"),
    ),
    Guard(
        "lock before read, on registering what is stored already",
        "service/usecases/registration.py",
        "    await orders.lock(db, [terms.merchant_uid])\n",
        "",
        _test("tests/service/usecases/test_registration.py", "-k", "while_it_is_settled"),
    ),
    Guard(
        "registering: what is stored already is settled first",
        "service/db/functions/register_orders_v2.sql",
        "        WHERE NOT EXISTS (SELECT FROM payments WHERE merchant_uid = g->>0 AND",
        "        WHERE true OR NOT EXISTS (SELECT FROM payments WHERE merchant_uid = g->>0 AND",
        _test("tests/service/usecases/test_registration.py", "-k", "stored_payment"),
    ),
    Guard(
        "registering: an archived order's number is not given out again",
        "service/db/functions/register_orders_v2.sql",
        "          AND NOT EXISTS (SELECT FROM archived_orders WHERE merchant_uid = g->>0 OFFSET 0)\n",
        "",
        _test("tests/cli/test_archive.py"),
    ),
    Guard(
        "registering: batches take their locks in one order",
        "service/db/functions/register_orders_v2.sql",
        "        SELECT DISTINCT hashtext(g->>0) AS k FROM jsonb_array_elements(given) AS g ORDER BY k) AS sorted;",
        "        SELECT hashtext(g->>0) AS k FROM jsonb_array_elements(given) AS g) AS sorted;",
        _test("tests/service/usecases/test_registration.py", "-k", "opposite"),
    ),
    Guard(
        "registering: an order that comes twice in a batch is new once",
        "service/usecases/registration.py",
        "    if registered is None or first[order.terms.merchant_uid] is order:\n",
        "    if True:\n",
        _test("tests/service/usecases/test_registration.py", "-k", "twice"),
    ),
    Guard(
        "jobs: one that was named to a worker is begun once",
        "workers/woken.py",
        "if (begun := self.tasks.get(job_id)) and not begun.done():",
        "if False:",
        _test("tests/workers/test_woken.py"),
    ),
    Guard(
        "jobs: one that was named is hidden from other workers",
        "service/redis/queue.py",
        "now_ms + _HIDDEN_MS, wakes",
        "now_ms, wakes",
        _test("tests/service/redis/test_queue.py"),
    ),
    Guard(
        "jobs: one whose name nobody hears is shown to all",
        "service/redis/queue.py",
        "        if not is_heard:\n",
        "        if False:\n",
        _test("tests/workers/test_woken.py"),
    ),
    Guard(
        "jobs: a worker without a place leaves one to all",
        "workers/woken.py",
        "            self._left[job_id] = due_at_ms\n",
        "",
        _test("tests/workers/test_woken.py"),
    ),
    Guard(
        "batches: one that is refused for its data runs item by item",
        "service/usecases/coalescing.py",
        "            return [error] if len(items) == 1 else",
        "            return [error] * len(items) if items else",
        _test("tests/service/usecases/test_registration.py", "-k", "refused_alone"),
    ),
    Guard(
        "batches: no more wait than may",
        "service/usecases/coalescing.py",
        "            raise Overloaded\n",
        "            pass\n",
        _test("tests/service/usecases/test_coalescing.py"),
    ),
    Guard(
        "batches: nobody waits behind a silent database",
        "service/usecases/coalescing.py",
        "                self._refuse_waiting(error)\n",
        "                pass\n",
        _test("tests/service/usecases/test_coalescing.py"),
    ),
    Guard(
        "batches: reads and registrations give way to intake",
        "service/usecases/coalescing.py",
        "        if urgent and urgent._runs:",
        "        if False:",
        _test("tests/service/usecases/test_coalescing.py"),
    ),
    Guard(
        "the timetable: a row is ended only under the truth",
        "service/db/functions/write_looks_v2.sql",
        "        ON CONFLICT (merchant_uid) DO UPDATE SET next_check_at = c.next_check_at;",
        "        ON CONFLICT (merchant_uid) DO NOTHING;",
        _test("tests/service/db/test_looks.py", "-k", "opens_again"),
    ),
    Guard(
        "lock order",
        "service/db/orders.py",
        "SELECT DISTINCT hashtext(m) AS k FROM unnest($1::text[]) AS m ORDER BY k) AS sorted",
        "SELECT hashtext(m) AS k FROM unnest($1::text[]) AS m ORDER BY random()) AS sorted",
        _test("tests/faults/test_lock_order.py"),
    ),
    Guard(
        "version step",
        "service/db/functions/write_looks_v2.sql",
        "version = o.version + 1, updated_at = now()",
        "version = o.version + 2, updated_at = now()",
    ),
    Guard(
        "one event for each version",
        "service/db/functions/write_looks_v2.sql",
        "        FROM moved;\n        GET DIAGNOSTICS written = ROW_COUNT;\n",
        "        FROM moved WHERE state <> 'paid';\n        written := jsonb_array_length(changes);\n",
    ),
    Guard(
        "settled on registration",
        "service/usecases/registration.py",
        "settle(terms, stored_payments)",
        "settle(terms, [])",
        _test("tests/service/http/test_guide.py", "-k", "settled_on_registration"),
    ),
    Guard(
        "closing: PortOne is asked before a withdrawal",
        "service/usecases/closing.py",
        "        if not is_closed and override is None:\n"
        "            searched = await self.asking.ask(merchant_uid, wait_seconds)\n"
        "            if searched is None or searched.outcome is not Outcome.LOOKED:\n"
        "                raise PortOneNotAsked\n",
        "",
        _test("tests/service/http/test_withdraw.py", "-k", "no_notice_told"),
    ),
    Guard(
        "closing: it is decided again under the lock",
        "service/usecases/closing.py",
        "            _refuse(order, versions, stored)\n            now =",
        "            now =",
        _test("tests/service/http/test_withdraw.py", "-k", "no_notice_told"),
    ),
    Guard(
        "closing: an order of which PortOne has news does not expire",
        "service/usecases/reconciliation.py",
        "if order.ends and order.merchant_uid not in news",
        "if order.ends",
        _test("tests/service/usecases/test_expiry.py", "-k", "news_at_the_end"),
    ),
    Guard(
        "closing: money of a closed order is a problem",
        "service/domain/settle.py",
        "    if order.closed and holding:\n",
        "    if False:\n",
        _test("tests/service/refunds/test_paid_after_close.py"),
    ),
    Guard(
        "a payment whose refund was sent is not accepted",
        "service/domain/acceptance.py",
        "    if refund in _SENT or payment.refund_unknown:\n",
        "    if payment.refund_unknown:\n",
        _test("tests/service/http/test_accept.py", "-k", "was_sent"),
    ),
    Guard(
        "sweep",
        "workers/tasks.py",
        "        due = await in_transaction(parts.pool, notices.take_due,",
        "        due = []  # await in_transaction(parts.pool, notices.take_due,",
    ),
    Guard(
        "spill: swept into Postgres",
        "workers/tasks.py",
        "    while entries := await parts.queue.spilled(NOTICES_PER_JOB):\n",
        "    while entries := []:\n",
    ),
    Guard(
        "spill: forgotten only once it is committed",
        "workers/tasks.py",
        "        results = await parts.recorder.record([notice for _, notice in given]) if given else []\n",
        "        await parts.queue.forget_spilled([entry.entry_id for entry in entries])\n"
        "        results = await parts.recorder.record([notice for _, notice in given]) if given else []\n",
        _test("tests/faults/test_spill.py"),
    ),
    Guard(
        "batches begin no closer together than the calls allow",
        "service/usecases/coalescing.py",
        "        self._next_at = self._runs[run] + self._bounds.spacing_seconds\n",
        "        self._next_at = 0.0\n",
        _test("tests/service/usecases/test_coalescing.py"),
    ),
    Guard(
        "a batch that takes too long is halved",
        "workers/verify.py",
        "    await in_halves(ids, partial(_verify_whole, verifier, queue))\n",
        "    await _verify_whole(verifier, queue, ids)\n",
        _test("tests/service/usecases/test_halving.py"),
    ),
    Guard(
        "invented payments of an order give way",
        "service/db/functions/write_looks_v2.sql",
        "AS retried) >= 8)",
        "AS retried) >= 8 AND false)",
        _test("tests/service/db/test_looks.py"),
    ),
    Guard(
        "spill: Redis keeps room for the queue",
        "service/redis/queue.py",
        "        return not is_nearly_full(memory)\n",
        "        return True or is_nearly_full(memory)\n",
        _test("tests/service/redis/test_spill.py"),
    ),
    Guard(
        "spill: behind Sentinels every replica confirms",
        "service/redis/spill.py",
        "        if not on_masters_disk or on_replicas_disks < replicas:\n",
        "        if not on_masters_disk:\n",
        _test("tests/faults/test_redis_failover.py"),
    ),
    Guard(
        "spill: a server that may be promoted and does not follow",
        "service/redis/durability.py",
        "        (not away, f",
        "        (True, f",
        _test("tests/faults/test_redis_failover.py"),
    ),
    Guard(
        "Sentinels: a master that was demoted is left",
        "service/redis/connecting.py",
        "        self.ask_again()\n        return await super().get_connection",
        "        return await super().get_connection",
        _test("tests/service/redis/test_connecting.py"),
    ),
    Guard(
        "Sentinels: the newest configuration counts",
        "service/redis/connecting.py",
        'if state["config-epoch"] == newest and',
        "if",
        _test("tests/service/redis/test_connecting.py"),
    ),
    Guard(
        "spill: what a sweep has read is joined by nobody",
        "service/redis/spill.py",
        "        if entry[2][i] == 'claim' then redis.call",
        "        if false then redis.call",
        _test("tests/service/redis/test_spill.py"),
    ),
    Guard(
        "spill: strangers have a share of its room",
        "service/redis/spill.py",
        "(sender == '' or (\n",
        "(true or (\n",
        _test("tests/service/redis/test_spill.py"),
    ),
    Guard(
        "spill: only into a Redis that keeps it",
        "service/redis/queue.py",
        "        return (await read_durability(self._redis)).is_enough\n",
        "        return True\n",
        _test("tests/service/usecases/test_intake.py"),
    ),
    Guard(
        "ledger scan",
        "service/usecases/reconciliation.py",
        "            count += await self._walk(scan)\n",
        "            count += 0\n",
    ),
    Guard(
        "ledger scan: an agreeing page hides nothing older",
        "service/usecases/reconciliation.py",
        " and self._reaches(listed.payments, scan)):",
        "):",
        _test("tests/faults/test_ledger.py"),
    ),
    Guard(
        "ledger scan: an open notice that sees less hides no difference",
        "service/db/notices.py",
        "AND n.due_at > now() - $7::interval AND n.claimed_until IS NULL\n",
        "AND n.due_at > now() - $7::interval\n",
        _test("tests/faults/test_ledger.py"),
    ),
    Guard(
        "retry of a deadlock",
        "service/db/pool.py",
        "_RETRIABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)",
        "_RETRIABLE = ()",
    ),
    Guard(
        "a failure to ask is asked again",
        "service/domain/judgement.py",
        "    return Postponed(outcome, _backoff(notice, times))\n",
        "    return Handled(outcome)\n",
    ),
    Guard(
        "a failure to ask is not an answer",
        "service/portone/client.py",
        '    if status == 429 or status >= 500:\n        raise PortOneUnavailable(f"HTTP {status}")\n',
        '    if status == 429 or status >= 500:\n        return Envelope(404, -1, "", None)\n',
        _test("tests/service/test_never_paid.py", "-k", "failure_to_ask"),
    ),
    Guard("amount", "service/domain/settle.py", "if payment.amount != order.amount:", "if False:"),
    Guard("currency", "service/domain/settle.py", "if payment.currency != order.currency:", "if False:"),
    Guard(
        "channel",
        "service/domain/settle.py",
        "is_test = not payment.live and not order.allow_test_channel",
        "is_test = False",
    ),
    Guard(
        "a billing key is no charge",
        "service/domain/settle.py",
        "if payment.only_issued_key and not order.allow_billing_key_issue:",
        "if False:",
        _test("tests/service/test_billing_key.py"),
    ),
    Guard(
        "an unreadable payment is a problem",
        "service/domain/settle.py",
        "        if payment.unreadable:\n",
        "        if False:\n",
        _test("tests/service/test_unreadable.py"),
    ),
    Guard(
        "nothing is refunded beside an unreadable payment",
        "service/domain/refund.py",
        "if any(other.unreadable for other in payments):",
        "if False:",
        _test("tests/service/test_unreadable.py", "-k", "refunded_beside"),
    ),
    Guard(
        "an older answer does not make a payment readable",
        "service/domain/judgement.py",
        "if before is not None and ticket < before.written_ticket:",
        "if False:",
        _test("tests/service/domain/test_judgement.py", "-k", "unreadable"),
    ),
    Guard(
        "one text that cannot be decoded hides no other",
        "service/portone/decoding.py",
        "        return _decode_leniently(body)\n",
        "        raise\n",
        _test("tests/service/portone/test_decoding.py"),
    ),
    Guard("store", "service/domain/settle.py", "if payment.store != order.store:", "if False:"),
    Guard(
        "order: the one that PortOne names",
        "service/domain/completion.py",
        "    if claimed_merchant_uid is not None and claimed_merchant_uid != payment.merchant_uid:\n"
        "        return CompletionRefusal.OTHER_ORDER\n",
        "",
        _test("tests/service/test_mistakes.py", "-k", "replayed or checked"),
    ),
    Guard(
        "order: the one that the worker's message names",
        "service/usecases/completion.py",
        "            if notice.merchant_uid in (None, named):\n",
        "            if True:\n",
        _test("tests/service/usecases/test_completion.py"),
    ),
    Guard(
        "leaving a problem as it is: no refund follows",
        "service/usecases/resolving.py",
        "        if refund and refund.state is RefundState.INTENDED:\n",
        "        if False:\n",
        _test("tests/service/refunds/test_held.py", "-k", "leaving"),
    ),
    Guard(
        "answer about the payment that was asked for",
        "service/portone/looks.py",
        '    if payment.imp_uid != imp_uid:\n        raise UnreadableAnswer("it is about another payment")\n',
        "",
        _test("tests/service/test_never_paid.py", "-k", "another_number"),
    ),
    Guard(
        "at most two looks a second",
        "service/db/functions/claim_notices_v3.sql",
        "                   WHEN l.looked_at + l.spaced > clock_timestamp() THEN 'too_soon'\n",
        "",
    ),
    Guard(
        "strangers: a buyer never meets an error",
        "service/http/returns.py",
        "    except Exception as error:\n        state =",
        "    except ZeroDivisionError as error:\n        state =",
        _test("tests/service/http/test_returns.py", "-k", "limits"),
    ),
    Guard(
        "strangers: a search serves only who wanted it before it began",
        "service/db/completion_facts.py",
        "WHERE merchant_uid = g.asked->>0 AND began_at >= (g.asked->>1)::timestamptz",
        "WHERE merchant_uid = g.asked->>0",
        _test("tests/service/http/test_returns.py", "-k", "error_code"),
    ),
    Guard(
        "strangers: one order is searched for twice a second at most",
        "service/db/searches.py",
        "greatest(excluded.wanted_at, s.began_at + $2)",
        "excluded.wanted_at + $2 * 0",
        _test("tests/service/http/test_returns.py", "-k", "share_calls"),
    ),
    Guard(
        "a pooler that loses the settings is refused",
        "service/db/sessions.py",
        "    if session.is_pooled and lost:\n",
        "    if not session:\n",
        _test("tests/service/test_pooler.py", "-k", "lost_settings"),
    ),
    Guard(
        "strangers: confirm_url has connections of its own",
        "service/http/assembly.py",
        "        pool = await open_pool(url.get_secret_value(), size, **options)\n",
        "        pool = self.stack.pool = getattr(self.stack, 'pool', None) or await open_pool(\n"
        "            url.get_secret_value(), 2)\n",
        _test("tests/service/http/test_confirm.py", "-k", "connections_of_their_own"),
    ),
    Guard(
        "strangers: questions are limited by order and address",
        "service/http/confirmations.py",
        'limits.questions.wait_seconds(f"{client} {question.merchant_uid}")',
        "limits.questions.wait_seconds(question.merchant_uid)",
        _test("tests/service/http/test_confirm.py", "-k", "uses_up"),
    ),
    Guard(
        "strangers: PortOne keeps half of the stock hook's questions",
        "service/shop/stock.py",
        "per_second * _STRANGERS_SHARE",
        "per_second",
        _test("tests/service/http/test_confirm.py", "-k", "leave_half"),
    ),
    Guard(
        "strangers: connections are bounded by client",
        "service/http/connections.py",
        "if client and self._by_client[client] >= self.bounds.by_client:",
        "if client == self.bounds:",
        _test("tests/service/http/test_connections.py", "-k", "holds_its_share"),
    ),
    Guard(
        "strangers: silent connections make place",
        "service/http/connections.py",
        "and not self._make_place():",
        "and True:",
        _test("tests/service/http/test_connections.py", "-k", "silent"),
    ),
    Guard(
        "strangers: a head that does not come is not waited for",
        "service/http/connections.py",
        "            self._close_headless()\n",
        "",
        _test("tests/service/http/test_connections.py", "-k", "a_head_that"),
    ),
    Guard(
        "strangers: no byte of a request that was not understood is logged",
        "service/http/connection.py",
        '            self._watcher.note("requests.not_understood", type(exc).__name__)\n',
        '            self._watcher.note("requests.not_understood", str(exc))\n',
        _test("tests/service/http/test_connections.py", "-k", "mutated"),
    ),
    Guard(
        "repeated calls: one runs at a time",
        "service/db/idempotency_keys.py",
        "OR (k.claimed_until < now() AND k.fingerprint = excluded.fingerprint)",
        "OR (k.claimed_until IS NOT NULL AND k.fingerprint = excluded.fingerprint)",
        _test("tests/service/http/test_idempotency.py"),
    ),
    Guard(
        "repeated calls: a key is one call's",
        "service/db/idempotency_keys.py",
        "coalesce(c.fingerprint, k.fingerprint, g.fingerprint) = g.fingerprint AS same",
        "true AS same",
        _test("tests/service/http/test_idempotency.py"),
    ),
    Guard(
        "repeated calls: a claim that was lost answers nothing",
        "service/db/idempotency_keys.py",
        "WHERE k.id = ANY($1) AND k.id = g.id AND k.claimed_until = g.until\n"
        '        """,\n'
        "        [claim.id for claim, _ in answered],\n",
        "WHERE k.id = ANY($1) AND k.id = g.id AND g.until IS NOT NULL\n"
        '        """,\n'
        "        [claim.id for claim, _ in answered],\n",
        _test("tests/service/http/test_idempotency.py"),
    ),
    Guard(
        "repeated calls: what is to be sent again is not kept",
        "service/http/idempotency.py",
        "response.status < 500 and response.status not in _NOT_FINAL and not response.get(NOT_FINAL)",
        "True",
        _test("tests/service/http/test_idempotency.py"),
    ),
    Guard(
        "lists: an order stands at its newest event",
        "service/db/order_list.py",
        "WHERE merchant_uid = e.merchant_uid AND version = e.version OFFSET 0",
        "WHERE merchant_uid = e.merchant_uid OFFSET 0",
        _test("tests/service/http/test_order_lists.py"),
    ),
    Guard(
        "lists: a page shows one moment",
        "service/usecases/listing.py",
        "await in_snapshot(self._pool, _read_page, query)",
        "await in_statement(self._pool, _read_page, query)",
        _test("tests/service/http/test_order_lists.py"),
    ),
    Guard(
        "lists: the first event of a time allows for transactions that last",
        "service/db/order_list.py",
        "since = filters.updated_since - _TRANSACTION_MAX",
        "since = filters.updated_since",
        _test("tests/service/http/test_order_lists.py"),
    ),
    Guard(
        "a key's scope",
        "service/http/keys.py",
        "    if scope not in key.scopes:\n",
        "    if not key.scopes:\n",
        _test("tests/service/http/test_keys.py", "-k", "scope"),
    ),
    Guard(
        "a key's expiry",
        "service/http/keys.py",
        "    if key.is_expired(datetime.now(UTC)):\n",
        "    if key.id == 0:\n",
        _test("tests/service/http/test_keys.py", "-k", "expired"),
    ),
    Guard(
        "a revoked key is forgotten",
        "service/db/service_keys.py",
        "        WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now() - interval '1 day')\n",
        "        WHERE expires_at IS NULL OR expires_at > now() - interval '1 day'\n",
        _test("tests/service/http/test_keys.py", "-k", "revoked"),
    ),
    Guard(
        "keys end some time after Postgres did",
        "service/usecases/service_keys.py",
        "        return time.monotonic() - self._read_at < KEPT_SECONDS\n",
        "        return True\n",
        _test("tests/service/http/test_keys.py", "-k", "outage"),
    ),
    Guard(
        "a checkout token is one order's",
        "service/domain/checkout_token.py",
        'end + merchant_uid.encode("utf-8", "surrogatepass")\n',
        "end\n",
        _test("tests/service/domain/test_checkout_token.py"),
    ),
    Guard(
        "a checkout token ends",
        "service/http/checkout.py",
        "    if left <= 0:\n",
        "    if left is False:\n",
        _test("tests/service/http/test_checkout.py", "-k", "ends"),
    ),
    Guard(
        "receivers share a client's rate",
        "service/rate_limits.py",
        "            bucket.left = min(bucket.left, level - bucket.owed)\n",
        "",
        _test("tests/service/redis/test_shared_limits.py"),
    ),
    Guard(
        "webhooks: the address is checked where the connection is made",
        "service/outgoing/sender.py",
        "    if not is_public(host):\n",
        "    if False:\n",
        _test("tests/service/outgoing/test_sender.py", "-k", "private_network or comes_to_lead"),
    ),
    Guard(
        "webhooks: redirects are not followed",
        "service/outgoing/sender.py",
        "headers=headers, allow_redirects=False",
        "headers=headers",
        _test("tests/service/outgoing/test_sender.py", "-k", "redirect"),
    ),
    Guard(
        "webhooks: a late order's later events wait for it",
        "service/usecases/delivering.py",
        "[event for event in events if event.merchant_uid not in is_late]",
        "list(events)",
        _test("tests/service/usecases/test_delivering.py", "-k", "holds_back or slow"),
    ),
    Guard(
        "webhooks: only the last turn ends",
        "service/db/deliveries.py",
        "AND ($6::bigint IS NULL OR turn = $6::bigint)",
        "AND ($6::bigint IS NULL OR turn > 0)",
        _test("tests/service/usecases/test_delivering.py", "-k", "turn_that_was_lost"),
    ),
    Guard(
        "webhooks: a replay wins over what is under way",
        "service/db/deliveries.py",
        "AND l.replays = (g->>3)::integer",
        "",
        _test("tests/service/usecases/test_delivering.py", "-k", "replay_during"),
    ),
    Guard(
        "webhooks: an endpoint that is down gets probes alone",
        "service/usecases/delivering.py",
        "probes = _PROBES if is_down(claim.failures) else None",
        "probes = None",
        _test("tests/service/usecases/test_delivering.py", "-k", "gets_probes"),
    ),
    Guard(
        "stopping: a call on an open connection is answered",
        "service/http/runner.py",
        "            await self.connections.left(self.leave_seconds)\n",
        "",
        _test("tests/service/http/test_leaving.py"),
    ),
    Guard(
        "stopping: a connection that waits to be accepted is answered",
        "service/http/listening.py",
        "                for _ in range(_BACKLOG):\n                    self._take(listening.accept()[0])\n",
        "                pass\n",
        _test("tests/service/http/test_leaving.py"),
    ),
    Guard(
        "stopping: a busy receiver's callers wait",
        "service/http/listening.py",
        "backlog=_BACKLOG",
        "backlog=128",
        _test("tests/service/http/test_leaving.py"),
    ),
    Guard(
        "listening: many new connections are accepted at once",
        "service/http/listening.py",
        "_ACCEPTED_AT_ONCE = 32",
        "_ACCEPTED_AT_ONCE = 1",
        _test("tests/service/http/test_listening.py"),
    ),
    Guard(
        "stopping: what a worker has claimed it verifies",
        "workers/woken.py",
        "        async with self._claiming:\n            pass\n",
        "",
        _test("tests/workers/test_woken.py"),
    ),
    Guard(
        "numbers: none that no address can name",
        "service/http/field_types.py",
        "if not can_stand_in_address(text):",
        "if False:",
        _test("tests/service/http/test_orders.py", "-k", "bad_order"),
    ),
    Guard(
        "keys: a wait ends with its key",
        "service/usecases/service_keys.py",
        "ends.reschedule(now)",
        "pass",
        _test("tests/service/http/test_keys.py", "-k", "wait_ends_with"),
    ),
    Guard(
        "waits: the last places are for other keys",
        "service/usecases/places.py",
        "(kept if self._by_caller[caller] >= kept else 0)",
        "0",
        _test("tests/service/usecases/test_reading.py", "-k", "takes_all_places"),
    ),
)


@dataclass(frozen=True)
class Bite:
    """The result of taking out a guard."""

    guard: Guard
    noticed: str | None
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.guards", description=__doc__)
    parser.add_argument("--only", help="guards whose name contains this")
    parser.add_argument("--report", action="store_true", help="write the table into docs/faults.md")
    options = parser.parse_args()
    guards = [guard for guard in GUARDS if (options.only or "") in guard.name]
    with tempfile.TemporaryDirectory(prefix="portone-guards-") as folder:
        copy = Path(folder)
        copy.chmod(0o711)
        copy_to(copy)
        failure = _check(copy, guards)
        bites = [] if failure else [_take_out(copy, guard) for guard in guards]
    if options.report and not options.only and not failure:
        write_report(guards=_table(bites))
    unnoticed = [bite.guard.name for bite in bites if bite.noticed is None]
    sys.stdout.write(failure or f"{len(bites)} guards taken out, {len(unnoticed)} unnoticed {unnoticed or ''}\n")
    return int(bool(failure or unnoticed))


def copy_to(copy: Path) -> None:
    """Copy the code and its tests, so that they can be broken there."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis", ".venv", "node_modules")
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy / name)


def _check(copy: Path, guards: Sequence[Guard]) -> str:
    """Check that every guard's text is in its file once, and that nothing fails with all guards in place."""
    for guard in guards:
        if (copy / guard.file).read_text("utf-8").count(guard.text) != 1:
            return f"'{guard.name}' is not exactly once in {guard.file}: correct its text in faults/guards.py.\n"
    for command in dict.fromkeys(EXPLORER_SHORT if g.noticed_by == EXPLORER else g.noticed_by for g in guards):
        code, output = _run(copy, command)
        if code:
            return f"{' '.join(command)} fails with all guards in place:\n{output[-3000:]}\n"
    return ""


def _take_out(copy: Path, guard: Guard) -> Bite:
    file, started = copy / guard.file, time.monotonic()
    original = file.read_text("utf-8")
    file.write_text(original.replace(guard.text, guard.instead), "utf-8")
    try:
        code, output = _run(copy, guard.noticed_by)
    finally:
        file.write_text(original, "utf-8")
    bite = Bite(guard, _noticed(output) if code else None, time.monotonic() - started)
    sys.stdout.write(f"{guard.name}: {bite.noticed or 'NOT NOTICED'} ({bite.seconds:.0f} s)\n")
    sys.stdout.flush()
    return bite


def _noticed(output: str) -> str | None:
    """Return the test that failed, or the seed and its broken promise. A crashed program noticed nothing."""
    failed = re.search(r"^FAILED (\S+)", output, re.MULTILINE)
    if failed:
        return f"`{failed[1].partition(' ')[0]}`"
    broken, seed = re.search(r"^BROKEN: (.*)$", output, re.MULTILINE), re.search(r"--replay (\d+)", output)
    if not broken:
        return None
    return f"explorer{f', seed {seed[1]}' if seed else ''}: {_short(broken[1])}"


def _short(sentence: str) -> str:
    """Shorten a sentence for the table, which needs no ids and values."""
    sentence = re.sub(r"(is|was) Expected\(.*", "does not match PortOne's truth", sentence)
    return sentence.replace("|", "/")[:110]


def _run(copy: Path, command: Sequence[str]) -> tuple[int, str]:
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = subprocess.run(
            [sys.executable, *command], cwd=copy, env=env, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as expired:
        return 0, str(expired)
    return process.returncode, process.stdout + process.stderr


def _table(bites: Sequence[Bite]) -> list[str]:
    return [
        "| guard taken out | in | noticed by |",
        "| --- | --- | --- |",
        *(f"| {bite.guard.name} | `{bite.guard.file}` | {bite.noticed or '**nothing**'} |" for bite in bites),
    ]


if __name__ == "__main__":
    sys.exit(main())
