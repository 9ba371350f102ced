"""Takes channels out of a model: a smaller model that computes what is left.

A channel that is taken out is gone from the kernel and bias that make it, from batch normalisation
on its way, and from the kernels of all that read it. The smaller model's output is that of the
model whose readers have zeros in those places; it is compared on random input before it is given.

Kernels of the next layers fitted again after maps were removed, by least squares, no labels.

What a layer computed before is predicted from what it still receives. Layers are taken in the
order in which they run, each with the input that the corrected layers before it give, so that
errors do not add up.

References:
    Y. He, X. Zhang, J. Sun: Channel pruning for accelerating very deep neural networks. ICCV 2017,
    section 3.2. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017, eq. 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, SettingsError, expected
from oip.core.progress import Progress, silent
from oip.network.channel_graph import Channels, Cut, of_network
from oip.network.forward import compiled_for_images, run_in_batches, run_to
from oip.network.layers import LayerInfo, LayerOutput
from oip.network.loading import reason_of
from oip.network.network import Network

_PROBES = 4
_TOLERANCE = 1e-3


def without(
    network: Network,
    removed: Mapping[str, Iterable[int]],
    channels: Channels | None = None,
) -> Any:
    """The model without some maps; `network` is not changed.

    Maps that are tied to removed ones by addition or multiplication, as in residual blocks, go with
    them. Readers are convolutions, dense layers and depthwise convolutions, through activation,
    pooling, batch normalisation, padding, flattening, concatenation.

    Args:
        network: the model; Sequential or functional, nested or not.
        removed: layer name -> map numbers to take out.
        channels: as `of_network` gave them, if they are at hand.

    Returns:
        A new Keras model, uncompiled, with the same names.

    Raises:
        ModelError: a map that has to stay, with the layer that wants it; a model that cannot be
            built again, such as a subclassed one.
        SettingsError: a map that the layer does not have, or all of its maps.

    Example:
        >>> from oip.network.network import Network
        >>> from oip.network.surgery import without
        >>> smaller = without(Network("model.keras"), {"Conv2D_1": [0, 7]})  # doctest: +SKIP
    """
    known = channels or of_network(network)
    gone = removed_channels(network, removed, known)
    smaller, pairs = _rebuilt(network, known, gone)
    for layer, new in pairs:
        weights = _kept(layer, known.cuts.get(id(layer), []), known, gone)
        _give(new, weights, network)
    _check(network, known, gone, smaller)
    return smaller


def removed_channels(
    network: Network, removed: Mapping[str, Iterable[int]], known: Channels
) -> np.ndarray:
    """Identities of the channels that go, sorted; see `without`."""
    gone: list[np.ndarray] = []
    for name, maps in removed.items():
        info = network.find(name)
        numbers = _numbers(info, maps)
        mine = known.of_layer(network, info)[numbers]
        why = known.why_locked(mine)
        if why is not None:
            raise ModelError(
                expected(f"maps of layer '{name}' cannot be removed", "maps that may go", why)
            )
        gone.append(mine)
    found = np.unique(np.concatenate(gone)) if gone else np.zeros(0, int)
    for info in network.layers:
        if known.owns(network, info) and np.isin(known.of_layer(network, info), found).all():
            raise SettingsError(
                expected(f"maps of layer '{info.name}'", "one that stays", "all of them removed")
            )
    return found


def masked(network: Network, known: Channels, gone: np.ndarray, seed: int | None = None) -> Any:
    """A copy of the model whose readers have zeros in the places of channels that are gone.

    Args:
        network: the model.
        known: its channels.
        gone: identities of the channels.
        seed: if told, what makes those channels is random, so that whatever still reads them shows.
    """
    copied, pairs = _rebuilt(network, known, np.zeros(0, int))
    draw = None if seed is None else seeds.generator(seed, "surgery")
    for layer, new in pairs:
        weights = [np.array(weight) for weight in layer.get_weights()]
        for cut in known.cuts.get(id(layer), []):
            away = np.isin(known.same(cut.channels), gone)
            if not away.any():
                continue
            place = (*[slice(None)] * (cut.axis % weights[cut.weight].ndim), away)
            if cut.reads:
                weights[cut.weight][place] = 0.0
            elif draw is not None:
                values = weights[cut.weight][place]
                weights[cut.weight][place] = draw.uniform(0.5, 1.5, values.shape)
        _give(new, weights, network)
    return copied


def _numbers(info: LayerInfo, maps: Iterable[int]) -> np.ndarray:
    numbers = np.unique(np.array([int(number) for number in maps], np.int64))
    if numbers.size and (numbers[0] < 0 or numbers[-1] >= info.maps):
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise SettingsError(
            expected(f"maps of layer '{info.name}'", f"0 to {info.maps - 1}", wrong)
        )
    return numbers


def _rebuilt(
    network: Network, known: Channels, gone: np.ndarray
) -> tuple[Any, list[tuple[Any, Any]]]:
    """The model built again with fewer channels, and (old layer, new layer) of what has weights."""
    import keras

    pairs: list[tuple[Any, Any]] = []
    made: dict[int, Any] = {}

    def built(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):  # an operation, without weights
            return layer
        if id(layer) not in made:
            config = layer.get_config()
            config.update(_changes(layer, known, gone))
            made[id(layer)] = type(layer).from_config(config)
            if layer.weights:
                pairs.append((layer, made[id(layer)]))
        return made[id(layer)]

    try:
        return _cloned(network.model, built, None), pairs
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            expected(
                f"cannot build '{network.name}' again",
                "a Sequential or functional Keras model",
                reason_of(error),
            )
        ) from error


def _cloned(model: Any, built: Callable[[Any], Any], inputs: list[Any] | None) -> Any:
    """A Sequential or functional model of new layers; inner models take what comes to them.

    Args:
        model: the model.
        built: layer -> the new layer.
        inputs: symbolic tensors that an inner model is called on; None for its own.
    """
    import keras

    inner: dict[int, Any] = {}

    def cloned(layer: Any, tensors: list[Any]) -> Any:
        if id(layer) not in inner:
            inner[id(layer)] = _cloned(layer, built, tensors)
        return inner[id(layer)]

    if isinstance(model, keras.Sequential):
        own = model.inputs[0] if inputs is None else inputs[0]
        given = keras.Input(batch_shape=own.shape, dtype=own.dtype)
        new = keras.Sequential([given], name=model.name, trainable=model.trainable)
        for layer in model.layers:
            is_model = isinstance(layer, keras.Model)
            new.add(cloned(layer, new.outputs) if is_model else built(layer))
        return new

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Model):
            layer = cloned(layer, keras.tree.flatten(args))
        return layer(*args, **kwargs)

    given = None
    if inputs is not None:
        fresh = [keras.Input(batch_shape=one.shape, dtype=one.dtype) for one in inputs]
        given = keras.tree.pack_sequence_as(model.input, fresh)
    return keras.models.clone_model(
        model,
        input_tensors=given,
        clone_function=lambda layer: layer if isinstance(layer, keras.Model) else built(layer),
        call_function=call,
    )


def _changes(layer: Any, known: Channels, gone: np.ndarray) -> dict[str, Any]:
    """What the layer's configuration says otherwise when channels are gone."""
    if id(layer) in known.makers:
        count = int((~np.isin(known.same(known.makers[id(layer)]), gone)).sum())
        return {"units" if type(layer).__name__ == "Dense" else "filters": count}
    if id(layer) in known.outputs:
        count = int((~np.isin(known.same(known.outputs[id(layer)]), gone)).sum())
        return {"target_shape": (*layer.target_shape[:-1], count)}
    return {}


