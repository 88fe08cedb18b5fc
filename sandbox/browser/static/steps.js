// The steps of a payment as a buyer goes them: method, card company, authentication, approval, result.

import { nameOf } from "./outcomes.js";
import { field, heading, option, paragraph, row } from "./parts.js";
import { currentLanguage, money, text } from "./texts.js";

// Which companies authenticate by ISP and which by MPI.
const CARDS = [
  { ko: "BC카드", en: "BC", way: "isp" },
  { ko: "KB국민카드", en: "KB Kookmin", way: "isp" },
  { ko: "신한카드", en: "Shinhan", way: "mpi" },
  { ko: "삼성카드", en: "Samsung", way: "mpi" },
  { ko: "현대카드", en: "Hyundai", way: "mpi" },
  { ko: "롯데카드", en: "Lotte", way: "mpi" },
];
const BANKS = [
  { ko: "KB국민은행", en: "KB Kookmin Bank" },
  { ko: "신한은행", en: "Shinhan Bank" },
  { ko: "우리은행", en: "Woori Bank" },
  { ko: "하나은행", en: "Hana Bank" },
];

export function firstStep(shown) {
  if (shown.kind === "certification") return { name: "authentication", way: "phone" };
  if (shown.simple) return { name: "authentication", way: "simple" };
  return shown.pay_method === "phone" ? { name: "authentication", way: "phone" } : { name: "provider" };
}

export function stepNames(shown) {
  if (shown.kind === "certification") return ["authentication"];
  if (shown.simple || shown.pay_method === "phone") return ["authentication", "approval"];
  if (shown.pay_method === "vbank") return ["provider", "approval"];
  const company = shown.pay_method === "trans" ? [] : ["company"];
  return ["provider", ...company, "authentication", "approval"];
}

/** The elements of a step. `act` has `go` to another step, `end` with an outcome, `leave` for the page. */
export function stepView(step, shown, act) {
  switch (step.name) {
    case "provider":
      return shown.pay_method === "vbank" || shown.pay_method === "trans" ? bankView(shown, act) : cardView(act);
    case "company":
      return companyView(step, act);
    case "authentication":
      return authenticationView(step, shown, act);
    case "approving":
      return approvingView(step, shown);
    case "result":
      return resultView(step, shown, act);
    default:
      return [];
  }
}

function cardView(act) {
  const buttons = CARDS.map((card) => option(card[currentLanguage()], "", () => act.go({ name: "company", card })));
  return [heading(text("choose_company")), row("choices", ...buttons)];
}

function bankView(shown, act) {
  const issues = shown.pay_method === "vbank";
  const next = (bank) => (issues ? act.end("vbank_issued") : act.go({ name: "authentication", way: "bank", card: bank }));
  const buttons = BANKS.map((bank) => option(bank[currentLanguage()], issues ? text("issue") : "", () => next(bank)));
  return [heading(text("choose_bank")), row("choices", ...buttons)];
}

function companyView({ card }, act) {
  const ways = ["simple", card.way].map((way) =>
    option(text(`way_${way}`), text(`way_${way}_text`), () => act.go({ name: "authentication", way, card })),
  );
  return [
    heading(text("company_page", { name: card[currentLanguage()] })),
    paragraph(text("company_text")),
    row("choices ways", ...ways),
    row("actions", back(() => act.go({ name: "provider" }))),
  ];
}

function authenticationView({ way, card }, shown, act) {
  const form = document.createElement("form");
  form.noValidate = true;
  const certifies = shown.kind === "certification";
  const go = Object.assign(document.createElement("button"), { type: "submit", className: "primary" });
  go.textContent = certifies ? text("certify") : text("pay", { amount: money(shown.amount, shown.currency) });
  const before = card && (way === "bank" ? { name: "provider" } : { name: "company", card });
  const actions = before ? [back(() => act.go(before)), go] : [go];
  form.append(...fieldsOf(way, card), paragraph(text("nothing_sent"), "hint"), row("actions", ...actions));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act.end("paid");
  });
  return [heading(certifies ? text("certification_title") : text(`${way}_title`)), form];
}

/** Sample values, so that one can go on at once. The inputs have no name, and nothing sends them. */
function fieldsOf(way, card) {
  switch (way) {
    case "isp":
      return [
        field(text("certificate"), text("certificate_name", { name: card[currentLanguage()] }), { readOnly: true }),
        field(text("password"), "sandbox", { type: "password" }),
      ];
    case "mpi":
      return [
        field(text("card_number"), "9100-2000-0000-0001", { inputMode: "numeric" }),
        field(text("cvc"), "123", { inputMode: "numeric" }),
        field(text("mpi_password"), "sandbox", { type: "password" }),
      ];
    case "phone":
      return [
        field(text("full_name"), currentLanguage() === "ko" ? "홍길동" : "Hong Gildong"),
        field(text("phone_number"), "010-4242-4242", { inputMode: "tel" }),
        field(text("phone_code"), "424242", { inputMode: "numeric" }),
      ];
    case "bank":
      return [
        field(text("account_number"), "000-00-0000001", { inputMode: "numeric" }),
        field(text("password"), "sandbox", { type: "password" }),
      ];
    default:
      return [field(text("pin"), "424242", { type: "password", inputMode: "numeric" })];
  }
}

function approvingView({ outcome }, { kind }) {
  const spinner = Object.assign(document.createElement("div"), { className: "spinner" });
  const told = outcome ? [paragraph(text("autopilot", { outcome: nameOf(kind, outcome) }), "hint")] : [];
  return [spinner, heading(text("approving")), ...told];
}

function resultView({ data, outcome, deposit_url: depositUrl }, shown, act) {
  const failed = data.error_msg != null;
  const done = shown.kind === "certification" ? "certified" : outcome === "vbank_issued" ? "issued" : "paid";
  const mark = Object.assign(document.createElement("div"), { className: failed ? "mark failed" : "mark" });
  mark.setAttribute("aria-hidden", "true");
  const leave = Object.assign(document.createElement("button"), { type: "button", className: "primary", id: "leave" });
  leave.textContent = text("to_shop");
  leave.addEventListener("click", act.leave);
  const parts = [mark, heading(text(failed ? "done_failed" : `done_${done}`))];
  if (failed) parts.push(paragraph(data.error_msg));
  if (depositUrl) {
    const link = Object.assign(document.createElement("a"), { href: depositUrl, target: "_blank", rel: "noopener" });
    link.textContent = text("deposit_link");
    parts.push(row("deposit", link));
  }
  return [...parts, row("actions", leave)];
}

function back(act) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text("back") });
  button.addEventListener("click", act);
  return button;
}
