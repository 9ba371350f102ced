"""Networks of the study of matrix Renyi information: training, and information of their layers."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError
from oip.core.units import bits
from oip.mi.backend import thread_map
from oip.mi.estimators.gram import Bandwidth, gram
from oip.mi.estimators.renyi import class_entropy, hadamard, matrix_entropy, renyi_label_entropy
from oip.studies import trained
from oip.studies.data import Images
from oip.studies.report import Arrays, Folder, base_name, slug
from oip.studies.trained import ImageBatch, probe_batches

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor

ALPHA = 1.01
BATCH = 128
"""Samples of a batch, as in the paper."""
ORDINALS = ("first", "second", "third")
"""Of the convolutions whose filters are varied."""
SHARES = ("redundant", "non-redundant")
"""Of pairs: redundancy less synergy, and weighted non-redundant information, of I_ij."""
RATES = {"relu": 0.02, "sigmoid": 0.1}
"""The paper has 0.1. With an input of deviation s in place of 1 the first layer learns as it does
with s^2 times the rate; pixels from 0 to 1 have a deviation of some 0.3, and here the input is
standardized. With 0.1 and momentum 0.95 three of seven networks of ReLU stayed at chance."""
WIDTHS = (0.1, 0.15, 0.2, 0.5, 0.7, 1.4)
"""Sigma as shares of the median distance; the paper names .1 to .2, the study has .7."""
ORDERS = (ALPHA, 2.0, 5.0)
"""Of the entropy: Shannon's nearly, neutral, and of modes."""
_PAIR_MEASURES = (*SHARES, "plane input", "plane label")
_TIMED = 3  # times that each entropy is taken, where its time is measured
_FILTERS = {"inequalities": (6, 12), "planes": (6, 32)}
"""As the paper's figures 2 and 7 have them."""
_ALEXNETS = ((16, 32, 64, 128), (30, 60, 90, 128))
"""Filters of the networks for large images; the paper names those of the first three layers."""
_LARGE_RATE = 0.01
_LARGE = 32  # images of at least so many pixels a side are for the AlexNet-like network


@dataclass(frozen=True)
class RenyiSize:
    """Numbers of images, trainings and measurements of the study; by default the paper's."""

    first: tuple[int, ...] = (1, 2, 4, 6, 12, 24)  # filters, 12 in the second convolution
    second: tuple[int, ...] = (3, 6, 12, 32, 64, 128)  # filters, 6 in the first convolution
    large: tuple[tuple[int, ...], ...] = ((3, 6, 16, 30), (6, 12, 32, 60), (8, 16, 64, 90))
    """Filters of each convolution of the AlexNet-like network, the others at 16, 32, 64, 128."""
    wide: int = 128  # filters of the second convolution where maps are chosen
    images: int | None = None  # of a training; all if None
    tested: int | None = None
    epochs: int = 10
    seeds: int = 10  # trainings of a network in the comparison of widths
    batches: int = 10
    pairs: int = 66
    records: int = 24  # steps of a training that are measured, about
    records_again: int = 4  # the same of a network's other trainings: start and end above all
    removed: tuple[float, ...] = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9)  # shares of a layer's maps
    random_orders: int = 10
    timed: tuple[int, ...] = (250, 500, 1_000, 2_000, 4_000)  # samples of which S is taken


FULL = RenyiSize()
QUICK = RenyiSize(
    first=(2, 6, 24),
    second=(3, 12, 48),
    large=((3, 16), (6, 32), (8, 64)),
    images=12_000,
    tested=2_000,
    epochs=5,
    seeds=1,
    batches=3,
    pairs=20,
    records=9,
    removed=(0.25, 0.55, 0.8),
    random_orders=3,
    timed=(250, 500, 1_000, 2_000),
)


