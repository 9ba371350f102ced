"""One block of maps grown into its shard, safe beside other processes that do the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from oip.ascent.reconstruction import shards
from oip.ascent.results import Oips
from oip.ascent.settings import AscentSettings
from oip.core import files
from oip.core.errors import RunError, expected
from oip.network.view import Network
from oip.run.directory import Run
from oip.run.shards import data_digest, finished_maps, key_of, shard_key, write_shard


class Grower(Protocol):
    """What grows maps of one layer, such as a `LayerAscent`."""

    def grow(self, maps: np.ndarray) -> Oips:
        """OIPs of some maps of one aligned block."""
        ...


def ascent_key(
    network: Network,
    settings: AscentSettings,
    images: np.ndarray | None,
    objectives: Sequence[str] = (),
) -> str:
    """The key of all shards of a model, its input, the settings and the data.

    Args:
        objectives: what tells the objectives from others, for their shards.
    """
    parts: dict[str, Any] = {
        "model": network.digest,
        "input": network.inputs.to_dict(),
        "settings": msgspec.to_builtins(settings),
        "data": data_digest(images),
    }
    if objectives:
        parts["objectives"] = list(objectives)
    return key_of(parts)


def open_blocks(run: Run, index: int, maps: np.ndarray, key: str) -> list[tuple[int, np.ndarray]]:
    """Blocks of a layer that are still to be done, with the maps that their shard shall hold.

    Only valid files of this key count as done.
    """
    found = []
    for number, wanted in shards(maps):
        path = run.shard(index, number)
        have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
        if not np.isin(wanted, have).all():
            found.append((number, np.union1d(wanted, have).astype(np.int64)))
    return found


def grow_block(
    run: Run, index: int, grower: Grower, number: int, maps: np.ndarray, key: str
) -> Oips | None:
    """Grows a block of maps and writes its shard.

    Where another process has written maps to the same shard meanwhile, the shard ends with those
    of both: it is grown again with all of them, because a shard is grown as a whole.

    Returns:
        What was written, or None where a valid shard held these maps already.
    """
    path = run.shard(index, number)
    wanted = np.asarray(maps, np.int64)
    while True:
        have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
        if np.isin(wanted, have).all():
            return None
        wanted = np.union1d(wanted, have).astype(np.int64)
        grown = grower.grow(wanted)
        with files.locked(path.parent):
            have = finished_maps(path, key) if path.exists() else np.array([], np.int64)
            if np.isin(have, wanted).all():
                if len(have) < len(wanted):
                    write_shard(path, grown, key)
                return grown


def refuse_other_shards(
    run: Run, key: str, keys: Mapping[int, str] | None = None, layers: int | None = None
) -> None:
    """Raises a RunError where a run holds shards of another key; damaged ones have none.

    Args:
        key: of the maps of layers.
        keys: of some indices by themselves.
        layers: how many layers with maps there are; shards of later indices are of objectives, and
            are looked at only where `keys` has them.
    """
    for path in sorted(run.path.glob("layers/*/shard-*.npz")):
        index = int(path.parent.name)
        wanted = (keys or {}).get(index, key)
        other = layers is not None and index >= layers and index not in (keys or {})
        if not other and shard_key(path) not in (None, wanted):
            raise RunError(
                expected(
                    f"'{run.path}' holds OIPs made in another way",
                    "the same model, input, settings, seed and data",
                    "others",
                    "Choose another --out, or give the command that began it.",
                )
            )
