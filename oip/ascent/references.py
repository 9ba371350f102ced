"""Features of reference images, which the features of growing images are drawn to.

Three terms beside the response, all gradients by tensors inside the network. `align`: in some
layers, the values of each map over the nodes are drawn to those of the images that excite the item
most, sorted, so that where something is does not count. `context`: the last features of the network
are drawn to those of these images. `fidelity`: the features of one early layer, node by node, are
drawn to those of the image that the ascent begins with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from oip.ascent.targets import MapTargets, Stage, Targets
from oip.core.errors import ModelError
from oip.core.frameworks import Tensor, keras, tf
from oip.network.forward import channels_last, features, image_spec
from oip.network.graphs import Graph
from oip.network.layers import LayerInfo, LayerOutput
from oip.network.network import Network
from oip.network.tracing import shadowed

_MOST_NODES = 1024
"""Of layers that are aligned: values of finer ones take long to sort."""
_SAMPLE = 256
"""Images of the data whose last features are described."""
_FINE = 4
"""Pixels from node to node of the layer that fidelity is measured in, at least."""
_TINY = 1e-6


Array = TypeVar("Array")


class AlignedLayer(NamedTuple, Generic[Array]):
    """Features of one layer that n images are aligned with; arrays, or tensors in a graph."""

    values: Array
    """(n, maps, nodes): of each map, largest first, means over the reference images."""
    weights: Array
    """(n, maps): how much the map counts, over the spread of the layer's values."""

    def slope(self: AlignedLayer[Tensor], features: Tensor) -> Tensor:
        """Return the gradient of minus the distance, in the shape of features (n, *nodes, maps).

        The distance is the mean square between sorted values, weighted over the maps.

        References:
            Görgün, Schiele, Fischer, "VITAL: More Understandable Feature Visualization through
            Distribution Alignment and Relevant Information Flow", ICCV 2025.
        """
        maps = int(features.shape[-1] or 0)
        nodes = int(np.prod([int(side or 0) for side in features.shape[1:-1]]))
        planes = tf.transpose(tf.reshape(features, [-1, nodes, maps]), [0, 2, 1])
        rows = tf.reshape(planes, [-1, nodes])  # (n maps, nodes)
        values, order = tf.math.top_k(rows, nodes)  # (n maps, nodes), as difference and positions
        difference = tf.reshape(self.values, [-1, nodes]) - values
        difference *= 2.0 / nodes * tf.reshape(self.weights, [-1, 1])
        count = tf.shape(rows)[0]
        positions = order + nodes * tf.range(count)[:, None]
        flat = tf.scatter_nd(
            tf.reshape(positions, [-1, 1]), tf.reshape(difference, [-1]), [count * nodes]
        )
        slopes = tf.transpose(tf.reshape(flat, [-1, maps, nodes]), [0, 2, 1])  # (n, nodes, maps)
        return tf.reshape(slopes, tf.shape(features))


class Context(NamedTuple, Generic[Array]):
    """The direction that the last features of n images are drawn to; arrays, or tensors."""

    directions: Array
    """(n, d), of length 1, in deviations from the mean."""
    mean: Array
    """(d,): of the features of the data."""
    spread: Array
    """(d,): their deviation."""

    @staticmethod
    def specs(count: int) -> Context[tf.TensorSpec]:
        """Return the shapes of a context of `count` features, for any number of images."""
        vector = tf.TensorSpec((count,))
        return Context(tf.TensorSpec((None, count)), vector, vector)

    @staticmethod
    def none(images: int) -> Context[np.ndarray]:
        """Return a stand-in of one feature for images without a context."""
        vector = np.ones(1, np.float32)
        return Context(np.ones((images, 1), np.float32), vector, vector)

    def slope(self: Context[Tensor], features: Tensor) -> Tensor:
        """Return the gradient of the cosine between spatial means and the directions.

        Args:
            features: (n, *nodes, d).
        """
        nodes = list(range(1, len(features.shape) - 1))
        count = tf.cast(tf.reduce_prod(tf.shape(features)[1:-1]), tf.float32)
        off = (tf.reduce_mean(tf.cast(features, tf.float32), nodes) - self.mean) / self.spread
        length = tf.maximum(tf.norm(off, axis=-1, keepdims=True), _TINY)  # (n, 1), as cosine
        unit = off / length
        cosine = tf.reduce_sum(unit * self.directions, -1, keepdims=True)
        slope = (self.directions - cosine * unit) / length / self.spread / count  # (n, d)
        shape = [-1, *[1] * len(nodes), int(features.shape[-1] or 0)]
        return tf.broadcast_to(tf.reshape(slope, shape), tf.shape(features))


