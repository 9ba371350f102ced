"""Which maps of a layer to keep.

Maps by what the next layers lose without them, when their kernels are fitted again.

Maps are removed one at a time, from all of them down. Each time the map goes whose loss is least:
the variance of what the next layers compute that a linear fit from the remaining maps no longer
explains. For Gaussian responses that residual variance is what conditional mutual information
I(T_i; Z | the maps that stay) measures; Z is what the next layer computes.

With Sigma the covariance of the inputs of the next kernel W, H its inverse, and b the inputs that a
map feeds, removing it costs tr(W_b' H_bb^-1 W_b); W and H are then brought up to date.

References:
    B. Hassibi, D. G. Stork: Second order derivatives for network pruning: optimal brain surgeon.
    NIPS 1992. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017 (the objective).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import html, seeds
from oip.core.errors import ModelError, SettingsError, expected
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator
from oip.mi.estimators.registry import label_estimator
from oip.mi.estimators.renyi_entropy import (
    Bandwidth,
    class_entropy,
    matrix_entropy,
    renyi_label_entropy,
)
from oip.mi.estimators.renyi_pairs import Pairs
from oip.mi.estimators.results import SATURATED
from oip.mi.layer_sample import At, LayerSample, output_units
from oip.mi.redundancies import gram_of_input, layer_grams, pairs_at_two

if TYPE_CHECKING:
    from oip.network.channel_graph import Reader
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

Known = Callable[[np.ndarray], tuple[float, float]]


def relevance_less_redundancy(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order in which they are chosen, and (m,) the score of each when it was.

    The next map is the one with the largest I_i less the mean, over the maps chosen before, of its
    redundancy less synergy with them about the label.

    References:
        H. Peng, F. Long, C. Ding: Feature selection based on mutual information: criteria of
        max-dependency, max-relevance, and min-redundancy. IEEE TPAMI 27 (2005) 1226. With synergy
        it is the criterion of H. Yang, J. Moody: Data visualization and feature selection. NIPS
        1999.
    """
    relevance, shared = pairs.single, pairs.redundancy
    scores = np.zeros(len(relevance))
    order: list[int] = []
    left = np.ones(len(relevance), bool)
    cost = np.zeros(len(relevance))
    while left.any():
        values = relevance - (cost / len(order) if order else 0.0)
        row = int(np.argmax(np.where(left, values, -np.inf)))
        scores[row] = values[row]
        order.append(row)
        left[row] = False
        cost += shared[row]
    return np.array(order), scores


@dataclass(frozen=True, eq=False)
class SelectionSize:
    """How many maps are enough, by conditional mutual information."""

    order: np.ndarray
    """(m,) int: rows; the chosen ones first, then the others by what they know alone."""
    scores: np.ndarray
    """(m,): I(T_i; Y | the maps before it) in nats of those that were tried; 0 for the others."""
    p_values: np.ndarray
    """Of the maps that were tried, in their order."""
    width: int | None
    """Maps that each add something; None where no conclusion can be drawn."""
    notices: tuple[str, ...]


