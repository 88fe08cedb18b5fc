from urllib.parse import quote

import pytest
from yarl import URL

from sandbox.payment import NULLABLE_FIELDS, TIME_FIELDS
from tests.sandbox.conftest import Caller, Clock

DAY = 24 * 3600


async def test_a_new_window_is_ready_with_nulls_and_zeros(portone: Caller, clock: Clock) -> None:
    """Unknown texts are null and unknown times 0, never the other way round; amounts are V1's decimals."""
    imp_uid = await portone.open("order-1", 6.0, currency="USD")
    answer = await portone.v1(f"/payments/{imp_uid}")
    payment = answer.response
    assert (answer.status, answer.code, answer.content["message"]) == (200, 0, None)
    assert payment["status"] == "ready"
    assert payment["started_at"] == int(clock.now)
    assert (payment["amount"], payment["cancel_amount"], payment["cancel_history"]) == (6.0, 0, [])
    assert all(payment[name] == 0 for name in TIME_FIELDS if name != "started_at")
    assert all(payment[name] is None for name in NULLABLE_FIELDS if name not in ("channel", "pg_provider", "pg_id"))


async def test_an_unknown_payment_is_404_in_an_envelope(portone: Caller) -> None:
    """PortOne does not know an imp_uid: HTTP 404, code -1 and its sentence."""
    answer = await portone.v1("/payments/imp_000000000000")
    assert answer.status == 404
    assert answer.content == {"code": -1, "message": "존재하지 않는 결제정보입니다.", "response": None}
    assert (await portone.v1("/payments/imp_1/nothing/here")).content["code"] == -1


async def test_a_test_payment_hides_from_the_single_look_alone(portone: Caller) -> None:
    """Only `include_sandbox=true` shows a test-channel payment singly; batch, find and ledger always do."""
    imp_uid = await portone.pay(sandbox=True)
    assert (await portone.v1(f"/payments/{imp_uid}")).status == 404
    assert (await portone.v1(f"/payments/{imp_uid}?include_sandbox=false")).status == 404
    assert (await portone.v1(f"/payments/{imp_uid}?include_sandbox=true")).response["sandbox"] is True
    for path in (f"/payments?imp_uid[]={imp_uid}", "/payments/find/order-1", "/payments/status/paid"):
        assert (await portone.v1(path)).status == 200


async def test_a_batch_answers_what_it_finds(portone: Caller) -> None:
    """All found is 200, some missing 207 with the missing ones absent, none found 404, over 100 ids 400."""
    first, second = await portone.pay("order-1"), await portone.pay("order-2")
    both = await portone.v1(f"/payments?imp_uid[]={first}&imp_uid%5B%5D={second}")
    assert (both.status, [p["imp_uid"] for p in both.response]) == (200, [first, second])
    some = await portone.v1(f"/payments?imp_uid[]={first}&imp_uid[]=imp_none&merchant_uid[]=order-2")
    assert (some.status, [p["imp_uid"] for p in some.response]) == (207, [first, second])
    assert (await portone.v1("/payments?imp_uid[]=imp_none")).status == 404
    assert (await portone.v1("/payments?" + "&".join(["imp_uid[]=x"] * 101))).status == 400
    assert (await portone.v1("/payments")).status == 400


async def test_an_order_in_a_batch_brings_all_its_attempts_or_the_latest(portone: Caller) -> None:
    """PortOne does not say which; a switch plays either."""
    first, second = await portone.open(), await portone.open()
    everything = await portone.v1("/payments?merchant_uid[]=order-1")
    assert [p["imp_uid"] for p in everything.response] == [first, second]
    await portone.control("faults", batch_latest_only=True)
    latest = await portone.v1("/payments?merchant_uid[]=order-1")
    assert [p["imp_uid"] for p in latest.response] == [second]


async def test_a_tier_sees_its_own_payments_alone(portone: Caller) -> None:
    """A payment made under a tier needs its Tier header everywhere, and other payments are hidden by it."""
    own, foreign = await portone.pay("order-1"), await portone.pay("order-2", tier="001")
    assert (await portone.v1(f"/payments/{foreign}")).status == 404
    assert (await portone.v1(f"/payments/{foreign}", tier="002")).status == 404
    assert (await portone.v1(f"/payments/{foreign}", tier="001")).status == 200
    assert (await portone.v1(f"/payments/{own}", tier="001")).status == 404
    listed = await portone.v1("/payments/status/all", tier="001")
    assert [p["imp_uid"] for p in listed.response["list"]] == [foreign]
    assert (await portone.cancel(imp_uid=foreign)).code == 1


