// The state of an order as the service says it to this page: with the order's token, and as it changes.

import { renewToken } from "./backend.js";

// Longer would do as well. After a lost connection the page asks again within this time.
const WAIT_SECONDS = 5;
const PAUSE_MS = 2000;

const nameOf = (merchantUid) => `checkout_token ${merchantUid}`;
const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Keep a token for this tab, also while it is at the payment window's page. It is never part of an address. */
export const keepToken = (merchantUid, token) => token && sessionStorage.setItem(nameOf(merchantUid), token);

/** Call `changed` with the order's state now and with each later one. Ends where the service gives no token. */
export async function followState(serviceUrl, merchantUid, changed) {
  let known = "";
  let token = sessionStorage.getItem(nameOf(merchantUid));
  let renewed = false;
  for (;;) {
    if (!token) {
      if (renewed) return;
      renewed = true;
      token = await renewToken(merchantUid).catch(() => null);
      keepToken(merchantUid, token);
      continue;
    }
    const began = performance.now();
    const answer = await ask(serviceUrl, merchantUid, token, known).catch(() => null);
    if (answer?.status === 401) {
      token = null;
    } else if (answer?.status === 200) {
      [known, renewed] = [answer.headers.get("ETag"), false];
      await changed(await answer.json());
    } else if (answer?.status !== 304 || performance.now() - began < PAUSE_MS) {
      await pause(); // the service is away or busy
    }
  }
}

function ask(serviceUrl, merchantUid, token, known) {
  const headers = { Authorization: `Bearer ${token}` };
  if (known) Object.assign(headers, { "If-None-Match": known, Prefer: `wait=${WAIT_SECONDS}` });
  return fetch(`${serviceUrl}/checkout/${encodeURIComponent(merchantUid)}`, { headers });
}
