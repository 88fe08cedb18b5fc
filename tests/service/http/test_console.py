"""The console lets in who is entitled, under a name of ours, and does nothing that no form of the session asked for."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.db.pool import Pool
from service.domain.acceptance import Unacceptable
from service.domain.delivery import Disabled
from service.domain.evidence import Cause
from service.domain.notice import Outcome, Source
from service.domain.order import Closed, ProblemKind, State
from service.domain.payment import Status
from service.domain.refund import Hold, RefundState
from service.domain.service_key import Scope
from service.http.console import live, operations
from service.http.console.languages import EXPLAINED, SENTENCES, SINGULAR, TOLD, WORDS
from service.settings import Settings
from service.usecases.places import Places
from tests.running import RunningService, running_receiver, until
from tests.service import stored
from tests.service.http.console_client import ConsoleClient, console_client
from tests.service.http.test_keys import KEY, make

CONSOLE = Path(operations.__file__).parent
PAGES = ("", "/orders", "/order?number=order-1", "/problems", "/notices", "/endpoints", "/actions", "/live")


@pytest.fixture
async def console(receiver: RunningService) -> AsyncIterator[ConsoleClient]:
    async with console_client(receiver.url) as client:
        yield client


async def test_nobody_gets_in_without_a_session(console: ConsoleClient) -> None:
    """Every page sends a stranger to the sign-in page and says nothing else; each answer has the strict policy."""
    for path in PAGES:
        status, page, headers = await console.get(path)
        assert (status, page) == (303, "")
        assert headers["Location"].startswith("/console/sign-in?next=")
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["Content-Security-Policy"]
        assert (headers["X-Frame-Options"], headers["Cache-Control"]) == ("DENY", "no-store")
    assert (await console.post("/confirm", do="refund", subject="imp_1", why="x"))[0] == 303


async def test_a_session_has_no_key_and_ends_everywhere(console: ConsoleClient, settings: Settings, pool: Pool) -> None:
    """The cookie is HttpOnly and Strict and holds no key; one receiver's sign-out ends the session at another."""
    await make(pool, [Scope.ADMIN])
    _, _, headers = await console.post("/sign-in", key=KEY, next="/console/orders")
    cookie = headers["Set-Cookie"]
    assert headers["Location"] == "/console/orders"
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=28800"))
    token = cookie.partition("=")[2].partition(";")[0]
    row = await pool.fetchrow("SELECT * FROM console_sessions")
    assert row is not None
    assert KEY not in cookie
    assert token not in str(dict(row))
    async with running_receiver(settings) as other:
        elsewhere = ConsoleClient(other.url, console.session)
        assert (await elsewhere.get("/actions"))[0] == 200
        assert (await console.post("/sign-out", csrf=await console.csrf()))[0] == 303
        console.session.cookie_jar.update_cookies({"console": token})
        assert (await elsewhere.get("/actions"))[0] == 303
    assert await stored.count(pool, "console_sessions") == 0


async def test_a_session_ends_with_its_key(console: ConsoleClient, pool: Pool) -> None:
    """A revoked key ends its sessions within seconds, and one that expires does too."""
    await make(pool, [Scope.ADMIN])
    assert await console.sign_in(KEY) == 303
    assert (await console.get("/actions"))[0] == 200
    await pool.execute("UPDATE service_keys SET revoked_at = now()")

    async def has_ended() -> bool:
        return (await console.get("/actions"))[0] == 303

    await until(has_ended)


async def test_only_an_admins_key_opens_a_session(console: ConsoleClient, pool: Pool) -> None:
    """A key that is unknown, has expired or lacks the scope opens nothing; the page says so in one sentence."""
    await make(pool, set(Scope) - {Scope.ADMIN})
    status, page, headers = await console.post("/sign-in", key=KEY)
    assert (status, "opens no session" in page, "Set-Cookie" in headers) == (403, True, False)
    assert await stored.count(pool, "console_sessions") == 0


async def test_wrong_keys_are_limited(console: ConsoleClient, still_limits: None) -> None:
    """After ten wrong keys the form comes again and says for how many seconds to wait; right keys do not count."""
    assert [await console.sign_in("wrong") for _ in range(9)] == [403] * 9
    assert [await console.sign_in() for _ in range(3)] == [303] * 3
    console.session.cookie_jar.clear()
    assert [await console.sign_in("wrong") for _ in range(2)] == [403, 429]
    status, page, headers = await console.post("/sign-in", key="test-service-key", next="/console/orders")
    assert (status, headers["Retry-After"]) == (429, "10")
    assert "try again in 10 seconds" in page
    assert 'name="key"' in page
    assert 'value="/console/orders"' in page


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "none"},
)


