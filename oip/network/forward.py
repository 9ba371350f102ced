"""Forward passes: up to one layer or several, in the graph being traced, in batches of images.

Models with NaN or infinity among their weights need care, so that it reaches what it reaches. Some
processors compute convolution and ReLU as one operation in which NaN becomes zero, and a broken map
then looks dead. Max pooling on them ignores NaN, and gives the lowest finite number where there is
nothing else. In the graphs of such models NaN is passed on around both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from oip.core.frameworks import Tensor, keras, tf
from oip.core.progress import Progress, silent
from oip.network.fast_layers import (
    fast_convolution,
    fast_pooling,
    fast_standardization,
    has_fast_convolution,
    has_fast_pooling,
    has_fast_standardization,
    has_own_convolution,
    is_float8,
    normalization_folded,
    own_convolution,
    straight_through,
)
from oip.network.graphs import Graph, compiled
from oip.network.layer_types import is_activation, is_max_pooling
from oip.network.layers import At, LayerInfo, LayerOutput
from oip.network.network import Network
from oip.network.tracing import Reached, call_model, leaf_layers, shadowed, without_noise

TensorFunction = Callable[..., Tensor]
_TINY = 1e-12
"""Squared length from which a vector has a gradient."""


class LayerActivations(NamedTuple):
    """A layer before and after its activation, (n, *nodes, maps) float32 each."""

    pre_activation: Tensor
    response: Tensor


@contextmanager
def nan_kept(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Let activations and max pooling of these layers give NaN for NaN within the block."""
    activations: list[tuple[keras.Layer, Any]]
    activations = [(layer, vars(layer).get("activation")) for layer in layers]
    fused: list[tuple[keras.Layer, Any]]
    fused = [(layer, activation) for layer, activation in activations if callable(activation)]
    pools = [layer for layer in layers if is_max_pooling(layer)]
    plain = [layer for layer in layers if is_activation(layer)]
    with (
        shadowed(pools, lambda _, call: _pooling_with_nan(call)),
        shadowed(plain, lambda _, call: _activation_with_nan(call)),
    ):
        try:
            for layer, activation in fused:
                layer.__dict__["activation"] = _activation_with_nan(activation)
            yield
        finally:
            for layer, activation in fused:
                layer.__dict__["activation"] = activation


def _pooling_with_nan(call: TensorFunction) -> TensorFunction:
    """Return a pooling that gives NaN for a window with NaN.

    It is minus infinity where the window holds nothing else.
    """

    def pooled(values: Tensor, *args: object, **kwargs: object) -> Tensor:
        result = call(values, *args, **kwargs)
        if not values.dtype.is_floating:
            return result
        broken = call(tf.cast(tf.math.is_nan(values), values.dtype), *args, **kwargs) > 0
        infinite = tf.constant(-np.inf, values.dtype)
        result = tf.where(result > values.dtype.min, result, infinite)
        return tf.where(broken, tf.constant(np.nan, values.dtype), result)

    return pooled


def _activation_with_nan(activation: TensorFunction) -> TensorFunction:
    def activated(values: Tensor, *args: object, **kwargs: object) -> Tensor:
        return tf.where(tf.math.is_nan(values), values, activation(values, *args, **kwargs))

    return activated


def run_to(
    model: keras.Model,
    inputs: Sequence[Tensor],
    output: LayerOutput,
    instead: Sequence[tuple[tf.Variable, Tensor | np.ndarray]] = (),
    for_gradient: bool = False,
    spoiled: bool = False,
) -> LayerActivations:
    """Run a model up to a layer, while a `tf.function` is traced; see `run_to_all`."""
    return run_to_all(model, inputs, [output], instead, for_gradient, spoiled)[0]


