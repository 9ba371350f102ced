/* The maps that are shown, as a table, as a link, and one of them by chance. */

/** A cell: text that a spreadsheet would take for a formula gets an apostrophe. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^ *[=+\-@\t\r\n]/.test(value) ? "'" + value : value;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}

/** Maps as CSV, one per row, in the order that is given. */
function tableOf(maps) {
  const keys = site.estimators.map((entry) => entry.key);
  const units = site.estimators.map((entry) => (entry.unit ? " (" + entry.unit + ")" : ""));
  const names = ["layer", "index", "map", "objective", "verdict", "not converged", "score", "stability", "redundancy", "legibility"];
  const parts = ["mi", "low", "high", "rank", "p_adjusted"];
  keys.forEach((key, i) => {
    names.push(...parts.map((name, k) => key + " " + name + (k < 3 ? units[i] : "")), key + " best class");
  });
  const rows = maps.map((entry) => {
    const cells = [entry.layer.layer, entry.layer.index, entry.map, entry.objective, entry.verdict, entry.open, entry.score, entry.stability, entry.redundancy, entry.legibility];
    for (const key of keys) {
      const estimate = information(entry, key);
      cells.push(...parts.map((name) => (estimate ? estimate[name] : null)));
      cells.push(estimate && estimate.best !== null ? className(estimate.best) : null);
    }
    return cells;
  });
  return [names, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** Hands a text to the user as a file. */
function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Puts the page's address on the clipboard; says so, or shows it where that is not allowed. */
function copyLink(say) {
  const address = location.href;
  const shown = () => window.prompt("The address of this view", address);
  if (!navigator.clipboard) return shown();
  return navigator.clipboard.writeText(address).then(() => say("Copied."), shown);
}

/** `list()` are the maps that are shown, `open(key)` opens one. */
function wireActions(list, open) {
  let fading = 0;
  const say = (message) => {
    byId("message").textContent = message;
    clearTimeout(fading);
    fading = setTimeout(() => byId("message").replaceChildren(), 4000);
  };
  byId("random").addEventListener("click", () => {
    const maps = list();
    if (maps.length) open(maps[Math.floor(Math.random() * maps.length)].key);
  });
  byId("copy").addEventListener("click", () => copyLink(say));
  byId("export").addEventListener("click", () => {
    measured(site.estimators.map((entry) => entry.key)).then(() => {
      const name = site.title.normalize("NFKD").replace(/[^A-Za-z0-9_]+/g, "-").slice(0, 40).replace(/^-+|-+$/g, "");
      download((name ? name + "-" : "") + plural(list().length, unitWord()).replaceAll(" ", "-") + ".csv", tableOf(list()));
      say(plural(list().length, "row") + " saved.");
    });
  });
  byId("actions").hidden = false;
}
