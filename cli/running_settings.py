"""Say with which settings the service runs: those that its processes report, not those of the calling shell."""

import asyncio
from collections.abc import Iterator, Mapping

from cli.checks.databases import PostgresFailed, ask_postgres
from service.db import processes
from service.db.processes import RunningProcess
from service.settings import Settings
from service.settings_text import setting_texts

# Each process on a machine has ports of its own.
_OWN = ("PORT", "SANDBOX_PORT", "METRICS_PORT")


def running_processes(settings: Settings) -> list[RunningProcess]:
    """Return the receivers and workers that run on this database, the newest first; none if it cannot be read."""
    try:
        every = asyncio.run(ask_postgres(settings, processes.read))
    except PostgresFailed:
        return []
    return [process for process in every if not process.is_silent]


def settings_in_force(
    settings: Settings, source: str, running: list[RunningProcess]
) -> tuple[Mapping[str, str], list[str]]:
    """Return the newest receiver's settings, or else these; and sentences that say whose they are, and who differs."""
    receiver = next((process for process in running if process.kind == "receiver"), None)
    if receiver is None:
        return setting_texts(settings), [
            source,
            "No receiver runs on that database: one that is started here has these values.",
        ]
    since = f"{receiver.started_at:%Y-%m-%d %H:%M:%S %Z}"
    sentences = [f"These are the values of the {receiver.name}, which runs since {since}."]
    others = {f"The {process.name}": process.settings for process in running if process is not receiver}
    others["A receiver that is started here now"] = setting_texts(settings)
    return _sorted(receiver.settings), sentences + list(_differences(receiver.settings, others))


def _sorted(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values in the order of the class, which Postgres' jsonb does not keep; unknown names come last."""
    names = (*map(str.upper, Settings.model_fields), *values)
    return {name: values[name] for name in names if name in values}


def _differences(values: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, other in others.items():
        different = [f"{key}={text}" for key, text in other.items() if values.get(key) != text and key not in _OWN]
        if different:
            yield f"{name} differs: {' '.join(different)}"
