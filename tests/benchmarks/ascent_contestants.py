"""The ways to maximise all maps of a layer that `ascent.py` holds against each other.

Each is built for a network, a layer and a number of steps; what is built makes the images. What a
contestant prepares once (a cut model, a compiled step) belongs to the building; what it does again
at every call (such as Xplique's own tracing) belongs to the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

RATE = 0.1
"""Step of the tutorial's loop, in standard deviations (RMS)."""
Run = Callable[[], np.ndarray | None]
Build = Callable[[Any, Any, int], Run]


@dataclass(frozen=True)
class Contestant:
    """One way."""

    name: str
    build: Build
    """(network, layer, steps) -> what makes the images (maps, h, w, b), in input units."""
    faster: float
    """How many times faster this project's is wanted to be."""


def peers() -> list[Contestant]:
    """What other people use."""
    vis, xplique_name = (f"{name} {installed(name)}" for name in ("tf-keras-vis", "Xplique"))
    return [
        Contestant("tutorial: map by map, compiled step", tutorial, 15.0),
        Contestant(f"{vis}, defaults, range of the data", tf_keras_vis, 15.0),
        Contestant(f"{vis}, without its regularisers", partial(tf_keras_vis, plain=True), 15.0),
        Contestant(f"{vis}, fed standardised images", partial(tf_keras_vis, inner=True), 15.0),
        Contestant(f"{xplique_name}, one batch, values of the data", xplique, 4.0),
    ]


def installed(name: str) -> str:
    """The version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def whole(network: Any, name: str, steps: int) -> np.ndarray:
    """What a user of this project calls."""
    import oip

    return oip.reconstruct(network, name, starts=1, steps=steps).pixels[:, 0]


def prepared(network: Any, layer: Any, steps: int, **settings: Any) -> tuple[Any, Any, Any]:
    """A traced climber, the starts that screening chose, and their maps."""
    from oip.ascent.gradient_ascent import GradientAscent
    from oip.ascent.noise import Noise
    from oip.ascent.screening import screen
    from oip.ascent.settings import ascent_settings
    from oip.ascent.targets import MapTargets

    chosen = ascent_settings(starts=1, steps=steps, **settings)
    targets = MapTargets(network, layer)
    evidence = screen(network, targets, chosen)
    maps = np.arange(layer.maps)
    starts = np.array([evidence.ranked_starts(number)[0] for number in maps])
    noise, _ = Noise(network.inputs.shape).images(0, layer.index, starts)
    return GradientAscent(network, targets, chosen, evidence.visible), noise, maps


def climb(network: Any, layer: Any, steps: int, tolerance: float = 1e-3) -> Run:
    """The compiled ascent from the starts that screening chose."""
    climber, noise, maps = prepared(network, layer, steps, tolerance=tolerance)
    spec = network.inputs
    return lambda: climber.climb(noise, maps).images * spec.std + spec.mean


def bare(network: Any, layer: Any, steps: int) -> Run:
    """Nothing but the cut model's forward and backward pass, at the same batch and steps."""
    import tensorflow as tf

    loop = bare_loop(network, layer, tf.range(layer.maps))
    images = tf.random.stateless_normal((layer.maps, *network.inputs.shape), (0, 1))

    def run() -> None:
        loop(images, tf.constant(steps)).numpy()

    return run


