"use strict";

// A page that follows reads itself again when the service says that something has changed. Without script, a reload does.
const live = document.querySelector("[data-live]");

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected || !answer.ok) {
    location.reload(); // the session has ended, or the page says what is wrong
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (fresh && fresh.innerHTML !== live.innerHTML && !live.contains(document.activeElement)) {
    live.replaceChildren(...fresh.childNodes);
    const heading = page.querySelector("h1");
    if (heading) {
      document.querySelector("h1").replaceChildren(...heading.childNodes);
    }
  }
}

if (live) {
  let reading = Promise.resolve();
  let wanted = false;
  new EventSource(live.dataset.live).onmessage = () => {
    if (!wanted && !document.hidden) {
      wanted = true;
      reading = reading.then(() => { wanted = false; return refresh(); }).catch(() => {});
    }
  };
}

// `/` goes to the search, as in many tools.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  const search = document.querySelector(".find input");
  if (event.key === "/" && !isTyping && search) {
    event.preventDefault();
    search.focus();
  }
});

// One press of a button is one call. Whoever comes back to the page may press it again.
const buttons = document.querySelectorAll("form[method=post] button");
const setDisabled = (disabled) => buttons.forEach((button) => { button.disabled = disabled; });
document.addEventListener("submit", (event) => setDisabled(event.target.method === "post"));
addEventListener("pageshow", () => setDisabled(false));
