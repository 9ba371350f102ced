/* The atlas: all maps of a layer on a plane, those with alike responses close together. */

const atlas = {
  node: null, field: null, canvas: null, link: null, label: null,
  view: null, open: null, layer: null, points: [], active: 0,
  scale: 1, x: 0, y: 0, sheets: new Map(), pointers: new Map(), moved: 0,
};
const ATLAS_MARGIN = 40;
const MOST_ZOOM = 40;
/** Sides of a picture in the atlas, in CSS pixels; smaller ones are dots. */
const [LEAST_PICTURE, MOST_PICTURE] = [22, 112];

function hideAtlas() {
  atlas.node.hidden = true;
  byId("to-atlas").setAttribute("aria-pressed", "false");
  byId("to-atlas").textContent = "Atlas";
}

/** Shows the maps of a list; `view` as the grid has it. */
function showAtlas(list, view, change, open) {
  byId("to-atlas").setAttribute("aria-pressed", "true");
  byId("to-atlas").textContent = "Grid";
  atlas.node.hidden = false;
  atlas.view = view;
  atlas.open = open;
  loaded("atlas", "atlas").then((places) => {
    if (atlas.node.hidden || atlas.view !== view) return; // something else is shown meanwhile
    const having = site.layers.filter((layer) => places && places[layer.index]);
    const chosen = view.state.layer;
    const layer = chosen !== null ? site.layers.find((each) => each.index === chosen) : having[0] || site.layers[0];
    const known = layer && places && places[layer.index];
    if (!known) {
      const text = (layer ? layer.layer : "This run") + " cannot be laid out without responses to data. Measure them with 'oip rank' in this run, then build the gallery again.";
      atlas.node.replaceChildren(atlasHead(layer, having, change, 0), paragraph(text, "notice"));
      atlas.layer = null;
      return;
    }
    const shown = new Set(list.map((entry) => entry.key));
    const kept = atlas.points.length ? atlas.points[atlas.active].entry.key : null;
    atlas.points = known.maps
      .map((map, i) => ({ entry: site.byKey.get(layer.index + "." + map), x: known.x[i] / 1000, y: known.y[i] / 1000 }))
      .filter((point) => point.entry)
      .map((point) => ({ ...point, shown: shown.has(point.entry.key) }));
    const first = atlas.points.findIndex((point) => point.shown);
    const again = atlas.points.findIndex((point) => point.entry.key === kept && point.shown);
    atlas.active = Math.max(0, again < 0 ? first : again);
    const without = layer.shown - atlas.points.length;
    const count = atlas.points.filter((point) => point.shown).length;
    byId("count").textContent = (count < layer.shown ? count + " of " : "") + plural(layer.shown, layer.noun);
    byId("empty").hidden = count > 0;
    if (atlas.layer !== layer.index || !atlas.field || !atlas.field.isConnected) {
      atlas.layer = layer.index;
      buildField(layer);
      Object.assign(atlas, { scale: 1, x: 0, y: 0 });
    }
    atlas.node.replaceChildren(atlasHead(layer, having, change, without), atlas.field);
    drawAtlas();
  });
}

function atlasHead(layer, having, change, without) {
  const others = having.filter((each) => each !== layer).slice(0, 12).map((each) => {
    const button = element("button", { type: "button" }, named(shortened(each.layer, 24)));
    button.addEventListener("click", () => change({ layer: each.index }));
    return button;
  });
  const zoom = (sign, label, work) => {
    const button = element("button", { type: "button", "aria-label": label, title: label }, sign);
    button.addEventListener("click", work);
    return button;
  };
  const words = "Maps that lie close together respond alike to the data. Larger dots carry more information; hollow dots have a remark." +
    (without ? " Not placed: " + plural(without, layer.noun) + " whose response does not vary." : "");
  return element("div", { class: "atlas-head" },
    layer ? element("h2", {}, named(layer.layer)) : null,
    element("span", { class: "quiet" }, words), others,
    element("div", { class: "atlas-zoom", role: "group", "aria-label": "Zoom" },
      zoom("+", "Zoom in", () => zoomBy(1.6)), zoom("−", "Zoom out", () => zoomBy(1 / 1.6)), zoom("⤢", "Show all", showAll)));
}

