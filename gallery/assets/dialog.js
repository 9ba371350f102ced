/* A map's page: a dialog with an address of its own. */

const dialog = { node: null, key: null, picked: "" };

/** Shows a map; `turn` leads to another one: turn(map), `pick` to comparison: pick(key). */
function showMap(entry, state, list, turn, pick) {
  const { node } = dialog;
  const focused = node.open && node.contains(document.activeElement);
  const pressed = focused ? document.activeElement.dataset.turn : null;
  dialog.key = entry.key;
  const estimate = information(entry, measureOf(entry, state));
  const body = element("div", { class: "map-body" }, paragraph("…", "quiet"));
  const rank = rankWords(entry, estimate, measureOf(entry, state));
  node.replaceChildren(mapHead(entry, rank, list, turn, pickButton(entry, state, pick)), body);
  if (!node.open) node.showModal();
  const kept = pressed ? node.querySelector('[data-turn="' + pressed + '"]:not(:disabled)') : null;
  (kept || node.querySelector("h2")).focus({ preventScroll: true });
  node.scrollTop = 0;
  detailOf(entry).then(({ name, shared, detail }) => {
    if (dialog.key !== entry.key) return;
    if (!detail) {
      body.replaceChildren(paragraph("data/" + name + ".js cannot be read; build the gallery again.", "notice"));
      return;
    }
    const starts = startsPart(entry, detail);
    const best = bestPart(detail);
    body.replaceChildren(
      ...[
        leadPart(entry, detail, best || starts),
        verdictPart(entry, estimate, detail, shared, state),
        element(
          "div",
          { class: "parts" },
          classesPart(detail, shared, state, entry),
          responsesPart(detail),
          besidePart(detail),
          best ? starts : null,
          evolutionPart(entry, detail, shared),
          legibilityPart(entry, detail),
          sumPart(entry, detail),
          partnersPart(entry, detail),
          kindsPart(detail),
          outputsPart(detail),
          softmaxPart(detail),
          ablationPart(entry, detail, shared),
          recordPart(detail, shared)
        ),
        causesPart(entry, detail, turn),
        directionsPart(entry, detail, turn),
        alikePart(entry, detail, turn),
        neighboursPart(entry, detail, shared, turn),
        kernelsPart(detail, shared),
        folded("Estimates of the information", measuresPart(entry, detail, shared), otherClassesPart(detail, shared, state, entry)),
        folded("The ascent and its settings", tracePart(detail, shared), noisePart(detail), commandPart(detail)),
        folded("Layer", factsPart(entry)),
      ].filter(Boolean)
    );
  });
}

/** Picks the open map for comparison, or puts it back. */
function pickButton(entry, state, pick) {
  const label = () => (pickedOf(dialog.picked).includes(entry.key) ? "✓ Compared" : "+ Compare");
  dialog.picked = state.c;
  const button = element("button", { type: "button", class: "pick-open", "aria-keyshortcuts": "c" }, label());
  const pressed = () => button.setAttribute("aria-pressed", String(pickedOf(dialog.picked).includes(entry.key)));
  pressed();
  button.addEventListener("click", () => {
    dialog.picked = pick(entry.key);
    button.textContent = label();
    pressed();
  });
  return button;
}

/** The picture, large, beside what is to be seen with it. */
function leadPart(entry, detail, beside) {
  if (!detail.traces && !beside) return null;
  const hint = site.data || !site.with_data ? null : "To show the data " + itemWord() + "s that excite it most: '" + site.with_data + "'.";
  return element("div", { class: "lead" }, portrait(entry, detail),
    element("div", { class: "beside-lead" }, beside, hint && paragraph(hint, "quiet")));
}

/** What a reader would not look for first; closed at the beginning. */
function folded(title, ...parts) {
  const shown = parts.filter(Boolean);
  return shown.length ? element("details", { class: "more-parts" }, element("summary", {}, title), element("div", { class: "parts" }, shown)) : null;
}

/** How much information the map carries, as the end of a sentence; empty where it was not ranked. */
function informationWords(estimate, measure, layer) {
  if (!estimate || estimate.mi === null) return "";
  const about = { input: "the images", direction: "the number of the images" }[layer.about] || "the " + classWord() + (site.tags ? "s" : "");
  if (layer.about === "none") return "";
  if (estimate.mi === 0 || (estimate.p_adjusted !== null && estimate.p_adjusted > 0.05)) {
    return "no information about " + about + " was found in its response";
  }
  const most = measure && measure.ceiling ? bits(estimate.mi) + " of at most " + bits(measure.ceiling) : bits(estimate.mi);
  const best = estimate.best === null ? "" : ", more than usual about " + className(estimate.best);
  return "it carries " + most + " bits of information about " + about + best;
}

/** One sentence on the map, then its marks, and the numbers behind them folded away. */
function verdictPart(entry, estimate, detail, shared, state) {
  const name = verdictName(entry.verdict);
  const marks = badges(entry, estimate).filter((each) => each[1] !== name).map(badge);
  const measure = shared.measures.find((each) => each.key === measureOf(entry, state));
  const wording = [detail.headline, informationWords(estimate, measure, entry.layer)].filter(Boolean).join("; ");
  return element(
    "section",
    { class: "verdict" },
    paragraph(wording + ".", "headline"),
    element("div", { class: "marks" }, element("b", {}, name), marks),
    element("details", {}, element("summary", {}, "Evidence"), detail.sentences.map((text) => paragraph(text)))
  );
}

/** The rank of a map among those of its layer that were ranked. */
function rankWords(entry, estimate, measure) {
  if (!estimate || !estimate.ordered) return entry.objective ? "" : "no rank";
  const { layer } = entry;
  const { rank } = site.information[measure];
  const count = site.maps.filter((other) => other.layer === layer && rank[other.position] !== null).length;
  return "rank " + estimate.rank + " of " + plural(count, (count < layer.shown ? "ranked " : "") + layer.noun);
}

function mapHead(entry, rank, list, turn, compared) {
  const position = list.indexOf(entry);
  const order = element(
    "div",
    { class: "turn", role: "group", "aria-label": "Maps in this order" },
    turner("‹", "Previous " + unitWord(), "[", list[position - 1], turn),
    element("span", { class: "quiet" }, position < 0 ? "–" : position + 1 + " of " + list.length),
    turner("›", "Next " + unitWord(), "]", position < 0 ? undefined : list[position + 1], turn)
  );
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => dialog.node.close());
  return element(
    "header",
    { class: "map-head" },
    element(
      "div",
      { class: "map-name" },
      element("h2", { id: "map-title", tabindex: "-1" }, titleOf(entry)),
      element("span", { class: "quiet" }, rank)
    ),
    order,
    compared,
    close
  );
}

function turner(sign, label, key, to, turn) {
  const button = element(
    "button",
    { type: "button", "aria-label": label, title: label, "aria-keyshortcuts": key, "data-turn": label },
    sign
  );
  button.disabled = !to;
  if (to) button.addEventListener("click", () => turn(to));
  return button;
}