def _kept(layer: Any, cuts: list[Cut], known: Channels, gone: np.ndarray) -> list[np.ndarray]:
    weights = layer.get_weights()
    for cut in cuts:
        stay = np.flatnonzero(~np.isin(known.same(cut.channels), gone))
        weights[cut.weight] = np.take(weights[cut.weight], stay, axis=cut.axis)
    return weights


def _give(layer: Any, weights: list[np.ndarray], network: Network) -> None:
    try:
        layer.set_weights(weights)
    except ValueError as error:
        raise ModelError(
            expected(f"cannot shrink '{layer.name}' of '{network.name}'", "weights that fit", error)
        ) from error
    if hasattr(layer, "finalize_state"):  # Normalization keeps what it makes of its weights
        layer.finalize_state()


def _check(network: Network, known: Channels, gone: np.ndarray, smaller: Any) -> None:
    """Compares the smaller model with the masked one.

    Raises:
        ModelError: they differ, so the model has a part that was not understood.
    """
    spec = network.inputs
    draw = seeds.generator(0, "surgery probe")
    pixels = draw.normal(size=(_PROBES, *spec.shape)) * spec.std + spec.mean
    fed = network.feed(pixels.astype(np.float32))
    inputs = fed if len(fed) > 1 else fed[0]
    wanted = _outputs(masked(network, known, gone, seed=0), inputs)
    found = _outputs(smaller, inputs)
    for want, have in zip(wanted, found, strict=True):
        finite = np.isfinite(want)
        scale = np.abs(want[finite]).max(initial=1e-6)
        if have.shape != want.shape or np.abs(have - want)[finite].max(initial=0) > (
            _TOLERANCE * scale
        ):
            raise ModelError(
                expected(
                    f"'{network.name}' without these maps",
                    "the output of the masked model",
                    "another one",
                    "The model has a part whose channels are not understood.",
                )
            )


