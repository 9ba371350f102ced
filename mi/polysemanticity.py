"""Polysemantic maps: how many clusters of different images excite a map.

The images that excite a map most are points in a space of features, those of a judge or of the
network's own penultimate layer. If k clusters explain more of their spread than they do for as many
points of one normal distribution of the same covariance, the map is excited by images of different
kinds; the gap statistic counts the kinds. The test is of the largest gap of 2 to 8 clusters, in
standard deviations, against the same of the normal points of all maps. A set of one kind that is
not normal, such as a flat one of few dimensions, can be taken for several.

Random images of the data come from several kinds, too. So the variety of the images, the spread of
their features as a part of that of all images, is compared with that of as many random images: a
map is *selective* if there is less, so that its images come from fewer kinds than there are. It is
*polysemantic* if it is selective and its images still form several clusters.

References:
    R. Tibshirani, G. Walther, T. Hastie: Estimating the number of clusters in a data set via the
    gap statistic. JRSS B 63 (2001) 411. Y. Liu, D. N. Hayes, A. Nobel, J. S. Marron: Statistical
    significance of clustering for high-dimension, low-sample size data. JASA 103 (2008) 1281
    (the normal distribution as the null).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.core.checks import check_whole
from oip.core.errors import DataError
from oip.core.layer_formats import ClustersFile, MapClusters
from oip.core.progress import Progress, automatic, silent
from oip.core.seeds import generator
from oip.core.units import finite_or_none, three_best
from oip.mi.judges import Judge, PictureScale, feature_directions, judge_of, own_features
from oip.mi.layer_sample import BYTE_BUDGET, LayerResult, LayerSample
from oip.mi.permutation_test import adjusted

if TYPE_CHECKING:
    from pandas import DataFrame

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

OWN = "the network itself"
"""Instead of a judge's name: the features are those of the network's penultimate layer."""
TOP = 64
"""Images of a map, at the most, and a tenth of all at the most."""
FEWEST_OF_MAP = 16
FEWEST_IMAGES = 10 * FEWEST_OF_MAP
EXAMPLES = 4
"""Images that stand for a cluster."""
_MOST = 8
"""Clusters."""
_COMPONENTS = 10
"""Principal components of the features."""
_ALPHA = 0.05
_RANDOM_SETS = 999
"""Of images, whose variety is measured."""
_TRIES, _ROUNDS = 3, 20
"""Of k-means."""


@dataclass(frozen=True, eq=False)
class ImageClusters(LayerResult):
    """The number of clusters of different images that excite each map of a layer."""

    judge: str
    """Whose features: the name of a judge, or `the network itself`."""
    judge_layer: str
    """The layer whose features; empty for the penultimate ones."""
    clusters: np.ndarray
    """(m,) int: 1 for images of one kind; 0 where fewer than 16 images excite the map."""
    p_value: np.ndarray
    """(m,): probability of clusters as clear among points of one normal distribution."""
    p_adjusted: np.ndarray
    """(m,): the same for the number of maps (Benjamini and Hochberg)."""
    silhouette: np.ndarray
    """(m,): mean silhouette of the images in their clusters, -1 to 1; NaN for one cluster."""
    sizes: np.ndarray
    """(m, 8) int: images of each cluster, the largest first."""
    examples: np.ndarray
    """(m, 8, 4) int: indices of the images nearest to each cluster's middle; -1 for none."""
    images: np.ndarray
    """(m,) int: images that excite the map most, which are clustered."""
    variety: np.ndarray
    """(m,): spread of their features, as a part of that of all images: 1 for random images."""
    variety_p: np.ndarray
    """(m,): probability of as little variety of as many random images."""
    variety_p_adjusted: np.ndarray
    """(m,): the same for the number of maps (Benjamini and Hochberg)."""
    random: np.ndarray
    """(draws,) int: clusters of as many random images."""
    samples: int
    """Images that they are taken from."""
    split: str = ""
    notices: tuple[str, ...] = ()

    @property
    def selective(self) -> np.ndarray:
        """(m,) bool: less variety than random images, with an adjusted p-value of 0.05 at most."""
        return np.nan_to_num(self.variety_p_adjusted, nan=1.0) <= _ALPHA

    @property
    def polysemantic(self) -> np.ndarray:
        """(m,) bool: selective, and several clusters, with an adjusted p-value of 0.05 at most."""
        several = (self.clusters > 1) & (np.nan_to_num(self.p_adjusted, nan=1.0) <= _ALPHA)
        return several & self.selective

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the most clusters first, by their p-value."""
        return self.maps[self._rows]

    @property
    def _rows(self) -> np.ndarray:
        return np.lexsort((self.maps, np.nan_to_num(self.p_value, nan=2.0), -self.clusters))

    def to_file(self, key: str = "") -> ClustersFile:
        """Return the content of `clusters.json`."""
        return ClustersFile(
            key=key,
            layer=self.layer,
            index=self.index,
            judge=self.judge,
            judge_layer=self.judge_layer,
            samples=self.samples,
            split=self.split,
            random=float(self.random.mean()),
            maps=[
                MapClusters(
                    map=int(self.maps[row]),
                    clusters=int(self.clusters[row]),
                    p_value=finite_or_none(self.p_value[row]),
                    p_adjusted=finite_or_none(self.p_adjusted[row]),
                    variety=finite_or_none(self.variety[row]),
                    variety_p=finite_or_none(self.variety_p[row]),
                    variety_p_adjusted=finite_or_none(self.variety_p_adjusted[row]),
                    silhouette=finite_or_none(self.silhouette[row]),
                    images=int(self.images[row]),
                    sizes=[int(size) for size in self.sizes[row] if size],
                    examples=[
                        [int(image) for image in images if image >= 0]
                        for images in self.examples[row]
                        if images[0] >= 0
                    ],
                )
                for row in range(len(self))
            ],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `clusters.json` holds them."""
        return {"schema": ClustersFile.SCHEMA, **self.to_file().public_dict()}

    def to_pandas(self) -> DataFrame:
        """Return a row for each map, the most clusters first."""
        import pandas

        names = ("clusters", "p_value", "p_adjusted", "variety", "variety_p", "variety_p_adjusted")
        names += ("silhouette", "images")
        columns = {name: getattr(self, name)[self._rows] for name in names}
        return pandas.DataFrame({"layer": self.layer, "map": self.order, **columns})

    def __repr__(self) -> str:
        best = three_best(self.order, self.clusters[self._rows], "clusters")
        return f"ImageClusters({self._verdict}, to {self.judge}; most: {self.noun} {best})"

    @property
    def _verdict(self) -> str:
        selective, polysemantic = int(self.selective.sum()), int(self.polysemantic.sum())
        selected = f"{selective} of {self._counted} are selective"
        return f"{self.layer}: {selected}, {polysemantic} polysemantic"

    def _repr_html_(self) -> str:
        headings = {"map": self.noun, "clusters": "clusters of images", "p_value": "p"}
        headings |= {"p_adjusted": "p (adjusted)", "variety": "variety of images"}
        headings |= {"variety_p_adjusted": "p that random (adjusted)", "images": "images"}
        texts = [
            f"features of {self.judge}; of as many random images {self.random.mean():.1f} clusters",
            *self.notices,
        ]
        return self._block(self._verdict, texts, headings)