def run_to_all(
    model: keras.Model,
    inputs: Sequence[Tensor],
    outputs: Sequence[LayerOutput],
    instead: Sequence[tuple[tf.Variable, Tensor | np.ndarray]] = (),
    for_gradient: bool = False,
    spoiled: bool = False,
    enter: bool = True,
) -> list[LayerActivations]:
    """Run a model up to the last of several layers, while a `tf.function` is traced or at once.

    What comes after that layer is never part of the graph. The model's layers are left as they
    were.

    Args:
        inputs: one tensor for each of the model's inputs.
        instead: (variable, tensor): the run reads the tensor in place of the variable. What the
            run itself assigns to variables is seen by it, but not kept.
        for_gradient: the gradient with respect to the inputs will be computed, many times.
        spoiled: weights hold NaN or infinity, which must not be lost on the way.
        enter: the last layer is run; else twice what it receives stands for its output.

    Returns:
        Pre-activation and response of each layer, the channels last whatever the model's layout.
    """
    reached: dict[int, LayerActivations] = {}
    counts: dict[int, int] = {}

    def stop(layer: keras.Layer, call: TensorFunction) -> TensorFunction:
        own_indices = [index for index, output in enumerate(outputs) if output.layer is layer]

        def counted(*args: object, **kwargs: object) -> Tensor:
            use = counts.get(id(layer), 0)
            counts[id(layer)] = use + 1
            call_indices = [index for index in own_indices if outputs[index].use == use]
            if not call_indices:
                return call(*args, **kwargs)
            received: Any = args[0] if args else next(iter(kwargs.values()), None)
            last = len(reached) + len(call_indices) == len(outputs)
            if last and not enter:
                activation_input = activation_output = received
            else:
                activation_input, activation_output = _activation_tensors(layer, call, args, kwargs)
            for index in call_indices:
                reached[index] = _activations(
                    outputs[index], received, activation_input, activation_output
                )
            if last:
                raise Reached
            return activation_output

        return counted

    output_layers = list({id(output.layer): output.layer for output in outputs}.values())
    inner = [
        layer for _, layer in leaf_layers(model) if not any(layer is end for end in output_layers)
    ]
    with (
        keras.StatelessScope(state_mapping=list(instead)),
        _changed_layers(inner, output_layers, for_gradient, spoiled, bool(instead)),
        without_noise(model),
        shadowed(output_layers, stop),
    ):
        try:
            call_model(model, inputs)
        except Reached:
            return [_channels_last(reached[index], output) for index, output in enumerate(outputs)]
    missed = [output for index, output in enumerate(outputs) if index not in reached]
    raise RuntimeError(f"the model ran without calling {missed!r}")


@contextmanager
def _changed_layers(
    inner: Sequence[keras.Layer],
    output_layers: Sequence[keras.Layer],
    for_gradient: bool,
    spoiled: bool,
    has_other_weights: bool,
) -> Iterator[None]:
    """Change layers within the block, so that gradients are fast and NaN is not lost.

    Args:
        inner: the model's layers without `output_layers`.
        output_layers: the layers whose outputs are wanted.
        for_gradient, spoiled: as for `run_to_all`.
        has_other_weights: tensors stand in place of some variables, such as finite weights.
    """
    with ExitStack() as stack:
        if for_gradient:
            pools = [layer for layer in inner if has_fast_pooling(layer)]
            narrow = [layer for layer in inner if has_fast_convolution(layer)]
            banded = [layer for layer in inner if has_fast_standardization(layer)]
            float8 = [layer for layer in [*inner, *output_layers] if is_float8(layer)]
            stack.enter_context(shadowed(pools, fast_pooling))
            stack.enter_context(shadowed(banded, fast_standardization))
            stack.enter_context(shadowed(narrow, fast_convolution, "convolution_op"))
            stack.enter_context(shadowed(float8, straight_through))
            if not spoiled and not tf.executing_eagerly():
                stack.enter_context(normalization_folded(inner))
        if spoiled and not has_other_weights:
            stack.enter_context(nan_kept([*inner, *output_layers]))
        yield


def has_own_maps(network: Network, output: LayerOutput) -> bool:
    """Return whether one map of a layer can be run for each image, see `own_convolution`."""
    return (
        has_own_convolution(output.layer)
        and not network.spoiled
        and output.then is None
        and output.projection is None
        and output.pre_activation in ("fused", "same")
        and not output.channels_first
    )


def run_to_own(
    network: Network, inputs: list[Tensor], output: LayerOutput, maps: Tensor
) -> LayerActivations:
    """Run a model up to one map of a layer for each image, while a graph is traced or at once.

    Args:
        inputs: one tensor for each of the model's inputs.
        output: of a layer that `has_own_maps`.
        maps: (n,) int32: the map of each image.

    Returns:
        Pre-activation and response (n, rows, columns, 1).
    """
    source = LayerOutput(output.layer, output.use, "input")
    received = run_to_all(network.model, inputs, [source], for_gradient=True, enter=False)[0]
    pre_activation = own_convolution(output.layer, received.pre_activation, maps)
    response = output.layer.activation(pre_activation)
    return LayerActivations(
        response if output.pre_activation == "same" else pre_activation, response
    )