def last_features(network: Network) -> tuple[LayerOutput, bool]:
    """Return the layer whose features `context` compares, and whether its output is meant.

    It is what the last layer with a kernel receives; of a network without classes, its last layer.
    """
    try:
        return network.last_with_kernel(), False
    except ModelError:
        return network.layers[-1].response, True


def nearness_slope(features: Tensor, origin: Tensor) -> Tensor:
    """Return the gradient of minus the mean distance of features from those of an image.

    The distance is the length of the difference over the maps, at each node, in shares of the mean
    length of the image's own features.

    Args:
        features: (n, *nodes, maps).
        origin: of the same shape.

    References:
        Hamblin et al., "Feature Accentuation: Revealing 'What' Features Respond to in Natural
        Images", 2024.
    """
    nodes = list(range(1, len(features.shape) - 1))
    difference = origin - features
    length = tf.norm(difference, axis=-1, keepdims=True)  # (n, *nodes, 1)
    mean_length = tf.reduce_mean(tf.norm(origin, axis=-1, keepdims=True), nodes, keepdims=True)
    count = float(np.prod([int(side or 0) for side in features.shape[1:-1]]))
    return difference / tf.maximum(length, _TINY) / tf.maximum(mean_length, _TINY) / count


@contextmanager
def captured(outputs: Sequence[LayerOutput]) -> Iterator[dict[int, Tensor]]:
    """Keep what layers return within the block: number of the output -> tensor, channels last."""
    tensors: dict[int, Tensor] = {}
    counts: dict[int, int] = {}

    def watch(layer: keras.Layer, call: Callable) -> Callable:
        numbers = {
            output.use: index for index, output in enumerate(outputs) if output.layer is layer
        }

        def watched(*args: object, **kwargs: object) -> object:
            result = call(*args, **kwargs)
            use = counts.get(id(layer), 0)
            counts[id(layer)] = use + 1
            if use in numbers:
                tensors[numbers[use]] = result
            return result

        return watched

    with shadowed(list({id(output.layer): output.layer for output in outputs}.values()), watch):
        yield tensors


