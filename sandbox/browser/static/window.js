// The payment window: shows the way of a payment, lets one choose how it ends, and takes the result to the page.

import { readJson, sendJson } from "./http.js";
import { writeOutcomes } from "./outcomes.js";
import { firstStep, stepNames, stepView } from "./steps.js";
import { chooseLanguage, currentLanguage, money, setLanguage, text, write } from "./texts.js";

const address = location.pathname;
const requestId = decodeURIComponent(location.hash.slice(1));
let shown = null;
let step = null;
let ended = null;

document.getElementById("language").addEventListener("click", () => {
  setLanguage(currentLanguage() === "ko" ? "en" : "ko");
  draw();
});
document.getElementById("close").addEventListener("click", () => end("closed"));
window.addEventListener("keydown", (event) => event.key === "Escape" && end("closed"));
await begin();

async function begin() {
  try {
    shown = await readJson(`${address}/state`);
  } catch {
    chooseLanguage();
    step = { name: "gone" };
    shown = null;
    drawNote(text("gone"));
    return;
  }
  document.body.classList.add(shown.mode);
  chooseLanguage(shown.language);
  step = firstStep(shown);
  draw();
  if (shown.over || shown.autopilot) await end(shown.autopilot ?? "closed");
}

function draw() {
  write(document);
  const title = text(shown.kind === "payment" ? "window_title" : "certification_title");
  document.title = title;
  document.getElementById("provider").textContent = `${shown.provider[currentLanguage()]} ${title}`;
  const other = document.getElementById("language");
  other.textContent = text("other_language");
  other.lang = currentLanguage() === "ko" ? "en" : "ko";
  drawSteps();
  drawOrder();
  document.getElementById("step").replaceChildren(...stepView(step, shown, { go, end: endByBuyer, leave }));
  writeOutcomes(shown, ended !== null, end);
  document.getElementById("panes").hidden = false;
}

function drawSteps() {
  const names = stepNames(shown);
  const current = names.includes(step.name) ? step.name : "approval";
  const items = names.map((name) => {
    const item = document.createElement("li");
    item.textContent = text(`step_${name}`);
    if (name === current) item.setAttribute("aria-current", "step");
    return item;
  });
  document.getElementById("steps").replaceChildren(...items);
}

function drawOrder() {
  const rows = [["order_number", shown.merchant_uid]];
  if (shown.name) rows.unshift(["order", shown.name]);
  if (shown.kind === "payment") rows.push(["amount", money(shown.amount, shown.currency)]);
  const parts = rows.map(([key, value]) => {
    const row = document.createElement("div");
    row.append(
      Object.assign(document.createElement("dt"), { textContent: text(key) }),
      Object.assign(document.createElement("dd"), { textContent: value, className: `fact-${key}` }),
    );
    return row;
  });
  document.getElementById("order").replaceChildren(...parts);
}

function go(next) {
  step = next;
  draw();
  document.querySelector("#step h1")?.focus();
}

/** The buyer has gone the whole way: show the result, and let the buyer go back. */
async function endByBuyer(outcome) {
  go({ name: "approving" });
  const result = await settle(outcome);
  if (result) go({ name: "result", outcome, ...result });
}

/** A button of the sandbox: no more to see, back at once. */
async function end(outcome) {
  if (ended) {
    leave();
    return;
  }
  step = { name: "approving", outcome: shown.autopilot };
  draw();
  if (await settle(outcome)) leave();
}

async function settle(outcome) {
  for (const button of document.querySelectorAll("#outcomes button")) button.disabled = true;
  try {
    ended = await sendJson(`${address}/outcome`, { outcome });
  } catch (error) {
    drawNote(error.message);
    return null;
  }
  return ended;
}

function leave() {
  if (shown.mode === "redirect") {
    location.replace(`${address}/return`);
    return;
  }
  if (shown.mode === "popup") {
    window.close();
    drawNote(text("close_this"));
    return;
  }
  const message = { from: "iamport-core", action: "done", data: { ...ended.data, request_id: requestId } };
  window.parent.postMessage(JSON.stringify(message), shown.page_origin === "null" ? "*" : shown.page_origin);
}

function drawNote(sentence) {
  document.getElementById("panes").hidden = false;
  const note = Object.assign(document.createElement("p"), { className: "hint", role: "alert", textContent: sentence });
  document.getElementById("step").replaceChildren(note);
}
