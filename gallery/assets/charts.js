/* Pictures cut out of strips, and charts, as SVG. */

let filters = 0;

/** A filter of slopes and intercepts for red, green and blue. */
function stretchFilter(id, [slopes, intercepts]) {
  const bands = ["feFuncR", "feFuncG", "feFuncB"].map((tag, band) =>
    drawn(tag, { type: "linear", slope: slopes[band], intercept: intercepts[band] })
  );
  const box = { id, x: 0, y: 0, width: 1, height: 1, "color-interpolation-filters": "sRGB" };
  return drawn("filter", box, drawn("feComponentTransfer", {}, bands));
}

/** The columns of a strip one after the other, the last one longest. */
function strideThrough(columns, wide) {
  const [each, last] = [350, 1500];
  const whole = each * (columns - 1) + last;
  const steps = Array.from({ length: columns }, (_, column) => column);
  return drawn("animate", {
    attributeName: "x",
    values: steps.map((column) => -column * wide).join(";"),
    keyTimes: steps.map((column) => (column * each) / whole).join(";"),
    calcMode: "discrete",
    dur: whole + "ms",
    repeatCount: "indefinite",
  });
}

/**
 * One image of a strip with `columns` x `rows` images of one size. `options`: what lies over it, a
 * stretch of its contrast, and whether all columns are shown one after the other.
 */
function cut(url, position, label, options) {
  const [high, wide] = site.input;
  const { columns, rows, column, row } = position;
  const { over, stretch, moving } = options || {};
  const filter = stretch ? "stretch-" + ++filters : null;
  const edge = 0.004 * wide; // keeps the neighbour's first pixels out where the scale is not whole
  return drawn(
    "svg",
    {
      class: "cut" + (site.exact ? " exact" : "") + (moving ? " moving" : ""),
      viewBox: [edge, edge, wide - 2 * edge, high - 2 * edge].join(" "),
      role: label ? "img" : null,
      "aria-label": label || null,
      "aria-hidden": label ? null : "true",
    },
    stretch ? stretchFilter(filter, stretch) : null,
    drawn(
      "image",
      {
        href: url,
        x: -column * wide,
        y: -row * high,
        width: columns * wide,
        height: rows * high,
        preserveAspectRatio: "none",
        filter: filter && "url(#" + filter + ")",
      },
      moving ? strideThrough(columns, wide) : null
    ),
    ...(over || [])
  );
}

function line(points, attributes) {
  return drawn("polyline", { points: points.map((p) => p.join(",")).join(" "), ...attributes });
}

/** Score over steps, one line a start, the best one in front. */
function traceChart(steps, traces, best, reference) {
  return stepChart(steps, traces, {
    description:
      "Score of " + plural(traces.length, "start") + "; best " + figure(best) +
      (reference === null ? "" : "; best data " + itemWord() + " " + figure(reference)),
    ends: ["step", "steps"],
    reference,
    note: "best data " + itemWord() + " ",
  });
}

/**
 * Lines over steps, the first one in front. `options`: a description for those who do not see it, the
 * unit of the steps (one, several), a value to hold the lines against and what it is.
 */
