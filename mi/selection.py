"""Selection of the maps of a layer that are worth keeping, by one of several methods.

Backward elimination removes maps one at a time, from all of them down. Each time the map goes whose
loss is least: the variance of what the next layers compute that a linear fit from the remaining
maps no longer explains. For Gaussian responses that residual variance is what conditional mutual
information I(T_i; Z | the maps that stay) measures; Z is what the next layer computes.

With Sigma the covariance of the inputs of the next kernel W, H its inverse, and b the inputs that a
map feeds, removing it costs tr(W_b' H_bb^-1 W_b); W and H are then brought up to date.

References:
    B. Hassibi, D. G. Stork: Second order derivatives for network pruning: optimal brain surgeon.
    NIPS 1992. J.-H. Luo, J. Wu, W. Lin: ThiNet. ICCV 2017 (the objective of elimination).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.errors import ModelError, SettingsError, did_you_mean
from oip.core.units import finite_or_none, three_best
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, label_estimator
from oip.mi.estimators.gram import Bandwidth, cut
from oip.mi.estimators.renyi import Pairs, class_entropy, matrix_entropy, renyi_label_entropy
from oip.mi.estimators.results import SATURATED
from oip.mi.layer_sample import At, LayerResult, LayerSample, output_units
from oip.mi.redundancies import gram_of_input, layer_grams, pairs_at_two
from oip.mi.silencing import changed_response

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.core.files import Json
    from oip.mi.layer_sample import LayerSample, ModelLike
    from oip.network.channel_graph import Reader
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

METHODS = {
    "elimination": "loss of the next layers when they are fitted again; no labels",
    "mrmr": "information about the label less redundancy with the maps chosen before",
    "mi": "information about the label, each map by itself",
    "ib": "I(X;T) - beta I(T;Y), the information bottleneck's objective",
    "cmi": "what a map adds about the label to the maps before it, until chance adds as much",
    "taylor": "first-order change of the loss when the map is silenced",
    "apoz": "share of responses above 0; no labels",
    "l1": "size of the map's kernels; no data",
    "mean": "mean response; no labels",
    "random": "chance",
}
"""Name -> score; `mi.select` has these."""
DEFAULT_METHOD = "elimination"
_OF_ALL_WEIGHTS = ("elimination", "taylor")
"""Methods that compute with the layers behind the maps, too; NaN can be lost there."""
LABEL_FREE = ("elimination", "apoz", "l1", "mean", "random")
_GRADIENT_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Selection(LayerResult):
    """The maps of a layer in the order in which they are worth keeping."""

    method: str
    order: np.ndarray
    """(m,) int: map numbers, the one to keep first first."""
    scores: np.ndarray
    """(m,): the method's score, larger for maps to keep; of greedy methods when it was chosen."""
    width: int | None = None
    """Number of maps that are enough; None where the method does not or cannot say."""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = three_best(self.order, self._ordered_scores)
        text = f"keep first: {self.noun} {best}"
        return f"Selection({self.layer}: {self._counted} by {self.method}; {text})"

    @property
    def _ordered_scores(self) -> np.ndarray:
        return self.scores[np.searchsorted(self.maps, self.order)]

    def keep(self, share: float) -> np.ndarray:
        """Return the sorted numbers of the maps to keep, a share above 0 and up to 1; one at least.

        Example:
            >>> selection.keep(0.5)  # doctest: +SKIP
        """
        check_share(share)
        return np.sort(self.order[: kept_count(len(self.order), share)])

    def to_dict(self) -> dict[str, Json]:
        """Return plain values."""
        return {
            "layer": self.layer,
            "index": self.index,
            "method": self.method,
            "order": self.order.tolist(),
            "scores": [
                {"map": int(map_index), "score": finite_or_none(score)}
                for map_index, score in zip(self.maps, self.scores, strict=True)
            ],
            "width": self.width,
            "notices": list(self.notices),
        }

    def to_pandas(self) -> DataFrame:
        """Return a row for each map, the one to keep first first."""
        import pandas

        head = {"layer": self.layer, "method": self.method}
        return pandas.DataFrame({**head, "map": self.order, "score": self._ordered_scores})

    def _repr_html_(self) -> str:
        enough = [] if self.width is None else [f"enough: the first {self.width}"]
        title = f"{self.layer}: {self._counted}, those to keep first first ({self.method})"
        return self._block(title, (*enough, *self.notices), {"map": self.noun, "score": "score"})


