"""Building the gallery of a run: files are written beside the old ones and then swapped in.

A gallery in one file holds script, style, data and images within the page.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shutil
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from oip.core import files
from oip.core.errors import RunError, SettingsError, notice
from oip.core.formats import ARRAYS, DrawnFile, GalleryMarker, InputRecord, RunFile
from oip.core.html import framed, kernel_shell
from oip.core.progress import Progress, automatic
from oip.core.units import plural
from oip.gallery.atlas import layer_atlas
from oip.gallery.cache import PictureKeys, Store
from oip.gallery.escape import PageValues, plain_name, script
from oip.gallery.images import (
    COLUMNS,
    PER_SHEET,
    DataImages,
    KeptDataImages,
    MapImages,
    ShownData,
    line_length,
    size_of,
)
from oip.gallery.map_details import layer_details
from oip.gallery.map_table import MapTable
from oip.gallery.pages import Pages, SingleLinks, data_address
from oip.gallery.read_run import (
    LayerEntry,
    input_record,
    read_layer,
    shown_layers,
    training_record,
)
from oip.run.citations import citations
from oip.run.run import OLD_GALLERY, UNFINISHED_GALLERY, Run, clear_leftovers
from oip.run.shards import data_digest

_LONGEST_TITLE = 200
_DATA_IMAGE = re.compile(rb"img/data/[0-9]+\.webp")
"""In a single file that holds images of the data; the script has `img/data/` without a number."""


def build(
    run: str | Path | Run,
    *,
    data_images: np.ndarray | None = None,
    data_labels: np.ndarray | None = None,
    keep_data: bool = True,
    single_file: bool = False,
    title: str | None = None,
    progress: Progress = automatic,
) -> Path:
    """Build RUN/gallery, a folder of files that a browser opens without a server.

    One shard is held in memory at a time. A gallery that is already there is replaced at the end,
    so that an interrupted build leaves it whole; its files that have not changed are kept, and
    pictures of shards that have not changed are not drawn again.

    Args:
        run: a run with OIPs, a ranking, or both.
        data_images: (n, h, w, bands), or (n, length, bands) of lines, the images that the run was
            ranked on, in the same order; those that excite a map most are then shown on its page.
            Without them the gallery holds no data but what it held before.
        data_labels: (n,) their labels, for captions.
        keep_data: where no images are given, those that the gallery in RUN/gallery shows stay in
            it; False removes them. A single file holds those that are given.
        single_file: build RUN/gallery.html instead, one file that holds everything; for at most
            300 maps.
        title: heading of the pages. If None, that of the gallery that is there, else the name of
            the model's file.
        progress: receives how many maps have been drawn.

    Returns:
        Path: of index.html, or of gallery.html.

    Raises:
        RunError: no such run, nothing to show in it, a folder RUN/gallery that is no gallery, or no
            place to write.
        DataError: images or labels of the wrong shape.
        SettingsError: more maps than a single file holds, or a title that is no short text.

    >>> build("runs/mnist")  # doctest: +SKIP
    PosixPath('runs/mnist/gallery/index.html')
    """
    check_title(title)
    source = Run.of(run)
    target = source.path / ("gallery.html" if single_file else "gallery")
    if not is_replaceable(target):
        ours = "a gallery made by oip, or nothing"
        hint = "Move it away, and give the command again."
        raise RunError(f"'{target}'", ours, "a damaged one, or something else", hint)
    files.check_writable(source.path)
    with _building(source.path) as building:
        try:
            store = Store(building, target if target.is_dir() else None)
            store.title = store.title if title is None else title.strip()
            data = _GivenData(data_images, data_labels, keep_data and not single_file)
            pages = _write(source, store, data, single_file, progress)
            if single_file:
                _warn_of_data(target, data_images)
                files.write_text(target, single_page(building, pages))
                return target
            _swap(building, target)
            return target / "index.html"
        except OSError as error:
            raise RunError(f"cannot write '{target}': {error.strerror or error}") from error


def show(
    run: str | Path | Run,
    *,
    data_images: np.ndarray | None = None,
    data_labels: np.ndarray | None = None,
    title: str | None = None,
    height: int = 720,
    progress: Progress = automatic,
) -> None:
    """Build the gallery of a run and show it: below the cell of a notebook, else in a browser.

    A notebook (Jupyter, VS Code) gets the gallery in one file inside a frame, so that it needs no
    server and stays in the notebook when it is saved. A run of more than 300 maps is too large for
    that; its pages are opened in a browser, as they are outside of notebooks.

    Args:
        run: a run with OIPs, a ranking, or both.
        data_images, data_labels, title, progress: as for `build`.
        height: of the frame, in pixels.

    Raises:
        RunError, DataError, SettingsError: as `build` does.

    >>> show("runs/mnist")  # doctest: +SKIP
    """
    source = Run.of(run)
    shell = kernel_shell()
    if shell is not None:
        maps = sum(len(read_layer(source, index).maps) for index in shown_layers(source))
        shell = shell if maps <= MOST_MAPS else None
    page = build(
        source,
        data_images=data_images,
        data_labels=data_labels,
        single_file=shell is not None,
        title=title,
        progress=progress,
    )
    if shell is None:
        if not webbrowser.open(page.resolve().as_uri()):
            notice(f"no browser was found. Open {page}")
        return
    # Links within the page name its own fragments: in a frame they need this base.
    text = page.read_text("utf-8").replace("<head>", '<head><base href="about:srcdoc">', 1)
    frame = framed(text, f"Gallery of {source.path.name}", height)
    shell.display_pub.publish({"text/html": frame, "text/plain": str(page)})


def check_title(title: str | None) -> None:
    """Raise a SettingsError unless a title is None or a short text."""
    if title is not None and not (isinstance(title, str) and len(title) <= _LONGEST_TITLE):
        received = f"{len(title)} characters" if isinstance(title, str) else repr(title)
        raise SettingsError("title", f"text of at most {_LONGEST_TITLE} characters", received)


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which is locked as long as this process lives, and removed at the end.

    Those that killed builds left behind are removed before.
    """
    clear_leftovers(folder, with_unfinished=False)
    building = folder / f"{UNFINISHED_GALLERY}{os.getpid()}-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        with files.locked(folder):
            stack.enter_context(files.locked(building))
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)


