"""The meaning of PortOne's answers to the client, without a wire: test_client.py has the wire."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponse
from aioresponses import aioresponses
from yarl import URL

from service.errors import NotAsked, PortOneRefused, PortOneUnavailable, UnreadableAnswer
from service.portone.client import CANCEL_SECONDS, Envelope, LedgerPage, PortOne

ADDRESS = "https://portone.test"
TOKEN = f"{ADDRESS}/users/getToken"
ONE = f"{ADDRESS}/payments/imp_1?include_sandbox=true"
BATCH = f"{ADDRESS}/payments?imp_uid%5B%5D=imp_1&imp_uid%5B%5D=imp_2"
LEDGER = f"{ADDRESS}/payments/status/all?limit=1000&page=1&sorting=-updated"
CANCEL = f"{ADDRESS}/payments/cancel"
PREPARE = f"{ADDRESS}/payments/prepare"
SECRET = "very-secret-secret"
PAYMENT = {"imp_uid": "imp_1"}


class Response(ClientResponse):
    """A response that aioresponses 0.7.9 can build: aiohttp 3.14 asks for one argument that it does not give."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


class Answers(aioresponses):
    """The answers of PortOne by address, each given once, and the requests that came."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        kwargs["response_class"] = Response
        super().add(*args, **kwargs)

    def sent(self, method: str, url: str) -> list[dict[str, Any]]:
        """Return the arguments of each request to this address."""
        sorted_url = URL(url).with_query(sorted(URL(url).query.items()))
        return [request.kwargs for request in self.requests.get((method, sorted_url), [])]

    def tokens(self, url: str, method: str = "GET") -> list[str]:
        """Return the token that each request to this address carried."""
        return [request["headers"]["Authorization"] for request in self.sent(method, url)]


def envelope(response: Any = None, code: int = 0, message: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "response": response}


def token(name: str = "token-1", seconds: int = 1800) -> dict[str, Any]:
    return envelope({"access_token": name, "now": 1_790_000_000, "expired_at": 1_790_000_000 + seconds})


@pytest.fixture
def answers() -> Iterator[Answers]:
    """No answers yet: a request without one is a connection that is refused."""
    mocked = Answers()
    with mocked:
        yield mocked


@pytest.fixture
async def client(answers: Answers) -> AsyncIterator[PortOne]:
    """A client that has asked for nothing yet."""
    opened = PortOne(ADDRESS, "imp_key", SECRET)
    yield opened
    await opened.close()


@pytest.fixture
def portone(answers: Answers, client: PortOne) -> PortOne:
    """A client for which a token is ready."""
    answers.post(TOKEN, payload=token())
    return client


async def test_the_token_is_asked_for_once(answers: Answers, portone: PortOne) -> None:
    """The first call asks for a token with key and secret, and every call carries it."""
    answers.get(ONE, payload=envelope(PAYMENT), repeat=True)
    assert [await portone.payment("imp_1", "") for _ in range(3)] == [PAYMENT] * 3
    assert answers.tokens(ONE) == ["token-1"] * 3
    [request] = answers.sent("POST", TOKEN)
    assert request["json"] == {"imp_key": "imp_key", "imp_secret": SECRET}
    assert request["headers"] == {}


async def test_a_token_with_little_time_left_is_asked_for_again(answers: Answers, client: PortOne) -> None:
    """With less than a minute left, by PortOne's own clock, the token is refreshed, and before that it is kept."""
    answers.post(TOKEN, payload=token("short", seconds=59))
    answers.post(TOKEN, payload=token("long", seconds=61))
    answers.get(ONE, payload=envelope(PAYMENT), repeat=True)
    for _ in range(3):
        await client.payment("imp_1", "")
    assert answers.tokens(ONE) == ["short", "long", "long"]


@pytest.mark.parametrize(
    "unusable",
    [
        None,
        "token",
        {"access_token": "t"},
        {"access_token": "t", "now": [], "expired_at": 1},
        {"access_token": "a\r\nX: b", "now": 0, "expired_at": 1800},
    ],
)
async def test_a_token_that_cannot_be_read(answers: Answers, client: PortOne, unusable: Any) -> None:
    """An answer without a usable token is unreadable, and the next call asks for a token again."""
    answers.post(TOKEN, payload=envelope(unusable))
    answers.post(TOKEN, payload=token())
    answers.get(ONE, payload=envelope(PAYMENT))
    with pytest.raises(UnreadableAnswer):
        await client.payment("imp_1", "")
    assert await client.payment("imp_1", "") == PAYMENT


async def test_a_refused_key(answers: Answers, client: PortOne) -> None:
    """A 401 to the token request means that the key is refused, and no call is made."""
    answers.post(TOKEN, status=401, payload=envelope(code=-1))
    with pytest.raises(PortOneRefused):
        await client.payment("imp_1", "")
    assert answers.sent("GET", ONE) == []


