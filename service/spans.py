"""Spans by OpenTelemetry's SDK, which reads the OTEL_ variables itself: where they go, and how many of the traces.

Spans are made whole when the work is done, because their times are known anyway: a notice's id has the time at which
it came. That costs a fraction of what a tracer does, which follows work while it is done.
"""

import os
import random
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import entry_points, version
from pathlib import Path
from uuid import UUID

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service.db.feed import FeedEvent
from service.domain.delivery import DeliveryAttempt
from service.domain.judgement import Fate, Handled, Judgement
from service.domain.notice import Notice, OpenNotice, Source
from service.settings import Settings
from service.trace_rate import TraceRate

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("portone-orders", version("portone-orders"))
_OK, _ERROR = Status(StatusCode.OK), Status(StatusCode.ERROR)
_LAST_HALF = 2**64 - 1
# The names by which OTEL_TRACES_EXPORTER calls what packages call otherwise.
_EXPORTERS = {"otlp": "otlp_proto_http"}
# These begin their traces in a worker, because no caller brought them.
_OF_WORKERS = (Source.RECONCILE, Source.SEARCH, Source.REFUND, Source.OPERATOR)

Names = dict[str, str | bool | int]


class Spans:
    """The spans of one process."""

    def __init__(self, kind: str, exporter: str, settings: Settings) -> None:
        # What a program says itself counts more to the SDK than its own variable.
        name = os.environ.get("OTEL_SERVICE_NAME") or f"portone-orders-{kind}"
        names = {"service.name": name, "service.version": _SCOPE.version or ""}
        provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        self._sampler, self._resource = provider.sampler, provider.resource
        self._processors = [BatchSpanProcessor(made) for made in _exporters(exporter, settings.trace_file)]
        self._rate = TraceRate(settings.traces_per_second)

    def received(self, notices: Sequence[Notice], rows: Sequence[UUID | None]) -> None:
        now = time.time_ns()
        self._rate.count(len(notices))
        for notice, row in zip(notices, rows, strict=True):
            if self._is_sampled(notice.id):
                links = [Link(_root(row))] if row is not None and row != notice.id else []
                attributes = _named(notice.imp_uid, notice.merchant_uid) | {
                    "notice.source": notice.source.value,
                    "notice.spilled": row is None,
                }
                self._end("receive", _root(notice.id), None, (_came_at(notice.id), now), attributes, links)

    def looked_at(self, judgement: Judgement, claimed_at: float, answered_at: float) -> None:
        self._rate.count(len(judgement.fates))
        sampled = [(notice, fate) for notice, fate in judgement.fates if self._is_sampled(notice.id)]
        if not sampled:
            return
        now, clock = time.time_ns(), time.monotonic()
        claimed, answered = (now - int((clock - at) * 1e9) for at in (claimed_at, answered_at))
        batch, changes = _child(_context(random.getrandbits(128), 0)), _changes(judgement)
        counts: Names = {"notices": len(judgement.fates), "orders.changed": len(judgement.changes)}
        self._end("batch", batch, None, (claimed, now), counts, [Link(_root(notice.id)) for notice, _ in sampled])
        for notice, fate in sampled:
            self._end_queue(notice, claimed)
            root, link = _root(notice.id), [Link(batch)]
            asked = _named(notice.imp_uid) | _where(notice)
            self._end("look", _child(root), root, (claimed, answered), asked, link)
            meant = _meaning(fate) | changes.get(notice.id, {})
            status = _OK if isinstance(fate, Handled) else _ERROR
            self._end("commit", _child(root), root, (answered, now), meant, link, status)

    def _end_queue(self, notice: OpenNotice, claimed: int) -> None:
        root, waited = _root(notice.id), (claimed - int(notice.age.total_seconds() * 1e9), claimed)
        is_first = notice.source in _OF_WORKERS
        context, parent = (root, None) if is_first else (_child(root), root)
        self._end("queue", context, parent, waited, {"notice.tries": notice.tries})

    def headers(self, notice_id: UUID) -> dict[str, str]:
        root = _root(notice_id)
        flags = _SAMPLED if self._is_sampled(notice_id) else TraceFlags(TraceFlags.DEFAULT)
        return {"traceparent": f"00-{root.trace_id:032x}-{root.span_id:016x}-{flags:02x}"}

    def delivered(self, endpoint: str, event: FeedEvent, at: datetime, attempt: DeliveryAttempt) -> None:
        if event.notice_id is None or not self._is_sampled(event.notice_id):
            return
        root, began = _root(event.notice_id), int(at.timestamp() * 1e9)
        attributes = _named(event.imp_uid, event.merchant_uid) | {
            "endpoint": endpoint,
            "event.type": event.type,
            "event.version": event.version,
            "http.response.status_code": attempt.status or 0,
        }
        status = _OK if attempt.is_delivered else _ERROR
        times = (began, began + int(attempt.seconds * 1e9))
        self._end("deliver", _child(root), root, times, attributes, (), status, SpanKind.CLIENT)

    def close(self) -> None:
        for processor in self._processors:
            processor.shutdown()  # type: ignore[no-untyped-call]

    def _is_sampled(self, notice_id: UUID) -> bool:
        if not self._rate.keeps(notice_id):
            return False
        # The sampler compares the id's last 64 bits with its ratio. In a UUID the first two of these are always `10`.
        result = self._sampler.should_sample(None, notice_id.int << 2, "receive")
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _end(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Names,
        links: Sequence[Link] = (),
        status: Status = _OK,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        span = ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            links=links,
            kind=kind,
            status=status,
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=_SCOPE,
        )
        for processor in self._processors:
            processor.on_end(span)


