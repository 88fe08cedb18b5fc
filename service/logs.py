"""Logs: one JSON line an event, named in the past tense; no secrets and no personal data (STYLE.md)."""

import logging
import sys

import orjson
import structlog


def configure_logs(level: int = logging.INFO) -> None:
    """Write our events, and other libraries' warnings, as JSON lines to standard output."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **kw: orjson.dumps(event, **kw).decode()),
            ],
        )
    )
    # arq logs each job's arguments at INFO.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
