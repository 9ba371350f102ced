/* The virtual grid: only rows near the window are in the page. */

const grid = {
  node: null,
  maps: [],
  rows: [],
  drawn: new Map(),
  active: 0,
  columns: 1,
  view: null,
};
/** Rows above and below the window that are in the page. */
const OVERSCAN = 2;
/** Tiles in the page at most: where a window would hold more, tiles grow. */
const MOST_TILES = 480;

/** Text under a picture, in CSS pixels: its lines by tile size. */
function tileHeight(size, high) {
  return high + (size === "s" ? 40 : 82);
}

/** Columns of tiles of a side, and the height of a row of them. */
function fitting(view, side) {
  const [high, wide] = site.cell;
  const scale = side / Math.max(high, wide);
  const least = Math.max(wide * scale, view.size === "s" ? 62 : 96) + 8;
  const columns = Math.max(1, Math.floor(grid.node.clientWidth / least));
  return { columns, tall: tileHeight(view.size, high * scale) };
}

/** The side of tiles in this window: larger where no layer fills a row and no size was chosen. */
function fittingSide(view) {
  const step = site.exact ? Math.max(...site.input) : 4;
  let side = sideOf(view.size);
  if (!view.state.size) {
    const widest = view.sections ? Math.max(...site.layers.map((layer) => layer.shown)) : site.maps.length;
    while (side + step <= sideOf("xl") && fitting(view, side + step).columns >= widest) side += step;
  }
  for (;;) {
    const { columns, tall } = fitting(view, side);
    const rows = Math.ceil(window.innerHeight / tall) + 2 * OVERSCAN + 2;
    if (columns === 1 || columns * rows <= MOST_TILES) return side;
    side += step;
  }
}

/** Lays out a list of maps; `view` as `tile` takes it, with size and sections. */
function layOut(maps, view) {
  const kept = grid.maps[grid.active];
  grid.maps = maps;
  grid.view = view;
  grid.active = Math.max(0, kept ? maps.indexOf(kept) : 0);
  measureRows();
}

/** Cuts the list into rows and redraws. */
function measureRows() {
  const { view, maps, node } = grid;
  if (!view) return;
  view.side = fittingSide(view);
  const { columns, tall } = fitting(view, view.side);
  grid.columns = columns;
  grid.rows = [];
  let top = 0;
  let first = 0;
  while (first < maps.length) {
    const layer = maps[first].layer;
    let after = maps.length;
    if (view.sections) {
      after = first;
      while (after < maps.length && maps[after].layer === layer) after += 1;
      grid.rows.push({ top, height: 52, layer, first, count: after - first });
      top += 52;
    }
    for (let from = first; from < after; from += columns) {
      const to = Math.min(after, from + columns);
      const height = tall + moreLines(maps, from, to);
      grid.rows.push({ top, height, from, to });
      top += height;
    }
    first = after;
    top += 10;
  }
  const focused = node.contains(document.activeElement);
  for (const row of grid.drawn.values()) row.remove();
  grid.drawn.clear();
  node.style.height = top + "px";
  node.setAttribute("aria-rowcount", String(grid.rows.length));
  node.setAttribute("aria-colcount", String(grid.columns));
  drawRows();
  const link = focused ? tileAt(grid.active) : null;
  if (link) link.focus({ preventScroll: true });
}

/** Height that a row needs more or less than usual: its tiles have other lines under the name. */
function moreLines(maps, from, to) {
  const small = grid.view.size === "s";
  let most = 0;
  for (let position = from; position < to; position += 1) {
    const [amounts, marks] = textLines(maps[position], grid.view);
    most = Math.max(most, small ? Math.min(amounts, 1) : amounts + Math.max(marks, amounts ? 1 : 0));
  }
  return 16 * (most - (small ? 1 : 3));
}

/** Brings the rows near the window into the page and takes the others out. */
function drawRows() {
  const { rows, node, drawn: there } = grid;
  const start = -node.getBoundingClientRect().top;
  const first = firstRowBelow(start);
  let last = first;
  while (last < rows.length && rows[last].top < start + window.innerHeight) last += 1;
  const visible = new Set();
  const end = Math.min(rows.length, last + OVERSCAN);
  for (let i = Math.max(0, first - OVERSCAN); i < end; i += 1) visible.add(i);
  const home = rowOf(grid.active);
  if (home >= 0) visible.add(home);
  for (const [i, row] of there) {
    if (!visible.has(i) && !row.contains(document.activeElement)) {
      row.remove();
      there.delete(i);
    }
  }
  for (const i of [...visible].sort((a, b) => a - b)) {
    if (there.has(i)) continue;
    const made = rows[i].layer ? layerRow(rows[i], i) : tileRow(rows[i], i);
    there.set(i, made);
    const next = [...there.keys()].filter((other) => other > i).sort((a, b) => a - b)[0];
    node.insertBefore(made, next === undefined ? null : there.get(next));
  }
  rove();
}

function firstRowBelow(height) {
  let [low, high] = [0, grid.rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (grid.rows[middle].top + grid.rows[middle].height < height) low = middle + 1;
    else high = middle;
  }
  return low;
}

function rowOf(position) {
  return grid.rows.findIndex((row) => !row.layer && row.from <= position && position < row.to);
}

function placed(node, row, number) {
  node.setAttribute("role", "row");
  node.setAttribute("aria-rowindex", String(number + 1));
  node.style.transform = "translateY(" + row.top + "px)";
  node.style.height = row.height + "px";
  return node;
}