def conditional_width(
    grams: np.ndarray,
    codes: np.ndarray,
    alpha: float,
    seed: int,
    level: float = 0.05,
    shuffles: int = 100,
) -> SelectionSize:
    """Adds maps while the next one tells more of the label than its own permutations would.

    The next map is the one with the largest I({chosen, T_i}; Y). Its conditional information
    I(T_i;Y|chosen) = S(A,B) + S(Y,B) - S(B) - S(A,B,Y) is compared with that of its Gram matrix A
    after rows and columns were put in random orders. Adding stops when its p-value is above the
    level. When S(A,B) is at log n no conclusion is drawn: samples are then strangers to each other,
    whatever the maps know. The product with a copy is a narrower kernel, so that a copy may seem to
    add a little where one kernel blurs the classes.

    Args:
        grams: (m, n, n), 1 on the diagonal.
        codes: (n,) int: the label.
        alpha: of the entropies; 2 needs no eigenvalues.
        seed: of the permutations.
        level: p-value up to which a map adds something.
        shuffles: permutations of each map.

    References:
        S. Yu, J. C. Principe: Simple stopping criteria for information theoretic feature selection.
        Entropy 21 (2019) 99. S. Yu et al.: IEEE TNNLS 32 (2021) 435, algorithm 1.
    """
    n, label = len(codes), renyi_label_entropy(codes, alpha)

    def known(a: np.ndarray) -> tuple[float, float]:
        """S(A) and I(A;Y)."""
        whole = float(matrix_entropy(a, alpha))
        return whole, whole + label - class_entropy(a, codes, alpha)

    alone = np.array(thread_map(lambda one: known(one.astype(np.float64))[1], grams))
    chosen = np.ones((n, n))
    before = 0.0
    order: list[int] = []
    scores, p_values = np.zeros(len(grams)), []
    width: int | None = None
    notices: tuple[str, ...] = ()
    left = list(range(len(grams)))
    while left:
        values = _tried(known, chosen, grams, left)
        row = left[int(np.argmax([value for _, value in values]))]
        entropy, value = values[left.index(row)]
        if entropy >= SATURATED * math.log(n):
            notices = (
                f"Saturated after {len(order)} maps: S of the maps together is "
                f"{entropy / math.log(n):.1%} of log n; no width can be told. Use more samples or "
                "a wider kernel.",
            )
            break
        draw = seeds.generator(seed, "null", len(order))
        null = _permuted(known, chosen, grams[row], [draw.permutation(n) for _ in range(shuffles)])
        p = (1 + int(np.sum(null >= value - 1e-12))) / (1 + shuffles)
        scores[row] = value - before
        p_values.append(p)
        if p > level:
            width = len(order)
            break
        order.append(row)
        left.remove(row)
        chosen = chosen * grams[row]
        before = value
    else:
        width = len(order)
    rest = sorted(left, key=lambda row: -alone[row])
    return SelectionSize(np.array(order + rest), scores, np.array(p_values), width, notices)


def _tried(
    known: Known, chosen: np.ndarray, grams: np.ndarray, rows: list[int]
) -> list[tuple[float, float]]:
    """S and I of the chosen maps with each of some others."""
    return thread_map(lambda row: known(chosen * grams[row]), rows)


def _permuted(
    known: Known, chosen: np.ndarray, one: np.ndarray, orders: list[np.ndarray]
) -> np.ndarray:
    """(shuffles,): I of the chosen maps with one whose samples are in other orders."""
    return np.array(thread_map(lambda mix: known(chosen * one[np.ix_(mix, mix)])[1], orders))


_RIDGE = 1e-4


def eliminated(sample: LayerSample) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `sample.maps` in the order in which they stay, and (m,) the loss of each.

    Other maps of the layer stay throughout. Losses are shares of the variance that the next layers
    compute, at the time when the map goes.

    Raises:
        ModelError: the layer makes no maps of its own.
        SettingsError: no next layer whose kernel can be fitted.
    """
    from oip.network.channel_graph import of_network
    from oip.network.surgery import LARGEST, has_patches, inputs_of

    known = of_network(sample.network)
    mine = known.of_layer(sample.network, sample.layer)[sample.maps]
    next_layers = [
        reader
        for reader in known.readers
        if np.isin(known.same(reader.channels), mine).any()
        and reader.uses == 1
        and has_patches(reader.layer)
        and inputs_of(reader.layer) <= LARGEST
    ]
    if not next_layers:
        hint = "Choose another method."
        wanted = f"a convolution or dense layer after it, of at most {LARGEST} inputs"
        raise SettingsError(expected(f"layer '{sample.layer.name}'", wanted, "none", hint))
    fits = [
        _Fit.of(sample.network, reader, known.same(reader.channels), mine, sample.images)
        for reader in next_layers
    ]
    left = list(range(len(mine)))
    gone: list[int] = []
    losses = np.zeros(len(mine))
    while left:
        costs = np.sum([fit.costs(left) for fit in fits], axis=0)
        row = left.pop(int(np.argmin(costs)))
        losses[row] = costs.min()
        for fit in fits:
            fit.remove(row)
        gone.append(row)
    return np.array(gone[::-1]), losses


class _Fit:
    """The kernel of one next layer, fitted to the maps that are left."""

    def __init__(self, weights: np.ndarray, inverse: np.ndarray, blocks: list[np.ndarray]):
        self.weights = weights
        self.inverse = inverse
        self.blocks = blocks

    @classmethod
    def of(
        cls,
        network: Network,
        reader: Reader,
        channels: np.ndarray,
        mine: np.ndarray,
        images: np.ndarray,
    ) -> _Fit:
        from oip.network.surgery import images_wanted, kernel_matrix

        kernel = kernel_matrix(reader.layer)
        taps = len(kernel)
        weights = kernel.reshape(-1, kernel.shape[-1])
        covariance = _covariance(
            network, reader.layer, images_wanted(network, reader.layer, images)
        )
        total = float(np.einsum("io,ij,jo->", weights, covariance, weights, optimize=True))
        ridge = _RIDGE * max(np.trace(covariance) / len(covariance), np.finfo(np.float32).tiny)
        inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        places = np.arange(taps)[:, None] * len(channels)
        blocks = [(places + np.flatnonzero(channels == identity)).reshape(-1) for identity in mine]
        return cls(weights / np.sqrt(total if total > 0 else 1.0), inverse, blocks)

    def costs(self, rows: list[int]) -> np.ndarray:
        """What removing each map alone would cost next."""
        found = np.zeros(len(rows))
        sizes = np.array([len(self.blocks[row]) for row in rows])
        for size in np.unique(sizes[sizes > 0]):
            these = np.flatnonzero(sizes == size)
            blocks = np.stack([self.blocks[rows[place]] for place in these])
            inner = self.inverse[blocks[:, :, None], blocks[:, None, :]]
            weights = self.weights[blocks]
            found[these] = (weights * np.linalg.solve(inner, weights)).sum(axis=(1, 2))
        return found

    def remove(self, row: int) -> None:
        """Takes a map out and fits the others again."""
        block = self.blocks[row]
        if not len(block):
            return
        columns = self.inverse[:, block]
        step = np.linalg.solve(self.inverse[np.ix_(block, block)], columns.T)
        self.weights -= step.T @ self.weights[block]
        self.inverse -= columns @ step


def _covariance(network: Network, layer: Any, images: np.ndarray) -> np.ndarray:
    """Of a kernel's inputs; about 0 where the layer has no bias to take a mean up."""
    from oip.network.surgery import inputs_of, received

    size = inputs_of(layer)
    squares, total, rows = np.zeros((size, size)), np.zeros(size), 0
    first: np.ndarray | None = None
    for part in received(network, layer, images):
        if first is None:
            first = part.mean(axis=0)
        moved = part - first
        squares += moved.T @ moved
        total += moved.sum(axis=0, dtype=np.float64)
        rows += len(part)
    mean = total / rows
    covariance = squares / rows - np.outer(mean, mean)
    if getattr(layer, "bias", None) is None and first is not None:
        covariance += np.outer(mean + first, mean + first)
    return covariance


