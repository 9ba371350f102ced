"""The ascent beside what else there is, in one process: seconds, silent maps, scores.

    python tests/benchmarks/ascent.py MODEL.keras --data mnist [--layer Conv2D_3] [--steps 128]

One start for each map of a layer, the same number of steps for everybody. Before it is scored every
image, of the data too, is brought to the input's mean and deviation: over the pixels that the layer
sees (`score`), and over the whole image (`whole`). `to their score` is how much longer a peer took
for its final mean score than this project's climb took to reach the same. Run by hand, on a machine
that does nothing else; figures are only comparable within one run. Peers are left out where they
are not installed (extra `bench`; Xplique where a user has it).

    python tests/benchmarks/ascent.py --deep

64 maps of a middle layer of an untrained ResNet50 at 224 pixels: seconds a step beside the bare
forward and backward pass of the cut model at the same batch, and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

RATE = 0.1
"""Step of the tutorial's loop, in standard deviations (RMS)."""


def main() -> None:
    """Runs all contestants and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--layer", default="Conv2D_3")
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--deep", action="store_true")
    options = parser.parse_args()
    if options.deep:
        deep()
        return

    import models
    from oip.ascent.readouts import MapReadout
    from oip.ascent.screening import screen
    from oip.ascent.settings import ascent_settings
    from oip.network.view import Network

    network = Network(options.model)
    layer = network.find(options.layer)
    data = models.load(options.data, part="test").images
    evidence = screen(network, MapReadout(network, layer), ascent_settings(screened=4), data)
    whole_image = np.ones_like(evidence.visible)
    print(f"{layer.name} of {network.name}: {layer.maps} maps, {options.steps} steps, 1 start")
    excitable = evidence.data_active > 0
    ours: tuple[np.ndarray, Any] | None = None
    for name, contestant in contestants():
        try:
            seconds, images = repeated(contestant, network, layer, options.steps)
        except (PackageNotFoundError, ImportError):
            print(f"{name:48s} not installed")
            continue
        if images is None:
            print(f"{name:48s} {seconds:8.2f} s")
            continue
        scores = score(network, layer, images, evidence.visible)
        means = (scores.mean(), score(network, layer, images, whole_image).mean())
        if name.startswith("oip, the climb alone, retiring"):
            ours = climb_times(network, layer, options.steps)
        ahead = "" if ours is None or name.startswith("oip") else quicker(ours, means[0], seconds)
        print(
            f"{name:48s} {seconds:8.2f} s  silent {np.sum(scores <= 0):4d}"
            f"  score {means[0]:6.3f}  whole {means[1]:6.3f}"
            f"  above best image {np.sum((scores > evidence.data_scores)[excitable]):4d}"
            f" of {excitable.sum()}{ahead}"
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
        (
            "the same without its regularisers",
            lambda *asked: tf_keras_vis(*asked, regularizers=None),
        ),
        (f"Xplique {_version('xplique')}, one batch, defaults", xplique),
    ]


def repeated(contestant: Any, *asked: Any) -> tuple[float, Any]:
    """Median of three runs for the quick ones, whose time a busy moment would double."""
    found = [contestant(*asked)]
    while len(found) < 3 and found[0][0] < 5:
        found.append(contestant(*asked))
    return float(np.median([seconds for seconds, _ in found])), found[0][1]


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


def prepared(network: Any, layer: Any, steps: int, **settings: Any) -> tuple[Any, Any, Any]:
    """A climber after a warm-up call, the starts that screening chose, and their maps."""
    from oip.ascent.loop import Climber
    from oip.ascent.noise import Noise
    from oip.ascent.readouts import MapReadout
    from oip.ascent.screening import screen
    from oip.ascent.settings import ascent_settings

    chosen = ascent_settings(starts=1, steps=steps, **settings)
    readout = MapReadout(network, layer)
    evidence = screen(network, readout, chosen)
    maps = np.arange(layer.maps)
    starts = np.array([evidence.ranked_starts(number)[0] for number in maps])
    noise, _ = Noise(network.inputs.shape).images(0, layer.index, starts)
    climber = Climber(network, readout, chosen, evidence.visible)
    climber.climb(noise[:2], maps[:2])
    return climber, noise, maps


def climb(network: Any, layer: Any, steps: int, tolerance: float) -> tuple[float, np.ndarray]:
    """The compiled ascent from the starts that screening chose."""
    climber, noise, maps = prepared(network, layer, steps, tolerance=tolerance)
    began = time.perf_counter()
    found = climber.climb(noise, maps)
    seconds = time.perf_counter() - began
    spec = network.inputs
    return seconds, found.images * spec.std + spec.mean


def climb_times(network: Any, layer: Any, steps: int) -> tuple[np.ndarray, Any]:
    """(steps + 1,) mean of the best scores so far, and seconds for a number of steps."""
    climber, noise, maps = prepared(network, layer, steps, tolerance=0.0)
    best = np.fmax.accumulate(climber.climb(noise, maps).traces, axis=1).mean(0)

    def seconds(count: int) -> float:
        few, noise, maps = prepared(network, layer, max(count, 1), tolerance=0.0)
        began = time.perf_counter()
        few.climb(noise, maps)
        return time.perf_counter() - began

    return best, seconds


def quicker(ours: tuple[np.ndarray, Any], mean: float, seconds: float) -> str:
    """How much sooner the climb has a peer's final mean score."""
    best, timed = ours
    reached = np.flatnonzero(best >= mean)
    if not reached.size:
        return "  to their score: not reached"
    took = timed(int(reached[0]))
    return f"  to their score: {reached[0]} steps, {took:.3f} s, x{seconds / took:.0f}"


