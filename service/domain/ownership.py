"""The marks by which money of an order that nobody registered can be this shop's, as the settings give them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Ours:
    """The marks of our own payments. The database function `can_be_ours_v1` decides by them, for lists and for counts.

    `prefixes`: how our order numbers begin; empty: anyhow. `since`: no payment of ours began earlier; None: any may.
    A registered order is always ours.
    """

    prefixes: tuple[str, ...] = ()
    since: datetime | None = None


EVERYTHING = Ours()
