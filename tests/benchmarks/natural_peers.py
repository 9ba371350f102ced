"""How others grow pictures of the maps of a network of photographs, for `natural.py`.

Each takes the model, the name of a layer, map numbers, steps and a seed, and gives pictures (m, h,
w, 3) of 0 to 255, in its own size and with its own settings; ImportError where it is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Grow = Callable[[Any, str, list[int], int, int], np.ndarray]
LUCID_COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
"""Square root of the covariance of ImageNet's colors, as Lucid has it."""
LUCID_FREE_STEPS = 16
"""Steps in which the gradient passes a ReLU that is silent everywhere."""


def lucid_recipe(model: Any, layer: str, maps: list[int], steps: int, seed: int) -> np.ndarray:
    """Grow pictures by the recipe of Olah et al. 2017; our own code, from the article.

    Fourier coefficients over their frequency, decorrelated colors, a sigmoid into the range of
    pixels; moved by 8 pixels, scaled by .9 to 1.1, turned by 10 degrees, moved by 4; Adam at .05.
    In the first 16 steps maps that are silent everywhere climb as they are before the activation.
    """
    import keras
    import tensorflow as tf

    side, last = model.input_shape[1], model.get_layer(layer)
    before, cap = _before_activation(last), getattr(last, "max_value", None) or np.inf
    cut = keras.Model(model.inputs, before)
    draw = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    weight = side / np.maximum(np.hypot(rows, columns), 1 / side)
    colors = LUCID_COLORS / np.linalg.norm(LUCID_COLORS, axis=0).max()
    first = 0.01 * draw.normal(size=(2, len(maps), 3, side, side // 2 + 1))
    coefficients = tf.Variable(tf.constant(first, tf.float32))
    optimizer = keras.optimizers.Adam(0.05)

    def images() -> Any:
        scaled = coefficients * tf.constant(weight, tf.float32)
        planes = tf.signal.irfft2d(tf.complex(scaled[0], scaled[1])) / 4
        return tf.sigmoid(tf.einsum("nchw,bc->nhwb", planes, tf.constant(colors, tf.float32)))

    @tf.function
    def gradient(matrix: Any, early: Any) -> Any:
        with tf.GradientTape() as tape:
            padded = tf.pad(images(), [[0, 0], [24, 24], [24, 24], [0, 0]], "REFLECT")
            view = tf.raw_ops.ImageProjectiveTransformV3(
                images=255 * padded,
                transforms=matrix,
                output_shape=tf.constant([side, side]),
                fill_value=0.0,
                interpolation="BILINEAR",
            )
            nodes = tf.gather(cut(view, training=False), maps, axis=3)
            own = tf.linalg.diag_part(tf.transpose(nodes, [1, 2, 0, 3]))
            silent = early & tf.reduce_all((own <= 0) | (own >= cap), [0, 1])
            own = tf.clip_by_value(own, tf.where(silent, own.dtype.min, 0.0), cap)
            total = tf.reduce_sum(tf.reduce_mean(own, [0, 1]))
        return tape.gradient(total, coefficients)

    for step in range(steps):
        turn, zoom = np.deg2rad(draw.uniform(-10, 10)), draw.uniform(0.9, 1.1)
        shift = draw.uniform(-8, 8, 2) + draw.uniform(-4, 4, 2)
        cosine, sine, middle = np.cos(turn) / zoom, np.sin(turn) / zoom, (side - 1) / 2
        right = middle + 24 + shift[0] - cosine * middle + sine * middle
        down = middle + 24 + shift[1] - sine * middle - cosine * middle
        matrix = tf.constant([[cosine, -sine, right, sine, cosine, down, 0, 0]], tf.float32)
        towards = gradient(matrix, tf.constant(step < LUCID_FREE_STEPS))
        optimizer.apply_gradients([(-towards, coefficients)])
    return 255 * images().numpy()


def _before_activation(layer: Any) -> Any:
    """Return the tensor that goes into the ReLU of a layer, or into the layer if it is one."""
    if not hasattr(layer, "activation"):
        return layer.input
    twin = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    before = twin(layer.input)
    twin.set_weights(layer.get_weights())
    return before


def xplique_optimize(model: Any, layer: str, maps: list[int], steps: int, seed: int) -> np.ndarray:
    """Grow pictures of 512 pixels by Xplique's `optimize`, with its defaults."""
    import tensorflow as tf
    from xplique.features_visualizations import Objective, optimize

    tf.random.set_seed(seed)
    pictures = []
    for number in maps:
        objective = Objective.channel(model, layer, [number])
        images, _ = optimize(objective, nb_steps=steps, values_range=(0, 255))
        pictures.append(np.asarray(images[-1])[0])
    return np.stack(pictures)


def xplique_maco(
    model: Any, layer: str, maps: list[int], steps: int, seed: int, crops: int = 32
) -> np.ndarray:
    """Grow pictures of 512 pixels by Xplique's MaCo, with its defaults: 32 crops a step."""
    masked = _xplique_maco(model, layer, maps, steps, seed, crops)
    return np.stack([image for image, _ in masked])


def xplique_maco_shown(
    model: Any, layer: str, maps: list[int], steps: int, seed: int, crops: int = 32
) -> np.ndarray:
    """Grow the same pictures as its `plot_maco` shows them: transparent by its mask, on white."""
    masked = _xplique_maco(model, layer, maps, steps, seed, crops)
    return np.stack([shown_by_xplique(image, mask) for image, mask in masked])


def _xplique_maco(
    model: Any, layer: str, maps: list[int], steps: int, seed: int, crops: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a picture and its mask, each (512, 512, 3), for each map."""
    import tensorflow as tf
    from xplique.features_visualizations import Objective, maco

    tf.random.set_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what its first phases are drawn from
    masked = []
    for number in maps:
        objective = Objective.channel(model, layer, number)
        image, mask = maco(
            objective,
            nb_steps=steps,
            nb_crops=crops,
            values_range=(0, 255),
            custom_shape=(512, 512),
        )
        masked.append((np.asarray(image), np.asarray(mask)))
    return masked


def shown_by_xplique(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return what Xplique's `plot_maco` draws of a picture and its mask (h, w, 3), on white."""
    from matplotlib import pyplot
    from xplique.plots import plot_maco

    height, width = image.shape[:2]
    drawing = pyplot.figure(figsize=(width / 100, height / 100), dpi=100)
    drawing.add_axes((0, 0, 1, 1))
    plot_maco(image, mask)
    drawing.canvas.draw()
    picture = np.asarray(drawing.canvas.buffer_rgba())[..., :3].copy()  # pyright: ignore[reportAttributeAccessIssue]
    pyplot.close(drawing)
    return picture


def tf_keras_vis(model: Any, layer: str, maps: list[int], steps: int, seed: int) -> np.ndarray:
    """Grow pictures by tf-keras-vis, as its notebook on the filters of convolutions has it."""
    import tensorflow as tf
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer, ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    np.random.seed(seed)  # noqa: NPY002 - what its input modifiers draw from
    modifiers = [ExtractIntermediateLayer(layer), ReplaceToLinear()]
    maximization = ActivationMaximization(model, model_modifier=modifiers, clone=True)
    shape = (len(maps), *model.input_shape[1:])
    noise = tf.random.stateless_uniform(shape, (0, seed), 0, 255)
    return np.asarray(maximization(CategoricalScore(maps), seed_input=noise, steps=steps))


PEERS: dict[str, Grow] = {
    "lucid": lucid_recipe,
    "xplique": xplique_optimize,
    "maco": xplique_maco,
    "maco-shown": xplique_maco_shown,
    "tf-keras-vis": tf_keras_vis,
}
