// Which of the account's channels a request means, and how its window opens.

/**
 * The channel for `channelKey`, or for `pg` as provider and store, then as provider alone, then the default of its
 * kind: an unknown or placeholder `pg` does not fail. Only channels that are set up count as defaults; a sandbox that
 * is not strict knows the other providers too.
 */
function pickChannel(params, kind) {
  const channels = state.channels.filter((channel) => channel.kind === kind);
  if (params.channelKey !== undefined) return channelWithKey(channels, params.channelKey);
  const [provider, store] = splitPg(params.pg);
  return (
    channels.find((channel) => channel.provider === provider && channel.store === store) ??
    channels.find((channel) => channel.provider === provider) ??
    defaultOf(channels)
  );
}

/** An unknown key is refused, but only by a strict sandbox: the guide's page has a placeholder there. */
function channelWithKey(channels, key) {
  const known = channels.find((channel) => channel.key === key);
  const fallback = defaultOf(channels);
  return known ?? (state.strict && fallback ? { ...fallback, provider: "" } : fallback);
}

function defaultOf(channels) {
  return channels.find((channel) => channel.registered);
}

function splitPg(pg) {
  const text = String(pg ?? "");
  const dot = text.indexOf(".");
  return dot < 0 ? [text, undefined] : [text.slice(0, dot), text.slice(dot + 1)];
}

/** `overlay`, `popup` or `redirect`: a choice for the sandbox first, then what the provider does on this device. */
function modeOf(channel, params) {
  const chosen = params.sandbox?.window ?? SETTINGS.window;
  if (["overlay", "popup", "redirect"].includes(chosen)) return chosen;
  if (device() === "pc") return params.popup === true && channel.takes_popup ? "popup" : channel.pc;
  const inPage = channel.in_page_with === "customer_uid" ? params.customer_uid : params.pay_method === channel.in_page_with;
  return channel.in_page_with && inPage ? "overlay" : channel.mobile;
}
