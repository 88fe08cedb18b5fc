"""Tracing: one trace for each notice, from its webhook to what other services are told.

A notice's id is its trace's id, and the last half of that is the id of the trace's first span. So whoever knows the
notice, in whichever process, knows its trace, and nothing is stored or sent for that. Without the extra `tracing`
(docs/telemetry.md) nothing here imports OpenTelemetry, and each batch costs a comparison with None.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import structlog

from service.domain.delivery import DeliveryAttempt
from service.domain.judgement import Judgement
from service.domain.notice import Notice
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.feed import FeedEvent

log = structlog.get_logger()


class Tracing(Protocol):
    """Takes finished work, and makes spans of it. Nothing here waits or raises, but for the end."""

    def received(self, notices: Sequence[Notice], rows: Sequence[UUID | None]) -> None:
        """Trace notices that are durable now, each with the row that stands for it; None: in Redis."""

    def looked_at(self, judgement: Judgement, claimed_at: float, answered_at: float) -> None:
        """Trace a batch whose looks are committed now. Both times are by `time.monotonic`."""

    def headers(self, notice_id: UUID) -> dict[str, str]:
        """Return the header by which another service's spans join the notice's trace (W3C Trace Context)."""

    def delivered(self, endpoint: str, event: "FeedEvent", at: datetime, attempt: DeliveryAttempt) -> None:
        """Trace an attempt at an outgoing webhook that has ended, begun at this time."""

    def close(self) -> None:
        """Send what is left. It blocks for some seconds at most."""


@contextlib.asynccontextmanager
async def open_tracing(kind: str, settings: Settings) -> AsyncIterator[Tracing | None]:
    """Yield the tracing of a receiver or worker; None unless OTEL_TRACES_EXPORTER or TRACE_FILE asks for it."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "none") or "none"
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_off or (exporter == "none" and not settings.trace_file):
        yield None
        return
    spans = _spans(kind, exporter, settings)
    try:
        yield spans
    finally:
        if spans:
            await asyncio.to_thread(spans.close)


def _spans(kind: str, exporter: str, settings: Settings) -> Tracing | None:
    """Return the tracing; None where it cannot be had, which keeps no payment from being verified."""
    try:
        from service.spans import Spans

        return Spans(kind, exporter, settings)
    except ImportError:
        reason = "install portone-orders[tracing], or unset OTEL_TRACES_EXPORTER and TRACE_FILE"
    except (LookupError, OSError) as error:
        reason = f"correct OTEL_TRACES_EXPORTER or TRACE_FILE ({error})"
    log.error("traces.not_made", advice=reason)
    return None
