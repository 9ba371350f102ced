"""What the network loses without each map, beside the ranking of a layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core.errors import DataError, expected
from oip.core.progress import Progress, silent

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.view import Network


def check_classes(network: Network, data: Any) -> None:
    """Whether the model's output tells the data's classes apart, place by place.

    Raises:
        ModelError: the model does not end in classes.
        DataError: no labels, or another number of classes than the model's.
    """
    from oip.network.heads import classes

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
    from mi.ablation import ablate
    from oip.core import files
    from oip.core.errors import RunError
    from oip.run.directory import Run
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
    from mi.agreement import spearman

    effects = {one["map"]: one["loss_increase"] for one in ablation["maps"]}
    found = []
    for told in ranking["estimators"]:
        pairs = [(one["mi"], effects.get(one["map"])) for one in told["maps"]]
        known, effect = np.array(pairs, dtype=float).reshape(-1, 2).T
        value = spearman(known, effect) if told["ordered"] else float("nan")
        spoken = float(value) if np.isfinite(value) else None
        found.append({"estimator": told["estimator"], "spearman": spoken})
    return found
