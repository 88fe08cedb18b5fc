"""Judge what an endpoint accepted: every change, each order's in their order, each verified."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True)
class Verdict:
    """The judgement of one endpoint. `trapped` counts connections to where nothing may be sent."""

    name: str
    accepted: int
    changes: int
    missing: int
    out_of_order: int
    unverified: int
    trapped: int

    @property
    def is_kept(self) -> bool:
        return not (self.missing or self.out_of_order or self.unverified or self.trapped)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.changes} changes, {self.accepted} accepted with repeats; missing {self.missing}, "
            f"out of order {self.out_of_order}, unverified {self.unverified}, sent where nothing may be {self.trapped}"
        )


def judge_log(name: str, log: Path, changes: int, versions: int, caught: list[str]) -> Verdict:
    """Judge an endpoint by the log of what it accepted. A receiver drops what it has had, by its id."""
    records = [orjson.loads(line) for line in log.read_bytes().splitlines() if line]
    verified = [record for record in records if record["verified"] is True]
    first = first_of_each(verified)
    by_order: dict[str, list[int]] = {}
    for record in first:
        by_order.setdefault(record["merchant_uid"], []).append(record["version"])
    wrong = sum(order != list(range(1, versions + 1)) for order in by_order.values())
    return Verdict(name, len(verified), changes, changes - len(first), wrong, len(records) - len(verified), len(caught))


def first_of_each(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records without repeats, in the order in which each id came first."""
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        first.setdefault(record["id"], record)
    return list(first.values())
