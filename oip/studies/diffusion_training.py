"""Networks of the study of diffusion spectra, trained or from files, measured before the head."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, OipError
from oip.core.plots import figure
from oip.core.progress import Progress, silent
from oip.core.units import bits
from oip.studies import panels
from oip.studies.data import Images
from oip.studies.findings import Value, agreement, finding, rank_agreement
from oip.studies.report import Arrays, Folder, base_name, slug
from oip.studies.trained import (
    ImageBatch,
    StepRecorder,
    accuracy,
    network_predictor,
    number_of_each,
    predictor,
    recorded_steps,
)

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

    from oip.mi import Estimator
    from oip.mi.estimators.base import LabelEstimator
    from oip.models.datasets import Dataset
    from oip.network.network import Network

QUANTITIES = {"entropy": "S(Z)", "label": "I(Z;Y)", "input": "I(Z;X)"}
"""Name in arrays -> symbol."""
_DRAWS = 2000
FEWEST = 9
"""Networks from which on correlations have an interval, and p-values are those of many."""
_ROUND = 1e-9  # correlations that are nearer are equal


@dataclass(frozen=True)
class KernelScale:
    """The width of the diffusion kernel, and how the difference is made."""

    name: str
    """In arrays."""
    short: str
    """In findings and titles."""
    label: str
    settings: tuple[tuple[str, float], ...]

    @property
    def entropy(self) -> Estimator:
        """The estimator of the entropy."""
        from oip import mi

        return mi.estimator("dse", **dict(self.settings))

    @property
    def information(self) -> LabelEstimator:
        """The estimator of the information."""
        from oip.mi.estimators.base import label_estimator

        return label_estimator("dsmi", **dict(self.settings))


SCALES = (
    KernelScale(
        "reference", "sigma 10", "sigma 10, as in the authors' code", (("reference", True),)
    ),
    KernelScale("relative", "no units", "no units, as published", ()),
)
"""The authors' code: sigma 10, less random subsets of a class's size. And eq. 4 and 5 with the
estimators' own width: 5 % of the distances are under sigma."""


def measured_images(data: Dataset, count: int, seed: int) -> ImageBatch:
    """Return some images in the shares of their classes, two of each at least."""
    from oip.mi.validation import stratified

    codes = np.unique(data.required_labels(), return_inverse=True)[1]
    rows = stratified(codes, max(count, 2 * (int(codes.max()) + 1)), seed)
    return ImageBatch.of(data, codes, rows)


def representation_information(z: np.ndarray, batch: ImageBatch, seed: int) -> Arrays:
    """Return `K entropy`, `K label`, `K input` of each scale K in bits; 0 of a constant z.

    z (n, d) is finite; ten spectral clusters are made of the pixels. The seed is theirs.
    """
    z = np.asarray(z, np.float64)
    arrays = {}
    for scale in SCALES:
        nats = {
            "entropy": scale.entropy.entropy(z, seed).nats,
            "label": class_information(scale.information, z, batch.codes, seed),
            "input": scale.information.information(z, batch.pixels, seed).nats,
        }
        for name, value in nats.items():
            arrays[f"{scale.name} {name}"] = np.array(bits(float(value)))
    return arrays


TIMES = (1, 2, 5, 20, 100)
"""Of the diffusion, at which the entropy of a representation is measured."""
_CLUSTERED = 0.5
"""Bits from log2 of the classes within which S(Z) at the longest time counts as theirs."""


def entropy_over_times(z: np.ndarray, seed: int) -> Arrays:
    """Return `K over t` (times,) of each scale K: S(Z) in bits at each of `TIMES`."""
    z = np.asarray(z, np.float64)
    return {
        f"{scale.name} over t": np.array(
            [bits(replace(scale.entropy, time=t).entropy(z, seed).nats) for t in TIMES]
        )
        for scale in SCALES
    }


