"""A reader of several layers' responses in one run of a model that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core.errors import ModelError
from oip.mi.layer_sample import BYTE_BUDGET

if TYPE_CHECKING:
    from tensorflow import Tensor

    from oip.network.layers import LayerInfo, LayerOutput
    from oip.network.network import Network


class LayerBlock(NamedTuple):
    """Responses of some maps of one layer."""

    layer: int
    """Index among the layers that are read."""
    maps: np.ndarray
    """(m,) int: map numbers."""
    values: np.ndarray
    """(n, m, d) float32."""


class LayerReader:
    """Reads the maps of some layers. The graph is made once and uses the weights as they are.

    Images (n, h, w, bands) are in the model's input units; `byte_budget` is for the responses that
    are in memory at a time.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[LayerInfo],
        images: np.ndarray,
        byte_budget: int = BYTE_BUDGET,
    ):
        self._network = network
        self._layers = list(layers)
        self._images = images
        self._groups = _groups(layers, len(images), byte_budget)
        self._classes = _class_output(network)
        self._graph = self._compiled()

    def blocks(self) -> Iterator[LayerBlock]:
        """Yield the responses of all maps, as many at a time as the budget allows."""
        for group in self._groups:
            responses = self._run(group)
            for index, maps in group.items():
                yield LayerBlock(index, maps, responses[index])

    def predicted(self) -> np.ndarray | None:
        """Return (n,) int: the predicted classes; None of a model that does not end in classes."""
        if self._classes is None:
            return None
        logits = self._run({})[-1]
        return logits.argmax(axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)

    def _run(self, group: dict[int, np.ndarray]) -> list[np.ndarray]:
        """Return (n, m, d) of maps (m,) of each layer, and logits (n, classes) if there are any.

        Args:
            group: index of a layer -> map numbers; of the others no maps are read.
        """
        import tensorflow as tf

        from oip.network.forward import run_in_batches

        empty = np.zeros(0, np.int32)
        numbers = [
            tf.constant(group.get(index, empty), tf.int32) for index in range(len(self._layers))
        ]
        size = self._network.activation_bytes()
        responses: list[np.ndarray] = []
        for rows, batch in run_in_batches(self._graph, self._images, size, *numbers):
            if not responses:
                shapes = [(len(self._images), *values.shape[1:]) for values in batch]
                responses = [np.empty(shape, np.float32) for shape in shapes]
            for layer_responses, values in zip(responses, batch, strict=True):
                layer_responses[rows] = values
        return responses

    def _compiled(self) -> Callable[..., list[Tensor]]:
        import tensorflow as tf

        from oip.network.forward import compiled_for_images, run_to_all

        network = self._network
        outputs = [layer.response for layer in self._layers]
        if self._classes is not None:
            outputs.append(self._classes)

        def responses(images: Tensor, *numbers: Tensor) -> list[Tensor]:
            reached = run_to_all(network.model, network.feed(images), outputs)
            tensors = []
            for maps, (_, response) in zip(numbers, reached, strict=False):
                selected = tf.gather(response, maps, axis=-1)
                nodes = int(np.prod([int(side or 0) for side in response.shape[1:-1]]))
                flat = tf.reshape(selected, [tf.shape(selected)[0], nodes, tf.shape(maps)[0]])
                tensors.append(tf.transpose(flat, [0, 2, 1]))  # (n, m, d)
            return tensors if self._classes is None else [*tensors, reached[-1][0]]

        numbers = [tf.TensorSpec((None,), tf.int32)] * len(self._layers)
        return compiled_for_images(network, responses, *numbers)


def _groups(
    layers: Sequence[LayerInfo], images: int, byte_budget: int
) -> list[dict[int, np.ndarray]]:
    """Return the maps that are read in one run, by the index of their layer."""
    groups: list[dict[int, np.ndarray]] = [{}]
    room = byte_budget
    for index, layer in enumerate(layers):
        size = 4 * images * int(np.prod(layer.size))
        start = 0
        while start < layer.maps:
            if room < size and groups[-1]:
                groups.append({})
                room = byte_budget
            count = max(1, min(layer.maps - start, room // size))
            groups[-1][index] = np.arange(start, start + count)
            start += count
            room -= count * size
    return groups


def _class_output(network: Network) -> LayerOutput | None:
    """Return the output that gives the classes, None of a model that does not end in some."""
    try:
        return network.class_layer().response
    except ModelError:
        return None
