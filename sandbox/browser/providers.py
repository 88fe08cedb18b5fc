"""The payment providers of the stand-in, as far as a page can tell them apart."""

from dataclasses import asdict, dataclass
from typing import Any

CLOSED = "[결제포기] 사용자가 결제를 취소하셨습니다"
CLOSED_BY_INICIS = "F0005:결제가 중단되었습니다({imp_uid}).01 | 사용자가 결제를 취소 하였습니다."
REFUSED = "카드사 승인이 거절되었습니다."


@dataclass(frozen=True, slots=True)
class Provider:
    """One payment provider: the way its window opens, and the way it tells the page the result."""

    code: str
    ko: str
    en: str
    short: bool = False
    """Its callback holds the ids and, on failure, the error; the others tell some 20 facts more."""
    pc: str = "overlay"
    mobile: str = "redirect"
    """`overlay`, `popup` or `redirect`."""
    takes_popup: bool = False
    """Whether the parameter `popup` changes its window on a PC."""
    in_page_with: str | None = None
    """`customer_uid` or a `pay_method` with which its window stays in the page on a phone too."""
    simple: bool = False
    """Whether it is a simple pay of its own, without a card company's page."""
    close_fails: bool = False
    """Whether closing the window makes the payment `failed`; with the others it stays `ready`."""
    close_code: str | None = "USER_CANCEL"
    close_text: str = CLOSED
    fail_code: str | None = "CARD_REFUSED"


# Which provider has the short callback, opens a pop-up or stays in the page on a phone: docs/portone.md §5.
PAYMENT_PROVIDERS = (
    Provider("html5_inicis", "KG이니시스", "KG Inicis", in_page_with="customer_uid", close_fails=True,
             close_code="01", close_text=CLOSED_BY_INICIS, fail_code="8320"),
    Provider("tosspayments", "토스페이먼츠", "Toss Payments", short=True, close_code="PAY_PROCESS_CANCELED",
             close_text="사용자에 의해 결제가 취소되었습니다.", fail_code="REJECT_CARD_COMPANY"),
    Provider("kakaopay", "카카오페이", "KakaoPay", simple=True, close_fails=True, close_code=None, fail_code=None),
    Provider("nice_v2", "나이스페이먼츠", "NICE Payments", short=True),
    Provider("smartro_v2", "스마트로", "Smartro", short=True),
    Provider("ksnet", "KSNET", "KSNET", short=True),
    Provider("welcome", "웰컴페이먼츠", "Welcome Payments", short=True),
    Provider("paypal_v2", "페이팔", "PayPal", short=True, pc="popup", mobile="popup", simple=True),
    Provider("paypal", "페이팔(구)", "PayPal (old)", pc="redirect", takes_popup=True, simple=True),
    Provider("danal", "다날 휴대폰", "Danal phone bill", mobile="overlay"),
    Provider("danal_tpay", "다날", "Danal", mobile="overlay"),
    Provider("mobilians", "KG모빌리언스", "KG Mobilians", in_page_with="phone"),
    Provider("payco", "페이코", "PAYCO", mobile="overlay", takes_popup=True, simple=True, pc="popup"),
    Provider("smilepay", "스마일페이", "SmilePay", mobile="overlay", simple=True),
    Provider("bluewalnut", "블루월넛", "Bluewalnut", mobile="overlay"),
    Provider("settle_acc", "헥토파이낸셜 내통장결제", "Hecto account payment", mobile="overlay"),
    Provider("naverpay", "네이버페이", "Naver Pay", pc="popup", simple=True),
    Provider("tosspay", "토스페이", "Toss Pay", pc="popup", simple=True),
    Provider("chai", "차이", "CHAI", pc="popup", simple=True),
    Provider("smartro", "스마트로(구)", "Smartro (old)", pc="popup"),
    Provider("eximbay", "엑심베이", "Eximbay", pc="popup", takes_popup=True),
    Provider("kcp", "NHN KCP", "NHN KCP"),
    Provider("kcp_quick", "NHN KCP 퀵페이", "NHN KCP quick pay", pc="popup", simple=True),
    Provider("nice", "나이스페이먼츠(구)", "NICE Payments (old)"),
    Provider("uplus", "토스페이먼츠(구)", "Toss Payments (old)"),
    Provider("kicc", "KICC", "KICC"),
    Provider("jtnet", "JTNet", "JTNet"),
    Provider("galaxia", "갤럭시아머니트리", "Galaxia"),
    Provider("daou", "키움페이", "Kiwoompay"),
)  # fmt: skip

CERTIFICATION_PROVIDERS = (
    Provider("danal", "다날", "Danal", in_page_with=None, mobile="redirect", takes_popup=True),
    Provider("inicis_unified", "KG이니시스", "KG Inicis", takes_popup=True),
)

PROVIDERS = {"payment": PAYMENT_PROVIDERS, "certification": CERTIFICATION_PROVIDERS}
# The channels that an account has from the start. The first of a kind is the default.
REGISTERED = {"payment": ("html5_inicis", "tosspayments", "kakaopay"), "certification": ("danal",)}
STORE = "sandbox"


def find_provider(kind: str, code: str) -> Provider | None:
    """Return the provider of this kind with this code, or None."""
    return next((provider for provider in PROVIDERS[kind] if provider.code == code), None)


def channel_key(kind: str, code: str) -> str:
    """Return the `channelKey` of the sandbox's channel of this provider."""
    return f"channel-key-{code}" if kind == "payment" else f"channel-key-certification-{code}"


def list_channels() -> list[dict[str, Any]]:
    """Return every channel as the SDK picks from them; `registered` ones count as set up in the console."""
    return [
        _channel(kind, provider, provider.code in REGISTERED[kind])
        for kind, providers in PROVIDERS.items()
        for provider in providers
    ]


def _channel(kind: str, provider: Provider, registered: bool) -> dict[str, Any]:
    ways = {name: asdict(provider)[name] for name in ("pc", "mobile", "takes_popup", "in_page_with")}
    key = channel_key(kind, provider.code)
    return {"kind": kind, "provider": provider.code, "store": STORE, "key": key, "registered": registered, **ways}
