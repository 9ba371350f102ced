"""Responses of several layers in one run of a model that is being trained, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo, LayerOutput
    from oip.network.network import Network


class Reader:
    """Reads the maps of some layers. The graph is made once and sees the weights as they are.

    Args:
        network: the model.
        layers: whose maps are read.
        images: (n, h, w, b), in the model's input units.
        byte_budget: for the responses that are held at a time.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[LayerInfo],
        images: np.ndarray,
        byte_budget: int = 256 << 20,
    ):
        self._network = network
        self._layers = list(layers)
        self._images = images
        self._groups = _groups(layers, len(images), byte_budget)
        self._head = _class_output(network)
        self._graph = self._compiled()

    def blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Place of the layer in `layers`, map numbers (m,), responses (n, m, d) float32."""
        for group in self._groups:
            parts = self._run(group)
            for place, maps in group.items():
                yield place, maps, parts[place]

    def predicted(self) -> np.ndarray | None:
        """(n,) int: the class given to each image; None of a model that does not end in classes."""
        return None if self._head is None else self._run({})[-1].argmax(axis=1)

    def _run(self, group: dict[int, np.ndarray]) -> list[np.ndarray]:
        import tensorflow as tf

        from oip.network.forward import run_in_batches

        nothing = np.zeros(0, np.int32)
        chosen = [
            tf.constant(group.get(place, nothing), tf.int32) for place in range(len(self._layers))
        ]
        size = self._network.activation_bytes()
        responses: list[np.ndarray] = []
        for rows, parts in run_in_batches(self._graph, self._images, size, *chosen):
            if not responses:
                shapes = [(len(self._images), *part.shape[1:]) for part in parts]
                responses = [np.empty(shape, np.float32) for shape in shapes]
            for whole, part in zip(responses, parts, strict=True):
                whole[rows] = part
        return responses

    def _compiled(self) -> Any:
        import tensorflow as tf

        from oip.network.forward import compiled_for_images, run_to_all

        network = self._network
        outputs = [layer.response for layer in self._layers]
        if self._head is not None:
            outputs.append(self._head)

        def responses(part: Any, *chosen: Any) -> list[Any]:
            reached = run_to_all(network.model, network.feed(part), outputs)
            found = []
            for maps, (_, after) in zip(chosen, reached, strict=False):
                some = tf.gather(after, maps, axis=-1)
                nodes = int(np.prod(after.shape[1:-1]))
                flat = tf.reshape(some, [tf.shape(some)[0], nodes, tf.shape(maps)[0]])
                found.append(tf.transpose(flat, [0, 2, 1]))
            return found if self._head is None else [*found, reached[-1][1]]

        chosen_maps = [tf.TensorSpec((None,), tf.int32)] * len(self._layers)
        return compiled_for_images(network, responses, *chosen_maps)


def _groups(
    layers: Sequence[LayerInfo], images: int, byte_budget: int
) -> list[dict[int, np.ndarray]]:
    """Maps that are read in one run: place of the layer -> map numbers, within the budget."""
    groups: list[dict[int, np.ndarray]] = [{}]
    room = byte_budget
    for place, layer in enumerate(layers):
        each = 4 * images * int(np.prod(layer.size))
        start = 0
        while start < layer.maps:
            if room < each and groups[-1]:
                groups.append({})
                room = byte_budget
            count = max(1, min(layer.maps - start, room // each))
            groups[-1][place] = np.arange(start, start + count)
            start += count
            room -= count * each
    return groups


def _class_output(network: Network) -> LayerOutput | None:
    from oip.core.errors import ModelError

    try:
        head = network.class_layer()
    except ModelError:
        return None
    return head.response if head.maps > 1 else None
