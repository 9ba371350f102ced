/* Which maps are shown, and in which order. */

/** Whether the order may mix layers: only held-out predictive bounds about one thing compare across them. */
function mayMix(state) {
  const about = state.sort === "mi" || sortClass(state) !== null;
  const chosen = state.by
    ? [state.by]
    : [...new Set(site.layers.map((entry) => entry.measure).filter((key) => key !== null))];
  const bounds = site.estimators.filter((entry) => entry.held_out).map((entry) => entry.key);
  if (!about || chosen.length !== 1 || !bounds.includes(chosen[0]) || site.layers.length < 2) return false;
  return new Set(site.layers.filter((entry) => entry.measure !== null).map((entry) => entry.about)).size === 1;
}

function mixes(state) {
  return state.group === "all" && state.layer === null && mayMix(state);
}

/** The maps that pass the filters, in default order. */
function filtered(state) {
  const queries = [wordsIn(state.q), wordsIn(asListed(state.q))];
  return site.maps.filter((entry) => {
    if (state.layer !== null && entry.layer.index !== state.layer) return false;
    if (state.verdict !== null && entry.verdict !== state.verdict) return false;
    if (state.legible !== null && !(entry.legibility !== null && 100 * entry.legibility >= state.legible)) return false;
    if (state.class !== null || state.lo !== null || state.hi !== null) {
      const estimate = site.information[measureOf(entry, state)];
      if (estimate === undefined) return false;
      if (state.class !== null && estimate.best[entry.position] !== state.class) return false;
      const mi = estimate.mi[entry.position];
      if (state.lo !== null && !(mi !== null && mi >= state.lo)) return false;
      if (state.hi !== null && !(mi !== null && mi <= state.hi)) return false;
    }
    return queries.some((terms) => terms.every((word) => fits(entry, word, state)));
  });
}

function wordsIn(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/** A name as one word of a search. */
function oneWord(text) {
  return wordsIn(text).join("_");
}

/** A search in the words of a tile or its label: "map 5 of block", "block : 5", "best for: 7". */
function asListed(text) {
  const nouns = [...new Set(["map", "unit", ...site.layers.map((layer) => layer.noun)])].join("|");
  const numbered = new RegExp("\\b(?:" + nouns + ")s?\\s+(\\d+)(\\s+of\\b)?", "gi");
  const ofClass = /\b(?:(?:best for|class)\s*:?|for:)\s+/gi;
  const plain = text.replace(numbered, "$1").replace(ofClass, "class:").replace(/\s+:\s+/g, " ");
  const [before, after] = plain.split(/\bclass:(.*)/i);
  if (after === undefined) return plain;
  const words = wordsIn(after);
  const names = new Set(site.classes.map(oneWord));
  for (let end = words.length; end > 1; end -= 1) {
    const name = words.slice(0, end).join("_");
    if (names.has(name)) return [before, "class:" + name, ...words.slice(end)].join(" ");
  }
  return plain;
}

/** Whether a word of a search means a map: its number, its class, or a part of its name, its
 * verdict or its class. */
function fits(entry, word, state) {
  if (/^\d+$/.test(word)) return String(entry.map) === word;
  const estimate = site.information[measureOf(entry, state)];
  const best = estimate ? estimate.best[entry.position] : null;
  const about = best === null || best === undefined ? "" : className(best).toLowerCase();
  if (about !== "" && word === "class:" + oneWord(about)) return true;
  if (verdictName(entry.verdict).toLowerCase().includes(word) || (/[a-z]{2}|[^\x00-\x7f]/.test(word) && about.includes(word))) return true;
  const name = entry.layer.layer.toLowerCase();
  if (entry.objective && entry.objective.toLowerCase().includes(word)) return true;
  const full = name + ":" + entry.map;
  return name.includes(word) || (/:\d+$/.test(word) ? full.endsWith(word) : full.includes(word));
}

/** The value that a map is ordered by, greater first; null comes last. */
function valueOf(entry, state, about) {
  if (state.sort === "score") return entry.score;
  if (state.sort === "stability") return entry.stability;
  if (["redundancy", "legibility"].includes(state.sort)) return entry[state.sort];
  if (state.sort === "index") return -entry.map;
  const measure = measureOf(entry, state);
  if (sortClass(state) !== null) {
    const estimate = about && measure !== null ? about[measure] : null;
    return estimate ? estimate[entry.position] : null;
  }
  const estimate = information(entry, measure);
  if (!estimate || estimate.mi === null) return null;
  return mixes(state) ? estimate.mi : -estimate.rank;
}

/** The maps of a state, in order. `about`: bits about the class of the order, where it has one. */
function ordered(state, about) {
  const result = filtered(state);
  const values = new Map(result.map((entry) => [entry, valueOf(entry, state, about)]));
  const turn = state.rev ? -1 : 1;
  const mixed = mixes(state);
  const deep = state.group === "shallow" ? -1 : 1;
  return result.sort((a, b) => {
    if (!mixed && a.depth !== b.depth) return deep * (a.depth - b.depth);
    const first = values.get(a);
    const second = values.get(b);
    if (first === null || second === null) {
      if (first !== second) return first === null ? 1 : -1;
    } else if (first !== second) {
      return turn * (second - first);
    }
    return a.position - b.position;
  });
}
