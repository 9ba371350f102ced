"""The patterns of maps in images: where they are, as pictures and `locations.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import UNSET

from oip.ascent.decomposition import Copies, Decompositions, decompose
from oip.ascent.localization import Locations, locate
from oip.ascent.masks import check_receptive_field
from oip.ascent.translation import Translations
from oip.ascent.translation import translation as translate
from oip.core import files, html, plots
from oip.core.checks import check_choice, check_path
from oip.core.errors import LOOK_FOR_NAN, ModelError, SettingsError
from oip.core.formats import DecompositionFile
from oip.core.output_formats import (
    LayerDecomposition,
    LayerTranslation,
    LocatedLayer,
    LocationsFile,
)
from oip.core.progress import Progress, automatic
from oip.core.units import plural
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.run.run import NAME as RUN_FILE
from oip.run.run import Run
from oip.run.shards import key_of
from oip.workflows.directions import with_directions_of
from oip.workflows.inputs import opened, select_maps

if TYPE_CHECKING:
    from pandas import DataFrame

    from oip.models import Dataset
    from oip.workflows.inputs import Images, Layers, Model, Selection

FILE = "locations.json"
SUMS = "decomposition.npz"
"""In the folder of a run's layer."""
PICTURES = "places"
"""Folder of the pictures in a run."""
_KINDS = ("places", "nodes", "sum")
"""Of pictures: the patterns in images, the OIPs of several nodes, and these as a sum."""
_BLOCK = 64
"""Maps at a time: their images are in memory."""
_STARTS = 4
"""Images that are grown for each node of a sum, unless the caller names another number."""


