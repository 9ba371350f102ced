"""The gallery's budget for 10,000 maps, measured by hand.

    python tests/browser/measure.py FOLDER [--side 96] [--maps 10000] [--stages 0]

Makes up a run of RGB maps in FOLDER (unless it is there), builds its gallery twice, and opens it in
Chromium. Prints seconds, memory, first tiles, orders and frames.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import resource
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

LAYERS, STARTS, BANDS = 5, 4, 3
MENUS = (("#sort", "score"), ("#sort", "mi"), ("#sort", "class-3"), ("#group", "all"))
WATCH = """
new MutationObserver((_, watch) => {
  if (!document.querySelector("a.tile")) return;
  watch.disconnect();
  window.first = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now() }));
}).observe(document, { childList: true, subtree: true });
"""
CHANGE = """([name, value]) => {
  const menu = document.querySelector(name);
  const began = performance.now();
  menu.value = value;
  menu.dispatchEvent(new Event("change"));
  return performance.now() - began;
}"""
SCROLL = """async by => {
  const took = [];
  let last = performance.now();
  for (let i = 1; i <= 200; i += 1) {
    scrollTo(0, i * by);
    await new Promise(requestAnimationFrame);
    took.push(performance.now() - last);
    last = performance.now();
  }
  took.sort((a, b) => a - b);
  return [took[100], took[190]];
}"""


def _runs():
    path = Path(__file__).parents[1] / "gallery" / "conftest.py"
    spec = importlib.util.spec_from_file_location("gallery_runs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(job) -> None:
    """One shard: eight smooth patterns, moved about."""
    from oip.run.run import Run
    from oip.run.shards import write_shard

    path, layer, index, number, maps, side, stages = job
    runs = _runs()
    random = np.random.default_rng((index, number))
    patterns = runs.smooth(random, 8, side, side, BANDS).astype(np.float16)
    images = np.stack(
        [
            [
                np.roll(patterns[random.integers(8)], random.integers(0, side, 2), (0, 1))
                for _ in range(STARTS)
            ]
            for _ in maps
        ]
    )
    noise = random.normal(size=(1, 1, side, side, BANDS)).astype(np.float16)
    share = np.linspace(0, 1, stages, dtype=np.float16)[None, :, None, None, None]
    oips = replace(
        runs.make_oips(layer, index, maps, (8, 8, BANDS), STARTS),
        images=images,
        snapshots=noise * (1 - share) + images[:, :1] * share,
        snapshot_steps=np.linspace(0, runs.STEPS, stages).astype(int),
        visible=np.ones((side, side), bool),
    )
    write_shard(Run.open(path).shard(index, number), oips, "key")


def make(path: Path, count: int, side: int, stages: int) -> None:
    """A run of `count` maps in five layers, made by two processes."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(write, begun(path, count, side, stages)))


def make_alone(path: Path, count: int, side: int, stages: int) -> None:
    """The same by this process."""
    for job in begun(path, count, side, stages):
        write(job)


def begun(path: Path, count: int, side: int, stages: int) -> list:
    """Begins the run; what `write` is to be told for each of its shards."""
    per_layer = count // LAYERS
    names = tuple(f"block{index + 1}_conv{1 + index % 3}" for index in range(LAYERS))
    _runs().make_run(
        path,
        names=names,
        counts=(per_layer,) * LAYERS,
        shape=(side, side, BANDS),
        classes=[f"class {number}" for number in range(10)],
        ranked=tuple(range(LAYERS)),
        grown=(),
    )
    return [
        (
            path,
            names[index],
            index,
            number,
            np.arange(first, min(first + 64, per_layer)),
            side,
            stages,
        )
        for index in range(LAYERS)
        for number, first in enumerate(range(0, per_layer, 64))
    ]


def look(page_path: Path) -> None:
    """Opens the page and prints how quick it is."""
    from playwright.sync_api import sync_playwright

    executable = next(
        (shutil.which(name) for name in ("chromium", "google-chrome", "chrome")), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(WATCH)
            page.goto(page_path.as_uri())
            page.wait_for_function("window.painted")
            print("first tiles, painted (ms):", page.evaluate("[first | 0, painted | 0]"))
        for menu, value in MENUS:
            page.select_option("#sort", "index")
            page.wait_for_timeout(200)
            print(f"{menu} {value} (ms):", round(page.evaluate(CHANGE, [menu, value]), 1))
        print("nodes of tiles:", page.locator("a.tile").count())
        for by in (120, 900):
            page.goto("about:blank")
            page.goto(page_path.as_uri())
            page.wait_for_selector("a.tile")
            milliseconds = [round(value, 1) for value in page.evaluate(SCROLL, by)]
            print(f"frames at {by} px a frame, p50 and p95 (ms):", milliseconds)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--maps", type=int, default=10_000)
    parser.add_argument("--stages", type=int, default=0)
    options = parser.parse_args()
    from oip import gallery

    if not options.folder.exists():
        make(options.folder, options.maps, options.side, options.stages)
    shutil.rmtree(options.folder / "gallery", ignore_errors=True)
    for name in ("built", "built again"):
        started, busy = time.monotonic(), time.process_time()
        page = gallery.build(options.folder)
        seconds = time.monotonic() - started
        print(f"{name}: {seconds:.1f} s, processor {time.process_time() - busy:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory: {peak:.2f} GiB")
    packed = len(gzip.compress((page.parent / "data/maps.js").read_bytes()))
    print(f"maps.js: {packed / 1024:.0f} KB gzipped")
    look(page)


if __name__ == "__main__":
    main()
