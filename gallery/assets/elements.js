/* Elements are made, never parsed: whatever a name says, it stays text. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; null children are left out, strings become text. */
function element(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

/** A name from a model or from data, isolated from the direction of the text around it. */
function named(text, attributes) {
  return element("bdi", attributes || {}, text);
}

/** Letters at the end of a long name that stay in sight: they tell nested layers apart. */
const TAIL = 8;

/** The name of a layer; where there is no room it loses its middle. */
function layerName(text) {
  const letters = Array.from(text);
  if (letters.length < 2 * TAIL) return named(text, { class: "layer-name" });
  const node = named("", { class: "layer-name long", title: text });
  const parts = [letters.slice(0, -TAIL), letters.slice(-TAIL)];
  node.append(...parts.map((part) => element("span", {}, part.join(""))));
  return node;
}

/** The name of the map or objective that an image was grown for. */
function nameOf(entry) {
  return entry.objective || entry.layer.noun + " " + entry.map + " of " + entry.layer.layer;
}

/** A number by an estimator with its unit: bits, or none. */
function amountWords(value, key) {
  const unit = site.estimators.find((each) => each.key === key).unit;
  return bits(value) + (unit ? " " + unit : "");
}

/** The pixels that a node of a layer sees; null where there are no nodes of one layer. */
function fieldWords(layer) {
  if (layer.receptive_field) return inputSides(layer.receptive_field);
  if (layer.objectives) return null;
  const single = layer.size && layer.size.every((side) => side === 1);  // after a global pooling
  return layer.kind === "maps" && !single ? "unknown" : "everything";
}

function titleOf(entry) {
  if (entry.objective) return [named(entry.objective, { class: "layer-name" })];
  return [layerName(entry.layer.layer), element("span", { class: "map-number" }, "\u00a0:\u00a0" + entry.map)];
}

/** A number for people: three significant digits, no exponent in the usual range. */
function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(3)));
}

/** A p-value, as the command line prints it. */
function pText(value) {
  return String(Number(value.toPrecision(2)));
}

function bits(value) {
  if (value === null || value === undefined) return "–";
  return value.toFixed(2).replace("-0.00", "0.00");
}

function plural(count, word) {
  return count + " " + word + (count === 1 ? "" : "s");
}

/** One of the data: an image, or a window of a signal. */
function itemWord() {
  return site.line ? "window" : "image";
}

/** One of all that is shown: a map, a unit, a token channel, a head; a unit where these are mixed. */
function unitWord() {
  const words = new Set(site.layers.map((layer) => layer.noun));
  return words.size === 1 ? [...words][0] : "unit";
}

/** All units, by their kind: "224 maps, 2 objectives". */
function everyUnit() {
  const counts = new Map();
  for (const { noun, shown } of site.layers) counts.set(noun, (counts.get(noun) || 0) + shown);
  const last = ([noun]) => Number(noun === "objective");
  const sorted = [...counts].sort((a, b) => last(a) - last(b) || b[1] - a[1]);
  return sorted.map(([noun, count]) => plural(count, noun)).join(", ");
}

/** Labels of the data: classes, or tags of which an image may have several. */
function classWord() {
  return site.tags ? "tag" : "class";
}

/** Sides in what an input consists of: "3 × 3 px", "9 samples". */
function inputSides(sides) {
  return sides.map(figure).join(" × ") + (site.line ? " samples" : " px");
}

/** A verdict as readers see it; files have its key. */
function verdictName(verdict) {
  return verdict === "reachable-only" ? "not seen in data" : verdict || "no OIP";
}
