"""Rankings into a run, layer by layer; what was finished is not done again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core.errors import DataError, OipError, RunError, expected
from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    from mi.estimators.base import LabelEstimator
    from oip.network.layers import LayerInfo
    from oip.network.view import Network

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
    from mi.estimators.choice import estimator
    from mi.ranking import DEFAULT_ESTIMATORS, NoFiniteResponses, rank
    from oip.core import files
    from oip.run.directory import SCHEMA, Run, own_files
    from oip.run.information import run_info
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
