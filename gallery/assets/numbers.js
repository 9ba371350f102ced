/* The numbers of a map's page: information, score, responses. */

/** The estimate of one estimator, with interval, ceiling and p. */
function measureRow(measure, detail, estimate, most) {
  const label = site.estimators.find((each) => each.key === measure.key).label;
  const span = estimate.low === null ? "" : bits(estimate.low) + " to " + bits(estimate.high);
  const { p, ranks, raw, chance } = detail;
  const spread = ranks[0] === null ? "" : " (" + ranks[0] + " to " + ranks[1] + ")";
  const remarks = [];
  if (estimate.p_adjusted !== null && estimate.p_adjusted > 0.05) remarks.push("≈ not above null");
  if (estimate.saturated) remarks.push("▲ saturated: at its ceiling, so that it gives no order");
  if (raw !== null && raw < 0) remarks.push("estimated as " + figure(raw) + ", shown as 0");
  else if (estimate.mi === 0) remarks.push("estimated as 0 or less, shown as 0");
  const facts = [
    estimate.ordered ? "rank " + estimate.rank + spread : "no order",
    measure.ceiling === null ? null : "ceiling " + bits(measure.ceiling),
    chance === null || chance < 0.0005 ? null : "chance " + bits(chance),
    p === null ? null : "p " + pText(p),
    estimate.p_adjusted === null ? null : "adjusted " + pText(estimate.p_adjusted),
    measure.samples === null ? null : measure.samples + " " + itemWord() + "s",
  ];
  return element(
    "div",
    { class: "measure" },
    element("div", { class: "measure-name" }, named(label), element("code", {}, measure.key)),
    element(
      "div",
      { class: "measure-value" },
      element("strong", {}, amountWords(estimate.mi, measure.key)),
      span ? element("span", { class: "quiet" }, span) : null
    ),
    bar(estimate.mi, estimate.low, estimate.high, most, measure.ceiling),
    paragraph(facts.filter(Boolean).join(" · "), "quiet"),
    remarks.length ? paragraph(remarks.join(" · "), "notice") : null,
    measure.parameters ? paragraph(measure.parameters, "quiet") : null
  );
}

function measuresPart(entry, detail, shared) {
  const finite = shared.measures
    .map((measure, position) => ({ measure, said: detail.measures[position], estimate: information(entry, measure.key) }))
    .filter((row) => row.estimate && row.said);
  if (!finite.length) return null;
  const most = Math.max(...finite.map(({ measure, estimate }) => measure.ceiling || estimate.high || estimate.mi || 1));
  return section(
    "Information",
    finite.map(({ measure, said, estimate }) => measureRow(measure, said, estimate, most))
  );
}

/** One estimator's bits about each class, but for classes of few images; `most` is the full width. */
function classPanel(measure, values, classes, most) {
  const few = measure.few || [];
  const at = (name, i) => (values[name] ? values[name][i] : null);
  const rows = classes.map((number, i) => {
    const p = at("p", i);
    const null_ = p !== null && p > 0.05;
    return element(
      "div",
      { class: "class-bar" + (null_ ? " below" : ""), title: p === null ? null : "adjusted p " + pText(p) },
      named(className(number), { class: "class-name", title: className(number) }),
      bar(values.mi[i], at("low", i), at("high", i), most, at("usual", i)),
      element("span", { class: "bits" }, few.includes(number) ? "few images" : (null_ ? "≈ " : "") + bits(values.mi[i]))
    );
  });
  return element("div", { class: "class-panel" }, element("p", { class: "quiet" }, "by ", element("code", {}, measure.key)), rows);
}

/** Panels of the bits about each class, one per estimator, the one that the page is shown by first. */
function classPanels(detail, shared, state, entry) {
  const target = measureOf(entry, state);
  const finite = shared.measures
    .map((measure, position) => ({ measure, values: detail.per_class && detail.per_class[position] }))
    .filter((each) => each.values)
    .sort((a, b) => (b.measure.key === target) - (a.measure.key === target));
  const every = finite.flatMap(({ values }) => [...values.mi, ...(values.high || [])]);
  const most = Math.max(0.001, ...every.map((value) => value || 0));
  return finite.map(({ measure, values }) => classPanel(measure, values, detail.classes, most));
}

function classWords(detail, shared, noun) {
  const usual = detail.per_class.some((values) => values && values.usual);
  const tested = detail.per_class.some((values) => values && values.p);
  const partly = detail.classes.length < site.classes.length;
  return (site.tags ? "Each tag by itself, in bits" : "One class against the rest, in bits") + (tested ? "; ≈ not above null" : "") +
    (partly ? "; " + detail.classes.length + " of " + site.classes.length + (site.tags ? " tags" : " classes") : "") +
    (usual ? ". The line: what a " + noun + " of the layer with as much information usually knows" : "") + ".";
}

/** Bits about each class, by the estimator that the page is shown by. */
function classesPart(detail, shared, state, entry) {
  const [panel] = classPanels(detail, shared, state, entry);
  return panel ? section("Information about each " + classWord(), panel, paragraph(classWords(detail, shared, entry.layer.noun), "quiet")) : null;
}

/** The same by the other estimators. */
function otherClassesPart(detail, shared, state, entry) {
  const panels = classPanels(detail, shared, state, entry).slice(1);
  return panels.length ? section("About each " + classWord(), panels) : null;
}

/** The OIP's score beside what noise and the data reach. */
function besidePart(detail) {
  if (!detail.starts) return null;
  const rows = [
    ["OIP", detail.starts[0].score, "fill"],
    ["best data " + itemWord(), detail.data_score, "fill other"],
    ["noise of all kinds", detail.screened_score, "fill other"],
    ["white noise", detail.white_score, "fill other"],
  ].filter((row) => row[1] !== null);
  if (rows.length < 2) return null;
  // Responses that never rest at zero may be below it.
  const least = Math.min(0, ...rows.map((row) => row[1]));
  const most = Math.max(1e-9, ...rows.map((row) => row[1] - least));
  return section(
    "Response, beside data and noise",
    rows.map(([name, value, kind]) => {
      const node = bar(value - least, null, null, most);
      node.firstChild.setAttribute("class", kind);
      return element(
        "div",
        { class: "class-bar wide" },
        element("span", { class: "class-name" }, name),
        node,
        element("span", { class: "bits" }, figure(value))
      );
    }),
    paragraph("Mean responses to images of the same mean and standard deviation; the noise was tried before the ascent.", "quiet")
  );
}

function tracePart(detail, shared) {
  if (!detail.traces) return null;
  const chart = traceChart(shared.steps, detail.traces, detail.starts[0].score, detail.data_score);
  if (!chart) return null;
  const wording = detail.traces.length > 1 ? "Every start; the best one in front." : "";
  return section("Score", chart, wording ? paragraph(wording, "quiet") : null);
}

function responsesPart(detail) {
  if (!detail.histogram || !detail.histogram.length) return null;
  return section("Response to each " + classWord(), ridges(detail.edges, detail.histogram));
}