@dataclass(frozen=True, repr=False)
class LocatedPatterns:
    """The patterns of maps in images, with the files that show them."""

    out: Path
    """The folder of the pictures."""
    record: LocationsFile
    pictures: tuple[str, ...]
    """Names of the files in `out`, beside `locations.json`."""
    not_finite: dict[str, tuple[int, ...]]
    """Name of a layer -> maps whose responses are not finite."""

    @property
    def layers(self) -> list[LocatedLayer]:
        """The layers, as `oip locate --json` prints them."""
        return self.record.layers

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip locate --json` prints them."""
        layers = [layer.to_dict() for layer in self.layers]
        return {"out": str(self.out), "files": list(self.pictures), "layers": layers}

    def to_pandas(self) -> DataFrame:
        """Return a row for each map and image: layer, map, image, node, response, match."""
        import pandas

        return pandas.DataFrame(
            {
                "layer": layer.layer,
                "map": row.map,
                "image": image.image,
                "node": tuple(image.node),
                "response": image.response,
                "match": None if image.match is UNSET else image.match,
            }
            for layer in self.layers
            for row in layer.maps
            for image in row.images
        )

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.layer} ({len(layer.maps)} maps)" for layer in self.layers)
        pictures = plural(len(self.pictures), "picture")
        return f"<LocatedPatterns of {layers}: {pictures} in '{self.out}'>"

    def _repr_html_(self) -> str:
        return html.block(repr(self).strip("<>"), html.frame(self.to_pandas()))


def locate_into(
    out: str | Path,
    model: Model,
    layers: Layers,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    data_dir: str | Path | None = None,
    count: int = 8,
    translation: bool = False,
    copies: Copies = "shifted",
    starts: int | None = None,
    run: str | Path | None = None,
    seed: int = 0,
    progress: Progress = automatic,
) -> LocatedPatterns:
    """Find where in images the patterns of maps are, and draw a picture of each map.

    Args:
        out: the folder of the pictures and of `locations.json`; pictures of an earlier call go. A
            run of the model gets them in its folder `places`, and keeps the sums of `translation`,
            which its gallery then shows.
        model: a file, a Keras model or a `Network`.
        layers: `"Conv2D_3:0-15"`, or several of these.
        data: a source, or images (n, h, w, bands), that are looked through.
        labels: (n,), for images that are an array, as captions.
        resize, data_dir: as for `models.load`.
        count: images of each map.
        translation: grow the OIPs of several nodes of each map, too: how far they are shifted
            copies, and how much of the map's OIP is a sum of such copies.
        copies: of the sum: `shifted`, the OIP of one node, or `grown`, that of each node.
        starts: images grown for each node; 4, of color images 1, if None.
        run: a run of the model that keeps the sums, where `out` is another folder.
        seed: of the ascent.
        progress: called with the maps that are done.

    Returns:
        The locations, with the names of the pictures.

    Raises:
        RunError: a run of another model, or one that does not show these layers.
        ModelError: no map has finite responses; nothing was written.
        ModelError, DataError, SettingsError: as for `oip.locate`.

    >>> oip.locate_into("places", "model.keras", "Conv2D_3:0-15", data="mnist")  # doctest: +SKIP
    """
    check_choice("copies", copies, ("shifted", "grown"))
    if run is not None and not translation:
        raise SettingsError("run", "a translation, whose sums it keeps", "translation=False")
    out = check_path("out", out, "the path of a folder")
    folder, run_path = _destinations(out, None if run is None else check_path("run", run))
    files.check_writable(folder)
    network, images = opened(model, data, labels, data_dir=data_dir, resize=resize)
    if run_path is not None and not network.direction_layers:
        network = with_directions_of(network, run_path)
    selections = select_maps(network, layers)
    for layer, _ in selections if translation else ():
        check_receptive_field(layer)
    opened_run = None if run_path is None else _open_run(network, selections, run_path)
    search = _Search(
        network, images, count, copies if translation else None, starts, seed, progress
    )
    located: list[LocatedLayer] = []
    pictures: list[str] = []
    not_finite: dict[str, tuple[int, ...]] = {}
    unwritten: list[_LocatedBlock] = []  # until a map has finite responses
    any_finite = False
    for layer, maps in selections:
        records = []
        for begin in range(0, len(maps), _BLOCK):
            block = search.block(layer, maps[begin : begin + _BLOCK])
            records.append(block.record)
            if block.unusable:
                not_finite[layer.name] = (*not_finite.get(layer.name, ()), *block.unusable)
            any_finite = any_finite or len(block.unusable) < len(block.record.maps)
            unwritten.append(block)
            if any_finite:
                for searched in unwritten:
                    pictures += searched.draw(folder)
                    if opened_run is not None:
                        searched.keep_sums(opened_run, search.key)
                unwritten.clear()
        located.append(_merged(records))
    if not any_finite:
        raise ModelError(
            "responses of the maps",
            "finite numbers",
            "NaN or infinity in every map",
            LOOK_FOR_NAN,
        )
    record = LocationsFile(data=images.source, layers=located)
    _remove_earlier(folder, set(pictures))
    record.write(folder / FILE)
    return LocatedPatterns(folder, record, tuple(pictures), not_finite)


def _destinations(out: Path, run: Path | None) -> tuple[Path, Path | None]:
    """Return the folder of the pictures, and the run that keeps the sums, if any."""
    if run is None and (out / RUN_FILE).is_file():
        run = out
    return (out / PICTURES if run == out else out), run


@dataclass(frozen=True)
class _LocatedBlock:
    """The patterns of a block of maps of one layer; with their sums if these were asked for."""

    record: LocatedLayer
    locations: Locations
    nodes: Translations | None
    sums: Decompositions | None

    @property
    def unusable(self) -> tuple[int, ...]:
        """Maps whose responses are not finite."""
        return tuple(self.locations.unusable.tolist())

    def draw(self, folder: Path) -> list[str]:
        """Draw a picture of each kind for each map, and return their names."""
        names = _draw(self.locations, folder, "places")
        if self.nodes is not None and self.sums is not None:
            names += _draw(self.nodes, folder, "nodes") + _draw(self.sums, folder, "sum")
        return names

    def keep_sums(self, run: Run, key: str) -> None:
        """Write the sums, if there are any, beside those of other maps into a run."""
        if self.sums is not None:
            run.change(self.record.index, SUMS, partial(_added, self.sums, key))


@dataclass(frozen=True)
class _Search:
    """A network and images, with the settings of a search for the patterns of its maps."""

    network: Network
    images: Dataset
    count: int
    copies: Copies | None
    """Of sums; None without sums."""
    starts: int | None
    seed: int
    progress: Progress

    @cached_property
    def key(self) -> str:
        """The key of what sums depend on, beside the maps."""
        return key_of(
            {
                "model": self.network.digest,
                "input": self.network.inputs.to_dict(),
                "copies": self.copies,
                "starts": self._starts_of_sums,
                "seed": self.seed,
            }
        )

    @property
    def _starts_of_sums(self) -> int:
        return self.starts or _STARTS

    def block(self, layer: LayerInfo, maps: np.ndarray) -> _LocatedBlock:
        """Search for the patterns of some maps of a layer, and grow their sums."""
        name = f"@{layer.index}"
        growing: dict[str, Any] = {"seed": self.seed, "progress": self.progress}
        locations = locate(
            self.network,
            self.images.images,
            name,
            maps,
            count=self.count,
            labels=self.images.labels,
            classes=self.images.classes if self.images.labels is not None else None,
            starts=self.starts,
            **growing,
        )
        record = msgspec.convert({**locations.to_dict(), "kind": layer.kind}, LocatedLayer)
        if self.copies is None:
            return _LocatedBlock(record, locations, None, None)
        growing["starts"] = self._starts_of_sums
        nodes = translate(self.network, name, maps, **growing)
        sums = decompose(self.network, name, maps, copies=self.copies, **growing)
        return _LocatedBlock(_add_sums(record, nodes, sums), locations, nodes, sums)


def _open_run(network: Network, selections: Sequence[Selection], path: Path) -> Run:
    """Open a run; a RunError if it is of another model, or does not show the layers."""
    run = Run.open(path)
    for layer, _ in selections:
        run.check_unit_layer(network, layer.name)
    return run


def _add_sums(block: LocatedLayer, nodes: Translations, sums: Decompositions) -> LocatedLayer:
    """Return the record of a block of maps, with their OIPs of several nodes and as sums."""
    return msgspec.structs.replace(
        block,
        translation=msgspec.convert(nodes.to_dict(), LayerTranslation),
        decomposition=msgspec.convert(sums.to_dict(), LayerDecomposition),
    )


def _added(sums: Decompositions, key: str, path: Path) -> DecompositionFile:
    """Return sums with those of other maps that the file holds."""
    return sums.to_file(key, DecompositionFile.read_if_whole(path))


def _merged(layers: Sequence[LocatedLayer]) -> LocatedLayer:
    """Merge the records of blocks of maps of one layer."""
    merged = msgspec.structs.replace(
        layers[0], maps=[row for layer in layers for row in layer.maps]
    )
    translations = [layer.translation for layer in layers if layer.translation]
    if translations:
        rows = [row for layer in translations for row in layer.maps]
        merged = msgspec.structs.replace(
            merged, translation=msgspec.structs.replace(translations[0], maps=rows)
        )
    sums = [layer.decomposition for layer in layers if layer.decomposition]
    if sums:
        rows = [row for layer in sums for row in layer.maps]
        merged = msgspec.structs.replace(
            merged, decomposition=msgspec.structs.replace(sums[0], maps=rows)
        )
    return merged


def _draw(
    results: Iterable[Locations] | Iterable[Translations] | Iterable[Decompositions],
    folder: Path,
    kind: str,
) -> list[str]:
    """Draw a picture for each map, such as `002-Conv2D_3-places-0017.png`; return the names."""
    names = []
    for result in results:
        name = _picture_name(result.index, result.layer, kind, int(result.maps[0]))
        plots.save(result.plot(), folder / name)
        names.append(name)
    return names


def _picture_name(index: int, layer: str, kind: str, map_index: int) -> str:
    return f"{index:03d}-{files.name_part(layer)}-{kind}-{map_index:04d}.png"


def _remove_earlier(folder: Path, pictures: set[str]) -> None:
    """Remove the pictures of the call that wrote `locations.json`, but for those made again."""
    earlier = LocationsFile.read_if_whole(folder / FILE)
    for layer in earlier.layers if earlier is not None else ():
        for row in layer.maps:
            for kind in _KINDS:
                name = _picture_name(layer.index, layer.layer, kind, row.map)
                if name not in pictures:
                    (folder / name).unlink(missing_ok=True)
