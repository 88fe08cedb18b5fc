"""The SDK's functions, as PortOne's script has them: docs/portone.md §5."""

import pytest

from tests.browser.merchant import PLAIN
from tests.browser.visitor import OPEN_FRAME, Visitor

NOT_INITIALISED = "판매자 코드가 설정되지 않았습니다. IMP.init()함수를 먼저 호출하세요."
NO_PARAMETERS = "결제요청 파라메터가 누락되었습니다."
FRAMES = "[...document.querySelectorAll('.imp-dialog iframe')].map((frame) => frame.src)"
CHANNELS = 4  # three for payments and one for identity checks are set up in a sandbox

UI_PAGE = PLAIN.replace("</main>", "{containers}</main>")
CONTAINER = '<div class="portone-ui-container" data-portone-ui-type="{type}"></div>'


async def frames_loaded(visitor: Visitor) -> list[str]:
    """Wait until every channel has its frame; return the frames' addresses."""
    await visitor.page.wait_for_function(f"({FRAMES}).length === {CHANNELS}")
    addresses: list[str] = await visitor.page.evaluate(FRAMES)
    return addresses


async def test_the_script_needs_and_brings_no_jquery(desktop: Visitor) -> None:
    """`window.IMP` is all that it adds to the page."""
    await desktop.page.goto(desktop.merchant.add_page("/", "data:,"))
    before = set(await desktop.page.evaluate("Object.keys(window)"))
    await desktop.visit_plain_page()
    assert set(await desktop.page.evaluate("Object.keys(window)")) - before == {"IMP"}


async def test_loading_the_script_twice_is_harmless(desktop: Visitor) -> None:
    """It does nothing where `window.IMP` exists already."""
    await desktop.visit_plain_page()
    await desktop.page.evaluate("window.first = IMP")
    await desktop.page.add_script_tag(url=f"{desktop.sandbox.url}/v1/iamport.js")
    assert await desktop.page.evaluate("window.first === IMP")


async def test_the_module_exports_imp_and_its_slots(desktop: Visitor) -> None:
    """`iamport.esm.js` has IMP as its default, `slots` beside it, and leaves `window.IMP` alone."""
    await desktop.visit_plain_page("data:,")
    names = await desktop.page.evaluate(
        """async (address) => {
            const module = await import(address);
            module.default.init("imp00000000");
            const names = [Object.keys(module).sort(), Object.keys(module.slots)];
            return [...names, typeof module.default.deinit, typeof window.IMP];
        }""",
        f"{desktop.sandbox.url}/v1/iamport.esm.js",
    )
    assert names == [["default", "slots"], ["CORE_SERVER", "CHECKOUT_SERVER"], "function", "undefined"]


async def test_only_the_module_can_deinit(desktop: Visitor) -> None:
    """`deinit` takes everything off the page; the script does not have it."""
    await desktop.visit_plain_page()
    assert await desktop.page.evaluate("typeof IMP.deinit") == "undefined"
    await desktop.page.evaluate(
        """async (address) => {
            window.module = (await import(address)).default;
            module.init("imp00000000");
        }""",
        f"{desktop.sandbox.url}/v1/iamport.esm.js",
    )
    await frames_loaded(desktop)
    assert await desktop.page.evaluate("module.deinit()") is None
    assert await desktop.page.locator(".imp-dialog").count() == 0
    await desktop.page.evaluate("module.request_pay({})")
    assert await desktop.dialog() == NOT_INITIALISED


@pytest.mark.parametrize(
    "call",
    [
        "IMP.init('imp00000000')",
        "IMP.init('고객사 식별코드')",
        "IMP.init()",
        "IMP.init(null)",
        "IMP.init(42)",
        "IMP.agency('imp00000000', '123')",
        "IMP.agency('imp00000000')",
    ],
)
async def test_init_returns_undefined_and_validates_nothing(desktop: Visitor, call: str) -> None:
    """The account's channels load whatever the code is, and no dialog opens."""
    await desktop.visit_plain_page()
    assert await desktop.page.evaluate(f"{call} === undefined")
    await frames_loaded(desktop)
    assert desktop.dialogs == []


