"""The names in a request's log line, by which a payment is followed through the logs of all processes."""

from aiohttp import web

from service.domain.notice import Notice

_NAMES = web.RequestKey("log_names", dict[str, str])
# A longer number is none of ours.
_NUMBER_MAX = 255


def name_order(request: web.BaseRequest, merchant_uid: str) -> None:
    """Have the request's log line name the order."""
    request[_NAMES] = {"merchant_uid": merchant_uid[:_NUMBER_MAX]}


def name_notice(request: web.BaseRequest, notice: Notice) -> None:
    """Have the request's log line name the notice, its payment and its order."""
    names = {"notice": str(notice.id), "imp_uid": notice.imp_uid}
    request[_NAMES] = names if notice.merchant_uid is None else names | {"merchant_uid": notice.merchant_uid}


def names_of(request: web.BaseRequest) -> dict[str, str]:
    """Return the names that the request's log line has."""
    names = request.get(_NAMES)
    return {} if names is None else names