class References:
    """The layers that are aligned for some targets, and what with, for each item.

    Args:
        data: images (n, h, w, b) in input units.
        best: (items, r) int: rows of the images that excite each item most, best first.
        terms: `align` and `context`, or one of them.
        byte_budget: of the features that are kept; the items used least recently leave first.
    """

    def __init__(
        self,
        network: Network,
        targets: Targets,
        data: np.ndarray,
        best: np.ndarray,
        terms: Sequence[str],
        byte_budget: int = 256 << 20,
    ):
        self._network, self._targets = network, targets
        self._data, self._best = data, best
        self._activations: OrderedDict[int, tuple[list[AlignedLayer[np.ndarray]], float]] = (
            OrderedDict()
        )
        self._byte_budget = byte_budget
        self._directions: dict[int, np.ndarray] = {}
        aligned = "align" in terms
        self.layers = _aligned_layers(reached_layers(network, targets)) if aligned else []
        self.last = last_features(network) if "context" in terms else None

    @cached_property
    def outputs(self) -> list[LayerOutput]:
        """Of the aligned layers."""
        return [layer.response for layer in self.layers]

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for the same layers."""
        return tuple(output.key for output in self.outputs)

    @property
    def specs(self) -> tuple[AlignedLayer[tf.TensorSpec], ...]:
        """Of `arrays`, for any number of images."""
        sizes = [(layer.maps, int(np.prod(layer.size))) for layer in self.layers]
        return tuple(
            AlignedLayer(tf.TensorSpec((None, *size)), tf.TensorSpec((None, size[0])))
            for size in sizes
        )

    @property
    def bytes_per_image(self) -> int:
        """Memory of what one image is aligned with."""
        return 4 * sum(layer.maps * int(np.prod(layer.size)) for layer in self.layers)

    @cached_property
    def _usual_features(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation, (d,) each, of the last features of the data."""
        rows = np.linspace(0, len(self._data) - 1, min(len(self._data), _SAMPLE), dtype=int)
        values = self._last_features(rows)
        spread = values.std(0)
        return values.mean(0), np.maximum(spread, 0.1 * spread.mean() + _TINY)

    def _last_features(self, rows: np.ndarray) -> np.ndarray:
        """Return (n, d) last features of images of the data."""
        output, enter = self.last or last_features(self._network)
        images = np.asarray(self._data[rows], np.float32)
        return np.concatenate(
            [values for _, values in features(self._network, images, output, enter=enter)]
        )

    def context(self, items: np.ndarray) -> Context[np.ndarray]:
        """Return what the last features of images for items (n,) are drawn to."""
        if self.last is None:
            return Context.none(len(items))
        mean, spread = self._usual_features
        missing = [item for item in dict.fromkeys(items.tolist()) if item not in self._directions]
        if missing:
            off = (self._last_features(self._best[missing].ravel()) - mean) / spread
            off = _unit_vectors(off.reshape(len(missing), -1, len(mean))).mean(1)
            self._directions |= dict(zip(missing, _unit_vectors(off), strict=True))
        directions = np.stack([self._directions[item] for item in items.tolist()])
        return Context(directions.astype(np.float32), mean, spread.astype(np.float32))

    def context_specs(self) -> Context[tf.TensorSpec]:
        """Return what `context` gives, for any number of images."""
        return Context.specs(1 if self.last is None else len(self._usual_features[0]))

    def arrays(self, items: np.ndarray) -> tuple[tuple[AlignedLayer[np.ndarray], ...], np.ndarray]:
        """Return what images for items (n,) are aligned with, and (n,) their best responses."""
        by_item = [self._features_of_item(int(item)) for item in items]
        layers = tuple(
            AlignedLayer(
                np.stack([row.values for row in rows]), np.stack([row.weights for row in rows])
            )
            for rows in zip(*(layers_of_item for layers_of_item, _ in by_item), strict=True)
        )
        return layers, np.array([response for _, response in by_item], np.float32)

    def _features_of_item(self, item: int) -> tuple[list[AlignedLayer[np.ndarray]], float]:
        if item not in self._activations:
            images = np.asarray(self._data[self._best[item]], np.float32)
            items = np.full(len(images), item, np.int32)
            post, features = self._graph(tf.constant(images), tf.constant(items), *self._arrays)
            layers = []
            for values, relevance in features:
                values, relevance = values.numpy().mean(0), relevance.numpy().mean(0)
                total = relevance.sum()
                share = relevance / total if total > 0 else np.full(len(values), 1 / len(values))
                spread = max(float(values.var(axis=1).mean()), _TINY)
                weights = share / spread / len(features)
                layers.append(AlignedLayer(values, weights.astype(np.float32)))
            self._activations[item] = layers, max(abs(float(post.numpy().mean())), _TINY)
        self._activations.move_to_end(item)
        while (
            len(self._activations) * self.bytes_per_image > self._byte_budget
            and len(self._activations) > 1
        ):
            self._activations.popitem(last=False)
        return self._activations[item]

    @cached_property
    def _arrays(self) -> tuple[Tensor, ...]:
        return tuple(tf.constant(array) for array in self._targets.arrays)

    @cached_property
    def _graph(self) -> Graph:
        """The graph from images and items to the response (n,) and, for each layer, features.

        These are (n, maps, nodes), largest first, and the relevance (n, maps): the size of each
        map's part of the response, gradient times value summed over the nodes, a first-order form
        of the relevance that the source propagates.
        """
        network, targets, outputs = self._network, self._targets, self.outputs

        def run(
            images: Tensor, items: Tensor, *arrays: Tensor
        ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
            inputs = network.feed(images, for_gradient=True)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs)
                with captured(outputs) as tensors:
                    activations = targets.own_activations(inputs, items, Stage(False), arrays)
            watched = [tensors[index] for index in range(len(outputs))]
            slopes: Any = tape.gradient(
                activations.tensors, watched, activations.slopes, tf.UnconnectedGradients.ZERO
            )
            features = []
            for output, tensor, slope in zip(outputs, watched, slopes, strict=True):
                values, slope = channels_last(tensor, output), channels_last(slope, output)
                maps = values.shape[-1]
                influence = tf.reduce_sum(values * slope, list(range(1, len(values.shape) - 1)))
                planes = tf.transpose(
                    tf.reshape(values, [tf.shape(values)[0], -1, maps]), [0, 2, 1]
                )
                ordered = tf.sort(planes, direction="DESCENDING")
                features.append((ordered, tf.abs(influence)))
            return activations.post, features

        pairs = zip(targets.array_shapes, self._arrays, strict=True)
        return network.graphs.cached(
            ("references", targets.key, network.inputs.shape, network.spoiled, self.key),
            run,
            image_spec(network),
            tf.TensorSpec((None,), tf.int32),
            *(tf.TensorSpec(shape, array.dtype) for shape, array in pairs),
        )