async def test_init_waits_for_the_dom(desktop: Visitor) -> None:
    """A call in the page's head works: nothing is added before there is a body."""
    page = PLAIN.replace("</head>", "<script>IMP.init('imp00000000'); window.body = document.body;</script></head>")
    await desktop.visit_plain_page(body=page)
    assert await desktop.page.evaluate("window.body") is None
    await frames_loaded(desktop)


async def test_init_prepares_one_hidden_frame_for_each_channel(desktop: Visitor) -> None:
    """The frames are in the dialog, and none of them is seen."""
    await desktop.visit_plain_page()
    await desktop.init()
    await frames_loaded(desktop)
    assert await desktop.page.locator(OPEN_FRAME).count() == 0
    assert await desktop.page.locator(".imp-dialog").is_hidden()


async def test_the_first_channel_is_the_default(desktop: Visitor) -> None:
    """A request that names no `pg` opens it."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.request_pay()
    await desktop.choose("paid")
    assert (await desktop.result())["pg_provider"] == "html5_inicis"


@pytest.mark.parametrize(("tier", "counts"), [("'123'", True), ("123", False), ("undefined", False), ("null", False)])
async def test_agency_counts_only_with_a_tier_of_text(desktop: Visitor, tier: str, counts: bool) -> None:
    """The tier goes to the frames' addresses and, as `tier_code`, into the request."""
    await desktop.visit_plain_page()
    await desktop.page.evaluate(f"IMP.agency('imp00000000', {tier})")
    addresses = await frames_loaded(desktop)
    assert [("tier=123" in address) for address in addresses] == [counts] * CHANNELS
    await desktop.request_pay()
    await desktop.choose("paid")
    await desktop.result()
    assert await desktop.page.evaluate("params.tier_code ?? null") == ("123" if counts else None)
    (payment,) = (await desktop.sandbox.control("GET", "payments"))["payments"]
    assert payment["tier"] == ("123" if counts else None)


@pytest.mark.parametrize("again", ["IMP.init('imp00000000')", "IMP.agency('imp00000000', '123')"])
async def test_a_second_init_ends_an_open_window_without_its_callback(desktop: Visitor, again: str) -> None:
    """The frames are thrown away and load again; no error is told, and the next request works."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.request_pay()
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    await desktop.page.evaluate(again)
    assert await desktop.page.locator(OPEN_FRAME).count() == 0
    await frames_loaded(desktop)
    await desktop.request_pay(merchant_uid="order-2")
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"] == "order-2"
    assert desktop.dialogs == []


async def test_request_pay_before_init_alerts_and_calls_nothing_back(desktop: Visitor) -> None:
    """The sentence is PortOne's."""
    await desktop.visit_plain_page()
    await desktop.request_pay()
    assert await desktop.dialog() == NOT_INITIALISED
    assert await desktop.page.evaluate("results") == []


async def test_request_pay_without_parameters_alerts_and_returns_false(desktop: Visitor) -> None:
    """It is the only call that returns anything."""
    await desktop.visit_plain_page()
    await desktop.init()
    assert await desktop.page.evaluate("IMP.request_pay()") is False
    assert desktop.dialogs == [NO_PARAMETERS]
    assert await desktop.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 1 }) === undefined")


