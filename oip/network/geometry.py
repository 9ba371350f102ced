"""The geometry of a layer's nodes: receptive field, jump and offset, axis by axis.

A node of index i looks at the input pixels around `offset + i * jump`, `field` pixels wide. The
arithmetic is that of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
Networks", Distill 2019, extended by dilation, transposed convolution and resizing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from oip.core.frameworks import keras
from oip.network import layer_types
from oip.network.tracing import Call

Sizes = int | list[int] | tuple[int, ...]
"""One number for all axes, or one for each."""


class Axis(NamedTuple):
    """One spatial axis of a tensor, in input pixels."""

    field: int = 1
    jump: float = 1.0
    offset: float = 0.0


def node_indices(flat: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return nodes by their index along each axis, (..., axes); without axes there is one node.

    Args:
        flat: (...) int: numbers of nodes, row by row.
        size: nodes along each axis.
    """
    if not size:
        return np.zeros((*flat.shape, 0), np.int64)
    return np.stack(np.unravel_index(flat, size), axis=-1)


Geometry = tuple[Axis, ...]
"""One `Axis` for each spatial axis."""


def geometries(calls: list[Call], axes: int) -> list[Geometry | None]:
    """Compute the geometry of every call's output; None where no rule applies, as for attention.

    Tokens that are the patches of an image, no more and no less, have the geometry of these.
    """
    geometries: list[Geometry | None] = []
    start: Geometry = (Axis(),) * axes
    gray = gray_images(calls, axes)
    for call in calls:
        source_geometries = [start if source < 0 else geometries[source] for source in call.sources]
        # A gate that was pooled over the whole image scales maps, it moves no node: left out.
        pairs = zip(call.sources, source_geometries, strict=True)
        mixed = any(origin is None and _has_nodes(calls[source]) for source, origin in pairs)
        inputs = [geometry for geometry in source_geometries if geometry is not None]
        is_gray = axes == 2 and all(source < 0 or source in gray for source in call.sources)
        is_plain = call.plain or (is_gray and call.adds_axis and call.input_shapes[0][-1] == 1)
        if mixed or not inputs or not is_plain:
            geometries.append(None)
            continue
        if is_gray and call.input_shapes and call.output_shape == (*call.input_shapes[0], 1):
            geometries.append(start if len(call.output_shape) == 4 else None)
            continue
        axis_inputs = zip(*inputs, strict=True)
        widest = tuple(max(same_axis, key=lambda axis: axis.field) for same_axis in axis_inputs)
        geometries.append(_geometry_after(call, widest))
    return geometries


def gray_images(calls: list[Call], axes: int) -> set[int]:
    """Return the calls whose output is the image without an axis of bands, pixel by pixel.

    Args:
        axes: spatial axes of the model's input.
    """
    gray: set[int] = set()
    for call in calls:
        layer, shape = call.layer, call.output_shape
        keeps = layer_types.is_preprocessing(layer) or layer_types.is_dropout(layer)
        is_first = call.plain and all(source < 0 or source in gray for source in call.sources)
        if keeps and is_first and call.input_shapes[:1] == (shape,) and len(shape) == axes + 1:
            gray.add(call.index)
    return gray


def _has_nodes(call: Call) -> bool:
    """Return whether a call's output has more than one node."""
    return len(call.output_shape) > 2 and any(
        side != 1 for side in layer_types.spatial_sides(call.output_shape, call.layer)
    )


def token_grids(calls: list[Call]) -> list[tuple[int, ...]]:
    """Return rows and columns of the patches of an image that each call's tokens come from.

    Empty where the output is no tokens, or where they come from no such patches.
    """
    grids: list[tuple[int, ...]] = []
    for call in calls:
        shape = call.output_shape
        grid = next((grids[source] for source in call.sources if source >= 0 and grids[source]), ())
        if len(shape) == 4 and call.attention is None:
            sides = layer_types.spatial_sides(shape, call.layer)
            grid = tuple(int(side or 0) for side in sides)
        grids.append(grid if len(shape) > 2 else ())
    return grids