def select(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
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
    """Order the maps of a layer by how much is lost without them.

    Args:
        model_or_path, layer, maps, at: as for `mi.rank`.
        images: (n, h, w, bands), as the model is fed with them; not those of the final test.
        labels: (n,); None for methods that need none.
        method: one of `METHODS`.
        samples: most images that are used; `elimination` uses up to twenty times as many where
            the next kernel has many inputs.
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
        raise SettingsError("beta", "a number from 0", beta)
    label_free = method in LABEL_FREE
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    if method in _OF_ALL_WEIGHTS and sample.network.spoiled:
        subject = f"{method}: weights of '{sample.network.name}'"
        hint = "Take another method, such as mi."
        raise ModelError(subject, "finite numbers", "NaN or infinity", hint)
    samples = 20 * samples if method == "elimination" else samples
    sample = sample.draw(None if label_free else labels, samples, label_free=label_free)
    width, notices = None, sample.notices
    if method == "elimination":
        order, scores = eliminated(sample)
    elif method in ("mrmr", "ib", "cmi"):
        grams, finite = layer_grams(sample, Bandwidth())
        size = _gram_order(sample, grams, method, beta, alpha)
        rows = np.flatnonzero(finite)
        scores = np.full(len(sample.maps), -np.inf)
        scores[rows] = size.scores
        order = np.concatenate([rows[size.order], np.flatnonzero(~finite)])
        width, notices = size.width, (*notices, *size.notices)
    else:
        scores = _scores(sample, method, label_estimator(estimator), labels)
        scores = np.where(np.isfinite(scores), scores, -np.inf)
        order = np.argsort(-scores, kind="stable")
    return Selection(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        method=method,
        maps=sample.maps,
        order=sample.maps[order],
        scores=scores,
        width=width,
        notices=notices,
    )


def check_method(method: str) -> None:
    """Raise a SettingsError for an unknown method; the message lists the available ones."""
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise SettingsError("method", ", ".join(METHODS), f"'{method}'", hint)


def check_share(share: float) -> None:
    """Raise a SettingsError for a number that is no share of the maps to keep."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise SettingsError("keep", "a share above 0, up to 1", share)


def kept_count(count: int, share: float) -> int:
    """Return the number of maps in a share of them, one at least."""
    return max(1, round(share * count))


@dataclass(frozen=True, eq=False)
class SelectionSize:
    """An order of maps by their Gram matrices, and how many of them are enough."""

    order: np.ndarray
    """(m,) int: rows; the chosen ones first, then the others by what they know alone."""
    scores: np.ndarray
    """(m,): in nats; of `cmi` I(T_i; Y | the maps before it), 0 for maps that were not tried."""
    p_values: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Of the maps that were tried, in their order."""
    width: int | None = None
    """Maps that each add something; None where no conclusion can be drawn."""
    notices: tuple[str, ...] = ()


def _gram_order(
    sample: LayerSample, grams: np.ndarray, method: str, beta: float, alpha: float
) -> SelectionSize:
    """Order the maps with these Gram matrices by `mrmr`, `ib` or `cmi`."""
    codes = sample.codes
    if method == "cmi":
        return conditional_width(grams, codes, alpha, sample.seed)
    about_input, about_label = pairs_at_two(grams, gram_of_input(sample), codes)
    if method == "mrmr" and about_label is not None:
        return SelectionSize(*relevance_less_redundancy(about_label))
    relevance = (about_label or about_input).single
    scores = beta * relevance - about_input.single
    return SelectionSize(np.argsort(-scores, kind="stable"), scores)


def relevance_less_redundancy(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return (m,) int rows in the order in which they are chosen, and (m,) their scores then.

    The next map is the one with the largest I_i less the mean, over the maps chosen before, of its
    redundancy less synergy with them about the label.

    References:
        H. Peng, F. Long, C. Ding: Feature selection based on mutual information. IEEE TPAMI 27
        (2005) 1226. With synergy it is the criterion of H. Yang, J. Moody, NIPS 1999.
    """
    relevance, shared = pairs.single, pairs.redundancy
    scores = np.zeros(len(relevance))
    order: list[int] = []
    remaining = np.ones(len(relevance), bool)
    cost = np.zeros(len(relevance))
    while remaining.any():
        values = relevance - (cost / len(order) if order else 0.0)
        row = int(np.argmax(np.where(remaining, values, -np.inf)))
        scores[row] = values[row]
        order.append(row)
        remaining[row] = False
        cost += shared[row]
    return np.array(order), scores


def conditional_width(
    grams: np.ndarray,
    codes: np.ndarray,
    alpha: float,
    seed: int,
    level: float = 0.05,
    shuffles: int = 100,
) -> SelectionSize:
    """Add maps while the next one leaves the others less to say about the label than chance does.

    The next map T is the one with the largest I({chosen, T}; Y). What the others R then add to it,
    I(R; Y | chosen, T) = I({R, chosen, T}; Y) - I({chosen, T}; Y), is compared with the same for T
    with samples in random orders (rows and columns of its Gram matrix, in both terms). The p-value
    is the share of orders with no more than T itself; above the level T is not added, and the
    chosen maps are enough.

    When S of the chosen maps and T is at log n no conclusion is drawn: all samples are dissimilar,
    whatever the maps know. All maps together mostly are at log n; they then are taken to know the
    label, and the comparison is that of I({chosen, T}; Y) alone. The product with a copy is a
    narrower kernel, so that a copy may seem to add a little where one kernel blurs the classes.

    References:
        S. Yu, J. C. Principe: Simple stopping criteria for information theoretic feature selection.
        Entropy 21 (2019) 99. S. Yu et al.: IEEE TNNLS 32 (2021) 435, algorithm 1.
    """
    n, label = len(codes), renyi_label_entropy(codes, alpha)

    def entropy_and_information(matrix: np.ndarray) -> tuple[float, float]:
        """Return S(A) and I(A;Y)."""
        entropy = float(matrix_entropy(matrix, alpha))
        return entropy, entropy + label - float(class_entropy(matrix, codes, alpha))

    def information(matrix: np.ndarray) -> float:
        return entropy_and_information(matrix)[1]

    alone = np.array(thread_map(lambda gram: information(gram.astype(np.float64)), grams))
    product = np.ones((n, n))  # the product of the Gram matrices of the chosen maps
    chosen_information = 0.0
    order: list[int] = []
    scores, p_values = np.zeros(len(grams)), []
    width: int | None = None
    notices: tuple[str, ...] = ()
    remaining = list(range(len(grams)))
    while remaining:
        values = thread_map(
            lambda row, product=product: entropy_and_information(product * grams[row]), remaining
        )
        best = int(np.argmax([map_information for _, map_information in values]))
        row, (entropy, best_information) = remaining[best], values[best]
        if entropy >= SATURATED * math.log(n):
            notices = (
                f"Saturated after {len(order)} maps: S of the maps together is "
                f"{entropy / math.log(n):.1%} of log n; no width can be given. Use more samples or "
                "a wider kernel.",
            )
            break
        unchosen = np.ones((n, n))
        for other in remaining:
            if other != row:
                unchosen *= grams[other]
        random = seeds.generator(seed, "null", len(order))
        shuffled = [random.permutation(n) for _ in range(shuffles)]
        p_value = _p_value_of_others(information, product, grams[row], unchosen, shuffled)
        scores[row] = best_information - chosen_information
        p_values.append(p_value)
        if p_value > level:
            width = len(order)
            break
        order.append(row)
        remaining.remove(row)
        product = product * grams[row]
        chosen_information = best_information
    else:
        width = len(order)
    unselected = sorted(remaining, key=lambda row: -alone[row])
    return SelectionSize(np.array(order + unselected), scores, np.array(p_values), width, notices)


def _p_value_of_others(
    information: Callable[[np.ndarray], float],
    product: np.ndarray,
    gram: np.ndarray,
    unchosen: np.ndarray,
    shuffled: Sequence[np.ndarray],
) -> float:
    """Return the share of shuffles of a map with which the others add no more than with the map.

    Args:
        information: about the label, of a matrix (n, n).
        product: that of the Gram matrices of the maps that are chosen.
        gram: of the map.
        unchosen: product of those of all other maps.
        shuffled: orders (n,) of the map's samples.
    """

    def added_by_others(order: np.ndarray) -> float:
        joint = product * cut(gram, order)
        return information(unchosen * joint) - information(joint)

    observed, *null = thread_map(added_by_others, [np.arange(len(gram)), *shuffled])
    return float(np.mean(np.array(null) <= observed + 1e-12))


def _scores(
    sample: LayerSample, method: str, estimator: LabelEstimator, labels: ArrayLike | None
) -> np.ndarray:
    """Return (m,) scores of methods that score each map alone."""
    if method == "apoz":
        return positive_share(sample)
    if method == "mean":
        return mean_response(sample)
    if method == "l1":
        return kernel_size(sample)
    if method == "taylor":
        return taylor(sample, labels)
    if method == "random":
        draw = seeds.generator(sample.seed, "random maps", sample.layer.index)
        return draw.random(len(sample.maps))
    blocks = []
    for _, values, finite in sample.responses():
        scores = np.full(len(finite), -np.inf)
        if finite.any():
            scores[finite] = estimator.over_maps(
                values[:, finite], sample.codes, sample.seed, distinct=True
            ).raw
        blocks.append(scores)
    return np.concatenate(blocks)


def positive_share(sample: LayerSample) -> np.ndarray:
    """Return (m,) shares of responses above 0, one less the average percentage of zeros (APoZ).

    References:
        H. Hu et al.: Network trimming. arXiv:1607.03250 (2016), eq. 1.
    """
    return np.concatenate([(block.values > 0).mean(axis=(0, 2)) for block in sample.responses()])


def mean_response(sample: LayerSample) -> np.ndarray:
    """Return (m,) mean responses over images and nodes."""
    blocks = (block.values for block in sample.responses())
    return np.concatenate([values.mean(axis=(0, 2), dtype=np.float64) for values in blocks])


def kernel_size(sample: LayerSample) -> np.ndarray:
    """Return (m,) sums of the absolute weights of a map's kernels.

    References:
        H. Li et al.: Pruning filters for efficient ConvNets. ICLR 2017.
    """
    from oip.network.channel_graph import Channels, kernel_call

    layer = kernel_call(sample.network, sample.layer).layer
    graph = Channels.of(sample.network)
    graph.of_layer(sample.network, sample.layer)  # refuses layers that make no maps
    cut = next(cut for cut in graph.cuts[id(layer)] if not cut.reads)
    kernel = np.abs(np.asarray(layer.get_weights()[cut.weight], np.float64))
    axes = tuple(axis for axis in range(kernel.ndim) if axis != cut.axis % kernel.ndim)
    return kernel.sum(axis=axes)[sample.maps]


def taylor(sample: LayerSample, labels: ArrayLike | None) -> np.ndarray:
    """Return (m,) |response x gradient of the loss|, summed over nodes, mean over images.

    To first order it is the change of the loss when the map is silenced for one image. Labels are
    units of the model's output, of all images given.

    References:
        P. Molchanov et al.: Pruning convolutional neural networks for resource efficient inference.
        ICLR 2017, eq. 7.
    """
    import tensorflow as tf

    from oip.network.forward import compiled_for_images, run_in_batches, run_to

    network, layer = sample.network, sample.layer
    head = network.class_layer()
    units = output_units(network, labels, None)[sample.indices]
    if head.response.layer is layer.response.layer:
        raise ModelError(f"layer '{layer.name}'", "a layer before the output", "it")
    axes = len(layer.size)
    shape = [-1, *[1] * (axes + 1)]
    shape[1 if layer.channels_first else axes + 1] = layer.maps

    def gradient(images: Tensor, true: Tensor) -> Tensor:
        """Return (n, maps): of the loss, by a factor that multiplies each map."""
        factors = tf.ones([tf.shape(images)[0], layer.maps])

        def multiplied(response: Tensor) -> Tensor:
            return response * tf.cast(tf.reshape(factors, shape), response.dtype)

        with tf.GradientTape() as tape:
            tape.watch(factors)
            with changed_response(layer, multiplied):
                logits, _ = run_to(network.model, network.feed(images), head.response)
            if head.maps == 1:
                targets = tf.cast(true, tf.float32)
                loss = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits[:, 0])
            else:
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
        return tf.convert_to_tensor(tape.gradient(loss, factors))

    batches = run_in_batches(
        compiled_for_images(network, gradient, tf.TensorSpec((None,), tf.int32)),
        sample.images,
        network.activation_bytes(),
        along=[units.astype(np.int32)],
        byte_budget=_GRADIENT_BYTES,
        max_images=256,
    )
    total = np.zeros(layer.maps)
    for _, gradients in batches:
        total += np.abs(gradients).sum(axis=0, dtype=np.float64)
    return (total / len(sample))[sample.maps]