def _outputs(model: Any, inputs: Any) -> list[np.ndarray]:
    import tensorflow as tf

    return [np.asarray(tensor) for tensor in tf.nest.flatten(model(inputs, training=False))]


def has_patches(layer: Any) -> bool:
    """A plain convolution in one or two dimensions, or a dense layer, with the channels last."""
    kind = type(layer).__name__
    if kind == "Dense":
        return True
    return (
        kind in ("Conv1D", "Conv2D")
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and layer.padding in ("valid", "same")
    )


def kernel_matrix(layer: Any) -> np.ndarray:
    """(taps, channels, maps) float64; one tap for a dense layer."""
    kernel = np.asarray(layer.get_weights()[0], np.float64)
    return kernel.reshape(-1, *kernel.shape[-2:])


def patches(layer: Any, inputs: Any) -> Any:
    """A layer's input around each of its nodes, in the graph being traced or at once.

    Args:
        layer: for which `has_patches` holds.
        inputs: (n, *spatial, channels) tensor.

    Returns:
        (n, nodes, taps, channels) tensor; times `kernel_matrix`, over taps and channels, it is the
        layer's pre-activation without its bias.

    Raises:
        ModelError: another kind of layer.
    """
    import tensorflow as tf

    kind = type(layer).__name__
    if not has_patches(layer):
        wanted = "a convolution without groups, or a dense layer"
        raise ModelError(expected(f"layer '{layer.name}'", wanted, kind))
    channels = inputs.shape[-1]
    if kind == "Dense":
        nodes = int(np.prod(inputs.shape[1:-1]))
        return tf.reshape(inputs, [-1, nodes, 1, channels])
    if kind == "Conv1D":
        inputs = inputs[:, None]
    sides = [(1, *side)[-2:] for side in (layer.kernel_size, layer.strides, layer.dilation_rate)]
    found = tf.image.extract_patches(
        inputs, *([1, *side, 1] for side in sides), padding=layer.padding.upper()
    )
    nodes = found.shape[1] * found.shape[2]
    return tf.reshape(found, [-1, nodes, int(np.prod(sides[0])), channels])


_RIDGE = 1e-4
"""Of the mean variance of an input: what keeps the fit from following so few images."""
LARGEST = 8192
"""Inputs of a kernel, taps included, for which second moments are kept (512 MiB)."""
_ROWS = 30
"""Samples wanted for each input of a kernel."""
_FEWEST = 512


def corrected(
    network: Network,
    smaller: Any,
    known: Channels,
    gone: np.ndarray,
    images: np.ndarray,
    progress: Progress = silent,
) -> list[str]:
    """Fits the kernels and biases of the smaller model that read removed channels, in place.

    Args:
        network: the whole model.
        smaller: what `without` made of it; its weights are changed.
        known: the channels of the whole model.
        gone: identities of the removed channels.
        images: (n, h, w, b) in the model's units; labels are not needed.
        progress: told "correction" in layers.

    Returns:
        Names of layers that read removed channels and were left as they are: depthwise, transposed
        and grouped kernels, layers that are used several times, kernels of too many inputs.
    """
    changed = Network(smaller)
    changed.inputs = network.inputs
    ends = {call.path: call.layer for call in changed.calls}
    left: list[str] = []
    readers = [one for one in known.readers if np.isin(known.same(one.channels), gone).any()]
    progress("correction", 0, len(readers))
    for done, reader in enumerate(readers, 1):
        mine = ends[reader.path]
        if reader.uses > 1 or not has_patches(mine) or inputs_of(mine) > LARGEST:
            left.append(reader.path)
        else:
            stay = ~np.isin(known.same(known.makers[id(reader.layer)]), gone)
            used = images_wanted(network, reader.layer, images)
            _fit(network, changed, reader.layer, mine, stay, used)
        progress("correction", done, len(readers))
    return left


