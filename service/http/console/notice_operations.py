"""The operations on notices: to replay and to dismiss them, one or many."""

from uuid import UUID

from service.db import notice_list
from service.db.notice_list import Shown
from service.http.console.effects import Effect, Operation, notice_id
from service.http.console.guard import ConsoleRefused
from service.http.console.visits import Visit
from service.usecases import dismissing, notice_replays

_PAGE = "/console/notices"


async def _foresee_replay(visit: Visit, subject: str) -> Effect:
    notice = await _notice(visit, subject)
    sentences = [
        visit.say("This notice is made due now, as if it had just come. A worker asks PortOne about {imp_uid}.",
                  imp_uid=notice.imp_uid),
        visit.say("Only PortOne's answer counts. If the cause remains, the notice is parked again."),
        visit.say("When it first came stays as it is; the replay stands in the story by itself."),
    ]  # fmt: skip
    return Effect(sentences, _PAGE, order=notice.merchant_uid)


async def _replay(visit: Visit, subject: str, why: str) -> str:
    return await _replayed(visit, [notice_id(subject)], why)


async def _foresee_replay_all(visit: Visit, _: str) -> Effect:
    measured = (await visit.receiver.today.read()).today.measure
    own, foreign = measured.parked_notices, measured.parked_unregistered
    sentences = [
        visit.say("{count} parked notices are made due now, the longest parked first.",
                  count=min(own + foreign, notice_replays.REPLAYED_MAX)),
        visit.say("{count} of all that are parked wait only for an order that nobody registered.", count=foreign),
        visit.say("Only PortOne's answer counts. If the cause remains, they are parked again."),
    ]  # fmt: skip
    return Effect(sentences, _PAGE)


async def _replay_all(visit: Visit, _: str, why: str) -> str:
    return await _replayed(visit, None, why)


async def _replayed(visit: Visit, ids: list[UUID] | None, why: str) -> str:
    queue = visit.receiver.queue
    replayed = await visit.receiver.console.run(lambda pool: notice_replays.replay(pool, queue, ids, visit.who, why))
    return "replayed" if replayed.queued else "replayed-later"


async def _foresee_dismiss(visit: Visit, subject: str) -> Effect:
    notice = await _notice(visit, subject)
    if notice.state != "parked":
        raise ConsoleRefused(404, "This notice is not parked any more.")
    sentences = [
        visit.say("This notice about {imp_uid} ends, and PortOne is not asked because of it.", imp_uid=notice.imp_uid),
        *_consequences(visit),
    ]
    return Effect(sentences, _PAGE, order=notice.merchant_uid)


async def _dismiss(visit: Visit, subject: str, why: str) -> str:
    await visit.receiver.console.write(dismissing.dismiss, [notice_id(subject)], visit.who, why)
    return "dismissed"


async def _foresee_dismiss_store(visit: Visit, subject: str) -> Effect:
    store = dismissing.named_store(subject)
    ids = await visit.receiver.console.ask(notice_list.parked_of_store, store, dismissing.DISMISSED_MAX)
    if not ids:
        raise ConsoleRefused(404, "No notice of this account and tier is parked any more.")
    sentences = [
        visit.say("{count} parked notices of the account and tier {store} end.", count=len(ids), store=subject),
        *_consequences(visit),
    ]
    return Effect(sentences, _PAGE)


async def _dismiss_store(visit: Visit, subject: str, why: str) -> str:
    store = dismissing.named_store(subject)
    await visit.receiver.console.write(dismissing.dismiss_of_store, store, visit.who, why)
    return "dismissed"


def _consequences(visit: Visit) -> list[str]:
    return [
        visit.say("No order changes. Money is found in PortOne's own list, under every account that is configured."),
        visit.say("A dismissed notice can still be replayed, and one that comes later is parked again."),
    ]


async def _notice(visit: Visit, subject: str) -> Shown:
    notice = await visit.receiver.console.ask(notice_list.one, notice_id(subject))
    if notice is None:
        raise ConsoleRefused(404, "There is nothing of this name.")
    return notice


NOTICE_OPERATIONS = {
    "replay": Operation("Replay this notice", _foresee_replay, _replay),
    "replay-all": Operation("Replay all parked notices", _foresee_replay_all, _replay_all),
    "dismiss": Operation("Dismiss this notice", _foresee_dismiss, _dismiss),
    "dismiss-store": Operation("Dismiss all of this account and tier", _foresee_dismiss_store, _dismiss_store),
}
