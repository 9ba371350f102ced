"""Rankings into a run, layer by layer; what was finished is not done again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core.errors import DataError, OipError, RunError, expected
from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    from oip.mi.estimators.base import LabelEstimator
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

_NOT_SHOWN = ("schema", "key", "data_sha256")


def rank_into(
    out: str | Path,
    network: Network,
    selections: Sequence[tuple[LayerInfo, np.ndarray]],
    data: Any,
    *,
    estimators: Sequence[LabelEstimator] | None = None,
    samples: int = 2000,
    at: Literal["response", "block"] = "response",
    seed: int = 0,
    with_input: bool = False,
    progress: Progress = silent,
) -> Iterator[tuple[LayerInfo, dict[str, Any] | OipError]]:
    """Ranks the selected maps and keeps `ranking.json` and `responses.npz` of each layer.

    The run is begun with the first result, so that bad input leaves nothing behind.

    Args:
        out: the run's folder.
        network: the model, its input settled.
        selections: layers and map numbers.
        data: images and labels, as `models.load` gives them.
        estimators: the first one gives the order; the defaults if None.
        samples, at, seed, with_input: as for `mi.rank`.
        progress: is told what has been done.

    Yields:
        For each layer what `oip rank --json` prints of it, or the error where no map of it has
        finite responses.

    Raises:
        DataError: no labels, or images and labels that cannot be used.
    """
    from oip.core import files
    from oip.mi.estimators.registry import estimator
    from oip.mi.layer_sample import NoFiniteResponses
    from oip.mi.ranking import DEFAULT_ESTIMATORS, rank
    from oip.run.run import SCHEMA, Run, own_files, run_info
    from oip.run.shards import data_digest, key_of

    if data.labels is None:
        hint = "Information is about a label: name a source that has labels."
        raise DataError(expected(f"data '{data.source}'", "images with labels", "no labels", hint))
    chosen = estimators or [estimator(name) for name in DEFAULT_ESTIMATORS]
    settings = {
        "estimators": {one.name: one.parameters for one in chosen},
        "samples": samples,
        "at": at,
        "seed": seed,
        "with_input": with_input,
    }
    asked = {
        "model": network.digest,
        "images": data_digest(data.images),
        "labels": data_digest(np.asarray(data.labels)),
        "settings": settings,
    }
    info = run_info(network, command="rank", settings=settings, data=data)
    beside = own_files(out, network.path)
    run = None
    Run.check(out, info, beside)
    for layer, maps in selections:
        key = key_of({**asked, "layer": layer.index, "maps": maps.tolist()})
        folder = Run(Path(out), {}).folder(layer.index)
        told = _finished(folder / "ranking.json", key)
        if told is None:
            try:
                ranking = rank(
                    network,
                    data.images,
                    data.labels,
                    layer,
                    maps=maps,
                    estimators=chosen,
                    samples=samples,
                    at=at,
                    seed=seed,
                    with_input=with_input,
                    progress=progress,
                    classes=data.classes,
                    split=data.source,
                )
            except NoFiniteResponses as error:
                yield layer, error
                continue
            told = ranking.to_dict()
            run = run or Run.begin(out, info, beside)
            responses = {"maps": ranking.maps, **ranking.responses}
            files.write_arrays(folder / "responses.npz", responses)
            files.write_json(
                folder / "ranking.json",
                {"schema": SCHEMA, "key": key, "data_sha256": asked["images"], **told},
            )
        yield layer, told


def _finished(path: Path, key: str) -> dict[str, Any] | None:
    """A ranking that was asked for in the same way before."""
    from oip.core import files

    try:
        told = files.read_json(path)
        files.read_arrays(path.parent / "responses.npz")
    except RunError:
        return None
    if not isinstance(told, dict) or told.get("key") != key:
        return None
    return {name: value for name, value in told.items() if name not in _NOT_SHOWN}


MOST = 500
"""Images at most: every kernel and every map has a matrix of all pairs of them."""
_SCHEMA = 1
_NOT_SHOWN_RELATED = ("schema", "key")


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
    from oip.core import files, plots
    from oip.mi.kernel_ranking import rank_kernels
    from oip.run.run import Run

    used = min(samples, MOST)
    key = _key(network, data, layer, [estimator.name, estimator.parameters, used, seed])
    path = Run(Path(out), {}).folder(layer.index) / "kernels.json"
    told = _finished_related(path, key) or {}
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
    shown = {name: value for name, value in told.items() if name not in _NOT_SHOWN_RELATED}
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
    from oip.core import files
    from oip.mi.redundancies import redundancy
    from oip.run.run import Run

    used = min(samples, MOST)
    numbers = [int(number) for number in maps]
    key = _key(network, data, layer, [used, at, seed, numbers])
    folder = Run(Path(out), {}).folder(layer.index)
    told = _finished_related(folder / "redundancy.json", key)
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
    return {name: value for name, value in told.items() if name not in _NOT_SHOWN_RELATED}


def check_kernels(network: Network, layers: Iterable[LayerInfo]) -> None:
    """Raises ModelError for a layer whose kernels cannot be ranked."""
    from oip.mi.kernel_ranking import check_plain
    from oip.network.channel_graph import convolution_call

    for layer in layers:
        check_plain(convolution_call(network, layer), layer)


def _finished_related(path: Path, key: str) -> dict[str, Any] | None:
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


def check_classes(network: Network, data: Any) -> None:
    """Whether the model's output tells the data's classes apart, place by place.

    Raises:
        ModelError: the model does not end in classes.
        DataError: no labels, or another number of classes than the model's.
    """
    from oip.network.outputs import classes

    outputs = max(2, classes(network).units)
    if data.labels is None:
        raise DataError(expected(f"data '{data.source}'", "images with labels", "no labels"))
    if len(data.classes) != outputs:
        raise DataError(
            expected(
                f"data '{data.source}'",
                f"the {outputs} classes of the model's output",
                f"{len(data.classes)} classes",
                "The loss without a map is that of the model's own classes.",
            )
        )


def ablated(
    out: str | Path,
    network: Network,
    layer: LayerInfo,
    ranking: dict[str, Any],
    data: Any,
    *,
    to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Silences the ranked maps one by one and keeps `ablation.json` of the layer in the run.

    Args:
        out: the run's folder.
        network: the model, its input settled.
        layer: the layer.
        ranking: what `oip rank --json` prints of it.
        data: images and labels, as `models.load` gives them.
        to, samples, seed: as for `mi.ablate`.
        progress: is told what has been done.

    Returns:
        What `ablation.json` holds, with `agreement`: Spearman's correlation of the loss increase
        with the information of each estimator, null where there is no order.
    """
    from oip.core import files
    from oip.core.errors import RunError
    from oip.mi.ablation import ablate
    from oip.run.run import Run
    from oip.run.shards import data_digest, key_of

    maps = sorted(one["map"] for one in ranking["estimators"][0]["maps"])
    path = Run(Path(out), {}).folder(layer.index) / "ablation.json"
    key = key_of(
        {
            "model": network.digest,
            "images": data_digest(data.images),
            "labels": data_digest(np.asarray(data.labels)),
            "settings": [to, samples, seed, layer.index, maps],
        }
    )
    try:
        told = files.read_json(path)
    except RunError:
        told = None
    if not isinstance(told, dict) or told.get("key") != key:
        found = ablate(
            network,
            data.images,
            data.labels,
            layer,
            maps=maps,
            to=to,
            samples=samples,
            seed=seed,
            split=data.source,
            progress=progress,
        )
        told = {"key": key, **found.to_dict()}
    agreement = agreements(ranking, told)
    if told.get("agreement") != agreement:
        told["agreement"] = agreement
        files.write_json(path, told)
    return {name: value for name, value in told.items() if name not in ("key", "schema")}


def agreements(ranking: dict[str, Any], ablation: dict[str, Any]) -> list[dict[str, Any]]:
    """Spearman's correlation of the loss increase with what every estimator says."""
    from oip.mi.ranking import spearman

    effects = {one["map"]: one["loss_increase"] for one in ablation["maps"]}
    found = []
    for told in ranking["estimators"]:
        pairs = [(one["mi"], effects.get(one["map"])) for one in told["maps"]]
        known, effect = np.array(pairs, dtype=float).reshape(-1, 2).T
        value = spearman(known, effect) if told["ordered"] else float("nan")
        spoken = float(value) if np.isfinite(value) else None
        found.append({"estimator": told["estimator"], "spearman": spoken})
    return found
