"""The feed's horizon: up to which event no id is missing any more.

Events get their ids from a sequence before their transactions commit, so an event with a smaller id may appear after
one with a larger id. A reader must not pass it by (docs/decisions/0022-read-the-feed-up-to-a-horizon.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """A sample of the feed, taken in this order: the last id that was drawn, then the transactions that write events.

    `writers` are those that may have drawn an id up to `last_id` and not ended yet. `prepared`: one of them is a
    prepared transaction (PREPARE TRANSACTION), which earlier samples may know by another name. `life` names the time
    since Postgres last recovered from a crash, after which ids may be drawn a second time.
    """

    life: str
    last_id: int
    writers: frozenset[str] = frozenset()
    prepared: bool = False

    def is_final_at(self, later: "FeedPosition") -> bool:
        """Say whether, when `later` was sampled, each id up to this `last_id` was committed or never to come."""
        if not self.writers:
            return True
        return self.life == later.life and not later.prepared and self.writers.isdisjoint(later.writers)


class Horizon:
    """The rule by which samples become the horizon of one reader.

    A sample without writers is final at once. While others always write, one sample is kept until its writers have
    ended, and the newest takes its place.
    """

    def __init__(self) -> None:
        self._upto: int | None = None
        self._kept: FeedPosition | None = None

    def observe(self, position: FeedPosition) -> int | None:
        """Return the id up to which all events can be read, in the session of this sample, after it.

        None: nothing is known yet; sample again. Never keep this number for later: a cursor is the id of an event that
        was read. A horizon may lie beyond all events, where a crash lets ids be drawn a second time.
        """
        if self._kept is None or self._kept.life != position.life:
            self._upto, self._kept = None, position
        if self._kept.last_id == self._upto:  # it has brought all that it can
            self._kept = position
        if not position.writers:
            self._upto, self._kept = position.last_id, position
        elif self._kept.is_final_at(position):
            self._upto, self._kept = self._kept.last_id, position
        return self._upto

    @property
    def kept(self) -> FeedPosition | None:
        """Return the sample whose writers are waited for, if the horizon is behind."""
        return self._kept

    @property
    def is_behind(self) -> bool:
        """Return whether ids beyond the horizon were drawn already, so that another sample soon may bring events."""
        return self._kept is not None and self._kept.last_id != self._upto