async def test_a_refused_token_is_replaced_once(answers: Answers, portone: PortOne) -> None:
    """A 401 leads to one new token, and to the same call once more with it."""
    answers.post(TOKEN, payload=token("token-2"))
    answers.get(ONE, status=401, payload=envelope(code=-1))
    answers.get(ONE, payload=envelope(PAYMENT))
    assert await portone.payment("imp_1", "") == PAYMENT
    assert answers.tokens(ONE) == ["token-1", "token-2"]


async def test_a_second_refusal_is_an_error(answers: Answers, portone: PortOne) -> None:
    """A 401 with a new token too means that the key is refused: two calls, and no secret in the error."""
    answers.post(TOKEN, payload=token("token-2"), repeat=True)
    answers.get(ONE, status=401, payload=envelope(code=-1), repeat=True)
    with pytest.raises(PortOneRefused) as raised:
        await portone.payment("imp_1", "")
    assert len(answers.sent("GET", ONE)) == 2
    assert SECRET not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"payload": envelope(PAYMENT, code=1)}, UnreadableAnswer),
        ({"payload": envelope(PAYMENT, code=-1)}, UnreadableAnswer),
        ({"payload": envelope(PAYMENT) | {"code": False}}, UnreadableAnswer),
        ({"payload": envelope(PAYMENT) | {"code": "0"}}, UnreadableAnswer),
        ({"payload": {"code": 0}}, UnreadableAnswer),
        ({"payload": {"response": PAYMENT}}, UnreadableAnswer),
        ({"payload": []}, UnreadableAnswer),
        ({"body": "null"}, UnreadableAnswer),
        ({"body": ""}, UnreadableAnswer),
        ({"body": "<html>OK</html>"}, UnreadableAnswer),
        ({"body": '{"code": 0, "response": {"imp_uid": imp_'}, UnreadableAnswer),
        ({"body": "[" * 100_000}, UnreadableAnswer),
        ({"status": 201, "payload": envelope(PAYMENT)}, UnreadableAnswer),
        ({"status": 404, "body": "<html>Not Found</html>"}, UnreadableAnswer),
        ({"status": 404, "payload": envelope(PAYMENT)}, UnreadableAnswer),
        ({"status": 400, "payload": envelope(code=-1)}, UnreadableAnswer),
        ({"status": 403, "payload": envelope(code=-1)}, UnreadableAnswer),
        ({"status": 429, "payload": envelope(code=-1)}, PortOneUnavailable),
        ({"status": 429, "payload": envelope(PAYMENT)}, PortOneUnavailable),
        ({"status": 500, "payload": envelope(PAYMENT)}, PortOneUnavailable),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, PortOneUnavailable),
        ({"status": 503, "payload": envelope(code=-1)}, PortOneUnavailable),
        ({"exception": ClientConnectionError()}, PortOneUnavailable),
        ({"exception": ClientPayloadError()}, PortOneUnavailable),
        ({"timeout": True}, PortOneUnavailable),
    ],
)
async def test_a_failure_to_ask_is_no_answer(
    answers: Answers, portone: PortOne, answer: dict[str, Any], error: type[NotAsked]
) -> None:
    """HTTP 200 with another code, HTML, half a body or an error status is neither a payment nor "no such payment"."""
    answers.get(ONE, **answer)
    with pytest.raises(error) as raised:
        await portone.payment("imp_1", "")
    assert type(raised.value) is error
    assert len(answers.sent("GET", ONE)) == 1


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed(answers: Answers, portone: PortOne, status: int) -> None:
    """A redirect is no answer, and the token is not carried to where it points."""
    answers.get(
        ONE, status=status, payload=envelope(PAYMENT), headers={"Location": "https://other.test/payments/imp_1"}
    )
    answers.get("https://other.test/payments/imp_1", payload=envelope(PAYMENT))
    with pytest.raises(UnreadableAnswer):
        await portone.payment("imp_1", "")
    assert answers.sent("GET", "https://other.test/payments/imp_1") == []


async def test_an_unknown_payment_is_an_answer(answers: Answers, portone: PortOne) -> None:
    """A 404 in PortOne's envelope says that there is none: of one None, of many an empty list or page."""
    for url in (ONE, BATCH, LEDGER, f"{PREPARE}/order-1"):
        answers.get(url, status=404, payload=envelope(code=-1))
    assert await portone.payment("imp_1", "") is None
    assert await portone.payments(["imp_1", "imp_2"], "") == []
    assert await portone.ledger("", 1) == LedgerPage([], 0, more=False)
    assert await portone.prepared("order-1", "") is None


