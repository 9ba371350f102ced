"""Builds the gallery of a run: all files beside the old ones, then moved into their place."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import numpy as np

from gallery.assets import app_script, app_style
from gallery.catalogue import KIND, Catalogue
from gallery.details import layer_details
from gallery.images import DataImages, MapImages
from gallery.layers import class_names, read_layer, shown_layers
from gallery.pages import Pages
from gallery.pictures import COLUMNS, PER_SHEET
from gallery.text import plain_name, script
from oip.core import files
from oip.core.errors import RunError, expected
from oip.core.progress import Progress, silent
from oip.run.directory import Run
from oip.run.shards import data_digest


def build(
    run: str | Path | Run,
    *,
    data_images: np.ndarray | None = None,
    data_labels: np.ndarray | None = None,
    progress: Progress = silent,
) -> Path:
    """Builds RUN/gallery, a folder of files that a browser opens without a server.

    One layer is held in memory at a time. A gallery that is already there is replaced at the end,
    so that an interrupted build leaves it whole.

    Args:
        run: a run with OIPs, a ranking, or both.
        data_images: (n, h, w, bands), the images that the run was ranked on, in the same order;
            those that excite a map most are then shown on its page. Without them the gallery holds
            no data.
        data_labels: (n,) their labels, for captions.
        progress: is told how many maps have been written.

    Returns:
        Path: of index.html.

    Raises:
        RunError: no such run, nothing to show in it, a folder RUN/gallery that is no gallery, or no
            place to write.
        DataError: images or labels of the wrong shape.

    >>> build("runs/mnist")  # doctest: +SKIP
    PosixPath('runs/mnist/gallery/index.html')
    """
    found = run if isinstance(run, Run) else Run.open(run)
    target = found.path / "gallery"
    _check_ours(target)
    files.check_writable(found.path)
    indices = shown_layers(found)
    beside = found.path / f".gallery-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        try:
            _write(found, indices, beside, data_images, data_labels, progress)
            _swap(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise RunError(f"cannot write '{target}': {error.strerror or error}") from error
    return target / "index.html"


def _write(
    run: Run,
    indices: list[int],
    folder: Path,
    data_images: np.ndarray | None,
    data_labels: np.ndarray | None,
    progress: Progress,
) -> None:
    info = run.info
    name = run.path.resolve().name
    classes = class_names(run, indices)
    for part in ("layers", "assets", "data"):
        (folder / part).mkdir(parents=True)
    (folder / "assets/app.js").write_text(app_script(), "utf-8")
    (folder / "assets/app.css").write_text(app_style(), "utf-8")
    images = MapImages(folder / "img", info)
    data = None
    if data_images is not None:
        data = DataImages(folder / "img/data", info, data_images, data_labels, classes)
    digest = data_digest(data_images)
    catalogue = Catalogue(info, classes)
    pages = Pages(folder, info, name, classes)
    total = len(indices)
    progress("gallery: layers", 0, total)
    for done, index in enumerate(indices, start=1):
        layer = read_layer(run, index)
        images.write(layer)
        catalogue.add(layer)
        fits = digest is None or layer.data_digest in (None, digest)
        details = layer_details(layer, info, name, data if fits else None)
        path = folder / f"data/detail-{index:03d}.js"
        path.write_text(script(f"detail-{index:03d}", details), "utf-8")
        pages.add(layer, images)
        progress("gallery: layers", done, total)
    images.sheets.flush()
    height, width = images.sheets.cell
    about = {
        "model": plain_name(info["model"]["name"]),
        "cell": [height, width],
        "sheet": [COLUMNS, PER_SHEET],
        "exact": images.lossless,
        "input": [int(side) for side in info["input"]["shape"][:2]],
        "data": data is not None,
    }
    catalogue.write_scripts(folder / "data", about)
    pages.write_index(catalogue)
    pages.write_about()
    text = json.dumps(catalogue.json(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "maps.json").write_text(text + "\n", "utf-8")
    (folder / "maps.csv").write_text(catalogue.csv(), "utf-8")


def _check_ours(target: Path) -> None:
    """Refuses to replace anything but a gallery."""
    if not target.exists() and not target.is_symlink():
        return
    marker = target / "maps.json"
    if target.is_dir() and not target.is_symlink() and marker.is_file():
        told = files.read_json(marker)
        if isinstance(told, dict) and told.get("kind") == KIND:
            return
    raise RunError(
        expected(f"'{target}'", "a gallery made by oip, or nothing", "something else", "Move it.")
    )


def _swap(fresh: Path, target: Path) -> None:
    """Moves a finished folder to its place; the old one is gone only when the new one stands."""
    old = fresh.with_name(fresh.name + "-old")
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
