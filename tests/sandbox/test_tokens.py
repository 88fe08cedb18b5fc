from typing import Any

from tests.sandbox.conftest import KEYS, Caller, Clock


async def token(caller: Caller) -> dict[str, Any]:
    answer: dict[str, Any] = (await caller.call("POST", "/users/getToken", data=KEYS)).response
    return answer


async def test_everybody_gets_the_same_token_while_it_lives(stranger: Caller, clock: Clock) -> None:
    """A second request, here a form, brings the token and expiry of the first, and PortOne's present time."""
    first = (await stranger.call("POST", "/users/getToken", json=KEYS)).response
    clock.now += 100
    second = await token(stranger)
    assert second == first | {"now": first["now"] + 100}
    assert first["expired_at"] - first["now"] == 30 * 60


async def test_a_token_about_to_die_is_extended_by_five_minutes(stranger: Caller, clock: Clock) -> None:
    """With less than a minute left the same token lives 5 min longer; after its expiry there is another."""
    first = await token(stranger)
    clock.now = first["expired_at"] - 59
    extended = await token(stranger)
    assert extended["access_token"] == first["access_token"]
    assert extended["expired_at"] == first["expired_at"] + 300
    clock.now = extended["expired_at"]
    assert (await token(stranger))["access_token"] != first["access_token"]


async def test_wrong_and_missing_keys_are_told_apart(stranger: Caller) -> None:
    """A wrong secret is 401 with PortOne's sentence, a missing one 400."""
    wrong = await stranger.call("POST", "/users/getToken", json=KEYS | {"imp_secret": "guess"})
    assert (wrong.status, wrong.code, wrong.response) == (401, -1, None)
    assert wrong.content["message"] == "인증에 실패하였습니다. API키와 secret을 확인하세요."
    missing = await stranger.call("POST", "/users/getToken", json={"imp_key": KEYS["imp_key"]})
    assert (missing.status, missing.code) == (400, -1)


async def test_a_call_needs_a_live_token_bare_or_bearer(portone: Caller, clock: Clock) -> None:
    """No token, a wrong one and an expired one are 401 Unauthorized; both ways of sending are accepted."""
    imp_uid = await portone.pay()
    bare = portone.headers["Authorization"]
    for authorization, status in ((bare, 200), (f"Bearer {bare}", 200), ("other", 401), ("", 401)):
        answer = await portone.call("GET", f"/payments/{imp_uid}", headers={"Authorization": authorization})
        assert answer.status == status
    assert answer.content == {"code": -1, "message": "Unauthorized", "response": None}
    clock.now += 30 * 60
    assert (await portone.v1(f"/payments/{imp_uid}")).status == 401


async def test_the_account_can_lose_its_token_and_change_its_secret(portone: Caller) -> None:
    """Control ends the token for those who hold it, shortens the life of the next, and rotates the secret."""
    imp_uid = await portone.pay()
    await portone.control("account", expire_token=True, token_life_seconds=120, imp_secret="new")
    assert (await portone.v1(f"/payments/{imp_uid}")).status == 401
    assert (await portone.call("POST", "/users/getToken", json=KEYS)).status == 401
    fresh = await portone.call("POST", "/users/getToken", json=KEYS | {"imp_secret": "new"})
    assert fresh.response["expired_at"] - fresh.response["now"] == 120
