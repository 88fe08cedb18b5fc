"""Predict payments a second from what one receiver and one worker cost. docs/sizing.md explains the model.

What a part costs for a payment is the payment's own and a share of its batch: of more processes each takes smaller
batches, so every payment bears more of one. Two measurements give both: one at the limit, one of a single buyer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt

OURS = ("receiver", "worker", "postgres", "redis")
# The load generator and the stand-in for PortOne: on the measured machine they take cores too.
THEIRS = ("stand_in", "load")
# A process that is asked for more of what it can do has nothing left for a busy minute.
HEADROOM = 0.6
# So that one can be restarted.
_PROCESSES_MIN = 2

Costs = Mapping[str, float]


@dataclass(frozen=True)
class Calibration:
    """The cost of one receiver and one worker at their limit, and for a single buyer: CPU seconds a payment, by part.

    `batch` is the number of payments that a look at PortOne asked for at the limit. A single buyer's has one.
    """

    per_second: float
    batch: float
    full: Costs
    alone: Costs

    @property
    def most(self) -> float:
        """The part of a core that the busiest process used, which is all that one process can use."""
        return self.per_second * max(self.full[part] for part in ("receiver", "worker", "redis", "load"))

    def cost(self, part: str, share: float) -> float:
        """Return what a payment costs in batches of this share of the calibration's. No batch has less than one."""
        of_batch = max(0.0, self.alone[part] - self.full[part]) / (1 - 1 / self.batch) if self.batch > 1 else 0.0
        return self.full[part] + of_batch * (1 / max(1.0, self.batch * share) - 1 / self.batch)

    def costs(self, receivers: float, workers: float) -> dict[str, float]:
        """Return each part's costs, where a receiver's and a worker's batch have these shares of the calibration's.

        Answers come back in batches of the other side, so small ones there make small ones here, though less so: by the
        root, which is the interference that the measured rates ask for. The databases serve both sides, half each.
        """

        def of_both(part: str) -> float:
            return (self.cost(part, receivers) + self.cost(part, workers)) / 2

        return {
            "receiver": self.cost("receiver", receivers * sqrt(workers)),
            "worker": self.cost("worker", workers * sqrt(receivers)),
            "postgres": of_both("postgres"),
            "redis": of_both("redis"),
            "stand_in": self.cost("stand_in", workers * sqrt(receivers)),
            "load": self.full["load"],
        }


@dataclass(frozen=True)
class Prediction:
    """A rate, and what bounds it."""

    per_second: float
    bound: str


def predict(calibration: Calibration, receivers: int, workers: int, cores: float) -> Prediction:
    """Return the rate on these cores for as many buyers as calibrated, who are divided among the processes."""
    costs, most = calibration.costs(1 / receivers, 1 / workers), calibration.most
    bounds = {
        "receivers": receivers * most / costs["receiver"],
        "workers": workers * most / costs["worker"],
        "Redis": most / costs["redis"],
        "load generator": most / costs["load"],
        "cores": cores / sum(costs.values()),
    }
    bound = min(bounds, key=bounds.__getitem__)
    return Prediction(bounds[bound], bound)


@dataclass(frozen=True)
class Need:
    """The processes and cores for a rate. `cores` are those of receivers and workers. All have headroom."""

    per_second: int
    receivers: int
    workers: int
    cores: int
    postgres_cores: int
    redis_part: float


def need(calibration: Calibration, rate: int) -> Need:
    """Return what a rate needs, with headroom. The less a process has to do, the smaller are its batches."""
    numbers = dict.fromkeys(("receiver", "worker"), _PROCESSES_MIN)
    while True:
        shares = (min(1.0, rate / number / calibration.per_second) for number in numbers.values())
        costs = calibration.costs(*shares)
        busy = [part for part, number in numbers.items() if rate * costs[part] > number * calibration.most * HEADROOM]
        if not busy:
            break
        numbers[busy[0]] += 1
    return Need(
        rate,
        numbers["receiver"],
        numbers["worker"],
        cores=ceil(rate * (costs["receiver"] + costs["worker"]) / HEADROOM),
        postgres_cores=ceil(rate * costs["postgres"] / HEADROOM),
        redis_part=rate * costs["redis"],
    )
