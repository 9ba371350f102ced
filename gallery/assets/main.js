/* Start, history, keys. Opening a map is a step in the history, filtering is not. */

let state = null;
let list = [];
let closing = false;

function sizeOf(wanted) {
  if (wanted) return wanted;
  return window.innerWidth >= 1800 ? "l" : "m";
}

/** The full width of a tile's bar, in bits: the largest interval among all maps. */
function widest(about) {
  if (about) return Math.max(0.01, ...about.map((value) => value || 0));
  let most = 0.01;
  for (const one of site.maps) {
    const told = information(one, measureOf(one, state));
    if (told) most = Math.max(most, told.mi || 0, told.high || 0);
  }
  return most;
}

function scaleWords(most, mixed, about) {
  if (!site.estimators.length) return "";
  const bound = mixed ? "all layers by usable information (a lower bound); " : "";
  const what = about ? "bits about " + className(sortClass(state)) : "bits";
  return bound + "bar: 0 to " + bits(most) + " " + what;
}

/** Shows the state: controls, grid, and the map that is open. */
function show() {
  showControls(state);
  const about = sortClass(state);
  if (about === null) arrange(null);
  else {
    const wanted = state.sort;
    loaded("class-" + about, "class-" + padded(about, 3)).then((told) => {
      if (state.sort === wanted) arrange(told);
    });
  }
}

function arrange(told) {
  list = ordered(state, told);
  const mixed = mixes(state);
  const keys = [...new Set(list.map((one) => measureOf(one, state)))];
  let about = null;
  if (told) {
    about = site.maps.map((one) => {
      const values = told[measureOf(one, state)];
      return values ? values[one.place] : null;
    });
  }
  const most = widest(about);
  const size = sizeOf(state.size);
  const usual = list.every((one, i) => i === 0 || one.place > list[i - 1].place);
  const view = {
    state: { ...state, m: null },
    size,
    side: sideOf(size),
    sections: !mixed,
    most,
    about,
    usual,
    scale: keys.some((key) => key !== null) ? scaleWords(most, mixed, about) : "",
  };
  layOut(list, view);
  showCount(list.length, view);
  showDialog();
}

function showDialog() {
  const one = state.m === null ? null : site.byKey.get(state.m);
  if (one && dialog.key !== state.m) {
    showMap(one, state, list, (to) => turnTo(to.key));
    document.title = one.layer.layer + " : " + one.map + " – " + site.model;
  } else if (!one && dialog.node.open) {
    closing = true;
    dialog.node.close();
  }
  if (!one) document.title = site.model + ": original input patterns";
}

/** Changes the state without a step in the history. */
function change(part) {
  state = { ...state, ...part };
  history.replaceState(history.state, "", fragmentOf(state));
  show();
}

function openMap(key) {
  state = { ...state, m: key };
  history.pushState({ opened: true }, "", fragmentOf(state));
  showDialog();
}

/** Another map in the open dialog: the way back still leads to the grid. */
function turnTo(key) {
  state = { ...state, m: key };
  history.replaceState(history.state, "", fragmentOf(state));
  showDialog();
}

/** After the dialog is shut, by whatever means: the address follows, the focus returns. */
function closed() {
  const place = list.findIndex((one) => one.key === dialog.key);
  dialog.key = null;
  dialog.node.replaceChildren();
  if (!closing && state.m !== null) {
    state = { ...state, m: null };
    document.title = site.model + ": original input patterns";
    if (history.state && history.state.opened) history.back();
    else history.replaceState(null, "", fragmentOf(state));
  }
  closing = false;
  focusMap(place < 0 ? grid.active : place);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (dialog.node.open) {
    if (event.key !== "[" && event.key !== "]") return;
    const place = list.findIndex((one) => one.key === dialog.key);
    const to = place < 0 ? undefined : list[place + (event.key === "]" ? 1 : -1)];
    if (to) turnTo(to.key);
  } else if (event.key === "Escape" && event.target === byId("search")) {
    focusMap(grid.active);
  } else if (typing || byId("help").open) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "?") {
    byId("help").showModal();
  }
}

/** Called by data/maps.js. */
function start(content) {
  site = readSite(content);
  dialog.node = byId("map");
  state = parsed(location.hash);
  wireGrid(byId("grid"), openMap);
  wireControls(change);
  dialog.node.addEventListener("close", closed);
  for (const node of [dialog.node, byId("help")]) {
    node.addEventListener("click", (event) => {
      if (event.target === node) node.close();
    });
  }
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    focusMap(grid.active);
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", () => {
    const before = fragmentOf({ ...state, m: null });
    state = parsed(location.hash);
    if (fragmentOf({ ...state, m: null }) === before) showDialog();
    else show();
  });
  show();
}

window.addEventListener("load", () => {
  if (!site) byId("count").textContent = "data/maps.js cannot be read; build the gallery again.";
});
