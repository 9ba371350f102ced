"""The OIP of a single node of a map: what it reacts to at one place of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oip.ascent.objectives import Objective, Term
from oip.ascent.reconstruction import reconstruct
from oip.ascent.results import Oips
from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress, silent
from oip.network.layers import LayerInfo
from oip.network.view import Network

_BYTES = 1 << 30


def check_size(what: str, counts: Sequence[int], shape: Sequence[int], size: int) -> None:
    """Refuses a result whose images would take more than 1 GiB.

    Args:
        what: the result, for the message.
        counts: maps, and images of each.
        shape: of an image.
        size: bytes of a pixel.

    Raises:
        SettingsError: more than that.
    """
    wanted = size * int(np.prod(counts)) * int(np.prod(shape))
    if wanted > _BYTES:
        hint = "Ask for fewer maps at a time."
        most = f"at most {_BYTES >> 20} MiB"
        raise SettingsError(expected(f"images of {what}", most, f"{wanted >> 20} MiB", hint))


def node_oips(
    network: Network,
    layer: LayerInfo,
    maps: np.ndarray,
    node: Sequence[int],
    progress: Progress = silent,
    **settings: Any,
) -> Oips:
    """The OIPs of one node of several maps, in the order of `maps`.

    All of them look at the same pixels, so that no image keeps noise where nothing is seen.

    Args:
        network: the model, its input settled.
        layer: whose node.
        maps: (m,) numbers of the maps; objective i is of `maps[i]`.
        node: its place along each axis.
        progress: is told what has been done.
        settings: of the ascent, as for `oip.reconstruct`.
    """
    place = tuple(int(one) for one in node)
    objectives = [Objective(((1.0, Term("node", int(number), place)),)) for number in maps]
    return reconstruct(network, layer.name, objective=objectives, progress=progress, **settings)
