"""Directions in a layer's space of maps, found from its responses.

A feature need not be a map: it may be a mixture of several. Each node of each image gives one
sample, its responses in all maps; a method finds directions of which these samples are made. A
direction is a unit: its response is the layer's response along it, node by node, and it can be
grown, ranked and shown as maps are.

`pca`, `ica`, `nmf` and `kmeans` are scikit-learn's; `sae` is a sparse autoencoder [1]. How well
directions describe the layer is measured on images that did not find them, beside the best that as
many directions can do in a least-squares sense (PCA) and what random directions do.

References:
    [1] See `oip.mi.sparse_autoencoder`. C. Olah et al.: The building blocks of interpretability.
    Distill 2018 (matrix factorization of responses). H. Cunningham et al.: Sparse autoencoders find
    highly interpretable features in language models. ICLR 2024.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from oip.core import html, seeds
from oip.core.checks import check_choice, check_whole
from oip.core.errors import DataError, SettingsError
from oip.core.progress import Progress, automatic
from oip.core.units import plural, three_best
from oip.mi.layer_sample import LayerSample, NoFiniteResponses, unlabeled_subset
from oip.mi.sparse_autoencoder import Settings as AutoencoderSettings
from oip.mi.sparse_autoencoder import fitted_autoencoder

if TYPE_CHECKING:
    from pandas import DataFrame

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

Method = Literal["nmf", "pca", "ica", "kmeans", "sae"]
METHODS: tuple[Method, ...] = ("nmf", "pca", "ica", "kmeans", "sae")
_HELD_OUT = 0.25
"""Share of the images that measure."""
_BYTE_BUDGET = 256 << 20
"""Of the samples."""
_MOST_SAMPLES = 50_000
_DRAWS = 200
"""Resampled sets of held-out images for intervals."""
_RANDOM = 5
"""Sets of random directions for the null."""
_STEPS = 400
"""Of NMF and ICA."""
_FEW_STEPS = 200
"""Steps below which the training of an autoencoder is not done, whatever it explains."""
_FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions over the m maps of a layer, those that hold most of the variance first."""

    layer: str
    index: int
    method: str
    weights: np.ndarray
    """(k, m), rows of length 1: the response of a direction is its inner product with the maps."""
    parts: np.ndarray
    """(k, m), rows of length 1: what a direction adds to the responses. Those of `weights`, but for
    `sae`, which reads along one direction and writes along another."""
    variance: np.ndarray
    """(k,): the variance along each direction as a share of that of all maps, held-out images."""
    used: np.ndarray
    """(k,): share of the held-out samples that a direction is part of; of dead ones 0."""
    explained: float
    """Share of the variance of held-out samples that the directions put together; 1 at most."""
    low: float
    """Lower end of its 95 % interval over images."""
    high: float
    """Upper end of its 95 % interval over images."""
    ceiling: float
    """The same of as many principal components: no linear directions do better by least squares."""
    chance: float
    """The same of as many random directions as a sample may use: by `kmeans` one, by `sae` the
    active ones, else all."""
    active: float
    """Directions that an average sample is made of."""
    samples: int
    """Nodes of images that found the directions."""
    images: int
    """Images that found them; a quarter more measured."""
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def name(self) -> str:
        """`LAYER+METHOD`: directions are its maps."""
        return f"{self.layer}+{self.method}"

    @property
    def dead(self) -> np.ndarray:
        """(k,) bool: directions that no held-out sample has a part in."""
        return self.used == 0

    def of_map(self, number: int, most: int = 5) -> list[tuple[int, float]]:
        """Return the directions that a map takes part in most, with its weights.

        Args:
            number: of the map.
            most: directions, at the most.

        Raises:
            SettingsError: no such map.
        """
        maps = self.weights.shape[1]
        if not 0 <= number < maps:
            raise SettingsError("map", f"0 to {maps - 1}", number)
        column = self.parts[:, number]
        order = np.argsort(-np.abs(column), kind="stable")[:most]
        return [(int(row), float(column[row])) for row in order]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the directions themselves."""
        return {
            "layer": self.layer,
            "index": self.index,
            "method": self.method,
            "count": len(self),
            "explained": self.explained,
            "low": self.low,
            "high": self.high,
            "ceiling": self.ceiling,
            "chance": self.chance,
            "active": self.active,
            "dead": int(self.dead.sum()),
            "samples": self.samples,
            "images": self.images,
            "directions": [
                {
                    "direction": row,
                    "variance": float(self.variance[row]),
                    "used": float(self.used[row]),
                    "maps": [[map_index, weight] for map_index, weight in self.maps_of(row)],
                }
                for row in range(len(self))
            ],
            "notices": list(self.notices),
        }

    def maps_of(self, direction: int, most: int = 5) -> list[tuple[int, float]]:
        """Return the maps that a direction is made of most, with their weights.

        Raises:
            SettingsError: no such direction.
        """
        if not 0 <= direction < len(self):
            raise SettingsError("direction", f"0 to {len(self) - 1}", direction)
        row = self.parts[direction]
        order = np.argsort(-np.abs(row), kind="stable")[:most]
        return [(int(map_index), float(row[map_index])) for map_index in order]

    def to_pandas(self) -> DataFrame:
        """Return a row for each direction, with the maps that it is made of."""
        import pandas

        maps = [
            ", ".join(f"{map_index} ({weight:z.2f})" for map_index, weight in self.maps_of(row, 3))
            for row in range(len(self))
        ]
        columns = {"direction": np.arange(len(self)), "variance": self.variance, "used": self.used}
        return pandas.DataFrame({"layer": self.layer, **columns, "maps": maps})

    def __repr__(self) -> str:
        best = three_best(range(len(self)), self.variance)
        return (
            f"Directions({self.name}: {len(self)}, {self.explained:.0%} of the variance "
            f"explained; best: {best})"
        )

    def _repr_html_(self) -> str:
        text = (
            f"{self.explained:.0%} of the variance explained (95 %: {self.low:.0%} to "
            f"{self.high:.0%}); as many principal components {self.ceiling:.0%}, random directions "
            f"{self.chance:.0%}; {self.active:.1f} directions in an average sample"
        )
        headings = {"direction": "direction", "variance": "share of the variance"}
        headings |= {"used": "used in", "maps": "maps"}
        paragraphs = (html.paragraph(line) for line in (text, *self.notices))
        return html.block(self.name, *paragraphs, html.frame(self.to_pandas(), headings, 20))


def directions(
    model_or_path: ModelLike,
    images: np.ndarray,
    layer: str | LayerInfo,
    *,
    method: Method = "nmf",
    count: int = 16,
    samples: int = 1000,
    active: int | None = None,
    steps: int = 2000,
    seed: int = 0,
    progress: Progress = automatic,
) -> Directions:
    """Find directions in the space of a layer's maps.

    Args:
        model_or_path: a Keras model, its path, or an `oip.Network`.
        images: (n, h, w, bands), as the model takes them; labels are not needed.
        layer: name of the layer.
        method: `nmf`: parts that only add up, of responses of 0 or more; `pca`: uncorrelated, by
            variance; `ica`: as independent as can be; `kmeans`: centers of clusters; `sae`: many
            directions of which a sample needs few.
        count: of the directions; more than maps by `sae` and `kmeans` only.
        samples: images; three quarters find the directions, a quarter measures them.
        active: by `sae`, the directions that a sample is put together from; an eighth if None.
        steps: by `sae`, of its training.
        seed: of the images drawn and of the method.
        progress: called with the progress of each step.

    Returns:
        The directions with their shares of the variance, and how well they describe the layer.

    Raises:
        ModelError, SettingsError: an unknown layer or method; more directions than there can be.
        DataError: too few images, or fewer samples than directions; responses below 0 for `nmf`;
            a layer that is constant on these images.

    References:
        See the module.

    >>> found = mi.directions("model.keras", images, "Conv2D_3", count=8)  # doctest: +SKIP
    >>> found.maps_of(0)  # doctest: +SKIP
    [(17, 0.81), (3, 0.55), ...]
    """
    check_choice("method", method, METHODS)
    count = check_whole("count", count)
    sample = LayerSample.of(model_or_path, images, layer, seed=seed)
    sample = sample.take(unlabeled_subset(len(sample), check_whole("samples", samples, 8), seed))
    if len(sample) < 8:
        raise DataError("images", "8 or more", len(sample))
    maps = sample.layer.maps
    if count > maps and method not in ("sae", "kmeans"):
        units = plural(maps, sample.layer.noun)
        hint = "Use kmeans or sae for more."
        raise SettingsError("count", f"at most {maps} by {method}, for {units}", count, hint)
    finding = round((1 - _HELD_OUT) * len(sample))
    order = seeds.generator(seed, "images of directions").permutation(len(sample))
    groups = np.sort(order[:finding]), np.sort(order[finding:])
    training, held_out = (_samples(sample, rows, seed, progress) for rows in groups)
    if len(training.values) < max(2, count):
        received = f"{len(training.values)} nodes of {finding} images"
        raise DataError("samples", f"{max(2, count)} or more, one per direction", received)
    total = training.values - training.values.mean(axis=0)
    if not np.square(total, dtype=np.float64).sum() > _FLAT:
        raise DataError(
            f"responses of layer '{sample.layer.name}'", "some that differ", "one value"
        )
    if method == "nmf" and training.values.min() < 0:
        lowest = f"{training.values.min():z.3g}"
        hint = "Use pca, ica, kmeans or sae."
        raise DataError("nmf: responses", "0 or more, as after a ReLU", lowest, hint)
    settings = AutoencoderSettings(
        active=max(1, count // 8) if active is None else check_whole("active", active),
        steps=check_whole("steps", steps),
    )
    model = _fit(method, training.values, count, settings, seed, progress)
    usable = {"kmeans": 1, "sae": settings.active}.get(method, count)
    return _result(sample, method, model, training, held_out, min(usable, count, maps), seed)


class _NodeSamples(NamedTuple):
    """Nodes of some images."""

    values: np.ndarray
    """(s, m) float32: the responses in all maps."""
    image: np.ndarray
    """(s,) int: the image of each."""


def _samples(sample: LayerSample, rows: np.ndarray, seed: int, progress: Progress) -> _NodeSamples:
    """Draw nodes of some images of a sample, as many as the budget allows."""
    from oip.network.forward import layer_graph, run_in_batches

    layer = sample.layer
    nodes = int(np.prod(layer.size))
    limit = min(_MOST_SAMPLES, _BYTE_BUDGET // (8 * layer.maps))
    per_image = int(np.clip(limit // len(rows), 1, nodes))
    random = seeds.generator(seed, "nodes of directions")
    graph = layer_graph(sample.network, layer.response)
    blocks = []
    label = f"responses of {layer.name}"
    progress(label, 0, len(rows))

    def responses(images: Any) -> Any:
        return graph(images)[0].response

    size = sample.network.activation_bytes(layer)
    for batch, values in run_in_batches(responses, sample.images[rows], size):
        flat = values.reshape(len(values), nodes, layer.maps)
        node_indices = np.argsort(random.random((len(values), nodes)), axis=1)[:, :per_image]
        blocks.append(
            np.take_along_axis(flat, node_indices[:, :, None], axis=1).reshape(-1, layer.maps)
        )
        progress(label, batch.stop, len(rows))
    values = np.concatenate(blocks)
    image = np.repeat(np.arange(len(rows)), per_image)
    finite = np.isfinite(values).all(axis=1)
    if not finite.any():
        raise NoFiniteResponses.of(layer.name)
    return _NodeSamples(values[finite], image[finite])


# Methods.


class _FittedDirections(NamedTuple):
    """The directions of a method."""

    weights: np.ndarray
    parts: np.ndarray
    rebuilt: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Of samples (s, m): what the directions put together (s, m), and their codes (s, k)."""
    steps: int | None = None
    """Of an autoencoder's training; None for other methods."""