function layerRow(row, number) {
  const { layer } = row;
  const all = layer.objectives ? layer.shown : Math.max(layer.shown, layer.maps || 0);
  const some = row.count < all ? row.count + " of " : "";
  const facts = [some + plural(all, layer.noun)];
  if (layer.receptive_field) facts.push("receptive field " + inputSides(layer.receptive_field));
  else if (fieldWords(layer) === "everything") facts.push("sees everything");
  if (layer.size) facts.push(layer.size.join(" × ") + (layer.kind === "tokens" || layer.kind === "heads" ? " tokens" : " nodes"));
  const measure = measureOf(grid.maps[row.first], grid.view.state);
  const notices = [...layer.notices, ...(layer.said[measure] || [])];
  const heading = element(
    "div",
    { role: "rowheader", "aria-colspan": grid.columns },
    element("h2", {}, layerName(layer.layer)),
    layerLink(layer),
    element("span", { class: "quiet" }, facts.join(" · ")),
    notices.length ? element("span", { class: "notice", title: notices.join(" ") }, notices.join(" ")) : null
  );
  return placed(element("div", { class: "layer-row" }, heading), row, number);
}

/** Leads to the page of a layer; in a single file to the part that holds it. */
function layerLink(layer) {
  if (!site.single) {
    const page = "layers/" + padded(layer.index, 3) + ".html";
    return element("a", { href: page, "aria-label": layer.layer + " summary" }, "summary");
  }
  const part = document.getElementById("whole-" + layer.index);
  const button = element("button", { type: "button", class: "link" }, "summary");
  button.addEventListener("click", () => {
    part.open = true;
    part.scrollIntoView();
    part.querySelector("summary").focus();
  });
  return button;
}

function tileRow(row, number) {
  const node = element("div", { class: "row size-" + grid.view.size });
  node.style.gridTemplateColumns = "repeat(" + grid.columns + ", minmax(0, 1fr))";
  for (let position = row.from; position < row.to; position += 1) {
    const link = tile(grid.maps[position], grid.view);
    link.dataset.position = String(position);
    const column = position - row.from + 1;
    const pick = picker(grid.maps[position], grid.view.picked.includes(grid.maps[position].key));
    node.append(element("div", { role: "gridcell", "aria-colindex": column }, link, pick));
  }
  return placed(node, row, number);
}

/** Exactly one tile can be reached by Tab. */
function rove() {
  for (const link of grid.node.querySelectorAll('a.tile[tabindex="0"]')) link.tabIndex = -1;
  const link = tileAt(grid.active);
  if (link) link.tabIndex = 0;
}

function tileAt(position) {
  return grid.node.querySelector('a.tile[data-position="' + position + '"]');
}

/** Scrolls a map into the window and gives it the focus. */
function focusMap(position) {
  if (!grid.maps.length) return;
  grid.active = Math.max(0, Math.min(position, grid.maps.length - 1));
  const row = grid.rows[rowOf(grid.active)];
  const origin = grid.node.getBoundingClientRect().top + window.scrollY;
  const header = document.querySelector(".top").getBoundingClientRect();
  const covered = Math.max(0, header.bottom);
  const top = origin + row.top;
  if (top < window.scrollY + covered + 8) {
    window.scrollTo({ top: top - covered - 60, behavior: "instant" });
  } else if (top + row.height > window.scrollY + window.innerHeight - 8) {
    window.scrollTo({ top: top + row.height - window.innerHeight + 16, behavior: "instant" });
  }
  drawRows();
  const link = tileAt(grid.active);
  if (link) link.focus({ preventScroll: true });
}

/** The place that a key leads to from the active map; null for other keys. */
function keyTarget(key) {
  const { active, rows, maps } = grid;
  if (key === "ArrowRight") return active + 1;
  if (key === "ArrowLeft") return active - 1;
  if (key === "Home") return 0;
  if (key === "End") return maps.length - 1;
  const here = rowOf(active);
  const turn = { ArrowDown: 1, ArrowUp: -1, PageDown: 1, PageUp: -1 }[key];
  if (!turn || here < 0) return null;
  const screen = Math.max(1, Math.floor((window.innerHeight * 0.8) / rows[here].height));
  let left = key.startsWith("Page") ? screen : 1;
  let to = here;
  for (let i = here + turn; i >= 0 && i < rows.length && left > 0; i += turn) {
    if (rows[i].layer) continue;
    to = i;
    left -= 1;
  }
  return Math.min(rows[to].from + (active - rows[here].from), rows[to].to - 1);
}

/** Shows which maps are picked, without drawing rows again. */
function showPicked(picked) {
  grid.node.classList.toggle("picking", picked.length > 0);
  if (grid.view) grid.view.picked = picked;
  for (const button of grid.node.querySelectorAll("button.pick")) {
    const entry = site.byKey.get(button.dataset.pick);
    const now = picked.includes(entry.key);
    if ((button.getAttribute("aria-pressed") === "true") !== now) {
      button.replaceWith(picker(entry, now));
    }
  }
}

function wireGrid(node, open, pick) {
  grid.node = node;
  let waiting = false;
  const soon = (work) => () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
  window.addEventListener("scroll", soon(drawRows), { passive: true });
  new ResizeObserver(soon(measureRows)).observe(node.parentElement);
  node.addEventListener("focusin", (event) => {
    const link = event.target.closest("a.tile");
    if (!link) return;
    grid.active = Number(link.dataset.position);
    rove();
  });
  node.addEventListener("click", (event) => {
    const button = event.target.closest("button.pick");
    if (button) {
      pick(button.dataset.pick);
      return;
    }
    const link = event.target.closest("a.tile");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    grid.active = Number(link.dataset.position);
    open(link.dataset.key);
  });
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "c" && grid.maps.length) pick(grid.maps[grid.active].key);
    const to = keyTarget(event.key);
    if (to === null) return;
    event.preventDefault();
    focusMap(to);
  });
}