def image_clusters(
    model_or_path: ModelLike,
    images: np.ndarray,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    judge: str | ModelLike | Judge | None = None,
    judge_layer: str | None = None,
    references: int = 99,
    draws: int = 20,
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = BYTE_BUDGET,
) -> ImageClusters:
    """Count the clusters of different images that excite each map of a layer.

    The 64 images (of fewer than 640, a tenth) with the largest mean response are taken, those
    without a response left out. Their features, about the mean over all images and at length one,
    are reduced to 10 principal components and clustered by k-means.

    Args:
        model_or_path: a Keras model, its path, or an `oip.Network`.
        images: (n, h, w, bands), as the model takes them; 160 at least. Labels are not needed.
        layer: its name.
        maps: their numbers; all if None.
        judge: another network, its path, or `pixels`, whose features are taken; None for those of
            the network's own penultimate layer, which tells apart its classes and no more.
        judge_layer: of a model as the judge; its penultimate features if None.
        references: sets of points of one normal distribution, for each map.
        draws: of random images.
        seed: of both.
        split: name of the images, for the result.
        progress: called with the progress of each step.
        byte_budget: of responses in memory at a time.

    Raises:
        ModelError: an unknown layer; a judge that cannot be opened, or is the model itself.
        SettingsError: an unknown map.
        DataError: too few images, or images that do not fit.

    References:
        See the module.

    >>> mi.image_clusters("model.keras", images, "Conv2D_3").order[:5]  # doctest: +SKIP
    """
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, seed=seed)
    network, pixels, info = sample.network, sample.images, sample.layer
    if judge is None:
        name, own_layer, values = OWN, "", own_features(network, pixels, progress)
    else:
        scale = PictureScale.of(network.inputs, pixels)
        opened = judge_of(judge, judge_layer, network, pixels, scale)
        name, own_layer = opened.name, opened.layer
        values = opened.features(scale.pictures(pixels), progress, f"images seen by {name}")
    responses = np.empty((len(pixels), len(sample.maps)), np.float32)
    row = 0
    for block in sample.responses(byte_budget, progress, "responses"):
        responses[:, row : row + len(block.maps)] = block.values.mean(axis=2)
        row += len(block.maps)
    more = {"references": references, "draws": draws, "seed": seed, "progress": progress}
    unit_clusters = clusters_of_units(
        responses, values, info.can_be_inactive, label=info.name, **more
    )
    return ImageClusters(
        layer=info.name,
        index=info.index,
        noun=info.noun,
        maps=sample.maps,
        judge=name,
        judge_layer=own_layer,
        samples=len(pixels),
        split=split,
        **unit_clusters._asdict(),
    )