class _GivenData(NamedTuple):
    """The data that a gallery is built with."""

    images: np.ndarray | None
    labels: np.ndarray | None
    keep: bool
    """Without images, those of the gallery that is replaced stay."""

    def shown(
        self, store: Store, keys: PictureKeys, spec: InputRecord, classes: list[str]
    ) -> ShownData | None:
        """Return the data images that the gallery shows, None for a gallery without them."""
        if self.images is not None:
            digest = data_digest(self.images)
            return DataImages(store, keys, spec, self.images, self.labels, classes, digest)
        return _kept_data(store, keys, spec) if self.keep else None


def _write(
    run: Run, store: Store, given_data: _GivenData, single: bool, progress: Progress
) -> Pages:
    """Write all files of a gallery."""
    record, spec = run.record, input_record(run)
    name = run.path.resolve().name
    names = list(record.classes or ())
    layers = [read_layer(run, index, names) for index in shown_layers(run)]
    classes = [plain_name(name) for name in names]
    training = training_record(run)
    if single:
        check_map_count(sum(len(layer.maps) for layer in layers))
    are_colors = bool((record.settings.reconstruct or {}).get("bound"))
    keys = PictureKeys(store.old, _picture_basis(spec, layers, are_colors))
    images = MapImages(store, keys, spec, layers, are_colors, single)
    data = given_data.shown(store, keys, spec, classes)
    table = MapTable(record.model, classes)
    pages = Pages(store, record, name, classes, "\n\n".join(citations(run).values()))
    ranked_on_others: list[str] = []
    atlas: PageValues = {}
    for layer in layers:
        atlas[str(layer.index)] = layer_atlas(layer, keys)
        images.write(layer, progress)
        images.write_relations(layer)
        table.add(layer)
        layer_data = data
        if data is not None and not _is_ranked_on(layer, data.digest):
            layer_data = None
            ranked_on_others.append(layer.name)
        for stem, content in layer_details(layer, record, name, layer_data, images.stretches):
            store.write(f"data/{stem}.js", script(stem, content))
        pages.add(layer, images)
    _warn_of_missing_images(data, ranked_on_others)
    line = list(spec.shape[-2:]) if line_length(spec.shape) else None
    about = _facts_of_run(images, data is not None, single, pages.title, line)
    about["with_data"] = _data_images_call(run.record)
    about["tags"] = any(layer.has_tags for layer in layers)
    for file, page_name, content in table.scripts(about):
        store.write(f"data/{file}.js", script(page_name, content))
    store.write("data/atlas.js", script("atlas", atlas))
    store.write("maps.json", files.json_text(table.file().content()))
    store.write("maps.csv", table.csv())
    pages.write_rest(layers, training)
    store.write("assets/app.js", app_script())
    store.write("assets/app.css", app_style())
    keys.write(store)
    return pages


def _picture_basis(
    spec: InputRecord, layers: Sequence[LayerEntry], are_colors: bool
) -> list[object]:
    """Return what all pictures depend on, beside their shards; if it changes, all are drawn."""
    values: list[object] = [size_of(spec.shape), spec.bgr]
    if are_colors:
        values += [spec.mean, spec.std]
    if any(block.has_masks for layer in layers for block in layer.blocks):
        values.append("masks")
    return values


def _is_ranked_on(layer: LayerEntry, digest: str | None) -> bool:
    """Return whether a layer was ranked on the images of a digest, as far as that is known."""
    return digest is None or layer.data_digest in (None, digest)


def _kept_data(store: Store, keys: PictureKeys, spec: InputRecord) -> KeptDataImages | None:
    """Return the data images of the gallery that is replaced, and say that they are kept."""
    data = KeptDataImages.of(store, keys, spec)
    if data is not None:
        notice("the gallery keeps its data images. To remove them, build it with keep_data=False.")
    elif store.old is not None and (store.old / "img/data").is_dir():
        notice("the gallery of an earlier version held data images; without any given it has none.")
    return data


