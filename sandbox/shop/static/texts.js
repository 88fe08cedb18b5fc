// The shop's texts in both languages. A text's {name} is filled in by `text(key, {name: …})`.

const TEXTS = {
  ko: {
    skip: "본문으로 건너뛰기",
    shop: "볕드는 상점",
    sandbox_note: "연습 결제 · 실제 돈은 오가지 않아요",
    checkout: "주문하기",
    choose: "무엇을 살까요?",
    quantity: "수량",
    less: "하나 빼기",
    more: "하나 더하기",
    buyer: "주문하는 분",
    buyer_name: "이름",
    buyer_tel: "전화번호",
    buyer_email: "이메일",
    method: "결제 수단",
    card: "카드",
    vbank: "가상계좌",
    kakaopay: "카카오페이",
    trans: "계좌이체",
    window: "결제창을 여는 방식",
    window_auto: "기기에 따라",
    window_overlay: "이 화면 위에",
    window_popup: "새 창으로",
    window_redirect: "페이지 이동",
    total: "결제 금액",
    pay: "결제하기",
    pay_amount: "{amount} 결제하기",
    registering: "주문을 등록하고 있어요…",
    paying: "결제창에서 결제를 진행해 주세요.",
    checking: "결제를 확인하고 있어요…",
    no_service: "서비스가 주문을 등록하지 못했어요. 잠시 뒤에 다시 시도해 주세요.",
    no_token: "서비스가 이 페이지에 주문 상태를 보여 주지 않아요. 서비스에 CHECKOUT_SECRETS를 설정해 주세요.",

    view_loading: "주문을 확인하고 있어요",
    view_unknown: "그런 주문이 없어요",
    unknown_text: "주문번호를 확인해 주세요.",
    view_waiting: "결제를 확인하고 있어요",
    waiting_text: "포트원의 답을 기다리고 있어요. 이 화면은 저절로 바뀌니 그대로 두셔도 됩니다.",
    view_unfinished: "결제가 끝나지 않았어요",
    unfinished_text: "아직 결제된 돈은 없어요. 다시 결제할 수 있어요.",
    view_paid: "결제가 완료됐어요",
    paid_text: "주문해 주셔서 고맙습니다. 곧 보내 드릴게요.",
    view_deposit: "입금을 기다리고 있어요",
    deposit_text: "아래 계좌로 기한 안에 입금하시면 주문이 확정돼요.",
    view_failed: "결제에 실패했어요",
    failed_text: "결제된 돈은 없어요. 다시 결제할 수 있어요.",
    view_mismatched: "결제 내용이 주문과 달라요",
    mismatched_text: "받은 돈이 주문한 금액이나 통화와 달라 상품을 보내지 않아요. 담당자가 확인하고 연락드릴게요.",
    view_test: "시험용 결제였어요",
    test_text: "시험 채널로 결제되어 실제 돈이 오가지 않았고, 주문은 결제되지 않았어요.",
    view_refunded: "결제가 취소됐어요",
    refunded_text: "결제한 금액을 모두 돌려드렸어요.",
    view_part_refunded: "일부 금액이 취소됐어요",
    part_refunded_text: "{cancelled} 을 돌려드렸어요.",
    view_closed: "마감된 주문이에요",
    closed_text: "이 주문은 더 이상 결제할 수 없어요.",
    already_paid: "이미 결제된 주문이에요. 두 번 결제되지 않았으니 안심하세요.",
    reason: "사유: {reason}",

    account_title: "입금할 계좌",
    account_bank: "은행",
    account_number: "계좌번호",
    account_due: "입금 기한",
    korean_time: "{time} (한국 시간)",
    account_amount: "입금할 금액",
    copy: "복사",
    copied: "복사됨",
    deposit: "연습 은행에서 입금하기",
    order_name: "상품",
    order_amount: "주문 금액",
    order_paid: "결제된 금액",
    order_unaccepted: "받았지만 인정하지 않은 금액",
    order_cancelled: "취소된 금액",
    order_number: "주문번호",
    order_state: "주문 상태",
    state_version: "{state} · 버전 {version}",
    state_closed: "{state}, 마감 ({reason})",
    retry: "다시 결제하기",
    again: "같은 주문을 한 번 더 결제해 보기",
    another: "다른 주문 하기",

    timeline: "결제 타임라인",
    timeline_empty: "결제를 시작하면 여기에 무슨 일이 일어나는지 차례로 보여요.",
    latest: "마지막으로:",
    timeline_hint: "항목을 열면 근거를 볼 수 있어요.",
    evidence: "근거",
    actor_shop: "상점",
    actor_browser: "브라우저",
    actor_portone: "포트원",
    actor_service: "서비스",

    event_order_registered: "상점 서버가 주문을 등록했어요",
    event_order_refused: "서비스가 주문 등록을 거절했어요 ({status})",
    event_window_opened: "결제창이 열렸어요",
    event_window_chosen: "결제창에서 고른 결과: {outcome}",
    event_window_called_back: "결제창이 페이지에 결과를 알렸어요",
    event_window_not_confirmed: "confirm_url 이 승인을 막았어요: {reason}",
    event_window_redirected: "결제창이 브라우저를 서비스로 보냈어요",
    event_payment_changed: "포트원의 결제 상태: {status}",
    event_portone_look: "서비스가 포트원에 조회 → {answer}",
    event_portone_list: "서비스가 포트원의 결제 목록을 읽었어요",
    event_portone_prepare: "서비스가 결제 금액을 미리 등록했어요",
    event_portone_cancel: "서비스가 포트원에 취소를 요청했어요",
    event_webhook_sent: "포트원이 웹훅을 보냈어요",
    event_webhook_answered: "웹훅에 대한 답: {status} ({time} 뒤)",
    event_webhook_answered_never: "웹훅에 답이 없었어요 ({time} 동안 기다림)",
    event_webhook_failed: "웹훅이 닿지 않았어요 ({outcome})",
    event_notice_recorded: "서비스가 통지를 저장했어요 ({source}, {time} 안에)",
    event_notice_served: "새로 조회하지 않았어요: 앞선 조회가 이미 paid였어요",
    event_decision: "서비스의 판단: {state}",
    event_decision_problem: "서비스의 판단: {state} · {problems}",
    event_decision_none: "서비스의 판단: 바뀐 것 없음",
    event_order_version: "주문 버전 {version}: {state}",
    event_page_callback: "SDK 콜백: {result}",
    event_page_completion: "페이지가 /payment/complete를 불렀어요",
    event_page_completion_answered: "/payment/complete의 답: {status} ({time} 뒤)",
    event_page_completion_answered_never: "/payment/complete에 답이 없었어요 ({time} 동안 기다림)",
    event_page_returned: "브라우저가 상점으로 돌아왔어요 ({state})",
    result_success: "성공",
    look_nothing: "{status}",
    look_payment: "{state} {amount}",
    account_issued: "ready, 계좌 발급",
    test_channel: "테스트 채널",
    source_webhook: "웹훅",
    source_completion: "완료 호출",
    source_redirect: "리다이렉트",
  },
  en: {
    skip: "Skip to the content",
    shop: "Sunny Corner",
    sandbox_note: "Practice payments · no real money moves",
    checkout: "Checkout",
    choose: "What would you like?",
    quantity: "Quantity",
    less: "One less",
    more: "One more",
    buyer: "Your details",
    buyer_name: "Name",
    buyer_tel: "Phone",
    buyer_email: "E-mail",
    method: "Payment method",
    card: "Card",
    vbank: "Virtual account",
    kakaopay: "KakaoPay",
    trans: "Bank transfer",
    window: "How the payment window opens",
    window_auto: "By device",
    window_overlay: "On this page",
    window_popup: "As a pop-up",
    window_redirect: "By redirect",
    total: "Total",
    pay: "Pay",
    pay_amount: "Pay {amount}",
    registering: "Registering your order…",
    paying: "Please pay in the payment window.",
    checking: "Checking your payment…",
    no_service: "The service could not register the order. Please try again in a moment.",
    no_token: "The service does not show the order's state to this page: set CHECKOUT_SECRETS there.",

    view_loading: "Checking your order",
    view_unknown: "There is no such order",
    unknown_text: "Please check the order number.",
    view_waiting: "Checking your payment",
    waiting_text: "We are waiting for PortOne's answer. This page changes by itself.",
    view_unfinished: "The payment was not finished",
    unfinished_text: "Nothing has been paid yet. You can pay again.",
    view_paid: "Thank you, it is paid",
    paid_text: "Your order is on its way soon.",
    view_deposit: "Waiting for your deposit",
    deposit_text: "Transfer the amount to this account in time, and the order is yours.",
    view_failed: "The payment failed",
    failed_text: "Nothing has been paid. You can pay again.",
    view_mismatched: "The payment does not fit the order",
    mismatched_text:
      "The amount or currency that came in is not the order's, so nothing is sent. Somebody will look into it and write to you.",
    view_test: "That was a test payment",
    test_text: "It was made on a test channel, so no money moved and the order is not paid.",
    view_refunded: "The payment was refunded",
    refunded_text: "You have all your money back.",
    view_part_refunded: "A part was refunded",
    part_refunded_text: "You have {cancelled} back.",
    view_closed: "This order is closed",
    closed_text: "It cannot be paid any more.",
    already_paid: "This order is already paid. You were not charged twice.",
    reason: "Reason: {reason}",

    account_title: "Account to pay into",
    account_bank: "Bank",
    account_number: "Account number",
    account_due: "Due by",
    korean_time: "{time} (KST)",
    account_amount: "Amount",
    copy: "Copy",
    copied: "Copied",
    deposit: "Transfer it at the practice bank",
    order_name: "Item",
    order_amount: "Order amount",
    order_paid: "Paid",
    order_unaccepted: "Received, not accepted",
    order_cancelled: "Refunded",
    order_number: "Order number",
    order_state: "Order state",
    state_version: "{state} · version {version}",
    state_closed: "{state}, closed ({reason})",
    retry: "Pay again",
    again: "Try to pay the same order once more",
    another: "Place another order",

    timeline: "Payment timeline",
    timeline_empty: "Start a payment, and each thing that happens appears here.",
    latest: "Latest:",
    timeline_hint: "Open an entry to see its evidence.",
    evidence: "Evidence",
    actor_shop: "Shop",
    actor_browser: "Browser",
    actor_portone: "PortOne",
    actor_service: "Service",

    event_order_registered: "The shop's server registered the order",
    event_order_refused: "The service refused the order ({status})",
    event_window_opened: "The payment window opened",
    event_window_chosen: "Outcome chosen in the window: {outcome}",
    event_window_called_back: "The window told the page its result",
    event_window_not_confirmed: "The confirm_url held the approval back: {reason}",
    event_window_redirected: "The window sent the browser to the service",
    event_payment_changed: "PortOne's payment is {status}",
    event_portone_look: "The service looked at PortOne → {answer}",
    event_portone_list: "The service read PortOne's list of payments",
    event_portone_prepare: "The service registered the amount beforehand",
    event_portone_cancel: "The service asked PortOne for a refund",
    event_webhook_sent: "PortOne sent the webhook",
    event_webhook_answered: "The webhook was answered {status}, after {time}",
    event_webhook_answered_never: "The webhook was not answered within {time}",
    event_webhook_failed: "The webhook did not arrive ({outcome})",
    event_notice_recorded: "The service recorded a notice ({source}, within {time})",
    event_notice_served: "No new look: the look before had already said paid",
    event_decision: "The service decided: {state}",
    event_decision_problem: "The service decided: {state} · {problems}",
    event_decision_none: "The service decided: nothing changes",
    event_order_version: "Order version {version}: {state}",
    event_page_callback: "SDK callback: {result}",
    event_page_completion: "The page called /payment/complete",
    event_page_completion_answered: "/payment/complete was answered {status}, after {time}",
    event_page_completion_answered_never: "/payment/complete was not answered within {time}",
    event_page_returned: "The browser came back to the shop ({state})",
    result_success: "success",
    look_nothing: "{status}",
    look_payment: "{state} {amount}",
    account_issued: "ready, account issued",
    test_channel: "test channel",
    source_webhook: "webhook",
    source_completion: "completion call",
    source_redirect: "redirect",
  },
};

