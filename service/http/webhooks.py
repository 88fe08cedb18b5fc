"""`POST /webhooks/portone/v1[/accounts/{account}][/{tier}]`: PortOne's word that a payment moved (docs/portone.md §2).

It is sent once. Its body names neither account nor tier: the address does. A tier has three characters, so `accounts`
is none.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from service.domain.ids import is_plain
from service.domain.notice import Notice, Source
from service.errors import UnusableNotice
from service.http.bodies import read_fields
from service.http.endpoints import AHandler, Body, EndpointTable, HttpAnswer
from service.http.field_types import ImpUid
from service.http.log_names import name_notice
from service.http.problems import RETRY_AFTER_SECONDS, HttpProblem
from service.http.receiver import RECEIVER, Receiver
from service.http.short_way import received
from service.notice_ids import new_notice_id
from service.portone.notice import known_keys
from service.portone.senders import SENDERS
from service.rate_limits import Limiter

ADDRESS = "/webhooks/portone/v1"
# PortOne gives up after 30 s. A sender that is too fast is slowed this long before it is refused.
_SLOWED_SECONDS = 20.0
# An account or tier that was typed wrongly in PortOne's console is kept as it is, for a person to see.
_NAME_MAX = 64

endpoints = EndpointTable("notices")


class WebhookBody(BaseModel):
    """PortOne's notice. Further keys are tolerated and not kept."""

    model_config = ConfigDict(extra="allow")

    imp_uid: ImpUid
    merchant_uid: str | int | None = None
    status: str | None = None
    cancellation_id: str | None = None


def _webhook(path: str, id_: str, summary: str, description: str) -> Callable[[AHandler], AHandler]:
    return endpoints.add(
        "POST",
        ADDRESS + path,
        summary,
        description,
        id=id_,
        body=Body(
            WebhookBody,
            {"paid": {"imp_uid": "imp_448280090638", "merchant_uid": "order-1", "status": "paid"}},
            strict=False,
        ),
        answers={200: HttpAnswer("The notice is durable.", Literal["OK"], media_type="text/plain")},
        problems=("unusable-notice", "nothing-recorded", "too-many-webhooks"),
    )


@_webhook(
    "/accounts/{account}/{tier}",
    "receiveAccountTierWebhook",
    "Take a webhook of another account's sub-store",
    "The same for a sub-store of that account.",
)
@_webhook(
    "/accounts/{account}",
    "receiveAccountWebhook",
    "Take another account's webhook",
    "The Endpoint URL of an account of PORTONE_ACCOUNTS, whose webhook does not say whose it is.",
)
@_webhook(
    "/{tier}",
    "receiveTierWebhook",
    "Take a sub-store's webhook",
    "The same for a sub-store, whose webhook does not say whose it is. PORTONE_TIERS lists the tiers. A webhook of an"
    " account or tier that is not configured is kept, and looked at once it is.",
)
@_webhook(
    "",
    "receiveWebhook",
    "Take PortOne's webhook",
    "Enter this address as the Endpoint URL in PortOne's console. The answer comes once the notice is durable. What the"
    " notice says is not believed: a worker asks PortOne. Unknown keys are tolerated and not kept.",
)
async def receive_webhook(request: web.Request) -> web.StreamResponse:
    """Receive a webhook at any of the addresses."""
    account, tier = request.match_info.get("account"), request.match_info.get("tier")
    if not all(name is None or (is_plain(name) and len(name) <= _NAME_MAX) for name in (account, tier)):
        raise web.HTTPNotFound
    # One that is not configured is recorded too: PortOne never repeats a 4xx, and its payment may hold money.
    return await receive(request.app[RECEIVER], request, account, tier)


async def receive(
    receiver: Receiver, request: web.BaseRequest, account: str | None = None, tier: str | None = None
) -> web.StreamResponse:
    """Answer 200 once the notice is durable, and not before."""
    client = receiver.clients.client_address(request)
    if wait := receiver.limits.webhooks.wait_seconds(client):
        await _slow_down(receiver.limits.webhooks, client, wait)
    try:
        known = known_keys(await read_fields(request))
    except UnusableNotice as error:
        receiver.connections.note("webhooks.not_understood", str(error))
        raise
    notice = Notice(
        id=new_notice_id(),
        source=Source.WEBHOOK,
        imp_uid=known["imp_uid"],
        merchant_uid=known.get("merchant_uid"),
        tier=tier,
        account=account,
        claimed_status=known.get("status"),
        cancellation_id=known.get("cancellation_id"),
    )
    name_notice(request, notice)
    await receiver.intake.accept(notice, "" if client in SENDERS else client)
    return received(request)


async def _slow_down(limits: Limiter, client: str, wait: float) -> None:
    """Return once the client may go on."""
    slowed = 0.0
    while wait:
        if slowed + wait > _SLOWED_SECONDS:
            raise HttpProblem(
                503, "too-many-webhooks", "Send this again a little later.", Retry_After=str(RETRY_AFTER_SECONDS)
            )
        await asyncio.sleep(wait)
        slowed += wait
        wait = limits.wait_seconds(client)
