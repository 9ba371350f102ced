/* Start, history, keys. Opening a map is a step in the history, filtering is not. */

let state = null;
let list = [];
/** Whether a dialog is being shut by the page, not by the user. */
let closing = false;

function sizeOf(requested) {
  if (requested) return requested;
  return window.innerWidth >= 1800 ? "l" : "m";
}

/** The full width of a tile's bar, in bits: the largest interval among all maps. */
function widest(about) {
  if (about) return Math.max(0.01, ...about.map((value) => value || 0));
  let most = 0.01;
  for (const entry of site.maps) {
    const estimate = information(entry, measureOf(entry, state));
    if (estimate) most = Math.max(most, estimate.mi || 0, estimate.high || 0);
  }
  return most;
}

function scaleWords(most, mixed, about, keys) {
  if (!site.estimators.length || OTHER_SORTS.includes(state.sort)) return "";
  const bound = mixed ? "all layers by usable information (a lower bound); " : "";
  const units = new Set(site.estimators.filter((entry) => keys.includes(entry.key)).map((entry) => entry.unit));
  const unit = units.size === 1 && [...units][0] ? " " + [...units][0] : "";
  return bound + "bar: 0 to " + bits(most) + (about ? " bits about " + className(sortClass(state)) : unit);
}

/** Shows the state: controls, grid, and the map that is open. */
function show() {
  showControls(state);
  const about = sortClass(state);
  if (about === null && isRead(state.by)) {
    arrange(null);
    return;
  }
  const { sort, by } = state;
  const classBits = about === null ? null : loaded("class-" + about, "class-" + padded(about, 3));
  Promise.all([classBits, measured([by])]).then(([estimate]) => {
    if (state.sort === sort && state.by === by) arrange(estimate);
  });
}

function arrange(estimate) {
  list = ordered(state, estimate);
  const mixed = mixes(state);
  const keys = [...new Set(list.map((entry) => measureOf(entry, state)))];
  let about = null;
  if (estimate) {
    about = site.maps.map((entry) => {
      const values = estimate[measureOf(entry, state)];
      return values ? values[entry.position] : null;
    });
  }
  const most = widest(about);
  const size = sizeOf(state.size);
  const usual = list.every((entry, i) => i === 0 || entry.position > list[i - 1].position);
  const view = {
    state: { ...state, m: null, v: false },
    picked: pickedOf(state.c),
    size,
    sections: !mixed,
    most,
    about,
    usual,
    scale: keys.some((key) => key !== null) ? scaleWords(most, mixed, about, keys) : "",
  };
  for (const name of ["grid", "legend"]) byId(name).hidden = state.atlas;
  if (state.atlas) showAtlas(list, view, change, openMap);
  else {
    hideAtlas();
    layOut(list, view);
  }
  showCount(list.length, view);
  if (state.atlas) byId("scale").textContent = "";
  showDialog();
}

/** Gives the focus to a map, in the grid or in the atlas. */
function focusShown(position) {
  if (state.atlas) focusAtlas();
  else focusMap(position);
}

function showDialog() {
  showTray(state, pick, openComparison);
  const entry = state.m === null ? null : site.byKey.get(state.m);
  if (!entry && dialog.node.open) shut(dialog.node);
  if (!state.v && comparison.node.open) shut(comparison.node);
  if (entry && dialog.key !== state.m) showMap(entry, state, list, (to) => turnTo(to.key), pick);
  if (state.v && !(comparison.node.open && comparison.shown === state.c)) {
    showComparison(state, (to) => openMap(to.key), pick);
  }
  if (entry) document.title = (entry.objective || entry.layer.layer + " : " + entry.map) + " – " + site.title;
  else document.title = site.title + (state.v ? ": maps side by side" : ": original input patterns");
}

function shut(node) {
  closing = true;
  node.close();
}

/** Changes the state without a step in the history; `part` may depend on the state. */
function change(part) {
  state = { ...state, ...(typeof part === "function" ? part(state) : part), m: null, v: false };
  history.replaceState(history.state, "", fragmentOf(state));
  show();
}

function openMap(key) {
  state = { ...state, m: key, v: false };
  history.pushState({ opened: true }, "", fragmentOf(state));
  showDialog();
}

