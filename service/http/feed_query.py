"""The parameters of the feed: where a follower goes on, and which events are wanted."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from service.domain.event_type import EVENT_TYPES
from service.domain.feed_cursor import read_cursor
from service.domain.order import State
from service.http.field_types import AccountFilter, MerchantUid, one_of
from service.http.queries import Query

NEWEST = "now"
_WAIT_MAX_SECONDS = 60.0
_EVENTS_MAX = 500
_NAMES_MAX = 100


def _cursor(text: str) -> str:
    if text != NEWEST and read_cursor(text) is None:
        raise ValueError("must be a cursor that the feed gave, or now")
    return text


def _type(text: str) -> str:
    if text not in EVENT_TYPES:
        raise ValueError(f"must be one of {', '.join(EVENT_TYPES)}; repeat the parameter for several")
    return text


After = Annotated[
    str,
    AfterValidator(_cursor),
    WithJsonSchema({"type": "string", "pattern": "^(now|evt_(0|[1-9a-f][0-9a-f]{0,14}))$"}),
]
StateWord = Annotated[State, one_of(State)]
TypeWord = Annotated[str, AfterValidator(_type), one_of(EVENT_TYPES)]


class StreamQuery(Query):
    """The place in the feed to follow from, and the events that are wanted."""

    several: ClassVar[frozenset[str]] = frozenset({"state", "type", "account", "merchant_uid"})

    after: After | None = Field(
        None, description="The cursor to go on from; `now` is the newest event. Without it: from the oldest."
    )
    state: Annotated[list[StateWord], Field(max_length=_NAMES_MAX)] | None = Field(
        None, description="Only events with one of these states."
    )
    type: Annotated[list[TypeWord], Field(max_length=_NAMES_MAX)] | None = Field(
        None, description="Only events of one of these types."
    )
    account: Annotated[list[AccountFilter], Field(max_length=_NAMES_MAX)] | None = Field(
        None, description="Only events of orders of one of these accounts."
    )
    merchant_uid: Annotated[list[MerchantUid], Field(max_length=_NAMES_MAX)] | None = Field(
        None, description="Only events of one of these orders."
    )


class FeedQuery(StreamQuery):
    """A page of the feed, and how long to wait for its first event."""

    limit: Annotated[int, Field(ge=1, le=_EVENTS_MAX)] = Field(100, description="The most events of a page.")
    wait: Annotated[float, Field(ge=0, le=_WAIT_MAX_SECONDS, allow_inf_nan=False)] = Field(
        0.0, description="Seconds to wait for an event, if there is none yet."
    )

    @field_validator("limit", mode="before")
    @classmethod
    def _digits(cls, value: object) -> object:
        if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
            raise ValueError("must be a whole number")
        return value