function buildField(layer) {
  const label = "Atlas of " + layer.layer + ": " + plural(atlas.points.length, layer.noun) + " placed by the likeness of their responses";
  atlas.canvas = element("canvas", { role: "img", "aria-label": label });
  atlas.link = element("a", { class: "atlas-point" });
  atlas.label = element("span", { class: "atlas-label", "aria-hidden": "true", hidden: true });
  atlas.field = element("div", { class: "atlas-field" }, atlas.canvas, atlas.link, atlas.label);
  new ResizeObserver(() => drawAtlas()).observe(atlas.field);
  const { field } = atlas;
  atlas.link.addEventListener("click", (event) => {
    event.preventDefault();
    if (atlas.moved < 6) atlas.open(atlas.points[atlas.active].entry.key);
  });
  atlas.link.addEventListener("focus", () => drawAtlas());
  field.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 400), at(event));
  }, { passive: false });
  field.addEventListener("pointerdown", (event) => {
    atlas.pointers.set(event.pointerId, at(event));
    if (atlas.pointers.size === 1) atlas.moved = 0;
  });
  field.addEventListener("pointermove", onPointer);
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    field.addEventListener(name, (event) => {
      atlas.pointers.delete(event.pointerId);
      field.classList.remove("dragged");
      if (name === "pointerleave") atlas.label.hidden = true;
    });
  }
  field.addEventListener("click", (event) => {
    const near = nearestPoint(at(event));
    if (event.target.closest(".atlas-point") || near === null || atlas.moved >= 6) return;
    atlas.active = near;
    atlas.open(atlas.points[near].entry.key);
  });
}