def bare_loop(network: Any, layer: Any, maps: Any) -> Any:
    """A compiled loop over (images, steps) around the model cut at a layer."""
    import tensorflow as tf

    cut = cut_model(network, layer)

    @tf.function(autograph=False)
    def run(images: Any, count: Any) -> Any:
        def body(step: Any, images: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(images)
                answer = tf.reduce_mean(cut([images], training=False), [1, 2])
                value = tf.gather(answer, maps, batch_dims=1)
            return step + 1, images + 1e-9 * tape.gradient(value, images)

        return tf.while_loop(lambda step, _: step < count, body, (0, images))[1]

    return run


def cut_model(network: Any, layer: Any) -> Any:
    """The Keras model up to a layer."""
    import keras

    return keras.Model(network.model.inputs, network.model.get_layer(layer.name).output)


def tutorial(network: Any, layer: Any, steps: int) -> Run:
    """The Keras tutorial on filters: a compiled step with a normalised gradient, map by map."""
    import tensorflow as tf

    spec = network.inputs
    cut = cut_model(network, layer)
    length = RATE * float(spec.std.mean()) * np.sqrt(np.prod(spec.shape))

    @tf.function
    def step(image: Any, number: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_mean(cut([image], training=False)[:, :, :, number])
        gradient = tf.math.l2_normalize(tape.gradient(loss, image))
        return image + length * gradient

    def run() -> np.ndarray:
        pictures = []
        random = np.random.default_rng(0)
        for number in range(layer.maps):
            noise = random.uniform(-0.5, 0.5, (1, *spec.shape))
            image = tf.constant(spec.mean + spec.std * noise, tf.float32)
            for _ in range(steps):
                image = step(image, tf.constant(number))
            pictures.append(image.numpy()[0])
        return np.stack(pictures)

    return run


def tf_keras_vis(
    network: Any, layer: Any, steps: int, *, plain: bool = False, inner: bool = False
) -> Run:
    """ActivationMaximization over all maps in one batch, as its documentation shows it.

    Optimizer, input modifiers and regularisers are its defaults; the input range, which it clips
    the images to and seeds are drawn from, is that of the data. Its step length and regularisers
    have the units of the input, so that it depends on these how far it comes.

    Args:
        plain: without regularisers.
        inner: of the model behind its own standardisation, fed standardised images.
    """
    version("tf-keras-vis")
    import tensorflow as tf
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer
    from tf_keras_vis.utils.scores import CategoricalScore

    spec = network.inputs
    model = unstandardised(network.model) if inner else network.model
    mean, std = (spec.mean, spec.std) if inner else (0.0, 1.0)
    low, high = (float(np.min((end - mean) / std)) for end in value_range(spec))
    maximization = ActivationMaximization(
        model, model_modifier=ExtractIntermediateLayer(layer.name), clone=True
    )
    score = CategoricalScore(list(range(layer.maps)))
    changes = {"regularizers": None} if plain else {}

    def run() -> np.ndarray:
        np.random.seed(0)  # noqa: NPY002 - what its input modifiers draw from
        seeds = tf.random.stateless_uniform((layer.maps, *spec.shape), (0, 1), low, high)
        images = maximization(
            score, seed_input=seeds, steps=steps, input_range=(low, high), **changes
        )
        return np.asarray(images, np.float32) * std + mean

    return run


def unstandardised(model: Any) -> Any:
    """The part of a plain stack of layers behind its Normalization or Rescaling.

    Raises:
        ImportError: there is no such layer in front.
    """
    import keras

    front, *rest = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if type(front).__name__ not in ("Normalization", "Rescaling"):
        raise ImportError("the model does not standardise its input")
    inputs = outputs = keras.Input(model.input_shape[1:])
    for layer in rest:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def xplique(network: Any, layer: Any, steps: int) -> Run:
    """Objectives for all channels in one batch, as its documentation shows it."""
    version("xplique")
    import tensorflow as tf
    from xplique.features_visualizations import Objective, optimize

    spec = network.inputs
    objective = Objective.channel(network.model, layer.name, list(range(layer.maps)))

    def run() -> np.ndarray:
        tf.random.set_seed(0)
        images, _ = optimize(
            objective,
            nb_steps=steps,
            custom_shape=spec.shape[:2],
            values_range=value_range(spec),
        )
        return np.asarray(images[-1], np.float32)

    return run


def value_range(spec: Any) -> tuple[float, float]:
    """Lowest and highest pixel of the data; where unknown, two deviations around the mean."""
    if np.isfinite([spec.low, spec.high]).all():
        return float(spec.low), float(spec.high)
    mean, std = float(spec.mean.mean()), float(spec.std.mean())
    return mean - 2 * std, mean + 2 * std
