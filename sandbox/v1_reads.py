"""PortOne V1's reading calls."""

from aiohttp import web

from sandbox import queries
from sandbox.envelope import V1Refused, success
from sandbox.payment import Fields, Owner, Seen
from sandbox.world import WORLD, World

UNAUTHORIZED = "Unauthorized"
UNKNOWN_PAYMENT = "존재하지 않는 결제정보입니다."
BAD_PARAMETER = "파라메터가 올바르지 않습니다: {}"
MOST_IDS = 100
MOST_LIMIT = 1000
DEFAULT_LIMIT = 20
MOST_WINDOW_SECONDS = 90 * 24 * 3600


def asker_of(request: web.Request) -> Owner:
    """Return the account whose live token the call carries, and the tier of its header. Raises V1Refused."""
    account = request.app[WORLD].tokens.account_of(request.headers.get("Authorization", ""))
    if account is None:
        raise V1Refused(401, UNAUTHORIZED)
    return Owner(account, request.headers.get("Tier") or None)


def shown(world: World, fields: Fields) -> Fields:
    """Return a payment as V1 writes it."""
    if world.faults.now.omit_sandbox:
        return {name: value for name, value in fields.items() if name != "sandbox"}
    return fields


async def get_payment(request: web.Request) -> web.Response:
    """`GET /payments/{imp_uid}`: a test-channel payment is 404 unless `include_sandbox` is true."""
    world = request.app[WORLD]
    visible = world.look(asker_of(request), request.match_info["imp_uid"])
    if visible is None:
        raise V1Refused(404, UNKNOWN_PAYMENT)
    payment, seen = visible
    if payment.test and request.query.get("include_sandbox", "").lower() != "true":
        raise V1Refused(404, UNKNOWN_PAYMENT)
    return success(shown(world, seen.fields))


async def get_payments(request: web.Request) -> web.Response:
    """`GET /payments`: answers up to 100 ids, 207 when some are missing. Test payments are not hidden here."""
    world, asker = request.app[WORLD], asker_of(request)
    imp_uids, merchant_uids = batch_ids(request)
    if not 1 <= len(imp_uids) + len(merchant_uids) <= MOST_IDS:
        raise V1Refused(400, BAD_PARAMETER.format("imp_uid[], merchant_uid[]"))
    by_id = [[visible[1]] if (visible := world.look(asker, imp_uid)) else [] for imp_uid in imp_uids]
    by_order = [_brought_by(world, asker, merchant_uid) for merchant_uid in merchant_uids]
    answers = by_id + by_order
    payments = {seen.opened_number: shown(world, seen.fields) for answer in answers for seen in answer}
    if not payments:
        raise V1Refused(404, UNKNOWN_PAYMENT)
    return success(list(payments.values()), status=200 if all(answers) else 207)


def batch_ids(request: web.Request) -> tuple[list[str], list[str]]:
    """Return the imp_uids and merchant_uids of a batch look."""
    return request.query.getall("imp_uid[]", []), request.query.getall("merchant_uid[]", [])


def _brought_by(world: World, asker: Owner, merchant_uid: str) -> list[Seen]:
    attempts = world.attempts(asker, merchant_uid)
    return attempts[-1:] if world.faults.now.batch_latest_only else attempts


async def find_payment(request: web.Request) -> web.Response:
    """`GET /payments/find/{merchant_uid}[/{status}]`: answers the first attempt by `sorting`."""
    visible = _attempts_asked_for(request)
    return success(shown(request.app[WORLD], visible[0].fields))


async def find_all_payments(request: web.Request) -> web.Response:
    """`GET /payments/findAll/{merchant_uid}[/{status}]`: answers all attempts, in pages."""
    return _page(request, _attempts_asked_for(request))


async def list_payments(request: web.Request) -> web.Response:
    """`GET /payments/status/{status}`: lists payments by the time of their own current status."""
    world = request.app[WORLD]
    to_second = _whole(request, "to", int(world.clock()))
    from_second = _whole(request, "from", to_second - MOST_WINDOW_SECONDS)
    if not 0 <= to_second - from_second <= MOST_WINDOW_SECONDS:
        raise V1Refused(400, BAD_PARAMETER.format("from, to"))
    asked_for = queries.with_status(world.everything(asker_of(request)), _status(request))
    window = queries.within(asked_for, from_second, to_second)
    return _page(request, queries.ordered(window, _sorting(request)))


def _attempts_asked_for(request: web.Request) -> list[Seen]:
    attempts = request.app[WORLD].attempts(asker_of(request), request.match_info["merchant_uid"])
    visible = queries.ordered(queries.with_status(attempts, _status(request)), _sorting(request))
    if not visible:
        raise V1Refused(404, UNKNOWN_PAYMENT)
    return visible


def _page(request: web.Request, payments: list[Seen]) -> web.Response:
    limit = _whole(request, "limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MOST_LIMIT:
        raise V1Refused(400, BAD_PARAMETER.format("limit"))
    page = queries.page_of(payments, _whole(request, "page", 1), limit)
    if page is None:
        raise V1Refused(400, BAD_PARAMETER.format("page"))
    world = request.app[WORLD]
    return success(page | {"list": [shown(world, fields) for fields in page["list"]]})


def _status(request: web.Request) -> str | None:
    status = request.match_info.get("status") or "all"
    if status == "all":
        return None
    if status not in queries.STATUSES:
        raise V1Refused(400, BAD_PARAMETER.format("payment_status"))
    return status


def _sorting(request: web.Request) -> str:
    sorting = request.query.get("sorting") or queries.SORTINGS[0]
    if sorting not in queries.SORTINGS:
        raise V1Refused(400, BAD_PARAMETER.format("sorting"))
    return sorting


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise V1Refused(400, BAD_PARAMETER.format(name))
    return int(text)
