/* The parts of a map's page. Each takes what is known and gives an element, or null. */

function section(title, ...children) {
  const shown = children.flat().filter((child) => child !== null);
  if (!shown.length) return null;
  return element("section", {}, element("h3", {}, title), ...shown);
}

function fileOf(one, folder, ending) {
  const name = padded(one.layer.index, 3) + "/" + padded(one.map, 4);
  return "img/" + folder + "/" + name + (ending || "") + ".webp";
}

function paragraph(text, kind) {
  return element("p", { class: kind || null }, text);
}

/** The best start, large, enhanced. */
function portrait(one, detail) {
  if (!detail.traces) return element("div", { class: "portrait none" }, "no OIP");
  const place = { columns: detail.traces.length, rows: 2, column: 0, row: 1 };
  const label = "Reconstructed input of map " + one.map + " of " + one.layer.layer + ", enhanced";
  return element("div", { class: "portrait" }, cut(fileOf(one, "full"), place, label));
}

/** Every start, plain above enhanced, best first. */
function startsPart(one, detail) {
  if (!detail.traces) return null;
  const columns = detail.traces.length;
  const cells = detail.traces.map((_, column) => {
    const score = figure(detail.scores[column]);
    const images = ["plain", "enhanced"].map((kind, row) => {
      const label = "Start " + (column + 1) + ", " + kind + ", score " + score;
      return cut(fileOf(one, "full"), { columns, rows: 2, column, row }, label);
    });
    return element("figure", {}, images, element("figcaption", {}, score));
  });
  return section(
    columns === 1 ? "Start" : "Starts",
    element("div", { class: "strip" }, cells),
    paragraph("Plain above, contrast-enhanced below; best first, with their scores.", "quiet")
  );
}

/** From noise to the OIP: moving, and as a row of stills. */
function evolutionPart(one, detail, shared) {
  if (!detail.traces || !shared.stages.length) return null;
  const columns = shared.stages.length;
  const still = fileOf(one, "evolution", "-still");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const moving = calm
    ? null
    : element("img", {
        class: "moving" + (site.exact ? " exact" : ""),
        src: fileOf(one, "evolution"),
        alt: "The best start growing from noise",
      });
  const cells = shared.stages.map((step, column) =>
    element(
      "figure",
      {},
      cut(still, { columns, rows: 1, column, row: 0 }, "Step " + step),
      element("figcaption", {}, String(step))
    )
  );
  const row = element("div", { class: "strip stages" }, cells);
  return section(
    "From noise",
    element("div", { class: "evolution" }, moving, row),
    paragraph("The best start at these steps, each contrast-enhanced.", "quiet")
  );
}

/** What every estimator says, with interval, ceiling and p. */
function measuresPart(one, detail, shared) {
  const known = shared.measures
    .map((measure, place) => ({ measure, place, told: information(one, measure.key) }))
    .filter((row) => row.told);
  if (!known.length) return null;
  const most = Math.max(...known.map(({ measure, told }) => measure.ceiling || told.high || 1));
  const rows = known.map(({ measure, place, told }) => {
    const label = site.estimators.find((each) => each.key === measure.key).label;
    const span = told.low === null ? "" : bits(told.low) + " to " + bits(told.high);
    const spread =
      told.rank_low === null ? "" : " (" + told.rank_low + " to " + told.rank_high + ")";
    const remarks = [];
    if (told.p_adjusted !== null && told.p_adjusted > 0.05) remarks.push("≈ not above null");
    if (told.saturated) remarks.push("▲ saturated: at its ceiling, no ground for an order");
    const facts = [
      told.ordered ? "rank " + told.rank + spread : "no order",
      measure.ceiling === null ? null : "ceiling " + bits(measure.ceiling),
      detail.p[place] === null ? null : "p " + figure(detail.p[place]),
      told.p_adjusted === null ? null : "adjusted " + figure(told.p_adjusted),
      measure.samples === null ? null : measure.samples + " images",
    ];
    return element(
      "div",
      { class: "measure" },
      element("div", { class: "measure-name" }, named(label), element("code", {}, measure.key)),
      element(
        "div",
        { class: "measure-value" },
        element("strong", {}, bits(told.mi) + " bits"),
        span ? element("span", { class: "quiet" }, span) : null
      ),
      bar(told.mi, told.low, told.high, most, measure.ceiling),
      paragraph(facts.filter(Boolean).join(" · "), "quiet"),
      remarks.length ? paragraph(remarks.join(" · "), "notice") : null,
      measure.parameters ? paragraph(measure.parameters, "quiet") : null
    );
  });
  const said = known.flatMap(({ measure }) => one.layer.said[measure.key] || []);
  const notices = [...one.layer.notices, ...said].map((text) => paragraph(text, "notice"));
  return section("Information", notices, rows);
}

