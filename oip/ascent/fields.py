"""Receptive fields on the image: which pixels a node of a layer looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.network.layers import LayerInfo


def field_boxes(layer: LayerInfo, nodes: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """First pixel and end of the receptive field of each node, along each axis.

    Args:
        layer: whose nodes.
        nodes: (..., axes) int: places of the nodes.
        sides: of the image, in pixels.

    Returns:
        (..., axes, 2) float, in pixels from the image's first edge; fields may reach beyond the
        image where it was padded. The whole image where the layer has no known geometry.
    """
    nodes = np.asarray(nodes)
    boxes = np.empty((*nodes.shape, 2))
    if layer.receptive_field is None or layer.jump is None or layer.offset is None:
        boxes[..., 0], boxes[..., 1] = 0, np.asarray(sides)
        return boxes
    field = np.array(layer.receptive_field)
    boxes[..., 0] = np.array(layer.offset) + nodes * np.array(layer.jump) - (field - 1) / 2
    boxes[..., 1] = boxes[..., 0] + field
    return boxes


def pixels_of(box: np.ndarray, sides: Sequence[int]) -> tuple[slice, ...]:
    """The part of a box (axes, 2) that lies on the image, as whole pixels; one pixel at least."""
    cut = []
    for (low, high), side in zip(box, sides, strict=True):
        first = min(max(0, math.floor(low)), side - 1)
        cut.append(slice(first, max(first + 1, min(side, math.ceil(high)))))
    return tuple(cut)


def central_node(layer: LayerInfo) -> tuple[int, ...]:
    """The node in the middle of a layer; the one before it where there are two.

    >>> from types import SimpleNamespace
    >>> central_node(SimpleNamespace(size=(3, 4)))
    (1, 1)
    """
    return tuple((side - 1) // 2 for side in layer.size)


def spread_nodes(layer: LayerInfo, most: int) -> np.ndarray:
    """Up to `most` nodes evenly over a layer, as many on each axis; from 3 on each, the corners
    among them.

    Args:
        most: nodes in all; a layer of so many or fewer gives all of its own.

    Returns:
        (p, axes) int, row by row; the central node is among them.
    """
    axes = len(layer.size)
    if int(np.prod(layer.size)) <= most:
        lines = [np.arange(side) for side in layer.size]
    else:
        each = max(1, math.floor(most ** (1 / axes) + 1e-9))
        lines = [
            np.unique(np.round(np.linspace(0, side - 1, each)).astype(int))
            if each > 1
            else np.array([middle])
            for side, middle in zip(layer.size, central_node(layer), strict=True)
        ]
    found = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, axes)
    centre = np.array([central_node(layer)])
    if not (found == centre).all(1).any():
        nearest = int(np.abs(found - centre).sum(1).argmin())
        found[nearest] = centre
    return found


def checked_nodes(layer: LayerInfo, nodes: object) -> np.ndarray:
    """Nodes that the layer has, as (p, axes) int.

    Raises:
        SettingsError: none, or not of this layer.
    """
    size = " x ".join(map(str, layer.size))
    wanted = f"nodes (row, column) of its {size}"
    try:
        found = np.asarray(nodes)
    except ValueError:
        found = np.empty(0)
    fits = found.ndim == 2 and found.dtype.kind in "iu" and len(found) > 0
    fits = fits and found.shape[-1] == len(layer.size)
    if not fits or (found < 0).any() or (found >= np.array(layer.size)).any():
        raise SettingsError(expected(f"nodes of layer '{layer.name}'", wanted, nodes))
    return found.astype(np.int64)
