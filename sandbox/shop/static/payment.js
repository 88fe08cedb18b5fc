// One attempt to pay an order: the SDK's window, then the service's verdict. As PortOne's guide has it.

import { completePayment, report } from "./backend.js";
import { currentLanguage } from "./texts.js";

const ALREADY_PAID = "F1002";

IMP.init("imp00000000");

/**
 * Open the payment window; `mode` is `auto`, or how it opens whatever the device and the provider. `told` is called with `checking` when the window has closed, with `already-paid` when
 * PortOne refuses to open it for a paid order. In redirect mode the browser leaves this page and nothing is called.
 */
export function pay({ checkout, buyer, serviceUrl, mode = "auto" }, told) {
  const request = { ...checkout, ...buyer, language: currentLanguage(), m_redirect_url: `${serviceUrl}/payment-redirect` };
  if (mode !== "auto") request.sandbox = { window: mode }; // the stand-in's own; PortOne leaves it to device and provider
  IMP.request_pay(request, async (response) => {
    report(checkout.merchant_uid, "page.callback", response);
    if (response.error_code === ALREADY_PAID) {
      told("already-paid");
      return;
    }
    told("checking");
    leaveFor(checkout.merchant_uid, await verdict(response, checkout.merchant_uid, serviceUrl));
  });
}

/**
 * What the shop's next page is told. After a failure too the service is asked, because it may know better than the
 * window: `error_code` is the browser's word, PortOne's answer is the fact.
 */
async function verdict(response, merchantUid, serviceUrl) {
  const failure = failureOf(response);
  if (!response.imp_uid) return { state: "failed", message: failure ?? "" };
  const { status, body } = await completePayment(serviceUrl, response.imp_uid, merchantUid);
  const said = failure ? { message: failure } : {};
  if (status === 200) return { state: body.state, ...said };
  if (status === 400) return { state: "failed", reason: String(body.type ?? "").split(":").pop(), ...said };
  return { state: "pending", reason: body.reason ?? "not-answered", ...said };
}

function failureOf(response) {
  const failed = response.error_code != null || response.success === false || response.imp_success === false;
  return failed ? (response.error_msg ?? "") : null;
}

function leaveFor(merchantUid, hint) {
  location.assign(`/shop/return?${new URLSearchParams({ merchant_uid: merchantUid, ...hint, via: "callback" })}`);
}