def _fit(
    method: Method,
    values: np.ndarray,
    count: int,
    settings: AutoencoderSettings,
    seed: int,
    progress: Progress,
) -> _FittedDirections:
    if method == "sae":
        return _autoencoder(values, count, settings, seed, progress)
    progress(f"{method}: fit", 0, 1)
    fit = {"nmf": _nmf, "kmeans": _kmeans, "pca": _pca, "ica": _ica}[method]
    with _no_convergence_warnings():
        result = fit(values, count, seeds.derived_seed(seed, "directions"))
    progress(f"{method}: fit", 1, 1)
    return result


def _autoencoder(
    values: np.ndarray, count: int, settings: AutoencoderSettings, seed: int, progress: Progress
) -> _FittedDirections:
    autoencoder = fitted_autoencoder(values, count, settings, seed, progress)

    def decoded(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = autoencoder.codes(samples)
        return autoencoder.rebuilt(codes), codes

    weights = _unit(autoencoder.encoder)
    return _FittedDirections(weights, autoencoder.decoder, decoded, settings.steps)


def _nmf(values: np.ndarray, count: int, state: int) -> _FittedDirections:
    from sklearn.decomposition import NMF

    # Equal scales: the tolerance of its steps is absolute.
    scale = float(values.mean()) or 1.0
    settings: dict[str, Any] = {"init": "nndsvda", "max_iter": _STEPS, "tol": 1e-3}
    settings |= {"n_components": count, "random_state": state}
    model = NMF(**settings).fit(values / scale)
    rows = model.components_

    def added(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = model.transform(np.maximum(0.0, samples) / scale)
        return scale * (codes @ rows), codes * np.linalg.norm(rows, axis=1)

    return _FittedDirections(_unit(rows), _unit(rows), added)


def _kmeans(values: np.ndarray, count: int, state: int) -> _FittedDirections:
    from sklearn.cluster import MiniBatchKMeans

    settings: dict[str, Any] = {"random_state": state, "n_init": 3, "batch_size": 4096}
    model: Any = MiniBatchKMeans(count, **settings)
    centers = model.fit(values).cluster_centers_

    def nearest(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = model.predict(samples)
        return centers[numbers], np.eye(count)[numbers]

    rows = _unit(centers - values.mean(axis=0))
    return _FittedDirections(rows, rows, nearest)


def _pca(values: np.ndarray, count: int, state: int) -> _FittedDirections:
    from sklearn.decomposition import PCA

    model: Any = PCA(count, random_state=state).fit(values)
    return _linear(model, model.components_, values)


def _ica(values: np.ndarray, count: int, state: int) -> _FittedDirections:
    from sklearn.decomposition import FastICA

    model: Any = FastICA(
        count, whiten="unit-variance", max_iter=_STEPS, random_state=state, tol=1e-3
    )
    model.fit(values)
    return _linear(model, model.mixing_.T, values)


def _linear(model: Any, rows: np.ndarray, values: np.ndarray) -> _FittedDirections:
    """Return the directions of a linear model, whose codes put `rows` (k, m) together."""
    reading = model.components_
    signs = _signs((values - values.mean(axis=0)) @ reading.T)[:, None]

    def inverted(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = model.transform(samples)
        return model.inverse_transform(codes), codes

    return _FittedDirections(_unit(reading * signs), _unit(rows * signs), inverted)


@contextmanager
def _no_convergence_warnings() -> Iterator[None]:
    """Leave out scikit-learn's warnings: how well directions describe the layer is measured."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows (k, m) float32 at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > _FLAT, lengths, 1.0)).astype(np.float32)


def _signs(codes: np.ndarray) -> np.ndarray:
    """Return 1 or -1 for each column, so that its rare large values are positive."""
    centered = codes - codes.mean(axis=0)
    return np.where((centered**3).mean(axis=0) < 0, -1.0, 1.0)


# Measurement.


def _result(
    sample: LayerSample,
    method: Method,
    model: _FittedDirections,
    training: _NodeSamples,
    held_out: _NodeSamples,
    usable: int,
    seed: int,
) -> Directions:
    """Measure directions on held-out images, and order them by variance."""
    mean = training.values.mean(axis=0, dtype=np.float64)
    centered = held_out.values - mean
    total = _image_sums(np.square(centered).sum(axis=1), held_out.image)
    rebuilt, codes = model.rebuilt(held_out.values)
    residual = _image_sums(np.square(held_out.values - rebuilt).sum(axis=1), held_out.image)
    explained = _share(total.sum(), residual.sum())
    draws = seeds.generator(seed, "held-out images").multinomial(
        len(total), np.full(len(total), 1 / len(total)), _DRAWS
    )
    shares = [_share(weights @ total, weights @ residual) for weights in draws]
    low, high = np.percentile(shares, (2.5, 97.5))
    along = centered @ model.weights.T
    spread = np.square(centered).mean(axis=0).sum()
    variance = np.square(along).mean(axis=0) / max(spread, _FLAT)
    frequency = np.mean(np.abs(codes) > _FLAT, axis=0)
    order = np.argsort(-variance, kind="stable")
    notices = []
    dead = int((frequency == 0).sum())
    if dead:
        notices.append(f"{dead} of {len(order)} directions are not active in any held-out sample.")
    chance = _random_share(centered, usable, seed)
    if low <= chance:
        remedy = "more images or steps" if method == "sae" else "more images"
        notices.append(f"Random directions explain as much of held-out images: use {remedy}.")
    axes = _principal_axes(training.values - mean)
    count = min(len(order), sample.layer.maps)
    if model.steps is not None:
        fixed = _explained_share(axes[:, :usable], centered)
        notices += _training_notices(explained, model.steps, usable, fixed)
    return Directions(
        layer=sample.layer.name,
        index=sample.layer.index,
        method=method,
        weights=model.weights[order],
        parts=model.parts[order],
        variance=variance[order],
        used=frequency[order],
        explained=explained,
        low=float(low),
        high=float(high),
        ceiling=_explained_share(axes[:, :count], centered),
        chance=chance,
        active=_active(codes),
        samples=len(training.values),
        images=len(np.unique(training.image)),
        notices=tuple(notices),
    )


def _training_notices(explained: float, steps: int, usable: int, fixed: float) -> list[str]:
    """Return remarks on few steps, and on what `usable` principal components explain (`fixed`)."""
    text = f"The autoencoder explains {explained:.0%} of the variance of held-out images"
    notices = []
    if steps < _FEW_STEPS:
        usual = f"{AutoencoderSettings.steps:,} are usual."
        notices.append(f"{text} after {plural(steps, 'step')} of training; {usual}")
    if explained < fixed:
        notices.append(
            f"{text}, as many principal components as it may use for a sample ({usable}) explain "
            f"{fixed:.0%}: use more steps or images."
        )
    return notices


def _active(codes: np.ndarray) -> float:
    """Return how many directions make up a sample: the mean participation ratio of its codes."""
    squares = np.square(codes, dtype=np.float64)  # (s, k)
    peak = np.square(squares).sum(axis=1)
    has_code = peak > 0
    ratios = squares.sum(axis=1)[has_code] ** 2 / peak[has_code]
    return float(ratios.mean()) if ratios.size else 0.0


def _image_sums(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the sums (n,) of values (s,) over the samples of each image."""
    return np.bincount(image, values)


def _share(total: float, residual: float) -> float:
    """Return the share of the variance that is explained; 0 where there is none."""
    return float(1.0 - residual / total) if total > _FLAT else 0.0


def _principal_axes(centered: np.ndarray) -> np.ndarray:
    """Return the principal components (m, m) of centered samples (s, m), as columns."""
    return np.linalg.eigh(centered.T.astype(np.float64) @ centered)[1][:, ::-1]


def _random_share(held_out: np.ndarray, count: int, seed: int) -> float:
    """Return the mean share that as many random directions explain."""
    random = seeds.generator(seed, "random directions")
    width = held_out.shape[1]
    draws = (np.linalg.qr(random.normal(size=(width, count)))[0] for _ in range(_RANDOM))
    return float(np.mean([_explained_share(axes, held_out) for axes in draws]))


def _explained_share(axes: np.ndarray, samples: np.ndarray) -> float:
    """Return the share of the variance of samples (s, m) within orthonormal axes (m, k)."""
    total = np.square(samples, dtype=np.float64).sum()
    return _share(float(total), float(total - np.square(samples @ axes).sum()))
