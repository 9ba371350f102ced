"""The units of two networks or runs matched: responses, OIPs side by side, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from oip.ascent.similarity import LEAST_PEERS, image_similarity, shift_reach
from oip.core import files
from oip.core.errors import DataError, RunError, SettingsError
from oip.core.formats import PARTNERS, LayerMatchRecord, LayerRecord, MatchFile, PartnersFile
from oip.core.progress import Progress, automatic
from oip.core.units import finite_or_none
from oip.mi.matching import THRESHOLD, By, NetworkMatch, match
from oip.run.run import Run
from oip.run.shards import layer_parts
from oip.workflows.inputs import ModelInput, opened, opened_run

if TYPE_CHECKING:
    from oip.models import Dataset
    from oip.network.network import Network
    from oip.workflows.inputs import Images, Model

NAME = "match.json"
_BLOCK = 64
"""Pairs whose OIPs are compared with each other's."""
_LONGEST = 112
"""Pixels: larger OIPs are compared at a half, a third, ... of their size."""


def match_into(
    first: Model | Run,
    second: Model | Run,
    *,
    data: Images,
    out: str | Path | Sequence[str | Path] | None = None,
    layers: str | Sequence[str] | Mapping[str, str] | None = None,
    by: By = "aligned",
    threshold: float = THRESHOLD,
    samples: int = 1000,
    shuffles: int = 100,
    seed: int = 0,
    models: tuple[Model | None, Model | None] = (None, None),
    imports: Sequence[str] = (),
    resize: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress = automatic,
) -> MatchFile:
    """Match the units of two networks by their responses to the same images.

    Args:
        first, second: runs or their folders, whose OIPs are then compared too; or models: files,
            Keras models, `Network`, or names that `models.pretrained` knows.
        data: a source, or images (n, h, w, bands); each network gets them in the size of its input.
        out: folder for `match.json` and `index.html`, which shows the pairs; none if None. Or
            several: a run among them, one of the two, keeps the partner of each of its units, which
            its gallery then shows.
        layers, by, threshold, samples, shuffles, seed: as for `mi.match`.
        models: of runs, where their files are not in the run's folder, beside it or here.
        imports: modules that register custom layers.
        resize, data_dir: as for `models.load`.
        progress: called with the progress of each step.

    Returns:
        What `match.json` holds: CKA of all pairs of layers, and the pairs of units of each layer,
        with the similarity of their OIPs where both runs have them.

    Raises:
        RunError: a run whose model is not found or is another one; a folder `out` with other files.
        ModelError, DataError, SettingsError: as for `mi.match`.

    >>> oip.match_into("runs/a", "runs/b", data="mnist", out="runs/a-b")  # doctest: +SKIP
    """
    folder, keepers = _destinations(out, (_open_run(first), _open_run(second)))
    model_input = ModelInput(tuple(imports))
    sides = [
        _Side.of(network, model, data, model_input, resize, data_dir)
        for network, model in zip((first, second), models, strict=True)
    ]
    if len(sides[0].data.images) != len(sides[1].data.images):
        counts = [len(side.data.images) for side in sides]
        raise DataError("images", "the same ones for both networks", " and ".join(map(str, counts)))
    result = match(
        sides[0].network,
        sides[1].network,
        (sides[0].data.images, sides[1].data.images),
        layers,
        by=by,
        threshold=threshold,
        samples=samples,
        shuffles=shuffles,
        seed=seed,
        progress=progress,
    )
    runs = sides[0].run, sides[1].run
    record = _record(result, sides, seed, progress)
    if folder is not None:
        from oip.gallery.match_page import write_match_page

        with files.locked(folder):
            record.write(folder / NAME)
            write_match_page(folder, record, runs, progress)
    if runs[0] is not None and runs[1] is not None:
        _keep_partners(record, (runs[0], runs[1]), keepers)
    return record


def _record(
    result: NetworkMatch, sides: Sequence[_Side], seed: int, progress: Progress
) -> MatchFile:
    """Return the content of `match.json`, with the similarity of OIPs where both runs have them."""
    first, second = sides
    records = [layer.to_record() for layer in result.matches]
    if first.run is not None and second.run is not None:
        for layer_index, record in enumerate(records):
            progress("OIPs compared", layer_index, len(records))
            records[layer_index] = _add_similarity(record, first.run, second.run)
        progress("OIPs compared", len(records), len(records))
    return MatchFile(
        first=first.name,
        second=second.name,
        first_sha256=first.network.digest,
        second_sha256=second.network.digest,
        split=first.data.source,
        seed=seed,
        paired_by=result.paired_by,
        layers=list(result.layers),
        second_layers=list(result.second_layers),
        matches=records,
        **result.cka_tables(),
    )


