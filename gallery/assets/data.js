/* Data arrive as scripts that call window.OIP.add(name, content): fetch is blocked on file://. */

const arrived = new Map();
const awaited = new Map();

window.OIP = {
  add(name, content) {
    arrived.set(name, content);
    if (name === "maps") start(content);
  },
};

/** Content of data/NAME.js, as a promise; null where the file cannot be read. */
function loaded(name, file) {
  if (arrived.has(name)) return Promise.resolve(arrived.get(name));
  if (!awaited.has(name)) {
    awaited.set(
      name,
      new Promise((done) => {
        const script = document.createElement("script");
        script.src = "data/" + file + ".js";
        script.onload = () => done(arrived.get(name) || null);
        script.onerror = () => {
          awaited.delete(name);
          done(null);
        };
        document.head.append(script);
      })
    );
  }
  return awaited.get(name);
}

/** Address of an image file; a single file brings its images along. */
function addressOf(name) {
  const addresses = arrived.get("images");
  return addresses === undefined ? name : addresses[name] || "data:,";
}

function padded(number, length) {
  return String(number).padStart(length, "0");
}

/** The data of the page; set once by start(). */
let site = null;

/** Reads maps.js into `site`: the maps as objects, `position` being that in the default order. */
function readSite(content) {
  const columns = content.columns;
  const maps = columns.map.map((map, position) => {
    const layer = content.layers[columns.layer[position]];
    return {
      position,
      map,
      layer,
      depth: columns.layer[position],
      verdict: content.verdicts[columns.verdict[position]],
      open: columns.open[position] === 1,
      proved: columns.proved[position] === 1,
      score: columns.score[position],
      stability: columns.stability[position],
      redundancy: columns.redundancy === null ? null : columns.redundancy[position],
      legibility: columns.legibility === null ? null : columns.legibility[position],
      objective: layer.objectives ? layer.objectives[map] : null,
      key: layer.index + "." + map,
    };
  });
  const byKey = new Map(maps.map((entry) => [entry.key, entry]));
  const read = Object.entries(content.information).map(([key, numbers]) => [key, inBits(numbers)]);
  return { ...content, maps, byKey, information: Object.fromEntries(read) };
}

/** An estimator's columns in bits: files hold thousandths, and ends by their distance. */
function inBits(numbers) {
  const moved = (by, side) =>
    by.map((value, position) => (value === null ? null : (numbers.mi[position] + side * value) / 1000));
  const mi = numbers.mi.map((value) => (value === null ? null : value / 1000));
  return { ...numbers, mi, low: moved(numbers.below, -1), high: moved(numbers.above, 1) };
}

/** Whether an estimator's numbers are there: those that no layer is ordered by come when asked. */
function isRead(key) {
  return key === null || site.information[key] !== undefined;
}

/** Reads the numbers of these estimators, as a promise; what cannot be read stays away. */
function measured(keys) {
  return Promise.all(
    keys.filter((key) => !isRead(key)).map((key) => {
      const position = site.estimators.findIndex((entry) => entry.key === key);
      return loaded("by-" + position, "by-" + padded(position, 2)).then((numbers) => {
        if (numbers) site.information[key] = inBits(numbers);
      });
    })
  );
}

/** Which estimator a map is shown by: the chosen one, or the first of its layer. */
function measureOf(entry, state) {
  return state.by || entry.layer.measure;
}

/** A map's numbers by an estimator; null where it says nothing. */
function information(entry, measure) {
  const columns = measure === null ? undefined : site.information[measure];
  if (!columns || columns.rank[entry.position] === null) return null;
  const result = {
    saturated: columns.saturated[entry.position] === 1,
    ordered: !entry.layer.unordered.includes(measure),
  };
  for (const name of ["mi", "low", "high", "rank", "p_adjusted", "best"]) {
    result[name] = columns[name][entry.position];
  }
  return result;
}

/** The file that holds what a map's page shows: one for 64 maps of a layer. */
function detailOf(entry) {
  const name = "detail-" + padded(entry.layer.index, 3) + "-" + padded(Math.floor(entry.map / 64), 4);
  return loaded(name, name).then((shared) => {
    const detail = shared && shared.maps[String(entry.map)];
    const keys = shared ? shared.measures.map((measure) => measure.key) : [];
    return measured(keys).then(() => ({ name, shared, detail: detail || null }));
  });
}

function className(position) {
  return position < site.classes.length ? site.classes[position] : String(position);
}
