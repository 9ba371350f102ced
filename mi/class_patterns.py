"""Filter correlation patterns (FCPs): points in a layer's maps that images of a class share.

The idea is that of the articles "A simple CNN for the MNIST dataset", V and VI (R. Mönchmeyer): a
network recognizes classes by points in the maps of its last convolution that respond to all images
of a class, and two similar classes by few of them. Here a point is common if it responds to a share
of the images, and every difference is compared with shuffled classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core.errors import SettingsError
from oip.core.progress import Progress, automatic
from oip.mi.class_images import Cases, case_rows, class_predictions, class_subset
from oip.mi.class_pattern_results import CommonPatterns, Separation
from oip.mi.layer_sample import At, LayerSample
from oip.mi.permutation_test import ShuffleTest, adjusted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

_BYTE_BUDGET = 32 << 20
"""Of responses that are in memory at a time, where a map does not need more."""
_ROUNDING = 1e-9


class PatternSample:
    """A sample for patterns: the layer's responses block by block, and the images to show."""

    def __init__(
        self,
        sample: LayerSample,
        labels: ArrayLike,
        first: str | int,
        second: str | int | None,
        *,
        samples: int,
        classes: Sequence[str] | None,
    ):
        """Draw images of a class and of others, see `class_subset`."""
        network = sample.network
        self.subset = class_subset(sample, labels, first, second, samples=samples, classes=classes)
        self.layer_sample = sample.take(self.subset)
        self._predictions = class_predictions(network, self.layer_sample.images, self.subset)
        self._case_rows, self._hard = case_rows(self.subset, self._predictions)
        self._finite: list[np.ndarray] = []
        self._case_values: list[np.ndarray] = []

    def blocks(self, byte_budget: int, progress: Progress) -> Iterator[np.ndarray]:
        """Yield responses (n, m, d) of some maps at a time; zeros for maps that are not finite.

        Raises:
            NoFiniteResponses: no map is finite.
        """
        for _, values, finite in self.layer_sample.responses(byte_budget, progress, "patterns"):
            self._finite.append(finite)
            self._case_values.append(values[self._case_rows])
            yield values if finite.all() else np.where(finite[:, None], values, 0.0)

    def masked(self, values: np.ndarray) -> np.ndarray:
        """Return (m, ...) with NaN for maps that are not finite."""
        finite = np.concatenate(self._finite)
        return np.where(finite.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan)

    def on_nodes(self, values: np.ndarray) -> np.ndarray:
        """Return (m, d) as (m, *nodes), NaN for maps that are not finite."""
        return self.masked(values).reshape(len(values), *self.layer_sample.size)

    def cases(self, order: np.ndarray) -> Cases:
        """Return the images to show, with the responses of the maps in an order of rows."""
        sample, rows = self.layer_sample, self._case_rows
        values = np.concatenate(self._case_values, axis=1)[:, order]
        predicted, p_own = np.full(len(rows), "", "<U1"), np.full(len(rows), np.nan)
        if self._predictions is not None and self.subset.outputs is not None:
            predicted = self._predictions.names[rows]
            p_own = self._predictions.probabilities[rows, self.subset.outputs[rows]]
        return Cases(
            indices=sample.indices[rows],
            labels=self.subset.labels[rows],
            hard=self._hard,
            predicted=predicted,
            own=p_own,
            images=sample.images[rows],
            values=values.reshape(len(rows), len(order), *sample.size),
            bgr=sample.network.inputs.bgr,
            patches=sample.layer.patches if sample.at == "response" else (),
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """Remarks for the reader of the result."""
        notices = list(self.subset.notices)
        if self._predictions is None:
            notices.append("No hard cases: the model's output does not have these classes.")
        unusable = int((~np.concatenate(self._finite)).sum())
        if unusable:
            notices.append(f"{unusable} maps have responses that are not finite.")
        return tuple(notices)


def node_parts(values: np.ndarray, byte_budget: int) -> Iterator[np.ndarray]:
    """Yield responses (n, m, d) as (n, m, k), whose numbers in double precision fit a budget."""
    step = max(1, byte_budget // (8 * values.shape[0] * values.shape[1]))
    for start in range(0, values.shape[2], step):
        yield values[:, :, start : start + step]


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return (n,) weights: one over the number of images of the same class."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / counts[codes]


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Return a weighted quantile of the responses (n, d) above zero; 0 if there are none.

    Each response has the weight (n,) of its image; the level is below 1; for level 0 it is 0.
    """
    # numpy.quantile takes weights from NumPy 2.0 on; 1.26 is supported.
    image, _ = np.nonzero(values > 0)
    positive = values[values > 0]
    if level == 0.0 or not positive.size:
        return 0.0
    order = np.argsort(positive, kind="stable")
    total = np.cumsum(weights[image][order])
    return float(positive[order][np.searchsorted(total, (level - _ROUNDING) * total[-1])])


def centered_ranks(values: np.ndarray) -> np.ndarray:
    """Return (n, m, d): each node's ranks over the images, ties sharing theirs, less their mean."""
    from scipy.stats import rankdata

    return rankdata(values, axis=0) - (len(values) + 1) / 2


def cliffs_delta(ranks: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return (m, d) Cliff's delta from centered ranks: 2 (rank sum of the members) / pairs."""
    pairs = members.sum() * (~members).sum()
    return np.clip(2.0 * ranks[members].sum(axis=0) / pairs, -1.0, 1.0)


def common_patterns(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike,
    layer: str | LayerInfo,
    of: str | int,
    *,
    level: float = 0.5,
    most: float = 0.8,
    maps: str | Iterable[int] | int | None = None,
    samples: int = 2000,
    shuffles: int = 1000,
    at: At = "response",
    seed: int = 0,
    classes: Sequence[str] | None = None,
    progress: Progress = automatic,
    byte_budget: int = _BYTE_BUDGET,
) -> CommonPatterns:
    """Find the nodes of each map that respond for most images of a class.

    A node responds to an image if its response is above the threshold of its map: the quantile
    `level` of all the map's responses above zero, over its nodes and the images, every class
    counting alike. A node is a common point if it responds to the share `most` of the class's
    images. Its p-value is that it responds to no more of them than of other classes' images:
    the labels are shuffled, and the largest standardized difference of any node is the null.

    Args:
        model_or_path, labels, layer, maps, at, classes, progress, byte_budget: as for `mi.rank`.
        images: (n, h, w, bands), as the model is fed with them, of this and other classes.
        of: the class, by name or number.
        level: of the threshold, from 0 (any response above zero) to below 1.
        most: share of the class's images, above 0 to 1.
        samples: most images that are used: up to half of them of the class, the rest of the others
            in their shares.
        shuffles: of the labels, 19 or more.
        seed: of the sample and the shuffles.

    Returns:
        Shares, p-values and common points of all nodes, with examples and hard cases.

    Raises:
        ModelError, SettingsError: an unknown layer or map, a setting outside its range.
        DataError: images or labels that cannot be used, a class without images, no map with
            finite responses.

    Example:
        >>> common = mi.common_patterns("m.keras", images, labels, "Conv2D_3", 4)  # doctest: +SKIP
        >>> common.plot()  # doctest: +SKIP
    """
    if isinstance(level, bool) or not 0.0 <= level < 1.0:
        raise SettingsError("level", "a share, 0 to below 1", level)
    if isinstance(most, bool) or not 0.0 < most <= 1.0:
        raise SettingsError("most", "a share, above 0 to 1", most)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    patterns = PatternSample(sample, labels, of, None, samples=samples, classes=classes)
    members = patterns.subset.members
    test = ShuffleTest(members, shuffles, seed, two_sided=False)
    weights = class_weights(patterns.subset.labels)
    thresholds, shares, other_shares = [], [], []
    for values in patterns.blocks(byte_budget, progress):
        threshold = np.array(
            [quantile(map_values, weights, level) for map_values in values.swapaxes(0, 1)]
        )
        responds = values > threshold[:, None]
        test.add(nodes.astype(np.float32) for nodes in node_parts(responds, byte_budget))
        thresholds.append(threshold)
        shares.append(responds[members].mean(axis=0))
        other_shares.append(responds[~members].mean(axis=0))
    return CommonPatterns(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        at=at,
        class_name=patterns.subset.first,
        maps=sample.maps,
        threshold=patterns.masked(np.concatenate(thresholds)),
        share=patterns.on_nodes(np.concatenate(shares)),
        other_share=patterns.on_nodes(np.concatenate(other_shares)),
        p_value=patterns.on_nodes(test.node_p_values()),
        level=float(level),
        most=float(most),
        images=int(members.sum()),
        other_images=int((~members).sum()),
        shuffles=shuffles,
        cases=patterns.cases(np.arange(len(sample.maps))),
        notices=patterns.notices,
    )


def separating(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike,
    layer: str | LayerInfo,
    first: str | int,
    second: str | int,
    *,
    maps: str | Iterable[int] | int | None = None,
    samples: int = 2000,
    shuffles: int = 1000,
    at: At = "response",
    seed: int = 0,
    classes: Sequence[str] | None = None,
    progress: Progress = automatic,
    byte_budget: int = _BYTE_BUDGET,
) -> Separation:
    """Find the nodes and maps of a layer that respond differently to two classes.

    The effect of a node is Cliff's delta [1]: the probability that it responds more to an image of
    the first class than to one of the second, less that of the opposite. The test is that of
    Wilcoxon, Mann and Whitney with shuffled classes: a node's p-value holds for the family of all
    nodes, a map's for the best of its nodes, and is adjusted for the number of maps.

    Args:
        first, second: the classes, by name or number; images of other classes are left out.
        samples: most images of the two classes that are used.
        shuffles: of the labels, 19 or more; p-values are 1 / (1 + shuffles) at the least.
        model_or_path, images, labels, layer, maps, at, seed, classes, progress, byte_budget: as for
            `common_patterns`, and the errors.

    Returns:
        The maps, the most separating first, with examples and hard cases of both classes.

    References:
        [1] Cliff, Psychological Bulletin 114 (1993) 494.

    Example:
        >>> result = mi.separating("m.keras", images, labels, "Conv2D_3", 4, 9)  # doctest: +SKIP
        >>> result.maps[:5], result.effect[:5]  # doctest: +SKIP
    """
    from oip.network.geometry import node_indices

    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    patterns = PatternSample(sample, labels, first, second, samples=samples, classes=classes)
    members = patterns.subset.members
    test = ShuffleTest(members, shuffles, seed, two_sided=True)
    effects = _effects(patterns, test, byte_budget, progress)
    best = np.abs(effects.nodes).argmax(axis=1)
    effect = patterns.masked(np.take_along_axis(effects.nodes, best[:, None], axis=1)[:, 0])
    order = np.lexsort((sample.maps, -np.nan_to_num(np.abs(effect), nan=-1.0)))
    p_value = patterns.masked(test.map_p_values())
    return Separation(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        at=at,
        first=patterns.subset.first,
        second=str(patterns.subset.second),
        maps=sample.maps[order],
        effect=effect[order],
        p_value=p_value[order],
        p_adjusted=adjusted(p_value)[order],
        nodes=node_indices(best[order], sample.size),
        mean_effect=patterns.masked(effects.means)[order],
        node_effect=patterns.on_nodes(effects.nodes)[order],
        node_p_value=patterns.on_nodes(test.node_p_values())[order],
        first_mean=patterns.on_nodes(effects.first)[order],
        second_mean=patterns.on_nodes(effects.second)[order],
        images=(int(members.sum()), int((~members).sum())),
        shuffles=shuffles,
        cases=patterns.cases(order),
        notices=patterns.notices,
    )


class _Effects(NamedTuple):
    """Effects and mean responses of some maps."""

    nodes: np.ndarray
    """(m, d): Cliff's delta of the nodes."""
    means: np.ndarray
    """(m,): Cliff's delta of the maps' spatial means."""
    first: np.ndarray
    """(m, d): mean responses to the first class."""
    second: np.ndarray
    """(m, d): mean responses to the second class."""


def _effects(
    patterns: PatternSample, test: ShuffleTest, byte_budget: int, progress: Progress
) -> _Effects:
    """Measure all maps, and add them to the test."""
    members = test.members
    effects: list[_Effects] = []
    for values in patterns.blocks(byte_budget, progress):
        deltas: list[np.ndarray] = []
        test.add(_ranked(values, members, byte_budget, deltas))
        means = values.mean(axis=2, dtype=np.float64, keepdims=True)
        effects.append(
            _Effects(
                nodes=np.concatenate(deltas, axis=1),
                means=cliffs_delta(centered_ranks(means), members)[:, 0],
                first=values[members].mean(axis=0, dtype=np.float64),
                second=values[~members].mean(axis=0, dtype=np.float64),
            )
        )
    return _Effects(*(np.concatenate(arrays) for arrays in zip(*effects, strict=True)))


def _ranked(
    values: np.ndarray, members: np.ndarray, byte_budget: int, deltas: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield centered ranks of some nodes at a time; add their effects to `deltas`."""
    for nodes in node_parts(values, byte_budget):
        ranks = centered_ranks(nodes)
        deltas.append(cliffs_delta(ranks, members))
        yield ranks
