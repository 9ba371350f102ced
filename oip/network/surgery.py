"""The removal of channels from a model, which becomes smaller.

A removed channel is gone from the kernel and bias that make it, from batch normalization on its
way, and from the kernels of all that read it. The smaller model's output is that of the model whose
readers have zeros for those channels; the two are compared on random input before it is returned.

Kernels of the next layers can be fitted again, by least squares and without labels: the output that
a layer had before is predicted from what it still receives. Layers are taken in their order, each
with the input that the corrected layers before it give, so that errors do not add up.

References:
    Y. He, X. Zhang, J. Sun: Channel pruning for accelerating very deep neural networks. ICCV 2017,
    section 3.2. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017, eq. 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, SettingsError, reason_of
from oip.core.frameworks import Tensor, keras, tf
from oip.core.progress import Progress, silent
from oip.network.channel_graph import Channels, Cut
from oip.network.forward import compiled_for_images, run_in_batches, run_to
from oip.network.layer_spec import map_numbers
from oip.network.layer_types import why_not_plain
from oip.network.layers import LayerOutput
from oip.network.network import Network
from oip.network.tracing import call_model, without_noise

_PROBES = 4
_TOLERANCE = 1e-3


def without(
    network: Network, removed: Mapping[str, Iterable[int]], channels: Channels | None = None
) -> keras.Model:
    """Return the model without some maps; `network` is not changed.

    Maps that are tied to removed ones by addition or multiplication, as in residual blocks, go with
    them. Readers are convolutions, dense layers and depthwise convolutions, through activation,
    pooling, batch normalization, padding, flattening, concatenation.

    Args:
        network: the model; Sequential or functional, nested or not.
        removed: layer name -> map numbers to remove.
        channels: `Channels.of(network)`, if it is at hand.

    Returns:
        A new Keras model, uncompiled, with the same names.

    Raises:
        ModelError: a map that has to stay, with the layer that needs it; a model that cannot be
            built again, such as a subclassed one.
        SettingsError: a map that the layer does not have, or all of its maps.

    Example:
        >>> from oip.network.network import Network
        >>> from oip.network.surgery import without
        >>> smaller = without(Network("model.keras"), {"Conv2D_1": [0, 7]})  # doctest: +SKIP
    """
    channels = channels or Channels.of(network)
    dropped = removed_channels(network, removed, channels)
    smaller, pairs = _rebuilt(network, channels, dropped)
    for layer, new in pairs:
        weights = _remaining(layer, channels.cuts.get(id(layer), []), channels, dropped)
        _set_weights(new, weights, network)
    _check(network, channels, dropped, smaller)
    return smaller


def removed_channels(
    network: Network, removed: Mapping[str, Iterable[int]], channels: Channels
) -> np.ndarray:
    """Return the identities of the channels that go, sorted; see `without`."""
    channels_gone: list[np.ndarray] = []
    layers = {info.index: info for info in network.layers}
    for name, maps in removed.items():
        info = network.find(name)
        layers[info.index] = info
        map_indices = [int(map_index) for map_index in maps]
        map_indices = map_numbers(info, map_indices) if map_indices else np.zeros(0, np.int64)
        identities = channels.of_layer(network, info)[map_indices]
        reason = channels.why_locked(identities)
        if reason is not None:
            raise ModelError(
                f"maps of layer '{name}' cannot be removed", "maps that may go", reason
            )
        channels_gone.append(identities)
    dropped = np.unique(np.concatenate(channels_gone)) if channels_gone else np.zeros(0, int)
    for info in layers.values():
        if (
            channels.owns(network, info)
            and np.isin(channels.of_layer(network, info), dropped).all()
        ):
            raise SettingsError(
                f"{info.noun}s of layer '{info.name}'", "one that stays", "all of them removed"
            )
    return dropped


def masked(
    network: Network, channels: Channels, dropped: np.ndarray, seed: int | None = None
) -> keras.Model:
    """Return a copy of the model whose readers have zeros for channels that are gone.

    Args:
        seed: if given, the weights that make those channels are random, so that whatever still
            reads them shows.
    """
    copied, pairs = _rebuilt(network, channels, np.zeros(0, int))
    draw = None if seed is None else seeds.generator(seed, "surgery")
    for layer, new in pairs:
        weights = [np.array(weight) for weight in layer.get_weights()]
        for cut in channels.cuts.get(id(layer), []):
            is_dropped = np.isin(channels.same(cut.channels), dropped)
            if not is_dropped.any():
                continue
            entries = (*[slice(None)] * (cut.axis % weights[cut.weight].ndim), is_dropped)
            if cut.reads:
                weights[cut.weight][entries] = 0.0
            elif draw is not None:
                shape = weights[cut.weight][entries].shape
                weights[cut.weight][entries] = draw.uniform(0.5, 1.5, shape)
        _set_weights(new, weights, network)
    return copied


class _Rebuilt(NamedTuple):
    model: keras.Model
    pairs: list[tuple[keras.Layer, keras.Layer]]
    """(old layer, new layer) of those with weights."""


def _rebuilt(network: Network, channels: Channels, dropped: np.ndarray) -> _Rebuilt:
    """Build the model again with fewer channels."""
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    new_layers: dict[int, keras.Layer] = {}

    def built(layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.layers.Layer):  # an operation, without weights
            return layer
        if id(layer) not in new_layers:
            config = layer.get_config() | _changes(layer, channels, dropped)
            new_layers[id(layer)] = type(layer).from_config(config)
            if layer.weights:
                pairs.append((layer, new_layers[id(layer)]))
        return new_layers[id(layer)]

    try:
        return _Rebuilt(_cloned(network.model, built, None), pairs)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"cannot build '{network.name}' again",
            "a Sequential or functional Keras model",
            reason_of(error),
        ) from error


def _cloned(
    model: keras.Model,
    built: Callable[[keras.Layer], keras.Layer],
    inputs: list[keras.KerasTensor] | None,
) -> keras.Model:
    """Clone a Sequential or functional model; an inner one is called on the symbolic `inputs`."""
    inner: dict[int, keras.Model] = {}

    def cloned(layer: keras.Model, tensors: list[keras.KerasTensor]) -> keras.Model:
        if id(layer) not in inner:
            inner[id(layer)] = _cloned(layer, built, tensors)
        return inner[id(layer)]

    if isinstance(model, keras.Sequential):
        input_tensor = model.inputs[0] if inputs is None else inputs[0]
        input_layer = keras.Input(batch_shape=input_tensor.shape, dtype=input_tensor.dtype)
        new = keras.Sequential([input_layer], name=model.name, trainable=model.trainable)
        for layer in model.layers:
            layer_inputs: list[Any] = new.outputs if new.layers else [input_layer]
            is_model = isinstance(layer, keras.Model)
            new.add(cloned(layer, layer_inputs) if is_model else built(layer))
        return new

    def call(layer: keras.Layer, *args: object, **kwargs: object) -> object:
        if isinstance(layer, keras.Model):
            layer = cloned(layer, keras.tree.flatten(args))
        return layer(*args, **kwargs)

    tensors = None
    if inputs is not None:
        fresh = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in inputs]
        tensors = keras.tree.pack_sequence_as(model.input, fresh)
    return keras.models.clone_model(
        model,
        input_tensors=tensors,
        clone_function=lambda layer: layer if isinstance(layer, keras.Model) else built(layer),
        call_function=call,
    )


def _changes(layer: keras.Layer, channels: Channels, dropped: np.ndarray) -> dict[str, object]:
    """Return the entries of the layer's configuration that change when channels are gone."""

    def remaining(identities: np.ndarray) -> int:
        return int((~np.isin(channels.same(identities), dropped)).sum())

    if id(layer) in channels.makers:
        name = "units" if type(layer).__name__ == "Dense" else "filters"
        return {name: remaining(channels.makers[id(layer)])}
    if id(layer) in channels.outputs:
        sides = layer.target_shape[:-1]
        return {"target_shape": (*sides, remaining(channels.outputs[id(layer)]))}
    return {}


