"""The verdict on an attack: its figures, and a sentence for each bound that was passed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from faults.hostile.attacks import Attack
from faults.hostile.genuine import Figures

AFTER_SECONDS = 1.0
CONFIRM_SECONDS = 0.5
_MEMORY_MAX = 400_000_000
_DESCRIPTORS_MAX = 10_000
_SPILL_BYTES_MAX = 4_000_000
# A webhook of an invented payment may take a row; nothing else may take more than a few.
_ROWS_A_REQUEST = 1


@dataclass
class Result:
    """The result of an attack."""

    attack: Attack
    figures: Figures
    usage: Mapping[str, int]
    promise: list[str]
    answers: Mapping[str, int]
    rows: int
    spilled_bytes: int = 0
    error: str = ""
    broken: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Fill in what was broken."""
        self.broken = [sentence for is_kept, sentence in self._checks() if not is_kept]

    def _checks(self) -> list[tuple[bool, str]]:
        figures, attack = self.figures, self.attack
        during, after = max(figures.during, default=0.0), max(figures.after, default=0.0)
        return [
            (not self.error, self.error),
            (not figures.never, f"{figures.never} genuine orders did not become paid"),
            (during <= attack.paid_within_seconds, f"a genuine order became paid after {during:.1f} s during it"),
            (after <= AFTER_SECONDS or attack.starves, f"a genuine order became paid after {after:.1f} s after it"),
            (set(figures.webhooks) <= {200}, f"PortOne's webhooks were answered {dict(figures.webhooks)}"),
            *self._confirmations(),
            (bool(self.promise) == attack.starves, f"the promise said {self.promise or 'nothing'}"),
            *self._bounds(),
        ]

    def _confirmations(self) -> list[tuple[bool, str]]:
        if self.attack.postgres_is_away:
            return []
        statuses, p99 = self.figures.confirmations, at(self.figures.confirm_seconds, 0.99)
        return [
            (set(statuses) <= {200}, f"PortOne's confirmations were answered {dict(statuses)}"),
            (p99 <= CONFIRM_SECONDS, f"p99 of PortOne's confirmations was {p99 * 1000:.0f} ms"),
        ]

    def _bounds(self) -> list[tuple[bool, str]]:
        sent = sum(self.answers.values())
        return [
            (size <= (_MEMORY_MAX if name.endswith("bytes") else _DESCRIPTORS_MAX), f"{name} were {size:,}")
            for name, size in self.usage.items()
        ] + [
            (self.rows <= _ROWS_A_REQUEST * sent + 1_000, f"{self.rows:,} notices were added by {sent:,} requests"),
            (self.spilled_bytes <= _SPILL_BYTES_MAX, f"{self.spilled_bytes:,} bytes were spilled"),
        ]


@dataclass
class Part:
    """All attacks on one town, and the answers to mutated requests after them."""

    title: str
    results: list[Result] = field(default_factory=list)
    mutants: Counter[bytes] = field(default_factory=Counter)
    bytes_logged: int = 0

    @property
    def server_errors(self) -> int:
        return sum(count for status, count in self.mutants.items() if status.startswith(b"5"))

    @property
    def is_broken(self) -> bool:
        """Return whether any bound was passed."""
        return bool(self.server_errors or self.bytes_logged or any(result.broken for result in self.results))

    @property
    def mutants_sentence(self) -> str:
        return (
            f"Of {self.mutants.total():,} answers to mutated requests over raw sockets {self.server_errors} were"
            f" 5xx. {self.bytes_logged} bytes of the requests reached a log."
        )


def at(values: list[float], share: float) -> float:
    """Return the value below which this share of the sorted values lies."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
