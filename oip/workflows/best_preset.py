"""The most legible of several presets for each unit: all are grown and judged, one is kept.

RUN/presets/NAME holds the OIPs of each preset as a run of its own, RUN the best of each unit, with
`presets.json` in the folder of each layer. The choice is made with every second image of the data,
and `legibility.json` of RUN is of the other half: the best of several shares is too high for the
images that it was chosen with. Where a preset takes features from images of the data, so are shares
for these; such presets receive a third of the images, and the choice and the report one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oip.ascent.objectives import parse_objectives
from oip.ascent.reconstruction import aligned_blocks
from oip.ascent.results import Oips, join_oips
from oip.ascent.settings import AscentSettings, ascent_settings, stored_settings
from oip.ascent.targets import ObjectiveTargets
from oip.core import files
from oip.core.errors import DataError, SettingsError
from oip.core.formats import RunSettings
from oip.core.layer_formats import LegibilityFile, PresetChoice, PresetsFile
from oip.core.progress import Progress, automatic
from oip.core.records import finished
from oip.mi.legibilities import FEWEST, MORE_IMAGES
from oip.network.inputs import check_images
from oip.network.network import Network
from oip.run.class_probabilities import ClassProbabilities, finish_layer
from oip.run.reconstruct import reconstruct_layers
from oip.run.run import Run, RunFolder, own_files, run_record
from oip.run.shards import (
    Ends,
    ascent_key,
    finished_maps,
    key_of,
    read_shard,
    refuse_other_shards,
    write_shard,
)
from oip.workflows.inputs import ModelInput, Selection, opened
from oip.workflows.judge import JudgedRun
from oip.workflows.reconstruct import select_targets

if TYPE_CHECKING:
    from oip.mi.judges import Judge
    from oip.models import Dataset
    from oip.workflows.inputs import Images, Layers, Model

BEST = "best"
CANDIDATES = ("natural", "fourier", "maco", "default")
"""Presets that are grown where none are named."""
FOLDER = "presets"
NAME = "presets.json"
_COMMON = {"starts": 2, "steps": 128}
"""Settings that all presets share, so that their OIPs lie in one file."""


def best_presets(preset: str) -> tuple[str, ...] | None:
    """Return the presets that `best`, or `best:natural,fourier`, means; None for another preset.

    Raises:
        SettingsError: fewer than two.
    """
    word, colon, names = preset.partition(":")
    if word != BEST:
        return None
    presets = tuple(dict.fromkeys(names.split(","))) if colon else CANDIDATES
    if len(presets) < 2:
        raise SettingsError("preset", "two presets or more, as in best:natural,fourier", preset)
    return presets


def reconstruct_best_into(
    out: str | Path,
    model: Model,
    layers: Layers = None,
    *,
    data: Images,
    judge: str | Model | Judge,
    judge_layer: str | None = None,
    presets: Sequence[str] = CANDIDATES,
    objectives: Sequence[str] = (),
    imports: Sequence[str] = (),
    resize: str | None = None,
    progress: Progress = automatic,
    **changes: object,
) -> Run:
    """Grow OIPs with several presets, and keep the most legible preset of each unit.

    RUN/presets/NAME holds all OIPs of each preset. Every second image of the data serves for the
    choice, the others for the legibility that is reported; a third of them each where `aligned` or
    `context` takes features from the last third. The same call continues interrupted
    work.

    Args:
        out, model, layers, objectives, resize, progress: as for `oip.reconstruct_into`.
        data: a source of 400 images or more (600 with `aligned` or `context`).
        judge, judge_layer, imports: as for `oip.judge_into`.
        presets: two or more of `PRESETS`.
        changes: fields of `AscentSettings`, for all presets; 2 starts and 128 steps otherwise.

    Returns:
        The run; `presets.json` of each layer says which preset was kept for each unit.

    Raises:
        RunError: the folder cannot be used, or holds OIPs that were grown in another way.
        ModelError, DataError, SettingsError: as for `oip.reconstruct_into` and `oip.judge_into`.

    >>> oip.reconstruct_best_into(
    ...     "runs/best", "model.keras", "Conv2D_3", data="photos.npz", judge="other.keras"
    ... )  # doctest: +SKIP
    """
    settings = candidate_settings(presets, changes)
    expressions = parse_objectives(objectives) if objectives else []
    model_input = ModelInput(tuple(imports))
    network, images = opened(model, data, model_input=model_input, resize=resize)
    selections, targets = select_targets(network, layers, expressions)
    return grow_best(
        out,
        network,
        selections,
        images,
        settings,
        judge,
        judge_layer,
        targets=targets,
        imports=imports,
        progress=progress,
    )


def candidate_settings(
    presets: Sequence[str], changes: Mapping[str, object]
) -> dict[str, AscentSettings]:
    """Return the settings of each preset, with the changes; a SettingsError for an unknown one."""
    settings = {name: value for name, value in changes.items() if value is not None}
    return {preset: ascent_settings(preset, **{**_COMMON, **settings}) for preset in presets}


def grow_best(
    out: str | Path,
    network: Network,
    selections: Sequence[Selection],
    images: Dataset,
    settings: Mapping[str, AscentSettings],
    judge: str | Model | Judge,
    judge_layer: str | None = None,
    *,
    targets: ObjectiveTargets | None = None,
    imports: Sequence[str] = (),
    progress: Progress = automatic,
) -> Run:
    """Grow the selected maps, or objectives, with several presets, and keep the best of each.

    Args:
        out: the run's folder.
        network, selections, targets, progress: as for `reconstruct_layers`.
        images: 400 or more, or 600.
        settings: by preset.
        judge, judge_layer, imports: as for `oip.judge_into`.

    Raises:
        DataError, ModelError, RunError: as for `reconstruct_best_into`.
    """
    check_images(network.inputs, images.images, "data")
    image_parts = _image_parts(images, settings)
    folder = Path(out)
    stored = settings.get("natural", next(iter(settings.values())))
    run_settings = RunSettings(
        reconstruct=stored_settings(stored), preset=f"{BEST}:{','.join(settings)}"
    )
    labels = targets.labels if targets is not None else ()
    layers = [layer for layer, _ in selections]
    record = run_record(network, run_settings, images, labels, layers)
    beside = (*own_files(folder, network.path), FOLDER)
    Run.check(folder, record, beside)
    # The judge is opened before anything is grown: a bad one leaves nothing behind.
    session = JudgedRun.of(
        Run(folder, record), network, image_parts[0], judge, judge_layer, imports, progress
    )
    grown_with = {
        preset: image_parts[1] if values.reference_terms else images
        for preset, values in settings.items()
    }

    data = {preset: values.images for preset, values in grown_with.items()}
    shards_key = partial(_shards_key, network, settings, data, session.judge)
    key_of_maps = shards_key(())
    layer_keys = {layer.index: key_of_maps for layer, _ in selections}
    layer_keys |= {targets.index: shards_key(targets.identity)} if targets is not None else {}
    refuse_other_shards(RunFolder(folder), key_of_maps, layer_keys, network.objectives_index)
    candidates = {
        preset: reconstruct_layers(
            folder / FOLDER / preset,
            network,
            selections,
            values,
            grown_with[preset],
            progress,
            targets,
        )
        for preset, values in settings.items()
    }
    judged: dict[str, dict[int, LegibilityFile]] = {}
    for preset, run in candidates.items():
        session = session.with_run(run)
        judged[preset] = {layer.index: layer for layer in session.layers()}
    run = Run.begin(folder, record, beside)
    probabilities = ClassProbabilities(network)
    for index, key in layer_keys.items():
        shares = {preset: layers[index] for preset, layers in judged.items()}
        _keep_best(run, index, candidates, shares, key, network.inputs.picture_ends)
        finish_layer(run, index, stored.seed, lambda: probabilities, progress)
    list(JudgedRun(run, network, image_parts[-1], session.judge, progress).layers())
    return run


def _shards_key(
    network: Network,
    settings: Mapping[str, AscentSettings],
    images: Mapping[str, np.ndarray],
    judge: Judge,
    objectives: Sequence[str],
) -> str:
    """Return the key of shards that hold the best of several presets, by their images."""
    presets = [
        ascent_key(network, values, images[preset], objectives)
        for preset, values in settings.items()
    ]
    return key_of({"presets": presets, "judge": [judge.name, judge.digest, judge.layer]})


def _image_parts(images: Dataset, settings: Mapping[str, AscentSettings]) -> list[Dataset]:
    """Return every second image and the others; thirds where a preset takes features of images.

    Raises:
        DataError: too few images.
    """
    names = [preset for preset, values in settings.items() if values.reference_terms]
    count = 3 if names else 2
    if len(images.images) < count * FEWEST:
        expected = f"at least {count * FEWEST}, {FEWEST} of them to choose the preset"
        expected += f", {FEWEST} for '{names[0]}' to take features from" if names else ""
        raise DataError("images", expected, len(images.images), MORE_IMAGES)
    return [
        replace(
            images,
            images=images.images[offset::count],
            labels=None,
            source=f"{images.source}, {offset}, {offset + count}, {offset + 2 * count} ...",
        )
        for offset in range(count)
    ]


def _keep_best(
    run: Run,
    index: int,
    candidates: Mapping[str, Run],
    judged: Mapping[str, LegibilityFile],
    key: str,
    picture_ends: Ends,
) -> None:
    """Write the best preset's OIPs of each map of a layer, and which these are."""
    by_preset = {preset: {row.map: row for row in record.maps} for preset, record in judged.items()}
    any_record = next(iter(judged.values()))
    # One preset may have more of them, where an earlier call was stopped.
    maps = sorted(set.intersection(*map(set, by_preset.values())))
    choices = [_choice(map_index, by_preset) for map_index in maps]
    record = PresetsFile(
        key=key_of({"key": key, "judged": [record.key for record in judged.values()]}),
        judge=any_record.judge,
        judge_layer=any_record.judge_layer,
        samples=any_record.samples,
        split=any_record.split,
        maps=choices,
    )
    path = run.folder(index) / NAME
    if finished(path, record.key, PresetsFile) is None or not _is_whole(run, index, maps, key):
        preset_of = {choice.map: choice.preset for choice in choices}
        for block_index, _ in aligned_blocks(np.array(maps)):
            kept_oips: list[Oips] = []
            for preset, candidate in candidates.items():
                oips, _ = read_shard(candidate.shard(index, block_index))
                own_rows = [
                    row for row, n in enumerate(oips.maps.tolist()) if preset_of.get(n) == preset
                ]
                kept_oips += [oips.rows(np.array(own_rows))] if own_rows else []
            with files.locked(run.folder(index)):
                write_shard(run.shard(index, block_index), join_oips(kept_oips), key, picture_ends)
        record.write(path)
    run.note_made(index, NAME)


def _is_whole(run: Run, index: int, maps: Sequence[int], key: str) -> bool:
    """Return whether the shards of a layer are whole and hold these maps."""
    shards = [finished_maps(path, key) for path in run.shards(index)]
    return bool(shards) and sorted(np.concatenate(shards).tolist()) == list(maps)


def _choice(map_index: int, by_preset: Mapping[str, Mapping[int, object]]) -> PresetChoice:
    """Return the preset of the largest share; the first one where no question can be asked."""
    shares = {
        preset: getattr(results[map_index], "share", None) for preset, results in by_preset.items()
    }
    with_oip = [
        preset
        for preset, results in by_preset.items()
        if getattr(results[map_index], "reason", "") != "no OIP"
    ]
    preset = max(with_oip or shares, key=lambda name: shares[name] or 0.0)
    return PresetChoice(map=map_index, preset=preset, shares=shares)
