"""The channels of a model that hang together: what has to go when one map of a layer goes.

Every channel of every layer that makes channels gets an identity, and identities are carried
through the model's calls. Adding two tensors makes their channels one; flattening repeats them;
a normalization over channels, or the model's output, locks them. A weight axis whose entries bear
identities can then be cut wherever those go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from oip.core.errors import ModelError
from oip.core.frameworks import keras
from oip.network import layer_types
from oip.network.activations import MIXING
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.network.tracing import Call

_SAME = frozenset(
    "Activation AveragePooling1D AveragePooling2D Cropping1D Cropping2D ELU GlobalAveragePooling1D "
    "GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D LeakyReLU MaxPooling1D "
    "MaxPooling2D ReLU UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D".split()
)
_ELEMENTWISE = frozenset("Add Average Maximum Minimum Multiply Subtract".split())
_Inputs: TypeAlias = "list[np.ndarray | None]"
"""Identities (channels,) of each tensor that a call receives; None where none are followed."""


@dataclass(frozen=True, eq=False)
class Cut:
    """An axis of one of a layer's weights whose entries belong to channels."""

    weight: int
    """Index in `layer.weights`."""
    axis: int
    channels: np.ndarray
    """(entries,) int: identity of the channel of each entry."""
    reads: bool
    """The axis is that of what the layer receives, not of what it makes."""


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer whose kernel mixes the channels that it receives."""

    layer: keras.Layer = field(repr=False)
    path: str
    uses: int
    channels: np.ndarray
    """(entries,) int: identities on the input axis of its kernel."""


@dataclass(eq=False)
class Channels:
    """The channels of a model, in groups that are removed together; see `Channels.of`."""

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
    whole: dict[int, str]
    """id of a layer that makes no channels of its own, but could -> why."""

    @classmethod
    def of(cls, network: Network) -> Channels:
        """Follow every channel of a network from where it is made to where it is read."""
        return _Follower(network).run()

    def same(self, channels: np.ndarray) -> np.ndarray:
        """Return one identity for all channels that only go together, of an array of identities."""
        return self.parents[channels]

    def of_layer(self, network: Network, info: LayerInfo) -> np.ndarray:
        """Return the identities (maps,) of a layer's maps; the same for maps that go together.

        Raises:
            ModelError: the layer makes no channels of its own.
        """
        if not self.owns(network, info):
            reason = self.whole.get(id(kernel_call(network, info).layer))
            hint = "" if reason else "Remove maps of the layer before it."
            expected = "maps that are made here" if reason is None else "maps that can be removed"
            raise ModelError(f"layer '{info.name}'", expected, reason or info.layer_class, hint)
        return self.same(self.makers[id(kernel_call(network, info).layer)])

    def owns(self, network: Network, info: LayerInfo) -> bool:
        """Return whether the layer makes its channels; a depthwise convolution does not."""
        return id(kernel_call(network, info).layer) in self.makers

    def why_whole(self, network: Network, info: LayerInfo) -> str | None:
        """Return why no map of a layer can be removed, None where all can."""
        if info.kind == "heads":
            return "heads of attention are not removed"
        if self.owns(network, info):
            return self.why_locked(self.of_layer(network, info))
        reason = self.whole.get(id(kernel_call(network, info).layer))
        return reason or "its maps are those of the layer before it"

    def why_locked(self, channels: np.ndarray) -> str | None:
        """Return why one of these channels has to stay, None where all can go."""
        for identity in self.same(channels):
            if int(identity) in self.locked:
                return self.locked[int(identity)]
        return None


def kernel_call(network: Network, info: LayerInfo) -> Call:
    """Return the call of the convolution or other layer itself, whose response `info` describes."""
    return next(call for call in network.calls if call.index == info.call)


class _KernelAxes(NamedTuple):
    weights: tuple[int, ...]
    """Indices of the weights that have the input axis."""
    reads: int
    """The input axis."""
    makes: int
    """The output axis, of the last of the weights."""


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
        self.whole: dict[int, str] = {}
        self.call_channels: _Inputs = []
        self.bare = {id(layer) for layer in _layers_of_models(network.model)}

    def run(self) -> Channels:
        calls = self.network.calls
        for call in calls:
            self.call_channels.append(self._output_channels(call))
        returned = {index for output in self.network.recording.outputs for index in output.calls}
        sources = {source for call in calls for source in call.sources}
        for call in calls:
            if call.index not in sources or call.index in returned:
                self._lock([self.call_channels[call.index]], "it is the model's output")
        parents = _first_of_tied(self.count, self.ties)
        readers = list(self.readers.values())
        channels = Channels(self.cuts, self.makers, self.outputs, readers, parents, {}, self.whole)
        for identities, reason in self.locks:
            for identity in channels.same(identities):
                channels.locked.setdefault(int(identity), reason)
        return channels

    def _output_channels(self, call: Call) -> np.ndarray | None:
        """Return the identities of the channels of a call's output; None if none are followed."""
        inputs = self._inputs(call)
        kind = type(call.layer).__name__
        if layer_types.is_convolution(call.layer) or layer_types.is_dense(call.layer):
            reason = layer_types.why_not_plain(call.layer)
            if id(call.layer) not in self.bare:
                reason = "it is inside another layer"
            if reason is not None:
                self.whole[id(call.layer)] = reason
                return self._lock(inputs, f"of '{call.path}' ({kind}), which reads it: {reason}")
            return self._kernel(call, inputs)
        if layer_types.is_recurrent(call.layer):
            self.whole[id(call.layer)] = "recurrent layers are not made smaller"
        followed = _followed(inputs)
        if not followed:
            return None
        if kind in _ELEMENTWISE:
            return self._elementwise(call, inputs)
        if kind == "Concatenate":
            return self._concatenated(call, inputs)
        mixes = kind == "Softmax" or layer_types.activation_name(call.layer) in MIXING
        if len(inputs) != 1 or mixes:
            return self._lock(inputs, f"'{call.path}' ({kind}) mixes channels")
        channels = followed[0]
        if kind == "BatchNormalization":
            return self._normalized(call, channels)
        if kind == "PReLU":
            return self._each_weight(call, channels)
        if kind in ("Flatten", "Reshape"):
            return self._reshaped(call, channels)
        is_passed_on = kind in _SAME or layer_types.is_dropout(call.layer)
        if is_passed_on and self._width(call.output_shape) in (None, len(channels)):
            return channels
        return self._lock(inputs, f"it is not known how '{call.path}' ({kind}) uses channels")

    def _inputs(self, call: Call) -> _Inputs:
        inputs = [None if source < 0 else self.call_channels[source] for source in call.sources]
        widths = [self._width(shape) for shape in call.input_shapes]
        if call.direct and len(inputs) == len(widths):
            pairs = zip(inputs, widths, strict=True)
            if all(channels is None or len(channels) == width for channels, width in pairs):
                return inputs
        followed = _followed(inputs)
        if not followed:
            return [None] * len(widths)
        same_width = all(len(channels) == widths[0] for channels in followed)
        if call.plain and len(widths) == 1 and same_width:
            if len(followed) < len(inputs):
                self._lock(followed, f"what '{call.path}' receives is mixed with other channels")
            return [self._tied(followed)]
        self._lock(followed, f"what leads to '{call.path}' is not followed")
        return [None] * len(widths)

    def _kernel(self, call: Call, inputs: _Inputs) -> np.ndarray | None:
        layer = call.layer
        kind = type(layer).__name__
        if len(inputs) != 1:
            return self._lock(inputs, f"'{call.path}' has several inputs")
        axes = _kernel_axes(kind)
        if axes is None or getattr(layer, "groups", 1) != 1:
            return self._lock(inputs, f"'{call.path}' ({kind}) has groups or an unknown kernel")
        channels = inputs[0]
        if kind.startswith("Depthwise"):
            return self._depthwise(call, channels)
        if channels is not None:
            self._read(call, axes, channels)
        elif id(layer) in self.readers:
            self._lock([self.readers[id(layer)].channels], f"'{call.path}' also reads other things")
        if id(layer) not in self.makers:
            kernel = axes.weights[-1]
            maps = self._new(int(layer.weights[kernel].shape[axes.makes]))
            self.makers[id(layer)] = maps
            self._cut(layer, Cut(kernel, axes.makes, maps, False))
            self._cut_bias(layer, maps)
        return self.makers[id(layer)]

    def _read(self, call: Call, axes: _KernelAxes, channels: np.ndarray) -> None:
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
        for weight in axes.weights:
            repeats = int(layer.weights[weight].shape[axes.reads]) // len(channels)
            self._cut(layer, Cut(weight, axes.reads, np.repeat(channels, repeats), True))

    def _depthwise(self, call: Call, channels: np.ndarray | None) -> np.ndarray | None:
        layer = call.layer
        if channels is None:
            return None
        if id(layer) in self.readers:
            self._tied([self.readers[id(layer)].channels, channels])
        else:
            self.readers[id(layer)] = Reader(layer, call.path, 1, channels)
            self._cut(layer, Cut(0, -2, channels, True))
        maps = np.repeat(channels, int(layer.depth_multiplier))
        if call.use == 0:
            self._cut_bias(layer, maps)
        return maps

    def _normalized(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        rank = len(call.output_shape)
        axis = call.layer.axis
        axis = axis[0] if isinstance(axis, (list, tuple)) else axis
        if axis % rank != self._channel_axis(rank):
            return self._lock([channels], f"'{call.path}' normalizes another axis")
        return self._each_weight(call, channels)

    def _each_weight(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        """Follow a layer whose weights have the channels on their last axis."""
        if call.use > 0:
            return self._lock([channels], f"'{call.path}' is used several times")
        for index, weight in enumerate(call.layer.weights):
            if not weight.shape or weight.shape[-1] != len(channels):
                return self._lock([channels], f"weights of '{call.path}' are of another size")
            self._cut(call.layer, Cut(index, -1, channels, False))
        return channels

    def _reshaped(self, call: Call, channels: np.ndarray) -> np.ndarray | None:
        width = self._width(call.output_shape)
        flat = len(call.output_shape) == 2
        if len(call.input_shapes[0]) == 2 and flat:
            return channels
        if flat and width is not None and width % len(channels) == 0:
            moved = getattr(call.layer, "data_format", None) == "channels_first"
            repeated = np.repeat if self.axis == 1 and not moved else np.tile
            reshaped = repeated(channels, width // len(channels))
        elif self.axis == -1 and width == len(channels):
            reshaped = channels
        else:
            return self._lock([channels], f"'{call.path}' takes channels apart")
        if type(call.layer).__name__ == "Reshape":
            self.outputs[id(call.layer)] = reshaped
        return reshaped

    def _elementwise(self, call: Call, inputs: _Inputs) -> np.ndarray | None:
        width = self._width(call.output_shape)
        followed = _followed(inputs)
        full = [channels for channels in followed if len(channels) == width]
        wide = [self._width(shape) == width for shape in call.input_shapes]
        if len(full) < sum(wide):
            return self._lock(inputs, f"'{call.path}' adds what has no maps, such as the image")
        narrow = [channels for channels in followed if len(channels) != width]
        self._lock(narrow, f"'{call.path}' spreads it over all channels")
        return self._tied(full)

    def _concatenated(self, call: Call, inputs: _Inputs) -> np.ndarray | None:
        rank = len(call.output_shape)
        if call.layer.axis % rank != self._channel_axis(rank):
            followed = _followed(inputs)
            if len(followed) < len(inputs):
                return self._lock(inputs, f"'{call.path}' joins it to what has no maps")
            return self._tied(followed)
        widths = [self._width(shape) for shape in call.input_shapes]
        if None in widths:
            return self._lock(inputs, f"'{call.path}' joins tensors of free size")
        return np.concatenate(
            [
                self._new_locked(int(width or 0)) if channels is None else channels
                for channels, width in zip(inputs, widths, strict=True)
            ]
        )

    def _tied(self, groups: list[np.ndarray]) -> np.ndarray:
        for channels in groups[1:]:
            self.ties.extend(zip(groups[0].tolist(), channels.tolist(), strict=True))
        return groups[0]

    def _lock(self, groups: Iterable[np.ndarray | None], reason: str) -> None:
        self.locks.extend((channels, reason) for channels in _followed(groups))

    def _new(self, width: int) -> np.ndarray:
        self.count += width
        return np.arange(self.count - width, self.count)

    def _new_locked(self, width: int) -> np.ndarray:
        channels = self._new(width)
        self._lock([channels], "no layer with maps makes it")
        return channels

    def _cut(self, layer: keras.Layer, cut: Cut) -> None:
        self.cuts.setdefault(id(layer), []).append(cut)

    def _cut_bias(self, layer: keras.Layer, channels: np.ndarray) -> None:
        if getattr(layer, "bias", None) is not None:
            self._cut(layer, Cut(len(layer.weights) - 1, 0, channels, False))

    def _channel_axis(self, rank: int) -> int:
        return 1 if self.axis == 1 and rank > 2 else rank - 1

    def _width(self, shape: tuple[int | None, ...]) -> int | None:
        return shape[self._channel_axis(len(shape))] if shape else None


def _layers_of_models(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model and of the models in it, but not those inside other layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_of_models(layer)
        else:
            yield layer


def _followed(inputs: Iterable[np.ndarray | None]) -> list[np.ndarray]:
    return [channels for channels in inputs if channels is not None]


def _kernel_axes(kind: str) -> _KernelAxes | None:
    if kind.startswith("Separable"):
        return _KernelAxes((0, 1), -2, -1)
    if kind in ("Conv1DTranspose", "Conv2DTranspose"):
        return _KernelAxes((0,), -1, -2)
    if kind in ("Conv1D", "Conv2D", "Dense") or kind.startswith("Depthwise"):
        return _KernelAxes((0,), -2, -1)
    return None


def _first_of_tied(count: int, ties: list[tuple[int, int]]) -> np.ndarray:
    """Return (count,) int: the first of the identities that each one is tied to, near or far."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.zeros(0, int)
    rows, columns = np.array(ties, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    groups = connected_components(graph, directed=False)[1]
    return np.unique(groups, return_index=True)[1][groups]
