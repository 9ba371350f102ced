"""A reader of several layers' responses in one run of a model that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core.errors import ModelError
from oip.mi.layer_sample import BYTE_BUDGET, At

if TYPE_CHECKING:
    from tensorflow import Tensor

    from oip.network.layers import LayerInfo, Place
    from oip.network.network import Network
    from oip.network.outputs import Head


@dataclass(frozen=True)
class RecordedOutput:
    """An output of the model that is recorded: the maps of a layer, or a layer of units."""

    index: int
    name: str
    maps: int
    """Maps, or units of a layer without spatial axes."""
    size: tuple[int, ...]
    """Nodes along each spatial axis."""
    location: Place = field(repr=False)
    channels_first: bool
    whole: bool
    """Recorded as a whole only."""

    @classmethod
    def of_layer(cls, layer: LayerInfo, at: At) -> RecordedOutput:
        """Return a layer with maps; at its block if requested and if a pooling layer follows."""
        location, size = layer.response, layer.size
        if at == "block" and layer.block is not None and layer.block_size is not None:
            location, size = layer.block, layer.block_size
        return cls(layer.index, layer.name, layer.maps, size, location, layer.channels_first, False)

    @classmethod
    def of_units(cls, head: Head, index: int) -> RecordedOutput:
        """Return a layer without spatial axes, such as a dense one."""
        return cls(index, head.name, head.units, (), head.place, False, True)


class OutputBlock(NamedTuple):
    """Responses of some maps of one output."""

    output: int
    """Index of the output."""
    maps: np.ndarray
    """(m,) int: map numbers."""
    values: np.ndarray
    """(n, m, d) float32."""


class LayerReader:
    """Reads the maps of some layers. The graph is made once and uses the weights as they are.

    Args:
        network: the model.
        outputs: whose maps are read.
        images: (n, h, w, bands), in the model's input units.
        byte_budget: for the responses that are in memory at a time.
    """

    def __init__(
        self,
        network: Network,
        outputs: Sequence[RecordedOutput],
        images: np.ndarray,
        byte_budget: int = BYTE_BUDGET,
    ):
        self._network = network
        self._outputs = list(outputs)
        self._images = images
        self._groups = _groups(outputs, len(images), byte_budget)
        self._classes = _class_location(network)
        self._graph = self._compiled()

    def blocks(self) -> Iterator[OutputBlock]:
        """Yield the responses of all maps, as many at a time as the budget allows."""
        for group in self._groups:
            responses = self._run(group)
            for index, maps in group.items():
                yield OutputBlock(index, maps, responses[index])

    def predicted(self) -> np.ndarray | None:
        """Return (n,) int: the predicted classes; None of a model that does not end in classes."""
        return None if self._classes is None else self._run({})[-1].argmax(axis=1)

    def _run(self, group: dict[int, np.ndarray]) -> list[np.ndarray]:
        """Return (n, m, d) of some maps (m,) of each output, and (n, classes) if there are classes.

        Args:
            group: index of an output -> map numbers; of the others no maps are read.
        """
        import tensorflow as tf

        from oip.network.forward import run_in_batches

        nothing = np.zeros(0, np.int32)
        numbers = [
            tf.constant(group.get(index, nothing), tf.int32) for index in range(len(self._outputs))
        ]
        size = self._network.activation_bytes()
        responses: list[np.ndarray] = []
        for rows, parts in run_in_batches(self._graph, self._images, size, *numbers):
            if not responses:
                shapes = [(len(self._images), *part.shape[1:]) for part in parts]
                responses = [np.empty(shape, np.float32) for shape in shapes]
            for whole, part in zip(responses, parts, strict=True):
                whole[rows] = part
        return responses

    def _compiled(self) -> Callable[..., list[Tensor]]:
        import tensorflow as tf

        from oip.network.forward import compiled_for_images, run_to_all

        network = self._network
        locations = [(output.location, output.channels_first) for output in self._outputs]
        if self._classes is not None:
            locations.append((self._classes, False))

        def responses(images: Tensor, *numbers: Tensor) -> list[Tensor]:
            reached = run_to_all(network.model, network.feed(images), locations)
            tensors = []
            for maps, (_, after) in zip(numbers, reached, strict=False):
                selected = tf.gather(after, maps, axis=-1)
                nodes = int(np.prod(after.shape[1:-1]))
                flat = tf.reshape(selected, [tf.shape(selected)[0], nodes, tf.shape(maps)[0]])
                tensors.append(tf.transpose(flat, [0, 2, 1]))  # (n, m, d)
            return tensors if self._classes is None else [*tensors, reached[-1][1]]

        numbers = [tf.TensorSpec((None,), tf.int32)] * len(self._outputs)
        return compiled_for_images(network, responses, *numbers)


def _groups(
    outputs: Sequence[RecordedOutput], images: int, byte_budget: int
) -> list[dict[int, np.ndarray]]:
    """Return the maps that are read in one run, by the index of their output."""
    groups: list[dict[int, np.ndarray]] = [{}]
    room = byte_budget
    for index, output in enumerate(outputs):
        size = 4 * images * int(np.prod(output.size))
        start = 0
        while start < output.maps:
            if room < size and groups[-1]:
                groups.append({})
                room = byte_budget
            count = max(1, min(output.maps - start, room // size))
            groups[-1][index] = np.arange(start, start + count)
            start += count
            room -= count * size
    return groups


def _class_location(network: Network) -> Place | None:
    """Return where the model gives its classes, None if it does not end in some."""
    from oip.network.outputs import classes

    try:
        head = classes(network)
    except ModelError:
        return None
    return head.place if head.units > 1 else None