/** The place of an event in the field, in CSS pixels. */
function at(event) {
  const box = atlas.field.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** One pointer drags the plane, two zoom it; without any the map below is named. */
function onPointer(event) {
  const [x, y] = at(event);
  const before = atlas.pointers.get(event.pointerId);
  if (!before) {
    const near = nearestPoint([x, y]);
    atlas.label.hidden = near === null;
    if (near !== null) nameAt(near);
    return;
  }
  const other = [...atlas.pointers].find(([id]) => id !== event.pointerId);
  atlas.moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
  if (other) {
    const apart = (point) => Math.hypot(point[0] - other[1][0], point[1] - other[1][1]) || 1;
    zoomBy(apart([x, y]) / apart(before), [(x + other[1][0]) / 2, (y + other[1][1]) / 2]);
  } else if (atlas.moved >= 6) {
    atlas.x += x - before[0];
    atlas.y += y - before[1];
    atlas.field.classList.add("dragged");
    if (!atlas.field.hasPointerCapture(event.pointerId)) atlas.field.setPointerCapture(event.pointerId);
    drawAtlas();
  }
  atlas.pointers.set(event.pointerId, [x, y]);
}

function zoomBy(factor, around) {
  const middle = around || [atlas.field.clientWidth / 2, atlas.field.clientHeight / 2];
  const scale = Math.max(1, Math.min(MOST_ZOOM, atlas.scale * factor));
  const own = scale / atlas.scale;
  atlas.x = middle[0] - (middle[0] - atlas.x) * own;
  atlas.y = middle[1] - (middle[1] - atlas.y) * own;
  atlas.scale = scale;
  drawAtlas();
}

function showAll() {
  Object.assign(atlas, { scale: 1, x: 0, y: 0 });
  drawAtlas();
}

/** Where a point is in the field, in CSS pixels; pictures at the edge are whole. */
function placeOf(point) {
  const margin = Math.max(ATLAS_MARGIN, pictureSide(1) / 2 + 4);
  const [wide, high] = [atlas.field.clientWidth - 2 * margin, atlas.field.clientHeight - 2 * margin];
  return [
    atlas.x + atlas.scale * (margin + point.x * wide),
    atlas.y + atlas.scale * (margin + point.y * high),
  ];
}

/** The side of pictures at a zoom; 0 for dots. */
function pictureSide(scale = atlas.scale) {
  const area = atlas.field.clientWidth * atlas.field.clientHeight;
  const side = 0.5 * scale * Math.sqrt(area / Math.max(1, atlas.points.length));
  return side < LEAST_PICTURE ? 0 : Math.min(side, MOST_PICTURE);
}

function nearestPoint([x, y]) {
  let [best, least] = [null, Math.max(12, pictureSide() * 0.6)];
  atlas.points.forEach((point, i) => {
    const [left, top] = placeOf(point);
    const distance = Math.hypot(left - x, top - y);
    if (point.shown && distance < least) [best, least] = [i, distance];
  });
  return best;
}

/** A sheet of tiles; draws again when it has come. */
function sheetOf(number) {
  if (!atlas.sheets.has(number)) {
    const image = new Image();
    image.addEventListener("load", () => drawAtlas());
    image.src = addressOf("img/sheet-" + padded(number, 3) + ".webp");
    atlas.sheets.set(number, image);
  }
  const image = atlas.sheets.get(number);
  return image.complete && image.naturalWidth ? image : null;
}

function drawAtlas() {
  const { field, canvas, points } = atlas;
  if (!field || !field.isConnected || !points.length) return;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [field.clientWidth, field.clientHeight];
  atlas.x = Math.max(wide * (1 - atlas.scale), Math.min(0, atlas.x));
  atlas.y = Math.max(high * (1 - atlas.scale), Math.min(0, atlas.y));
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = !site.exact;
  const style = getComputedStyle(field);
  const colors = Object.fromEntries(["accent", "quiet", "rule", "ink"].map((name) => [name, style.getPropertyValue("--" + name)]));
  const side = pictureSide();
  const order = [...points.keys()].sort((a, b) => points[a].shown - points[b].shown || (a === atlas.active) - (b === atlas.active));
  for (const i of order) drawPoint(pen, points[i], side, colors);
  const [left, top] = placeOf(points[atlas.active]);
  const own = Math.max(side, 16);
  const { entry } = points[atlas.active];
  const estimate = information(entry, measureOf(entry, atlas.view.state));
  atlas.link.href = fragmentOf({ ...atlas.view.state, m: entry.key });
  atlas.link.setAttribute("aria-label", described(entry, estimate, atlas.view));
  Object.assign(atlas.link.style, { left: left - own / 2 + "px", top: top - own / 2 + "px", width: own + "px", height: own + "px" });
  atlas.link.hidden = !points[atlas.active].shown;
  if (document.activeElement === atlas.link) nameAt(atlas.active);
  else if (!atlas.pointers.size) atlas.label.hidden = true;
}

function drawPoint(pen, point, side, colors) {
  const [x, y] = placeOf(point);
  const { entry } = point;
  if (x < -side || y < -side || x > atlas.field.clientWidth + side || y > atlas.field.clientHeight + side) return;
  const estimate = information(entry, measureOf(entry, atlas.view.state));
  if (!point.shown || !side) {
    const share = estimate && estimate.mi ? estimate.mi / atlas.view.most : 0;
    pen.beginPath();
    pen.arc(x, y, point.shown ? 3 + 5 * Math.sqrt(share) : 2, 0, 2 * Math.PI);
    pen.fillStyle = point.shown ? colors.accent : colors.rule;
    pen.strokeStyle = colors.accent;
    if (point.shown && badges(entry, estimate).length) pen.stroke();
    else pen.fill();
    return;
  }
  const [columns, each] = site.sheet;
  const [high, wide] = site.cell;
  const spot = entry.position % each;
  const sheet = entry.verdict === "" ? null : sheetOf(Math.floor(entry.position / each));
  const scale = side / Math.max(high, wide);
  const box = [x - (wide * scale) / 2, y - (high * scale) / 2, wide * scale, high * scale];
  if (sheet) pen.drawImage(sheet, (spot % columns) * wide, Math.floor(spot / columns) * high, wide, high, ...box);
  pen.lineWidth = 1;
  pen.strokeStyle = colors.quiet;
  pen.strokeRect(...box);
}

/** Names a map beside its place. */
function nameAt(i) {
  const { entry } = atlas.points[i];
  const [x, y] = placeOf(atlas.points[i]);
  const estimate = information(entry, measureOf(entry, atlas.view.state));
  const words = [entry.objective || String(entry.map)];
  if (estimate && estimate.mi !== null) words.push(bits(estimate.mi) + " bits");
  if (estimate && estimate.best !== null) words.push("best for: " + className(estimate.best));
  atlas.label.textContent = words.join(" · ");
  atlas.label.hidden = false;
  const room = atlas.field.clientWidth - atlas.label.offsetWidth - 4;
  const below = y + Math.max(pictureSide(), 16) / 2 + 6;
  atlas.label.style.left = Math.max(4, Math.min(room, x - atlas.label.offsetWidth / 2)) + "px";
  atlas.label.style.top = Math.min(below, atlas.field.clientHeight - 26) + "px";
}

function focusAtlas() {
  if (atlas.link && atlas.link.isConnected) atlas.link.focus({ preventScroll: true });
}

/** The nearest shown map in a direction. */
function towards(dx, dy) {
  const [x, y] = placeOf(atlas.points[atlas.active]);
  let [best, least] = [null, Infinity];
  atlas.points.forEach((point, i) => {
    if (i === atlas.active || !point.shown) return;
    const [left, top] = placeOf(point);
    const [along, aside] = [(left - x) * dx + (top - y) * dy, Math.abs((left - x) * dy) + Math.abs((top - y) * dx)];
    if (along > 0 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
  });
  return best;
}

/** Brings the active map into the field. */
function follow() {
  const [x, y] = placeOf(atlas.points[atlas.active]);
  const [wide, high] = [atlas.field.clientWidth, atlas.field.clientHeight];
  if (x < 30 || x > wide - 30) atlas.x += wide / 2 - x;
  if (y < 30 || y > high - 30) atlas.y += high / 2 - y;
  drawAtlas();
}

function wireAtlas(node) {
  atlas.node = node;
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || atlas.layer === null) return;
    const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.target === atlas.link && arrows[event.key]) {
      const to = towards(...arrows[event.key]);
      if (to !== null) atlas.active = to;
      follow();
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      zoomBy(event.key === "-" ? 1 / 1.6 : 1.6, placeOf(atlas.points[atlas.active]));
    } else if (event.key === "0") showAll();
    else return;
    event.preventDefault();
  });
}