def _remaining(
    layer: keras.Layer, cuts: list[Cut], channels: Channels, dropped: np.ndarray
) -> list[np.ndarray]:
    weights = layer.get_weights()
    for cut in cuts:
        stay = np.flatnonzero(~np.isin(channels.same(cut.channels), dropped))
        weights[cut.weight] = np.take(weights[cut.weight], stay, axis=cut.axis)
    return weights


def _set_weights(layer: keras.Layer, weights: list[np.ndarray], network: Network) -> None:
    try:
        layer.set_weights(weights)
    except ValueError as error:
        raise ModelError(
            f"cannot shrink '{layer.name}' of '{network.name}'", "weights that fit", error
        ) from error
    if hasattr(layer, "finalize_state"):  # Normalization keeps what it makes of its weights
        layer.finalize_state()


def _check(network: Network, channels: Channels, dropped: np.ndarray, smaller: keras.Model) -> None:
    """Compare the smaller model with the masked one.

    Raises:
        ModelError: they differ, so the model has a part that was not understood.
    """
    spec = network.inputs
    draw = seeds.generator(0, "surgery probe")
    pixels = draw.normal(size=(_PROBES, *spec.shape)) * spec.std + spec.mean
    inputs = network.feed(tf.constant(pixels.astype(np.float32)))
    correct = _outputs(masked(network, channels, dropped, seed=0), inputs)
    for output, values in zip(_outputs(smaller, inputs), correct, strict=True):
        finite = np.isfinite(values)
        tolerance = _TOLERANCE * np.abs(values[finite]).max(initial=1e-6)
        is_same = output.shape == values.shape
        if not is_same or np.abs(output - values)[finite].max(initial=0) > tolerance:
            raise ModelError(
                f"'{network.name}' without these maps",
                "the output of the masked model",
                "another one",
                "The model has a part whose channels are not understood.",
            )


