/* A map's page: a dialog with an address of its own. */

const dialog = { node: null, key: null };

/** Shows a map; `turn` leads to another one: turn(map). */
function showMap(one, state, list, turn) {
  const { node } = dialog;
  const again = node.open && node.contains(document.activeElement);
  const held = again ? document.activeElement.dataset.turn : null;
  dialog.key = one.key;
  const told = information(one, measureOf(one, state));
  const body = element("div", { class: "map-body" }, paragraph("…", "quiet"));
  node.replaceChildren(mapHead(one, told, list, turn), body);
  if (!node.open) node.showModal();
  const kept = held ? node.querySelector('[data-turn="' + held + '"]:not(:disabled)') : null;
  (kept || node.querySelector("h2")).focus({ preventScroll: true });
  node.scrollTop = 0;
  const name = "detail-" + padded(one.layer.index, 3);
  loaded(name, name).then((shared) => {
    if (dialog.key !== one.key) return;
    const detail = shared && shared.maps[String(one.map)];
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
        bestPart(detail)
      ),
      element(
        "div",
        { class: "numbers" },
        measuresPart(one, detail, shared),
        classesPart(detail, shared, state, one),
        tracePart(detail, shared),
        responsesPart(detail),
        factsPart(one),
        commandPart(detail)
      )
    );
  });
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

function mapHead(one, told, list, turn) {
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