@dataclass(frozen=True)
class NetworkPlan:
    """A network and its training."""

    source: str
    recipe: str
    filters: tuple[int, ...]  # the recipe's own if empty
    activation: str
    rate: float | None  # of SGD with a momentum of 0.95; the recipe's own training if None
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its files, without anything of a path."""
        widths = "-".join(map(str, self.filters)) or "own"
        source = slug(base_name(self.source))
        return f"{source}-{self.recipe}-{widths}-{self.activation}-seed{self.seed}"

    @property
    def label(self) -> str:
        """Activation and filters, for figures."""
        return f"{self.activation} {'-'.join(map(str, self.filters))}".strip()


def plans_for(
    source: str, shape: tuple[int, ...], seed: int, size: RenyiSize, is_first_source: bool
) -> dict[str, list[NetworkPlan]]:
    """Return the networks for images (h, w, bands) by their purpose.

    `inequalities`, `planes`, `first`, `second`, `third` (filters of a convolution), `selection`
    (which of its maps are needed). A quick study compares filters on the first source only.
    """
    plans: dict[str, list[NetworkPlan]] = {name: [] for name in (*_FILTERS, *ORDINALS)}
    if source.startswith("cifar10"):
        epochs = 3 * size.epochs if size.images is None else 2
        vgg_plans = [NetworkPlan(source, "vgg16-cifar", (), "relu", None, epochs, seed)]
        return plans | dict.fromkeys((*_FILTERS, "selection"), vgg_plans)
    if min(shape[:2]) >= _LARGE:
        epochs, compared = round(1.5 * size.epochs), is_first_source or size is FULL

        def alexnet(
            filters: tuple[int, ...], activation: str = "relu", run: int = 0
        ) -> NetworkPlan:
            rate = _LARGE_RATE
            name = "alexnet-small"
            return NetworkPlan(source, name, filters, activation, rate, epochs, seed + run)

        plans["planes"] = plans["inequalities"] = [
            alexnet(filters, activation)
            for filters in _ALEXNETS[: None if compared else 1]
            for activation in RATES
        ]
        usual = _ALEXNETS[0]
        for layer, purpose in enumerate(ORDINALS):
            plans[purpose] = [
                alexnet((*usual[:layer], count, *usual[layer + 1 :]), run=run)
                for run in range(size.seeds if compared else 0)
                for count in size.large[layer]
            ]
        return {**plans, "selection": plans["planes"][:1]}

    def lenet(filters: tuple[int, ...], activation: str = "relu", run: int = 0) -> NetworkPlan:
        rate = RATES[activation]
        return NetworkPlan(source, "lenet5", filters, activation, rate, size.epochs, seed + run)

    for purpose, filters in _FILTERS.items():
        plans[purpose] = [lenet(filters, activation) for activation in RATES]
    compared = is_first_source or size is FULL
    for run in range(size.seeds if compared else 0):
        plans["first"] += [lenet((count, 12), run=run) for count in size.first]
        plans["second"] += [lenet((6, count), run=run) for count in size.second]
    return {**plans, "selection": [lenet((6, size.wide))] if compared else []}


@dataclass(frozen=True)
class KernelWidth:
    """The widths of the Gaussian kernels of Gram matrices."""

    name: str
    label: str
    forward: Bandwidth  # of responses
    backward: Bandwidth  # of errors


KERNELS = (
    KernelWidth("paper", "the paper's width", Bandwidth(silverman=5.0), Bandwidth(silverman=0.1)),
    KernelWidth("relative", "the median distance", Bandwidth(1.0), Bandwidth(1.0)),
)
"""The paper's, in the units of the responses; and one that has no units."""


Varied = Sequence[int] | None
"""Convolutions whose filters are varied: pairs are of their maps only, and nothing is measured
about labels and errors. None for a network of which everything is measured."""


def varied_layers(plans: Mapping[str, list[NetworkPlan]]) -> dict[NetworkPlan, Varied]:
    """Return what is measured of each network of `plans_for` but `inequalities`."""
    groups = (group for purpose, group in plans.items() if purpose != "inequalities")
    all_plans = dict.fromkeys(plan for group in groups for plan in group)

    def of_plan(plan: NetworkPlan) -> Varied:
        if plan in plans["planes"]:
            return None
        return [layer for layer, name in enumerate(ORDINALS) if plan in plans[name]]

    return {plan: of_plan(plan) for plan in all_plans}


