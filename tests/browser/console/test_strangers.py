"""A page of another origin can do nothing at the console, even in the browser of a person who has signed in."""

from playwright.async_api import Browser

from tests.browser.console.operator import Operator
from tests.browser.console.orders import ServiceWithOrders
from tests.browser.merchant import Merchant

# It tries all that a page may try: forms and calls with the visitor's cookies, frames, pictures, streams, windows.
_EVIL = """<!doctype html><meta charset="utf-8"><title>Evil</title>
<iframe id="framed" src="{console}"></iframe>
<form id="form" method="post" action="{console}/confirm" target="sent">
<input name="do" value="resolve"><input name="subject" value="{subject}"><input name="why" value="evil">
<input name="csrf" value="guessed"></form><iframe name="sent"></iframe>
<script>
window.learnt = [];
const attempt = async (name, work) => {
  try { learnt.push([name, await work()]); } catch (error) { learnt.push([name, null]); }
};
window.done = (async () => {
  await attempt("read", async () => (await fetch("{console}/orders", {credentials: "include"})).text());
  await attempt("blind", async () => (await fetch("{console}/confirm", {
    method: "POST", mode: "no-cors", credentials: "include",
    body: new URLSearchParams({do: "resolve", subject: "{subject}", why: "evil", csrf: "guessed"})})).type === "basic");
  await attempt("json", async () => (await fetch("{console}/confirm", {
    method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"})).ok);
  await attempt("stream", () => new Promise((resolve, reject) => {
    const source = new EventSource("{console}/live", {withCredentials: true});
    source.onmessage = () => resolve("heard"); source.onerror = reject; }));
  await attempt("frame", () => document.getElementById("framed").contentDocument.body.innerText);
  document.getElementById("form").submit();
  await new Promise((resolve) => { document.querySelector("[name=sent]").onload = resolve; });
})();
</script>"""


async def test_a_foreign_page_learns_and_changes_nothing(operator: Operator, merchant: Merchant) -> None:
    """Forms, calls, frames and streams come to nothing, also of a page on another port, of the cookies' site."""
    await operator.sign_in()
    made = operator.made
    before = await made.pool.fetchval("SELECT count(*) FROM operator_actions")
    for host in ("127.0.0.1", "localhost"):  # the console's own site, and another
        origin = merchant.origin.replace("localhost", host)
        operator.allowed += (origin,)
        body = _EVIL.replace("{console}", f"{made.url}/console").replace("{subject}", made.payments["forged"])
        merchant.add_page("/evil", "", body)
        await operator.page.goto(f"{origin}/evil")
        await operator.page.evaluate("done")
        learnt = dict(await operator.page.evaluate("learnt"))
        assert {name for name, result in learnt.items() if result} == set(), learnt
        framed = operator.page.frames[1]
        assert "portone-orders" not in await framed.content()
    assert await made.pool.fetchval("SELECT count(*) FROM operator_actions") == before
    assert await made.pool.fetchval("SELECT count(*) FROM resolutions") == 0
    operator.complaints.clear()  # the browser's own, of what it kept the foreign page from
    await operator.open()
    await operator.page.get_by_role("heading", name="Today").wait_for()  # the session is as it was


async def test_a_name_that_is_made_to_point_here_is_not_answered(
    chromium: Browser, with_orders: ServiceWithOrders
) -> None:
    """A stranger's name that resolves to this machine (DNS rebinding) gets no page, and no way to sign in."""
    async with Operator.arrive(chromium, with_orders) as operator:
        port = with_orders.url.rpartition(":")[2]
        operator.allowed += (f"http://rebound.example:{port}",)
        answer = await operator.page.goto(f"http://rebound.example:{port}/console")
        assert answer is not None
        assert answer.status == 421
        assert await operator.page.locator("input").count() == 0
        status = await operator.page.evaluate(
            "fetch('/console/sign-in', {method: 'POST', body: new URLSearchParams({key: 'test-service-key'})})"
            ".then((answer) => answer.status)"
        )
        assert status == 421
        operator.complaints.clear()
