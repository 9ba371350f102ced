"""The ascent beside what else there is, in one process: seconds, silent maps, scores.

    python tests/benchmarks/ascent.py MODEL.keras --data mnist [--layer Conv2D_3] [--steps 128]

One start for each map of a layer, the same number of steps for everybody. Every image is brought to
the input's mean and deviation (over the pixels that the layer sees) before it is scored, and so are
the data images. Run by hand, on a machine that does nothing else; figures are only comparable
within one run. Peers are left out where they are not installed (extra `bench`).
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

RATE = 0.1
"""Step of the tutorial's loop, in standard deviations (RMS): the same as ours."""


def main() -> None:
    """Runs all contestants and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--layer", default="Conv2D_3")
    parser.add_argument("--steps", type=int, default=128)
    options = parser.parse_args()

    import models
    from oip.ascent.readouts import MapReadout
    from oip.ascent.screening import screen
    from oip.ascent.settings import ascent_settings
    from oip.network.view import Network

    network = Network(options.model)
    layer = network.find(options.layer)
    data = models.load(options.data, part="test").images
    evidence = screen(network, MapReadout(network, layer), ascent_settings(screened=4), data)
    print(f"{layer.name} of {network.name}: {layer.maps} maps, {options.steps} steps, 1 start")
    excitable = evidence.data_active > 0
    first = None
    for name, contestant in contestants():
        try:
            seconds, images = contestant(network, layer, options.steps)
        except PackageNotFoundError:
            print(f"{name:44s} not installed")
            continue
        if images is None:
            print(f"{name:44s} {seconds:8.2f} s")
            continue
        scores = score(network, layer, images, evidence.visible)
        first = first or seconds
        print(
            f"{name:44s} {seconds:8.2f} s  x{seconds / first:6.1f}"
            f"  silent {np.sum(scores <= 0):4d}  mean score {scores.mean():6.3f}"
            f"  above best image {np.sum((scores > evidence.data_scores)[excitable]):4d}"
            f" of {excitable.sum()}"
        )


def contestants() -> list[tuple[str, Any]]:
    """Names and functions (network, layer, steps) -> (seconds, images in input units or None)."""
    return [
        ("oip, screening and tracing included", whole),
        ("oip, the climb alone, retiring", lambda *asked: climb(*asked, tolerance=1e-3)),
        ("oip, the climb alone, nobody retires", lambda *asked: climb(*asked, tolerance=0.0)),
        ("bare forward and backward of the cut model", bare),
        ("tutorial: one map at a time, compiled step", tutorial),
        (f"tf-keras-vis {_version('tf-keras-vis')}, one batch, defaults", tf_keras_vis),
    ]


def score(network: Any, layer: Any, images: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(m,) score of each map's own image, all standardised alike."""
    from oip.network.responses import spatial_means

    means = np.concatenate(list(spatial_means(network, images, layer, visible)))
    return np.diagonal(means)


def whole(network: Any, layer: Any, steps: int) -> tuple[float, np.ndarray]:
    """What a user calls."""
    import oip

    began = time.perf_counter()
    oips = oip.reconstruct(network, layer.name, starts=1, steps=steps)
    return time.perf_counter() - began, oips.pixels[:, 0]


def climb(network: Any, layer: Any, steps: int, tolerance: float) -> tuple[float, np.ndarray]:
    """The compiled ascent after a warm-up call, from the starts that screening chose."""
    from oip.ascent.loop import Climber
    from oip.ascent.noise import Noise
    from oip.ascent.readouts import MapReadout
    from oip.ascent.screening import screen
    from oip.ascent.settings import ascent_settings

    settings = ascent_settings(starts=1, steps=steps, tolerance=tolerance)
    readout = MapReadout(network, layer)
    evidence = screen(network, readout, settings)
    maps = np.arange(layer.maps)
    starts = np.array([evidence.ranked_starts(number)[0] for number in maps])
    noise, _ = Noise(network.inputs.shape).images(0, layer.index, starts)
    climber = Climber(network, readout, settings, evidence.visible)
    climber.climb(noise[:2], maps[:2])
    began = time.perf_counter()
    found = climber.climb(noise, maps)
    seconds = time.perf_counter() - began
    spec = network.inputs
    return seconds, found.images * spec.std + spec.mean


def bare(network: Any, layer: Any, steps: int) -> tuple[float, None]:
    """Nothing but the cut model's forward and backward pass, at the same batch and steps."""
    import keras
    import tensorflow as tf

    cut = keras.Model(network.model.inputs, network.model.get_layer(layer.name).output)
    maps = tf.range(layer.maps)

    @tf.function(autograph=False)
    def run(images: Any, count: Any) -> Any:
        def body(step: Any, images: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(images)
                answer = tf.reduce_mean(cut([images], training=False), [1, 2])
                value = tf.gather(answer, maps, batch_dims=1)
            return step + 1, images + 1e-9 * tape.gradient(value, images)

        return tf.while_loop(lambda step, _: step < count, body, (0, images))[1]

    images = tf.random.stateless_normal((layer.maps, *network.inputs.shape), (0, 1))
    run(images, tf.constant(2))
    began = time.perf_counter()
    run(images, tf.constant(steps)).numpy()
    return time.perf_counter() - began, None


def tutorial(network: Any, layer: Any, steps: int) -> tuple[float, np.ndarray]:
    """The Keras tutorial on filters: a compiled step with a normalised gradient, map by map."""
    import keras
    import tensorflow as tf

    spec = network.inputs
    cut = keras.Model(network.model.inputs, network.model.get_layer(layer.name).output)
    length = RATE * float(spec.std.mean()) * np.sqrt(np.prod(spec.shape))

    @tf.function
    def step(image: Any, number: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_mean(cut([image], training=False)[:, :, :, number])
        gradient = tf.math.l2_normalize(tape.gradient(loss, image))
        return image + length * gradient

    found = []
    began = time.perf_counter()
    random = np.random.default_rng(0)
    for number in range(layer.maps):
        noise = random.uniform(-0.5, 0.5, (1, *spec.shape))
        image = tf.constant(spec.mean + spec.std * noise, tf.float32)
        for _ in range(steps):
            image = step(image, tf.constant(number))
        found.append(image.numpy()[0])
    return time.perf_counter() - began, np.stack(found)


def tf_keras_vis(network: Any, layer: Any, steps: int) -> tuple[float, np.ndarray]:
    """ActivationMaximization over all maps in one batch, as its documentation shows it."""
    version("tf-keras-vis")
    import tensorflow as tf
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer
    from tf_keras_vis.utils.scores import CategoricalScore

    spec = network.inputs
    began = time.perf_counter()
    maximization = ActivationMaximization(
        network.model, model_modifier=ExtractIntermediateLayer(layer.name), clone=True
    )
    seeds = tf.random.stateless_uniform((layer.maps, *spec.shape), (0, 1), 0.0, 255.0)
    images = maximization(CategoricalScore(list(range(layer.maps))), seed_input=seeds, steps=steps)
    return time.perf_counter() - began, np.asarray(images, np.float32)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