const STORED = "shop-language";
const changed = [];

let language = startLanguage();

/** The language of `?lang=`, which then stays, or the one chosen before, or the browser's own. */
function startLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  if (asked in TEXTS) sessionStorage.setItem(STORED, asked);
  return sessionStorage.getItem(STORED) ?? (navigator.language.startsWith("ko") ? "ko" : "en");
}

export function currentLanguage() {
  return language;
}

export function text(key, values = {}) {
  const pattern = TEXTS[language][key] ?? key;
  return pattern.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Call `write` now and whenever the language changes: for what a page writes itself. */
export function onLanguage(write) {
  changed.push(write);
  write();
}

/** Write every text that the page's HTML names, and let the button at the top change the language. */
export function keepWritten() {
  document.getElementById("language").addEventListener("click", () => {
    language = language === "ko" ? "en" : "ko";
    sessionStorage.setItem(STORED, language);
    writeAll();
  });
  writeAll();
}

function writeAll() {
  document.documentElement.lang = language;
  document.title = `${text("checkout")} · ${text("shop")}`;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
  const button = document.getElementById("language");
  button.textContent = language === "ko" ? "English" : "한국어";
  button.lang = language === "ko" ? "en" : "ko";
  for (const write of changed) write();
}

/** An order's state, and why it takes no more payments: a withdrawn order's state alone would read "pending". */
export function stateText({ state, closed }) {
  return closed ? text("state_closed", { state, reason: closed }) : state;
}

/** An amount in the currency's smallest unit, as the service counts, written for people. */
export function money(amount, currency) {
  const format = new Intl.NumberFormat(language === "ko" ? "ko-KR" : "en-US", { style: "currency", currency });
  const decimals = format.resolvedOptions().maximumFractionDigits;
  if (currency === "KRW" && language === "ko") return `${new Intl.NumberFormat("ko-KR").format(amount)}원`;
  return format.format(amount / 10 ** decimals);
}

/** An amount in the currency's own unit, as PortOne's V1 writes it. */
export function wireMoney(amount, currency) {
  const decimals = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  return money(Math.round(amount * 10 ** decimals), currency);
}

/** A time in Korea, where the bank is. The zone is named, because the browser may be elsewhere. */
export function dateTime(seconds) {
  const format = { dateStyle: "long", timeStyle: "short", timeZone: "Asia/Seoul" };
  const written = new Intl.DateTimeFormat(language === "ko" ? "ko-KR" : "en-GB", format).format(new Date(seconds * 1000));
  return text("korean_time", { time: written });
}
