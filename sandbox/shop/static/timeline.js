// The live timeline: an order's events as they come, sorted by the time at which each happened.

import { eventsPath } from "./backend.js";
import { outcomeName } from "/v1/static/outcome_texts.js";
import { currentLanguage, onLanguage, stateText, text, wireMoney } from "./texts.js";

// The first that an event's kind begins with. An answer is the service's, though the caller tells of it.
const ACTORS = {
  webhook_answered: "service",
  page_completion_answered: "service",
  order_registered: "shop",
  window_: "portone",
  page_: "browser",
  payment_: "portone",
  webhook_: "portone",
  portone_: "service",
  notice_: "service",
  decision: "service",
  order_: "service",
};

const list = document.getElementById("timeline");
const events = [];
let source = null;
let written = false;

/** Show an order's events from now on; `told` is called with each as it comes. */
export function followOrder(merchantUid, told = () => {}) {
  source?.close();
  events.length = 0;
  list.replaceChildren();
  source = new EventSource(eventsPath(merchantUid));
  source.addEventListener("message", ({ data }) => {
    const event = JSON.parse(data);
    if (events.some((known) => known.number === event.number)) return;
    add(event);
    told(event);
  });
  if (!written) onLanguage(writeAgain);
  written = true;
}

/** The story's last sentence, for a phone, where the timeline is below the result. */
function writeLatest() {
  const latest = document.getElementById("latest");
  if (!latest || !events.length) return;
  latest.hidden = false;
  latest.querySelector("a").textContent = `${title(events.at(-1))} ↓`;
}

function writeAgain() {
  writeLatest();
  if (events.length) document.getElementById("timeline-hint").textContent = text("timeline_hint");
  [...list.children].forEach((item, index) => writeTexts(item, events[index]));
}

function add(event) {
  const later = events.findIndex((one) => one.at > event.at || (one.at === event.at && one.number > event.number));
  const index = later < 0 ? events.length : later;
  events.splice(index, 0, event);
  const item = newItem(event);
  const followed = isAtEnd();
  list.insertBefore(item, list.children[index] ?? null);
  if (followed) list.scrollTop = list.scrollHeight;
  document.getElementById("timeline-hint").textContent = text("timeline_hint");
  writeLatest();
}

/** Whether the end of the list is in view, so that it follows the story; somebody who reads further up stays there. */
function isAtEnd() {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 40;
}

function newItem(event) {
  const item = document.createElement("li");
  item.dataset.kind = event.kind;
  const key = event.kind.replace(".", "_");
  item.dataset.actor = ACTORS[Object.keys(ACTORS).find((start) => key.startsWith(start))] ?? "portone";
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const parts = ["actor", "title"].map((name) => Object.assign(document.createElement("span"), { className: name }));
  const time = Object.assign(document.createElement("time"), { dateTime: new Date(event.at * 1000).toISOString() });
  summary.append(time, " ", parts[0], " ", parts[1]); // spaces, because a screen reader reads them as one text
  const evidence = document.createElement("pre");
  evidence.tabIndex = 0;
  evidence.textContent = JSON.stringify(event.evidence, null, 2);
  details.append(summary, evidence);
  item.append(details);
  writeTexts(item, event);
  return item;
}

function writeTexts(item, event) {
  item.querySelector("time").textContent = clock(event.at);
  item.querySelector(".actor").textContent = text(`actor_${item.dataset.actor}`);
  item.querySelector(".title").textContent = title(event);
  item.querySelector("pre").setAttribute("aria-label", text("evidence"));
}

function clock(at) {
  const date = new Date(at * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const milliseconds = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}

function title({ kind, evidence }) {
  const key = `event_${kind.replace(".", "_")}`;
  switch (kind) {
    case "order.registered": {
      const status = evidence.answer_status;
      return text(status < 300 ? "event_order_registered" : "event_order_refused", { status });
    }
    case "payment.changed":
      return text("event_payment_changed", { status: paymentState(evidence) });
    case "portone.look":
      return text("event_portone_look", { answer: lookAnswer(evidence) });
    case "webhook.sent":
      return ["delivered", "failed"].includes(evidence.outcome)
        ? text(key)
        : text("event_webhook_failed", { outcome: evidence.outcome });
    case "webhook.answered":
    case "page.completion_answered":
      return answered(key, evidence);
    case "notice.recorded":
      return text(key, { source: text(`source_${evidence.source}`), time: duration(evidence.within_seconds) });
    case "decision":
      return decision(evidence);
    case "page.callback":
      return text("event_page_callback", { result: callbackResult(evidence) });
    case "window.chosen":
      return text(key, { outcome: outcomeName(evidence.outcome, currentLanguage()) });
    case "order.version":
      return text(key, { version: evidence.version, state: stateText(evidence) });
    default:
      return text(key, evidence);
  }
}

/** An answer with the time that its caller waited; a call without a status was not answered. */
function answered(key, { answer_status: status, seconds }) {
  return text(status ? key : `${key}_never`, { status, time: duration(seconds) });
}

function duration(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}

function paymentState({ status, amount, currency, sandbox, vbank_num }) {
  const name = status === "ready" && vbank_num ? text("account_issued") : status;
  return [name, wireMoney(amount, currency), sandbox && text("test_channel")].filter(Boolean).join(" · ");
}

function lookAnswer({ answer_status, payments }) {
  const [payment] = payments;
  return payment ? paymentState(payment) : String(answer_status);
}

function decision({ changed, state, closed, problems }) {
  if (!changed) return text("event_decision_none");
  const kinds = (problems ?? []).map((problem) => problem.kind).join(", ");
  return text(kinds ? "event_decision_problem" : "event_decision", { state: stateText({ state, closed }), problems: kinds });
}

function callbackResult({ error_code, error_msg, success }) {
  const failed = error_code != null || success === false;
  return failed ? [error_code, error_msg].filter(Boolean).join(" ") : text("result_success");
}
