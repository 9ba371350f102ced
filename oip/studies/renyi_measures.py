"""Matrix Renyi information of one batch: layers, single maps, and pairs of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.errors import SettingsError
from oip.core.progress import Progress
from oip.core.units import bits
from oip.mi.backend import thread_map
from oip.mi.estimators.gram import Bandwidth, gram
from oip.mi.estimators.renyi_entropy import (
    class_entropy,
    hadamard,
    matrix_entropy,
    renyi_label_entropy,
)
from oip.studies.report import base_name, slug

if TYPE_CHECKING:
    from oip.network.network import Network

_READ = ("Conv2D", "Dense")
_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Reading:
    """One batch. A dense layer counts as one map with a node for every unit."""

    responses: list[np.ndarray]
    """A layer each: (n, maps, nodes), after the activation; class probabilities come last."""
    errors: list[np.ndarray]
    """A layer each, of the same shape: derivative of an image's loss by the pre-activation."""


def forward(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of images (n, h, w, bands) of any number, in batches of 512.

    Weights are seen as they are when it is called.
    """
    import tensorflow as tf

    from oip.network.forward import compiled

    shape = model.inputs[0].shape[1:]
    graph = compiled(
        lambda images: model(images, training=False), tf.TensorSpec((None, *shape), tf.float32)
    )

    def run(images: np.ndarray) -> np.ndarray:
        parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
        return np.concatenate(
            [graph(tf.constant(np.asarray(p, np.float32))).numpy() for p in parts]
        )

    return run


def accuracy(run: Callable[[np.ndarray], np.ndarray], data: Any) -> float:
    """Share of the images of a data set whose class is the largest output of `run`."""
    return float((run(data.images).argmax(axis=1) == data.labels).mean())


class Probe:
    """Reads the convolutional and dense layers of a model that is being trained, again and again.

    Args:
        model: a functional Keras model of plain layers that ends in a softmax of classes, as the
            recipes make them. The weights are seen as they are when it is read.
    """

    def __init__(self, model: Any):
        import keras

        self._layers = [layer for layer in model.layers if type(layer).__name__ in _READ]
        self._model = keras.Model(model.inputs, [layer.output for layer in self._layers])
        self._graph = self._compiled()

    @property
    def names(self) -> list[str]:
        """Of the layers, first to last."""
        return [layer.name for layer in self._layers]

    @property
    def maps(self) -> list[int]:
        """Of each layer; 1 for a dense one."""
        convolutional = [type(layer).__name__ == "Conv2D" for layer in self._layers]
        return [
            int(layer.output.shape[-1]) if maps else 1
            for layer, maps in zip(self._layers, convolutional, strict=True)
        ]

    def read(self, images: np.ndarray, labels: np.ndarray) -> Reading:
        """Responses and errors of all layers.

        Args:
            images: (n, h, w, bands), as the model is fed with them.
            labels: (n,) int: places of the classes in the output.
        """
        import tensorflow as tf

        outputs, slopes = self._graph(
            tf.constant(np.asarray(images, np.float32)), tf.constant(labels, tf.int32)
        )
        return Reading(
            [_as_maps(one.numpy()) for one in outputs], [_as_maps(one.numpy()) for one in slopes]
        )

    def _compiled(self) -> Any:
        import tensorflow as tf

        from oip.network.forward import compiled

        def read(images: Any, labels: Any) -> tuple[list[Any], list[Any]]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = self._model(images, training=False)
                true = tf.gather(outputs[-1], labels, batch_dims=1)
                loss = -tf.reduce_sum(tf.math.log(true + 1e-12))
            slopes = tape.gradient(loss, outputs[:-1])
            found = [
                slope * _derivative(layer, output)
                for layer, output, slope in zip(self._layers, outputs, slopes, strict=False)
            ]
            last = outputs[-1] - tf.one_hot(labels, outputs[-1].shape[-1])
            return outputs, [*found, last]

        image = tf.TensorSpec((None, *self._model.inputs[0].shape[1:]), tf.float32)
        return compiled(read, image, tf.TensorSpec((None,), tf.int32))


def _derivative(layer: Any, output: Any) -> Any:
    """Of the layer's activation, from what it gave."""
    import tensorflow as tf

    from oip.core.errors import ModelError, expected

    name = getattr(layer.activation, "__name__", "")
    if name == "relu":
        return tf.cast(output > 0, output.dtype)
    if name == "sigmoid":
        return output * (1.0 - output)
    if name == "tanh":
        return 1.0 - output * output
    if name == "linear":
        return tf.ones_like(output)
    raise ModelError(
        expected(f"activation of '{layer.name}'", "relu, sigmoid, tanh or linear", f"'{name}'")
    )


def _as_maps(values: np.ndarray) -> np.ndarray:
    """(n, h, w, maps) to (n, maps, h w); (n, units) to (n, 1, units)."""
    if values.ndim == 2:
        return values[:, None]
    return np.moveaxis(values.reshape(len(values), -1, values.shape[-1]), 1, 2)


ALPHA = 1.01
BATCH = 128
"""Samples of a batch, as in the paper."""
MEASURES = ("input", "label", "entropy", "backward")
"""Of a layer: I(X;T), I(T;Y), S(T), I(error of the last layer; error)."""
SHARES = ("redundant", "non-redundant")
"""Of pairs: redundancy less synergy, and weighted non-redundant information, of I_ij."""


@dataclass(frozen=True)
class Kernel:
    """How wide the Gaussian kernels of Gram matrices are."""

    name: str
    label: str
    forward: Bandwidth
    backward: Bandwidth


KERNELS = (
    Kernel("paper", "the paper's width", Bandwidth(silverman=5.0), Bandwidth(silverman=0.1)),
    Kernel("relative", "the median distance", Bandwidth(1.0), Bandwidth(1.0)),
)
"""The paper's, in the units of the responses; and one that has no units."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (n, h, w, bands) with their labels."""

    images: np.ndarray
    codes: np.ndarray
    pixels: np.ndarray
    """(n, d): the images from 0 to 1, as the Gram matrix of the input sees them."""


def batches(
    images: np.ndarray, labels: np.ndarray, high: float, count: int, seed: int
) -> list[Batch]:
    """Disjoint random batches of 128.

    Args:
        images: (n, h, w, bands), values from 0 to `high`.
        labels: (n,) int.
        high: of the pixels.
        count: as many as there are images for, at the most.
        seed: of the draw.
    """
    order = seeds.generator(seed, "renyi batches").permutation(len(images))
    found = []
    for place in range(min(count, max(1, len(images) // BATCH))):
        rows = order[place * BATCH : (place + 1) * BATCH]
        pixels = images[rows].reshape(len(rows), -1).astype(np.float64) / high
        found.append(Batch(images[rows], labels[rows].astype(np.int64), pixels))
    return found


def label_ceiling(labels: np.ndarray, count: int, seed: int) -> float:
    """Mean S(Y) in bits of the batches that `batches` draws, the most that I(T;Y) can be."""
    codes = np.unique(labels, return_inverse=True)[1]
    still = np.zeros((len(codes), 1, 1, 1), np.uint8)
    drawn = batches(still, codes, 1.0, count, seed)
    return float(np.mean([bits(renyi_label_entropy(batch.codes, ALPHA)) for batch in drawn]))


def measure(
    batch: Batch, reading: Reading, kernel: Kernel, most_pairs: int, seed: int
) -> dict[str, np.ndarray]:
    """Everything of one batch, in bits.

    Args:
        batch: the images.
        reading: what the layers made of them.
        kernel: the widths.
        most_pairs: of maps, drawn at random.
        seed: of the draw.

    Returns:
        Each of `MEASURES`, (layers,); `x`, the entropy of the input; and of pairs (layers,), NaN
        of layers of one map: each of `SHARES` about the input, and `plane input`, `plane label`,
        the weighted non-redundant information itself.
    """
    whole = gram(batch.pixels, kernel.forward)
    own = float(matrix_entropy(whole, ALPHA))
    last = _joint(reading.errors[-1], kernel.backward)
    last_own = float(matrix_entropy(last, ALPHA))
    layers = len(reading.responses)
    names = (*MEASURES, *SHARES, "plane input", "plane label")
    found = {name: np.full(layers, np.nan) for name in names}
    for place, (values, errors) in enumerate(zip(reading.responses, reading.errors, strict=True)):
        grams = map_grams(values, kernel.forward)
        joint = hadamard(list(grams))
        entropy = float(matrix_entropy(joint, ALPHA))
        found["entropy"][place] = entropy
        found["input"][place] = own + entropy - float(matrix_entropy(joint * whole, ALPHA))
        found["label"][place] = about_label(joint[None], batch.codes, np.array([entropy]))[0]
        error = _joint(errors, kernel.backward)
        both = float(matrix_entropy(last * error, ALPHA))
        found["backward"][place] = last_own + float(matrix_entropy(error, ALPHA)) - both
        if len(grams) > 1:
            rng = seeds.generator(seed, "renyi pairs", place)
            parts = pair_measures(
                grams, whole, batch.codes, chosen_pairs(len(grams), most_pairs, rng)
            )
            for name, value in parts.items():
                found[name][place] = value
    result = {name: bits(one) for name, one in found.items() if name not in SHARES}
    return {**result, **{name: found[name] for name in SHARES}, "x": np.array(bits(own))}


def chosen_pairs(maps: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """(pairs, 2) int: different maps; all pairs, or `most` of them drawn at random."""
    every = np.stack(np.triu_indices(maps, 1), axis=1)
    return every if len(every) <= most else every[np.sort(rng.permutation(len(every))[:most])]


def pair_measures(
    grams: np.ndarray, whole: np.ndarray, codes: np.ndarray, pairs: np.ndarray
) -> dict[str, float]:
    """Means over pairs of maps.

    Args:
        grams: (maps, n, n).
        whole: (n, n): of the input.
        codes: (n,) int.
        pairs: (p, 2) int.

    Returns:
        `redundant` and `non-redundant`: (I_i + I_j - I_ij) / I_ij and (2 I_ij - I_i - I_j) / I_ij
        about the input, shares; `plane input`, `plane label`: 2 I_ij - I_i - I_j in nats.

    References:
        S. Yu et al. (arXiv:1804.06537), eq. 11 and 12.
    """
    used, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    single = np.array(informations(grams[used], whole, codes))
    joint = np.array(informations(grams[pairs[:, 0]] * grams[pairs[:, 1]], whole, codes))
    alone = single[:, places[:, 0]] + single[:, places[:, 1]]
    about = np.maximum(joint[0], 1e-12)
    return {
        "redundant": float(((alone[0] - joint[0]) / about).mean()),
        "non-redundant": float(((2 * joint[0] - alone[0]) / about).mean()),
        "plane input": float((2 * joint[0] - alone[0]).mean()),
        "plane label": float((2 * joint[1] - alone[1]).mean()),
    }


def informations(
    grams: np.ndarray, whole: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """I(X;T_i) and I(T_i;Y) of each Gram matrix (m, n, n), in nats."""
    entropies = matrix_entropy(grams, ALPHA)
    own = float(matrix_entropy(whole, ALPHA))
    about = own + entropies - matrix_entropy(grams * whole, ALPHA)
    return about, about_label(grams, codes, entropies)


def about_label(grams: np.ndarray, codes: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """(m,): I(T;Y) in nats of Gram matrices (m, n, n) with their entropies (m,)."""
    known = renyi_label_entropy(codes, ALPHA)
    return np.array(
        [
            entropy + known - class_entropy(one, codes, ALPHA)
            for one, entropy in zip(grams, entropies, strict=True)
        ]
    )


def map_grams(values: np.ndarray, width: Bandwidth) -> np.ndarray:
    """(maps, n, n): Gram matrices of responses (n, maps, nodes)."""
    return np.stack([gram(values[:, place], width) for place in range(values.shape[1])])


def _joint(values: np.ndarray, width: Bandwidth) -> np.ndarray:
    return hadamard(list(map_grams(values, width)))


@dataclass(frozen=True)
class Plan:
    """A network and its training."""

    source: str
    recipe: str
    filters: tuple[int, ...]
    """None told: the recipe's own."""
    activation: str
    rate: float | None
    """Of SGD with a momentum of 0.95; the recipe's own training if None."""
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """For files, without anything of a path."""
        widths = "-".join(str(count) for count in self.filters) or "own"
        source = slug(base_name(self.source))
        return f"{source}-{self.recipe}-{widths}-{self.activation}-seed{self.seed}"


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    batches: int
    pairs: int
    steps: int
    """Records of a training, about."""


def trained(
    plan: Plan, data: tuple[Any, Any], amount: Amount, out: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Trains a network, keeps it as a file, and measures it on the way.

    Args:
        plan: what is trained.
        data: images and labels to learn from, and those to measure and judge by.
        amount: how much is measured.
        out: the model's file.
        progress: told the training's batches.

    Returns:
        `accuracy`, NaN if the training diverged; `steps` (t,) batches that were learned from;
        `epoch`, batches an epoch; `names` and `maps` (layers,); and of each kernel K and measure
        M, `K M` (t, batches, layers).
    """
    from oip import models
    from oip.models.training import train

    options: dict[str, Any] = {"filters": plan.filters} if plan.filters else {}
    if plan.recipe != "vgg16-cifar":
        options["activation"] = plan.activation
    recipe = models.recipe(plan.recipe).configured(**options)
    data_train, data_test = data
    told: dict[str, Any] = {"epochs": plan.epochs, "batch": 128, "seed": plan.seed}
    if plan.rate is not None:
        told |= {"optimizer": "sgd", "learning_rate": plan.rate, "momentum": 0.95}
        told["schedule"] = "constant"
    settings = recipe.settings(len(data_train), **told)
    an_epoch = math.ceil(len(data_train) / settings.batch)
    some = batches(data_test.images, data_test.labels, data_test.high, amount.batches, plan.seed)
    steps = recorded_steps(an_epoch, settings.epochs * an_epoch, amount.steps)
    watcher: Any = watching(some, steps, amount.pairs, plan.seed)
    accuracy = np.nan
    try:
        accuracy = train(
            recipe, data_train, data_test, settings, out, progress, record=watcher
        ).accuracy
    except SettingsError as error:
        if "diverged" not in str(error):
            raise
    return {
        "accuracy": np.array(accuracy),
        "epoch": np.array(an_epoch),
        "tested": np.array(len(data_test)),
        **watcher.found(),
    }


def recorded_steps(an_epoch: int, total: int, count: int) -> list[int]:
    """0, the end of the first epoch, the end, and steps between that grow in even ratios."""
    between = np.rint(np.geomspace(1, total, max(2, count - 2))).astype(int)
    return sorted({0, min(an_epoch, total), total, *between.tolist()})


def watching(some: list[Batch], steps: Iterable[int], pairs: int, seed: int) -> Any:
    """A Keras callback that measures batches of images at some steps of a training."""
    import keras

    wanted = set(steps)

    class Watching(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self._step = 0
            self._done: list[int] = []
            self._values: dict[str, list[np.ndarray]] = {}

        def on_train_begin(self, logs: Any = None) -> None:
            self._probe = Probe(self.model)
            self._measure()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._step += 1
            if self._step in wanted:
                self._measure()

        def found(self) -> dict[str, np.ndarray]:
            """See `trained`."""
            return {
                "steps": np.array(self._done),
                "names": np.array(self._probe.names),
                "maps": np.array(self._probe.maps),
                **{name: np.array(values) for name, values in self._values.items()},
            }

        def _measure(self) -> None:
            model: Any = self.model
            if not all(np.isfinite(weight).all() for weight in model.get_weights()):
                return
            readings = [self._probe.read(one.images, one.codes) for one in some]
            work = [
                (kernel, one, reading)
                for kernel in KERNELS
                for one, reading in zip(some, readings, strict=True)
            ]
            parts = thread_map(lambda item: measure(item[1], item[2], item[0], pairs, seed), work)
            for number, kernel in enumerate(KERNELS):
                own = parts[number * len(some) : (number + 1) * len(some)]
                for name in own[0]:
                    values = np.array([part[name] for part in own])
                    self._values.setdefault(f"{kernel.name} {name}", []).append(values)
            self._done.append(self._step)

    return Watching()


BETA = 2.0
"""Of the objective I(X;T) - beta I(T;Y), as in the paper."""
LINE = 0.55
"""Share of the maps above the paper's line, which are said to be needed little."""
MANY = 500
"""Samples with which a width is looked for once more, at alpha 2 and the median distance."""
_BATCHES = 3
_CALIBRATION = 2_000


@dataclass(frozen=True)
class Pruning:
    """What is removed."""

    shares: tuple[float, ...]
    """Of the layer's maps."""
    chances: int
    """Random orders."""


def widths(path: Path, data: tuple[Any, Any], pruning: Pruning, seed: int) -> dict[str, np.ndarray]:
    """What the maps of a network's last convolution are worth.

    Args:
        path: the trained model.
        data: images to choose maps by, and others to judge by.
        pruning: what is removed.
        seed: of batches, permutations and chance.

    Returns:
        `accuracy` of the whole network; of each kernel K `K objective` (maps,) in bits,
        `K width` (-1 where none can be told), `K p` and `K gain` (bits) of the maps that were
        tried one after the other, `K kept` the accuracy with only those that add something (NaN
        without any); `many width` and `many kept` of 500 samples and alpha 2; `shares`, `methods`,
        and `pruned` (methods, shares, draws), accuracies, NaN where a method has fewer draws.
    """
    from oip import mi
    from oip.mi.selection import conditional_width
    from oip.network.network import Network

    data_train, data_test = data
    network = Network(path)
    probe = Probe(network.model)
    place = max(number for number, maps in enumerate(probe.maps) if maps > 1)
    layer = probe.names[place]
    found: dict[str, np.ndarray] = {"layer": np.array(layer)}
    found["accuracy"] = np.array(accuracy(forward(network.model), data_test))
    some = batches(data_train.images, data_train.labels, data_train.high, _BATCHES, seed)
    orders: dict[str, list[np.ndarray]] = {}
    for kernel in KERNELS:
        objectives = []
        for number, batch in enumerate(some):
            values = probe.read(batch.images, batch.codes).responses[place]
            grams = map_grams(values, kernel.forward)
            whole = map_grams(batch.pixels[:, None], kernel.forward)[0]
            about, label = informations(grams, whole, batch.codes)
            objectives.append(about - BETA * label)
            if number == 0:
                told = conditional_width(grams, batch.codes, ALPHA, seed)
                enough = -1 if told.width is None else told.width
                tried = told.order[: len(told.p_values)]
                found[f"{kernel.name} width"] = np.array(enough)
                found[f"{kernel.name} p"] = told.p_values
                found[f"{kernel.name} gain"] = bits(told.scores[tried])
                kept = np.nan
                if 0 < enough < len(told.order):
                    left = _left(network, layer, told.order[:enough])
                    kept = accuracy(forward(left), data_test)
                found[f"{kernel.name} kept"] = np.array(kept)
        objective = np.mean(objectives, axis=0)
        found[f"{kernel.name} objective"] = bits(objective)
        orders[f"IB, {kernel.label}"] = [np.argsort(objective, kind="stable")]
    images, labels = data_train.images[:_CALIBRATION], data_train.labels[:_CALIBRATION]
    for method, label in (("apoz", "APoZ"), ("l1", "L1 norm"), ("elimination", "elimination")):
        orders[label] = [mi.select(network, images, labels, layer, method=method, seed=seed).order]
    told = mi.select(
        network, images, labels, layer, method="cmi", samples=MANY, alpha=2.0, seed=seed
    )
    enough = -1 if told.width is None else told.width
    found["many width"] = np.array(enough)
    kept = np.nan
    if 0 < enough < len(told.order):
        kept = accuracy(forward(_left(network, layer, told.order[:enough])), data_test)
    found["many kept"] = np.array(kept)
    orders["random"] = [
        mi.select(network, images, labels, layer, method="random", seed=seed + number).order
        for number in range(pruning.chances)
    ]
    pruned = np.full((len(orders), len(pruning.shares), pruning.chances), np.nan)
    for row, draws in enumerate(orders.values()):
        for column, share in enumerate(pruning.shares):
            for number, order in enumerate(draws):
                count = max(1, round((1 - share) * len(order)))
                left = _left(network, layer, order[:count])
                pruned[row, column, number] = accuracy(forward(left), data_test)
    return {
        **found,
        "shares": np.array(pruning.shares),
        "methods": np.array(list(orders)),
        "pruned": pruned,
    }


def _left(network: Network, layer: str, kept: np.ndarray) -> Any:
    """The model with only some maps of a layer."""
    from oip.network.surgery import without

    every = np.arange(network.find(layer).maps)
    return without(network, {layer: np.setdiff1d(every, kept)})
