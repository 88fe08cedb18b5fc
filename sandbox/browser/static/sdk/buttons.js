// IMP.loadUI: a provider's own button, drawn into the page.

const BUTTONS = {
  "paypal-spb": { pg: "paypal_v2", label: "PayPal", background: "#ffc439", color: "#0a2540" },
  "paypal-rt": { pg: "paypal_v2", label: "PayPal", background: "#ffc439", color: "#0a2540" },
  "toss-brandpay-widget": { pg: "tosspayments", label: "토스 브랜드페이로 결제", background: "#0050d8", color: "#ffffff" },
};

/** How PortOne reports a page's mistake here is not known beyond its sentences: an exception is seen by everybody. */
function drawButton(type, params, callback) {
  const button = document.createElement("button");
  const { label, background, color } = BUTTONS[type];
  Object.assign(button, { type: "button", textContent: label });
  Object.assign(button.style, {
    background, color, width: "100%", minHeight: "48px", border: "0", borderRadius: "8px", font: "600 16px system-ui, sans-serif",
    cursor: "pointer",
  });
  state.buttons.set(type, { params, callback });
  button.addEventListener("click", () => {
    const drawn = state.buttons.get(type);
    guarded(() => request("payment", withProvider(type, drawn.params), drawn.callback));
  });
  containerOf(type).replaceChildren(button);
}

function withProvider(type, params) {
  if (params.channelKey === undefined && params.pg === undefined) params.pg = BUTTONS[type].pg;
  return params;
}

function containerOf(type) {
  const containers = [...document.querySelectorAll(".portone-ui-container")];
  if (!containers.length) throw new Error(TEXTS.noContainer);
  const typed = containers.filter((container) => container.dataset.portoneUiType === type);
  if (typed.length > 1) throw new Error(TEXTS.sameTypeTwice);
  if (!typed.length || !BUTTONS[type]) throw new Error(TEXTS.wrongType);
  return typed[0];
}