async def test_the_callback_is_optional(desktop: Visitor) -> None:
    """Without one the window closes, and nothing else happens."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.page.evaluate("IMP.request_pay({ merchant_uid: 'order-1', amount: 1000 })")
    await desktop.choose("paid")
    await desktop.page.locator(OPEN_FRAME).wait_for(state="detached")
    assert (desktop.dialogs, desktop.errors) == ([], [])


@pytest.mark.parametrize(("outcome", "success"), [("paid", True), ("failed", False), ("closed", False)])
async def test_certification_makes_no_payment(desktop: Visitor, outcome: str, success: bool) -> None:
    """Its result is success, imp_uid, merchant_uid and, on failure, the error."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.request_pay("certification", pg="danal", name="홍길동", phone="010-4242-4242", min_age=19)
    await desktop.choose(outcome)
    result = await desktop.result()
    error = set() if success else {"error_code", "error_msg"}
    assert set(result) == {"success", "imp_uid", "merchant_uid"} | error
    assert (result["success"], result["merchant_uid"]) == (success, "order-1")
    assert (await desktop.sandbox.control("GET", "payments"))["payments"] == []


async def test_certification_fills_in_no_pay_method(desktop: Visitor) -> None:
    """Only a missing merchant_uid is filled in."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.request_pay("certification", merchant_uid="")
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"].startswith("nobody_")
    assert await desktop.page.evaluate("params.pay_method ?? null") is None


async def visit_ui_page(visitor: Visitor, *types: str) -> None:
    containers = "".join(CONTAINER.replace("{type}", one) for one in types)
    await visitor.visit_plain_page(body=UI_PAGE.replace("{containers}", containers))
    await visitor.init()


@pytest.mark.parametrize("kind", ["paypal-spb", "paypal-rt", "toss-brandpay-widget"])
async def test_load_ui_draws_a_button_into_its_container(desktop: Visitor, kind: str) -> None:
    """The button pays with the given parameters, and its callback is request_pay's."""
    await visit_ui_page(desktop, kind)
    await desktop.request_pay_by_button(kind, sandbox={"window": "overlay"})
    await desktop.page.locator(".portone-ui-container button").click()
    await desktop.choose("paid")
    result = await desktop.result()
    assert set(result) == {"imp_uid", "merchant_uid"}  # the short shape of these providers


async def test_update_load_ui_request_replaces_the_parameters(desktop: Visitor) -> None:
    """The drawn button stays, and pays the new ones."""
    await visit_ui_page(desktop, "toss-brandpay-widget")
    await desktop.request_pay_by_button("toss-brandpay-widget")
    new = "{ merchant_uid: 'order-2', amount: 2000 }"
    assert await desktop.page.evaluate(f"IMP.updateLoadUIRequest('toss-brandpay-widget', {new}) === undefined")
    await desktop.page.locator(".portone-ui-container button").click()
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"] == "order-2"
    (payment,) = (await desktop.sandbox.control("GET", "payments"))["payments"]
    assert payment["amount"] == 2000


@pytest.mark.parametrize(
    ("types", "sentence"),
    [
        ([], "portone-ui-container를 찾을 수 없습니다."),
        (["paypal-rt", "toss-brandpay-widget"], "data-portone-ui-type에 올바른 UI 타입을 입력해주세요."),
        (["paypal-spb"] * 2, "동일한 data-portone-ui-type을 갖는 DOM element가 2개 이상 존재합니다."),
    ],
)
async def test_load_ui_names_what_is_wrong_with_the_container(
    desktop: Visitor, types: list[str], sentence: str
) -> None:
    """None, another type, or the same type twice: PortOne's sentences."""
    await visit_ui_page(desktop, *types)
    told = await desktop.page.evaluate(
        "try { IMP.loadUI('paypal-spb', {}) } catch (error) { window.told = error.message }; told"
    )
    assert told == sentence


async def test_close_hides_the_window_without_a_callback(desktop: Visitor) -> None:
    """Everything is initialised again, so that the next request works."""
    await desktop.visit_plain_page()
    await desktop.init()
    await desktop.request_pay()
    await desktop.window.locator("[data-outcome=paid]").wait_for()
    assert await desktop.page.evaluate("IMP.close() === undefined")
    assert await desktop.page.locator(OPEN_FRAME).count() == 0
    await desktop.request_pay(merchant_uid="order-2")
    await desktop.choose("paid")
    assert (await desktop.result())["merchant_uid"] == "order-2"
