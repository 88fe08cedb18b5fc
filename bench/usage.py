"""Read what a process and its children have used: CPU seconds and peak memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    peak_bytes: int


def usage_of(pid: int | None) -> Usage:
    """Return the usage of a process and all its children, also ended ones. Peaks are added, as an upper bound."""
    if pid is None:
        return Usage(0.0, 0)
    try:
        process = psutil.Process(pid)
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Usage(0.0, 0)
    cpu, peak = 0.0, 0
    for member in tree:
        try:
            times = member.cpu_times()
            cpu += times.user + times.system + times.children_user + times.children_system
            peak += _peak(member)
        except psutil.NoSuchProcess:
            continue
    return Usage(cpu, peak)


def cpu_seconds_by_part(parts: Mapping[str, Iterable[int | None]]) -> dict[str, float]:
    """Return the CPU seconds of each part's processes, given by their ids."""
    return {part: sum(usage_of(pid).cpu_seconds for pid in pids) for part, pids in parts.items()}


def _peak(process: psutil.Process) -> int:
    """Return the peak memory, or the memory now where the system is not Linux and keeps no peak."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return int(process.memory_info().rss)