async def test_find_answers_the_first_by_sorting(portone: Caller, clock: Clock) -> None:
    """The latest started comes first unless sorting says otherwise; a status narrows; none is 404."""
    first = await portone.open()
    clock.now += 1
    second = await portone.open()
    await portone.control(f"payments/{first}/pay")
    for path, found in (
        ("order-1", second),
        ("order-1?sorting=started", first),
        ("order-1?sorting=-updated", first),
        ("order-1?sorting=-paid", first),
        ("order-1/paid", first),
        ("order-1/ready", second),
    ):
        assert (await portone.v1(f"/payments/find/{path}")).response["imp_uid"] == found
    assert (await portone.v1("/payments/find/order-1/failed")).status == 404
    assert (await portone.v1("/payments/find/order-1?sorting=amount")).status == 400


async def test_find_all_comes_in_pages(portone: Caller) -> None:
    """A page tells the total and its neighbours, 0 where there is none; beyond the last page is 400."""
    imp_uids = [await portone.open() for _ in range(3)]
    page = (await portone.v1("/payments/findAll/order-1?limit=2&page=1")).response
    assert (page["total"], page["previous"], page["next"]) == (3, 0, 2)
    last = (await portone.v1("/payments/findAll/order-1?limit=2&page=2")).response
    assert (last["previous"], last["next"]) == (1, 0)
    assert [p["imp_uid"] for p in page["list"] + last["list"]] == imp_uids[::-1]
    assert (await portone.v1("/payments/findAll/order-1?limit=2&page=3")).status == 400


async def test_a_status_may_be_left_out_behind_its_slash(portone: Caller) -> None:
    """A client that always writes the slash (npm's iamporter does) is answered as if it had not."""
    await portone.open()
    assert (await portone.v1("/payments/findAll/order-1/")).response["total"] == 1
    assert (await portone.v1("/payments/find/order-1/")).response["merchant_uid"] == "order-1"


async def test_the_ledger_shows_the_last_change_first(portone: Caller) -> None:
    """Sorted by -updated, a payment that changes moves to the front, also within one second."""
    first, second, third = [await portone.open(f"order-{n}") for n in range(3)]
    await portone.control(f"payments/{first}/pay")
    listed = (await portone.v1("/payments/status/all?sorting=-updated&limit=1000")).response["list"]
    assert [p["imp_uid"] for p in listed] == [first, third, second]


async def test_the_ledger_compares_each_payment_by_its_own_status_time(portone: Caller, clock: Clock) -> None:
    """Opened long ago and paid in the window is in it; opened in the window and paid later is not."""
    early = await portone.open("order-early")
    start = int(clock.now) + 10
    clock.now = start + 1
    await portone.control(f"payments/{early}/pay")
    late = await portone.open("order-late")
    clock.now = start + 100
    await portone.control(f"payments/{late}/pay")
    listed = (await portone.v1(f"/payments/status/all?from={start}&to={start + 50}")).response["list"]
    assert [p["imp_uid"] for p in listed] == [early]


@pytest.mark.parametrize(
    "query", [f"from=1&to={91 * DAY}", "from=9&to=8", "page=0", "page=2", "limit=1001", "limit=x", "sorting=no"]
)
async def test_the_ledger_refuses_what_it_cannot_list(portone: Caller, query: str) -> None:
    """A window over 90 days, a page out of range, a limit over 1000 and an unknown sorting are 400."""
    assert (await portone.v1(f"/payments/status/all?{query}")).status == 400


@pytest.mark.parametrize("merchant_uid", ["주문/1", 'a "b" {c}', "100%25", "a?b&c=d"])
async def test_any_characters_make_a_merchant_uid(portone: Caller, merchant_uid: str) -> None:
    """A percent-encoded path names the order, slashes, quotes and Korean included."""
    imp_uid = await portone.pay(merchant_uid)
    path = URL(f"{portone.url}/payments/find/{quote(merchant_uid, safe='')}", encoded=True)
    async with portone.session.get(path, headers=portone.headers) as answer:
        assert (await answer.json())["response"]["imp_uid"] == imp_uid
