/* The images of a map's page. Each part takes what is known and gives an element, or null. */

function section(title, ...children) {
  const shown = children.flat().filter((child) => child !== null);
  if (!shown.length) return null;
  return element("section", {}, element("h3", {}, title), ...shown);
}

function fileOf(entry, folder) {
  const name = padded(entry.layer.index, 3) + "/" + padded(entry.map, 4);
  return addressOf("img/" + folder + "/" + name + ".webp");
}

/** How pictures are rendered where there is one kind of them: lines, and true colors. */
function rendering() {
  return site.line ? "drawn" : site.colors ? "true colors" : "";
}

/** A start of a map, the best one being 0; true colors are enhanced by a filter. */
function startImage(entry, detail, start, enhanced, label) {
  const rows = detail.stretches || site.line ? 1 : 2;
  const row = enhanced ? rows - 1 : 0;
  const stretch = enhanced && detail.stretches ? detail.stretches[start] : null;
  const columns = start ? detail.traces.length - 1 : 1;
  const position = { columns, rows, column: Math.max(0, start - 1), row };
  return cut(fileOf(entry, start ? "starts" : "full"), position, label, { stretch });
}

function paragraph(text, kind) {
  return element("p", { class: kind || null }, text);
}

/** The best start, large: in true colors where it has them, else enhanced. */
function portrait(entry, detail) {
  if (!detail.traces) return element("div", { class: "portrait none" }, "no OIP");
  const label = "Reconstructed input of " + nameOf(entry) + ", " + (rendering() || "enhanced");
  return element("div", { class: "portrait" }, startImage(entry, detail, 0, !rendering(), label), timeAxis());
}

/** Numbers below the drawing of a line, and which color is which band. */
function timeAxis() {
  if (!site.line) return null;
  const [length, bands] = site.line;
  const numbers = ["0", "time, in samples", String(length - 1)].map((text) => element("span", {}, text));
  const keys = Array.from({ length: bands > 1 && bands <= 8 ? bands : 0 }, (_, band) =>
    element("span", {}, element("i", { class: "band-" + band, "aria-hidden": "true" }, "■"), " band " + band)
  );
  return element("div", { class: "quiet" }, element("div", { class: "axis" }, numbers), element("div", { class: "bands" }, keys));
}

/** A map's best start as a small picture. */
function miniature(entry) {
  const image = element("span", { class: "picture" + (site.exact ? " exact" : ""), "aria-hidden": "true" });
  picture(image, entry, site.exact ? Math.max(...site.input) * 2 : 64, true);
  return image;
}

const CLUSTERS = "ABCDEFGHIJKLMNOP";

/** The caption of a start: its score, its cluster and whether it stands for it. */
function startWords(start, several) {
  const caption = [element("span", {}, figure(start.score))];
  if (several && start.cluster >= 0) {
    const letter = CLUSTERS[start.cluster] || String(start.cluster + 1);
    const wording = "pattern " + letter + (start.medoid ? ", the start that stands for it" : "");
    caption.push(element("span", { class: "cluster", title: wording }, " " + letter + (start.medoid ? " ◆" : "")));
  }
  return caption;
}

/** Every start, plain or in true colors above enhanced, best first; the medoid of each cluster is marked. */
function startsPart(entry, detail) {
  if (!detail.starts) return null;
  const columns = detail.starts.length;
  const clusters = new Set(detail.starts.map((start) => start.cluster)).size;
  const medoids = detail.starts.filter((start) => start.medoid).length;
  const several = medoids > 0 && columns > 1;
  const cells = detail.starts.map((start, column) => {
    const kinds = (site.line ? ["drawn"] : [site.colors ? "true colors" : "plain", "enhanced"]).concat(detail.masks ? ["masked"] : []);
    const images = kinds.map((kind, row) => {
      const label = "Start " + (column + 1) + ", " + kind + ", score " + figure(start.score);
      if (kind === "masked") return cut(fileOf(entry, "masks"), { columns, rows: 1, column, row: 0 }, label);
      return startImage(entry, detail, column, row === 1, label);
    });
    const kind = several && start.medoid ? "medoid" : null;
    return element("figure", { class: kind }, images, element("figcaption", {}, startWords(start, several)));
  });
  const groups = several
    ? " " + plural(clusters, "distinct pattern") + "; ◆ marks the start that stands for a pattern."
    : "";
  return section(
    columns === 1 ? "Start" : "Starts",
    element("div", { class: "strip" }, cells),
    paragraph(
      (site.line ? "Best" : (site.colors ? "In true colors" : "Plain") + " above, contrast-enhanced below; best") +
        " first, with their scores." +
        (detail.masks ? " The last row is masked: gray where pixels had little influence on the ascent." : "") + groups,
      "quiet"
    )
  );
}

/** Of which octaves the best start's noise was made. */
function noisePart(detail) {
  const start = detail.starts && detail.starts[0];
  if (!start) return null;
  if (start.noise < 0) return section("Starting image", paragraph("It grew from an image, not from noise."));
  const weights = start.octaves.map((weight) => (weight === null ? "–" : figure(weight))).join(", ");
  return section("Starting image", paragraph("Number " + start.noise + " of the noise images that were screened; weights of its octaves: " +
    weights + " (longest wavelength last)."));
}

/** From noise to the OIP: moving, and as a row of stills. */
function evolutionPart(entry, detail, shared) {
  if (!detail.traces || !shared.stages.length) return null;
  const columns = shared.stages.length;
  const strip = fileOf(entry, "evolution");
  const origin = detail.starts[0].noise < 0 ? "the image" : "noise";
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const moving = calm
    ? null
    : cut(strip, { columns, rows: 1, column: 0, row: 0 }, "The best start growing from " + origin, { moving: true });
  // The ascent of this start may have ended before others of the layer.
  const last = detail.starts[0].steps;
  const until = shared.stages.findIndex((step) => step >= last);
  const steps = until < 0 ? shared.stages : [...shared.stages.slice(0, until), last];
  const cells = steps.map((step, column) =>
    element(
      "figure",
      {},
      cut(strip, { columns, rows: 1, column, row: 0 }, "Step " + step),
      element("figcaption", {}, step === 0 ? origin : String(step))
    )
  );
  const row = element("div", { class: "strip stages" }, cells);
  return section(
    "From " + origin,
    element("div", { class: "evolution" }, moving, row),
    paragraph("The best start at these steps" + (rendering() ? "." : ", each contrast-enhanced."), "quiet")
  );
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
    const url = addressOf("img/data/" + padded(best.image, 5) + ".webp");
    const label = "Data " + itemWord() + " " + best.image + (best.caption ? ", label " + best.caption : "");
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
    (site.line ? "Windows" : "Images") + " of the data that excite it most",
    element("div", { class: "strip" }, cells),
    paragraph(
      "Label and mean response to the " + itemWord() + " as it is" +
        (detail.best.some((best) => best.field) ? "; the frame is the receptive field of the strongest node." : "."),
      "quiet"
    )
  );
}