METHODS = {
    "elimination": "what the next layers lose when they are fitted again; no labels",
    "mrmr": "information about the label less redundancy with the maps chosen before",
    "mi": "information about the label, each map by itself",
    "ib": "I(X;T) - beta I(T;Y), the information bottleneck's objective",
    "cmi": "what a map adds about the label to the maps before it, until nothing is added",
    "taylor": "first-order change of the loss when the map is silenced",
    "apoz": "share of responses above 0; no labels",
    "l1": "size of the map's kernels; no data",
    "mean": "mean response; no labels",
    "random": "chance",
}
"""Name -> what counts; `mi.select` knows these."""
DEFAULT_METHOD = "elimination"
LABEL_FREE = ("elimination", "apoz", "l1", "mean", "random")
_ROWS = 20


@dataclass(frozen=True, eq=False)
class Selection:
    """The maps of a layer in the order in which they are worth keeping."""

    layer: str
    index: int
    method: str
    maps: np.ndarray
    """(m,) int: map numbers; the rows of `scores`."""
    order: np.ndarray
    """(m,) int: map numbers, the one to keep first first."""
    scores: np.ndarray
    """(m,): what the method counts, larger for maps to keep; what it added for greedy methods."""
    width: int | None = None
    """Maps that are enough, where the method tells; None where it does not or cannot."""
    notices: tuple[str, ...] = ()

    def keep(self, share: float) -> np.ndarray:
        """Sorted numbers of the maps to keep, one at least.

        Args:
            share: of the maps, above 0 and up to 1.

        Raises:
            SettingsError: another share.

        Example:
            >>> selection.keep(0.5)  # doctest: +SKIP
        """
        check_share(share)
        return np.sort(self.order[: kept_of(len(self.order), share)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "layer": self.layer,
            "index": self.index,
            "method": self.method,
            "order": self.order.tolist(),
            "scores": [
                {"map": int(number), "score": float(score) if math.isfinite(score) else None}
                for number, score in zip(self.maps, self.scores, strict=True)
            ],
            "width": self.width,
            "notices": list(self.notices),
        }

    def _repr_html_(self) -> str:
        scores = dict(zip(self.maps.tolist(), self.scores.tolist(), strict=True))
        rows = [
            (place, number, float(scores[number]))
            for place, number in enumerate(self.order[:_ROWS].tolist(), 1)
        ]
        told = [f"enough: the first {self.width}"] if self.width is not None else []
        return html.block(
            f"{self.layer}: {len(self.maps)} maps, those to keep first first ({self.method})",
            *(html.paragraph(text) for text in (*told, *self.notices)),
            html.table(("place", "map", "counts"), rows, len(self.maps) - len(rows)),
        )


def select(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    method: str = DEFAULT_METHOD,
    maps: str | Iterable[int] | int | None = None,
    samples: int = 500,
    at: At = "response",
    estimator: str | Estimator = "decoder",
    beta: float = 2.0,
    alpha: float = 2.0,
    seed: int = 0,
) -> Selection:
    """Orders the maps of a layer by how much is lost without them.

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them; not those it is judged by.
        labels: (n,); None for methods that need none.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        method: one of `METHODS`.
        maps: those to order; all if None.
        samples: most images that are used; `elimination` uses up to twenty times as many where
            the next kernel has many inputs.
        at: the response, or the block output after the pooling that follows.
        estimator: of `mi`.
        beta: of `ib`.
        alpha: of the entropies of `cmi`.
        seed: of the sample, shuffles and chance.

    Raises:
        ModelError, SettingsError: an unknown layer, map, method, or one that cannot be used here.
        DataError: images or labels that cannot be used; no labels where the method needs them.

    Example:
        >>> mi.select("model.keras", images, labels, "Conv2D_3").keep(0.5)  # doctest: +SKIP
    """
    check_method(method)
    if not (isinstance(beta, (int, float)) and math.isfinite(beta) and beta >= 0):
        raise SettingsError(expected("beta", "a number from 0", beta))
    label_free = method in LABEL_FREE
    sample = LayerSample.draw(
        model_or_path,
        images,
        None if label_free else labels,
        layer,
        maps=maps,
        at=at,
        samples=20 * samples if method == "elimination" else samples,
        seed=seed,
        label_free=label_free,
    )
    width: int | None = None
    notices = sample.notices
    if method == "elimination":
        order, scores = eliminated(sample)
    elif method in ("mrmr", "ib", "cmi"):
        rows, order, scores, width, told = _by_grams(sample, method, beta, alpha)
        notices = (*notices, *told)
        every = np.full(len(sample.maps), -np.inf)
        every[rows] = scores
        order, scores = np.concatenate([rows[order], np.flatnonzero(every == -np.inf)]), every
    else:
        scores = _scores(sample, method, label_estimator(estimator), labels)
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        order = np.argsort(-scores, kind="stable")
    return Selection(
        layer=sample.layer.name,
        index=sample.layer.index,
        method=method,
        maps=sample.maps,
        order=sample.maps[order],
        scores=scores,
        width=width,
        notices=notices,
    )


def check_method(method: str) -> None:
    """Raises SettingsError for what is no method; the message names what there is."""
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), list(METHODS), 1)
        hint = f"Did you mean '{near[0]}'?" if near else ""
        raise SettingsError(expected("method", ", ".join(METHODS), f"'{method}'", hint))


