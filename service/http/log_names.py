"""The names in a request's log line, by which a payment is followed through the logs of all processes.

They are ours, or of a caller with a key: nothing that a stranger sent reaches a log.
"""

from aiohttp import web

from service.domain.notice import Notice

# A longer number is none of ours.
_NUMBER_MAX = 255
_NAMES = web.RequestKey("log_names", dict[str, str])


def name_order(request: web.BaseRequest, merchant_uid: str) -> None:
    """Have the request's log line name the order, of which somebody with a key speaks."""
    request[_NAMES] = {"merchant_uid": merchant_uid[:_NUMBER_MAX]}


def name_notice(request: web.BaseRequest, notice: Notice) -> None:
    """Have the request's log line name the notice."""
    request[_NAMES] = {"notice": str(notice.id)}


def names_of(request: web.BaseRequest) -> dict[str, str]:
    """Return the names that the request's log line has."""
    names = request.get(_NAMES)
    return {} if names is None else names