def _unit_vectors(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)


def reached_layers(network: Network, targets: Targets) -> list[LayerInfo]:
    """Return the layers with nodes that run before the items of some targets are reached."""
    layers = [layer for layer in network.layers if layer.size]
    outputs = [layer.response for layer in layers]
    numbers: list[int] = []
    arrays = [tf.constant(array) for array in targets.arrays]

    def run(images: Tensor, items: Tensor) -> Tensor:
        with captured(outputs) as tensors:
            activations = targets.own_activations(network.feed(images), items, Stage(False), arrays)
        numbers.extend(sorted(tensors))
        return activations.post

    tf.function(run, autograph=False).get_concrete_function(
        image_spec(network), tf.TensorSpec((None,), tf.int32)
    )
    target_layers = {id(output.layer) for output in _own_outputs(targets)}
    return [layers[index] for index in numbers if id(outputs[index].layer) not in target_layers]


def _own_outputs(targets: Targets) -> list[LayerOutput]:
    return [targets.layer.response] if isinstance(targets, MapTargets) else []


def _aligned_layers(layers: list[LayerInfo]) -> list[LayerInfo]:
    """Return, of each number of nodes up to 1,024, the narrowest layer, the last of equal ones."""
    narrowest: dict[tuple[int, ...], LayerInfo] = {}
    for layer in layers:
        candidate = narrowest.get(layer.size)
        if candidate is None or layer.maps <= candidate.maps:
            narrowest[layer.size] = layer
    by_size = sorted(narrowest.values(), key=lambda layer: int(np.prod(layer.size)))
    coarse = [layer for layer in by_size if np.prod(layer.size) <= _MOST_NODES]
    return coarse or by_size[:1]


def fidelity_layer(layers: list[LayerInfo]) -> LayerInfo | None:
    """Return the narrowest layer whose nodes are a few pixels apart, the last of equal ones."""
    fine = [layer for layer in layers if layer.jump and min(layer.jump) >= _FINE] or layers[-1:]
    if not fine:
        return None
    smallest_jump = min(min(layer.jump or (0.0,)) for layer in fine)
    candidates = [layer for layer in fine if min(layer.jump or (0.0,)) == smallest_jump]
    return min(reversed(candidates), key=lambda layer: layer.maps)
