// The return page: what became of an order. The address only hints. The state is what the service says to this page;
// the shop's back end adds what only the shop may read, such as the account for a deposit.

import { readGoods, readOrder } from "./backend.js";
import { followState } from "./checkout_state.js";
import { pay } from "./payment.js";
import { dateTime, keepWritten, money, onLanguage, stateText, text } from "./texts.js";
import { followOrder } from "./timeline.js";

const query = new URLSearchParams(location.search);
const merchantUid = query.get("merchant_uid") ?? "";
const hint = history.state?.hint ?? readHint();
const RETRY_VIEWS = ["failed", "unfinished", "waiting"];

let state = null;
let order = null;
let checkout = null;
let missing = false;

keepWritten();
const { service_url: serviceUrl } = await readGoods();
forgetHintInAddress();
onLanguage(write);
document.getElementById("again").addEventListener("click", payAgain);
document.getElementById("copy").addEventListener("click", copyNumber);
await readDetails();
write();
if (!missing) {
  followOrder(merchantUid);
  followState(serviceUrl, merchantUid, take).then(() => show("message", text("no_token")));
}

function readHint() {
  return { state: query.get("state"), reason: query.get("reason"), message: query.get("message") ?? query.get("error_msg") };
}

/** The hint goes into the history entry, so that a reload does not count as another return. */
function forgetHintInAddress() {
  const address = `/shop/return?${new URLSearchParams({ merchant_uid: merchantUid })}`;
  history.replaceState({ hint }, "", address);
}

/** Show a new state, together with the details that belong to it. */
async function take(changed) {
  await readDetails();
  state = changed;
  write();
}

async function readDetails() {
  const { status, body } = await readOrder(merchantUid).catch(() => ({ status: 0 }));
  missing = status === 404;
  if (status === 200) ({ order, checkout } = body);
}

function viewOf() {
  if (missing) return "unknown";
  if (!state) return "loading";
  switch (state.state) {
    case "paid":
      return "paid";
    case "awaiting_deposit":
      return "deposit";
    case "partially_cancelled":
      return "part_refunded";
    case "cancelled":
      return "refunded";
    case "mismatched":
      return "mismatched";
    case "failed":
      return state.closed ? "closed" : "failed";
    default:
      return pendingView();
  }
}

/** No money is known of. Whether one waits or tries again is for the address's hint to say. */
function pendingView() {
  if (order?.problems.some((problem) => problem.kind === "test_channel")) return "test";
  if (state.closed) return "closed";
  return hint.message != null || hint.reason === "window-open" || hint.state === "failed" ? "unfinished" : "waiting";
}

function write() {
  const view = viewOf();
  const result = document.getElementById("result");
  result.dataset.view = view;
  document.title = `${text(`view_${view}`)} · ${text("shop")}`;
  show("result-title", text(`view_${view}`));
  show("result-text", view === "loading" ? "" : text(`${view}_text`, amounts()));
  show("result-reason", reason(view));
  writeFacts();
  writeAccount(view);
  const again = document.getElementById("again");
  again.hidden = view !== "paid" && !RETRY_VIEWS.includes(view);
  again.className = view === "paid" ? "" : "primary";
  again.textContent = text(view === "paid" ? "again" : "retry");
}

function reason(view) {
  const told = order?.payment?.details?.fail_reason ?? hint.message;
  return (view === "failed" || view === "unfinished") && told ? text("reason", { reason: told }) : "";
}

function amounts() {
  return order ? { cancelled: money(order.cancelled_amount, order.currency) } : {};
}

function writeFacts() {
  document.getElementById("facts").hidden = !(order && state);
  if (!order || !state) return;
  showRow("order-name", order.name);
  show("order-amount", money(order.amount, order.currency));
  show("order-paid", money(order.paid_amount, order.currency));
  showRow("order-unaccepted", unaccepted());
  showRow("order-cancelled", order.cancelled_amount && money(order.cancelled_amount, order.currency));
  show("order-number", order.merchant_uid);
  show("order-state", text("state_version", { state: stateText(state), version: state.version }));
}

/** Money that PortOne holds for the order though it does not fit it, as `order.paid_amount` does not count it. */
function unaccepted() {
  const { payment } = order;
  if (state.state !== "mismatched" || !["paid", "cancelled"].includes(payment?.status)) return "";
  const left = payment.amount - payment.cancelled_amount;
  return left > 0 ? money(left, payment.currency) : "";
}

function writeAccount(view) {
  document.getElementById("account").hidden = view !== "deposit";
  if (view !== "deposit") return;
  const { vbank_name, vbank_num, vbank_date } = order?.payment?.details ?? {};
  show("account-bank", vbank_name ?? "");
  show("account-number", vbank_num ?? "");
  show("account-due", vbank_date ? dateTime(vbank_date) : "");
  show("account-amount", order ? money(order.amount, order.currency) : "");
  document.getElementById("deposit").href = `/v1/deposits/${encodeURIComponent(order?.payment?.imp_uid ?? "all")}`;
}

async function copyNumber() {
  await navigator.clipboard.writeText(document.getElementById("account-number").textContent);
  show("copy", text("copied"));
}

function payAgain() {
  pay({ checkout, buyer: {}, serviceUrl }, (what) => {
    const message = document.getElementById("message");
    message.hidden = what !== "already-paid";
    message.textContent = what === "already-paid" ? text("already_paid") : "";
  });
}

/** A fact with its label; without content the whole row goes. */
function showRow(id, content) {
  const element = document.getElementById(id);
  element.textContent = content;
  element.parentElement.hidden = !content;
}

function show(id, content) {
  const element = document.getElementById(id);
  element.textContent = content;
  element.hidden = !content;
}
