"""Directions of a layer in a run: found once, and from then on units that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files
from oip.core.errors import RunError, notice
from oip.core.formats import ModelRecord, RunSettings
from oip.core.layer_formats import DirectionsFile
from oip.core.progress import Progress, automatic
from oip.mi.layer_directions import Directions, Method, directions
from oip.network.layers import DirectionSet
from oip.network.network import Network
from oip.run.run import Run, RunFolder, check_same_model, own_files, run_record
from oip.run.shards import data_digest, key_of
from oip.workflows.inputs import opened

if TYPE_CHECKING:
    from oip.workflows.inputs import Images, Model

NAME = "directions.npz"


def directions_into(
    out: str | Path,
    model: Model,
    layer: str,
    *,
    data: Images,
    method: Method = "nmf",
    count: int = 16,
    samples: int = 1000,
    active: int | None = None,
    steps: int = 2000,
    seed: int = 0,
    resize: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress = automatic,
) -> Directions:
    """Find directions over the maps of a layer, and keep them in a run.

    From then on `LAYER+METHOD:3` is direction 3 for `reconstruct_into`, `rank_into`, `judge_into`
    and their commands, in this run, as `LAYER:3` is a map.

    Args:
        out: the run's folder; new, empty, or a run of the same model.
        model: a file, a Keras model or a `Network`.
        layer: its name.
        data: a source, or images (n, h, w, bands); labels are not needed.
        method, count, samples, active, steps, seed: as for `mi.directions`.
        resize, data_dir: as for `models.load`.
        progress: called with the progress of each step.

    Returns:
        The directions; those that the run holds where they were found in the same way.

    Raises:
        RunError: the folder cannot be used, or holds other directions of that layer and method.
        ModelError, SettingsError, DataError: as for `mi.directions`.

    >>> oip.directions_into("runs/mine", "model.keras", "Conv2D_3", data="mnist")  # doctest: +SKIP
    """
    network, images = opened(model, data, resize=resize, data_dir=data_dir)
    info = network.find(layer)
    settings: dict[str, Any] = {"method": method, "count": count, "samples": samples, "seed": seed}
    sae_settings = {"active": active, "steps": steps}
    key = key_of(
        {
            "model": network.digest,
            "layer": info.index,
            "data": data_digest(images.images),
            **settings,
            **(sae_settings if method == "sae" else {}),
        }
    )
    record = run_record(network, RunSettings(), images, layers=[info])
    beside = own_files(out, network.path)
    Run.check(out, record, beside)
    existing = _existing(out, info.name, method, key)
    if existing is not None:
        return existing
    result = directions(network, images.images, info, **settings, **sae_settings, progress=progress)
    run = Run.begin(out, record, beside)
    with files.locked(run.path / "layers"):  # another process may have found others meanwhile
        existing = _existing(out, info.name, method, key, False)
        if existing is not None:
            return existing
        layers = {layer.name: layer.index for layer in Run.open(out, tidy=False).layers}
        following = max([network.first_direction_index - 1, *layers.values()]) + 1
        index = layers.get(result.name, following)  # of a file that was damaged or lost
        if run.shards(index):
            notice(
                f"The run has OIPs of '{result.name}' along directions whose file was lost: they "
                "are those of these directions only if data and settings are as they were."
            )
        added = DirectionSet(info.name, result.name, index, result.weights)
        network = network.with_directions([*_sets(_files(out, False)), added])
        added_layers = [layer for layer in network.direction_layers if layer.index == index]
        record = run_record(network, RunSettings(), images, layers=[info, *added_layers])
        run = Run.begin(out, record, beside)
        run.keep(index, NAME, _to_file(result, key, images.source))
    return result


def _existing(
    out: str | Path, layer: str, method: str, key: str, with_notices: bool = True
) -> Directions | None:
    """Return the directions of a layer that a run holds, None where there are none.

    Raises:
        RunError: they were found in another way.
    """
    for existing in _files(out, with_notices).values():
        if existing.layer == layer and existing.method == method:
            if existing.key == key:
                return _directions_of_file(existing)
            expected = "directions found with the same images and settings"
            hint = "Choose another folder, or another method."
            raise RunError(f"'{layer}+{method}' in '{out}'", expected, "others", hint)
    return None


def with_run_directions(network: Network, out: str | Path) -> Network:
    """Return a network with the directions that a run holds, as layers of their own.

    Args:
        network: the run's model.
        out: the run's folder, which need not be there. A damaged file is left out, with a notice.
    """
    sets = _files(out)
    return network.with_directions(_sets(sets)) if sets else network


def with_directions_of(network: Network, run: str | Path) -> Network:
    """Return a network with the directions of a run of it, which has to be there.

    Raises:
        RunError: no such run, or one of another model.
    """
    model_record = ModelRecord(name=network.name, sha256=network.digest)
    source = Run.open(run)
    check_same_model(source.path, source.record.model, model_record)
    return with_run_directions(network, source.path)


def copy_directions(source: str | Path, run: Run) -> None:
    """Copy directions of another run of the same model into a run, for the layers that it has.

    Raises:
        RunError: the run holds other directions of that layer and method.
    """
    indices = {layer.index for layer in run.layers}
    for index, record in _files(source).items():
        existing = DirectionsFile.read_if_whole(run.folder(index) / NAME)
        if existing is not None and existing.key != record.key:
            name = f"'{record.layer}+{record.method}' in '{run.path}'"
            raise RunError(name, f"directions of '{source}'", "others", "Choose another folder.")
        if index in indices and existing is None:
            run.keep(index, NAME, record)


def _files(out: str | Path, with_notices: bool = True) -> dict[int, DirectionsFile]:
    """Return the directions of a run by the index of their layer, without damaged files."""
    sets: dict[int, DirectionsFile] = {}
    for path in sorted((RunFolder(out).path / "layers").glob(f"*/{NAME}")):
        record = DirectionsFile.read_if_whole(path)
        if record is not None:
            sets[int(path.parent.name)] = record
        elif with_notices:
            notice(f"'{path}' is damaged: find its directions again with 'oip directions'.")
    return sets


def _sets(sets: dict[int, DirectionsFile]) -> list[DirectionSet]:
    return [
        DirectionSet(
            directions.layer, f"{directions.layer}+{directions.method}", index, directions.weights
        )
        for index, directions in sets.items()
    ]


_FIELDS = (
    *("layer", "method", "weights", "parts", "variance", "used", "explained", "low", "high"),
    *("ceiling", "chance", "active", "samples", "images", "notices"),
)


def _to_file(result: Directions, key: str, split: str) -> DirectionsFile:
    values = {name: getattr(result, name) for name in _FIELDS}
    for name in ("weights", "parts", "variance", "used"):
        values[name] = np.asarray(values[name], np.float32)
    return DirectionsFile(key=key, base=result.index, split=split, **values)


def _directions_of_file(record: DirectionsFile) -> Directions:
    return Directions(index=record.base, **{name: getattr(record, name) for name in _FIELDS})