def _outputs(model: keras.Model, inputs: list[Tensor]) -> list[np.ndarray]:
    with without_noise(model):
        outputs = call_model(model, inputs)
    return [np.asarray(tensor) for tensor in tf.nest.flatten(outputs)]


def has_patches(layer: keras.Layer) -> bool:
    """Return whether a layer is a dense one, or a plain 1-D or 2-D convolution, channels last."""
    kind = type(layer).__name__
    plain = why_not_plain(layer) is None
    if kind == "Dense":
        return plain
    return plain and (
        kind in ("Conv1D", "Conv2D")
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and layer.padding in ("valid", "same")
    )


def kernel_matrix(layer: keras.Layer) -> np.ndarray:
    """Return the kernel as (taps, channels, maps) float64; one tap for a dense layer."""
    kernel = np.asarray(layer.get_weights()[0], np.float64)
    return kernel.reshape(-1, *kernel.shape[-2:])


def patches(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Return a layer's input around each of its nodes, in the graph being traced or at once.

    Args:
        layer: for which `has_patches` holds.
        inputs: (n, *spatial, channels).

    Returns:
        (n, nodes, taps, channels) tensor; times `kernel_matrix`, over taps and channels, it is the
        layer's pre-activation without its bias.

    Raises:
        ModelError: another kind of layer.
    """
    kind = type(layer).__name__
    if not has_patches(layer):
        text = "a convolution without groups, or a dense layer"
        raise ModelError(f"layer '{layer.name}'", text, kind)
    channels = inputs.shape[-1]
    if kind == "Dense":
        nodes = math.prod(int(side or 0) for side in inputs.shape[1:-1])
        return tf.reshape(inputs, [-1, nodes, 1, channels])
    if kind == "Conv1D":
        inputs = inputs[:, None]
    sides = [(1, *side)[-2:] for side in (layer.kernel_size, layer.strides, layer.dilation_rate)]
    windows = tf.image.extract_patches(
        inputs, *([1, *side, 1] for side in sides), padding=layer.padding.upper()
    )
    nodes = windows.shape[1] * windows.shape[2]
    return tf.reshape(windows, [-1, nodes, int(np.prod(sides[0])), channels])


_RIDGE = 1e-4
"""Of the mean variance of an input: it keeps the fit from following so few images."""
LARGEST = 8192
"""Inputs of a kernel, taps included, for which second moments are kept (512 MiB)."""
_ROWS = 30
"""Samples needed for each input of a kernel."""
_FEWEST = 512


def corrected(
    network: Network,
    smaller: keras.Model,
    channels: Channels,
    dropped: np.ndarray,
    images: np.ndarray,
    progress: Progress = silent,
) -> list[str]:
    """Fit the kernels and biases of the smaller model that read removed channels, in place.

    Args:
        smaller: the model that `without` made of it; its weights are changed.
        channels: the channels of the whole model.
        dropped: identities of the removed channels.
        images: (n, h, w, b) in the model's units; labels are not needed.
        progress: receives "correction", in layers.

    Returns:
        Names of layers that read removed channels and were left as they are: depthwise, transposed
        and grouped kernels, layers that are used several times, kernels of too many inputs.
    """
    changed = Network(smaller)
    changed.inputs = network.inputs
    new_layers = {call.path: call.layer for call in changed.calls}
    unchanged: list[str] = []
    readers = [
        reader
        for reader in channels.readers
        if np.isin(channels.same(reader.channels), dropped).any()
    ]
    progress("correction", 0, len(readers))
    for count, reader in enumerate(readers, 1):
        new = new_layers[reader.path]
        if reader.uses > 1 or not has_patches(new) or inputs_of(new) > LARGEST:
            unchanged.append(reader.path)
        else:
            stay = ~np.isin(channels.same(channels.makers[id(reader.layer)]), dropped)
            needed_images = images_needed(network, reader.layer, images)
            _fit(network, changed, reader.layer, new, stay, needed_images)
        progress("correction", count, len(readers))
    return unchanged


def inputs_of(layer: keras.Layer) -> int:
    """Return the number of inputs of one node of a layer: taps times channels."""
    return int(np.prod(layer.weights[0].shape[:-1]))


def images_needed(network: Network, layer: keras.Layer, images: np.ndarray) -> np.ndarray:
    """Return images from which `received` gives 30 rows for each input of the layer's kernel."""
    return images[: max(_FEWEST, -(-_ROWS * inputs_of(layer) // _node_count(network, layer)))]


def bytes_received(network: Network, layer: keras.Layer) -> int:
    """Return the bytes of a run for one image that gives a layer's input as `received` does."""
    return network.activation_bytes() + 4 * _node_count(network, layer) * inputs_of(layer)


def _node_count(network: Network, layer: keras.Layer) -> int:
    """Return the number of nodes of a layer, each of which is a row of `received`."""
    call = next(call for call in network.calls if call.layer is layer)
    dense = type(layer).__name__ == "Dense"
    sides = call.input_shapes[0][1:-1] if dense else call.output_shape[1:-1]
    return int(np.prod([side or 1 for side in sides]))


def received(
    network: Network,
    layer: keras.Layer,
    images: np.ndarray,
    bytes_per_image: int | None = None,
    byte_budget: int = 64 << 20,
) -> Iterator[np.ndarray]:
    """Compute the input of a layer's kernel: (rows, taps x channels) float32, in batches.

    Args:
        layer: one of its layers, for which `has_patches` holds.
        images: (n, h, w, b).
        bytes_per_image: `bytes_received` of the layer if None.
    """
    source = LayerOutput(layer, pre_activation="input")

    def run(images: Tensor) -> Tensor:
        inputs = run_to(network.model, network.feed(images), source).pre_activation
        return tf.reshape(patches(layer, inputs), [-1, inputs_of(layer)])

    graph = compiled_for_images(network, run)
    size = bytes_per_image or bytes_received(network, layer)
    batches = run_in_batches(graph, images, size, byte_budget=byte_budget, max_images=256)
    yield from (values for _, values in batches)


def _fit(
    network: Network,
    changed: Network,
    old: keras.Layer,
    new: keras.Layer,
    stay: np.ndarray,
    images: np.ndarray,
) -> None:
    """Fit one kernel; `stay` (maps,) bool says which of the old layer's maps there still are."""
    weights = new.get_weights()
    kernel = kernel_matrix(old)
    kernel = kernel.reshape(-1, kernel.shape[-1])[:, stay].astype(np.float32)
    bias = old.get_weights()[1][stay] if len(weights) > 1 else np.zeros(kernel.shape[1])
    inputs, outputs = inputs_of(new), kernel.shape[1]
    # Moments about the first image's mean, so that large means cost no precision.
    base = next(received(changed, new, images[:1])).mean(axis=0)
    squares, products = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
    total, target_total, n = np.zeros(inputs), np.zeros(outputs), 0
    size = bytes_received(network, old)
    batches = zip(
        received(network, old, images, size), received(changed, new, images, size), strict=True
    )
    for old_rows, new_rows in batches:
        target = old_rows @ kernel + bias
        moved = new_rows - base
        squares += moved.T @ moved
        products += moved.T @ target
        total += moved.sum(axis=0)
        target_total += target.sum(axis=0)
        n += len(moved)
    mean, target_mean = total / n, target_total / n
    old_kernel = np.asarray(weights[0], np.float64).reshape(inputs, outputs)
    with_bias = len(weights) > 1
    if with_bias:
        squares -= n * np.outer(mean, mean)
        products -= n * np.outer(mean, target_mean)
        center = mean + base
    else:
        squares += n * (np.outer(base, mean) + np.outer(mean, base) + np.outer(base, base))
        products += n * np.outer(base, target_mean)
        center = np.zeros(inputs)
    # The ridge draws the kernel to the one it had, so that inputs without variance keep theirs.
    ridge = _RIDGE * max(np.trace(squares) / inputs, np.finfo(np.float32).tiny)
    fitted = old_kernel + np.linalg.solve(
        squares + ridge * np.eye(inputs), products - squares @ old_kernel
    )
    weights[0] = fitted.reshape(weights[0].shape).astype(weights[0].dtype)
    if with_bias:
        weights[1] = (target_mean - center @ fitted).astype(weights[1].dtype)
    new.set_weights(weights)