def _destinations(
    out: str | Path | Sequence[str | Path] | None, runs: tuple[Run | None, Run | None]
) -> tuple[Path | None, set[int]]:
    """Return the folder of a match, and which of the two runs (0, 1) keep their partners."""
    paths = [] if out is None else [out] if isinstance(out, str | Path) else list(out)
    folders, keepers = [], set()
    for path in map(Path, paths):
        own_runs = {
            side
            for side, run in enumerate(runs)
            if run is not None and path.is_dir() and run.path.samefile(path)
        }
        keepers |= own_runs
        folders += [] if own_runs else [_prepared(path)]
    if keepers and None in runs:
        raise SettingsError("out", "a run that is compared with another run", "with a model")
    if len(folders) > 1:
        names = " and ".join(f"'{folder}'" for folder in folders)
        raise SettingsError("out", "one folder, and runs that are compared", names)
    return (folders[0] if folders else None), keepers


def _keep_partners(record: MatchFile, runs: tuple[Run, Run], keepers: set[int]) -> None:
    """Write the partners in every matched layer into some of the two runs.

    An earlier match of the same two replaces itself; else a free name is taken, or the oldest.

    Args:
        record: the match.
        runs: the two runs.
        keepers: which of them (0, 1) keep their partners.
    """
    for layer_match in record.matches:
        names = (layer_match.layer, layer_match.second_layer)
        for side in sorted(keepers):
            run = runs[side]
            layer = next((layer for layer in run.layers if layer.name == names[side]), None)
            if layer is not None:
                partners = _partners_file(record, layer_match, side, runs[1 - side])
                name = _partners_name(run.folder(layer.index), partners)
                run.keep(layer.index, name, partners)


def _partners_file(
    record: MatchFile, layer_match: LayerMatchRecord, side: int, partner_run: Run
) -> PartnersFile:
    """Return the partners of the units of one layer.

    Args:
        record: the match.
        layer_match: of the layer in both runs.
        side: 0 for the first run's units, 1 for the second's.
        partner_run: the other run, whose OIPs are the pictures.
    """
    pairs = [unit for unit in layer_match.maps if unit.has_partner]
    units = np.array([(unit.map, unit.partner or 0) for unit in pairs], np.int64).reshape(-1, 2)
    order = np.argsort(units[:, side])
    maps, partners = units[order, side], units[order, 1 - side]
    if side == 0:
        partner_model, other_sha256 = record.second, record.second_sha256
        layer = layer_match.second_layer
    else:
        partner_model, other_sha256, layer = record.first, record.first_sha256, layer_match.layer
    pictures = _partner_tiles(partner_run, layer, partners)

    def numbers(field: str) -> np.ndarray:
        return np.array([getattr(unit, field) for unit in pairs], np.float32)[order]

    return PartnersFile(
        other=partner_model,
        other_sha256=other_sha256,
        layer=layer,
        split=record.split,
        threshold=layer_match.threshold,
        maps=maps,
        partners=partners,
        has_picture=np.array([picture is not None for picture in pictures], bool),
        pictures=_stacked(pictures),
        correlation=numbers("correlation"),
        low=numbers("low"),
        high=numbers("high"),
        percentile=numbers("percentile" if side == 0 else "partner_percentile"),
    )


def _partners_name(folder: Path, partners: PartnersFile) -> str:
    """Return the file name of partners: that of the same network, a free one, or the oldest."""
    earlier = {name: PartnersFile.read_if_whole(folder / name) for name in PARTNERS}
    for name, file in earlier.items():
        if file is not None and file.other == partners.other:
            if file.other_sha256 in ("", partners.other_sha256):
                return name
    free = [name for name, file in earlier.items() if file is None]
    return free[0] if free else min(PARTNERS, key=lambda name: (folder / name).stat().st_mtime_ns)


def _partner_tiles(run: Run, name: str, units: np.ndarray) -> list[np.ndarray | None]:
    """Return the OIPs of units of a layer as tiles, uint8; None of those that have none."""
    from oip.gallery.match_page import tiles_of

    layer = run.reconstructed_layer(name)
    tiles = {} if layer is None else tiles_of(run, layer.index, set(units.tolist()))
    return [tiles.get(int(unit_index)) for unit_index in units]