/** Bits about each class, by the estimator that the page is shown by. */
function classesPart(detail, shared, state, one) {
  if (!detail.per_class) return null;
  const wanted = shared.measures.findIndex((each) => each.key === measureOf(one, state));
  const place = detail.per_class[wanted] ? wanted : detail.per_class.findIndex((each) => each);
  if (place < 0) return null;
  const values = detail.per_class[place];
  const most = Math.max(0.001, ...values.map((value) => value || 0));
  const rows = detail.classes.map((number, i) =>
    element(
      "div",
      { class: "class-bar" },
      named(className(number), { class: "class-name", title: className(number) }),
      bar(values[i], null, null, most),
      element("span", { class: "bits" }, bits(values[i]))
    )
  );
  const partly = detail.classes.length < site.classes.length;
  const words = "One class against the rest, in bits, by " + shared.measures[place].key;
  const some = partly ? "; " + detail.classes.length + " of " + site.classes.length + " classes" : "";
  return section("About each class", rows, paragraph(words + some + ".", "quiet"));
}

function tracePart(detail, shared) {
  if (!detail.traces) return null;
  const chart = traceChart(shared.steps, detail.traces, detail.data_score);
  return chart ? section("Score", chart) : null;
}

function responsesPart(detail) {
  if (!detail.histogram || !detail.histogram.length) return null;
  return section("Response to each class", ridges(detail.edges, detail.histogram));
}

/** The images of the data that excite the map most; what its strongest node sees is framed. */
function bestPart(detail) {
  if (!detail.best || !detail.best.length) return null;
  const cells = detail.best.map((best) => {
    const over = [];
    if (best.field) {
      const [x, y, width, height] = best.field;
      over.push(drawn("rect", { class: "field-edge", x, y, width, height }));
      over.push(drawn("rect", { class: "field", x, y, width, height }));
    }
    const url = "img/data/" + padded(best.image, 5) + ".webp";
    const label = "Data image " + best.image + (best.caption ? ", label " + best.caption : "");
    const image = cut(url, { columns: 1, rows: 1, column: 0, row: 0 }, label, { over });
    return element(
      "figure",
      { title: label },
      image,
      element(
        "figcaption",
        {},
        best.caption ? named(best.caption, { class: "caption" }) : null,
        element("span", { class: "quiet" }, " " + figure(best.score))
      )
    );
  });
  return section(
    "Images of the data that excite it most",
    element("div", { class: "strip" }, cells),
    paragraph("Label and mean response; the frame is what the strongest node sees.", "quiet")
  );
}

function factsPart(one) {
  const { layer } = one;
  const rows = [
    ["Layer", named(layer.layer)],
    ["Kind", layer.class || null],
    ["Receptive field", layer.receptive_field ? layer.receptive_field.join(" × ") + " px" : "unknown"],
    ["Jump", layer.jump ? layer.jump.join(" × ") + " px" : "unknown"],
    ["Nodes", layer.size ? layer.size.join(" × ") : "unknown"],
    ["Stability", one.stability === null ? null : figure(one.stability)],
  ];
  return section(
    "Where it is",
    element(
      "dl",
      { class: "facts" },
      rows
        .filter((row) => row[1] !== null)
        .map(([term, value]) =>
          element("div", {}, element("dt", {}, term), element("dd", {}, value))
        )
    )
  );
}

function commandPart(detail) {
  return section(
    "Make it again",
    element("pre", { tabindex: "0" }, element("code", {}, detail.command))
  );
}
