"""Kernels and redundancies of ranked maps, beside the ranking of a layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    from mi.estimators.base import LabelEstimator
    from oip.network.layers import LayerInfo
    from oip.network.view import Network

MOST = 500
"""Images at most: every kernel and every map has a matrix of all pairs of them."""
_SCHEMA = 1
_NOT_SHOWN = ("schema", "key")


def kernels_into(
    out: str | Path,
    network: Network,
    layer: LayerInfo,
    maps: Iterable[int],
    data: Any,
    *,
    estimator: LabelEstimator,
    samples: int = MOST,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ranks the kernels of maps and keeps `kernels.json`, and a picture `kernels-0017.png` each.

    Maps that were done before in the same way stay in the file and are not done again.

    Args:
        out: the run's folder; the run is there.
        network: the model, its input settled.
        layer: whose maps.
        maps: their numbers.
        data: images and labels, as `models.load` gives them.
        estimator: of the information about the label.
        samples: images at most; no more than 500 are used.
        seed: of the sample and the null.
        progress: is told what has been done.

    Returns:
        What `oip rank --json` shows of it, the maps that were asked for, in their order.

    Raises:
        ModelError: a layer without plain kernels, such as a depthwise one.
    """
    from mi.kernels import rank_kernels
    from oip.core import files, plots
    from oip.run.directory import Run

    used = min(samples, MOST)
    key = _key(network, data, layer, [estimator.name, estimator.parameters, used, seed])
    path = Run(Path(out), {}).folder(layer.index) / "kernels.json"
    told = _finished(path, key) or {}
    rows = {one["map"]: one for one in told.get("maps", [])}
    wanted = [int(number) for number in maps]
    label = f"{layer.name}: kernels"
    progress(label, 0, len(wanted))
    for done, number in enumerate(wanted, 1):
        picture = path.parent / f"kernels-{number:04d}.png"
        if number not in rows or not picture.is_file():
            found = rank_kernels(
                network,
                data.images,
                data.labels,
                layer,
                number,
                estimator=estimator,
                samples=used,
                seed=seed,
                classes=data.classes,
                split=data.source,
            )
            rows[number] = found.to_dict()
            told = {
                "schema": _SCHEMA,
                "key": key,
                "estimator": found.estimated.estimator,
                "name_shown": found.estimated.name_shown,
                "samples": found.samples,
                "split": found.split,
                "ceiling": found.estimated.ceiling,
                "maps": [rows[one] for one in sorted(rows)],
            }
            plots.save(found.plot(), picture)
            files.write_json(path, told)
        progress(label, done, len(wanted))
    shown = {name: value for name, value in told.items() if name not in _NOT_SHOWN}
    return {**shown, "maps": [rows[number] for number in wanted]}


def redundancy_into(
    out: str | Path,
    network: Network,
    layer: LayerInfo,
    maps: Iterable[int],
    data: Any,
    *,
    samples: int = MOST,
    at: Literal["response", "block"] = "response",
    seed: int = 0,
) -> dict[str, Any]:
    """Measures what maps share and keeps `redundancy.npz` and `redundancy.json`.

    Args:
        out, network, layer, maps, data, samples, seed: as for `kernels_into`.
        at: the response, or the block output after the pooling that follows.

    Returns:
        What `oip rank --json` shows of it: neighbours, clusters, groups.
    """
    from mi.redundancies import redundancy
    from oip.core import files
    from oip.run.directory import Run

    used = min(samples, MOST)
    numbers = [int(number) for number in maps]
    key = _key(network, data, layer, [used, at, seed, numbers])
    folder = Run(Path(out), {}).folder(layer.index)
    told = _finished(folder / "redundancy.json", key)
    if told is None or not (folder / "redundancy.npz").is_file():
        found = redundancy(
            network,
            data.images,
            data.labels,
            layer,
            maps=numbers,
            samples=used,
            at=at,
            seed=seed,
            split=data.source,
        )
        names, units, pairs = zip(*found.measures(), strict=True)
        arrays = {
            "schema": np.array(_SCHEMA),
            "maps": found.maps.astype(np.int64),
            "names": np.array(names),
            "units": np.array(units),
            "pairs": np.stack(pairs).astype(np.float32),
        }
        files.write_arrays(folder / "redundancy.npz", arrays)
        told = {"schema": _SCHEMA, "key": key, **found.to_dict()}
        files.write_json(folder / "redundancy.json", told)
    return {name: value for name, value in told.items() if name not in _NOT_SHOWN}


def check_kernels(network: Network, layers: Iterable[LayerInfo]) -> None:
    """Raises ModelError for a layer whose kernels cannot be ranked."""
    from mi.kernels import check_plain
    from oip.network.channels import convolution_call

    for layer in layers:
        check_plain(convolution_call(network, layer), layer)


def _finished(path: Path, key: str) -> dict[str, Any] | None:
    """What was asked for in the same way before."""
    from oip.core import files
    from oip.core.errors import RunError

    try:
        told = files.read_json(path)
    except RunError:
        return None
    return told if isinstance(told, dict) and told.get("key") == key else None


def _key(network: Network, data: Any, layer: LayerInfo, settings: list[Any]) -> str:
    from oip.run.shards import data_digest, key_of

    return key_of(
        {
            "model": network.digest,
            "images": data_digest(data.images),
            "labels": data_digest(np.asarray(data.labels)),
            "settings": [layer.index, *settings],
        }
    )