def _stacked(pictures: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return pictures of one size as an array, 0 where there is none."""
    shape = next((picture.shape for picture in pictures if picture is not None), (1, 1))
    blank = np.zeros(shape, np.uint8)
    rows = [blank if picture is None else picture for picture in pictures]
    return np.stack(rows) if rows else np.zeros((0, *shape), np.uint8)


def _prepared(folder: Path) -> Path:
    """Return a folder that is new, empty or holds a match."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file():
        hint = "Give another folder."
        raise RunError(
            f"'{folder}'", "a new or empty folder, or one of a match", "other files", hint
        )
    files.check_writable(folder)
    return folder


@dataclass(frozen=True)
class _Side:
    """One of the two networks: its run, if it comes with one, and the images as it takes them."""

    name: str
    run: Run | None
    network: Network
    data: Dataset

    @classmethod
    def of(
        cls,
        side: Model | Run,
        model: Model | None,
        data: Images,
        model_input: ModelInput,
        resize: str | None,
        data_dir: str | Path | None,
    ) -> _Side:
        from oip.models import pretrained
        from oip.models.imagenet import NETWORKS

        run = _open_run(side)
        if run is not None:
            network, images = opened_run(
                run,
                model,
                data,
                model_input.imports,
                data_dir=data_dir,
                resize=resize,
                hint="Copy it there, or name both models (models=...).",
            )
            return cls(run.path.absolute().name, run, network, images)
        if isinstance(side, str | Path) and str(side) in NETWORKS:
            side = pretrained(str(side))
        network, images = opened(
            side, data, model_input=model_input, data_dir=data_dir, resize=resize
        )
        return cls(network.name, None, network, images)


def _open_run(side: object) -> Run | None:
    """Return a run, or the run in a folder; None for a model."""
    if isinstance(side, str | Path) and Path(side).is_dir():
        return Run.open(side)
    return side if isinstance(side, Run) else None


# OIPs.


def _add_similarity(record: LayerMatchRecord, first: Run, second: Run) -> LayerMatchRecord:
    """Return the pairs of two layers with the similarity of their OIPs, where both have them."""
    layer = first.reconstructed_layer(record.layer)
    partner_layer = second.reconstructed_layer(record.second_layer)
    if layer is None or partner_layer is None or _shape(first) != _shape(second):
        return record
    partners = {unit.map: unit.partner for unit in record.maps if unit.partner is not None}
    partner_images = _best_images(second, partner_layer, set(partners.values()))
    own_images = _best_images(first, layer, set(partners))
    units = [unit_index for unit_index in own_images if partners[unit_index] in partner_images]
    jump = None
    if layer.jump is not None:
        pairs = zip(layer.jump, _shrinking(_shape(first)), strict=True)
        jump = [step / scale for step, scale in pairs]
    similarities: dict[int, _PairSimilarity] = {}
    for start in range(0, len(units), _BLOCK):
        block = units[start : start + _BLOCK]
        images = np.stack([own_images[unit_index] for unit_index in block])
        right = np.stack([partner_images[partners[unit_index]] for unit_index in block])
        table = image_similarity(images, right, shift_reach(jump, images.shape[1:-1]))
        for row, unit_index in enumerate(block):
            similarities[unit_index] = _PairSimilarity.of(table, row)
    maps = [
        msgspec.structs.replace(unit, **similarities[unit.map]._asdict())
        if unit.map in similarities
        else unit
        for unit in record.maps
    ]
    return msgspec.structs.replace(record, maps=maps)


class _PairSimilarity(NamedTuple):
    """The similarity of the OIPs of two units, and its percentile among pairs with others."""

    similarity: float | None
    percentile: float | None
    """Among the first unit and the partners of other units; None with too few of them."""
    partner_percentile: float | None
    """Among other units and the partner."""

    @classmethod
    def of(cls, table: np.ndarray, row: int) -> _PairSimilarity:
        """Return that of the pair of a row, from a table (units, partners) of similarities."""
        value = float(table[row, row])
        percentiles = []
        for similarities in (table[row], table[:, row]):
            peers = np.delete(similarities, row)
            enough = len(peers) >= LEAST_PEERS
            percentiles.append(float(100 * np.mean(peers < value)) if enough else None)
        return cls(finite_or_none(value), *percentiles)


def _shape(run: Run) -> tuple[int, ...]:
    return tuple(run.record.input.shape) if run.record.input else ()


def _shrinking(shape: Sequence[int]) -> list[int]:
    """Return by how much each side of OIPs is made smaller before they are compared."""
    return [max(1, side // _LONGEST) for side in shape[:-1]]


def _best_images(run: Run, layer: LayerRecord, units: set[int]) -> dict[int, np.ndarray]:
    """Return the best OIP of some units, those that have one: (h, w, b) float16, made smaller."""
    return {unit: image for unit, image in _all_best_images(run, layer) if unit in units}


def _all_best_images(run: Run, layer: LayerRecord) -> Iterator[tuple[int, np.ndarray]]:
    scales = _shrinking(_shape(run))
    for oips in layer_parts(run, layer.index, snapshots=False):
        for row in np.flatnonzero(oips.alive):
            image = oips.images[row, 0].astype(np.float32)
            for axis, scale in enumerate(scales):
                side = image.shape[axis] // scale
                whole_cells = np.take(image, np.arange(side * scale), axis=axis)
                cut = (*image.shape[:axis], side, scale, *image.shape[axis + 1 :])
                image = whole_cells.reshape(cut).mean(axis=axis + 1)
            yield int(oips.maps[row]), image.astype(np.float16)