_RIDGE = 1e-4


def eliminated(sample: LayerSample) -> tuple[np.ndarray, np.ndarray]:
    """Order the maps of a sample by elimination; other maps of the layer stay throughout.

    Returns:
        (m,) int: rows of `sample.maps`, the one that stays longest first; and (m,): the loss of
        each, as a share of the variance that the next layers compute, at the time when it goes.

    Raises:
        ModelError: the layer makes no maps, or no next layer can be fitted.
    """
    from oip.network.channel_graph import Channels
    from oip.network.surgery import LARGEST, has_patches, inputs_of

    graph = Channels.of(sample.network)
    identities = graph.of_layer(sample.network, sample.layer)[sample.maps]
    next_layers = [
        reader
        for reader in graph.readers
        if np.isin(graph.same(reader.channels), identities).any()
        and reader.uses == 1
        and has_patches(reader.layer)
        and inputs_of(reader.layer) <= LARGEST
    ]
    if not next_layers:
        hint = "Choose another method."
        text = f"a convolution or dense layer after it, of at most {LARGEST} inputs"
        raise ModelError(f"layer '{sample.layer.name}'", text, "none", hint)
    kernels = [
        _FittedKernel(
            sample.network, reader, graph.same(reader.channels), identities, sample.images
        )
        for reader in next_layers
    ]
    remaining = list(range(len(identities)))
    removed: list[int] = []
    losses = np.zeros(len(identities))
    while remaining:
        costs = np.sum([kernel.costs(remaining) for kernel in kernels], axis=0)
        row = remaining.pop(int(np.argmin(costs)))
        losses[row] = costs.min()
        for kernel in kernels:
            kernel.remove(row)
        removed.append(row)
    return np.array(removed[::-1]), losses