def check_share(share: float) -> None:
    """Raises SettingsError for what is no share of the maps to keep."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise SettingsError(expected("keep", "a share above 0, up to 1", share))


def kept_of(count: int, share: float) -> int:
    """How many of so many maps a share is: one at least."""
    return max(1, round(share * count))


def _by_grams(
    sample: LayerSample, method: str, beta: float, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int | None, tuple[str, ...]]:
    """Rows with finite responses, their order and scores, a width, notices."""
    codes = sample.codes
    grams, finite = layer_grams(sample, Bandwidth())
    rows = np.flatnonzero(finite)
    if method == "cmi":
        found = conditional_width(grams, codes, alpha, sample.seed)
        return rows, found.order, found.scores, found.width, found.notices
    about, label = pairs_at_two(grams, gram_of_input(sample), codes)
    if method == "ib" or label is None:
        known = about.single if label is None else label.single
        scores = beta * known - about.single
        return rows, np.argsort(-scores, kind="stable"), scores, None, ()
    order, scores = relevance_less_redundancy(label)
    return rows, order, scores, None, ()


def _scores(sample: LayerSample, method: str, estimator: LabelEstimator, labels: Any) -> np.ndarray:
    if method == "apoz":
        return active(sample)
    if method == "mean":
        return mean_response(sample)
    if method == "l1":
        return kernel_size(sample)
    if method == "taylor":
        return taylor(sample, labels)
    if method == "random":
        return random_numbers(sample)
    codes = sample.codes
    found = []
    for _, values, finite in sample.responses():
        part = np.full(len(finite), -np.inf)
        if finite.any():
            part[finite] = estimator.over_maps(values[:, finite], codes, sample.seed).raw
        found.append(part)
    return np.concatenate(found)


def active(sample: LayerSample) -> np.ndarray:
    """(m,): share of responses above 0, one less the average percentage of zeros (APoZ).

    References:
        H. Hu et al.: Network trimming. arXiv:1607.03250 (2016), eq. 1.
    """
    return _over_blocks(sample, lambda values: (values > 0).mean(axis=(0, 2)))


def mean_response(sample: LayerSample) -> np.ndarray:
    """(m,): mean response over images and nodes."""
    return _over_blocks(sample, lambda values: values.mean(axis=(0, 2), dtype=np.float64))


def kernel_size(sample: LayerSample) -> np.ndarray:
    """(m,): sum of the absolute weights of a map's kernels.

    References:
        H. Li et al.: Pruning filters for efficient ConvNets. ICLR 2017.
    """
    from oip.network.channel_graph import convolution_call, of_network

    layer = convolution_call(sample.network, sample.layer).layer
    known = of_network(sample.network)
    known.of_layer(sample.network, sample.layer)  # says so where the layer makes no maps
    cut = next(cut for cut in known.cuts[id(layer)] if not cut.reads)
    kernel = np.abs(np.asarray(layer.get_weights()[cut.weight], np.float64))
    axes = tuple(axis for axis in range(kernel.ndim) if axis != cut.axis % kernel.ndim)
    return kernel.sum(axis=axes)[sample.maps]


def random_numbers(sample: LayerSample) -> np.ndarray:
    """(m,): chance."""
    return seeds.generator(sample.seed, "random maps", sample.layer.index).random(len(sample.maps))


def taylor(sample: LayerSample, labels: Any) -> np.ndarray:
    """(m,): |response x gradient of the loss|, summed over nodes, mean over images.

    To first order it is what the loss changes by when the map is silenced for one image.

    Args:
        sample: with labels.
        labels: (n,) of all images that were given; numbers of the model's classes.

    Raises:
        DataError: labels that are no numbers of classes of the model.
        ModelError: the model does not end in classes.

    References:
        P. Molchanov et al.: Pruning convolutional neural networks for resource efficient inference.
        ICLR 2017, eq. 7.
    """
    import tensorflow as tf

    from oip.network.forward import compiled_for_images, run_in_batches, run_to
    from oip.network.tracing import shadowed

    network, info = sample.network, sample.layer
    head = network.class_layer()
    targets = output_units(network, labels, len(labels))[sample.indices]
    axes = len(info.size)
    place = 1 if info.channels_first else axes + 1

    def gated(part: Any, known: Any) -> Any:
        gate = tf.ones([tf.shape(part)[0], info.maps])
        shape = [-1, *[1] * (axes + 1)]
        shape[place] = info.maps

        def wrap(layer: Any, call: Any) -> Any:
            uses = [0]

            def silenced(*args: Any, **kwargs: Any) -> Any:
                found = call(*args, **kwargs)
                here = uses[0] == info.response.use
                uses[0] += 1
                return found * tf.cast(tf.reshape(gate, shape), found.dtype) if here else found

            return silenced

        with tf.GradientTape() as tape:
            tape.watch(gate)
            with shadowed([info.response.layer], wrap):
                logits, _ = run_to(network.model, network.feed(part), head.response)
            if head.maps == 1:
                wanted = tf.cast(known, tf.float32)
                loss = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits[:, 0])
            else:
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits)
        return tape.gradient(loss, gate)

    if head.response.layer is info.response.layer:
        raise ModelError(expected(f"layer '{info.name}'", "a layer before the output", "it"))
    graph = compiled_for_images(network, gated, tf.TensorSpec((None,), tf.int32))
    batches = run_in_batches(
        graph,
        sample.images,
        network.activation_bytes(),
        along=[targets.astype(np.int32)],
        byte_budget=256 << 20,
        most=256,
    )
    total = np.zeros(info.maps)
    for _, gradient in batches:
        total += np.abs(gradient).sum(axis=0, dtype=np.float64)
    return (total / len(sample.images))[sample.maps]


def _over_blocks(sample: LayerSample, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.concatenate([measure(block.values) for block in sample.responses()])
