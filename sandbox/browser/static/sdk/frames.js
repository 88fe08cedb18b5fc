// The dialog over the page, and one hidden frame for each channel in it.

const state = {
  started: false,
  userCode: undefined,
  tier: undefined,
  round: 0, // goes up with each start, so that what an earlier one still brings is ignored
  channels: null,
  strict: false,
  dialog: null,
  frames: new Map(), // channel name -> {element, ready, queue}
  callbacks: new Map(), // request_id -> {callback, params}
  waiting: null, // the last request made before the channels were known
  finishing: false,
  focused: null,
  popup: null,
  popupPoll: 0,
  hidden: [], // what to undo on the page when the dialog closes
  buttons: new Map(),
};

function start(userCode, tier) {
  tearDown();
  state.callbacks.clear();
  state.waiting = null;
  Object.assign(state, { started: true, userCode, tier });
  afterDomReady(build);
}

function afterDomReady(act) {
  const round = state.round;
  const actIfCurrent = () => round === state.round && act();
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", actIfCurrent, { once: true });
  else actIfCurrent();
}

/** Load the default channel's frame first. It brings the account's channels, and then each of them gets a frame. */
function build() {
  const dialog = document.createElement("div");
  dialog.className = "imp-dialog";
  dialog.setAttribute("role", "dialog");
  dialog.setAttribute("aria-modal", "true");
  dialog.setAttribute("aria-label", "결제창");
  // Set one by one, because a page's Content-Security-Policy may forbid style attributes.
  Object.assign(dialog.style, {
    display: "none", position: "fixed", inset: "0", zIndex: "99999", margin: "0", border: "0", padding: "0",
    background: "rgba(15, 20, 28, 0.55)",
  });
  document.body.append(dialog);
  state.dialog = dialog;
  addFrame("");
}

function addFrame(name) {
  const element = document.createElement("iframe");
  const query = new URLSearchParams({ user_code: String(state.userCode ?? ""), channel: name });
  if (state.tier !== undefined) query.set("tier", state.tier);
  element.src = `${SETTINGS.origin}/v1/frame?${query}`;
  element.title = "결제창";
  element.allow = "clipboard-write";
  Object.assign(element.style, { display: "none", width: "100%", height: "100%", border: "0", margin: "0" });
  state.dialog.append(element);
  const frame = { element, ready: false, queue: [] };
  state.frames.set(name, frame);
  return frame;
}

function nameOf(channel) {
  return `${channel.kind}/${channel.provider}`;
}

function channelsLoaded(frame, { channels, strict }) {
  state.frames.delete("");
  const registered = channels.filter((channel) => channel.registered);
  Object.assign(state, { channels, strict });
  if (registered.length) state.frames.set(nameOf(registered[0]), frame);
  for (const channel of registered.slice(1)) addFrame(nameOf(channel));
  const waiting = state.waiting;
  state.waiting = null;
  if (waiting) guarded(() => begin(...waiting));
}

/** Post now, or as soon as the frame has loaded. A provider without a channel of its own gets its frame here. */
function post(name, message) {
  const frame = state.frames.get(name) ?? addFrame(name);
  if (frame.ready) frame.element.contentWindow.postMessage(wrap(message), SETTINGS.origin);
  else frame.queue.push(message);
  return frame;
}

function wrap(message) {
  return JSON.stringify({ from: "iamport-sdk", version: "1.2.0", ...message });
}

function show(frame) {
  for (const other of state.frames.values()) other.element.style.display = other === frame ? "block" : "none";
  state.dialog.style.display = "block";
  state.focused = document.activeElement;
  for (const child of document.body.children) {
    if (child === state.dialog || child.tagName === "SCRIPT") continue;
    state.hidden.push({ child, display: child.style.display, inert: child.inert });
    // A phone shows the window alone; elsewhere the page stays in sight, out of reach of keyboard and screen reader.
    if (device() === "mobile") child.style.display = "none";
    else child.inert = true;
  }
  frame.element.focus();
}

function hide() {
  for (const { child, display, inert } of state.hidden) {
    child.style.display = display;
    child.inert = inert;
  }
  state.hidden = [];
  state.focused?.focus?.();
  state.focused = null;
}

function tearDown() {
  state.round += 1;
  clearInterval(state.popupPoll);
  state.popup?.close();
  hide();
  state.dialog?.remove();
  state.frames.clear();
  Object.assign(state, { dialog: null, channels: null, popup: null });
}

/** Hide the window and load fresh frames, as after every result. */
function reinitialise() {
  tearDown();
  if (state.started) afterDomReady(build);
}
