/* Up to four maps side by side: the tray that holds them, and the page that shows them. */

const comparison = { node: null, shown: "" };

/** The tray at the foot of the window. */
function showTray(state, take, open) {
  const tray = byId("tray");
  const keys = pickedOf(state.c);
  tray.hidden = !keys.length;
  const maps = keys.map((key) => site.byKey.get(key));
  const items = maps.map((entry) => {
    const label = "Remove " + nameOf(entry);
    const button = element("button", { type: "button", class: "near", title: "Remove", "aria-label": label },
      miniature(entry), element("span", { "aria-hidden": "true" }, entry.map + " ✕"));
    button.addEventListener("click", () => take(entry.key));
    return button;
  });
  const compare = element("button", { type: "button", class: "main" }, "Compare " + plural(keys.length, unitWord()));
  compare.addEventListener("click", open);
  const clear = element("button", { type: "button", class: "link" }, "Clear");
  clear.addEventListener("click", () => take(null));
  tray.replaceChildren(...items, compare, clear);
}

/** Shows the picked maps side by side. `open(map)` leads to a map's own page. */
function showComparison(state, open, take) {
  const { node } = comparison;
  comparison.shown = state.c;
  const maps = pickedOf(state.c).map((key) => site.byKey.get(key));
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => node.close());
  const title = element("h2", { id: "compare-title", tabindex: "-1" }, plural(maps.length, unitWord()) + " side by side");
  const head = element("header", { class: "map-head" }, element("div", { class: "map-name" }, title), close);
  const body = element("div", { class: "compared", tabindex: "0", role: "region", "aria-label": "Maps side by side" });
  body.style.setProperty("--columns", String(maps.length));
  node.replaceChildren(head, body);
  if (!node.open) node.showModal();
  title.focus({ preventScroll: true });
  Promise.all(maps.map(detailOf)).then((estimate) => {
    if (comparison.shown !== state.c || !node.open) return;
    const most = widestMeasure(maps, estimate);
    const classMost = widestClass(estimate);
    body.replaceChildren(
      ...maps.map((entry, position) => column(entry, estimate[position], maps, { most, classMost, state, open, take }))
    );
  });
}

/** The full width of the bars of all maps, in bits. */
function widestMeasure(maps, estimate) {
  let most = 0.001;
  maps.forEach((entry, position) => {
    for (const measure of estimate[position].shared ? estimate[position].shared.measures : []) {
      const measured = information(entry, measure.key);
      most = Math.max(most, measure.ceiling || 0, (measured && (measured.high || measured.mi)) || 0);
    }
  });
  return most;
}

function widestClass(estimate) {
  const every = estimate.flatMap(({ detail }) =>
    detail && detail.per_class ? detail.per_class.flatMap((entry) => (entry ? entry.mi : [])) : []
  );
  return Math.max(0.001, ...every.map((value) => value || 0));
}

function column(entry, { name, shared, detail }, maps, { most, classMost, state, open, take }) {
  const show = element("button", { type: "button", class: "link" }, titleOf(entry));
  show.addEventListener("click", () => open(entry));
  const out = element("button", { type: "button", class: "link", "aria-label": "Remove " + entry.layer.noun + " " + entry.map }, "remove");
  out.addEventListener("click", () => take(entry.key));
  const head = element("div", { class: "column-head" }, element("h3", {}, show), out);
  if (!detail) return element("article", {}, head, paragraph("data/" + name + ".js cannot be read; build the gallery again.", "notice"));
  const estimate = information(entry, measureOf(entry, state));
  const marks = badges(entry, estimate).map(badge);
  const measures = shared.measures.map((measure) => {
    const measured = information(entry, measure.key);
    if (!measured) return null;
    return element("div", { class: "measure" },
      element("div", { class: "measure-name" }, element("code", {}, measure.key),
        element("span", { class: "quiet" }, measured.ordered ? "#" + measured.rank : "no order")),
      element("div", { class: "measure-value" }, element("strong", {}, amountWords(measured.mi, measure.key))),
      bar(measured.mi, measured.low, measured.high, most, measure.ceiling));
  });
  const target = shared.measures.findIndex((each) => each.key === measureOf(entry, state));
  const values = detail.per_class ? detail.per_class[Math.max(0, target)] : null;
  const classes = values ? classPanel(shared.measures[Math.max(0, target)], values, detail.classes, classMost) : null;
  const facts = [
    ["Score", figure(entry.score)],
    ["Best data " + itemWord(), figure(detail.data_score === undefined ? null : detail.data_score)],
    ["Stability", figure(entry.stability)],
    ...(entry.legibility === null ? [] : [["Legibility", percent(entry.legibility)]]),
    ...sharedWith(entry, detail, shared, maps),
  ];
  return element("article", {}, head, portrait(entry, detail),
    element("div", { class: "marks" }, element("b", {}, verdictName(entry.verdict)), marks),
    element("div", {}, measures), classes || element("div"),
    (detail.traces && traceChart(shared.steps, detail.traces, entry.score, detail.data_score)) || element("div"),
    element("dl", { class: "facts" }, facts.map(([term, value]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, value)))));
}

/** The values that a map shares with the other shown maps, where they are among its nearest. */
function sharedWith(entry, detail, shared, maps) {
  const result = [];
  for (const { map, values } of detail.neighbours || []) {
    const other = maps.some((each) => each.layer === entry.layer && each.map === map);
    if (other) result.push([shared.redundancy.names[0] + " with " + map, figure(values[0])]);
  }
  return result;
}