def inputs_of(layer: Any) -> int:
    """Inputs of one node of a layer: taps times channels."""
    return int(np.prod(layer.weights[0].shape[:-1]))


def images_wanted(network: Network, layer: Any, images: np.ndarray) -> np.ndarray:
    """As many of the images as give 30 rows of `received` for each input of the layer's kernel."""
    wanted = max(_FEWEST, -(-_ROWS * inputs_of(layer) // _rows(network, layer)))
    return images[:wanted]


def bytes_received(network: Network, layer: Any) -> int:
    """Return the bytes of a run for one image that gives a layer's input as `received` does."""
    return network.activation_bytes() + 4 * _rows(network, layer) * inputs_of(layer)


def _rows(network: Network, layer: Any) -> int:
    """Nodes of a layer, each of which is a row of `received`."""
    call = next(call for call in network.calls if call.layer is layer)
    dense = type(layer).__name__ == "Dense"
    sides = call.input_shapes[0][1:-1] if dense else call.output_shape[1:-1]
    return int(np.prod([side or 1 for side in sides]))


def received(
    network: Network,
    layer: Any,
    images: np.ndarray,
    bytes_per_image: int | None = None,
    byte_budget: int = 64 << 20,
) -> Iterator[np.ndarray]:
    """What a layer's kernel is multiplied with: (rows, taps x channels) float32, in pieces.

    Args:
        network: the model.
        layer: one of its layers, for which `has_patches` holds.
        images: (n, h, w, b).
        bytes_per_image: `bytes_received` of the layer if None.
        byte_budget: bytes that a run may take.
    """
    import tensorflow as tf

    source = LayerOutput(layer, pre_activation="input")

    def run(part: Any) -> Any:
        before, _ = run_to(network.model, network.feed(part), source)
        found = patches(layer, before)
        return tf.reshape(found, [-1, found.shape[2] * found.shape[3]])

    graph = compiled_for_images(network, run)
    size = bytes_per_image or bytes_received(network, layer)
    batches = run_in_batches(graph, images, size, byte_budget=byte_budget, most=256)
    yield from (part for _, part in batches)


def _fit(
    network: Network, changed: Network, old: Any, new: Any, stay: np.ndarray, images: np.ndarray
) -> None:
    """Fits one kernel; `stay` (maps,) bool says which of the old layer's maps there still are."""
    weights = new.get_weights()
    kernel = kernel_matrix(old)
    kernel = kernel.reshape(-1, kernel.shape[-1])[:, stay].astype(np.float32)
    bias = old.get_weights()[1][stay] if len(weights) > 1 else np.zeros(kernel.shape[1])
    inputs, outputs = inputs_of(new), kernel.shape[1]
    # Moments about the first image's mean, so that large means cost no precision.
    first = next(received(changed, new, images[:1])).mean(axis=0)
    squares, products = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
    total, wanted, rows = np.zeros(inputs), np.zeros(outputs), 0
    size = bytes_received(network, old)
    pieces = zip(
        received(network, old, images, size), received(changed, new, images, size), strict=True
    )
    for before, after in pieces:
        target = before @ kernel + bias
        part = after - first
        squares += part.T @ part
        products += part.T @ target
        total += part.sum(axis=0)
        wanted += target.sum(axis=0)
        rows += len(part)
    mean, aim = total / rows, wanted / rows
    own = np.asarray(weights[0], np.float64).reshape(inputs, outputs)
    with_bias = len(weights) > 1
    if with_bias:
        squares -= rows * np.outer(mean, mean)
        products -= rows * np.outer(mean, aim)
        centre = mean + first
    else:
        squares += rows * (np.outer(first, mean) + np.outer(mean, first) + np.outer(first, first))
        products += rows * np.outer(first, aim)
        centre = np.zeros(inputs)
    # The ridge draws the kernel to the one it had, so that inputs without variance keep theirs.
    ridge = _RIDGE * max(np.trace(squares) / inputs, np.finfo(np.float32).tiny)
    fitted = own + np.linalg.solve(squares + ridge * np.eye(inputs), products - squares @ own)
    weights[0] = fitted.reshape(weights[0].shape).astype(weights[0].dtype)
    if with_bias:
        weights[1] = (aim - centre @ fitted).astype(weights[1].dtype)
    new.set_weights(weights)