function stepChart(steps, traces, options) {
  const [wide, high, left, right, top, bottom] = [460, 190, 44, 12, 12, 30];
  const reference = options.reference === undefined ? null : options.reference;
  const finite = traces.flat().filter((value) => value !== null);
  if (reference !== null) finite.push(reference);
  if (!finite.length) return null;
  const [low, most] = [Math.min(0, ...finite), Math.max(...finite)];
  const span = most - low || 1;
  const last = steps[steps.length - 1] || 1;
  const x = (step) => left + ((wide - left - right) * step) / last;
  const y = (value) => top + (high - top - bottom) * (1 - (value - low) / span);
  const chart = drawn("svg", {
    class: "chart", viewBox: "0 0 " + wide + " " + high, role: "img", "aria-label": options.description,
  });
  for (const value of [low, low + span / 2, most]) {
    chart.append(
      drawn("line", { class: "rule", x1: left, x2: wide - right, y1: y(value), y2: y(value) }),
      drawn("text", { class: "tick end", x: left - 6, y: y(value) + 4 }, figure(value))
    );
  }
  for (const step of new Set([0, Math.round(last / 2), last])) {
    const side = step === last ? " end" : step === 0 ? "" : " middle";
    const wording = step === last ? step + " " + options.ends[step === 1 ? 0 : 1] : String(step);
    chart.append(drawn("text", { class: "tick" + side, x: x(step), y: high - 8 }, wording));
  }
  if (reference !== null) {
    const above = y(reference) < top + 16;
    const position = { x1: left, x2: wide - right, y1: y(reference), y2: y(reference) };
    const wording = options.note + figure(reference);
    const text = { class: "tick end over", x: wide - right, y: y(reference) + (above ? 13 : -5) };
    chart.append(drawn("line", { class: "reference", ...position }), drawn("text", text, wording));
  }
  [...traces.keys()].reverse().forEach((position) => {
    const points = [];
    traces[position].forEach((value, i) => {
      if (value !== null) points.push([x(steps[i]).toFixed(1), y(value).toFixed(1)]);
    });
    if (!points.length) return;
    const [endX, endY] = points[points.length - 1];
    const best = position === 0 ? " best" : "";
    chart.append(
      line(points, { class: "trace" + best }),
      drawn("circle", { class: "end-point" + best, cx: endX, cy: endY, r: 2.5 })
    );
  });
  return chart;
}

/** Response histograms, one row per class, all to one scale of the response. */
function ridges(edges, rows) {
  const [wide, left, step, tall] = [460, 92, 24, 20];
  const high = rows.length * step + 26;
  const chart = drawn("svg", {
    class: "chart",
    viewBox: "0 0 " + wide + " " + high,
    role: "img",
    "aria-label":
      "Histograms of the mean response to images of " +
      rows.map(([position]) => className(position)).join(", "),
  });
  rows.forEach(([position, counts], row) => {
    const base = row * step + tall + 2;
    const most = Math.max(1, ...counts);
    const width = (wide - left - 12) / counts.length;
    const points = [[left, base]];
    counts.forEach((count, bin) => {
      const top = (base - (tall - 3) * (count / most)).toFixed(1);
      points.push([(left + bin * width).toFixed(1), top]);
      points.push([(left + (bin + 1) * width).toFixed(1), top]);
    });
    points.push([wide - 12, base]);
    const label = drawn("text", { class: "tick end class-label", x: left - 8, y: base - 4 });
    label.textContent = shortened(className(position), 12);
    label.append(drawn("title", {}, className(position)));
    chart.append(
      label,
      line(points, { class: "ridge" }),
      drawn("line", { class: "rule", x1: left, x2: wide - 12, y1: base, y2: base })
    );
  });
  chart.append(
    drawn("text", { class: "tick", x: left, y: high - 8 }, figure(edges[0])),
    drawn("text", { class: "tick middle", x: (left + wide) / 2, y: high - 8 }, "mean response"),
    drawn("text", { class: "tick end", x: wide - 12, y: high - 8 }, figure(edges[1]))
  );
  return chart;
}

function shortened(text, length) {
  const letters = Array.from(text);
  return letters.length <= length ? text : letters.slice(0, length - 1).join("") + "…";
}

/** A bar with its interval and, if known, its ceiling; all in bits, `most` being the full width. */
function bar(value, low, high, most, ceiling) {
  const node = element("span", { class: "bar", "aria-hidden": "true" });
  const share = (bitsValue) => (100 * Math.max(0, Math.min(bitsValue, most))) / most + "%";
  const fill = element("span", { class: "fill" });
  fill.style.width = value === null ? "0" : share(value);
  node.append(fill);
  if (low !== null && high !== null && low !== undefined && high !== undefined) {
    const whisker = element("span", { class: "whisker" });
    whisker.style.left = share(low);
    whisker.style.right = 100 - parseFloat(share(high)) + "%";
    node.append(whisker);
  }
  if (ceiling) {
    const mark = element("span", { class: "ceiling" });
    mark.style.left = share(ceiling);
    node.append(mark);
  }
  return node;
}
