/* Which maps are shown, and in which order. */

/** Whether the order may mix layers: only held-out predictive bounds compare across them. */
function mayMix(state) {
  const about = state.sort === "mi" || sortClass(state) !== null;
  const chosen = state.by
    ? [state.by]
    : [...new Set(site.layers.map((one) => one.measure).filter((key) => key !== null))];
  const bounds = site.estimators.filter((one) => one.held_out).map((one) => one.key);
  return about && chosen.length === 1 && bounds.includes(chosen[0]) && site.layers.length > 1;
}

function mixes(state) {
  return state.group === "all" && state.layer === null && mayMix(state);
}

/** The maps that pass the filters, in default order. */
function filtered(state) {
  const asked = [wordsIn(state.q), wordsIn(asListed(state.q))];
  return site.maps.filter((one) => {
    if (state.layer !== null && one.layer.index !== state.layer) return false;
    if (state.verdict !== null && one.verdict !== state.verdict) return false;
    if (state.class !== null || state.lo !== null || state.hi !== null) {
      const told = site.information[measureOf(one, state)];
      if (told === undefined) return false;
      if (state.class !== null && told.best[one.place] !== state.class) return false;
      const mi = told.mi[one.place];
      if (state.lo !== null && !(mi !== null && mi >= state.lo)) return false;
      if (state.hi !== null && !(mi !== null && mi <= state.hi)) return false;
    }
    return asked.some((words) => words.every((word) => fits(one, word)));
  });
}

function wordsIn(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

/** A search that says a map as its tile or its label does, "map 5 of block" or "block : 5". */
function asListed(text) {
  return text.replace(/\bmaps?\s+(\d+)(\s+of\b)?/gi, "$1").replace(/\s+:\s+/g, " ");
}

/** Whether a word of a search means a map: its number, or a part of its name. */
function fits(one, word) {
  if (/^\d+$/.test(word)) return String(one.map) === word;
  const name = one.layer.layer.toLowerCase();
  if (one.objective && one.objective.toLowerCase().includes(word)) return true;
  return name.includes(word) || (name + ":" + one.map).includes(word);
}

/** What a map is ordered by, greater first; null comes last. */
function valueOf(one, state, about) {
  if (state.sort === "score") return one.score;
  if (state.sort === "stability") return one.stability;
  if (state.sort === "redundancy") return one.redundancy;
  if (state.sort === "index") return -one.map;
  const measure = measureOf(one, state);
  if (sortClass(state) !== null) {
    const told = about && measure !== null ? about[measure] : null;
    return told ? told[one.place] : null;
  }
  const told = information(one, measure);
  if (!told || told.mi === null) return null;
  return mixes(state) ? told.mi : -told.rank;
}

/** The maps of a state, in order. `about`: bits about the class of the order, where it has one. */
function ordered(state, about) {
  const found = filtered(state);
  const values = new Map(found.map((one) => [one, valueOf(one, state, about)]));
  const turn = state.rev ? -1 : 1;
  const mixed = mixes(state);
  const deep = state.group === "shallow" ? -1 : 1;
  return found.sort((a, b) => {
    if (!mixed && a.depth !== b.depth) return deep * (a.depth - b.depth);
    const first = values.get(a);
    const second = values.get(b);
    if (first === null || second === null) {
      if (first !== second) return first === null ? 1 : -1;
    } else if (first !== second) {
      return turn * (second - first);
    }
    return a.place - b.place;
  });
}
