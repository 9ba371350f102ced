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
  const held = arrived.get("images");
  return held === undefined ? name : held[name] || "data:,";
}

function padded(number, length) {
  return String(number).padStart(length, "0");
}

/** What the page knows; set once by start(). */
let site = null;

/** Reads maps.js into `site`: the maps as objects, `place` being their place in default order. */
function readSite(content) {
  const columns = content.columns;
  const maps = columns.map.map((map, place) => {
    const layer = content.layers[columns.layer[place]];
    return {
      place,
      map,
      layer,
      depth: columns.layer[place],
      verdict: content.verdicts[columns.verdict[place]],
      open: columns.open[place] === 1,
      proved: columns.proved[place] === 1,
      score: columns.score[place],
      stability: columns.stability[place],
      redundancy: columns.redundancy === null ? null : columns.redundancy[place],
      objective: layer.objectives ? layer.objectives[map] : null,
      key: layer.index + "." + map,
    };
  });
  const byKey = new Map(maps.map((one) => [one.key, one]));
  const read = Object.entries(content.information).map(([key, told]) => [key, inBits(told)]);
  return { ...content, maps, byKey, information: Object.fromEntries(read) };
}

/** An estimator's columns in bits: files hold thousandths, and ends by their distance. */
function inBits(told) {
  const moved = (by, side) =>
    by.map((value, place) => (value === null ? null : (told.mi[place] + side * value) / 1000));
  const mi = told.mi.map((value) => (value === null ? null : value / 1000));
  return { ...told, mi, low: moved(told.below, -1), high: moved(told.above, 1) };
}

/** Whether an estimator's numbers are there: those that no layer is ordered by come when asked. */
function isRead(key) {
  return key === null || site.information[key] !== undefined;
}

/** Reads the numbers of these estimators, as a promise; what cannot be read stays away. */
function measured(keys) {
  return Promise.all(
    keys.filter((key) => !isRead(key)).map((key) => {
      const place = site.estimators.findIndex((one) => one.key === key);
      return loaded("by-" + place, "by-" + padded(place, 2)).then((told) => {
        if (told) site.information[key] = inBits(told);
      });
    })
  );
}

/** Which estimator a map is shown by: the chosen one, or the first of its layer. */
function measureOf(one, state) {
  return state.by || one.layer.measure;
}

/** A map's numbers by an estimator; null where it says nothing. */
function information(one, measure) {
  const columns = measure === null ? undefined : site.information[measure];
  if (!columns || columns.rank[one.place] === null) return null;
  const found = {
    saturated: columns.saturated[one.place] === 1,
    ordered: !one.layer.unordered.includes(measure),
  };
  for (const name of ["mi", "low", "high", "rank", "p_adjusted", "best"]) {
    found[name] = columns[name][one.place];
  }
  return found;
}

/** The file that holds what a map's page shows: one for 64 maps of a layer. */
function detailOf(one) {
  const name = "detail-" + padded(one.layer.index, 3) + "-" + padded(Math.floor(one.map / 64), 4);
  return loaded(name, name).then((shared) => {
    const detail = shared && shared.maps[String(one.map)];
    const keys = shared ? shared.measures.map((measure) => measure.key) : [];
    return measured(keys).then(() => ({ name, shared, detail: detail || null }));
  });
}

function className(place) {
  return place < site.classes.length ? site.classes[place] : String(place);
}
