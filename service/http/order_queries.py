"""The parameters of lists of orders: what a list is narrowed to, and which page of it is meant."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from service.db.order_list import Filters, Place, walks_events
from service.domain.ids import is_merchant_uid
from service.domain.order import Closed, ProblemKind, State
from service.http.cursors import read_cursor
from service.http.field_types import AccountFilter, MerchantUid, Since, TierFilter, one_of
from service.http.problems import HttpProblem
from service.http.queries import Query
from service.usecases.listing import HistoryQuery, ListQuery

LIMIT_MAX = 500
_LIMIT = 100
_CURSOR_MAX = 2_048
_EVENT_MAX = 2**63 - 1
_VERSION_MAX = 2**31 - 1

StateWord = Annotated[State, one_of(State)]
ProblemWord = Annotated[ProblemKind | Literal["any"], one_of([*ProblemKind, "any"])]
ClosedWord = Annotated[Closed | Literal["none"], one_of([*Closed, "none"])]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
Numbers = Annotated[list[MerchantUid], Field(max_length=LIMIT_MAX)]


class OrdersQuery(Query):
    """The parameters of a list. Of a parameter that may be repeated, one value must fit."""

    several: ClassVar[frozenset[str]] = frozenset({"state", "problem", "closed", "merchant_uid"})

    state: list[StateWord] | None = Field(None, description="States.")
    problem: list[ProblemWord] | None = Field(
        None, description="Kinds of problem that the order has; `any` is each of them."
    )
    closed: list[ClosedWord] | None = Field(None, description="Why the order is closed; `none` is an open order.")
    account: AccountFilter | None = Field(None, description="The PortOne account.")
    tier: TierFilter | None = Field(None, description="The sub-store; empty: orders without one.")
    updated_since: Since | None = Field(None, description="Only orders whose last change is not older.")
    merchant_uid: Numbers | None = Field(
        None, description="Only these orders. Those that nobody registered are left out. An address has 32 KiB at most."
    )
    limit: Limit | None = Field(
        None, description="Orders on a page: 100 if it is left out, or all that `merchant_uid` names."
    )
    cursor: Annotated[str, Field(max_length=_CURSOR_MAX)] | None = Field(
        None, description="`next` of the page before, beside the same parameters."
    )

    @property
    def about(self) -> dict[str, Any]:
        """Return the filters, for the cursor: all but the page's size and place."""
        return self.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)

    def to_query(self, age_max_seconds: float = 0.0) -> ListQuery:
        """Return the page that is meant, by a standby if that is allowed. Raises HttpProblem."""
        filters = Filters(
            states=self.state,
            problems=None if self.problem is None else [] if "any" in self.problem else self.problem,
            closed=self.closed,
            account=self.account,
            tier=self.tier,
            updated_since=self.updated_since,
            merchant_uids=self.merchant_uid,
        )
        limit = self.limit or (LIMIT_MAX if self.merchant_uid else _LIMIT)
        return ListQuery(filters, self._place(filters), limit, age_max_seconds)

    def _place(self, filters: Filters) -> Place | None:
        if self.cursor is None:
            return None
        place = read_cursor(self.cursor, self.about)
        fits = (0 <= place <= _EVENT_MAX) if isinstance(place, int) else is_merchant_uid(place)
        if not fits or isinstance(place, int) != walks_events(filters):
            raise HttpProblem(400, "malformed-cursor", "Send `next` of the page before as cursor, unchanged.")
        return place


class HistoryParameters(Query):
    """The parameters of an order's history: the version that a page follows, and its size."""

    after: Annotated[int, Field(ge=0, le=_VERSION_MAX)] = Field(0, description="Only versions after this one.")
    limit: Limit = Field(_LIMIT, description="Versions on a page.")

    def to_query(self, merchant_uid: str, age_max_seconds: float) -> HistoryQuery:
        """Return the page that is meant, by a standby that is at most so old."""
        return HistoryQuery(merchant_uid, self.after, self.limit, age_max_seconds)
