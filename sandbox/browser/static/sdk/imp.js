// IMP itself. Every function returns undefined, but for request_pay without parameters.

function createIMP(isModule) {
  listen();
  const IMP = {
    init(userCode) {
      guarded(() => start(userCode, undefined));
    },
    agency(userCode, tier) {
      guarded(() => start(userCode, typeof tier === "string" ? tier : undefined));
    },
    request_pay(params, callback) {
      if (params === undefined) {
        alert(TEXTS.noParameters);
        return false;
      }
      guarded(() => request("payment", params, callback));
      return undefined;
    },
    certification(params, callback) {
      guarded(() => request("certification", params, callback));
    },
    loadUI(type, params, callback) {
      containerOf(type);
      drawButton(type, params, callback);
    },
    updateLoadUIRequest(type, params) {
      const drawn = state.buttons.get(type);
      if (drawn) drawn.params = params;
    },
    close() {
      state.callbacks.clear();
      reinitialise();
    },
  };
  if (isModule) IMP.deinit = deinit;
  return IMP;
}

function deinit() {
  tearDown();
  state.callbacks.clear();
  state.buttons.clear();
  Object.assign(state, { started: false, userCode: undefined, tier: undefined, waiting: null });
}
