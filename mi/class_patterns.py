"""Filter correlation patterns (FCPs): what images of a class have in common in a layer's maps, and
what one class has that another has not.

The idea is that of the articles "A simple CNN for the MNIST dataset", V and VI (R. Mönchmeyer): a
network tells classes by points in the maps of its last convolution that respond to all images of a
class, and two similar classes by few of them. Here a point is called common by a share of images,
and every difference is held against shuffled classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core.errors import DataError, SettingsError, expected
from oip.core.progress import Progress, automatic
from oip.mi.class_images import Cases, ClassImages, chosen_cases, class_images, judged
from oip.mi.class_pattern_results import CommonPatterns, Separation
from oip.mi.permutation_test import ShuffleTest, adjusted

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

At = Literal["response", "block"]
BYTES = 32 << 20
"""Responses that are held at a time, where a map does not need more."""


class PatternWork:
    """The sample, the layer's responses to it block by block, and what is shown of them."""

    def __init__(
        self,
        model_or_path: Any,
        images: np.ndarray,
        labels: Any,
        layer: str | LayerInfo,
        first: str | int,
        second: str | int | None,
        maps: str | Iterable[int] | int | None,
        samples: int,
        seed: int,
        at: At,
        classes: Sequence[str] | None,
        progress: Progress,
    ):
        from oip.network.layer_spec import map_numbers
        from oip.network.network import Network

        if at not in ("response", "block"):
            raise SettingsError(expected("at", "response or block", f"'{at}'"))
        self.network: Network = Network.of(model_or_path, images=images)
        self.info = self.network.find(layer) if isinstance(layer, str) else layer
        self.maps = map_numbers(self.info, maps)
        self.at: At = at
        self.progress = progress
        self.found: ClassImages = class_images(
            self.network,
            images,
            labels,
            first,
            second,
            samples=samples,
            seed=seed,
            classes=classes,
        )
        self.judgement = judged(self.network, self.found)
        names = [self.found.first] + ([self.found.second] if self.found.second else [])
        self.rows, self.hard = chosen_cases(self.found, self.judgement, names)
        self._usable: list[np.ndarray] = []
        self._case_values: list[np.ndarray] = []

    @property
    def size(self) -> tuple[int, ...]:
        """Nodes of a map along each axis."""
        return self.info.size if self.at == "response" else self.info.block_size or ()

    def blocks(self) -> Iterator[np.ndarray]:
        """Responses (n, m, d) of some maps at a time; zeros for maps that are not finite.

        Raises:
            DataError: no map is finite.
        """
        from oip.network.forward import map_blocks

        label, done = f"{self.info.name}: patterns", 0
        self.progress(label, 0, len(self.maps))
        for block, values in map_blocks(
            self.network, self.found.pixels, self.info, self.maps, self.at, BYTES
        ):
            usable = np.asarray(np.isfinite(values).all(axis=(0, 2)))
            self._usable.append(usable)
            self._case_values.append(values[self.rows])
            yield values if usable.all() else np.where(usable[:, None], values, 0.0)
            done += len(block)
            self.progress(label, done, len(self.maps))
        if not np.concatenate(self._usable).any():
            what, hint = f"responses of layer '{self.info.name}'", "Look for NaN in the weights."
            raise DataError(expected(what, "finite numbers", "NaN or infinity in every map", hint))

    def known(self, values: np.ndarray) -> np.ndarray:
        """(m, ...): NaN for maps that are not finite."""
        usable = np.concatenate(self._usable)
        return np.where(usable.reshape(-1, *(1,) * (values.ndim - 1)), values, np.nan)

    def placed(self, values: np.ndarray) -> np.ndarray:
        """(m, d) as (m, *nodes), NaN for maps that are not finite."""
        return self.known(values).reshape(len(values), *self.size)

    def cases(self, order: np.ndarray) -> Cases:
        """The images to show, with the responses of the maps in an order of rows."""
        values = np.concatenate(self._case_values, axis=1)[:, order]
        rows = self.rows
        predicted, own = np.full(len(rows), "", "<U1"), np.full(len(rows), np.nan)
        if self.judgement is not None and self.found.outputs is not None:
            probabilities, names = self.judgement
            predicted, own = names[rows], probabilities[rows, self.found.outputs[rows]]
        return Cases(
            places=self.found.places[rows],
            labels=self.found.labels[rows],
            hard=self.hard,
            predicted=predicted,
            own=own,
            images=self.found.pixels[rows],
            values=values.reshape(len(rows), len(order), *self.size),
            bgr=self.network.inputs.bgr,
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader has to know."""
        told = list(self.found.notices)
        if self.judgement is None:
            told.append(
                "No hard cases: the model's output does not tell the labelled classes apart."
            )
        unusable = self.maps[~np.concatenate(self._usable)]
        if unusable.size:
            told.append(f"{unusable.size} maps have responses that are not finite.")
        return tuple(told)


def node_parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Responses (n, m, d) some nodes at a time, (n, m, k), whose numbers in double precision fit
    the same bytes."""
    step = max(1, BYTES // (8 * values.shape[0] * values.shape[1]))
    for first in range(0, values.shape[2], step):
        yield values[:, :, first : first + step]


_ROUNDING = 1e-9


def class_weights(labels: np.ndarray) -> np.ndarray:
    """(n,): one over the number of images of the same class."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / counts[codes]


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Weighted quantile of the responses above zero, of values (n, d) and weights (n,); 0 if there
    are none, and at level 0."""
    image, _ = np.nonzero(values > 0)
    above = values[values > 0]
    if level == 0.0 or not above.size:
        return 0.0
    order = np.argsort(above, kind="stable")
    total = np.cumsum(weights[image][order])
    return float(above[order][np.searchsorted(total, (level - _ROUNDING) * total[-1])])


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """(n, m, d): each node's ranks over the images, ties sharing their mean, less their mean."""
    from scipy.stats import rankdata

    return rankdata(values, axis=0) - (len(values) + 1) / 2


def cliffs_delta(ranks: np.ndarray, members: np.ndarray) -> np.ndarray:
    """(m, d): Cliff's delta from centred ranks: 2 (rank sum of the members) / (their pairs)."""
    pairs = members.sum() * (~members).sum()
    return np.clip(2.0 * ranks[members].sum(axis=0) / pairs, -1.0, 1.0)


def common_patterns(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
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
) -> CommonPatterns:
    """The nodes of each map that respond for most images of a class.

    A node responds to an image if its response is above the threshold of its map: the quantile
    `level` of all the map's responses above zero, over its nodes and the images, every class
    counting alike. A node is a common point if it responds to the share `most` of the class's
    images. Its p-value tells whether it responds to more of them than of other classes' images:
    the labels are shuffled, and the largest standardised difference of any node is the null.

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them, of this and other classes.
        labels: (n,) whole numbers, booleans or strings, or one-hot rows.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        of: the class, by name or number.
        level: of the threshold, from 0 (any response above zero) to below 1.
        most: share of the class's images, above 0 to 1.
        maps: map numbers; all if None.
        samples: most images that are used: up to half of them of the class, the rest of the others
            in their shares.
        shuffles: of the labels, 19 or more.
        at: the response after its activation, or the block output after the pooling that follows.
        seed: of the sample and the shuffles.
        classes: names; label k is shown as `classes[k]`.
        progress: is told how many maps are done.

    Returns:
        Shares, p-values and common points of all nodes, with examples and hard cases.

    Raises:
        ModelError, SettingsError: an unknown layer or map, a setting outside what it may be.
        DataError: images or labels that cannot be used, a class that is not there, no map with
            finite responses.

    Example:
        >>> found = mi.common_patterns("m.keras", images, labels, "Conv2D_3", 4)  # doctest: +SKIP
        >>> found.plot()  # doctest: +SKIP
    """
    _check_share("level", level, 0.0 <= level < 1.0, "0 to below 1")
    _check_share("most", most, 0.0 < most <= 1.0, "above 0 to 1")
    work = PatternWork(
        model_or_path, images, labels, layer, of, None, maps, samples, seed, at, classes, progress
    )
    found = work.found
    members = found.members
    test = ShuffleTest(members, shuffles, seed, two_sided=False)
    weights = class_weights(found.labels)
    thresholds, shares, others = [], [], []
    for values in work.blocks():
        threshold = np.array([quantile(one, weights, level) for one in values.swapaxes(0, 1)])
        responds = values > threshold[:, None]
        test.add(part.astype(np.float32) for part in node_parts(responds))
        thresholds.append(threshold)
        shares.append(responds[members].mean(axis=0))
        others.append(responds[~members].mean(axis=0))
    return CommonPatterns(
        layer=work.info.name,
        index=work.info.index,
        at=at,
        class_name=found.first,
        maps=work.maps,
        threshold=work.known(np.concatenate(thresholds)),
        share=work.placed(np.concatenate(shares)),
        other_share=work.placed(np.concatenate(others)),
        p_value=work.placed(test.node_p_values()),
        level=float(level),
        most=float(most),
        images=int(members.sum()),
        others=int((~members).sum()),
        shuffles=shuffles,
        cases=work.cases(np.arange(len(work.maps))),
        notices=work.notices,
    )


def separating(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
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
) -> Separation:
    """What one class has and another has not: the nodes and maps of a layer that separate them.

    The effect of a node is Cliff's delta [1]: the probability that it responds more to an image of
    the first class than to one of the second, less that of the opposite. The test is that of
    Wilcoxon, Mann and Whitney with shuffled classes: a node's p-value holds for the family of all
    nodes, a map's for the best of its nodes, and is adjusted for the number of maps.

    Args:
        first, second: the classes, by name or number.
        model_or_path, images, labels, layer, maps, at, seed, classes, progress: as for
            `common_patterns`; images of other classes are left aside.
        samples: most images of the two classes that are used.
        shuffles: of the labels, 19 or more; p-values are 1 / (1 + shuffles) at the least.

    Returns:
        The maps, the most separating first, with examples and hard cases of both classes.

    Raises:
        ModelError, SettingsError, DataError: as for `common_patterns`.

    References:
        [1] Cliff, Psychological Bulletin 114 (1993) 494.

    Example:
        >>> apart = mi.separating("model.keras", images, labels, "Conv2D_3", 4, 9)  # doctest: +SKIP
        >>> apart.maps[:5], apart.effect[:5]  # doctest: +SKIP
    """
    work = PatternWork(
        model_or_path,
        images,
        labels,
        layer,
        first,
        second,
        maps,
        samples,
        seed,
        at,
        classes,
        progress,
    )
    members = work.found.members
    test = ShuffleTest(members, shuffles, seed, two_sided=True)
    parts: list[tuple[np.ndarray, ...]] = []
    for values in work.blocks():
        effects: list[np.ndarray] = []
        test.add(_ranked(values, members, effects))
        means = values.mean(axis=2, dtype=np.float64, keepdims=True)
        parts.append(
            (
                np.concatenate(effects, axis=1),
                cliffs_delta(centred_ranks(means), members)[:, 0],
                values[members].mean(axis=0, dtype=np.float64),
                values[~members].mean(axis=0, dtype=np.float64),
            )
        )
    deltas, mean_effect, one, other = (np.concatenate(part) for part in zip(*parts, strict=True))
    best = np.abs(deltas).argmax(axis=1)
    effect = work.known(np.take_along_axis(deltas, best[:, None], axis=1)[:, 0])
    order = np.lexsort((work.maps, -np.nan_to_num(np.abs(effect), nan=-1.0)))
    p_value = work.known(test.map_p_values())
    return Separation(
        layer=work.info.name,
        index=work.info.index,
        at=at,
        first=work.found.first,
        second=str(work.found.second),
        maps=work.maps[order],
        effect=effect[order],
        p_value=p_value[order],
        p_adjusted=adjusted(p_value)[order],
        nodes=np.stack(np.unravel_index(best[order], work.size), axis=1),
        mean_effect=work.known(mean_effect)[order],
        node_effect=work.placed(deltas)[order],
        node_p_value=work.placed(test.node_p_values())[order],
        first_mean=work.placed(one)[order],
        second_mean=work.placed(other)[order],
        images=(int(members.sum()), int((~members).sum())),
        shuffles=shuffles,
        cases=work.cases(order),
        notices=work.notices,
    )


def _ranked(
    values: np.ndarray, members: np.ndarray, effects: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Centred ranks of some nodes at a time; their effects are added to `effects`."""
    for part in node_parts(values):
        ranks = centred_ranks(part)
        effects.append(cliffs_delta(ranks, members))
        yield ranks


def _check_share(name: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits or isinstance(value, bool):
        raise SettingsError(expected(name, f"a share, {wanted}", value))