def bare(network: Any, layer: Any, steps: int) -> tuple[float, None]:
    """Nothing but the cut model's forward and backward pass, at the same batch and steps."""
    import tensorflow as tf

    run = bare_loop(network, layer, tf.range(layer.maps))
    images = tf.random.stateless_normal((layer.maps, *network.inputs.shape), (0, 1))
    run(images, tf.constant(2))
    began = time.perf_counter()
    run(images, tf.constant(steps)).numpy()
    return time.perf_counter() - began, None


def bare_loop(network: Any, layer: Any, maps: Any) -> Any:
    """A compiled loop over (images, steps) around the model cut at a layer."""
    import keras
    import tensorflow as tf

    cut = keras.Model(network.model.inputs, network.model.get_layer(layer.name).output)

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


def tf_keras_vis(network: Any, layer: Any, steps: int, **changes: Any) -> tuple[float, np.ndarray]:
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
    score = CategoricalScore(list(range(layer.maps)))
    images = maximization(score, seed_input=seeds, steps=steps, **changes)
    return time.perf_counter() - began, np.asarray(images, np.float32)


def xplique(network: Any, layer: Any, steps: int) -> tuple[float, np.ndarray]:
    """Objectives for all channels in one batch, as its documentation shows it."""
    version("xplique")
    from xplique.features_visualizations import Objective, optimize

    spec = network.inputs
    mean, std = float(spec.mean.mean()), float(spec.std.mean())
    began = time.perf_counter()
    objective = Objective.channel(network.model, layer.name, list(range(layer.maps)))
    images, _ = optimize(
        objective,
        nb_steps=steps,
        custom_shape=spec.shape[:2],
        values_range=(mean - 2 * std, mean + 2 * std),
    )
    return time.perf_counter() - began, np.asarray(images[-1], np.float32)


def together(climber: Any) -> int:
    """Images that a reconstruction would climb at once."""
    from oip.ascent.reconstruction import images_at_once

    return images_at_once(climber)


def deep() -> None:
    """The deep case."""
    import keras
    import tensorflow as tf

    from oip.network.view import Network

    keras.utils.set_random_seed(0)
    network = Network(keras.applications.ResNet50(weights=None))
    layer = network.find("conv4_block3_2_conv")
    maps = np.arange(64)
    climber, noise, _ = prepared(network, layer, 4, tolerance=0.0, screened=4)
    noise = np.repeat(noise[:1], 64, axis=0)
    room = together(climber)
    print(f"{layer.name} of ResNet50 at 224 px: 64 maps, {room} at a time")
    run = bare_loop(network, layer, tf.range(room))
    images = tf.constant(noise[:room])
    run(images, tf.constant(1))
    for _ in range(2):
        times = []
        for work in (
            lambda: run(images, tf.constant(5)).numpy(),
            lambda: climber.climb(noise[:room], maps[:room]),
        ):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) / 5)
        print(
            f"a step of {room} images: bare {times[0]:.3f} s, climb {times[1]:.3f} s,"
            f" ratio {times[1] / times[0]:.2f}"
        )
    began = time.perf_counter()
    for first in range(0, 64, room):
        climber.climb(noise[first : first + room], maps[first : first + room])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"64 maps, 4 steps: {time.perf_counter() - began:.1f} s; peak memory {peak:.2f} GiB")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