class _FittedKernel:
    """The kernel of one next layer, fitted to the maps that are left."""

    def __init__(
        self,
        network: Network,
        reader: Reader,
        channels: np.ndarray,
        identities: np.ndarray,
        images: np.ndarray,
    ):
        from oip.network.surgery import images_needed, kernel_matrix

        kernel = kernel_matrix(reader.layer)
        taps = len(kernel)
        weights = kernel.reshape(-1, kernel.shape[-1])
        images = images_needed(network, reader.layer, images)
        covariance = _input_covariance(network, reader.layer, images)
        total = float(np.einsum("io,ij,jo->", weights, covariance, weights, optimize=True))
        ridge = _RIDGE * max(np.trace(covariance) / len(covariance), np.finfo(np.float32).tiny)
        self._inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        self._weights = weights / np.sqrt(total if total > 0 else 1.0)
        first_inputs = np.arange(taps)[:, None] * len(channels)
        self._blocks = [
            (first_inputs + np.flatnonzero(channels == identity)).reshape(-1)
            for identity in identities
        ]  # inputs of the kernel that each map feeds

    def costs(self, rows: Sequence[int]) -> np.ndarray:
        """Return the loss of removing each of these maps alone."""
        result = np.zeros(len(rows))
        sizes = np.array([len(self._blocks[row]) for row in rows])
        for size in np.unique(sizes[sizes > 0]):
            positions = np.flatnonzero(sizes == size)
            blocks = np.stack([self._blocks[rows[int(index)]] for index in positions])
            inner = self._inverse[blocks[:, :, None], blocks[:, None, :]]
            weights = self._weights[blocks]
            result[positions] = (weights * np.linalg.solve(inner, weights)).sum(axis=(1, 2))
        return result

    def remove(self, row: int) -> None:
        """Take a map out and fit the others again."""
        block = self._blocks[row]
        if not len(block):
            return
        columns = self._inverse[:, block]
        step = np.linalg.solve(self._inverse[np.ix_(block, block)], columns.T)
        self._weights -= step.T @ self._weights[block]
        self._inverse -= columns @ step


def _input_covariance(network: Network, layer: keras.Layer, images: np.ndarray) -> np.ndarray:
    """Return the covariance of a kernel's inputs; about 0 where no bias can take up a mean."""
    from oip.network.surgery import inputs_of, received

    size = inputs_of(layer)
    squares, total, n = np.zeros((size, size)), np.zeros(size), 0
    origin: np.ndarray | None = None
    for batch in received(network, layer, images):
        if origin is None:
            origin = batch.mean(axis=0)
        moved = batch - origin
        squares += moved.T @ moved
        total += moved.sum(axis=0, dtype=np.float64)
        n += len(batch)
    mean = total / n
    covariance = squares / n - np.outer(mean, mean)
    if getattr(layer, "bias", None) is None and origin is not None:
        covariance += np.outer(mean + origin, mean + origin)
    return covariance
