/* All state is in the fragment, and nothing of the fragment is believed that is not listed here. */

const SIZES = ["s", "m", "l", "xl"];
const MOST_COMPARED = 4;
const DEFAULTS = {
  m: null,
  c: "",
  v: false,
  by: null,
  sort: "mi",
  group: "deep",
  rev: false,
  layer: null,
  class: null,
  verdict: null,
  legible: null,
  lo: null,
  hi: null,
  q: "",
  size: null,
  atlas: false,
};
/** Parts of the state that do not change which maps are shown. */
const BESIDE = { m: null, c: "", v: false, size: null, atlas: false };

function oneOf(value, allowed) {
  return allowed.includes(value) ? value : null;
}

function classNumber(text) {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : -1;
  return number >= 0 && number < site.classes.length ? number : null;
}

/** Bits that a user asks for, in any form that a number field takes; null for anything else. */
function amountOf(text) {
  const number = /^[-+]?[\d.]{1,12}(e[-+]?\d{1,3})?$/i.test(text) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** Keys of maps that are there, each once, as many as can be compared. */
function pickedOf(text) {
  const keys = text.split("_").filter((key) => site.byKey.has(key));
  return [...new Set(keys)].slice(0, MOST_COMPARED);
}

/** The state that a fragment names. */
function parsed(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const text = (name) => given.get(name) || "";
  const state = { ...DEFAULTS };
  state.m = site.byKey.has(text("m")) ? text("m") : null;
  state.c = pickedOf(text("c").slice(0, 200)).join("_");
  state.v = text("v") === "1" && state.c !== "" && state.m === null;
  state.by = oneOf(text("by"), site.estimators.map((entry) => entry.key));
  state.sort = sortable(text("sort")) || "mi";
  state.group = oneOf(text("group"), ["deep", "shallow", "all"]) || "deep";
  state.rev = text("rev") === "1";
  const layers = site.layers.map((entry) => String(entry.index));
  state.layer = oneOf(text("layer"), layers) === null ? null : Number(text("layer"));
  state.class = classNumber(text("class"));
  state.verdict = given.has("verdict") ? oneOf(given.get("verdict"), site.verdicts) : null;
  state.legible = amountOf(text("legible"));
  state.lo = amountOf(text("lo"));
  state.hi = amountOf(text("hi"));
  state.q = text("q").slice(0, 200);
  state.atlas = text("atlas") === "1";
  state.size = oneOf(text("size"), SIZES);
  return state;
}

function sortable(text) {
  if (["mi", "score", "stability", "index"].includes(text)) return text;
  if (["redundancy", "legibility"].includes(text)) return site.columns[text] === null ? null : text;
  const given = /^class-(\d{1,6})$/.exec(text);
  return given && classNumber(given[1]) !== null ? text : null;
}

/** The class that the order is about, or null. */
function sortClass(state) {
  return state.sort.startsWith("class-") ? Number(state.sort.slice(6)) : null;
}

/** The fragment that names a state; what is as by default is left out. */
function fragmentOf(state) {
  const given = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = state[name];
    if (value !== usual) given.set(name, value === true ? "1" : String(value));
  }
  return "#" + given.toString();
}