function openComparison() {
  state = { ...state, m: null, v: true };
  history.pushState({ opened: true }, "", fragmentOf(state));
  showDialog();
}

/** Picks a map for comparison, or puts it back; null puts all back. Gives the keys picked. */
function pick(key) {
  let keys = pickedOf(state.c);
  if (key === null) keys = [];
  else if (keys.includes(key)) keys = keys.filter((other) => other !== key);
  else keys = [...keys, key].slice(-MOST_COMPARED);
  const pressed = document.activeElement && document.activeElement.dataset.pick;
  const inTray = byId("tray").contains(document.activeElement);
  state = { ...state, c: keys.join("_"), v: state.v && keys.length > 0 };
  history.replaceState(history.state, "", fragmentOf(state));
  showPicked(keys);
  showDialog();
  const button = pressed ? grid.node.querySelector('[data-pick="' + pressed + '"]') : null;
  if (button) button.focus({ preventScroll: true });
  else if (inTray && keys.length) byId("tray").querySelector("button").focus();
  else if (inTray) focusShown(grid.active);
  return state.c;
}

/** Another map in the open dialog: the way back still leads to the grid. */
function turnTo(key) {
  state = { ...state, m: key };
  history.replaceState(history.state, "", fragmentOf(state));
  showDialog();
}

/** After a dialog is shut, by whatever means: the address follows, the focus returns. */
function closed(event) {
  const position = list.findIndex((entry) => entry.key === dialog.key);
  if (event.target === dialog.node) dialog.key = null;
  event.target.replaceChildren();
  if (!closing && (state.m !== null || state.v)) {
    state = { ...state, m: null, v: false };
    document.title = site.title + ": original input patterns";
    if (history.state && history.state.opened) history.back();
    else history.replaceState({ opened: false }, "", fragmentOf(state));
  }
  closing = false;
  if (!document.querySelector("dialog[open]")) focusShown(position < 0 ? grid.active : position);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (dialog.node.open) {
    if (event.key === "c") document.querySelector(".pick-open").click();
    if (event.key !== "[" && event.key !== "]") return;
    const position = list.findIndex((entry) => entry.key === dialog.key);
    const to = position < 0 ? undefined : list[position + (event.key === "]" ? 1 : -1)];
    if (to) turnTo(to.key);
  } else if (event.key === "Escape" && event.target === byId("search")) {
    focusShown(grid.active);
  } else if (typing || byId("help").open || comparison.node.open) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "s") {
    byId("settings").classList.add("open");
    byId("more").setAttribute("aria-expanded", "true");
    byId("sort").focus();
  } else if (event.key === "a") {
    byId("to-atlas").click();
  } else if (event.key === "?") {
    byId("help").showModal();
  }
}

/** Called by data/maps.js. */
function start(content) {
  site = readSite(content);
  dialog.node = byId("map");
  state = parsed(location.hash);
  if (!history.state) history.replaceState({ opened: false }, "", location.href);
  comparison.node = byId("compare");
  wireGrid(byId("grid"), openMap, pick);
  wireControls(change);
  wireActions(() => list, openMap);
  for (const node of [dialog.node, comparison.node]) node.addEventListener("close", closed);
  for (const node of [dialog.node, comparison.node, byId("help")]) {
    node.addEventListener("click", (event) => {
      if (event.target === node) node.close();
    });
  }
  byId("keys").hidden = false;
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    focusShown(grid.active);
  });
  wireAtlas(byId("atlas"));
  byId("to-atlas").addEventListener("click", () => change((state) => ({ atlas: !state.atlas })));
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", () => {
    const before = fragmentOf({ ...state, m: null, v: false });
    const { c } = state;
    state = parsed(location.hash);
    if (history.state) {
      // A step within this page: what is picked stays picked.
      state = { ...state, c, v: state.v && c !== "" };
      history.replaceState(history.state, "", fragmentOf(state));
      showPicked(pickedOf(c));
    } else history.replaceState({ opened: false }, "", location.href);
    if (fragmentOf({ ...state, m: null, v: false }) === before) showDialog();
    else show();
  });
  show();
}

window.addEventListener("load", () => {
  if (!site) byId("count").textContent = "data/maps.js cannot be read; build the gallery again.";
});
