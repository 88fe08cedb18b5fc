"""arq's task that searches for orders' payments. It never raises, because a search's row is its timetable."""

from collections.abc import Mapping
from typing import Any

import structlog

from service.errors import PostgresUnavailable
from service.usecases.searching import Searcher
from workers.verify import PARTS

log = structlog.get_logger()

SEARCHER = "searcher"  # where arq's context holds it


async def search_payments(ctx: Mapping[str, Any]) -> None:
    """Make all searches that are due: a job of the receiver's, and a cron line for what the queue lost."""
    searcher: Searcher = ctx[SEARCHER]
    try:
        while await searcher.search_due(ctx[PARTS].batches.join):
            pass
    except PostgresUnavailable as error:
        log.warning("searches.failed", reason=str(error))
    except Exception:
        log.exception("searches.failed")
