/* A tile: the OIP, its name, its bits, and what qualifies them. */

/** Sides that tiles can have, in CSS pixels; small inputs grow by whole pixels. */
function sideOf(size) {
  const wanted = { s: 60, m: site.exact ? 108 : 96, l: 144, xl: 224 }[size];
  const longest = Math.max(...site.input);
  return site.exact ? Math.max(1, Math.round(wanted / longest)) * longest : wanted;
}

/** Puts a map's picture behind `node`, `side` CSS pixels along its longer side. */
function picture(node, one, side, usual) {
  const [high, wide] = site.cell;
  const scale = side / Math.max(high, wide);
  node.style.width = wide * scale + "px";
  node.style.height = high * scale + "px";
  if (one.verdict === "") {
    node.classList.add("none");
    node.textContent = "no OIP";
    return;
  }
  const name = padded(one.layer.index, 3) + "/" + padded(one.map, 4) + ".webp";
  const shown = (file) => 'url("' + addressOf("img/" + file) + '")';
  if (site.exact || (usual && scale <= 1.1)) {
    const [columns, each] = site.sheet;
    const spot = one.place % each;
    const [row, column] = [Math.floor(spot / columns), spot % columns];
    node.style.backgroundImage = shown("sheet-" + padded(Math.floor(one.place / each), 3) + ".webp");
    node.style.backgroundSize = columns * wide * scale + "px auto";
    node.style.backgroundPosition = -column * wide * scale + "px " + -row * high * scale + "px";
  } else if (scale <= 1.1) {
    // Sheets only pay in their own order; otherwise each visible tile would cost a whole one.
    node.style.backgroundImage = shown("tile/" + name);
    node.style.backgroundSize = "100% 100%";
  } else {
    // The file of the starts is sharp at this size: the best start stands below on the left.
    node.style.backgroundImage = shown("full/" + name);
    node.style.backgroundSize = "auto 200%";
    node.style.backgroundPosition = "left bottom";
  }
}

/** What qualifies a map: [shape, words, kind, words on a tile]. */
function badges(one, told) {
  const found = [];
  const add = (shape, words, kind, short) => found.push([shape, words, kind, short || words]);
  if (one.verdict === "failed") add("✕", "failed", "grave");
  if (one.verdict === "dead") add("○", one.proved ? "silent: dead (proved)" : "silent: dead", "grave", "silent");
  if (one.verdict === "reachable-only") add("◇", "reachable-only", "grave");
  if (told && told.p_adjusted !== null && told.p_adjusted > 0.05) add("≈", "not above null", "quiet");
  if (told && told.saturated) add("▲", "saturated", "quiet");
  if (one.open) add("◔", "not converged", "quiet");
  return found;
}

function badge([shape, words, kind]) {
  const mark = element("span", { class: "shape", "aria-hidden": "true" }, shape);
  return element("span", { class: "badge " + kind, title: words }, mark, " " + words);
}

/** The same on a tile, which says what it is in a label of its own. */
function tileBadge([shape, words, kind, short]) {
  return element("span", { class: "badge " + kind, title: words }, shape + " " + short);
}

/** Lines of quiet badges under a tile. */
function badgeLines(one, state) {
  const told = information(one, measureOf(one, state));
  return badges(one, told).filter((each) => each[2] === "quiet").length;
}

/** Orders by what a tile does not show otherwise. */
const OTHER_SORTS = ["score", "stability", "redundancy"];

/** What the order is by, where it is not the information that each tile shows: [what, how much]. */
function sortedBy(one, view) {
  const { sort } = view.state;
  if (OTHER_SORTS.includes(sort)) return [sort, figure(one[sort])];
  return null;
}

/** A map in a sentence, for those who do not see it. */
function described(one, told, view) {
  const parts = ["Reconstructed input of " + wordsOf(one)];
  const other = sortedBy(one, view);
  if (other) parts.push(other.join(" "));
  if (view.about) {
    parts.push(bits(view.about[one.place]) + " bits about " + className(sortClass(view.state)));
  }
  if (told && told.ordered) parts.push("rank " + told.rank);
  if (told && told.mi !== null) parts.push(bits(told.mi) + " bits");
  if (told && told.best !== null) parts.push("tells most about " + className(told.best));
  return parts.concat(badges(one, told).map((each) => each[1])).join(", ");
}

/** The tile of a map. `view`: what the grid is showing (state, side, most, usual, about). */
function tile(one, view) {
  const told = information(one, measureOf(one, view.state));
  const image = element("span", { class: "picture" + (site.exact ? " exact" : "") });
  picture(image, one, view.side, view.usual);
  const all = badges(one, told);
  const over = all.filter((each) => each[2] === "grave").map(tileBadge);
  const link = element(
    "a",
    {
      class: "tile",
      href: fragmentOf({ ...view.state, m: one.key }),
      tabindex: "-1",
      "aria-label": described(one, told, view),
      "data-key": one.key,
    },
    over.length ? element("span", { class: "frame" }, image, element("span", { class: "over" }, over)) : image,
    element("span", { class: "name", title: one.objective || one.layer.layer + " : " + one.map }, titleOf(one)),
    amountLine(one, told, view)
  );
  if (view.size === "s") return link;
  link.append(...rankLine(told, view, sortedBy(one, view)));
  const under = all.filter((each) => each[2] === "quiet").map(tileBadge);
  if (under.length) link.append(element("span", { class: "under" }, under));
  return link;
}

/** What the order is by: bits as a bar with their interval, or another quantity. */
function amountLine(one, told, view) {
  const other = sortedBy(one, view);
  if (other) {
    const [what, much] = other;
    return element("span", { class: "amount other" }, what, element("span", { class: "bits" }, much));
  }
  const amount = view.about ? view.about[one.place] : told && told.mi;
  if (!told || amount === null) return null;
  const [low, high] = view.about ? [null, null] : [told.low, told.high];
  return element(
    "span",
    { class: "amount" },
    bar(amount, low, high, view.most),
    element("span", { class: "bits" }, bits(amount))
  );
}

function rankLine(told, view, other) {
  if (!told || told.mi === null) return [];
  const best = view.about ? sortClass(view.state) : told.best;
  const place = told.ordered ? "#" + told.rank : "no order";
  return [
    element(
      "span",
      { class: "rank" },
      other || view.about ? bits(told.mi) + " bits" : place,
      best === null ? null : bestClass(best, view.about ? "bits about " : "tells most about ")
    ),
  ];
}

/** The button that picks a map for comparison. */
function picker(one, picked) {
  const words = (picked ? "Do not compare " : "Compare ") + wordsOf(one);
  return element(
    "button",
    {
      type: "button",
      class: "pick",
      tabindex: "-1",
      title: picked ? "Do not compare" : "Compare",
      "aria-label": words,
      "aria-pressed": String(picked),
      "data-pick": one.key,
    },
    picked ? "✓" : "+"
  );
}

function bestClass(place, words) {
  const name = className(place);
  return named("→ " + name, { class: "best", title: words + name });
}
