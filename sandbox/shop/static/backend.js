// The calls of the shop's pages: to the shop's own back end, and the guide's call to the service.

async function call(path, body, settings = {}) {
  const request = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...settings,
  };
  const answer = await fetch(path, request);
  return { status: answer.status, body: await answer.json().catch(() => ({})) };
}

const orderPath = (merchantUid) => `/shop/api/orders/${encodeURIComponent(merchantUid)}`;

export const readGoods = async () => (await call("/shop/api/goods")).body;
export const registerOrder = (choice) => call("/shop/api/orders", choice);
export const readOrder = (merchantUid) => call(orderPath(merchantUid));
export const renewToken = async (merchantUid) => (await call(`${orderPath(merchantUid)}/token`, {})).body.checkout_token;
export const eventsPath = (merchantUid) => `${orderPath(merchantUid)}/events`;

/** Tell the timeline what this page saw. The payment goes on whether or not it is told, also when the page is left. */
export function report(merchantUid, kind, evidence) {
  call(`${orderPath(merchantUid)}/seen`, { kind, evidence, at: Date.now() / 1000 }, { keepalive: true }).catch(() => {});
}

/** The guide's call: tell the service which payment to look at, and learn the verified state. */
export async function completePayment(serviceUrl, impUid, merchantUid) {
  const [path, body, began] = ["/payment/complete", { imp_uid: impUid, merchant_uid: merchantUid }, performance.now()];
  report(merchantUid, "page.completion", { call: `POST ${path}`, body });
  const nothing = { status: 0, body: {} };
  const completed = await call(serviceUrl + path, body).catch(() => nothing);
  const seconds = (performance.now() - began) / 1000;
  const evidence = { answer_status: completed.status, answer: completed.body, seconds };
  report(merchantUid, "page.completion_answered", evidence);
  return completed;
}
