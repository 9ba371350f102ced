"""Selective and polysemantic maps: the kinds of images that excite a map.

The images that excite a map most are points in a space of features, those of a judge or of the
network's own penultimate layer. Two numbers say how they lie there:

- their *variety*, the spread as a part of that of all images: 1 for random images. A map is
  *selective* if it is half at the most, and less than that of as many random images;
- their *separation*, the share of the spread that 2 to 8 clusters explain, less the share that
  they explain in images of one kind: as many images of the same variety, drawn about one image with
  a probability that falls with the distance. A map is *polysemantic* if that is 0.2 or more, and
  more than by chance.

Images come in kinds themselves, so that those of any broad map form clusters; therefore the null
is made of the same images. The test is of the most distinct number of clusters, by the logarithm of
the spread within them (as in the gap statistic), in standard deviations of that of the null,
against the same of the null's sets of all maps, each among the others.

References:
    R. Tibshirani, G. Walther, T. Hastie: Estimating the number of clusters in a data set via the
    gap statistic. JRSS B 63 (2001) 411. D. Arthur, S. Vassilvitskii: k-means++. SODA 2007.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.core.checks import check_whole
from oip.core.errors import DataError
from oip.core.layer_formats import ALPHA, ClustersFile, MapClusters
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
_NUMBERS = (
    *("explained", "expected", "p_value", "p_adjusted", "silhouette"),
    *("variety", "variety_p", "variety_p_adjusted"),
)
"""The fields that are NaN where too few images excite a unit."""
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
_RANDOM_SETS = 999
"""Of images, whose variety is measured."""
_CENTERS = 400
"""Images about which others are drawn, at the most."""
_WIDTHS = 24
"""Of the kernel with which they are drawn, for each center."""
_TRIES, _CANDIDATES, _ROUNDS = 2, 5, 20
"""Of k-means: runs, points of which one becomes the next center, and steps."""


@dataclass(frozen=True, eq=False)
class ImageClusters(LayerResult):
    """The number of clusters of different images that excite each map of a layer."""

    judge: str
    """Whose features: the name of a judge, or `the network itself`."""
    judge_layer: str
    """The layer whose features; empty for the penultimate ones."""
    clusters: np.ndarray
    """(m,) int: 1 where they are no more distinct than in images of one kind (p above 0.05); 0
    where fewer than 16 images excite the map."""
    explained: np.ndarray
    """(m,): share of the images' spread that the clusters explain."""
    expected: np.ndarray
    """(m,): the same of images of one kind of the same variety, mean."""
    p_value: np.ndarray
    """(m,): probability of clusters as distinct in images of one kind."""
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
    samples: int
    """Images that they are taken from."""
    split: str = ""
    notices: tuple[str, ...] = ()

    @property
    def separation(self) -> np.ndarray:
        """(m,): share of the spread that the clusters explain, above that in images of one kind."""
        return self.explained - self.expected

    @property
    def selective(self) -> np.ndarray:
        """(m,) bool: variety of a half at the most, less than random images have."""
        return np.array([row.selective for row in self._file_rows], bool)

    @property
    def polysemantic(self) -> np.ndarray:
        """(m,) bool: separation of 0.2 or more, which images of one kind do not have."""
        return np.array([row.polysemantic for row in self._file_rows], bool)

    @cached_property
    def _file_rows(self) -> list[MapClusters]:
        return [
            MapClusters(
                map=int(self.maps[row]),
                clusters=int(self.clusters[row]),
                explained=finite_or_none(self.explained[row]),
                expected=finite_or_none(self.expected[row]),
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
        ]

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
            maps=self._file_rows,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `clusters.json` holds them."""
        return {"schema": ClustersFile.SCHEMA, **self.to_file().public_dict()}

    def to_pandas(self) -> DataFrame:
        """Return a row for each map, the most clusters first."""
        import pandas

        names = ("clusters", "separation", "p_value", "p_adjusted")
        names += ("variety", "variety_p", "variety_p_adjusted", "silhouette", "images")
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
        headings |= {"separation": "separation", "p_adjusted": "p (adjusted)"}
        headings |= {"variety": "variety of images"}
        headings |= {"variety_p_adjusted": "p that random (adjusted)", "images": "images"}
        texts = [f"features of {self.judge}", *self.notices]
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
        references: sets of images of one kind, for each map; 19 at least.
        seed: of these sets and of k-means.
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
    unit_clusters = clusters_of_units(
        responses,
        values,
        info.can_be_inactive,
        references=references,
        seed=seed,
        progress=progress,
        label=info.name,
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
    explained: np.ndarray
    expected: np.ndarray
    p_value: np.ndarray
    p_adjusted: np.ndarray
    silhouette: np.ndarray
    sizes: np.ndarray
    examples: np.ndarray
    images: np.ndarray
    variety: np.ndarray
    variety_p: np.ndarray
    variety_p_adjusted: np.ndarray

    def add_clusters(
        self, unit: int, labels: np.ndarray, images: np.ndarray, points: np.ndarray
    ) -> None:
        """Fill in the clusters of a unit, the largest first, each with its most central images.

        Args:
            labels: (n,) the cluster of each of the unit's images.
            images: (n,) their indices.
            points: (n, d) their features.
        """
        self.clusters[unit] = labels.max() + 1
        self.silhouette[unit] = _silhouette(points, labels)
        for row, cluster in enumerate(np.argsort(-np.bincount(labels), kind="stable")):
            members = np.flatnonzero(labels == cluster)
            distance = ((points[members] - points[members].mean(axis=0)) ** 2).sum(axis=1)
            central_members = members[np.argsort(distance, kind="stable")[:EXAMPLES]]
            self.sizes[unit, row] = len(members)
            self.examples[unit, row, : len(central_members)] = images[central_members]


def clusters_of_units(
    responses: np.ndarray,
    features: np.ndarray,
    can_be_inactive: bool = True,
    *,
    references: int = 99,
    seed: int = 0,
    progress: Progress = silent,
    label: str = "units",
) -> UnitClusters:
    """Count the clusters of the images that excite some units most.

    Args:
        responses: (n, m) of the units to images.
        features: (n, d) of the images.
        can_be_inactive: images count only with a response above zero.
        references, seed: as for `image_clusters`.
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
    references, top = check_whole("references", references, 19), min(TOP, count // 10)
    label = f"{label}: clusters of images"
    result = UnitClusters(
        clusters=np.zeros(units, int),
        sizes=np.zeros((units, _MOST), int),
        examples=np.full((units, _MOST, EXAMPLES), -1),
        images=np.zeros(units, int),
        **{name: np.full(units, np.nan) for name in _NUMBERS},
    )
    best_images: dict[int, np.ndarray] = {}
    partitions: dict[int, _Partition] = {}
    varieties: dict[int, np.ndarray] = {}  # of random sets, by the number of their images
    kinds: dict[int, _ImagesOfOneKind] = {}
    for unit in range(units):
        values = responses[:, unit]
        best = np.argsort(-values, kind="stable")[:top]
        best = best[values[best] > 0] if can_be_inactive else best
        size = len(best) if np.isfinite(values).all() else 0
        result.images[unit] = size
        if size >= FEWEST_OF_MAP and np.ptp(values):
            if size not in kinds:
                source = generator(seed, "variety", size)
                sets = [source.permutation(count)[:size] for _ in range(_RANDOM_SETS)]
                varieties[size] = np.array([_variety(points, rows) for rows in sets])
                kinds[size] = _ImagesOfOneKind.of(points, size, generator(seed, "one kind", size))
            variety = _variety(points, best)
            source = generator(seed, "clusters", unit)
            sets = np.concatenate([best[None], kinds[size].draw(variety, references, source)])
            best_images[unit], partitions[unit] = best, _partition(points[sets], source)
            smaller_count = np.sum(varieties[size] <= variety + 1e-9)
            result.variety[unit] = variety
            result.variety_p[unit] = (1 + smaller_count) / (1 + _RANDOM_SETS)
        progress(label, unit + 1, units)
    null = np.sort(np.concatenate([np.zeros(0), *(fit.null for fit in partitions.values())]))
    for unit, partition in partitions.items():
        larger_count = len(null) - np.searchsorted(null, partition.distinctness - 1e-9)
        result.p_value[unit] = (1 + larger_count) / (1 + len(null))
        result.explained[unit], result.expected[unit] = partition.explained, partition.expected
        is_single = result.p_value[unit] > ALPHA
        labels = np.zeros(result.images[unit], int) if is_single else partition.labels
        result.add_clusters(unit, labels, best_images[unit], points[best_images[unit]])
    return result._replace(
        p_adjusted=adjusted(result.p_value), variety_p_adjusted=adjusted(result.variety_p)
    )


def _variety(points: np.ndarray, rows: np.ndarray) -> float:
    """Return the spread of some points (n, d), as a part of that of all; 1 if these are equal."""
    variance = points.var(axis=0).sum()
    return float(points[rows].var(axis=0).sum() / variance) if variance > 0 else 1.0


def _components(features: np.ndarray) -> np.ndarray:
    """Return (n, 10) principal components of directions of features (n, d) about their mean."""
    values = feature_directions(features, features.mean(axis=0))
    values -= values.mean(axis=0)
    if values.shape[1] > len(values):  # the same from the smaller of the two matrices
        squares, vectors = np.linalg.eigh(values @ values.T)
        return vectors[:, -_COMPONENTS:] * np.sqrt(np.maximum(squares[-_COMPONENTS:], 0.0))
    _, vectors = np.linalg.eigh(values.T @ values)
    return values @ vectors[:, -_COMPONENTS:]


class _ImagesOfOneKind(NamedTuple):
    """Sets of as many images as a map's, drawn about single images."""

    sets: np.ndarray
    """(widths, centers, size) int: from images next to the center to nearly random ones."""
    variety: np.ndarray
    """(widths, centers)"""

    @classmethod
    def of(cls, points: np.ndarray, size: int, random: np.random.Generator) -> _ImagesOfOneKind:
        """Draw the sets from points (n, d) with normal kernels of several widths."""
        centers = points[random.permutation(len(points))[:_CENTERS]]
        squares = _squared_distances(centers[None], points[None])[0]
        squares /= np.median(squares) or 1.0
        noise = random.gumbel(size=squares.shape)  # the largest sums: a draw without replacement
        variance = points.var(axis=0).sum() or 1.0
        sets, variety = [], []
        for steepness in np.geomspace(200.0, 0.05, _WIDTHS):
            order = np.argpartition(steepness * squares - noise, size - 1, axis=1)
            sets.append(order[:, :size])
            variety.append(points[sets[-1]].var(axis=1).sum(axis=1) / variance)
        return cls(np.array(sets), np.array(variety))

    def draw(self, variety: float, count: int, random: np.random.Generator) -> np.ndarray:
        """Return (count, size) sets about different images, each nearest to a variety."""
        total = self.sets.shape[1]
        columns = (
            random.permutation(total) if count <= total else random.integers(total, size=count)
        )
        columns = columns[:count]
        return self.sets[np.abs(self.variety[:, columns] - variety).argmin(axis=0), columns]


class _Partition(NamedTuple):
    """The most distinct clusters of a map's images."""

    labels: np.ndarray
    """(n,) int, of 2 to 8 clusters"""
    distinctness: float
    """By how many standard deviations the logarithm of the spread within them is less than that in
    images of one kind."""
    null: np.ndarray
    """(references,): the same of each set of images of one kind among the references."""
    explained: float
    """Share of the spread that the clusters explain."""
    expected: float
    """Mean of the same of images of one kind."""


def _partition(sets: np.ndarray, random: np.random.Generator) -> _Partition:
    """Return the clusters of the first of some sets of points (b, n, d) beside the other sets."""
    centered = sets - sets.mean(axis=1, keepdims=True)
    total = (centered**2).sum(axis=(1, 2))
    inertia, labels = _k_means(centered, random)
    inertia = np.where(total > 0, inertia / np.where(total > 0, total, 1.0), 1.0)
    logs = np.log(np.maximum(inertia, 1e-9))
    unit_logs, references = logs[:, 0], logs[:, 1:]
    count = references.shape[1]
    mean, variance = references.mean(axis=1), references.var(axis=1)
    # From the mean of the other sets.
    deviations = (references - mean[:, None]) * count / (count - 1)
    spread = (variance[:, None] - deviations**2 * (count - 1) / count**2) * count / (count - 1)
    null = (-deviations / np.sqrt(np.maximum(spread, 1e-18))).max(axis=0)
    gaps = (mean - unit_logs) / np.sqrt(np.maximum(variance, 1e-18))
    best = int(gaps.argmax())
    explained = 1 - inertia[best]
    return _Partition(
        labels[best], float(gaps[best]), null, float(explained[0]), float(explained[1:].mean())
    )


def _k_means(sets: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cluster many sets of points at once, into 2 to 8 clusters each.

    The centers of k clusters and one more, the best of a few drawn as by k-means++, are the first
    ones of k + 1 clusters.

    Args:
        sets: (b, n, d).
        random: of the first centers.

    Returns:
        (7, b) sums of squared distances to the centers, and (7, n) int clusters of the first set.
    """
    batch = len(sets)
    sets = np.concatenate([sets] * _TRIES)
    set_indices, last = np.arange(len(sets)), sets.shape[1] - 1
    centers = sets.mean(axis=1, keepdims=True)
    nearest = ((sets - centers) ** 2).sum(axis=2)
    sums, labels = [], []
    for _ in range(_MOST - 1):
        total = nearest.cumsum(axis=1)
        thresholds = random.random((len(sets), _CANDIDATES)) * total[:, -1:]
        indices = np.minimum((total[:, None] < thresholds[:, :, None]).sum(axis=2), last)
        candidates = sets[set_indices[:, None], indices]
        gain = np.minimum(_squared_distances(candidates, sets), nearest[:, None]).sum(axis=2)
        centers = np.concatenate(
            [centers, candidates[set_indices, gain.argmin(axis=1)][:, None]], axis=1
        )
        spread = np.full(len(sets), np.inf)
        moving = set_indices
        for _ in range(_ROUNDS):
            moving_sets, moving_centers = sets[moving], centers[moving]
            distances = _squared_distances(moving_centers, moving_sets)
            least_distances = distances.min(axis=1)
            total = least_distances.sum(axis=1)
            better = total < spread[moving] * (1 - 1e-12)
            spread[moving], nearest[moving] = total, least_distances
            moving = moving[better]
            if not moving.size:
                break
            members = (distances <= least_distances[:, None])[better].astype(float)  # (b, k, n)
            sizes = members.sum(axis=2, keepdims=True)
            means = members @ moving_sets[better] / np.maximum(sizes, 1)
            centers[moving] = np.where(sizes > 0, means, moving_centers[better])
        tries = spread.reshape(_TRIES, batch)
        sums.append(tries.min(axis=0))
        best = batch * int(tries[:, 0].argmin())
        labels.append(_squared_distances(centers[best : best + 1], sets[:1])[0].argmin(axis=0))
    return np.array(sums), np.array(labels)


def _squared_distances(centers: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Return squared distances (b, k, n) of centers (b, k, d) from points (b, n, d)."""
    squares = (centers**2).sum(axis=2)[:, :, None] + (sets**2).sum(axis=2)[:, None]
    return np.maximum(squares - 2 * centers @ sets.swapaxes(1, 2), 0.0)


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    if len(np.unique(labels)) < 2:
        return np.nan
    return float(silhouette_score(points, labels))