async def test_a_batch_that_is_known_in_part(answers: Answers, portone: PortOne) -> None:
    """A 207 is a success: PortOne's list has only those payments that it knows."""
    answers.get(BATCH, status=207, payload=envelope([PAYMENT]))
    assert await portone.payments(["imp_1", "imp_2"], "") == [PAYMENT]


@pytest.mark.parametrize("response", [{}, "imp_1", PAYMENT, 0])
async def test_a_batch_that_is_no_list(answers: Answers, portone: PortOne, response: Any) -> None:
    """A batch whose answer is not a list is unreadable, and not an empty list."""
    answers.get(BATCH, payload=envelope(response))
    with pytest.raises(UnreadableAnswer):
        await portone.payments(["imp_1", "imp_2"], "")


@pytest.mark.parametrize(
    ("response", "page"),
    [
        ({"list": [PAYMENT], "total": 2, "next": 2}, LedgerPage([PAYMENT], 2, more=True)),
        ({"list": [PAYMENT], "total": 1, "next": 0}, LedgerPage([PAYMENT], 1, more=False)),
        ({"list": [], "total": None}, LedgerPage([], 0, more=False)),
    ],
)
async def test_a_page_of_the_ledger(answers: Answers, portone: PortOne, response: Any, page: LedgerPage) -> None:
    """A page has its payments, their number on all pages, and whether another page follows."""
    answers.get(LEDGER, payload=envelope(response))
    assert await portone.ledger("", 1) == page


@pytest.mark.parametrize("response", [[], "list", {"total": 1}, {"list": {"imp_uid": "imp_1"}}])
async def test_a_page_that_is_no_page(answers: Answers, portone: PortOne, response: Any) -> None:
    """A page of the ledger without a list is unreadable: it never ends a scan."""
    answers.get(LEDGER, payload=envelope(response))
    with pytest.raises(UnreadableAnswer):
        await portone.ledger("", 1)


@pytest.mark.parametrize(
    ("status", "code", "success"), [(200, 0, True), (207, 0, True), (200, 1, False), (400, 1, False), (400, 0, False)]
)
async def test_a_command_is_answered_with_its_envelope(
    answers: Answers, portone: PortOne, status: int, code: int, success: bool
) -> None:
    """A refusal of PortOne's is the caller's to read, with its words; only code 0 under 200 or 207 is a success."""
    answers.post(PREPARE, status=status, payload=envelope(PAYMENT, code, "already prepared"))
    answer = await portone.prepare({"merchant_uid": "order-1"}, "")
    assert answer == Envelope(status, code, "already prepared", PAYMENT)
    assert answer.success is success


@pytest.mark.parametrize("code", ["0", None, 0.0, True])
async def test_a_command_without_a_readable_code(answers: Answers, portone: PortOne, code: Any) -> None:
    """An envelope whose code is no integer neither accepts nor refuses."""
    answers.post(PREPARE, payload=envelope(PAYMENT, code))
    with pytest.raises(UnreadableAnswer):
        await portone.prepare({"merchant_uid": "order-1"}, "")


async def test_a_cancel_is_sent_once(answers: Answers, portone: PortOne) -> None:
    """A refund is not repeated with a new token, and has more time than a question."""
    answers.post(CANCEL, status=401, payload=envelope(code=-1))
    answers.post(CANCEL, payload=envelope(PAYMENT))
    with pytest.raises(PortOneRefused):
        await portone.cancel({"imp_uid": "imp_1"}, "abc")
    [request] = answers.sent("POST", CANCEL)
    assert request["data"] == {"imp_uid": "imp_1"}
    assert request["headers"] == {"Authorization": "token-1", "Tier": "abc"}
    assert request["timeout"].total == CANCEL_SECONDS
    assert len(answers.sent("POST", TOKEN)) == 1


@pytest.mark.parametrize("failure", [{"timeout": True}, {"status": 500}, {"exception": ClientConnectionError()}])
async def test_a_cancel_without_an_answer(answers: Answers, portone: PortOne, failure: dict[str, Any]) -> None:
    """A refund whose answer is lost is a failure to ask, after one call: nobody knows what it did."""
    answers.post(CANCEL, **failure)
    with pytest.raises(PortOneUnavailable):
        await portone.cancel({"imp_uid": "imp_1"}, "")
    assert len(answers.sent("POST", CANCEL)) == 1


async def test_a_portone_that_is_down_is_left_alone(answers: Answers, portone: PortOne) -> None:
    """After five failures in a row no call is made for a while, and each asker has the failure at once."""
    answers.get(ONE, status=500, repeat=True)
    for _ in range(7):
        with pytest.raises(PortOneUnavailable):
            await portone.payment("imp_1", "")
    assert len(answers.sent("GET", ONE)) == 5
