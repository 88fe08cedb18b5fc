// The sandbox's own buttons: each ends the window in one way. When it has ended, they go.

import { outcomeName, outcomeText } from "./outcome_texts.js";
import { currentLanguage, text } from "./texts.js";

/** Write the pane of the buttons: `over` says that the window has ended, so that nothing is left to choose. */
export function writeOutcomes(shown, over, end) {
  document.getElementById("outcomes-title").textContent = text(over ? "outcomes_over" : "outcomes_title");
  document.getElementById("outcomes-text").textContent = text(over ? "outcomes_over_text" : "outcomes_text");
  document.getElementById("outcomes").replaceChildren(...(over ? [] : outcomeList(shown, end)));
}

function outcomeList({ kind, outcomes }, end) {
  return outcomes.map((outcome) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.dataset.outcome = outcome;
    button.append(part("strong", nameOf(kind, outcome)), part("span", textOf(kind, outcome)));
    button.addEventListener("click", () => end(outcome));
    item.append(button);
    return item;
  });
}

/** An identity check ends in three of these ways, and means something else by them. */
export function nameOf(kind, outcome) {
  return kind === "payment" ? outcomeName(outcome, currentLanguage()) : text(`certification_${outcome}`);
}

function textOf(kind, outcome) {
  return kind === "payment" ? outcomeText(outcome, currentLanguage()) : text(`certification_${outcome}_text`);
}

function part(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}
