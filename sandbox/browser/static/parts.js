// The small parts that the window's steps are made of.

let count = 0;

export function heading(content) {
  return Object.assign(document.createElement("h1"), { textContent: content, tabIndex: -1 });
}

export function paragraph(content, className = "") {
  return Object.assign(document.createElement("p"), { textContent: content, className });
}

export function row(className, ...children) {
  const element = Object.assign(document.createElement("div"), { className });
  element.append(...children);
  return element;
}

/** A large button with a title and, where there is one, a line below it. */
export function option(title, below, act) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(Object.assign(document.createElement("strong"), { textContent: title }));
  if (below) button.append(Object.assign(document.createElement("span"), { textContent: below }));
  button.addEventListener("click", act);
  return button;
}

export function field(label, value, settings = {}) {
  count += 1;
  const id = `field-${count}`;
  const input = Object.assign(document.createElement("input"), { id, value, autocomplete: "off", ...settings });
  const element = document.createElement("p");
  element.className = "field";
  element.append(Object.assign(document.createElement("label"), { htmlFor: id, textContent: label }), input);
  return element;
}
