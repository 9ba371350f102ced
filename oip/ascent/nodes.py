"""The OIP of a single node of a map: what it reacts to at one place of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oip.ascent.objectives import Objective, Term
from oip.ascent.reconstruction import ReadoutAscent, objective_readout, with_all
from oip.ascent.results import Oips
from oip.ascent.settings import ascent_settings
from oip.core.progress import Progress, silent
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.view import Network


def node_oips(
    network: Network,
    layer: LayerInfo,
    maps: np.ndarray,
    node: Sequence[int],
    progress: Progress = silent,
    *,
    data: np.ndarray | None = None,
    preset: str = "default",
    **settings: Any,
) -> Oips:
    """The OIPs of one node of several maps, in the order of `maps`.

    A map that nothing moves has the verdict that it has among all maps of its layer.

    Args:
        network: the model, its input settled.
        layer: whose node.
        maps: (m,) numbers of the maps; objective i is of `maps[i]`.
        node: its place along each axis.
        progress: is told what has been done.
        data, preset, settings: of the ascent, as for `oip.reconstruct`.
    """
    chosen = ascent_settings(preset, **settings)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    network.inputs.warn_if_assumed()
    place = tuple(int(one) for one in node)
    objectives = [Objective(((1.0, Term("node", int(number), place)),)) for number in maps]
    readout = objective_readout(network, objectives, layer.name)
    readout.refuses_constants = False
    ascent = ReadoutAscent(network, readout, chosen, data, progress)
    return with_all(ascent, np.arange(len(objectives)), progress)
