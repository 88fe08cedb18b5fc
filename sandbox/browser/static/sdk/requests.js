// From a call to an open window. No parameter is checked here: amount, name and ids are PortOne's server's business.

function guarded(act) {
  try {
    return act();
  } catch (error) {
    alert(TEXTS.broken + (error?.message ?? error));
    return undefined;
  }
}

function request(kind, params, callback) {
  if (!state.started) {
    alert(TEXTS.notInitialised);
    return;
  }
  if (state.callbacks.size) reinitialise(); // a window is open: it dies, and its callback never comes
  state.callbacks.clear();
  if (state.channels && !state.finishing) begin(kind, params, callback);
  else state.waiting = [kind, params, callback];
}

function begin(kind, params, callback) {
  fillDefaults(kind, params);
  const channel = pickChannel(params, kind);
  if (!channel) {
    refuseWithoutChannel(params, callback);
    return;
  }
  const mode = modeOf(channel, params);
  if (mode === "popup" && !openPopup()) return;
  state.callbacks.set(params.request_id, { callback, params });
  const { sandbox, ...rest } = params;
  const message = {
    action: "request", kind, mode, device: device(), provider: channel.provider, request_id: params.request_id,
    user_code: String(state.userCode ?? ""), tier: state.tier, page_url: location.href, params: rest,
    outcome: sandbox?.outcome ?? SETTINGS.outcome,
  };
  const frame = post(nameOf(channel), message);
  if (mode !== "redirect") show(frame);
  if (mode === "popup") watchPopup(nameOf(channel), params.request_id);
}

/** The caller's own object is changed, as PortOne's script does. */
function fillDefaults(kind, params) {
  params.request_id = `req_${Date.now()}`;
  if (!params.merchant_uid) params.merchant_uid = `nobody_${Date.now()}`;
  if (kind === "payment" && !params.pay_method) params.pay_method = "card";
  if (state.tier !== undefined) params.tier_code = state.tier;
}

function refuseWithoutChannel(params, callback) {
  if (typeof callback !== "function") {
    alert(TEXTS.noChannel);
    return;
  }
  // `error_coe` is how PortOne's script spells it.
  const data = { imp_success: false, imp_uid: null, merchant_uid: params.merchant_uid, error_coe: "F1001", error_msg: TEXTS.noChannel };
  callBack(callback, data);
}

/** An exception of the page's own callback is logged and goes no further. */
function callBack(callback, data) {
  if (typeof callback !== "function") return;
  try {
    callback.call({}, data);
  } catch (error) {
    console.error(error);
  }
}

/** Opened at the click itself, so that browsers allow it; the window's address follows. */
function openPopup() {
  state.popup = window.open("about:blank", POPUP_NAME, POPUP_FEATURES);
  if (!state.popup) alert(TEXTS.popupBlocked);
  return state.popup;
}

function watchPopup(name, requestId) {
  state.popupPoll = setInterval(() => {
    if (!state.popup?.closed) return;
    clearInterval(state.popupPoll);
    post(name, { action: "popup_closed", request_id: requestId });
  }, CLOSED_POPUP_POLL_MS);
}
