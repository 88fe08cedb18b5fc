// The sandbox's own buttons: each ends the window in one way.

import { text } from "./texts.js";

export function outcomeList({ kind, outcomes }, end) {
  const texts = kind === "payment" ? "outcome" : "certification";
  return outcomes.map((outcome) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.dataset.outcome = outcome;
    button.append(part("strong", text(`${texts}_${outcome}`)), part("span", text(`${texts}_${outcome}_text`)));
    button.addEventListener("click", () => end(outcome));
    item.append(button);
    return item;
  });
}

function part(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}
