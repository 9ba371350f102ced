"""Which channels of a model hang together: what has to go when one map of a layer goes.

Every channel of every layer that makes channels gets an identity, and identities are carried
through the model's calls. Adding two tensors makes their channels one; flattening repeats them;
a normalisation over channels, or the model's output, locks them. A weight axis whose places bear
identities can then be cut wherever those go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oip.core.errors import ModelError, expected
from oip.network import layer_types
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.network.tracing import Call

_SAME = frozenset(
    "Activation ActivityRegularization AlphaDropout AveragePooling1D AveragePooling2D Cropping1D "
    "Cropping2D Dropout ELU GaussianDropout GaussianNoise GlobalAveragePooling1D "
    "GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D Identity LeakyReLU MaxPooling1D "
    "MaxPooling2D ReLU SpatialDropout1D SpatialDropout2D UpSampling1D UpSampling2D ZeroPadding1D "
    "ZeroPadding2D".split()
)
_ELEMENTWISE = frozenset("Add Average Maximum Minimum Multiply Subtract".split())


@dataclass(frozen=True, eq=False)
class Cut:
    """An axis of one of a layer's weights whose places belong to channels."""

    weight: int
    """Place in `layer.weights`."""
    axis: int
    channels: np.ndarray
    """(places,) int: identity of the channel at each place."""
    reads: bool
    """The axis is that of what the layer receives, not of what it makes."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer whose kernel mixes the channels that it receives."""

    layer: Any = field(repr=False)
    path: str
    uses: int
    channels: np.ndarray
    """(places,) int: identities on the input axis of its kernel."""


@dataclass(eq=False)
class Channels:
    """The channels of a model and what they are tied to; `of_network` finds them."""

    cuts: dict[int, list[Cut]]
    """id of a layer -> its axes."""
    makers: dict[int, np.ndarray]
    """id of a layer -> (maps,) int: identities of the channels that it makes."""
    outputs: dict[int, np.ndarray]
    """id of a layer without weights whose configuration names its channels -> identities."""
    readers: list[Reader]
    parents: np.ndarray
    locked: dict[int, str]
    """Identity -> why the channel has to stay."""

    def same(self, channels: np.ndarray) -> np.ndarray:
        """One identity for all channels that only go together, of an array of identities."""
        return self.parents[channels]

    def of_layer(self, network: Network, info: LayerInfo) -> np.ndarray:
        """(maps,) int: identities of a layer's maps; maps that go together have the same one.

        Raises:
            ModelError: the layer makes no channels of its own.
        """
        if not self.owns(network, info):
            hint = "Remove maps of the layer before it."
            raise ModelError(
                expected(f"layer '{info.name}'", "maps that are made here", info.kind, hint)
            )
        return self.same(self.makers[id(convolution_call(network, info).layer)])

    def owns(self, network: Network, info: LayerInfo) -> bool:
        """The layer makes channels of its own; a depthwise convolution does not."""
        return id(convolution_call(network, info).layer) in self.makers

    def why_locked(self, channels: np.ndarray) -> str | None:
        """Why one of these channels has to stay, None where all can go."""
        for identity in self.same(channels):
            if int(identity) in self.locked:
                return self.locked[int(identity)]
        return None


def convolution_call(network: Network, info: LayerInfo) -> Call:
    """The call of the convolution itself, whose response `info` describes."""
    axes = len(network.inputs.shape) - 1
    found = [
        call
        for call in network.calls
        if layer_types.is_convolution(call.layer) and len(call.output_shape) == axes + 2
    ]
    return found[info.index]


def of_network(network: Network) -> Channels:
    """Follows every channel from where it is made to where it is read."""
    return _Follower(network).run()