def _activations(
    output: LayerOutput, received: Tensor, activation_input: Tensor, activation_output: Tensor
) -> LayerActivations:
    """Return pre-activation and response of a layer that received and gave these tensors."""
    pre_activation = {"input": received, "fused": activation_input, "same": activation_output}[
        output.pre_activation
    ]
    pre_activation = _lengths(pre_activation) if output.form == "heads" else pre_activation
    response = pre_activation
    if output.form == "activated":
        response = (
            _first(activation_output) if output.then is None else output.then(activation_output)
        )
    return LayerActivations(_first(pre_activation), response)


def _lengths(vectors: Tensor) -> Tensor:
    """Return the lengths (..., heads) of vectors (..., heads, d); zero has no gradient."""
    squares = tf.reduce_sum(tf.square(tf.cast(vectors, tf.float32)), axis=-1)
    return tf.sqrt(tf.maximum(squares, _TINY)) - _TINY**0.5


def _first(output: Any) -> Tensor:
    """Return the first tensor of a layer's output."""
    return output if tf.is_tensor(output) else tf.nest.flatten(output)[0]


def channels_last(tensor: Tensor, output: LayerOutput) -> Tensor:
    """Return a layer's tensor as float32 (n, *nodes, maps)."""
    tensor = tf.cast(tensor, tf.float32)
    if output.channels_first:
        tensor = tf.transpose(tensor, [0, *range(2, len(tensor.shape)), 1])
    if output.grid:
        tensor = tf.reshape(tensor, [-1, *output.grid, tensor.shape[-1]])
    return tensor


def _channels_last(activations: LayerActivations, output: LayerOutput) -> LayerActivations:
    """Give both tensors as float32 with the channels last; one tensor stays one tensor."""
    pre_activation, response = activations
    if pre_activation is response:
        tensor = _projected(response, output)
        return LayerActivations(tensor, tensor)
    return LayerActivations(_projected(pre_activation, output), _projected(response, output))


def _projected(tensor: Tensor, output: LayerOutput) -> Tensor:
    """Return a layer's tensor with channels last, or along its directions where it has some."""
    tensor = channels_last(tensor, output)
    return tensor if output.projection is None else output.projection(tensor)


def _activation_tensors(
    layer: keras.Layer, call: TensorFunction, args: tuple, kwargs: dict[str, object]
) -> LayerActivations:
    """Return input and output of a layer's own activation; twice the output where it has none."""
    activation: TensorFunction | None = vars(layer).get("activation")
    if not callable(activation):
        activation_output = call(*args, **kwargs)
        return LayerActivations(activation_output, activation_output)
    received: list[Tensor] = []

    def recorded(value: Tensor) -> Tensor:
        received.append(value)
        return activation(value)

    layer.__dict__["activation"] = recorded
    try:
        activation_output = call(*args, **kwargs)
    finally:
        layer.__dict__["activation"] = activation
    return LayerActivations(received[-1] if received else activation_output, activation_output)


def batch_size(bytes_per_image: int, byte_budget: int = 128 << 20, max_images: int = 512) -> int:
    """Return how many images to run at once: 1 to `max_images`, as many as fit the byte budget."""
    return int(np.clip(byte_budget // bytes_per_image, 1, max_images))


def batch_rows(
    count: int, bytes_per_image: int, byte_budget: int = 128 << 20, max_images: int = 512
) -> Iterator[slice]:
    """Cut `count` rows into slices of `batch_size` rows each; the last one may be shorter."""
    size = batch_size(bytes_per_image, byte_budget, max_images)
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))


