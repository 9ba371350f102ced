/* The controls above the grid. They show the state and hand on what is changed. */

/** Fields of numbers, by the part of the state that they change. */
const AMOUNTS = ["legible", "lo", "hi"];
const SIZE_NAMES = { s: "small", m: "medium", l: "large", xl: "largest" };

/** Parts of the state whose controls are folded. */
const RARER = ["by", "group", "legible", "lo", "hi", "size"];

function option(value, text, attributes) {
  return element("option", { value, ...(attributes || {}) }, text);
}

function byId(name) {
  return document.getElementById(name);
}

/** Fills the menus; `change(part)` receives the part of the state that the user chose. */
function wireControls(change) {
  const menus = {
    sort: (value) => ({ sort: value }),
    by: (value) => ({ by: value || null }),
    group: (value) => ({ group: value }),
    layer: (value) => ({ layer: value === "" ? null : Number(value) }),
    class: (value) => ({ class: value === "" ? null : Number(value) }),
    verdict: (value) => ({ verdict: value === "any" ? null : value.slice(1) }),
    size: (value) => ({ size: value || null }),
  };
  byId("by").append(
    option("", "as ranked"),
    ...site.estimators.map((entry) => option(entry.key, entry.key === entry.label ? entry.key : entry.key + ": " + entry.label))
  );
  byId("by-label").hidden = site.estimators.length < 2;
  byId("layer").append(
    option("", "all"),
    ...site.layers.map((entry) => option(String(entry.index), entry.layer))
  );
  byId("class").append(
    option("", "any class"),
    ...site.classes.map((name, position) => option(String(position), name))
  );
  byId("class-label").hidden = !site.classes.length || !site.estimators.length;
  byId("verdict").append(
    option("any", "all"),
    ...site.verdicts.map((word) => option("=" + word, verdictName(word)))
  );
  byId("size").append(
    option("", "auto"),
    ...SIZES.map((size) => option(size, SIZE_NAMES[size]))
  );
  byId("sort").append(...sortOptions());
  byId("group").append(
    option("deep", "deepest first"),
    option("shallow", "shallowest first"),
    option("all", "all together: usable information (a lower bound)")
  );
  byId("range").hidden = !site.estimators.length;
  byId("legible-label").hidden = site.columns.legibility === null;
  for (const name of AMOUNTS) {
    byId(name).addEventListener("input", (event) => change({ [name]: amountOf(event.target.value) }));
  }
  byId("turn").addEventListener("click", () => change((state) => ({ rev: !state.rev })));
  for (const [name, meaning] of Object.entries(menus)) {
    byId(name).addEventListener("change", (event) => change(meaning(event.target.value)));
  }
  byId("search").addEventListener("input", (event) => change({ q: event.target.value.slice(0, 200) }));
  const reset = () => change((state) => ({ ...DEFAULTS, c: state.c, size: state.size, atlas: state.atlas }));
  byId("reset").addEventListener("click", reset);
  byId("again").addEventListener("click", () => {
    reset();
    byId("search").focus();
  });
  byId("more").addEventListener("click", () => {
    const open = byId("settings").classList.toggle("open");
    byId("more").setAttribute("aria-expanded", String(open));
  });
  byId("all").addEventListener("click", () => unfold(!byId("rarer").classList.contains("open")));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").hidden = false;
}

/** Shows or hides the filters that are used less. */
function unfold(open) {
  byId("rarer").classList.toggle("open", open);
  byId("all").setAttribute("aria-expanded", String(open));
  byId("all").textContent = open ? "Fewer filters" : "More filters";
}

/** The orders that there is a ground for. */
function sortOptions() {
  const sorts = [
    option("mi", site.estimators.length ? "information" : "as listed"),
    option("score", "score"),
    option("stability", "stability"),
  ];
  for (const name of ["redundancy", "legibility"]) {
    if (site.columns[name] !== null) sorts.push(option(name, name));
  }
  sorts.push(option("index", unitWord() + " number"));
  if (site.estimators.length && site.classes.length) {
    const about = site.classes.map((name, position) => option("class-" + position, "about " + name));
    sorts.push(element("optgroup", { label: "information about a class" }, about));
  }
  return sorts;
}

/** Makes the controls say what the state is. */
function showControls(state) {
  const mixing = mayMix(state);
  byId("group").lastElementChild.disabled = !mixing;
  const shown = {
    sort: state.sort,
    by: state.by || "",
    group: mixing || state.group !== "all" ? state.group : "deep",
    layer: state.layer === null ? "" : String(state.layer),
    class: state.class === null ? "" : String(state.class),
    verdict: state.verdict === null ? "any" : "=" + state.verdict,
    size: state.size || "",
  };
  for (const [name, value] of Object.entries(shown)) byId(name).value = value;
  if (byId("search").value !== state.q) byId("search").value = state.q;
  for (const name of AMOUNTS) {
    const input = byId(name);
    if (amountOf(input.value) !== state[name]) input.value = state[name] === null ? "" : state[name];
  }
  if (RARER.some((name) => state[name] !== DEFAULTS[name])) unfold(true);
  const turn = byId("turn");
  turn.setAttribute("aria-pressed", String(state.rev));
  turn.title = state.rev ? "Lowest first; press for highest first" : "Highest first; press for lowest first";
  turn.firstElementChild.textContent = state.rev ? "↑" : "↓";
  byId("reset").disabled = fragmentOf({ ...state, ...BESIDE }) === "#";
}

/** Says how many maps there are and what the bars mean. */
function showCount(count, view) {
  const all = site.maps.length;
  byId("count").textContent = count === all ? everyUnit() : count + " of " + plural(all, unitWord());
  byId("empty").hidden = count > 0;
  byId("scale").textContent = view.scale;
}
