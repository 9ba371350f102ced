"""Networks up to the layer before their head, and three ways to train them."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, OipError, SettingsError, expected
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.renyi_measures import accuracy, forward, recorded_steps
from oip.studies.report import base_name, slug

_TEMPERATURE = 0.5
_PROJECTED = 64
_SHIFT, _ZOOM, _CONTRAST, _NOISE = 0.15, 0.2, 0.4, 0.05


def before_head(model: Any) -> Any:
    """The model from its input to what its last dense layer receives: images to Z (n, d).

    Args:
        model: a Sequential or functional Keras model.

    Raises:
        ModelError: there is no dense layer, or none with one known input.
    """
    import keras

    for layer in reversed(getattr(model, "layers", [])):
        if isinstance(layer, keras.layers.Dense):
            try:
                images = model.inputs[0] if len(model.inputs) == 1 else model.inputs
                return keras.Model(images, layer.input)
            except (AttributeError, ValueError) as error:
                raise ModelError(
                    expected(f"'{model.name}'", "one path from the images to the head", error)
                ) from error
    raise ModelError(expected(f"'{model.name}'", "a dense layer at its end", "none"))


def scaled_start(model: Any, deviation: float, seed: int) -> None:
    """Draws the kernels of all convolutions from N(0, deviation^2); biases are 0."""
    import keras

    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Conv2D):
            rng = seeds.generator(seed, "kernels of a convolution", number)
            first, *rest = layer.get_weights()
            kernel = deviation * rng.standard_normal(first.shape)
            layer.set_weights([kernel, *(np.zeros(weight.shape) for weight in rest)])


def contrastive(encoder: Any, high: float, seed: int) -> Any:
    """SimCLR: a Keras model whose `fit(images)` teaches the encoder without labels.

    Two random views of every image (shifted, zoomed, contrast and noise changed; not mirrored,
    since digits are not) go through the encoder and a small projection; the loss is the
    cross-entropy of telling an image's other view among all views of the batch, from cosines over a
    temperature of 0.5.

    Args:
        encoder: images to Z; its weights are changed.
        high: of the pixels.
        seed: of views and projection.

    References:
        T. Chen et al.: A simple framework for contrastive learning of visual representations. ICML
        2020.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    views = keras.Sequential(
        [
            layers.RandomTranslation(_SHIFT, _SHIFT, fill_mode="constant", seed=seed),
            layers.RandomZoom((-_ZOOM, _ZOOM), fill_mode="constant", seed=seed + 1),
            layers.RandomContrast(_CONTRAST, value_range=(0.0, high), seed=seed + 2),
            layers.Rescaling(1.0 / high),  # the noise may not be more than 1
            layers.GaussianNoise(_NOISE, seed=seed + 3),
            layers.Rescaling(high),
        ]
    )
    wide = int(encoder.output.shape[-1])
    projection = keras.Sequential(
        [layers.Input((wide,)), layers.Dense(wide, activation="relu"), layers.Dense(_PROJECTED)]
    )

    class Contrastive(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.views, self.projection = encoder, views, projection

        def call(self, images: Any, training: Any = None) -> Any:
            return self.encoder(images, training=training)

        def train_step(self, data: Any) -> dict[str, Any]:
            images = tf.cast(data[0] if isinstance(data, tuple) else data, tf.float32)
            with tf.GradientTape() as tape:
                seen = [
                    self.projection(
                        self.encoder(self.views(images, training=True), training=True),
                        training=True,
                    )
                    for _ in range(2)
                ]
                loss = contrast(tf.concat(seen, axis=0), _TEMPERATURE)
            weights = [*self.encoder.trainable_weights, *self.projection.trainable_weights]
            slopes = tape.gradient(loss, weights)
            self.optimizer.apply_gradients(zip(slopes, weights, strict=True))
            return {"contrast": loss}

    return Contrastive()


def contrast(both: Any, temperature: float) -> Any:
    """Mean cross-entropy of finding each row's partner among the other rows, in nats.

    Args:
        both: (2 n, d) tensor; rows i and n + i belong together.
        temperature: by which cosines are divided.
    """
    import tensorflow as tf

    unit = tf.math.l2_normalize(both, axis=1)
    count = tf.shape(unit)[0]
    scores = tf.matmul(unit, unit, transpose_b=True) / temperature
    scores = tf.linalg.set_diag(scores, tf.fill([count], -1e9))
    partner = tf.roll(tf.range(count), count // 2, 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, scores))


@dataclass(frozen=True)
class Scale:
    """How wide the diffusion kernel is, and how the difference is made."""

    name: str
    label: str
    settings: tuple[tuple[str, Any], ...]

    @property
    def entropy(self) -> Any:
        """The estimator of the entropy."""
        from oip import mi

        return mi.estimator("dse", **dict(self.settings))

    @property
    def information(self) -> Any:
        """The estimator of the information."""
        from oip import mi

        return mi.estimator("dsmi", **dict(self.settings))


SCALES = (
    Scale("reference", "sigma 10, as in the authors' code", (("reference", True),)),
    Scale("relative", "no units, as published", (("relative", 0.2),)),
)
"""The authors' code: sigma 10, less random subsets of a class's size. And eq. 4 and 5 with 2
sigma^2 = 0.2 of the median squared distance."""
QUANTITIES = ("entropy", "label", "input")
"""S(Z), I(Z;Y), I(Z;X)."""


def measure(z: np.ndarray, codes: np.ndarray, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """All quantities of a representation, in bits.

    Args:
        z: (n, d), finite.
        codes: (n,) int, classes.
        x: (n, pixels), the input, which is made ten spectral clusters.
        seed: of clusters and subsets.

    Returns:
        `K entropy`, `K label`, `K input` of each scale K; 0 of a constant z.
    """
    z = np.asarray(z, np.float64)
    found = {}
    for scale in SCALES:
        known = scale.information
        values = (
            scale.entropy.entropy(z, seed).nats,
            known.over_maps(z[:, None], codes, seed, one_vs_rest=False).raw[0],
            known.information(z, x, seed).nats,
        )
        for name, value in zip(QUANTITIES, values, strict=True):
            found[f"{scale.name} {name}"] = np.array(bits(float(value)))
    return found


def corrupted(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which a share was replaced by random ones of the same classes."""
    result = codes.copy()
    places = rng.permutation(len(codes))[: round(share * len(codes))]
    result[places] = rng.integers(0, codes.max() + 1, len(places))
    return result


def true_information(classes: int, share: float) -> float:
    """I of a label of equal classes and the same label with a share replaced by chance, in bits.

    log2 k - H(1 - s + s/k, s/k, ..., s/k): what a representation that holds the label knows of the
    corrupted one.
    """
    wrong = share / classes
    odds = np.array([1 - share + wrong, *[wrong] * (classes - 1)])
    odds = odds[odds > 0]
    return float(np.log2(classes) + (odds * np.log2(odds)).sum())


METHODS = ("supervised", "SimCLR", "random labels")
LONGER = 4
"""Times the epochs for random labels, which are learned by heart."""
_RATE = 1e-3
_FITTED = 2_000
"""Images that were learned from, of which the share of given labels is told."""


@dataclass(frozen=True)
class Learning:
    """One training."""

    source: str
    recipe: str
    method: str
    seed: int
    epochs: int
    deviation: float | None = None
    """Of the first kernels of convolutions; Keras' own start if None."""

    @property
    def name(self) -> str:
        """For files, without anything of a path."""
        start = "" if self.deviation is None else f"-deviation{self.deviation:g}"
        words = (slug(part) for part in (base_name(self.source), self.recipe, self.method))
        return f"{'-'.join(words)}{start}-seed{self.seed}"


@dataclass(frozen=True, eq=False)
class Watched:
    """What representations are measured on."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray
    """(n, d) from 0 to 1."""

    @classmethod
    def of(cls, data: Any, count: int, seed: int) -> Watched:
        """Some images of a data set, in the shares of their classes, two of each at least."""
        from oip.mi.validation import stratified

        codes = np.unique(data.labels, return_inverse=True)[1]
        places = stratified(codes, max(count, 2 * (int(codes.max()) + 1)), seed)
        images = data.images[places]
        pixels = images.reshape(len(images), -1).astype(np.float64) / data.high
        return cls(images, codes[places], pixels)


def learned(
    one: Learning, data: tuple[Any, Any], count: int, records: int, progress: Progress
) -> dict[str, np.ndarray]:
    """Trains a network and measures its representation on the way.

    Args:
        one: what is trained, by Adam in batches of 128.
        data: images to learn from, and those to measure and judge by.
        count: of images that are measured.
        records: of the training, about, growing in even ratios.
        progress: told batches.

    Returns:
        `steps` (t,), of each quantity of `measure` (t,), `accuracy` (t,) on all test images (NaN
        where nothing was learned of labels); with labels `fitted`, the share of the labels that it
        was given that it gives back.
    """
    import keras

    from oip import models
    from oip.models.datasets import statistics

    data_train, data_test = data
    keras.utils.set_random_seed(one.seed)
    mean, std = statistics(data_train.images)
    classes = len(data_train.classes)
    model = models.recipe(one.recipe).build(data_train.images.shape[1:], classes, mean, std)
    if one.deviation is not None:
        scaled_start(model, one.deviation, one.seed)
    encoder = before_head(model)
    watched = Watched.of(data_test, count, one.seed)
    labels = data_train.labels
    if one.method == "random labels":
        labels = seeds.generator(one.seed, "random labels").permutation(labels)
    an_epoch = -(-len(data_train) // 128)
    steps = recorded_steps(an_epoch, one.epochs * an_epoch, records)
    run = forward(model)
    judged = None if one.method == "SimCLR" else (lambda: accuracy(run, data_test))
    watcher: Any = _watcher(encoder, watched, set(steps), judged, one.seed, progress, max(steps))
    optimizer = keras.optimizers.Adam(_RATE)
    pixels = data_train.images
    fitting: dict[str, Any] = {"batch_size": 128, "verbose": 0, "callbacks": [watcher]}
    if one.method == "SimCLR":
        learner = contrastive(encoder, data_train.high, one.seed)
        learner.compile(optimizer=optimizer, jit_compile=False)
        learner.fit(pixels, epochs=one.epochs, **fitting)
        return watcher.found()
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(pixels, labels, epochs=one.epochs, **fitting)
    fitted = run(pixels[:_FITTED]).argmax(axis=1) == labels[:_FITTED]
    return {**watcher.found(), "fitted": np.array(float(fitted.mean()))}


def _watcher(
    encoder: Any,
    watched: Watched,
    wanted: set[int],
    judged: Callable[[], float] | None,
    seed: int,
    progress: Progress,
    total: int,
) -> Any:
    """A Keras callback that measures at some steps."""
    import keras

    class Watcher(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self._step = 0
            self._represent = forward(encoder)
            self._steps: list[int] = []
            self._rows: list[dict[str, np.ndarray]] = []

        def on_train_begin(self, logs: Any = None) -> None:
            progress("training", 0, total)
            self._measure()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._step += 1
            progress("training", self._step, total)
            if self._step in wanted:
                self._measure()

        def found(self) -> dict[str, np.ndarray]:
            names = self._rows[0]
            rows = {name: np.array([row[name] for row in self._rows]) for name in names}
            return {"steps": np.array(self._steps), **rows}

        def _measure(self) -> None:
            z = self._represent(watched.images)
            if not np.isfinite(z).all():
                return
            row = measure(z, watched.codes, watched.pixels, seed)
            row["accuracy"] = np.array(np.nan if judged is None else judged())
            self._steps.append(self._step)
            self._rows.append(row)

    return Watcher()


_DRAWS = 2000


@dataclass(frozen=True)
class Kind:
    """A small network of the set that is trained here."""

    recipe: str
    images: int
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.recipe}-{self.images}-{self.epochs}-seed{self.seed}"


def small_network(
    kind: Kind, data: tuple[Any, Any], watched: Watched, seed: int
) -> dict[str, np.ndarray]:
    """Trains one network of the set and measures it.

    Returns:
        `accuracy` on the test images, `size` (weights), and the quantities of `measure`.
    """
    import keras

    from oip import models
    from oip.models.datasets import statistics

    data_train, data_test = data
    keras.utils.set_random_seed(kind.seed)
    images, labels = data_train.images[: kind.images], data_train.labels[: kind.images]
    mean, std = statistics(data_train.images)
    model = models.recipe(kind.recipe).build(images.shape[1:], len(data_train.classes), mean, std)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, batch_size=32, epochs=kind.epochs, verbose=0)
    z = forward(before_head(model))(watched.images)
    return {
        "accuracy": np.array(accuracy(forward(model), data_test)),
        "size": np.array(model.count_params()),
        **measure(z, watched.codes, watched.pixels, seed),
    }


def model_files(pattern: str) -> list[Path]:
    """The files of a pattern, sorted.

    Raises:
        SettingsError: it matches fewer than three.
    """
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if len(found) < 3:
        raise SettingsError(expected("--models", "a pattern of 3 model files or more", len(found)))
    return found


def file_network(path: Path, load: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    """One trained network from a file.

    Args:
        path: of the model.
        load: gives the data for (height, width), bands.
        count: of images that are measured.
        seed: of clusters and subsets.

    Returns:
        As `small_network`. The accuracy is that on the data where the model has a class for each
        of theirs, else what its sidecar says.

    Raises:
        MissingData: there are no data.
        OipError: it cannot be measured, and why.
    """
    from oip.network.network import Network

    network = Network(path)
    height, width, bands = _image_shape(network)
    data = load((height, width), bands)
    try:
        return _measured(network, path, data, count, seed)
    except OipError:
        raise
    except Exception as error:  # of a network of others, which must not stop the study
        raise ModelError(expected(path.name, "a network that runs on the images", error)) from error


def _image_shape(network: Any) -> tuple[int, int, int]:
    """Height, width and bands that a network takes.

    Raises:
        ModelError: it is no network from images to one row of numbers, or has NaN weights.
    """
    model = network.model
    ends = len(model.inputs), len(model.outputs)
    if ends != (1, 1):
        found = f"{ends[0]} inputs and {ends[1]} outputs"
        raise ModelError(expected(f"'{network.name}'", "one input and one output", found))
    shape = network.inputs.shape
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ModelError(expected(f"'{network.name}'", "an input of images of 1 or 3 bands", shape))
    if len(model.outputs[0].shape) != 2:
        outputs = tuple(model.outputs[0].shape)
        raise ModelError(expected(f"'{network.name}'", "an output (n, classes)", outputs))
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise ModelError(expected(f"'{network.name}'", "finite weights", "NaN or infinity"))
    height, width, bands = shape
    return height, width, bands


def _measured(network: Any, path: Path, data: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    from oip.network.inputs import check_images, read_sidecar

    check_images(network.inputs, data.images)
    encoder = before_head(network.model)
    if len(encoder.outputs[0].shape) != 2:
        found = tuple(encoder.outputs[0].shape)
        wanted = "a head that receives one row of numbers an image"
        raise ModelError(expected(f"'{network.name}'", wanted, found))
    watched = Watched.of(data, count, seed)
    z = forward(encoder)(watched.images)
    if not np.isfinite(z).all():
        raise ModelError(expected(f"'{network.name}'", "finite responses", "NaN or infinity"))
    outputs = int(network.model.outputs[0].shape[-1])
    told = (read_sidecar(path) or {}).get("accuracy")
    if outputs == len(data.classes):
        right = accuracy(forward(network.model), data)
    elif isinstance(told, float):
        right = told
    else:
        wanted = f"{len(data.classes)} classes, or a sidecar with its accuracy"
        raise ModelError(expected(f"'{network.name}'", wanted, f"{outputs} classes"))
    return {
        "accuracy": np.array(right),
        "size": np.array(network.model.count_params()),
        **measure(z, watched.codes, watched.pixels, seed),
    }


def correlations(values: np.ndarray, scores: np.ndarray, seed: int) -> dict[str, float]:
    """Pearson's and Spearman's correlation, p-values, and an interval of the latter.

    Args:
        values: (networks,), of a quantity.
        scores: (networks,), accuracies.
        seed: of the bootstrap over networks.
    """
    from scipy.stats import pearsonr, rankdata, spearmanr

    from oip.core import seeds

    if not np.ptp(values) or not np.ptp(scores):
        return dict.fromkeys(("pearson", "pearson p", "spearman", "spearman p", "low", "high"), 0.0)
    linear: Any = pearsonr(values, scores)
    ranked: Any = spearmanr(values, scores)
    rows = seeds.generator(seed, "networks").integers(0, len(values), (_DRAWS, len(values)))
    first, second = (rankdata(one[rows], axis=1) for one in (values, scores))
    first -= first.mean(axis=1, keepdims=True)
    second -= second.mean(axis=1, keepdims=True)
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    drawn = (first * second).sum(axis=1)[size > 0] / size[size > 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "pearson": float(linear.statistic),
        "pearson p": float(linear.pvalue),
        "spearman": float(ranked.statistic),
        "spearman p": float(ranked.pvalue),
        "low": float(low),
        "high": float(high),
    }


def quantity_names() -> list[str]:
    """Keys of the quantities that are correlated."""
    return [f"{scale.name} {quantity}" for scale in SCALES for quantity in QUANTITIES]
