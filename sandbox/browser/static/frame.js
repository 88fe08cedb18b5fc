// A channel's hidden frame: takes the SDK's requests, and opens windows at the sandbox, whose origin it shares.

import { readJson, sendJson } from "./http.js";
import { chooseLanguage, write } from "./texts.js";

const query = new URLSearchParams(location.search);
let page = "*";
let opened = null;
let closedEarly = false;

window.addEventListener("message", (event) => {
  if (event.source !== window.parent) return;
  const message = parse(event.data);
  if (message?.from !== "iamport-sdk") return;
  page = /^https?:/.test(event.origin) ? event.origin : "null";
  if (message.action === "request") open(message).catch((error) => tell({ action: "broken", reason: String(error.message) }));
  if (message.action === "popup_closed") tellResult(message.request_id);
});
document.getElementById("focus").addEventListener("click", () => tell({ action: "focus_popup" }));
document.getElementById("cancel").addEventListener("click", () => tell({ action: "close_popup" }));
await begin();

async function begin() {
  if (query.get("channel")) {
    tell({ action: "ready" });
    return;
  }
  const { channels, strict } = await readJson(`/v1/channels?${query}`);
  tell({ action: "ready", channels, strict });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A page that was opened from a file has no origin that a message can be addressed to. */
function tell(message) {
  window.parent.postMessage(JSON.stringify({ from: "iamport-core", ...message }), page === "null" ? "*" : page);
}

async function open({ action, from, version, request_id: requestId, ...asked }) {
  const answer = await sendJson("/v1/windows", { ...asked, page_origin: page });
  if (!answer.window) {
    tell({ action: "close_popup" });
    tell({ action: "done", before: true, redirect_url: answer.redirect_url, data: { ...answer.data, request_id: requestId } });
    return;
  }
  opened = answer.window;
  const url = new URL(answer.url, location.href);
  url.hash = requestId;
  if (asked.mode === "overlay") location.replace(url);
  else tell({ action: asked.mode, url: url.href });
  if (asked.mode === "popup") showPopupNote(asked.params.language);
  if (closedEarly) await tellResult(requestId);
}

function showPopupNote(language) {
  chooseLanguage(language);
  write(document);
  document.getElementById("popup-open").hidden = false;
  document.getElementById("focus").focus();
}

/** The pop-up is closed: with a result, or by the buyer, which is one too. */
async function tellResult(requestId) {
  closedEarly = !opened;
  if (closedEarly) return;
  const { data } = await sendJson(`/v1/windows/${opened}/outcome`, { outcome: "closed" });
  tell({ action: "done", data: { ...data, request_id: requestId } });
}
