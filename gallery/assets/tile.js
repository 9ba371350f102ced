/* A tile: the OIP, its name, its bits, and what qualifies them. */

/** Sides that tiles can have, in CSS pixels; small inputs grow by whole pixels. */
function sideOf(size) {
  const target = { s: 60, m: site.exact ? 108 : 96, l: 144, xl: 224 }[size];
  const longest = Math.max(...site.input);
  return site.exact ? Math.max(1, Math.round(target / longest)) * longest : target;
}

/** Puts a map's picture behind `node`, `side` CSS pixels along its longer side. */
function picture(node, entry, side, usual) {
  const [high, wide] = site.cell;
  const scale = side / Math.max(high, wide);
  node.style.width = wide * scale + "px";
  node.style.height = high * scale + "px";
  if (entry.verdict === "") {
    node.classList.add("none");
    node.textContent = "no OIP";
    return;
  }
  const name = padded(entry.layer.index, 3) + "/" + padded(entry.map, 4) + ".webp";
  const shown = (file) => 'url("' + addressOf("img/" + file) + '")';
  if (site.exact || ((usual || site.single) && scale <= 1.1)) {
    const [columns, each] = site.sheet;
    const spot = entry.position % each;
    const [row, column] = [Math.floor(spot / columns), spot % columns];
    node.style.backgroundImage = shown("sheet-" + padded(Math.floor(entry.position / each), 3) + ".webp");
    node.style.backgroundSize = columns * wide * scale + "px auto";
    node.style.backgroundPosition = -column * wide * scale + "px " + -row * high * scale + "px";
  } else if (scale <= 1.1 && !site.single) {
    // Sheets only pay in their own order; otherwise each visible tile would cost a whole one.
    node.style.backgroundImage = shown("tile/" + name);
    node.style.backgroundSize = "100% 100%";
  } else {
    // The file of the best start is sharp at this size; without true colors it is enhanced below.
    node.style.backgroundImage = shown("full/" + name);
    node.style.backgroundSize = rendering() ? "100% 100%" : "100% 200%";
    node.style.backgroundPosition = "left bottom";
  }
}

/** Badges that qualify a map: [shape, label, kind, label on a tile]. */
function badges(entry, estimate) {
  const result = [];
  const add = (shape, label, kind, short) => result.push([shape, label, kind, short || label]);
  if (entry.verdict === "failed") add("✕", "failed", "grave");
  if (entry.verdict === "dead") add("○", entry.proved ? "silent: dead (proved)" : "silent: dead", "grave", "silent");
  if (entry.verdict === "not reached") add("◌", "not reached", "grave");
  if (entry.verdict === "reachable-only") add("◇", verdictName(entry.verdict), "grave");
  if (estimate && estimate.p_adjusted !== null && estimate.p_adjusted > 0.05) add("≈", "not above null", "quiet");
  if (estimate && estimate.saturated) add("▲", "saturated", "quiet");
  if (entry.open) add("◔", "not converged", "quiet");
  return result;
}

function badge([shape, label, kind]) {
  const mark = element("span", { class: "shape", "aria-hidden": "true" }, shape);
  return element("span", { class: "badge " + kind, title: label }, mark, " " + label);
}

/** The same on a tile, which says what it is in a label of its own. */
function tileBadge([shape, label, kind, short]) {
  return element("span", { class: "badge " + kind, title: label }, shape + " " + short);
}

/** Lines under the name of a tile: [quantities and rank, quiet badges]. */
function textLines(entry, view) {
  const estimate = information(entry, measureOf(entry, view.state));
  const ranked = estimate && estimate.mi !== null ? 2 : 0;
  const marks = badges(entry, estimate).filter((each) => each[2] === "quiet").length;
  return [Math.max(ranked, sortedBy(entry, view) ? 1 : 0), marks];
}

/** Orders by what a tile does not show otherwise. */
const OTHER_SORTS = ["score", "stability", "redundancy", "legibility"];

