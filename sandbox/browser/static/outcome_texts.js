// The outcomes of a payment window by their codes, each with one name: for the window's buttons and the shop's timeline.

export const OUTCOMES = {
  paid: {
    name: ["결제 완료", "Paid"],
    text: ["승인되고 웹훅이 나가요", "Approved, and a webhook is sent"],
  },
  vbank_issued: {
    name: ["가상계좌 발급", "Virtual account issued"],
    text: ["아직 입금 전, 나중에 입금할 수 있어요", "Nothing is paid yet; pay in later"],
  },
  failed: {
    name: ["결제 실패", "Failed"],
    text: ["카드사가 승인을 거절해요", "The card company refuses"],
  },
  closed: {
    name: ["창 닫기", "Closed"],
    text: ["구매자가 결제를 그만둬요", "The buyer gives up"],
  },
  tampered_amount: {
    name: ["금액 변조", "Tampered amount"],
    text: ["상점의 가격보다 적게 결제돼요", "Less is paid than the shop's price"],
  },
  tampered_currency: {
    name: ["통화 변조", "Tampered currency"],
    text: ["다른 통화로 결제돼요", "It is paid in another currency"],
  },
  test_channel: {
    name: ["테스트 채널", "Test channel"],
    text: ["결제된 듯 보이지만 돈은 없어요", "Looks paid, but no money moves"],
  },
  slow: {
    name: ["늦은 승인", "Slow"],
    text: ["브라우저가 먼저 알고, 승인은 몇 초 뒤", "Approved seconds after the browser was told"],
  },
  paid_without_webhook: {
    name: ["웹훅 없이 결제", "Paid without webhook"],
    text: ["결제되지만 웹훅이 오지 않아요", "Paid, but no webhook ever comes"],
  },
  webhook_first: {
    name: ["웹훅 먼저", "Webhook first"],
    text: ["웹훅 응답 뒤에 브라우저에 알려요", "The browser is told after the webhook's answer"],
  },
  callback_first: {
    name: ["콜백 먼저", "Callback first"],
    text: ["웹훅은 몇 초 뒤에 나가요", "The webhook is sent seconds later"],
  },
  paid_then_refunded: {
    name: ["결제 후 환불", "Paid, then refunded"],
    text: ["결제되고 몇 초 뒤 전액 환불돼요", "Refunded in full seconds later"],
  },
};

/** An outcome's name in Korean or English. */
export function outcomeName(outcome, language) {
  return OUTCOMES[outcome].name[language === "ko" ? 0 : 1];
}

/** What an outcome does, in Korean or English. */
export function outcomeText(outcome, language) {
  return OUTCOMES[outcome].text[language === "ko" ? 0 : 1];
}
