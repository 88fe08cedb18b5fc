"""The stand-in for PortOne in the benchmark: `python -m bench.standin PORT`.

Every `imp_…` is a paid payment whose facts follow from its number. The stand-in is a raw protocol, so that it is not
the limit; each run measures its own limit. `GET /count` answers how many looks and payments were requested, and
`GET /ledger/FIRST/COUNT` makes these orders' payments the list of all payments, which is empty at first.
"""

import asyncio
import re
import sys
import time
from typing import cast

from bench.orders import amount

_NUMBERS = re.compile(rb"imp_uid(?:%5B%5D|\[\])=imp_(\d+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_PAGE = re.compile(rb"[?&]page=(\d+)")
_PAGE_ROWS = 1000
_TOKEN_SECONDS = 1800

# The fields of PortOne's answer that matter for a card payment. As in PortOne's answers, they take about 1 kB.
_PAYMENT = (
    b'{"imp_uid":"imp_%d","merchant_uid":"order_%d","pay_method":"card","channel":"pc","pg_provider":"html5_inicis",'
    b'"emb_pg_provider":null,"pg_tid":"StdpayCARDINIpayTest%d","pg_id":"INIpayTest","escrow":false,'
    b'"apply_num":"30000000","bank_code":null,"bank_name":null,"card_code":"361","card_name":"BC","card_quota":0,'
    b'"card_number":"910020*********1","card_type":0,"vbank_code":null,"vbank_name":null,"vbank_num":null,'
    b'"vbank_holder":null,"vbank_date":0,"vbank_issued_at":0,"name":"A pair of shoes","amount":%d,"cancel_amount":0,'
    b'"currency":"KRW","buyer_name":"Hong","buyer_email":"hong@example.com","buyer_tel":"010-0000-0000",'
    b'"buyer_addr":"Seoul","buyer_postcode":"00000","custom_data":null,"user_agent":"Mozilla/5.0","status":"paid",'
    b'"started_at":1790000000,"paid_at":1790000060,"failed_at":0,"cancelled_at":0,"fail_reason":null,'
    b'"cancel_reason":null,"receipt_url":"https://example.com/receipt","cancel_history":[],"cancel_receipt_urls":[],'
    b'"cash_receipt_issued":false,"customer_uid":null,"customer_uid_usage":null,"sandbox":false,"promotion":null}'
)


class StandIn(asyncio.Protocol):
    """A connection, whose requests are answered one after the other."""

    looks = 0
    payments = 0
    others = 0
    ledger = range(0)

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = _LENGTH.search(head) if head.startswith(b"POST") else None
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < total:
                return
            self._received = self._received[total:]
            self._transport.write(_answer(head))


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1]
    if path.startswith(b"/count"):
        return _response(b'{"looks":%d,"payments":%d,"others":%d}' % _counts())
    if path.startswith(b"/ledger/"):
        first, number = map(int, path.split(b"/")[2:4])
        StandIn.ledger = range(first, first + number)[::-1]
        return _response(b"{}")
    if path.startswith(b"/users/getToken"):
        StandIn.others += 1
        now = int(time.time())
        return _envelope(b'{"access_token":"a-token","expired_at":%d,"now":%d}' % (now + _TOKEN_SECONDS, now))
    if b"uthorization: " not in head:
        return _response(b'{"code":-1,"message":"Unauthorized","response":null}', b"401 Unauthorized")
    if path.startswith(b"/payments/imp_"):
        StandIn.looks += 1
        StandIn.payments += 1
        return _envelope(payment(int(path[14:].partition(b"?")[0])))
    if path.startswith(b"/payments?"):
        numbers = [int(number) for number in _NUMBERS.findall(path)]
        StandIn.looks += bool(numbers)
        StandIn.others += not numbers  # reconciliation asks by merchant_uid, and unpaid orders have no payments
        StandIn.payments += len(numbers)
        return _envelope(b"[%s]" % b",".join(map(payment, numbers)))
    StandIn.others += 1
    page = _PAGE.search(path)
    return _envelope(_listed(int(page[1]) if page else 1))


def _listed(page: int) -> bytes:
    """Return a page of the ledger, the newest payment first."""
    ledger, end = StandIn.ledger, page * _PAGE_ROWS
    rows = b",".join(map(payment, ledger[end - _PAGE_ROWS : end]))
    following = page + 1 if end < len(ledger) else 0
    return b'{"total":%d,"previous":%d,"next":%d,"list":[%s]}' % (len(ledger), page - 1, following, rows)


def _counts() -> tuple[int, int, int]:
    return StandIn.looks, StandIn.payments, StandIn.others


def payment(number: int) -> bytes:
    """Return PortOne's object of the order's payment, as JSON."""
    return _PAYMENT % (number, number, number, amount(number))


def _envelope(response: bytes) -> bytes:
    return _response(b'{"code":0,"message":null,"response":%s}' % response)


def _response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return (
        b"HTTP/1.1 %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s"
        % (status, len(body), body)
    )  # fmt: skip


async def serve(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(StandIn, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