def _warn_of_missing_images(data: ShownData | None, ranked_on_others: Sequence[str]) -> None:
    """Warn of data images that are not shown.

    Args:
        data: some of which may be missing in the gallery that is replaced.
        ranked_on_others: names of layers that were ranked on other images.
    """
    if isinstance(data, KeptDataImages) and data.missing:
        images_missing = plural(data.missing, "data image")
        notice(f"{images_missing} that maps respond to most are not in the existing gallery.")
    if ranked_on_others:
        names = ", ".join(f"'{name}'" for name in ranked_on_others)
        notice(
            f"no data images are shown for {names}, because these layers were ranked on other "
            "images."
        )


def _warn_of_data(target: Path, data_images: np.ndarray | None) -> None:
    """Warn where a single file with data images is replaced by one without any."""
    if data_images is None and target.exists() and _DATA_IMAGE.search(target.read_bytes()):
        notice(
            f"'{target.name}' no longer holds images of the data, because none were given this "
            "time."
        )


def _facts_of_run(
    images: MapImages, data: bool, single: bool, title: str, line: list[int] | None
) -> PageValues:
    """Return the facts about the run that the page needs beside the maps.

    Args:
        line: length and bands of an input that is a line of numbers, else None.
    """
    return {
        "title": title,
        "cell": list(images.sheets.cell),
        "sheet": [COLUMNS, PER_SHEET],
        "exact": images.lossless,
        "colors": images.are_colors,
        "line": line,
        "input": list(images.size),
        "data": data,
        "single": single,
    }


def _data_images_call(run: RunFile) -> str | None:
    """Return the call that shows the run's data images; None for a run without data."""
    if run.data is None or not run.data.source:
        return None
    is_array = run.data.source.partition(":")[0] == ARRAYS
    return "gallery.build(run, data_images=images)" if is_array else "oip gallery RUN --with-data"


def is_replaceable(target: Path) -> bool:
    """Return whether `build` may replace a gallery's folder or page: there is none, or its own."""
    if target.is_symlink():
        return False
    is_ours = is_single_page if target.suffix == ".html" else _is_gallery
    return not target.exists() or is_ours(target)


def _is_gallery(target: Path) -> bool:
    """Return whether a folder is a gallery, by either of the files that say so."""
    record = DrawnFile.read_if_whole(target / "drawn.json")
    is_listed = record is not None and "maps.json" in record.files
    return is_listed or GalleryMarker.read_if_whole(target / "maps.json") is not None


def _swap(fresh: Path, target: Path) -> None:
    """Move a finished folder to its place; the old one is removed only afterwards."""
    old = fresh.with_name(fresh.name + OLD_GALLERY)
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


_FOLDER = Path(__file__).parent / "assets"
_SCRIPTS = (
    "data state order elements charts tile grid pictures numbers evidence dialog controls compare "
    "atlas export main"
)
_STYLES = "base grid dialog atlas pages"


MOST_MAPS = 300
"""A single file holds no more: all of it is read before anything is seen."""
_MARK = '<meta name="generator" content="oip gallery">'
_HEAD = f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_MARK}\n'
"""How a page begins."""


def app_script() -> str:
    """Return app.js: a classic script in one function, because modules do not load from file://."""
    code = "\n".join(_read(f"{name}.js") for name in _SCRIPTS.split())
    return f'(function () {{\n"use strict";\n\n{code}}})();\n'


def app_style() -> str:
    """Return app.css."""
    return "\n".join(_read(f"{name}.css") for name in _STYLES.split())


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def check_map_count(maps: int) -> None:
    """Raise a SettingsError when there are too many maps for one file."""
    if maps > MOST_MAPS:
        hint = "Leave --single-file out: a folder shows any number of maps."
        raise SettingsError("a single file", f"at most {MOST_MAPS} maps", maps, hint)


def is_single_page(path: Path) -> bool:
    """Return whether a file is a gallery in one file, also one that is damaged or cut short."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(files.PAGE_HEAD)
    if _MARK.encode() in head or _HEAD.encode().startswith(head[: len(_HEAD)]):
        return True
    return files.ends_in_checksum(path)


def single_page(folder: Path, pages: Pages) -> str:
    """Return the page that holds all of a finished gallery's folder.

    Script and style stand in the page, and the policy allows just these two, by their SHA-256.
    """
    data = sorted(path for path in (folder / "data").glob("*.js") if path.name != "maps.js")
    images = {
        path.relative_to(folder).as_posix(): data_address(path)
        for path in sorted((folder / "img").rglob("*.webp"))
        if path.relative_to(folder).parts[1] not in ("redundancy", "tile")
    }
    scripts = [app_script(), script("images", images)]
    scripts += [path.read_text("utf-8") for path in (*data, folder / "data/maps.js")]
    code, style = "".join(scripts), app_style()
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    context = pages.page_values() | {
        "policy": policy,
        "checksum_mark": Markup(files.PAGE_MARK),
        "style": Markup(style),
        "script": Markup(code),
    }
    return files.page_with_checksum(pages.rendered("single.html", SingleLinks(folder), **context))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
