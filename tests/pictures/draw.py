"""The pictures of the READMEs, made by the program as it is.

    python -m tests.pictures.draw                      make those whose source has changed
    python -m tests.pictures.draw overview map         make these
    python -m tests.pictures.draw study-oip=FIGURE.png take a study's figure from its report
    python -m tests.pictures.draw --keep study-oip     after a look: they are still right

`sources.json` holds a hash of what each picture shows: the code that draws it, without docstrings,
and its settings; of studies, the texts and numbers in that code. `tests/test_pictures.py` fails
where a hash has changed. Making all but the studies takes some minutes, Chromium, and the extra
`imagenet`.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = HERE / "sources.json"
LAYER = "Conv2D_3"
CLASSES = "bald eagle, king penguin, zebra, jack-o'-lantern, ladybug, goldfish, strawberry, toucan"
"""Classes of ImageNet, told apart by a part of their names."""


@cache
def digits_run() -> Path:
    """Return the run of `oip demo`, in a folder that is removed at the end."""
    import oip
    from oip import gallery, models

    folder = Path(tempfile.mkdtemp(prefix="oip-pictures-")) / "demo"
    oip.run_demo(out=folder)
    test = models.load("mnist-sample:test")
    gallery.build(folder, data_images=test.images, data_labels=test.labels, title="Digits")
    return folder


def screenshot(fragment: str, width: int, height: int, part: str | None = None) -> Image.Image:
    """Return the gallery's page, or a part of it, as the system's Chromium draws it."""
    from playwright.sync_api import sync_playwright

    page_file = (digits_run() / "gallery" / "index.html").resolve().as_uri()
    target = Path(tempfile.mkdtemp()) / "page.png"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(page_file + fragment)
        page.wait_for_timeout(1500)
        (page.locator(part) if part else page).screenshot(path=target)
        browser.close()
    return Image.open(target).convert("RGB")


def overview() -> Image.Image:
    """Return the first screen of the gallery."""
    return screenshot("", 1280, 740)


def map_page() -> Image.Image:
    """Return the page of the most informative map of the last layer."""
    maps = json.loads((digits_run() / "gallery" / "maps.json").read_text("utf-8"))["maps"]
    best = next(row["map"] for row in maps if row["layer"] == LAYER)
    return screenshot(f"#m=2.{best}", 1040, 1200, "#map")


def evolution() -> Image.Image:
    """Return the growth of four maps, a row each."""
    import oip
    from oip.core import plots

    oips = oip.layer_oips(oip.Run.open(digits_run()), 2)
    best = np.argsort(-np.nan_to_num(oips.scores[:, 0]))[:4]
    stages = np.stack(
        [oips.displayed(oips.snapshots[row]) for row in best]  # (maps, snapshots, h, w, 1)
    )
    tiles = np.repeat(np.repeat(stages.reshape(-1, *stages.shape[2:])[..., 0], 3, 1), 3, 2)
    return Image.fromarray(plots.tiled(tiles, stages.shape[1], gap=6, between=255)).convert("RGB")


def patterns() -> Image.Image:
    """Return the maps that separate fours from nines."""
    from oip import mi, models
    from oip.core import plots

    test = models.load("mnist-sample:all")
    model = digits_run() / "model.keras"
    separation = mi.separating(model, test.images, test.labels, LAYER, 4, 9, shuffles=200)
    target = Path(tempfile.mkdtemp()) / "patterns.png"
    return reduced(plots.save(separation.plot(), target), 1100)


def classes() -> Image.Image:
    """Return pictures of eight classes of a network of photographs."""
    import oip
    from oip import models
    from oip.core import plots

    model = Path(tempfile.mkdtemp()) / "lite0.keras"
    models.pretrained("efficientnet-lite0", model)
    names = [f"class:{part.strip()}" for part in CLASSES.split(",")]
    oips = oip.reconstruct(model, objective=names)
    pictures = [oips.displayed(oip.image) for oip in oips]
    tiles = np.stack(
        [np.asarray(Image.fromarray(picture).resize((200, 200), 1)) for picture in pictures]
    )
    return Image.fromarray(plots.tiled(tiles, len(tiles), gap=4, between=255))


def reduced(path: Path, width: int) -> Image.Image:
    """Return a picture brought to a width."""
    picture = Image.open(path).convert("RGB")
    return picture.resize((width, round(width * picture.height / picture.width)), Image.LANCZOS)


MAKERS: dict[str, Callable[[], Image.Image]] = {
    "overview": overview,
    "map": map_page,
    "evolution": evolution,
    "patterns": patterns,
    "classes": classes,
}
_LOOK = "gallery/assets/base.css", "gallery/assets/grid.css", "gallery/assets/tile.js"
_PAGE = ("dialog.css", "dialog.js", "charts.js", "pictures.js", "evidence.js")
DRAWN_BY = {
    "overview": (*_LOOK, "gallery/templates/_index.html", "gallery/assets/grid.js"),
    "map": (*(f"gallery/assets/{name}" for name in _PAGE), "gallery/verdict_text.py:headline"),
    "evolution": ("oip/ascent/results.py:Oips.displayed", "oip/ascent/settings.py:PRESETS"),
    "patterns": ("mi/class_pattern_results.py:Separation.plot",),
    "classes": ("oip/ascent/results.py:Oips.displayed", "oip/ascent/settings.py:PRESETS"),
    "study-diffusion": ("oip/studies/diffusion_toy.py:draw_toys",),
    "study-kernels": ("oip/studies/kernels.py:draw_boxes",),
    "study-oip": ("oip/studies/oip_plots.py:draw_starts_that_excite",),
    "study-plane": ("oip/studies/plane.py:draw_information_planes",),
    "study-rbig": ("oip/studies/rbig.py:_draw_student",),
    "study-renyi": ("oip/studies/renyi.py:draw_inequalities",),
}
"""Picture -> the files that draw what it shows, or a name in them."""


def source_hash(name: str) -> str:
    """Return the SHA-256 of what a picture is made from."""
    parts = [_source(part) for part in DRAWN_BY[name]]
    if name in MAKERS:
        parts.append(_without_docstrings(inspect.getsource(MAKERS[name])))
    else:  # names change more often than what is drawn
        parts = [_constants(part) for part in parts]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _source(part: str) -> str:
    path, _, name = part.partition(":")
    text = (ROOT / path).read_text("utf-8")
    if not name:
        return text
    if name == "PRESETS":
        from oip.ascent.settings import PRESETS

        return json.dumps(PRESETS, sort_keys=True, default=str)
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.stmt | None = None
    for step in name.split("."):
        kinds = ast.ClassDef | ast.FunctionDef
        node = next(item for item in body if isinstance(item, kinds) and item.name == step)
        body = node.body
    return _without_docstrings(ast.unparse(node))


def _constants(text: str) -> str:
    """Return the texts and numbers in a piece of code: labels, sizes, what is plotted."""
    nodes = ast.walk(ast.parse(text))
    return "\n".join(repr(node.value) for node in nodes if isinstance(node, ast.Constant))


def _without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def main(arguments: list[str]) -> None:
    """Make pictures, and note what they were made from."""
    hashes = json.loads(SOURCES.read_text("utf-8")) if SOURCES.exists() else {}
    keep = "--keep" in arguments
    names = [item for item in arguments if item != "--keep"]
    names = names or [name for name in MAKERS if hashes.get(name) != source_hash(name)]
    for item in names:
        name, _, figure = item.partition("=")
        if not keep:
            picture = reduced(Path(figure), 1000) if figure else MAKERS[name]()
            picture.save(HERE / f"{name}.webp", quality=80, method=6)
        hashes[name] = source_hash(name)
        SOURCES.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n", "utf-8")
        print(name, (HERE / f"{name}.webp").stat().st_size)
    if digits_run.cache_info().currsize:
        shutil.rmtree(digits_run().parent)


if __name__ == "__main__":
    main(sys.argv[1:])
