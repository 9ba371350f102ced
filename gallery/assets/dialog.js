/* A map's page: a dialog with an address of its own. */

const dialog = { node: null, key: null, picked: "" };

/** Shows a map; `turn` leads to another one: turn(map), `pick` to comparison: pick(key). */
function showMap(one, state, list, turn, pick) {
  const { node } = dialog;
  const again = node.open && node.contains(document.activeElement);
  const held = again ? document.activeElement.dataset.turn : null;
  dialog.key = one.key;
  const told = information(one, measureOf(one, state));
  const body = element("div", { class: "map-body" }, paragraph("…", "quiet"));
  node.replaceChildren(mapHead(one, told, list, turn, pickButton(one, state, pick)), body);
  if (!node.open) node.showModal();
  const kept = held ? node.querySelector('[data-turn="' + held + '"]:not(:disabled)') : null;
  (kept || node.querySelector("h2")).focus({ preventScroll: true });
  node.scrollTop = 0;
  detailOf(one).then(({ name, shared, detail }) => {
    if (dialog.key !== one.key) return;
    if (!detail) {
      body.replaceChildren(paragraph("data/" + name + ".js cannot be read.", "notice"));
      return;
    }
    body.replaceChildren(
      element(
        "div",
        { class: "images" },
        portrait(one, detail),
        verdictPart(one, told, detail),
        startsPart(one, detail),
        evolutionPart(one, detail, shared),
        bestPart(detail),
        neighboursPart(one, detail, shared, turn),
        kernelsPart(detail, shared)
      ),
      element(
        "div",
        { class: "numbers" },
        measuresPart(one, detail, shared),
        classesPart(detail, shared, state, one),
        tracePart(detail, shared),
        besidePart(detail),
        responsesPart(detail),
        softmaxPart(detail),
        ablationPart(detail, shared),
        recordPart(detail, shared),
        factsPart(one),
        commandPart(detail)
      )
    );
  });
}

/** Picks the open map for comparison, or puts it back. */
function pickButton(one, state, pick) {
  const words = () => (pickedOf(dialog.picked).includes(one.key) ? "✓ Compared" : "+ Compare");
  dialog.picked = state.c;
  const button = element("button", { type: "button", class: "pick-open", "aria-keyshortcuts": "c" }, words());
  const pressed = () => button.setAttribute("aria-pressed", String(pickedOf(dialog.picked).includes(one.key)));
  pressed();
  button.addEventListener("click", () => {
    dialog.picked = pick(one.key);
    button.textContent = words();
    pressed();
  });
  return button;
}

function verdictPart(one, told, detail) {
  const marks = badges(one, told).map(badge);
  return element(
    "section",
    { class: "verdict" },
    element("h3", {}, one.verdict || "no OIP", marks.length ? element("span", { class: "marks" }, marks) : null),
    detail.sentences.map((text) => paragraph(text))
  );
}

function mapHead(one, told, list, turn, compared) {
  const place = list.indexOf(one);
  const order = element(
    "div",
    { class: "turn", role: "group", "aria-label": "In this order" },
    turner("‹", "Previous in this order", "[", list[place - 1], turn),
    element("span", { class: "quiet" }, place < 0 ? "–" : place + 1 + " of " + list.length),
    turner("›", "Next in this order", "]", place < 0 ? undefined : list[place + 1], turn)
  );
  const layer = one.layer.index;
  const near = (step) => nearest(layer, one.map, step);
  const numbers = element(
    "div",
    { class: "turn", role: "group", "aria-label": "By number" },
    turner("‹", "Previous number", null, near(-1), turn),
    element("span", { class: "quiet" }, "map " + one.map),
    turner("›", "Next number", null, near(1), turn)
  );
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => dialog.node.close());
  const rank = told && told.ordered ? "rank " + told.rank + " in its layer" : "no rank";
  return element(
    "header",
    { class: "map-head" },
    element(
      "div",
      { class: "map-name" },
      element("h2", { id: "map-title", tabindex: "-1" }, titleOf(one)),
      element("span", { class: "quiet" }, rank)
    ),
    order,
    numbers,
    compared,
    close
  );
}

function turner(sign, words, key, to, turn) {
  const button = element(
    "button",
    { type: "button", "aria-label": words, title: words, "aria-keyshortcuts": key, "data-turn": words },
    sign
  );
  button.disabled = !to;
  if (to) button.addEventListener("click", () => turn(to));
  return button;
}

/** The nearest map of a layer that is shown, by number. */
function nearest(layer, map, step) {
  const found = site.maps
    .filter((one) => one.layer.index === layer && step * (one.map - map) > 0)
    .sort((a, b) => step * (a.map - b.map));
  return found[0];
}
