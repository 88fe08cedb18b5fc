"""Dismissing parked notices: a person has seen that nothing is to be looked at, as with a foreign account's."""

from collections.abc import Sequence
from uuid import UUID

from service.db import notice_list, operator_actions
from service.db.pool import Connection
from service.domain.payment import Store

# As many as one dismissal of a store's notices takes, the longest parked first.
DISMISSED_MAX = 1_000


async def dismiss(db: Connection, ids: Sequence[UUID], who: str, why: str) -> list[UUID]:
    """End those of the notices that are parked, and record who did it. Return them.

    No money depends on a notice: what PortOne holds is found in its own list, under every store that is configured.
    """
    dismissed = await notice_list.dismiss(db, ids)
    await operator_actions.append(db, who, why, "notices.dismiss", [str(notice_id) for notice_id in dismissed])
    return dismissed


async def dismiss_of_store(db: Connection, store: Store, who: str, why: str) -> list[UUID]:
    """Do that with the notices that are parked because this store is in no setting."""
    return await dismiss(db, await notice_list.parked_of_store(db, store, DISMISSED_MAX), who, why)


def named_store(text: str) -> Store:
    """Read a store as people write it: `account`, or `account/tier`."""
    account, _, tier = text.partition("/")
    return Store(account, tier)
