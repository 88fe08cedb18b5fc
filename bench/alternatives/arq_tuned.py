"""arq tuned: a short poll, many jobs at once, no results, uvloop, no line per job in the log."""

import logging
from typing import Any, ClassVar

import uvloop

from bench.alternatives.arq_plain import REDIS, settle, shutdown, startup
from bench.alternatives.arq_plain import open_queue as open_queue

uvloop.install()
logging.getLogger("arq").setLevel(logging.WARNING)


class WorkerSettings:
    functions: ClassVar[list[Any]] = [settle]
    on_startup = startup
    on_shutdown = shutdown
    redis_settings = REDIS
    poll_delay = 0.01
    max_jobs = 100
    keep_result = 0
    log_results = False
