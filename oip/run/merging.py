"""A layer's shards, one after the other or as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from oip.ascent.results import Oips, joined
from oip.core.errors import RunError, expected
from oip.run.directory import Run
from oip.run.shards import held_maps, read_shard


def layer_oips(run: Run, index: int) -> Oips:
    """All OIPs of a layer that a run holds, with their stability where it was measured.

    The whole layer is held in memory; `layer_parts` gives it shard by shard.

    Args:
        run: the run.
        index: the layer's index.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    return joined(list(layer_parts(run, index)))


def layer_parts(run: Run, index: int, snapshots: bool = True) -> Iterator[Oips]:
    """The OIPs of a layer, one shard at a time, with their stability where it was measured.

    Args:
        run: the run.
        index: the layer's index.
        snapshots: read the images on their way too; without them `snapshots` has none.

    Raises:
        RunError: the run has no OIPs of the layer, or a shard is damaged.
    """
    paths = run.shards(index)
    if not paths:
        have = ", ".join(str(number) for number in run.reconstructed()) or "none"
        raise RunError(expected(f"OIPs of layer {index} in '{run.path}'", f"one of {have}", index))
    return _parts(run, index, paths, snapshots)


def _parts(run: Run, index: int, paths: list[Path], snapshots: bool) -> Iterator[Oips]:
    told = run.stability(index)
    if told is not None and told["maps"] != held_maps(run, index).tolist():
        told = None
    first = 0
    for path in paths:
        oips, _ = read_shard(path, snapshots)
        rows = slice(first, first + len(oips))
        first += len(oips)
        if told is None:
            yield oips
        else:
            yield oips.with_stability(
                _numbers(told["within"][rows]),
                _numbers(told["percentile"][rows]),
                np.array(told["n_null"][rows], np.int64),
                np.array(told["clusters"][rows], np.int64),
                np.array(told["medoids"][rows], bool),
            )


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)
