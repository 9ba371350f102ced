"""Builds the gallery of a run: all files beside the old ones, then moved into their place."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import files
from oip.core.errors import RunError, expected
from oip.core.progress import Progress, automatic
from oip.gallery.cache import Drawn, Store
from oip.gallery.escape import plain_name, script
from oip.gallery.images import COLUMNS, PER_SHEET, DataImages, MapImages, size_of
from oip.gallery.map_details import layer_details
from oip.gallery.map_table import KIND, Catalogue
from oip.gallery.pages import Pages
from oip.gallery.read_run import check_input, class_names, read_layer, shown_layers, training_record
from oip.gallery.single_file import app_script, app_style, check_size, single_page
from oip.gallery.single_file import check_ours as check_single
from oip.run.citations import citations
from oip.run.run import Run
from oip.run.shards import data_digest

_UNFINISHED = ".gallery-"
_STALE_SECONDS = 86400


def build(
    run: str | Path | Run,
    *,
    data_images: np.ndarray | None = None,
    data_labels: np.ndarray | None = None,
    single_file: bool = False,
    progress: Progress = automatic,
) -> Path:
    """Builds RUN/gallery, a folder of files that a browser opens without a server.

    One shard is held in memory at a time. A gallery that is already there is replaced at the end,
    so that an interrupted build leaves it whole; files of it that have not changed are taken over
    as they are, and pictures of shards that have not changed are not drawn again.

    Args:
        run: a run with OIPs, a ranking, or both.
        data_images: (n, h, w, bands), or (n, length, bands) of lines, the images that the run was
            ranked on, in the same order; those that excite a map most are then shown on its page.
            Without them the gallery holds no data.
        data_labels: (n,) their labels, for captions.
        single_file: build RUN/gallery.html instead, one file that holds everything; for at most
            300 maps.
        progress: is told how many maps have been drawn.

    Returns:
        Path: of index.html, or of gallery.html.

    Raises:
        RunError: no such run, nothing to show in it, a folder RUN/gallery that is no gallery, or no
            place to write.
        DataError: images or labels of the wrong shape.
        SettingsError: more maps than a single file holds.

    >>> build("runs/mnist")  # doctest: +SKIP
    PosixPath('runs/mnist/gallery/index.html')
    """
    found = run if isinstance(run, Run) else Run.open(run)
    target = found.path / ("gallery.html" if single_file else "gallery")
    (check_single if single_file else _check_ours)(target)
    files.check_writable(found.path)
    _clear(found.path)
    beside = found.path / f"{_UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}"
    old = target if target.is_dir() else None
    try:
        try:
            store = Store(beside, old)
            pages = _write(found, store, data_images, data_labels, single_file, progress)
            if single_file:
                files.write_text(target, single_page(beside, pages))
                return target
            _swap(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise RunError(f"cannot write '{target}': {error.strerror or error}") from error
    return target / "index.html"


def _write(
    run: Run,
    store: Store,
    data_images: np.ndarray | None,
    data_labels: np.ndarray | None,
    single: bool,
    progress: Progress,
) -> Pages:
    info = run.info
    check_input(run)
    name = run.path.resolve().name
    indices = shown_layers(run)
    classes = class_names(run, indices)
    layers = [read_layer(run, index) for index in indices]
    record = training_record(run)
    if single:
        check_size(sum(len(layer.maps) for layer in layers))
    drawn = Drawn(store.old, [size_of(info), bool(info["input"].get("bgr"))])
    images = MapImages(store, drawn, info, layers)
    digest = data_digest(data_images)
    data = None
    if data_images is not None:
        data = DataImages(store, drawn, info, data_images, data_labels, classes, digest)
    catalogue = Catalogue(info, classes)
    pages = Pages(store, info, name, classes, "\n\n".join(citations(run).values()))
    for layer in layers:
        images.write(layer, progress)
        catalogue.add(layer)
        fits = digest is None or layer.data_digest in (None, digest)
        for part, content in layer_details(layer, info, name, data if fits else None):
            store.write(f"data/{part}.js", script(part, content))
        pages.add(layer, images)
    _write_tables(store, catalogue, _about(info, images, data is not None, single))
    pages.write_rest(layers, record)
    store.write("assets/app.js", app_script())
    store.write("assets/app.css", app_style())
    drawn.write(store)
    return pages


def _about(info: dict[str, Any], images: MapImages, data: bool, single: bool) -> dict[str, Any]:
    """What the page is told beside the maps."""
    return {
        "model": plain_name(info["model"]["name"]),
        "cell": list(images.sheets.cell),
        "sheet": [COLUMNS, PER_SHEET],
        "exact": images.lossless,
        "input": list(size_of(info)),
        "data": data,
        "single": single,
    }


def _write_tables(store: Store, catalogue: Catalogue, about: dict[str, Any]) -> None:
    for file, known_as, content in catalogue.scripts(about):
        store.write(f"data/{file}.js", script(known_as, content))
    text = json.dumps(catalogue.json(), indent=1, ensure_ascii=False, allow_nan=False)
    store.write("maps.json", text + "\n")
    store.write("maps.csv", catalogue.csv())


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


def _clear(folder: Path) -> None:
    """Removes what builds left that were killed."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


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