def add_times(
    folder: Folder, key: str, subject: str, trainings: Mapping[str, list[Arrays]], classes: int
) -> None:
    """Draw S(Z) over the diffusion time before and after training, and add the finding on it."""
    drawing, (row,) = figure(6.4, 2.6, 1, len(SCALES))
    numbers: dict[str, np.ndarray] = {"times": np.array(TIMES)}
    values, outcomes = {}, []
    for axes, scale in zip(row, SCALES, strict=True):
        name = f"{scale.name} over t"
        start = np.array([arrays[name][0] for arrays in trainings["supervised"]])
        panels.runs(axes, TIMES, start, 0, "before training")
        numbers[f"before training, {name}"] = start
        for index, (method, several) in enumerate(trainings.items(), 1):
            end = np.array([arrays[name][-1] for arrays in several])
            panels.runs(axes, TIMES, end, index, method)
            numbers[f"{method}, {name}"] = end
        panels.ceiling(axes, math.log2(classes), ":")
        axes.set(xscale="log", title=scale.label, xlabel="diffusion time t", ylabel="S(Z) (bits)")
        last = numbers[f"supervised, {name}"][:, -1]
        values[scale.short] = [
            Value.spread_of(start[:, -1], "start"),
            Value.spread_of(last, "end"),
        ]
        outcomes.append(abs(last.mean() - math.log2(classes)) < _CLUSTERED)
    panels.legend_below(drawing, row[0], 4)
    constants = {"time": TIMES[-1], "classes": classes, "where_trained": subject}
    constants |= {"seeds": len(trainings["supervised"]), "near": _CLUSTERED}
    folder.figure(f"times-{key}", drawing, folder.text("times", **constants), numbers)
    folder.add(finding("diffusion", "ten_clusters", agreement(outcomes), values, **constants))


def draw_over_accuracy(
    folder: Folder, key: str, trainings: Mapping[str, list[Arrays]], setting: str
) -> None:
    """Draw S(Z), I(Z;Y), I(Z;X) over the accuracy on test images, as figures 6 to 8 have them.

    Trainings without an accuracy, such as those by SimCLR, are left out.
    """
    drawing, grid = figure(7.0, 4.4, len(SCALES), len(QUANTITIES), sharex=True)
    numbers = {}
    for index, (method, several) in enumerate(trainings.items()):
        accuracies = 100 * np.array([arrays["accuracy"] for arrays in several])  # (seeds, t)
        if not np.isfinite(accuracies).all():
            continue
        numbers[f"{method} accuracy (%)"] = accuracies
        sizes = np.broadcast_to(np.linspace(4, 24, accuracies.shape[1]), accuracies.shape)
        look = {"s": sizes, "color": panels.color(index), "marker": panels.marker(index)}
        for row, scale in zip(grid, SCALES, strict=True):
            for axes, quantity in zip(row, QUANTITIES, strict=True):
                values = np.array([arrays[f"{scale.name} {quantity}"] for arrays in several])
                numbers[f"{method} {scale.name} {quantity}"] = values
                axes.scatter(accuracies, values, alpha=0.6, linewidths=0, label=method, **look)
    for row, scale in zip(grid, SCALES, strict=True):
        for axes, symbol in zip(row, QUANTITIES.values(), strict=True):
            axes.set_title(f"{symbol}, {scale.short}")
        row[0].set_ylabel("bits")
    for axes in grid[-1]:
        axes.set(xlabel="accuracy (%)", xlim=(0, 102))
    panels.legend_below(drawing, grid[0, 0], 3)
    top, bottom = (scale.label for scale in SCALES)
    texts = {"setting": setting, "top": top, "bottom": bottom}
    caption = folder.caption("over_accuracy", key, **texts)
    folder.figure(f"over-accuracy-{key}", drawing, caption, numbers)


def final_accuracy(arrays: Arrays) -> float:
    """Return the accuracy at the last record of a training."""
    return float(arrays["accuracy"][-1])


def mean_accuracy(arrays: Arrays) -> float:
    """Return the mean accuracy over a training, up to its last record."""
    steps = arrays["steps"].astype(float)
    return float(np.trapezoid(arrays["accuracy"], steps) / max(np.ptp(steps), 1.0))


def class_information(
    estimator: LabelEstimator, x: np.ndarray, codes: np.ndarray, seed: int
) -> float:
    """Return I of numbers x (n, d) and a label, in nats, negative values too."""
    return float(
        estimator.over_maps(x[:, None], codes, seed, one_vs_rest=False, distinct=True).raw[0]
    )