/** The quantity of the order where it is not the information on each tile: [name, value]. */
function sortedBy(entry, view) {
  const { sort } = view.state;
  if (sort === "legibility" && entry.legibility !== null) return [sort, percent(entry.legibility)];
  if (OTHER_SORTS.includes(sort)) return [sort, figure(entry[sort])];
  return null;
}

/** A map in a sentence, for those who do not see it. */
function described(entry, estimate, view) {
  const parts = ["Reconstructed input of " + nameOf(entry)];
  const other = sortedBy(entry, view);
  if (other) parts.push(other.join(" "));
  if (view.about) {
    parts.push(bits(view.about[entry.position]) + " bits about " + className(sortClass(view.state)));
  }
  if (estimate && estimate.ordered) parts.push("rank " + estimate.rank);
  if (estimate && estimate.mi !== null) parts.push(amountWords(estimate.mi, measureOf(entry, view.state)));
  if (estimate && estimate.best !== null) parts.push("best for: " + className(estimate.best));
  return parts.concat(badges(entry, estimate).map((each) => each[1])).join(", ");
}

/** The tile of a map. `view`: what the grid is showing (state, side, most, usual, about). */
function tile(entry, view) {
  const estimate = information(entry, measureOf(entry, view.state));
  const image = element("span", { class: "picture" + (site.exact ? " exact" : "") });
  picture(image, entry, view.side, view.usual);
  const all = badges(entry, estimate);
  const over = all.filter((each) => each[2] === "grave").map(tileBadge);
  const link = element(
    "a",
    {
      class: "tile",
      href: fragmentOf({ ...view.state, m: entry.key }),
      tabindex: "-1",
      "aria-label": described(entry, estimate, view),
      "data-key": entry.key,
    },
    over.length ? element("span", { class: "frame" }, image, element("span", { class: "over" }, over)) : image,
    element("span", { class: "name", title: entry.objective || entry.layer.layer + " : " + entry.map }, titleOf(entry)),
    amountLine(entry, estimate, view)
  );
  if (view.size === "s") return link;
  link.append(...rankLine(entry, estimate, view, sortedBy(entry, view)));
  const under = all.filter((each) => each[2] === "quiet").map(tileBadge);
  if (under.length) link.append(element("span", { class: "under" }, under));
  return link;
}

/** The quantity of the order: bits as a bar with their interval, or another quantity. */
function amountLine(entry, estimate, view) {
  const other = sortedBy(entry, view);
  if (other) {
    const [what, much] = other;
    return element("span", { class: "amount other" }, what, element("span", { class: "bits" }, much));
  }
  const amount = view.about ? view.about[entry.position] : estimate && estimate.mi;
  if (!estimate || amount === null) return null;
  const [low, high] = view.about ? [null, null] : [estimate.low, estimate.high];
  return element(
    "span",
    { class: "amount" },
    bar(amount, low, high, view.most),
    element("span", { class: "bits" }, bits(amount))
  );
}

function rankLine(entry, estimate, view, other) {
  if (!estimate || estimate.mi === null) return [];
  const best = view.about ? sortClass(view.state) : estimate.best;
  const position = estimate.ordered ? "#" + estimate.rank : "no order";
  return [
    element(
      "span",
      { class: "rank" },
      other || view.about ? amountWords(estimate.mi, measureOf(entry, view.state)) : position,
      best === null ? null : bestClass(best, view.about ? "bits about " : "knows more than usual about ", Boolean(other) || (className(best).length > 3 && view.side <= 112))
    ),
  ];
}

/** The button that picks a map for comparison. */
function picker(entry, picked) {
  const label = (picked ? "Remove from comparison: " : "Compare ") + nameOf(entry);
  return element(
    "button",
    {
      type: "button",
      class: "pick",
      tabindex: "-1",
      title: picked ? "Remove from comparison" : "Compare",
      "aria-label": label,
      "aria-pressed": String(picked),
      "data-pick": entry.key,
    },
    picked ? "✓" : "+"
  );
}

function bestClass(position, label, short) {
  const name = className(position);
  return named((short ? "for: " : "best for: ") + name, { class: "best", title: label + name });
}
