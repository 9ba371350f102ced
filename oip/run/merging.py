"""A layer's shards as one."""

from __future__ import annotations

import numpy as np

from oip.ascent.results import Oips, joined
from oip.core import files
from oip.core.errors import RunError, expected
from oip.run.directory import Run
from oip.run.shards import read_shard


def layer_oips(run: Run, index: int) -> Oips:
    """All OIPs of a layer that a run holds, with their stability where it was measured.

    Args:
        run: the run.
        index: the layer's index.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    paths = run.shards(index)
    if not paths:
        have = ", ".join(str(number) for number in run.reconstructed()) or "none"
        raise RunError(expected(f"OIPs of layer {index} in '{run.path}'", f"one of {have}", index))
    found = joined([read_shard(path)[0] for path in paths])
    told = run.stability(index)
    if told is None or told["maps"] != found.maps.tolist():
        return found
    return found.with_stability(
        _numbers(told["within"]), _numbers(told["percentile"]), np.array(told["n_null"], np.int64)
    )


def write_stability(run: Run, oips: Oips, clusters: np.ndarray, medoids: np.ndarray) -> None:
    """Writes a layer's stability.json from OIPs that carry it.

    Args:
        clusters: (m, k) cluster of each start.
        medoids: (m, k) bool.
    """
    files.write_json(
        run.folder(oips.index) / "stability.json",
        {
            "schema": 1,
            "maps": oips.maps.tolist(),
            "within": _plain(oips.stability),
            "percentile": _plain(oips.null_percentile),
            "n_null": oips.n_null.tolist(),
            "clusters": clusters.tolist(),
            "medoids": medoids.tolist(),
        },
    )


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)
