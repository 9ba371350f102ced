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
  node.replaceChildren(mapHead(entry, estimate, list, turn, pickButton(entry, state, pick)), body);
  if (!node.open) node.showModal();
  const kept = pressed ? node.querySelector('[data-turn="' + pressed + '"]:not(:disabled)') : null;
  (kept || node.querySelector("h2")).focus({ preventScroll: true });
  node.scrollTop = 0;
  detailOf(entry).then(({ name, shared, detail }) => {
    if (dialog.key !== entry.key) return;
    if (!detail) {
      body.replaceChildren(paragraph("data/" + name + ".js cannot be read.", "notice"));
      return;
    }
    body.replaceChildren(
      element(
        "div",
        { class: "images" },
        portrait(entry, detail),
        verdictPart(entry, estimate, detail),
        startsPart(entry, detail),
        evolutionPart(entry, detail, shared),
        bestPart(detail),
        neighboursPart(entry, detail, shared, turn),
        kernelsPart(detail, shared)
      ),
      element(
        "div",
        { class: "numbers" },
        measuresPart(entry, detail, shared),
        classesPart(detail, shared, state, entry),
        tracePart(detail, shared),
        besidePart(detail),
        legibilityPart(detail),
        responsesPart(detail),
        softmaxPart(detail),
        ablationPart(detail, shared),
        recordPart(detail, shared),
        factsPart(entry),
        commandPart(detail)
      )
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

function verdictPart(entry, estimate, detail) {
  const marks = badges(entry, estimate).map(badge);
  return element(
    "section",
    { class: "verdict" },
    element("h3", {}, verdictName(entry.verdict), marks.length ? element("span", { class: "marks" }, marks) : null),
    detail.sentences.map((text) => paragraph(text))
  );
}

function mapHead(entry, estimate, list, turn, compared) {
  const position = list.indexOf(entry);
  const order = element(
    "div",
    { class: "turn", role: "group", "aria-label": "In this order" },
    turner("‹", "Previous in this order", "[", list[position - 1], turn),
    element("span", { class: "quiet" }, position < 0 ? "–" : position + 1 + " of " + list.length),
    turner("›", "Next in this order", "]", position < 0 ? undefined : list[position + 1], turn)
  );
  const layer = entry.layer.index;
  const near = (step) => nearest(layer, entry.map, step);
  const numbers = element(
    "div",
    { class: "turn", role: "group", "aria-label": "By number" },
    turner("‹", "Previous number", null, near(-1), turn),
    element("span", { class: "quiet" }, "map " + entry.map),
    turner("›", "Next number", null, near(1), turn)
  );
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => dialog.node.close());
  const rank = estimate && estimate.ordered ? "rank " + estimate.rank + " in its layer" : "no rank";
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
    numbers,
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

/** The nearest map of a layer that is shown, by number. */
function nearest(layer, map, step) {
  const result = site.maps
    .filter((entry) => entry.layer.index === layer && step * (entry.map - map) > 0)
    .sort((a, b) => step * (a.map - b.map));
  return result[0];
}
