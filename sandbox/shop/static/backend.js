// The calls of the shop's pages: to the shop's own back end, and the one call to the service that a browser makes.

async function call(path, body) {
  const request = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, request);
  return { status: answer.status, body: await answer.json().catch(() => ({})) };
}

const orderPath = (merchantUid) => `/shop/api/orders/${encodeURIComponent(merchantUid)}`;

export const readGoods = async () => (await call("/shop/api/goods")).body;
export const registerOrder = (choice) => call("/shop/api/orders", choice);
export const readOrder = (merchantUid) => call(orderPath(merchantUid));
export const eventsPath = (merchantUid) => `${orderPath(merchantUid)}/events`;

/** Tell the timeline what this page saw, and when. The payment goes on whether or not it is told. */
export function report(merchantUid, kind, evidence, at = Date.now() / 1000) {
  call(`${orderPath(merchantUid)}/seen`, { kind, evidence, at }).catch(() => {});
}

/** The guide's call: tell the service which payment to look at, and learn the verified state. */
export async function completePayment(serviceUrl, impUid, merchantUid) {
  const began = Date.now() / 1000;
  let completed;
  try {
    completed = await call(`${serviceUrl}/payment/complete`, { imp_uid: impUid, merchant_uid: merchantUid });
  } catch {
    completed = { status: 0, body: {} };
  }
  const evidence = { answer_status: completed.status, answer: completed.body, seconds: Date.now() / 1000 - began };
  report(merchantUid, "page.completion", evidence, began);
  return completed;
}