class _Follower:
    def __init__(self, network: Network):
        self.network = network
        self.axis = 1 if network.channels_first else -1
        self.count = 0
        self.ties: list[tuple[int, int]] = []
        self.locks: list[tuple[np.ndarray, str]] = []
        self.cuts: dict[int, list[Cut]] = {}
        self.makers: dict[int, np.ndarray] = {}
        self.outputs: dict[int, np.ndarray] = {}
        self.readers: dict[int, Reader] = {}
        self.after: list[np.ndarray | None] = []

    def run(self) -> Channels:
        calls = self.network.calls
        for call in calls:
            self.after.append(self._through(call))
        read = {source for call in calls for source in call.sources}
        for call in calls:
            if call.number not in read:
                self._lock([self.after[call.number]], "it is the model's output")
        parents = _joined(self.count, self.ties)
        found = Channels(
            self.cuts, self.makers, self.outputs, list(self.readers.values()), parents, {}
        )
        for channels, why in self.locks:
            for identity in found.same(channels):
                found.locked.setdefault(int(identity), why)
        return found

    def _through(self, call: Call) -> np.ndarray | None:
        """Identities of the channels of a call's output; None where none are followed."""
        inputs = self._inputs(call)
        kind = type(call.layer).__name__
        if layer_types.is_convolution(call.layer) or kind == "Dense":
            return self._kernel(call, inputs[0] if len(inputs) == 1 else None, inputs)
        known = [one for one in inputs if one is not None]
        if not known:
            return None
        if kind in _ELEMENTWISE:
            return self._elementwise(call, inputs)
        if kind == "Concatenate":
            return self._concatenated(call, inputs)
        if len(inputs) != 1 or kind == "Softmax" or _normalises(call.layer):
            return self._lock(inputs, f"'{call.path}' ({kind}) mixes channels")
        channels = known[0]
        if kind == "BatchNormalization":
            return self._normalised(call, channels)
        if kind == "PReLU":
            return self._each_weight(call, channels)
        if kind in ("Flatten", "Reshape"):
            return self._reshaped(call, channels)
        if kind in _SAME and self._width(call.output_shape) in (None, len(channels)):
            return channels
        return self._lock(inputs, f"what '{call.path}' ({kind}) does with channels is not known")

    def _inputs(self, call: Call) -> list[np.ndarray | None]:
        """Identities of each tensor that the call receives."""
        before = [None if source < 0 else self.after[source] for source in call.sources]
        widths = [self._width(shape) for shape in call.input_shapes]
        if call.direct and len(before) == len(widths):
            told = [None if one is None else len(one) for one in before]
            if all(
                width is None or width == wide for width, wide in zip(told, widths, strict=True)
            ):
                return before
        known = [one for one in before if one is not None]
        if not known:
            return [None] * len(widths)
        if call.plain and len(widths) == 1 and all(len(one) == widths[0] for one in known):
            if len(known) < len(before):
                self._lock(known, f"what '{call.path}' receives is mixed with other channels")
            return [self._tied(known)]
        self._lock(known, f"what leads to '{call.path}' is not followed")
        return [None] * len(widths)

    def _kernel(
        self, call: Call, channels: np.ndarray | None, inputs: list[np.ndarray | None]
    ) -> np.ndarray | None:
        layer = call.layer
        kind = type(layer).__name__
        if len(inputs) != 1:
            return self._lock(inputs, f"'{call.path}' has several inputs")
        axes = _kernel_axes(kind)
        if axes is None or getattr(layer, "groups", 1) != 1:
            return self._lock(inputs, f"'{call.path}' ({kind}) has groups or an unknown kernel")
        if kind.startswith("Depthwise"):
            return self._depthwise(call, channels)
        weight, read, made = axes
        if channels is not None:
            self._read(call, weight, read, channels)
        elif id(layer) in self.readers:
            self._lock([self.readers[id(layer)].channels], f"'{call.path}' also reads other things")
        if id(layer) not in self.makers:
            mine = self._new(int(layer.weights[weight[-1]].shape[made]))
            self.makers[id(layer)] = mine
            self._cut(layer, Cut(weight[-1], made, mine, False))
            if getattr(layer, "bias", None) is not None:
                self._cut(layer, Cut(len(layer.weights) - 1, 0, mine, False))
        return self.makers[id(layer)]

    def _read(self, call: Call, weights: tuple[int, ...], axis: int, channels: np.ndarray) -> None:
        layer = call.layer
        if id(layer) in self.readers:
            earlier = self.readers[id(layer)]
            self._tied([earlier.channels, channels])
            self.readers[id(layer)] = Reader(
                layer, earlier.path, earlier.uses + 1, earlier.channels
            )
            return
        if call.use > 0:  # earlier it read the image itself
            self._lock([channels], f"'{call.path}' also reads what has no maps")
            return
        self.readers[id(layer)] = Reader(layer, call.path, 1, channels)
        for weight in weights:
            size = int(layer.weights[weight].shape[axis])
            self._cut(layer, Cut(weight, axis, np.repeat(channels, size // len(channels)), True))

    def _depthwise(self, call: Call, channels: np.ndarray | None) -> np.ndarray | None:
        layer = call.layer
        if channels is None:
            return None
        if id(layer) in self.readers:
            self._tied([self.readers[id(layer)].channels, channels])
        else:
            self.readers[id(layer)] = Reader(layer, call.path, 1, channels)
            self._cut(layer, Cut(0, -2, channels, True))
        made = np.repeat(channels, int(layer.depth_multiplier))
        if getattr(layer, "bias", None) is not None and call.use == 0:
            self._cut(layer, Cut(len(layer.weights) - 1, 0, made, False))
        return made

    def _normalised(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        rank = len(call.output_shape)
        axis = call.layer.axis
        if (axis[0] if isinstance(axis, (list, tuple)) else axis) % rank != self._place(rank):
            return self._lock([channels], f"'{call.path}' normalises another axis")
        return self._each_weight(call, channels)

    def _each_weight(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        """A layer whose weights have the channels on their last axis."""
        if call.use > 0:
            return self._lock([channels], f"'{call.path}' is used several times")
        for place, weight in enumerate(call.layer.weights):
            if not weight.shape or weight.shape[-1] != len(channels):
                return self._lock([channels], f"weights of '{call.path}' are of another size")
            self._cut(call.layer, Cut(place, -1, channels, False))
        return channels

    def _reshaped(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        width = self._width(call.output_shape)
        flat = len(call.output_shape) == 2
        if len(call.input_shapes[0]) == 2 and flat:
            return channels
        if flat and width is not None and width % len(channels) == 0:
            moved = getattr(call.layer, "data_format", None) == "channels_first"
            repeated = np.repeat if self.axis == 1 and not moved else np.tile
            found = repeated(channels, width // len(channels))
        elif self.axis == -1 and width == len(channels):
            found = channels
        else:
            return self._lock([channels], f"'{call.path}' takes channels apart")
        if type(call.layer).__name__ == "Reshape":
            self.outputs[id(call.layer)] = found
        return found

    def _elementwise(self, call: Call, inputs: list[np.ndarray | None]) -> np.ndarray | None:
        width = self._width(call.output_shape)
        full = [one for one in inputs if one is not None and len(one) == width]
        wide = [self._width(shape) == width for shape in call.input_shapes]
        if len(full) < sum(wide):
            return self._lock(inputs, f"'{call.path}' adds what has no maps, such as the image")
        self._lock(
            [one for one in inputs if one is not None and len(one) != width],
            f"'{call.path}' spreads it over all channels",
        )
        return self._tied(full)

    def _concatenated(self, call: Call, inputs: list[np.ndarray | None]) -> np.ndarray | None:
        rank = len(call.output_shape)
        if call.layer.axis % rank != self._place(rank):
            known = [one for one in inputs if one is not None]
            if len(known) < len(inputs):
                return self._lock(inputs, f"'{call.path}' joins it to what has no maps")
            return self._tied(known)
        widths = [self._width(shape) for shape in call.input_shapes]
        if None in widths:
            return self._lock(inputs, f"'{call.path}' joins tensors of free size")
        parts = [
            self._locked(int(width or 0)) if one is None else one
            for one, width in zip(inputs, widths, strict=True)
        ]
        return np.concatenate(parts)

    def _locked(self, width: int) -> np.ndarray:
        fresh = self._new(width)
        self.locks.append((fresh, "no layer with maps makes it"))
        return fresh

    def _tied(self, parts: list[np.ndarray]) -> np.ndarray:
        for other in parts[1:]:
            self.ties.extend(zip(parts[0].tolist(), other.tolist(), strict=True))
        return parts[0]

    def _lock(self, parts: Iterable[np.ndarray | None], why: str) -> None:
        self.locks.extend((one, why) for one in parts if one is not None)

    def _new(self, width: int) -> np.ndarray:
        self.count += width
        return np.arange(self.count - width, self.count)

    def _cut(self, layer: Any, cut: Cut) -> None:
        self.cuts.setdefault(id(layer), []).append(cut)

    def _place(self, rank: int) -> int:
        return 1 if self.axis == 1 and rank > 2 else rank - 1

    def _width(self, shape: tuple[int | None, ...]) -> int | None:
        return shape[self._place(len(shape))] if shape else None


def _kernel_axes(kind: str) -> tuple[tuple[int, ...], int, int] | None:
    """Weights that hold the input axis, that axis, and the output axis (of the last of them)."""
    if kind.startswith("Separable"):
        return (0, 1), -2, -1
    if kind in ("Conv1DTranspose", "Conv2DTranspose"):
        return (0,), -1, -2
    if kind in ("Conv1D", "Conv2D", "Dense") or kind.startswith("Depthwise"):
        return (0,), -2, -1
    return None


def _normalises(layer: Any) -> bool:
    """An activation that mixes channels, such as softmax."""
    return layer_types.activation_name(layer) in ("softmax", "log_softmax", "sparsemax")


def _joined(count: int, ties: list[tuple[int, int]]) -> np.ndarray:
    """(count,) int: the first identity of those that each is tied to, over any number of ties."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.zeros(0, int)
    rows, columns = np.array(ties, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    groups = connected_components(graph, directed=False)[1]
    return np.unique(groups, return_index=True)[1][groups]
