// Pay into one virtual account, or choose among those that wait.

import { readJson, sendJson } from "./http.js";
import { chooseLanguage, currentLanguage, dateTime, money, setLanguage, text, write } from "./texts.js";

const [, impUid] = /\/v1\/deposits\/([^/]+)/.exec(location.pathname) ?? [];
let accounts = [];
let message = "";

document.getElementById("language").addEventListener("click", () => {
  setLanguage(currentLanguage() === "ko" ? "en" : "ko");
  draw();
});
chooseLanguage();
await read();

async function read() {
  try {
    const answer = await readJson(`/v1/deposits/${impUid ?? "all"}/state`);
    accounts = answer.accounts ?? [answer];
  } catch (error) {
    message = error.message;
  }
  draw();
}

function draw() {
  write(document);
  document.title = text("deposit_title");
  document.getElementById("language").textContent = text("other_language");
  document.getElementById("language").lang = currentLanguage() === "ko" ? "en" : "ko";
  const none = Object.assign(document.createElement("p"), { className: "hint", textContent: text("deposit_none") });
  document.getElementById("accounts").replaceChildren(...(accounts.length || message ? accounts.map(drawAccount) : [none]));
  document.getElementById("message").textContent = message === "deposit_done" ? text(message) : message;
}

function drawAccount(account) {
  const amount = money(account.amount, account.currency);
  const facts = [
    ["order_number", account.merchant_uid],
    ["bank", account.vbank_name],
    ["account_number", account.vbank_num],
    ["holder", account.vbank_holder],
    ["due", account.vbank_date ? dateTime(account.vbank_date) : ""],
    ["amount", amount],
  ];
  const list = Object.assign(document.createElement("dl"), { className: "order" });
  list.append(...facts.filter(([, value]) => value).map(([key, value]) => drawFact(key, value)));
  const button = Object.assign(document.createElement("button"), { type: "button", className: "primary" });
  button.textContent = text("deposit_now", { amount });
  button.disabled = account.status !== "ready";
  button.addEventListener("click", () => payIn(account.imp_uid));
  const element = Object.assign(document.createElement("article"), { className: "account" });
  element.append(list, button);
  return element;
}

function drawFact(key, value) {
  const fact = document.createElement("div");
  fact.append(
    Object.assign(document.createElement("dt"), { textContent: text(key) }),
    Object.assign(document.createElement("dd"), { textContent: value, className: `fact-${key}` }),
  );
  return fact;
}

async function payIn(id) {
  try {
    const paid = await sendJson(`/v1/deposits/${id}`, {});
    accounts = accounts.map((account) => (account.imp_uid === id ? paid : account));
    message = "deposit_done";
  } catch (error) {
    message = error.message;
  }
  draw();
}
