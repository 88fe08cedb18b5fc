// Every sentence of the window's pages, in Korean and English, and the writing of amounts and times.

const TEXTS = {
  window_title: ["결제창", "Payment window"],
  certification_title: ["본인인증", "Identity check"],
  sandbox_note: ["연습 결제창 · 실제 돈은 오가지 않아요", "Practice window · no real money moves"],
  close: ["결제창 닫기", "Close the window"],
  other_language: ["English", "한국어"],
  steps: ["결제 단계", "Steps of the payment"],
  step_provider: ["결제수단", "Method"],
  step_company: ["카드사", "Card company"],
  step_authentication: ["인증", "Authentication"],
  step_approval: ["승인", "Approval"],
  order: ["주문", "Order"],
  order_number: ["주문번호", "Order number"],
  amount: ["결제금액", "Amount"],
  choose_company: ["어느 카드로 결제할까요?", "Which card would you like to use?"],
  choose_bank: ["어느 은행을 쓸까요?", "Which bank would you like to use?"],
  company_page: ["{name} 결제", "Pay with {name}"],
  company_text: ["카드사의 결제 화면이에요. 인증 방법을 고르세요.", "This is the card company's own page. Choose how to prove that it is you."],
  way_simple: ["앱카드 · 간편결제", "App card · simple pay"],
  way_simple_text: ["미리 등록한 카드와 결제 비밀번호 6자리", "A card registered before, and its six-digit password"],
  way_isp: ["일반결제 · ISP 인증", "Ordinary payment · ISP"],
  way_isp_text: ["미리 등록한 인증서와 비밀번호", "A certificate registered before, and its password"],
  way_mpi: ["일반결제 · 안심클릭(MPI)", "Ordinary payment · MPI"],
  way_mpi_text: ["카드번호, CVC, 안심클릭 비밀번호", "Card number, CVC and password"],
  simple_title: ["간편결제 비밀번호", "Simple pay password"],
  isp_title: ["ISP 인증", "ISP authentication"],
  mpi_title: ["안심클릭 인증", "MPI authentication"],
  phone_title: ["휴대폰 인증", "Phone authentication"],
  bank_title: ["계좌 인증", "Account authentication"],
  certificate: ["인증서", "Certificate"],
  certificate_name: ["홍길동 · {name} · 2030년까지", "Hong Gildong · {name} · until 2030"],
  password: ["비밀번호", "Password"],
  pin: ["결제 비밀번호 6자리", "Six-digit password"],
  card_number: ["카드번호", "Card number"],
  cvc: ["CVC", "CVC"],
  mpi_password: ["안심클릭 비밀번호", "MPI password"],
  phone_number: ["휴대폰 번호", "Phone number"],
  phone_code: ["인증번호", "Code"],
  account_number: ["계좌번호", "Account number"],
  full_name: ["이름", "Name"],
  nothing_sent: ["아무 값이나 괜찮아요. 적은 값은 이 화면을 떠나지 않아요.", "Any value will do. What you enter does not leave this page."],
  pay: ["{amount} 결제하기", "Pay {amount}"],
  issue: ["가상계좌 발급받기", "Get an account to pay into"],
  certify: ["본인인증 마치기", "Finish the identity check"],
  back: ["이전", "Back"],
  approving: ["승인을 요청하고 있어요 …", "Asking for approval …"],
  autopilot: ["자동 진행: {outcome}", "Autopilot: {outcome}"],
  done_paid: ["결제가 끝났어요", "The payment is done"],
  done_issued: ["가상계좌가 발급됐어요", "Your account is ready"],
  done_certified: ["본인인증이 끝났어요", "The identity check is done"],
  done_failed: ["결제하지 못했어요", "The payment failed"],
  deposit_link: ["나중에 입금하는 화면", "The page for paying in later"],
  to_shop: ["상점으로 돌아가기", "Back to the shop"],
  close_this: ["이 창을 닫아 주세요.", "Please close this window."],
  gone: ["이 결제창은 더 이상 없어요.", "This window is no more."],
  outcomes_title: ["어떻게 끝낼까요?", "How shall it end?"],
  outcomes_text: ["샌드박스에서만 보이는 버튼이에요. 누르면 바로 그렇게 끝나요.", "Only the sandbox has these buttons. Each ends the payment at once."],
  outcomes_over: ["결제창이 끝났어요", "This window has ended"],
  outcomes_over_text: [
    "한 창은 한 번만 끝나요. 다르게 끝내 보려면 상점으로 돌아가 다시 결제하세요.",
    "A window ends once. To try another outcome, go back to the shop and pay again.",
  ],
  popup_open: ["결제창이 새 창에서 열렸어요", "The payment window is open"],
  popup_open_text: ["새 창에서 결제를 마치면 이 화면은 저절로 닫혀요.", "This note closes by itself when you are done there."],
  popup_focus: ["새 창 보기", "Show it"],
  popup_cancel: ["결제 그만두기", "Stop paying"],
  practice_bank: ["연습 은행", "Practice bank"],
  no_real_money: ["실제 돈은 오가지 않아요", "No real money moves"],
  deposit_title: ["가상계좌 입금", "Pay into the account"],
  deposit_none: ["입금을 기다리는 계좌가 없어요.", "No account waits for a deposit."],
  deposit_now: ["{amount} 입금하기", "Pay in {amount}"],
  deposit_done: ["입금했어요. 상점에 웹훅으로 알렸어요.", "Paid in. The shop is told by a webhook."],
  bank: ["은행", "Bank"],
  holder: ["예금주", "Holder"],
  due: ["입금기한", "Due by"],
  korean_time: ["{time} (한국 시간)", "{time} (KST)"],
  fail_title: ["결제 결과를 받을 곳이 없어요", "There is nowhere to take the result"],
  fail_text: [
    "결제창이 화면을 옮기는 방식으로 열렸는데, 상점이 m_redirect_url을 주지 않았어요. 실제 포트원에서도 이때 결과는 사라져요.",
    "This window opened by a redirect, and the shop gave no m_redirect_url. With PortOne too the result is then lost.",
  ],
  certification_paid: ["인증 완료", "Identity proven"],
  certification_paid_text: ["결제는 생기지 않아요", "No payment is made"],
  certification_failed: ["인증 실패", "Identity not proven"],
  certification_failed_text: ["통신사가 아니라고 해요", "The phone company says no"],
  certification_closed: ["창 닫기", "Window closed"],
  certification_closed_text: ["본인인증을 그만둬요", "The person gives up"],
};

let language = "ko";

/** The page's `language`, else the browser's: Korean for Korean, English for the others. */
export function chooseLanguage(wished) {
  const code = String(wished ?? navigator.language).toLowerCase();
  setLanguage(code.startsWith("ko") ? "ko" : "en");
}

export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
}

export function currentLanguage() {
  return language;
}

export function text(key, values = {}) {
  const [ko, en] = TEXTS[key];
  return (language === "ko" ? ko : en).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Write the texts of every element that names one. */
export function write(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", text(element.dataset.label));
}

export function money(amount, currency) {
  const options = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
  try {
    const written = new Intl.NumberFormat(language, options).format(amount);
    return currency === "KRW" && language === "ko" ? `${new Intl.NumberFormat("ko").format(amount)}원` : written;
  } catch {
    return `${amount} ${currency}`;
  }
}

/** A time in Korea, which is named, because the browser may be elsewhere. */
export function dateTime(seconds) {
  const options = { dateStyle: "long", timeStyle: "short", timeZone: "Asia/Seoul" };
  const written = new Intl.DateTimeFormat(language === "ko" ? "ko-KR" : "en-GB", options).format(new Date(seconds * 1000));
  return text("korean_time", { time: written });
}