def image_batches(
    images: np.ndarray, bytes_per_image: int, byte_budget: int = 128 << 20, max_images: int = 512
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the rows of each batch in images (n, h, w, b), and the batch itself in float32.

    Batches are those of `batch_rows`; a run takes `bytes_per_image`, see
    `Network.activation_bytes`.
    """
    for rows in batch_rows(len(images), bytes_per_image, byte_budget, max_images):
        yield rows, np.asarray(images[rows], np.float32)


def run_in_batches(
    graph: Graph,
    images: np.ndarray,
    bytes_per_image: int,
    *arguments: Tensor | np.ndarray,
    along: Sequence[np.ndarray] = (),
    byte_budget: int = 128 << 20,
    max_images: int = 512,
) -> Iterator[tuple[slice, Any]]:
    """Run a graph on images, a batch at a time.

    Args:
        graph: `graph(batch, *arrays, *arguments)` of tensors, see `compiled_for_images`.
        images: (n, h, w, b) in the model's input units.
        bytes_per_image, byte_budget, max_images: as for `batch_rows`.
        arguments: tensors that are the same for all batches.
        along: arrays of n rows, such as labels; the rows of a batch go with its images.

    Yields:
        The rows of a batch in `images`, and the graph's output: an array for every tensor.
    """
    for rows, batch in image_batches(images, bytes_per_image, byte_budget, max_images):
        arrays = (tf.constant(array[rows]) for array in along)
        outputs = graph(tf.constant(batch), *arrays, *arguments)
        yield rows, tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)


def compiled_for_images(network: Network, function: Callable, *signature: tf.TensorSpec) -> Graph:
    """Compile a function of the model's images (n, h, w, b) float32 and further arguments."""
    return compiled(function, image_spec(network), *signature)


def map_blocks(
    network: Network,
    images: np.ndarray,
    layer: LayerInfo,
    maps: np.ndarray | None = None,
    at: At = "response",
    byte_budget: int = 256 << 20,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compute the responses of some maps at a time to all images.

    The model runs once for every block of maps.

    Args:
        images: (n, h, w, b) in the model's input units.
        at: `response` (after the activation) or `block` (after the pooling that follows).

    Yields:
        Map numbers (m,) and responses (n, m, d) float32; d is the number of nodes.

    Raises:
        SettingsError: `block` for a layer that no pooling follows.
    """
    layer = layer.at(at)
    numbers = np.arange(layer.maps) if maps is None else np.asarray(maps)
    nodes = int(np.prod(layer.size))
    room = max(1, byte_budget // (4 * nodes * max(1, len(images))))
    graph = selected_maps(network, layer.response)
    for start in range(0, len(numbers), room):
        block = numbers[start : start + room]
        values = np.empty((len(images), len(block), nodes), np.float32)
        indices = tf.constant(block, tf.int32)
        size = network.activation_bytes(layer)
        for rows, responses in run_in_batches(graph, images, size, indices):
            values[rows] = responses
        yield block, values


def means_of_layers(
    network: Network,
    images: np.ndarray,
    layers: Sequence[LayerInfo],
    progress: Progress = silent,
    label: str = "responses",
) -> list[np.ndarray]:
    """Compute the spatial means of the responses of several layers, in one pass over the images.

    Args:
        images: (n, h, w, b) in the model's input units.
        progress, label: `progress` is called with the label and the number of images done.

    Returns:
        (n, maps) float32 of each layer.
    """
    graph = layer_graph(network, *(layer.response for layer in layers))
    last = max(layers, key=lambda layer: layer.last_call)
    values = [np.empty((len(images), layer.maps), np.float32) for layer in layers]

    def means(images: Tensor) -> list[Tensor]:
        return [_node_mean(activations.response) for activations in graph(images)]

    progress(label, 0, len(images))
    for rows, means_of_layers in run_in_batches(means, images, network.activation_bytes(last)):
        for layer_means, batch_means in zip(values, means_of_layers, strict=True):
            layer_means[rows] = batch_means
        progress(label, rows.stop, len(images))
    return values


def grid_responses(
    network: Network,
    images: np.ndarray,
    layers: Sequence[LayerInfo],
    grids: Sequence[tuple[int, ...]],
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Compute the responses of several layers on coarser grids, in one pass over the images.

    A cell has the mean of the nodes that it covers, those at its border by their share.

    Args:
        images: (n, h, w, b) in the model's input units.
        grids: cells along each spatial axis, for each layer; `()` for the mean over all nodes.

    Yields:
        The rows of a batch in `images`, and (batch, cells, maps) float32 of each layer.
    """
    graph = layer_graph(network, *(layer.response for layer in layers))
    last = max(layers, key=lambda layer: layer.last_call)

    def cells(images: Tensor) -> list[Tensor]:
        return [
            _cell_means(activations.response, layer, grid)
            for activations, layer, grid in zip(graph(images), layers, grids, strict=True)
        ]

    yield from run_in_batches(cells, images, network.activation_bytes(last))


def _cell_means(response: Tensor, layer: LayerInfo, grid: tuple[int, ...]) -> Tensor:
    """Return (n, cells, maps) of (n, *nodes, maps)."""
    rank = len(layer.size)
    pairs = zip(layer.size, grid or (1,) * rank, strict=True)
    for axis, (side, cells) in enumerate(pairs, start=1):
        weights = tf.constant(_cell_weights(side, cells))
        moved = tf.tensordot(response, weights, [[axis], [1]])  # the cells come last
        response = tf.transpose(moved, [*range(axis), rank + 1, *range(axis, rank + 1)])
    return tf.reshape(response, [tf.shape(response)[0], -1, layer.maps])


def _cell_weights(side: int, cells: int) -> np.ndarray:
    """Return (cells, side) float32: the share of each node in the mean of each cell."""
    edges = np.linspace(0, side, cells + 1)
    nodes = np.arange(side)
    low, high = np.maximum(edges[:-1, None], nodes), np.minimum(edges[1:, None], nodes + 1)
    return (np.maximum(0.0, high - low) * cells / side).astype(np.float32)


def gram_matrices(
    network: Network, images: np.ndarray, layers: Sequence[LayerInfo], bytes_per_image: int
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Compute the inner products of the responses of several layers to the images of a batch.

    Args:
        images: (n, h, w, b) in the model's input units.
        bytes_per_image: of the larger of two networks whose batches are to be the same.

    Yields:
        The rows of a batch in `images`, 16 to 128, and (batch, batch) float32 of each layer:
        inner products of all nodes and maps, about their means over the batch.
    """
    graph = layer_graph(network, *(layer.response for layer in layers))
    budget = 1 << 30

    def products(images: Tensor) -> list[Tensor]:
        grams = []
        for activations in graph(images):
            flat = tf.reshape(activations.response, [tf.shape(images)[0], -1])  # (n, nodes maps)
            flat -= tf.reduce_mean(flat, axis=0)
            grams.append(tf.matmul(flat, flat, transpose_b=True))
        return grams

    # Most activations are gone before the last ones are there: 16 images always fit.
    size = min(bytes_per_image, budget // 16)
    yield from run_in_batches(products, images, size, byte_budget=budget, max_images=128)


def features(
    network: Network, images: np.ndarray, output: LayerOutput, enter: bool = True
) -> Iterator[tuple[slice, np.ndarray]]:
    """Compute a layer's outputs or inputs: (batch, d) float32, spatial means of maps.

    Args:
        images: (n, h, w, b) in the model's input units.
        output: of the layer.
        enter: the layer is run; else its input is taken.

    Yields:
        The rows of a batch in `images`, and its features.
    """

    def run(images: Tensor) -> Tensor:
        inputs = network.feed(images)
        values = run_to_all(network.model, inputs, [output], spoiled=network.spoiled, enter=enter)
        return _node_mean(values[0].response)

    key = ("features", network.inputs.shape, network.spoiled, enter, output.key)
    graph = network.graphs.cached(key, run, image_spec(network))
    yield from run_in_batches(graph, images, network.activation_bytes())


def _node_mean(response: Tensor) -> Tensor:
    """Return (n, maps) of (n, *nodes, maps)."""
    return tf.reduce_mean(response, axis=list(range(1, len(response.shape) - 1)))


def selected_maps(network: Network, output: LayerOutput) -> TensorFunction:
    """Return a function of images (n, h, w, b) and maps (m,): their responses (n, m, d).

    d is the number of nodes of the layer's output, 1 for units.
    """
    graph = layer_graph(network, output)

    def responses(images: Tensor, block: Tensor) -> Tensor:
        values = tf.gather(graph(images)[0].response, block, axis=-1)  # (n, *nodes, block)
        flat = tf.reshape(values, [tf.shape(values)[0], -1, tf.shape(block)[0]])
        return tf.transpose(flat, [0, 2, 1])

    return responses


def layer_graph(
    network: Network, *outputs: LayerOutput
) -> Callable[[Tensor], list[LayerActivations]]:
    """Return the graph of some layers, which the network keeps.

    It takes images (n, h, w, b) float32 in input units, and gives `LayerActivations` of each layer.
    """

    def activations(images: Tensor) -> list[LayerActivations]:
        inputs = network.feed(images)
        return run_to_all(network.model, inputs, outputs, spoiled=network.spoiled)

    key = ("layers", network.inputs.shape, network.spoiled, *(output.key for output in outputs))
    return network.graphs.cached(key, activations, image_spec(network))


def image_spec(network: Network) -> tf.TensorSpec:
    """Return the signature of the model's images (n, h, w, b)."""
    return tf.TensorSpec((None, *network.inputs.shape), tf.float32)