async def test_a_form_comes_from_a_page_of_ours(console: ConsoleClient, pool: Pool) -> None:
    """A POST from anywhere else is refused, even with the right cookie and the right token."""
    await stored.register_order(pool, "order-1")
    await console.sign_in()
    fields = {"csrf": await console.csrf(), "do": "look", "subject": "order-1", "why": "x"}
    for headers in FOREIGN:
        assert (await console.post("/confirm", headers, **fields))[0] == 403, headers
        assert (await console.post("/sign-out", headers, csrf=fields["csrf"]))[0] == 403, headers
    assert await stored.count(pool, "operator_actions") == 0
    assert (await console.get("/actions"))[0] == 200


async def test_a_form_is_of_its_session(console: ConsoleClient, receiver: RunningService, pool: Pool) -> None:
    """A form with no token, or with another session's, does nothing."""
    await console.sign_in()
    async with console_client(receiver.url) as other:
        await until(lambda: _signs_in(other))
        foreign = await other.csrf()
    for csrf in ("", "x", foreign):
        status, page, _ = await console.post("/confirm", csrf=csrf, do="look", subject="order-1", why="x")
        assert (status, "another session" in page) == (403, True)
    assert await stored.count(pool, "operator_actions") == 0


async def _signs_in(client: ConsoleClient) -> bool:
    return await client.sign_in() == 303


async def test_a_strangers_name_is_not_answered(settings: Settings) -> None:
    """A name that was made to point here gets 421, whatever the cookie; under a name of ours only https is answered."""
    known = settings.model_copy(update={"console_hosts": ("console.shop.example",), "trusted_proxies": ("127.0.0.1",)})
    https = {"X-Forwarded-Proto": "https"}
    async with running_receiver(known) as receiver, console_client(receiver.url) as console:
        origin = {"Host": "console.shop.example", "Origin": "https://console.shop.example", **https}
        _, _, headers = await console.post("/sign-in", origin, key="test-service-key")
        assert headers["Set-Cookie"].startswith("__Host-console=")
        assert all(part in headers["Set-Cookie"] for part in ("Secure", "Path=/;", "HttpOnly", "SameSite=Strict"))
        for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "console.shop.example.evil"):
            assert (await console.get("", headers={"Host": host}))[0] == 421, host
        assert (await console.get("/sign-in", headers={"Host": "console.shop.example"}))[0] == 403
        assert (await console.get("/sign-in", headers={"Host": "CONSOLE.shop.example:443", **https}))[0] == 200
    # Nobody but a trusted proxy may say that it is https.
    strict = known.model_copy(update={"trusted_proxies": ()})
    async with running_receiver(strict) as receiver, console_client(receiver.url) as console:
        assert (await console.get("/sign-in", headers={"Host": "console.shop.example", **https}))[0] == 403


async def test_more_pages_than_may_wait_are_told_to_come_again(settings: Settings, pool: Pool) -> None:
    """Pages beyond the console's bound get 503, while intake goes on, and a statement that hangs is ended."""
    bounded = settings.model_copy(update={"console_waiting": 1, "console_connections": 1})
    async with running_receiver(bounded) as receiver, console_client(receiver.url) as console:
        await console.sign_in()
        async with pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE console_sessions IN ACCESS EXCLUSIVE MODE")
            pages = [asyncio.create_task(console.get("/actions")) for _ in range(6)]
            accepted = await receiver.call("POST", "/webhooks/portone/v1", data={"imp_uid": "imp_1", "status": "paid"})
            assert accepted[0] == 200
            statuses = [status for status, _, _ in await asyncio.gather(*pages)]
        assert set(statuses) == {503}


