/* Parts of a map's page that rest on files which not every run has, and where a map is. */

/** A kernel's weights: filled squares, accent above nothing, hollow below, by their size. */
function kernelPicture(weights) {
  const [rows, columns] = [weights.length, weights[0].length];
  const cells = weights.flatMap((row, y) =>
    row.map((value, x) => {
      const side = 0.92 * Math.sqrt(Math.abs(value));
      const edge = (1 - side) / 2;
      return drawn("rect", {
        class: value < 0 ? "minus" : "plus", x: x + edge, y: y + edge, width: side, height: side,
      });
    })
  );
  return drawn("svg", { class: "kernel", viewBox: [0, 0, columns, rows].join(" "), "aria-hidden": "true" }, cells);
}

function kernelsPart(detail, shared) {
  if (!detail.kernels) return null;
  const { of, shown } = detail.kernels;
  const about = shared.kernels;
  const most = Math.max(0.001, ...shown.map((entry) => entry.high || entry.mi || 0));
  const rows = shown.map((entry, position) =>
    element(
      "li",
      { title: entry.with_map === null ? null : bits(entry.with_map) + " bits about its response" },
      element("span", { class: "quiet" }, "#" + (position + 1)),
      entry.weights ? kernelPicture(entry.weights) : null,
      element("span", {}, "input " + entry.input),
      bar(entry.mi, entry.low, entry.high, most),
      element("span", { class: "bits" }, bits(entry.mi))
    )
  );
  const cutWords = shown.length < of ? shown.length + " of " + of + " kernels; " : "";
  const wording = cutWords + "bits of information about the class in each kernel's partial response" + (about.name ? ", " + about.name : "") +
    (shown.some((entry) => entry.weights) ? "; filled squares are weights above 0, hollow ones below" : "");
  return section("Kernels", element("ol", { class: "kernels" }, rows), paragraph(wording + ".", "quiet"));
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

/** Units as a row of pictures that lead to them: [layer's index, map, value, label]. */
function unitRow(entry, units, turn) {
  const cells = units.map(([layer, map, value, label]) => {
    const other = site.byKey.get(layer + "." + map);
    const caption = element("span", {}, element("b", {}, String(map)), " " + value);
    if (!other) return element("div", { title: label }, caption);
    const name = layer === entry.layer.index ? capital(entry.layer.noun) + " " + map : nameOf(other);
    const attributes = { type: "button", class: "near", title: label, "aria-label": name + ", " + label };
    const button = element("button", attributes, miniature(other), caption);
    button.addEventListener("click", () => turn(other));
    return button;
  });
  return element("div", { class: "neighbours" }, cells);
}

/** The other maps that share most with this one. */
function neighboursPart(entry, detail, shared, turn) {
  if (!detail.neighbours || !detail.neighbours.length) return null;
  const { names, units } = shared.redundancy;
  const others = detail.neighbours.map(({ map, values }) => [
    entry.layer.index,
    map,
    figure(values[0]),
    values.map((value, i) => names[i] + " " + figure(value) + (units[i] ? " " + units[i] : "")).join(", "),
  ]);
  const unit = units[0] ? ", in " + units[0] : "";
  return section(
    "Most redundant other " + entry.layer.noun + "s",
    unitRow(entry, others, turn),
    paragraph(names[0] + unit + ": what two " + entry.layer.noun + "s have in common, also where it is not about the " + classWord() + ".", "quiet")
  );
}

/** The other maps whose responses to the data are most alike. */
function alikePart(entry, detail, turn) {
  if (!detail.alike || !detail.alike.length) return null;
  const others = detail.alike.map(([map, value]) => [entry.layer.index, map, value.toFixed(2), "correlation " + value.toFixed(2)]);
  return section(
    capital(entry.layer.noun) + "s with the most similar responses",
    unitRow(entry, others, turn),
    paragraph("Correlation of the mean responses to the same " + itemWord() + "s of the data.", "quiet")
  );
}

/** Which units of an earlier layer feed this one. */
function causesPart(entry, detail, turn) {
  if (!detail.causes || !detail.causes.cells.length) return null;
  return section("Units that feed it", unitRow(entry, detail.causes.cells, turn), paragraph(detail.causes.text, "quiet"));
}

/** Which outputs of the model it moves. */
function outputsPart(detail) {
  if (!detail.causes || !detail.causes.moves.length) return null;
  const { moves } = detail.causes;
  const most = Math.max(1e-9, ...moves.map((row) => Math.abs(row[1] || 0)));
  const rows = moves.map(([name, effect, low, high]) =>
    element(
      "div",
      { class: "class-bar" + (effect < 0 ? " below" : ""), title: figure(low) + " to " + figure(high) },
      named(name, { class: "class-name" }),
      bar(Math.abs(effect), null, null, most),
      element("span", { class: "bits" }, (effect > 0 ? "+" : effect < 0 ? "−" : "") + Math.abs(Number(effect.toPrecision(2))))
    )
  );
  return section("Outputs that it moves", rows,
    paragraph("Mean logit with the unit minus that without it; gray: the unit lowers it.", "quiet"));
}

/** The directions that the map takes part in, or the maps that the direction is made of. */
function directionsPart(entry, detail, turn) {
  if (!detail.parts) return null;
  return element("div", { class: "rows" }, detail.parts.map((row) =>
    section(row.title, unitRow(entry, row.cells, turn), paragraph(row.text, "quiet"))));
}

/** The map's pattern as a sum of its nodes' patterns. */
function sumPart(entry, detail) {
  if (!detail.sum) return null;
  const cells = ["one node", "their sum", "the rest"].map((name, column) =>
    element("figure", {}, cut(fileOf(entry, "sum"), { columns: 3, rows: 1, column, row: 0 }, name), element("figcaption", {}, name))
  );
  return section("As a sum of its nodes' patterns", element("div", { class: "strip" }, cells), paragraph(detail.sum.text, "quiet"));
}

/** The units of other networks that respond most alike, with links to their pages. */
function partnersPart(entry, detail) {
  if (!detail.partners) return null;
  const parts = detail.partners.flatMap(({ name, text, picture, address }, position) => {
    const linked = (child) => (address && !site.single ? element("a", { href: address }, child) : child);
    const image = picture ? element("img", { class: "partner" + (site.exact ? " exact" : ""), src: fileOf(entry, "partner-" + position), width: picture[1], height: picture[0], alt: "Pattern of " + name }) : null;
    return [image && linked(image), element("p", { class: image ? "quiet" : null }, name ? linked(named(name)) : null, text)];
  });
  return section(parts.length > 2 ? "In other networks" : "In another network", parts);
}

/** How many kinds of images excite it. */
function kindsPart(detail) {
  if (!detail.kinds) return null;
  const { text, examples } = detail.kinds;
  const cells = examples.map(({ image, caption, size }) => {
    const label = "Data " + itemWord() + " " + image + (caption ? ", label " + caption : "");
    const url = addressOf("img/data/" + padded(image, 5) + ".webp");
    return element(
      "figure",
      { title: label },
      cut(url, { columns: 1, rows: 1, column: 0, row: 0 }, label),
      element("figcaption", {}, caption ? named(caption, { class: "caption" }) : null, element("span", { class: "quiet" }, " " + plural(size, itemWord())))
    );
  });
  return section("Kinds of images that excite it", cells.length ? element("div", { class: "strip" }, cells) : null, paragraph(text));
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";
}

/** The model's output for the OIP. */
function softmaxPart(detail) {
  if (!detail.softmax) return null;
  const rows = detail.softmax.map(([position, share]) => {
    const name = typeof position === "string" ? position : className(position);
    return element(
      "div",
      { class: "class-bar" },
      named(name, { class: "class-name", title: name }),
      bar(share, null, null, 1),
      element("span", { class: "bits" }, percent(share))
    );
  });
  return section(
    "Model output for this OIP",
    rows,
    paragraph("Softmax output. An OIP is unlike the data, so that no class has to be correct.", "quiet")
  );
}

function ablationPart(entry, detail, shared) {
  if (!detail.ablation) return null;
  const { loss_increase, low, high, accuracy_drop } = detail.ablation;
  const about = shared.ablation;
  const span = low === null || high === null ? "" : " (" + figure(low) + " to " + figure(high) + ")";
  const sentences = ["The loss rises by " + figure(loss_increase) + " bits" + span];
  if (accuracy_drop !== null) sentences.push("the accuracy falls by " + figure(100 * accuracy_drop) + " points");
  const whole = [
    about.loss === null ? null : "loss " + figure(about.loss) + " bits",
    about.accuracy === null ? null : "accuracy " + figure(100 * about.accuracy) + " %",
    about.samples === null ? null : about.samples + " " + itemWord() + "s",
  ].filter(Boolean);
  return section(
    "When the " + entry.layer.noun + " is silenced",
    paragraph(sentences.join("; ") + "."),
    whole.length ? paragraph("The whole model: " + whole.join(", ") + ".", "quiet") : null
  );
}

/** Whether a judge, shown the OIPs, tells which image excites the map more. */
function legibilityPart(entry, detail) {
  if (!detail.legibility) return null;
  const { sentence, share, low, high, reference, control } = detail.legibility;
  const rows = [["these pictures", share, low, high], ["best images", reference], ["other " + entry.layer.noun + "s", control]].filter(
    (row) => row[1] !== null
  );
  return section(
    "Legibility",
    rows.map(([name, value, from, to]) =>
      element(
        "div",
        { class: "class-bar wide" },
        element("span", { class: "class-name" }, name),
        bar(value, from, to, 1, 0.5),
        element("span", { class: "bits" }, percent(value))
      )
    ),
    paragraph(sentence)
  );
}

/** The map's information over training. */
function recordPart(detail, shared) {
  if (!detail.record || detail.record.every((value) => value === null)) return null;
  const chart = stepChart(shared.record.steps, [detail.record], {
    description: "Information about the " + classWord() + ", in bits, over training", ends: ["batch", "batches"],
  });
  return chart ? section("Information during training", chart, paragraph("Bits of information about the " + classWord() + ".", "quiet")) : null;
}

function factsPart(entry) {
  const { layer } = entry;
  const rows = [
    [layer.objectives ? "Group" : "Layer", named(layer.layer)],
    ["Kind", layer.class || null],
    ["Receptive field", fieldWords(layer)],
    ["Jump", layer.jump ? inputSides(layer.jump) : layer.kind === "maps" && !layer.objectives ? "unknown" : null],
    ["Nodes", layer.size ? layer.size.join(" × ") : layer.kind === "maps" && !layer.objectives ? "unknown" : null],
    ["Stability", entry.stability === null ? null : figure(entry.stability)],
    ["Redundancy", entry.redundancy === null ? null : figure(entry.redundancy)],
  ];
  const page = "layers/" + padded(layer.index, 3) + ".html";
  return section(
    "Layer details",
    element(
      "dl",
      { class: "facts" },
      rows
        .filter((row) => row[1] !== null)
        .map(([term, value]) =>
          element("div", {}, element("dt", {}, term), element("dd", {}, value))
        )
    ),
    site.single ? null : element("p", {}, element("a", { href: page }, "Layer summary"))
  );
}

function commandPart(detail) {
  return section(
    "Reproduce",
    element("pre", { tabindex: "0", role: "region", "aria-label": "Command" }, element("code", {}, detail.command))
  );
}
