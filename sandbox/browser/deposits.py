"""The bank, so to speak: a page on which the buyer pays into a virtual account later."""

from typing import Any

from aiohttp import web

from sandbox.answers import answer
from sandbox.browser import pages
from sandbox.inputs import read_object
from sandbox.payment import Payment
from sandbox.world import WORLD

SHOWN = (
    "imp_uid", "merchant_uid", "name", "amount", "currency", "status", "vbank_name", "vbank_num", "vbank_holder",
    "vbank_date",
)  # fmt: skip
MOST_LISTED = 50


async def show_page(_request: web.Request) -> web.Response:
    """`GET /v1/deposits[/{imp_uid}]`: the page."""
    return pages.page("deposit.html", framed=False)


async def read_account(request: web.Request) -> web.Response:
    """`GET /v1/deposits/{imp_uid}/state`: the account; `all` lists those that wait for a deposit, the newest first."""
    ledger, imp_uid = request.app[WORLD].ledger, request.match_info["imp_uid"]
    if imp_uid != "all":
        return answer(_shown(ledger.payment(imp_uid)))
    waiting = [payment for payment in ledger.payments() if payment.account_issued]
    return answer({"accounts": [_shown(payment) for payment in waiting[: -MOST_LISTED - 1 : -1]]})


async def pay_in(request: web.Request) -> web.Response:
    """`POST /v1/deposits/{imp_uid}`: the deposit arrives, and the shop is told by a webhook."""
    world = request.app[WORLD]
    payment = world.ledger.payment(request.match_info["imp_uid"])
    read_object(await request.read()).finish()
    world.ledger.deposit(payment)
    world.sender.announce_soon(payment)
    return answer(_shown(payment))


def _shown(payment: Payment) -> dict[str, Any]:
    return {name: payment.fields.get(name) for name in SHOWN}
