"""Takes channels out of a model: a smaller model that computes what is left.

A channel that is taken out is gone from the kernel and bias that make it, from batch normalisation
on its way, and from the kernels of all that read it. The smaller model's output is that of the
model whose readers have zeros in those places; it is compared on random input before it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, SettingsError, expected
from oip.network.channels import Channels, Cut, of_network
from oip.network.layers import LayerInfo
from oip.network.loading import reason_of
from oip.network.view import Network

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
        >>> from oip.network.view import Network
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
