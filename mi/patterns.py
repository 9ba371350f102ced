"""Filter correlation patterns (FCPs): what images of a class have in common in a layer's maps, and
what one class has that another has not.

The idea is that of the articles "A simple CNN for the MNIST dataset", V and VI (R. Mönchmeyer): a
network tells classes by points in the maps of its last convolution that respond to all images of a
class, and two similar classes by few of them. Here a point is called common by a share of images,
and every difference is held against shuffled classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mi.common_points import CommonPatterns
from mi.node_numbers import centred_ranks, class_weights, cliffs_delta, quantile
from mi.nulls import adjusted
from mi.pattern_work import At, PatternWork, node_parts
from mi.separation import Separation
from mi.shuffled_classes import ShuffleTest
from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress, automatic

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo


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