def subset_information(
    estimator: LabelEstimator, x: np.ndarray, codes: np.ndarray, rng: np.random.Generator
) -> float:
    """Return sum_y p_y (S(random subsets of a class's size) - S(class)) in nats, x (n, d).

    The authors' code has it for classic entropy as for that of diffusion; the mean of five subsets.
    """
    from oip.mi.estimators.diffusion import SUBSETS

    total = 0.0
    for members in (np.flatnonzero(codes == code) for code in np.unique(codes)):
        subsets = [rng.permutation(len(x))[: len(members)] for _ in range(SUBSETS)]
        mean = np.mean([estimator.entropy(x[rows], 0).nats for rows in subsets])
        total += len(members) / len(x) * float(mean - estimator.entropy(x[members], 0).nats)
    return total


def corrupted(codes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return labels of which a share was replaced by random ones of the same classes."""
    result = codes.copy()
    rows = rng.permutation(len(codes))[: round(share * len(codes))]
    result[rows] = rng.integers(0, codes.max() + 1, len(rows))
    return result


def corrupted_information(classes: int, share: float) -> float:
    """Return I in bits of a label of equal classes and its copy with a share replaced by chance.

    log2 k - H(1 - s + s/k, s/k, ..., s/k).
    """
    from scipy.stats import entropy

    error_share = share / classes
    return float(
        np.log2(classes)
        - entropy([1 - share + error_share, *[error_share] * (classes - 1)], base=2)
    )


class Correlation(NamedTuple):
    """Pearson's and Spearman's correlation, with an interval of the latter by bootstrap.

    Correlations and interval are NaN where a series is constant, the interval also for fewer than
    `FEWEST` networks, of which a bootstrap draws the same few again and again.
    """

    pearson: float = math.nan
    pearson_p: float = 1.0
    spearman: float = math.nan
    spearman_p: float = 1.0
    low: float = math.nan
    high: float = math.nan


def correlation(values: np.ndarray, scores: np.ndarray, seed: int) -> Correlation:
    """Return the correlation of a quantity with accuracy over networks, both (networks,).

    The seed is that of the bootstrap over networks. The p-value of Spearman's correlation is that
    of all permutations for fewer than `FEWEST` networks, of a t distribution for more.
    """
    from scipy.stats import pearsonr, spearmanr

    if not np.ptp(values) or not np.ptp(scores):
        return Correlation()
    count, series = len(values), np.stack([values, scores], axis=1)
    tests = np.array([statistic(values, scores) for statistic in (pearsonr, spearmanr)])
    (pearson, pearson_p), (spearman, spearman_p) = tests.tolist()
    low = high = math.nan
    if count < FEWEST:
        orders = np.array(list(itertools.permutations(range(count))))
        paired = np.stack([np.broadcast_to(values, orders.shape), scores[orders]], axis=-1)
        by_chance = np.abs(rank_agreement(paired)) >= abs(spearman) - _ROUND
        spearman_p = float(by_chance.mean())
    else:
        rows = seeds.generator(seed, "networks").integers(0, count, (_DRAWS, count))
        low, high = np.nanquantile(rank_agreement(series[rows]), [0.025, 0.975]).tolist()
    return Correlation(pearson, pearson_p, spearman, spearman_p, low, high)


def correlation_gap(values: np.ndarray, rivals: np.ndarray, scores: np.ndarray, seed: int) -> Value:
    """Return by how much |Spearman| of values with scores is above that of rivals, all (networks,).

    The interval is that of networks drawn with replacement, NaN for fewer than `FEWEST`; all is NaN
    where one is constant.
    """
    if not all(map(np.ptp, (values, rivals, scores))):
        return Value("", math.nan)
    rows = seeds.generator(seed, "networks").integers(0, len(scores), (_DRAWS, len(scores)))
    rows = np.concatenate([np.arange(len(scores))[None], rows])
    first, second = (
        np.abs(rank_agreement(np.stack([series, scores], axis=1)[rows]))
        for series in (values, rivals)
    )
    gaps = first - second
    low, high = np.nanquantile(gaps[1:], [0.025, 0.975])
    if len(scores) < FEWEST:
        low = high = math.nan
    return Value("", float(gaps[0]), float(low), float(high), "+.2f")


_TEMPERATURE = 0.5
_PROJECTED = 64
_SHIFT, _ZOOM, _CONTRAST, _NOISE = 0.15, 0.2, 0.4, 0.05
METHODS = ("supervised", "SimCLR", "random labels")
_RATE = 1e-3
_FITTED = 2_000  # training images of which the share of learned labels is counted


def _built(recipe: str, data: Dataset, seed: int) -> keras.Model:
    """Return an untrained network whose input is standardized by the data."""
    import keras

    from oip import models
    from oip.models.datasets import statistics

    keras.utils.set_random_seed(seed)
    mean, std = statistics(data.images)
    return models.recipe(recipe).build(data.images.shape[1:], len(data.classes), mean, std)


def contrastive(encoder: keras.Model, high: float, seed: int) -> keras.Model:
    """Return a Keras model whose `fit(images)` teaches the encoder without labels.

    Two random views of every image (shifted, zoomed, contrast and noise changed; not mirrored,
    since digits are not) go through the encoder and a small projection; the loss is the
    cross-entropy of telling an image's other view among all views of the batch, from cosines over a
    temperature of 0.5. The pixels are from 0 to `high`; the weights of the encoder are changed.

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
    width = int(encoder.outputs[0].shape[-1])
    projection = keras.Sequential(
        [layers.Input((width,)), layers.Dense(width, activation="relu"), layers.Dense(_PROJECTED)]
    )

    class Contrastive(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.views, self.projection = encoder, views, projection

        def compile(self, optimizer: keras.Optimizer, **_options: object) -> None:
            """Set the optimizer; the loss is the model's own."""
            super().compile(optimizer=optimizer, jit_compile=False)
            optimizer.build(self._weights)  # else Keras traces a step twice

        @property
        def _weights(self) -> list[keras.Variable]:
            return [*self.encoder.trainable_weights, *self.projection.trainable_weights]

        def call(self, images: Tensor, training: bool | None = None) -> Tensor:
            return self.encoder(images, training=training)

        def train_step(self, data: tuple[Tensor, ...] | Tensor) -> dict[str, Tensor]:
            images = tf.cast(data[0] if isinstance(data, tuple) else data, tf.float32)

            def project() -> Tensor:
                views = self.views(images, training=True)
                return self.projection(self.encoder(views, training=True), training=True)

            with tf.GradientTape() as tape:
                loss = contrast(tf.concat([project(), project()], axis=0), _TEMPERATURE)
            slopes = tape.gradient(loss, self._weights)
            self.optimizer.apply_gradients(zip(slopes, self._weights, strict=True))
            # Of "loss" alone Keras would report its own tracker, which is empty here.
            return {"loss": loss, "contrast": loss}

    return Contrastive()


def contrast(views: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each row's partner among the rest, in nats.

    Rows i and n + i of the views (2 n, d) belong together; cosines are divided by a temperature.
    """
    import tensorflow as tf

    unit = tf.math.l2_normalize(views, axis=1)
    count = tf.shape(unit)[0]
    scores = tf.matmul(unit, unit, transpose_b=True) / temperature
    scores = tf.linalg.set_diag(scores, tf.fill([count], -1e9))
    partner = tf.roll(tf.range(count), count // 2, 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, scores))


@dataclass(frozen=True)
class TrainingPlan:
    """One training, by Adam in batches of 128."""

    source: str
    recipe: str
    method: str
    epochs: int
    seed: int = 0
    deviation: float | None = None  # of the first kernels of convolutions; Keras' own if None
    entropy: float | None = None  # at the start, in bits, by `models.initialize`
    he: bool = False  # first kernels as K. He et al. draw them

    @property
    def name(self) -> str:
        """The name of its files, without anything of a path."""
        start = "" if self.deviation is None else f"-deviation{self.deviation:g}"
        start += "" if self.entropy is None else f"-entropy{self.entropy:g}"
        start += "-he" * self.he
        slugs = (slug(word) for word in (base_name(self.source), self.recipe, self.method))
        return f"{'-'.join(slugs)}{start}-seed{self.seed}"


def measured_training(
    plan: TrainingPlan, images: Images, count: int, records: int, progress: Progress
) -> Arrays:
    """Train a network and measure its representation of `count` test images on the way.

    Returns:
        `steps` (t,), of each quantity of `representation_information` (t,), of `entropy_over_times`
        (t, times), `accuracy` (t,) on all test images (NaN of SimCLR); with labels `fitted`, the
        share of them that was learned.
    """
    from oip.models.training import TrainingDiverged, TrainSettings, before_head, fit, release

    data = images.train
    model = _built(plan.recipe, data, plan.seed)
    batch = measured_images(images.test, count, plan.seed)
    _start(model, plan, batch.images)
    encoder = before_head(model)
    predict, represent = predictor(model), predictor(encoder)
    supervised = plan.method != "SimCLR"
    if plan.method == "random labels":
        rng = seeds.generator(plan.seed, "random labels")
        data = replace(data, labels=rng.permutation(data.required_labels()))

    def measure() -> Arrays | None:
        z = represent(batch.images)
        if not np.isfinite(z).all():
            return None
        reached = np.array(accuracy(predict, images.test) if supervised else math.nan)
        spectra = entropy_over_times(z, plan.seed)
        return {**representation_information(z, batch, plan.seed), **spectra, "accuracy": reached}

    an_epoch = math.ceil(len(data) / 128)
    steps = recorded_steps(an_epoch, plan.epochs * an_epoch, records)
    recorder = StepRecorder(steps, lambda _: measure)
    learner = model if supervised else contrastive(encoder, data.high, plan.seed)
    settings = TrainSettings(plan.epochs, learning_rate=_RATE, schedule="constant")
    with suppress(TrainingDiverged):
        fit(learner, data, settings, progress, [recorder.callback])
    rows = recorder.rows()
    if supervised:
        guesses = predict(data.images[:_FITTED]).argmax(axis=1)
        rows["fitted"] = np.mean(guesses == data.required_labels()[:_FITTED])
    release(learner)
    return rows


@dataclass(frozen=True)
class SmallNetwork:
    """A small network of the set that is trained here, by Adam in batches of 32."""

    recipe: str
    images: int
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.recipe}-{self.images}-{self.epochs}-seed{self.seed}"


def trained_small_network(
    network: SmallNetwork, images: Images, batch: ImageBatch, seed: int
) -> Arrays:
    """Train one network of the set on the first images, and measure it, see `_measured`."""
    from oip.models.datasets import take_images
    from oip.models.training import TrainSettings, before_head, fit, release

    data = images.train
    model = _built(network.recipe, data, network.seed)
    indices = np.arange(min(network.images, len(data)))
    settings = TrainSettings(network.epochs, batch=32, learning_rate=_RATE, schedule="constant")
    fit(model, take_images(data, indices, data.source), settings, silent)
    z = predictor(before_head(model))(batch.images)
    measured = _measured(model, accuracy(predictor(model), images.test), z, batch, seed)
    release(model)
    return measured


def _start(model: keras.Model, plan: TrainingPlan, images: np.ndarray) -> None:
    """Draw the kernels that a training begins with, where they are not Keras' own."""
    import keras

    from oip.models.training import initialize, scale_kernels

    if plan.deviation is not None:
        scale_kernels(model, plan.deviation, plan.seed)
    if plan.entropy is not None:
        initialize(model, images, SCALES[0].entropy, plan.entropy, plan.seed)
    if plan.he:
        for layer_index, layer in enumerate(model.layers):
            if hasattr(layer, "kernel"):
                draw = keras.initializers.HeNormal(seed=plan.seed + layer_index)
                layer.kernel.assign(draw(layer.kernel.shape))


def _measured(
    model: keras.Model, reached: float, z: np.ndarray, batch: ImageBatch, seed: int
) -> Arrays:
    """Return `accuracy`, `size` (weights) and the quantities of `representation_information`."""
    counts = {"accuracy": np.array(reached), "size": np.array(model.count_params())}
    return {**counts, **representation_information(z, batch, seed)}


def file_network(
    path: Path, load: Callable[[tuple[int, int], int], Dataset], count: int, seed: int
) -> Arrays:
    """Measure a trained network from a file on `count` images, loaded in (height, width), bands.

    Returns:
        As `trained_small_network`. The accuracy is that on the data where the model has a class for
        each of theirs, else that of its sidecar.

    Raises:
        MissingData: there are no data.
        OipError: it cannot be measured, and why.
    """
    from oip.network.network import Network

    network = Network(path)
    height, width, bands = _image_shape(network)
    data = load((height, width), bands)
    try:
        return measure_network(network, path, data, count, seed)
    except OipError:
        raise
    except Exception as error:  # of a user's network, which must not stop the study
        raise ModelError(path.name, "a network that runs on the images", error) from error


def _image_shape(network: Network) -> tuple[int, ...]:
    """Return height, width and bands; raise ModelError if it is no network of finite weights."""
    model, shape = network.model, network.inputs.shape
    counts, outputs = (len(model.inputs), len(model.outputs)), tuple(model.outputs[0].shape)
    finite = all(np.isfinite(weight).all() for weight in model.get_weights())
    for holds, needs, received in (
        (
            counts == (1, 1),
            "one input and one output",
            f"{counts[0]} inputs and {counts[1]} outputs",
        ),
        (len(shape) == 3 and shape[-1] in (1, 3), "an input of images of 1 or 3 bands", shape),
        (len(outputs) == 2, "an output (n, classes)", outputs),
        (finite, "finite weights", "NaN or infinity"),
    ):
        _require(holds, network, needs, received)
    return shape


def _require(holds: bool, network: Network, needs: str, received: object) -> None:
    if not holds:
        raise ModelError(f"'{network.name}'", needs, received)


def measure_network(network: Network, path: Path, data: Dataset, count: int, seed: int) -> Arrays:
    """Measure a network; its sidecar may hold its accuracy. See `file_network`."""
    from oip.mi.judges import own_features
    from oip.network.inputs import check_images, read_sidecar

    check_images(network.inputs, data.images)
    batch = measured_images(data, count, seed)
    z = own_features(network, batch.images)
    _require(bool(np.isfinite(z).all()), network, "finite responses", "NaN or infinity")
    outputs = int(network.model.outputs[0].shape[-1])
    sidecar = read_sidecar(path)
    reached = None if sidecar is None else sidecar.accuracy
    if outputs == len(data.classes):
        reached = accuracy(network_predictor(network), data)
    if reached is None:
        classes = f"{len(data.classes)} classes, or a sidecar with its accuracy"
        raise ModelError(f"'{network.name}'", classes, f"{outputs} classes")
    return _measured(network.model, reached, z, batch, seed)


def draw_networks(
    folder: Folder,
    name: str,
    networks: Mapping[str, Arrays],
    setting: str,
    kinds: Sequence[str] = (),
) -> None:
    """Draw each quantity beside the accuracy, a point a network (figure 10).

    Kinds of the networks, in the same order, have colors and a legend.
    """
    drawing, grid = figure(7.0, 4.4, len(SCALES), len(QUANTITIES))
    accuracies, sizes = number_of_each(networks, "accuracy"), number_of_each(networks, "size")
    numbers = {"networks": np.array(list(networks)), "accuracy": accuracies}
    areas = 6 + 30 * np.sqrt(sizes / sizes.max())
    of_kind = {
        kind: np.array([kind == own_kind for own_kind in kinds]) for kind in dict.fromkeys(kinds)
    }
    of_kind = of_kind or {"": np.ones(len(accuracies), bool)}
    for row, scale in zip(grid, SCALES, strict=True):
        for axes, (quantity, symbol) in zip(row, QUANTITIES.items(), strict=True):
            key = f"{scale.name} {quantity}"
            values = numbers[key] = number_of_each(networks, key)
            correlated = correlation(values, accuracies, folder.settings.seed)
            for index, (kind, rows) in enumerate(of_kind.items()):
                look = {"color": panels.color(index), "marker": panels.marker(index), "label": kind}
                points = values[rows], 100 * accuracies[rows]
                axes.scatter(*points, s=areas[rows], alpha=0.7, linewidths=0, **look)
            axes.set_title(f"r {correlated.pearson:z.2f}, rank {correlated.spearman:z.2f}")
            axes.set_xlabel(f"{symbol} (bits), {scale.short}")
            numbers[f"{key} correlations"] = np.array(correlated)
        row[0].set_ylabel("accuracy (%)")
    if kinds:
        panels.legend_below(drawing, grid[0, 0], 6)
    folder.figure(name, drawing, folder.caption("networks", name, setting=setting), numbers)