class UnitClusters(NamedTuple):
    """The clusters of m units; see `ImageClusters`."""

    clusters: np.ndarray
    p_value: np.ndarray
    p_adjusted: np.ndarray
    silhouette: np.ndarray
    sizes: np.ndarray
    examples: np.ndarray
    images: np.ndarray
    variety: np.ndarray
    variety_p: np.ndarray
    variety_p_adjusted: np.ndarray
    random: np.ndarray


def clusters_of_units(
    responses: np.ndarray,
    features: np.ndarray,
    can_be_inactive: bool = True,
    *,
    references: int = 99,
    draws: int = 20,
    seed: int = 0,
    progress: Progress = silent,
    label: str = "units",
) -> UnitClusters:
    """Count the clusters of the images that excite some units most.

    Args:
        responses: (n, m) of the units to images.
        features: (n, d) of the images.
        can_be_inactive: images count only with a response above zero.
        references, draws, seed: as for `image_clusters`.
        progress: called with the number of units that are done.
        label: of the progress.

    Raises:
        DataError: fewer than 160 images, or features that are not finite.
    """
    count, units = responses.shape
    if count < FEWEST_IMAGES:
        raise DataError("images", f"{FEWEST_IMAGES} or more", count)
    if not np.isfinite(features).all():
        raise DataError("features of the images", "finite numbers", "others")
    points = _components(np.array(features, np.float64))
    references = check_whole("references", references, 19)
    draws, top = check_whole("draws", draws), min(TOP, count // 10)
    label = f"{label}: clusters of images"
    images = np.zeros(units, int)
    chosen: dict[int, np.ndarray] = {}
    partitions: dict[int, _Partition] = {}
    for unit in range(units):
        values = responses[:, unit]
        best = np.argsort(-values, kind="stable")[:top]
        best = best[values[best] > 0] if can_be_inactive else best
        images[unit] = len(best) if np.isfinite(values).all() else 0
        if images[unit] >= FEWEST_OF_MAP and np.ptp(values):
            chosen[unit] = best
            source = generator(seed, "clusters", unit)
            partitions[unit] = _partition(points[best], references, source)
        progress(label, unit + 1, units)
    at_random = []
    for draw in range(draws):
        source = generator(seed, "random images", draw)
        at_random.append(_partition(points[source.permutation(count)[:top]], references, source))
    null = np.sort(np.concatenate([part.null for part in (*partitions.values(), *at_random)]))

    def tail(partition: _Partition) -> float:
        above = len(null) - np.searchsorted(null, partition.gap - 1e-9)
        return float((1 + above) / (1 + len(null)))

    result = UnitClusters(
        clusters=np.zeros(units, int),
        p_value=np.full(units, np.nan),
        p_adjusted=np.full(units, np.nan),
        silhouette=np.full(units, np.nan),
        sizes=np.zeros((units, _MOST), int),
        examples=np.full((units, _MOST, EXAMPLES), -1),
        images=images,
        variety=np.full(units, np.nan),
        variety_p=np.full(units, np.nan),
        variety_p_adjusted=np.full(units, np.nan),
        random=np.array([part.count if tail(part) <= _ALPHA else 1 for part in at_random]),
    )
    variety_of: dict[int, np.ndarray] = {}  # of random sets, by the number of their images
    for unit, part in partitions.items():
        size = int(images[unit])
        if size not in variety_of:
            source = generator(seed, "variety", size)
            sets = [source.permutation(count)[:size] for _ in range(_RANDOM_SETS)]
            variety_of[size] = np.array([_variety(points, rows) for rows in sets])
        result.variety[unit] = _variety(points, chosen[unit])
        below = np.sum(variety_of[size] <= result.variety[unit] + 1e-9)
        result.variety_p[unit] = (1 + below) / (1 + _RANDOM_SETS)
        result.p_value[unit] = tail(part)
        is_single = result.p_value[unit] > _ALPHA
        labels = np.zeros(images[unit], int) if is_single else part.labels
        result.clusters[unit] = labels.max() + 1
        own = points[chosen[unit]]
        result.silhouette[unit] = _silhouette(own, labels)
        for row, cluster in enumerate(np.argsort(-np.bincount(labels), kind="stable")):
            members = np.flatnonzero(labels == cluster)
            distance = ((own[members] - own[members].mean(axis=0)) ** 2).sum(axis=1)
            near = members[np.argsort(distance, kind="stable")[:EXAMPLES]]
            result.sizes[unit, row] = len(members)
            result.examples[unit, row, : len(near)] = chosen[unit][near]
    return result._replace(
        p_adjusted=adjusted(result.p_value), variety_p_adjusted=adjusted(result.variety_p)
    )


def _variety(points: np.ndarray, rows: np.ndarray) -> float:
    """Return the spread of some points (n, d), as a part of that of all; 1 if these are equal."""
    whole = points.var(axis=0).sum()
    return float(points[rows].var(axis=0).sum() / whole) if whole > 0 else 1.0


def _components(features: np.ndarray) -> np.ndarray:
    """Return (n, 10) principal components of directions of features (n, d) about their mean."""
    values = feature_directions(features, features.mean(axis=0))
    values -= values.mean(axis=0)
    if values.shape[1] > len(values):  # the same from the smaller of the two matrices
        squares, vectors = np.linalg.eigh(values @ values.T)
        return vectors[:, -_COMPONENTS:] * np.sqrt(np.maximum(squares[-_COMPONENTS:], 0.0))
    _, vectors = np.linalg.eigh(values.T @ values)
    return values @ vectors[:, -_COMPONENTS:]


class _Partition(NamedTuple):
    """Clusters of points, if there are any."""

    count: int
    """By the gap statistic, 2 or more."""
    labels: np.ndarray
    """(n,) int"""
    gap: float
    """The largest of 2 to 8 clusters, in standard deviations of that of normal points."""
    null: np.ndarray
    """(references,): the same of each set of normal points."""


def _partition(points: np.ndarray, references: int, random: np.random.Generator) -> _Partition:
    """Return the clusters of points (n, d), against those of one normal distribution."""
    count = len(points)
    centered = points - points.mean(axis=0)
    _, scales, axes = np.linalg.svd(centered, full_matrices=False)
    if not scales.any():  # one point, many times
        return _Partition(2, np.zeros(count, int), -np.inf, np.zeros(0))
    normal = random.normal(size=(references, count, len(scales)))
    normal = normal * (scales / np.sqrt(count)) @ axes
    normal -= normal.mean(axis=1, keepdims=True)
    sets = np.concatenate([centered[None], normal])
    floor = 1e-9 * (centered**2).sum()
    logs, labels = np.empty((_MOST, len(sets))), []
    for row in range(_MOST):  # 2 to 9 clusters
        spread, own = _k_means(sets, row + 2, random)
        logs[row] = np.log(np.maximum(spread, floor) / (sets**2).sum(axis=(1, 2)))
        labels.append(own[0])
    deviation = logs[:, 1:].std(axis=1)
    gaps = logs[:, 1:].mean(axis=1, keepdims=True) - logs
    largest = (gaps[:-1] / deviation[:-1, None]).max(axis=0)
    error = deviation * np.sqrt(1 + 1 / references)
    enough = np.flatnonzero(gaps[:-1, 0] >= gaps[1:, 0] - error[1:])
    best = int(enough[0]) if enough.size else _MOST - 2
    return _Partition(best + 2, labels[best], float(largest[0]), largest[1:])


def _k_means(
    sets: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster many sets of points at once: k-means++, the best of several tries.

    Args:
        sets: (b, n, d).
        count: of clusters.
        random: of the first centers.

    Returns:
        (b,) sums of squared distances to the centers, and (b, n) int clusters.
    """
    batch, size, _ = sets.shape
    best, best_labels = np.full(batch, np.inf), np.zeros((batch, size), int)
    every = np.arange(batch)
    for _ in range(_TRIES):
        centers = sets[every, random.integers(size, size=batch)][:, None]
        for _ in range(count - 1):
            near = _distances(sets, centers).min(axis=2).cumsum(axis=1)
            drawn = (near < random.random((batch, 1)) * near[:, -1:]).sum(axis=1)
            new = sets[every, np.minimum(drawn, size - 1)][:, None]
            centers = np.concatenate([centers, new], axis=1)
        labels = np.full((batch, size), -1)
        for _ in range(_ROUNDS):
            nearest = _distances(sets, centers).argmin(axis=2)
            if (nearest == labels).all():
                break
            labels = nearest
            members = (labels[:, None] == np.arange(count)[:, None]).astype(float)  # (b, k, n)
            number = members.sum(axis=2, keepdims=True)
            centers = np.where(number > 0, members @ sets / np.maximum(number, 1), centers)
        spread = _distances(sets, centers).min(axis=2).sum(axis=1)
        better = spread < best
        best = np.where(better, spread, best)
        best_labels[better] = labels[better]
    return best, best_labels


def _distances(sets: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return squared distances (b, n, k) of points (b, n, d) from centers (b, k, d)."""
    squares = (sets**2).sum(axis=2)[:, :, None] + (centers**2).sum(axis=2)[:, None]
    return np.maximum(squares - 2 * sets @ centers.swapaxes(1, 2), 0.0)


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    if len(np.unique(labels)) < 2:
        return np.nan
    return float(silhouette_score(points, labels))