async def test_more_pages_than_may_follow_are_told_to_come_again(
    console: ConsoleClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that finds no place to follow gets 503, and a session's stream begins at once."""
    monkeypatch.setattr(live, "_BEAT_SECONDS", 0.05)
    await stored.register_order(pool, "order-1")
    await console.sign_in()
    async with console.session.get(f"{console.url}/console/live?number=order-1&version=0") as stream:
        assert b"data: changed" in await stream.content.readuntil(b"changed\n\n")  # the page is older than the order
    async with console.session.get(f"{console.url}/console/live") as stream:
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        assert b"data: changed" in await stream.content.readuntil(b"changed\n\n")
        monkeypatch.setattr(Places, "taken", Places(0).taken)
        assert (await console.get("/live"))[0] == 503


async def test_each_operation_needs_a_reason_and_a_subject(console: ConsoleClient, pool: Pool) -> None:
    """Without a reason the form comes again; what is not there is refused in a sentence; nothing is recorded."""
    await stored.register_order(pool, "order-1")
    await console.sign_in()
    assert (await console.do("look", "order-1", why=" "))[0] == 400
    for name in (*operations.OPERATIONS, "nonsense"):
        if name != "replay-all":
            status, page, _ = await console.do(name, "nobodys")
            assert (status in (404, 409), "<h1>" in page) == (True, True), name
            assert (await console.get(f"/confirm?do={name}&subject=nobodys"))[0] in (404, 409), name
    assert await stored.count(pool, "operator_actions") == 0


async def test_every_page_speaks_both_languages(console: ConsoleClient, pool: Pool) -> None:
    """The browser's language is spoken until a person chooses, and the choice stays."""
    await stored.register_order(pool, "order-1")
    await console.sign_in()
    for path in PAGES[:-1]:
        status, page, _ = await console.get(path, headers={"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"})
        assert (status, '<html lang="ko">' in page) == (200, True), path
    await console.get("/actions?lang=en")
    for path in PAGES[:-1]:
        assert '<html lang="en">' in (await console.get(path, headers={"Accept-Language": "ko-KR"}))[1], path


async def test_what_a_stranger_wrote_stays_text(console: ConsoleClient, pool: Pool) -> None:
    """A number with markup is shown as it is, and runs nowhere; a text that Postgres cannot store is refused."""
    evil = '<script>alert("1")</script>'
    await stored.register_order(pool, evil)
    await console.sign_in()
    async with console.session.get(f"{console.url}/console/order", params={"number": evil}) as answer:
        page = await answer.text()
    assert answer.status == 200
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    for path in ("/orders?q=%00", "/order?number=a%00", "/problems?after=%00"):
        assert (await console.get(path))[0] == 400, path
    assert (await console.do("look", "a\0"))[0] == 400


async def test_a_sign_in_goes_on_to_a_page_of_ours_alone(console: ConsoleClient) -> None:
    """The browser is sent to a page of the console, whatever the form says."""
    await console.sign_in()
    for address in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/console/../x",
        "/shop",
        "javascript:1",
    ):
        async with console.session.get(
            f"{console.url}/console/sign-in", params={"next": address}, allow_redirects=False
        ) as answer:
            assert answer.headers["Location"].startswith("/console"), address


def _sentences() -> set[str]:
    """Return every sentence that templates and handlers say."""
    said = set()
    for template in (CONSOLE / "templates").glob("*.html"):
        text = template.read_text("utf-8")
        said |= {found[1] for found in re.findall(r"\b_\((['\"])(.+?)\1[,)]", text)}
    for file in CONSOLE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="say"), args=[ast.Constant(value=str(text)), *_]):
                    said.add(text)
                case ast.Call(func=ast.Name(id="Operation"), args=[ast.Constant(value=str(text)), *_]):
                    said.add(text)
                case ast.Call(func=ast.Name(id="ConsoleRefused"), args=[_, ast.Constant(value=str(text)), *_]):
                    said.add(text)
                case ast.Assign(targets=[ast.Name(id="sentence")], value=ast.Constant(value=str(text))):
                    said.add(text)
                case _:
                    pass
    return said


def test_every_sentence_has_its_korean() -> None:
    """Nothing is said in English alone, no Korean is left over, and both name the same values."""
    assert _sentences() <= SENTENCES.keys()
    assert len(SENTENCES.keys() - _sentences()) < 3
    for english, korean in SENTENCES.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", korean)), english
    assert all(set(texts) == {"en", "ko"} and kind in WORDS for kind, texts in EXPLAINED.items())
    assert SINGULAR.keys() <= SENTENCES.keys()


def test_no_korean_particle_depends_on_a_value() -> None:
    """No sentence has a particle right after a value, whose last letter would decide which of two it is."""
    particle = re.compile(r"\}[^가-힣 ]*(을|를|이|가|은|는|과|와|으로|로)(?![가-힣])")
    assert [text for text in SENTENCES.values() if particle.search(text)] == []


def test_every_name_of_ours_has_its_words() -> None:
    """States, problems, sources, outcomes, refunds, causes and recorded reasons are said in Korean."""
    names = [*State, *Closed, *ProblemKind, *Outcome, *(f"source_{one}" for one in Source)]
    names += [*(f"cause_{one}" for one in Cause), *(f"refunding_{one}" for one in RefundState)]
    names += [f"payment_{one}" for one in Status]
    assert [name for name in names if name not in WORDS] == []
    assert [text for text in (*Hold, *Unacceptable, *Disabled) if text not in TOLD] == []