class LayerReadings(NamedTuple):
    """Arrays (n, maps, nodes) of each layer; a dense layer is one map with a node for every unit.

    `responses` come after the activation; the class probabilities are the last. `errors` are the
    derivatives of each image's loss by the pre-activation.
    """

    responses: list[np.ndarray]
    errors: list[np.ndarray]


class Probe:
    """A reader of the convolutional and dense layers of a model, also while it is trained.

    The model is a functional one of plain layers that ends in a softmax, as the recipes make them.
    """

    def __init__(self, model: keras.Model):
        import keras

        kinds = (keras.layers.Conv2D, keras.layers.Dense)
        self._layers = [layer for layer in model.layers if type(layer) in kinds]
        self._model = keras.Model(model.inputs, [layer.output for layer in self._layers])
        self._graph = self._compiled()
        self.names = [layer.name for layer in self._layers]
        """Of the layers, first to last."""
        self.maps = [
            int(layer.filters) if isinstance(layer, keras.layers.Conv2D) else 1
            for layer in self._layers
        ]
        """Of each layer; 1 for a dense one."""

    def read(self, images: np.ndarray, labels: np.ndarray) -> LayerReadings:
        """Return the responses and errors of all layers to images (n, h, w, bands).

        `labels` (n,) are positions of the classes in the output.
        """
        outputs, errors = self._graph(np.asarray(images, np.float32), np.asarray(labels, np.int32))
        return LayerReadings(
            [_as_maps(output.numpy()) for output in outputs],
            [_as_maps(error.numpy()) for error in errors],
        )

    def _compiled(self) -> Callable[..., tuple[list[Tensor], list[Tensor]]]:
        import tensorflow as tf

        from oip.network.graphs import compiled

        def read(images: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = self._model(images, training=False)
                true = tf.gather(outputs[-1], labels, batch_dims=1)
                loss = -tf.reduce_sum(tf.math.log(true + 1e-12))
            slopes = tape.gradient(loss, outputs[:-1])
            hidden = [
                slope * _derivative(layer, output)
                for layer, output, slope in zip(self._layers, outputs, slopes, strict=False)
            ]
            last = outputs[-1] - tf.one_hot(labels, outputs[-1].shape[-1])
            return outputs, [*hidden, last]

        image = tf.TensorSpec((None, *self._model.inputs[0].shape[1:]), tf.float32)
        return compiled(read, image, tf.TensorSpec((None,), tf.int32))


def _derivative(layer: keras.Layer, output: Tensor) -> Tensor:
    """Return the derivative of the layer's activation, from its output."""
    import tensorflow as tf

    derivatives: dict[str, Callable[[], Tensor]] = {
        "relu": lambda: tf.cast(output > 0, output.dtype),
        "sigmoid": lambda: output * (1.0 - output),
        "tanh": lambda: 1.0 - output * output,
        "linear": lambda: tf.ones_like(output),
    }
    name = getattr(layer.activation, "__name__", "")  # pyright: ignore[reportAttributeAccessIssue]
    if name not in derivatives:
        names = "relu, sigmoid, tanh or linear"
        raise ModelError(f"activation of '{layer.name}'", names, f"'{name}'")
    return derivatives[name]()


def _as_maps(values: np.ndarray) -> np.ndarray:
    """Return (n, h, w, maps) as (n, maps, h w), and (n, units) as (n, 1, units)."""
    if values.ndim == 2:
        return values[:, None]
    return np.moveaxis(values.reshape(len(values), -1, values.shape[-1]), 1, 2)


def mean_label_entropy(labels: np.ndarray, count: int, seed: int) -> float:
    """Return the mean S(Y) in bits of the batches of `probe_batches`, the most I(T;Y) can be."""
    codes = np.unique(labels, return_inverse=True)[1]
    rows = trained.probe_rows(len(codes), count, BATCH, seed)
    return float(np.mean([bits(renyi_label_entropy(codes[batch], ALPHA)) for batch in rows]))


def batch_information(
    batch: ImageBatch,
    readings: LayerReadings,
    kernel: KernelWidth,
    most_pairs: int,
    seed: int,
    varied: Varied = None,
) -> Arrays:
    """Return all information of one batch in bits, with at most so many pairs of maps drawn.

    Returns:
        Arrays (layers,): `input` I(X;T), `label` I(T;Y), `entropy` S(T), `backward` I(error of the
        last layer; error), and the means over pairs of `pair_information`, NaN for layers of one
        map; `x`, the entropy of the input. NaN what `varied` leaves out.
    """
    input_gram = gram(batch.pixels, kernel.forward)
    codes = batch.codes if varied is None else None
    backward = itertools.repeat(math.nan)
    if varied is None:
        backward = _last_layer_information(
            [map_grams(of_layer, kernel.backward) for of_layer in readings.errors]
        )
    rows = []
    for index, (responses, about_error) in enumerate(
        zip(readings.responses, backward, strict=False)
    ):
        grams = map_grams(responses, kernel.forward)
        joint = hadamard(list(grams))[None]
        entropy, about_input, about_label = information(joint, input_gram, codes)[:, 0]
        row = {
            "input": bits(about_input),
            "label": bits(about_label),
            "entropy": bits(entropy),
            "backward": bits(about_error),
            **dict.fromkeys(_PAIR_MEASURES, math.nan),
        }
        if len(grams) > 1 and (varied is None or index in varied):
            rng = seeds.generator(seed, "renyi pairs", index)
            pairs = drawn_pairs(len(grams), most_pairs, rng)
            row |= pair_information(grams, input_gram, codes, pairs)
        rows.append(row)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {**columns, "x": np.array(bits(_entropy(input_gram)))}


def _last_layer_information(layers: list[np.ndarray]) -> list[float]:
    """Return I(error of the last layer; error) in nats of layers' Gram matrices (maps, n, n)."""
    errors = [hadamard(list(grams)) for grams in layers]
    last, last_entropy = errors[-1], _entropy(errors[-1])
    return [last_entropy + _entropy(error) - _entropy(last * error) for error in errors]


def _entropy(matrix: np.ndarray) -> float:
    return float(matrix_entropy(matrix, ALPHA))


def drawn_pairs(maps: int, max_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Return pairs (pairs, 2) of different maps: all of them, or `max_pairs` drawn at random."""
    pairs = np.stack(np.triu_indices(maps, 1), axis=1)
    if len(pairs) <= max_pairs:
        return pairs
    return pairs[np.sort(rng.permutation(len(pairs))[:max_pairs])]


def pair_information(
    grams: np.ndarray, input_gram: np.ndarray, codes: np.ndarray | None, pairs: np.ndarray
) -> dict[str, float]:
    """Return the mean information of pairs (p, 2) of maps, of Gram matrices (maps, n, n).

    `redundant` and `non-redundant` are (I_i + I_j - I_ij) / I_ij and (2 I_ij - I_i - I_j) / I_ij
    about the input, shares (eq. 11 and 12), 0 of pairs that know nothing, see `of_informative`;
    `plane input`, `plane label`: 2 I_ij - I_i - I_j, bits.
    """
    maps, indices = np.unique(pairs, return_inverse=True)
    _, *single = information(grams[maps], input_gram, codes)
    _, *joint = information(grams[pairs[:, 0]] * grams[pairs[:, 1]], input_gram, codes)
    first, second = indices.reshape(pairs.shape).T
    alone = [values[first] + values[second] for values in single]
    joint_information = np.maximum(joint[0], 1e-12)
    new_input, new_label = (2 * pair - sums for pair, sums in zip(joint, alone, strict=True))
    return {
        "redundant": float(((alone[0] - joint[0]) / joint_information).mean()),
        "non-redundant": float((new_input / joint_information).mean()),
        "plane input": float(bits(new_input.mean())),
        "plane label": float(bits(new_label.mean())),
    }


def of_informative(arrays: Arrays) -> Arrays:
    """Return measures with the mean shares of the pairs that know something of the input.

    The two shares of such a pair add up to 1; of a pair that is silent neither exists.
    """
    shares: Arrays = {}
    for kernel in KERNELS:
        names = [f"{kernel.name} {share}" for share in SHARES]
        informative = arrays[names[0]] + arrays[names[1]]
        shares |= {name: arrays[name] / np.where(informative > 0, informative, 1) for name in names}
    return arrays | shares


def information(grams: np.ndarray, input_gram: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
    """Return S(T_i), I(X;T_i) and I(T_i;Y) (3, m) in nats, of Gram matrices (m, n, n).

    The last is NaN without labels (n,).
    """
    entropies = matrix_entropy(grams, ALPHA)
    about_input = _entropy(input_gram) + entropies - matrix_entropy(grams * input_gram, ALPHA)
    about_label = np.full(len(grams), np.nan)
    if codes is not None:
        of_label = renyi_label_entropy(codes, ALPHA)
        about_label = entropies + of_label - class_entropy(grams, codes, ALPHA)
    return np.stack([entropies, about_input, about_label])


def map_grams(values: np.ndarray, width: Bandwidth) -> np.ndarray:
    """Return the Gram matrices (maps, n, n) of responses (n, maps, nodes)."""
    return np.stack([gram(values[:, index], width) for index in range(values.shape[1])])


def train_and_measure(
    plan: NetworkPlan,
    images: Images,
    size: RenyiSize,
    folder: Folder,
    varied: Mapping[NetworkPlan, Varied],
) -> Arrays:
    """Train a network, keep it in the folder's file models/NAME.keras, and measure it on the way.

    Returns:
        `accuracy`, NaN if the training diverged; `steps` (t,), batches that were learned from;
        `epoch`, batches of an epoch; `tested`, images; `names` and `maps` (layers,); and of each
        kernel K and measure M, `K M` (t, batches, layers).
    """
    from oip import models
    from oip.models.training import TrainingDiverged, train

    recipe = models.recipe(plan.recipe).configured(filters=plan.filters or None)
    if plan.recipe != "vgg16-cifar":
        recipe = recipe.configured(activation=plan.activation)
    options = {"epochs": plan.epochs, "batch": 128, "seed": plan.seed}
    if plan.rate is not None:
        sgd = {"optimizer": "sgd", "learning_rate": plan.rate, "momentum": 0.95}
        options |= {**sgd, "schedule": "constant"}
    settings = recipe.settings(len(images.train), **options)
    an_epoch = math.ceil(len(images.train) / settings.batch)
    batches = probe_batches(images.test, size.batches, BATCH, plan.seed)
    result = {"epoch": np.array(an_epoch), "tested": np.array(len(images.test))}

    def prepare(model: keras.Model) -> Callable[[], Arrays | None]:
        probe = Probe(model)
        result.update(names=np.array(probe.names), maps=np.array(probe.maps))
        return partial(_network_information, probe, batches, size.pairs, plan.seed, varied[plan])

    # The paper repeats accuracies only; curves are those of the first training.
    records = size.records if plan.seed == folder.settings.seed else size.records_again
    steps = trained.recorded_steps(an_epoch, settings.epochs * an_epoch, records)
    recorder = trained.StepRecorder(steps, prepare)
    out = folder.file(f"models/{plan.name}.keras")
    try:
        reached = train(
            recipe,
            images.train,
            images.test,
            settings,
            out,
            folder.progress,
            record=recorder.callback,
        ).accuracy
    except TrainingDiverged:
        reached = math.nan
    result["accuracy"] = np.array(reached)
    return {**result, **recorder.rows()}


def _network_information(
    probe: Probe, batches: list[ImageBatch], pairs: int, seed: int, varied: Varied
) -> Arrays | None:
    """Return `K M` (batches, ...) of each kernel K and measure M; None of a model that diverged."""
    readings = [probe.read(batch.images, batch.codes) for batch in batches]
    layers = [values for reading in readings for of_layer in reading for values in of_layer]
    if not all(np.isfinite(values).all() for values in layers):
        return None
    work = [
        (batch, reading, kernel)
        for kernel in KERNELS
        for batch, reading in zip(batches, readings, strict=True)
    ]
    rows = thread_map(lambda item: batch_information(*item, pairs, seed, varied), work)
    by_kernel = (rows[: len(batches)], rows[len(batches) :])
    return {
        f"{kernel.name} {name}": np.array([row[name] for row in batch_rows])
        for kernel, batch_rows in zip(KERNELS, by_kernel, strict=True)
        for name in batch_rows[0]
    }


def stages(arrays: Arrays) -> list[tuple[str, int]]:
    """Return name and record of the start, the end of the first epoch, and the end."""
    epoch_end = int(np.argmin(np.abs(arrays["steps"] - arrays["epoch"])))
    return [("start", 0), ("after an epoch", epoch_end), ("end", len(arrays["steps"]) - 1)]


def inequality(arrays: Arrays, kernel: KernelWidth, record: int, forward: bool) -> np.ndarray:
    """Return (batches, layers): I with the input, or I with the last layer's error.

    Of the last layer's error with itself, no step of the paper's inequality, nothing is returned.
    """
    name = f"{kernel.name} {'input' if forward else 'backward'}"
    return arrays[name][record] if forward else arrays[name][record][:, :-1]


def widths_and_orders(path: Path, images: Images, size: RenyiSize, seed: int) -> Arrays:
    """Return information of a network's layers by `WIDTHS` of the kernel and `ORDERS`, in bits.

    Returns:
        `input` I(X;T) (widths, orders, batches, layers), `entropy` S(X) (widths, orders, batches).
    """
    from oip.network.network import Network

    probe = Probe(Network(path).model)
    batches = probe_batches(images.test, size.batches, BATCH, seed)
    readings = [probe.read(batch.images, batch.codes).responses for batch in batches]

    def of_batch(width: Bandwidth, batch: ImageBatch, layers: list[np.ndarray]) -> np.ndarray:
        of_input = gram(batch.pixels, width)
        joint = np.stack([hadamard(list(map_grams(values, width))) for values in layers])
        rows = []
        for order in ORDERS:
            entropy = matrix_entropy(of_input, order)
            conditional = matrix_entropy(joint * of_input, order) - matrix_entropy(joint, order)
            rows.append([entropy, *(entropy - conditional)])
        return np.array(rows)  # (orders, 1 + layers)

    pairs = list(zip(batches, readings, strict=True))
    work = [(Bandwidth(2 * share**2), *pair) for share in WIDTHS for pair in pairs]
    rows = np.array(thread_map(lambda item: of_batch(*item), work))
    rows = bits(rows.reshape(len(WIDTHS), len(batches), len(ORDERS), -1).swapaxes(1, 2))
    return {"input": rows[..., 1:], "entropy": rows[..., 0]}


def entropy_seconds(samples: int, seed: int) -> Arrays:
    """Return the seconds of the processor that S of so many samples takes, by order.

    Of a Gram matrix of Gaussian samples in 20 dimensions, the least of three times.
    """
    x = seeds.generator(seed, "renyi seconds", samples).standard_normal((samples, 20))
    matrix = gram(x, Bandwidth())
    seconds = {}
    for alpha in ORDERS:
        times = []
        for _ in range(_TIMED):
            start = time.process_time()
            matrix_entropy(matrix, alpha)
            times.append(time.process_time() - start)
        seconds[f"{alpha:g}"] = np.array(min(times))
    return seconds


def input_entropy(trainings: Iterable[Arrays], kernel: KernelWidth) -> float:
    """Return S(X) by a kernel in bits, the mean of trainings over records and batches."""
    return float(np.mean([arrays[f"{kernel.name} x"].mean() for arrays in trainings]))
