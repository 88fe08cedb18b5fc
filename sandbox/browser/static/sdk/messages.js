// What the frames answer.

function listen() {
  window.addEventListener("message", (event) => {
    const frame = [...state.frames.values()].find(({ element }) => element.contentWindow === event.source);
    if (event.origin !== SETTINGS.origin || !frame) return;
    const message = parse(event.data);
    if (message?.from === "iamport-core") guarded(() => take(frame, message));
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function take(frame, message) {
  switch (message.action) {
    case "ready":
      if (message.channels && !state.channels) channelsLoaded(frame, message);
      frame.ready = true;
      for (const queued of frame.queue.splice(0)) frame.element.contentWindow.postMessage(wrap(queued), SETTINGS.origin);
      break;
    case "redirect":
      location.assign(message.url);
      break;
    case "popup":
      state.popup?.location.replace(message.url);
      break;
    case "focus_popup":
      state.popup?.focus();
      break;
    case "close_popup":
      state.popup?.close();
      break;
    case "done":
      finish(message);
      break;
    case "broken":
      state.callbacks.clear();
      reinitialise();
      throw new Error(message.reason);
    default:
  }
}

function finish({ data, redirect_url: redirectUrl, before }) {
  const { request_id: requestId, ...told } = data;
  const asked = state.callbacks.get(requestId);
  if (!asked) return;
  state.callbacks.delete(requestId);
  if (before && device() === "mobile" && typeof asked.callback !== "function") {
    leaveWithFailure(told, redirectUrl);
    return;
  }
  state.finishing = true; // a request made in the callback itself is kept until the frames are fresh
  callBack(asked.callback, told);
  state.finishing = false;
  reinitialise();
}

/** On a phone, without a callback: a failure before the window goes where the window's result would have gone. */
function leaveWithFailure({ imp_uid: impUid, merchant_uid: merchantUid, error_msg: errorMsg }, redirectUrl) {
  const address = redirectUrl ?? `${SETTINGS.origin}/payments/fail`;
  const told = { imp_uid: impUid ?? "", merchant_uid: merchantUid, imp_success: "false", error_msg: errorMsg ?? "" };
  const query = Object.entries(told).map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
  const [base, ...fragment] = address.split("#");
  location.assign([`${base}${base.includes("?") ? "&" : "?"}${query}`, ...fragment].join("#"));
}
