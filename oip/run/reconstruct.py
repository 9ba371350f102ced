"""Reconstruction into a run: shard by shard, going on where an earlier command was stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.reconstruction import Ascent
from oip.ascent.results import MapEvidence
from oip.ascent.settings import AscentSettings
from oip.ascent.targets import MapTargets, ObjectiveTargets
from oip.core.errors import LOOK_FOR_NAN, ModelError
from oip.core.formats import UNIT_NOUNS, UnitKind
from oip.core.progress import Progress, automatic
from oip.core.records import Part
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.run.class_probabilities import ClassProbabilities, finish_layer
from oip.run.run import Data, Run, RunFolder, own_files, run_record, run_settings
from oip.run.shards import (
    ascent_key,
    data_digest,
    grow_block,
    layer_parts,
    open_blocks,
    refuse_other_shards,
)

Selections = Sequence[tuple[LayerInfo, np.ndarray]]


def reconstruct_layers(
    out: str | Path,
    network: Network,
    selections: Selections,
    settings: AscentSettings,
    data: Data | None = None,
    progress: Progress = automatic,
    objectives: ObjectiveTargets | None = None,
    start: np.ndarray | None = None,
) -> Run:
    """Grow the OIPs of the selected maps and keep them in a run.

    Finished shards are kept and not done twice; a damaged one is. The result does not depend on how
    often the work was interrupted.

    Args:
        out: the run's folder; new, empty, or a run of the same model and settings.
        network: the model.
        selections: layers and map numbers, as `parse_selections` gives them.
        settings: of the ascent.
        data: images that verdicts and scores refer to.
        progress: called with what has been done.
        objectives: grown besides; they are kept as one more layer after the last.
        start: (h, w, b) as the model is fed: an image to begin with in place of noise.

    Raises:
        RunError: the folder cannot be used, or holds OIPs of other settings.
        DataError: the images, or the start, do not fit the model.
        ModelError: no map has finite responses; nothing was written.
    """
    Noise(network.inputs.shape, settings.noise)  # a preset that does not fit is refused here
    images = None if data is None else check_images(network.inputs, data.images, "data")
    key = ascent_key(network, settings, images, start=start)
    record = run_record(
        network,
        run_settings(settings, data_digest(start)),
        data,
        objectives.labels if objectives is not None else (),
        [layer for layer, _ in selections],
    )
    beside = own_files(out, network.path)
    Run.check(out, record, beside)
    folder = RunFolder(out)
    keys = {layer.index: key for layer, _ in selections}
    ascents: dict[int, Ascent] = {
        layer.index: Ascent(
            network, MapTargets(network, layer), settings, images, progress, start=start
        )
        for layer, _ in selections
    }
    requested = {layer.index: maps for layer, maps in selections}
    if objectives is not None:
        ascent = Ascent(network, objectives, settings, images, progress, start=start)
        ascents[objectives.index] = ascent
        identity = objectives.identity
        keys[objectives.index] = ascent_key(network, settings, images, identity, start)
        requested[objectives.index] = np.arange(len(objectives.labels))
    refuse_other_shards(folder, key, keys, network.objectives_index, record)
    plan = {
        index: open_blocks(folder, index, maps, keys[index]) for index, maps in requested.items()
    }
    open_maps = [(index, maps) for index, blocks in plan.items() for _, maps in blocks]
    if open_maps and all(ascents[index].screening.broken[maps].all() for index, maps in open_maps):
        raise ModelError(
            "responses of the maps",
            "finite numbers",
            "NaN or infinity in every map",
            LOOK_FOR_NAN,
        )
    run = Run.begin(out, record, beside)
    probabilities = ClassProbabilities(network)
    for index, blocks in plan.items():
        ascent = ascents.pop(index)
        _grow_blocks(run, index, ascent, blocks, keys[index], progress)
        finish_layer(run, index, settings.seed, lambda: probabilities, progress)
    return run


def _grow_blocks(
    run: Run,
    index: int,
    ascent: Ascent,
    blocks: Sequence[tuple[int, np.ndarray]],
    key: str,
    progress: Progress,
) -> None:
    """Grow the blocks of a layer, one after the other."""
    label, total = f"{ascent.targets.name}: maps", sum(len(maps) for _, maps in blocks)
    count = 0
    for block_index, maps in blocks:

        def report(grown: float, start: int = count, end: int = count + len(maps)) -> None:
            progress(label, min(start + grown, end), total)

        report(0)
        grow_block(run, index, ascent, block_index, maps, key, report)
        count += len(maps)
        report(len(maps))


class ReconstructedLayer(Part, frozen=True, kw_only=True):
    """The verdicts of a layer's maps with their evidence."""

    layer: str
    index: int
    kind: UnitKind = "maps"
    pixels: int
    """Of the input."""
    unseen_pixels: int
    """Those that are in no receptive field."""
    maps: list[MapEvidence]

    @property
    def verdicts(self) -> Counter[str]:
        """Number of maps by verdict."""
        return Counter(row.verdict for row in self.maps)

    @property
    def noun(self) -> str:
        """One of its channels, such as a map or a unit; or an objective."""
        return "objective" if any(row.objective for row in self.maps) else UNIT_NOUNS[self.kind]


class RunSummary(Part, frozen=True, kw_only=True):
    """Some layers of a run, as `oip reconstruct --json` prints them."""

    run: str
    seconds: float
    """That the command took."""
    layers: list[ReconstructedLayer]


class SummaryLayers(Part, frozen=True, kw_only=True):
    """The part of a summary that is the same whenever the command is given again."""

    layers: list[ReconstructedLayer]


class FinishedReconstruction(Part, frozen=True, kw_only=True):
    """The result of `oip reconstruct`, as `finished.json` keeps it."""

    result: SummaryLayers
    notes: list[str]
    """Remarks that the command printed."""
    labeled: str | None = None
    """The source of the images if they have labels."""


def summary(run: Run, indices: Sequence[int], seconds: float) -> RunSummary:
    """Return every map of some layers with its evidence."""
    layers = []
    for index in indices:
        maps: list[MapEvidence] = []
        pixels = unseen = 0
        for oips in layer_parts(run, index, False):
            pixels, unseen = oips.visible.size, oips.unseen_pixels
            maps.extend(oip.grounds for oip in oips)
        record = run.layer(index)
        layers.append(
            ReconstructedLayer(
                layer=record.name,
                index=index,
                kind=record.kind,
                pixels=pixels,
                unseen_pixels=unseen,
                maps=maps,
            )
        )
    return RunSummary(run=str(run.path), seconds=round(seconds, 2), layers=layers)