class FileExporter(SpanExporter):
    """Appends spans to a file, one JSON line each, to look at traces without a collector."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._file.write(b"".join(_line(span) for span in spans))
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()


def _line(span: ReadableSpan) -> bytes:
    fields = {
        "trace_id": _trace(span.context),
        "span_id": _span(span.context),
        "parent_id": _span(span.parent),
        "name": span.name,
        "service": span.resource.attributes["service.name"],
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "links": [_trace(link.context) for link in span.links],
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _trace(context: SpanContext | None) -> str | None:
    return f"{context.trace_id:032x}" if context else None


def _span(context: SpanContext | None) -> str | None:
    return f"{context.span_id:016x}" if context else None


def _exporters(name: str, file: Path | None) -> list[SpanExporter]:
    """Make the exporters that are asked for. Raises LookupError for one that no package brings."""
    made: list[SpanExporter] = [FileExporter(file)] if file else []
    if name != "none":
        found = entry_points(group="opentelemetry_traces_exporter", name=_EXPORTERS.get(name, name))
        if not found:
            raise LookupError(f"no package brings {name}: use otlp, console or none")
        made += [entry.load()() for entry in found]
    return made


def _root(notice_id: UUID) -> SpanContext:
    """Return the context of the first span of a notice's trace."""
    return _context(notice_id.int, notice_id.int & _LAST_HALF)


def _child(parent: SpanContext) -> SpanContext:
    return _context(parent.trace_id, random.getrandbits(64) or 1)


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


def _came_at(notice_id: UUID) -> int:
    """Return when a notice came, in nanoseconds: its id begins with the milliseconds (RFC 9562 §5.7)."""
    return (notice_id.int >> 80) * 1_000_000


def _named(imp_uid: str | None, merchant_uid: str | None = None) -> Names:
    names = {"imp_uid": imp_uid, "merchant_uid": merchant_uid}
    return {name: value for name, value in names.items() if value is not None}


def _where(notice: OpenNotice) -> Names:
    return {"portone.account": notice.store.account, "portone.tier": notice.store.tier}


def _meaning(fate: Fate) -> Names:
    return {"notice.outcome": fate.outcome.value, "notice.fate": type(fate).__name__.lower()}


def _changes(judgement: Judgement) -> dict[UUID, Names]:
    """Return, by the notice that led to it, what each change made of its order."""
    changes: dict[UUID, Names] = {}
    for order, settlement in judgement.changes:
        merchant_uid = order.terms.merchant_uid
        evidence = judgement.evidence.get(merchant_uid)
        if evidence and evidence.notice_id:
            changes[evidence.notice_id] = {
                "merchant_uid": merchant_uid,
                "order.state": settlement.state.value,
                "order.version": order.version + 1,
            }
    return changes
