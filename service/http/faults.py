"""The log line of an error of ours."""

import traceback

import structlog

log = structlog.get_logger()

_PLACES_MAX = 12


def log_fault(event: str, error: BaseException, **fields: object) -> None:
    """Log an error of ours by its kind and place. Its text may hold a request's bytes, so that is left out."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error(event, kind=type(error).__name__, places=places[-_PLACES_MAX:], **fields)