def _token_geometry(call: Call, geometry: Geometry) -> Geometry | None:
    """Return the geometry of tokens after a layer that leaves each where it is; else None.

    A token that is put before them, that of the class, changes nothing.
    """
    input_shape, output_shape = call.input_shapes[0], call.output_shape
    kind, count = type(call.layer).__name__, math.prod(side or 0 for side in input_shape[1:-1])
    mixes = _mixes_nodes(call) or kind == "Permute" or layer_types.is_convolution(call.layer)
    fits = len(output_shape) == 3 and output_shape[1] in (count, count + 1)
    return geometry if fits and not mixes and not layer_types.is_pooling(call.layer) else None


def _mixes_nodes(call: Call) -> bool:
    """Return whether each of a layer's nodes depends on all nodes before it, as after attention."""
    is_attention = call.attention is not None or "Attention" in type(call.layer).__name__
    return is_attention or layer_types.is_recurrent(call.layer)


def _geometry_after(call: Call, geometry: Geometry) -> Geometry | None:
    layer = call.layer
    kind = type(layer).__name__
    if len(geometry) == 2 and len(call.output_shape) == 3 and call.input_shapes:
        return _token_geometry(call, geometry)
    if call.input_shapes and layer_types.moves_bands_last(layer, call.input_shapes[0][1:]):
        return geometry
    sizes = layer_types.spatial_sides(call.input_shapes[0], layer) if call.input_shapes else ()
    if len(sizes) != len(geometry):
        return None
    if layer_types.is_convolution(layer) and "Transpose" in kind:
        step = _transposed
    elif layer_types.is_convolution(layer) or layer_types.is_pooling(layer):
        step = _windowed
    elif kind.startswith(("ZeroPadding", "Cropping")):
        step = _padded
    elif kind.startswith("UpSampling"):
        step = _enlarged
    elif layer_types.spatial_sides(call.output_shape, layer) == sizes and not _mixes_nodes(call):
        return geometry
    else:
        return None
    return tuple(step(layer, index, axis, sizes[index]) for index, axis in enumerate(geometry))


def _windowed(layer: keras.Layer, index: int, axis: Axis, size: int | None) -> Axis:
    window = _axis_value(getattr(layer, "kernel_size", None) or layer.pool_size, index)
    stride = _axis_value(layer.strides, index)
    span = (window - 1) * _axis_value(getattr(layer, "dilation_rate", 1), index) + 1
    padding = 0
    if layer.padding == "same" and size is not None:
        padding = max((math.ceil(size / stride) - 1) * stride + span - size, 0) // 2
    elif layer.padding == "same":
        padding = (span - 1) // 2
    elif layer.padding == "causal":
        padding = span - 1
    return Axis(
        field=math.ceil(axis.field + (span - 1) * axis.jump),
        jump=axis.jump * stride,
        offset=axis.offset + ((span - 1) / 2 - padding) * axis.jump,
    )


def _transposed(layer: keras.Layer, index: int, axis: Axis, size: int | None) -> Axis:
    window = _axis_value(layer.kernel_size, index)
    stride = _axis_value(layer.strides, index)
    span = (window - 1) * _axis_value(layer.dilation_rate, index) + 1
    cut = max(span - stride, 0) // 2 if layer.padding == "same" else 0
    return Axis(
        field=math.ceil(axis.field + (math.ceil(span / stride) - 1) * axis.jump),
        jump=axis.jump / stride,
        offset=axis.offset + (cut - (span - 1) / 2) / stride * axis.jump,
    )


def _padded(layer: keras.Layer, index: int, axis: Axis, _size: int | None) -> Axis:
    sides = layer.cropping if hasattr(layer, "cropping") else layer.padding
    sides = sides[index] if isinstance(sides[0], (tuple, list)) else sides
    padding = int(sides[0]) * (-1 if hasattr(layer, "cropping") else 1)
    return Axis(axis.field, axis.jump, axis.offset - padding * axis.jump)


def _enlarged(layer: keras.Layer, index: int, axis: Axis, size: int | None) -> Axis:
    factor = _axis_value(layer.size, index)
    soft = getattr(layer, "interpolation", "nearest") != "nearest"
    return Axis(
        field=math.ceil(axis.field + (axis.jump if soft else 0)),
        jump=axis.jump / factor,
        offset=axis.offset - (factor - 1) / (2 * factor) * axis.jump,
    )


def _axis_value(value: Sizes, index: int) -> int:
    return int(value[index]) if isinstance(value, (tuple, list)) else int(value)
