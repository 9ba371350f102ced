"""Density destructors: invertible maps from a distribution to a standard Gaussian one.

A layer maps every coordinate to a Gaussian one, then rotates. The total correlation that it removes
follows from its rotation alone, since marginal maps change none: sum_d H(before the rotation) -
sum_d H(after), within the layer. `Destructor` fits layers that have an inverse; `gaussianized`
takes normal scores of ranks instead, which is fast and makes the entropies before the rotation the
same for all data.

References:
    J. E. Johnson et al.: Information theory in density destructors. ICML workshop on invertible
    neural networks, 2019. D. Inouye, P. Ravikumar: Deep density destructors. ICML 2018.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice, check_whole, described
from oip.core.errors import DataError
from oip.core.frameworks import Tensor, tf
from oip.core.units import nats
from oip.mi.backend import thread_map
from oip.mi.validation import check_numbers

GAUSSIAN_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
"""Of N(0, 1), in nats."""
_LAYERS_A_COLUMN = 15
MOST_FIXED_LAYERS = 150
"""Of a fixed number."""
SAMPLES_A_LAYER = 20
"""Least number of samples for a layer."""
_TAIL = 10
"""Samples in the first and the last piece of a marginal map."""
_CHANCE_RUNS = 6
"""On independent coordinates, whose mean is what layers remove by chance."""
_LEAST_SPACING = 1e-12
"""Of equal values, whose logarithm would be infinite."""
_SEPARATION = 1e-9
"""Least distance of two knots, as a share of the range."""


def sorted_entropies(rows: np.ndarray) -> np.ndarray:
    """Return the differential entropy (d,) of sorted rows (d, n) in nats, -inf of a constant one.

    By a histogram of about sqrt(n) equal bins between the extremes, with the correction of Miller.
    """
    n = rows.shape[1]
    bins = bin_count(n)
    result = np.empty(len(rows))
    for index, row in enumerate(rows):
        width = (row[-1] - row[0]) / bins
        if width <= 0:
            result[index] = -np.inf
            continue
        edges = row[0] + width * np.arange(1, bins)
        counts = np.diff(np.searchsorted(row, edges), prepend=0, append=n)
        result[index] = histogram_entropy(counts, width)
    return result


def histogram_entropy(counts: np.ndarray, width: float) -> float:
    """Return the differential entropy in nats of counts (bins,) in bins of one width above 0."""
    n = counts.sum()
    share = counts[counts > 0] / n
    correction = (len(share) - 1) / (2 * n)
    return float(-(share * np.log(share)).sum() + correction + math.log(width))


def bin_count(n: int) -> int:
    """Return the number of bins of the histogram of n samples."""
    return max(2, round(math.sqrt(n)))


@lru_cache(maxsize=8)
def normal_scores(n: int) -> np.ndarray:
    """Return the normal quantiles (n,) at (i + 1/2) / n, in order; read-only."""
    from scipy.special import ndtri

    scores = ndtri((np.arange(n) + 0.5) / n)
    scores.flags.writeable = False
    return scores


@dataclass(frozen=True, eq=False)
class Marginal:
    """A rising piecewise linear map from a coordinate to a standard Gaussian one, and back.

    About 1.5 n^(1/3) pieces of equal width in the Gaussian coordinate, with at least ten samples in
    the first and the last. Beyond the extremes the line goes on, no steeper than that of a Gaussian
    with the same deviation, so that new samples are mapped and every value has an inverse.

    The pieces fit noise as well. Where they describe a coordinate better than a Gaussian does by
    less than they would by chance (Akaike: pieces / n nats a sample), it is a line. Without that,
    every layer would find structure anew, and call it total correlation.
    """

    knots: np.ndarray
    """(knots,): values of the coordinate, rising."""
    scores: np.ndarray
    """(knots,): the Gaussian values that they are mapped to, rising."""

    @classmethod
    def of(cls, row: np.ndarray) -> Marginal:
        """Return the map of a sorted coordinate (n,) that takes two values or more.

        Equal samples, such as the zeros of a ReLU, share a knot: an atom stays an atom.
        """
        n = len(row)
        normal = normal_scores(n)
        pieces = max(3, round(1.5 * n ** (1 / 3)))
        tail = min(_TAIL, n // 4)
        spaced = np.linspace(normal[tail], normal[n - 1 - tail], pieces - 1)
        inner = np.searchsorted(normal, spaced).clip(1, max(1, n - 2))
        knot_rows = np.unique(np.concatenate([[0], inner, [n - 1]]))
        knots, group = np.unique(row[knot_rows], return_inverse=True)
        scores = np.bincount(group, normal[knot_rows]) / np.bincount(group)
        # Knots closer than rounding would make a slope that cannot be undone.
        is_apart = np.diff(knots, prepend=-np.inf) > _SEPARATION * (knots[-1] - knots[0])
        is_apart[0] = is_apart[-1] = True
        knots, scores = knots[is_apart], scores[is_apart]
        middle, deviation = float(row.mean()), float(row.std())
        piece = _pieces_in_order(row, knots)
        mapped = _piecewise_linear(row, piece, knots, scores)
        log_slopes = np.log(np.diff(scores) / np.diff(knots))[piece]
        gain = log_slopes.mean() - 0.5 * (mapped * mapped).mean()
        if gain + math.log(deviation) + 0.5 < pieces / n:
            limits = np.array([-1.0, 1.0])
            return cls(middle + deviation * limits, limits)
        slopes = np.minimum((np.diff(scores) / np.diff(knots))[[0, -1]], 1 / deviation)
        return cls(
            np.concatenate([[knots[0] - deviation], knots, [knots[-1] + deviation]]),
            np.concatenate(
                [[scores[0] - deviation * slopes[0]], scores, [scores[-1] + deviation * slopes[1]]]
            ),
        )

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values (n,) of the coordinate to those of the Gaussian one."""
        return _interpolated(values, self.knots, self.scores)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Map values (n,) of the Gaussian coordinate back."""
        return _interpolated(values, self.scores, self.knots)

    def log_slope(self, values: np.ndarray) -> np.ndarray:
        """Return the logarithm (n,) of the derivative of `transform`."""
        piece = _pieces(values, self.knots)
        return np.log(np.diff(self.scores) / np.diff(self.knots))[piece]


def _pieces(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)


def _pieces_in_order(row: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Do `_pieces` of a sorted row (n,), of which only the knots' places are looked up."""
    borders = np.concatenate([[0], np.searchsorted(row, knots[1:-1]), [len(row)]])
    return np.repeat(np.arange(len(knots) - 1), np.diff(borders))


def _interpolated(values: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return _piecewise_linear(values, _pieces(values, start), start, end)


def _piecewise_linear(
    values: np.ndarray, piece: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    slope = np.diff(end) / np.diff(start)
    return end[piece] + (values - start[piece]) * slope[piece]


Rotation = Literal["pca", "ica", "random"]
ROTATIONS = ("pca", "ica", "random")
_LEVELS = 65535
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_ROUND = 1e-6
"""Relative difference of two variances that is rounding alone."""


def rotation(kind: Rotation, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an orthogonal matrix (d, d) to be multiplied with Gaussian rows (d, n) from the left.

    `pca`: the principal axes; `ica`: independent components of the whitened rows (FastICA);
    `random`: uniform over all rotations and reflections.
    """
    d, n = rows.shape
    if kind == "random":
        basis, sizes = np.linalg.qr(rng.standard_normal((d, d)))
        return basis * np.sign(np.diagonal(sizes))
    sizes = np.sqrt((rows * rows).mean(axis=1))
    scaled = rows / sizes[:, None]
    squares, axes = np.linalg.eigh(scaled @ scaled.T / n)
    if kind == "pca" or d == 1:
        return axes.T
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    white = (axes / np.sqrt(np.maximum(squares, 1e-12))) @ axes.T @ scaled
    start = np.linalg.qr(rng.standard_normal((d, d)))[0]
    with warnings.catch_warnings():
        # Near the end there is nothing left but noise; any rotation will do then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rule = FastICA(max_iter=50, tol=1e-3, w_init=start)
        components = rule.set_params(whiten=False).fit(white.T).components_
    left, _, right = np.linalg.svd(components)
    return left @ right


def gaussianized(
    x: np.ndarray, layers: int, kind: Rotation, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Return the total correlation in nats that layers remove from x, and the last scores (n, d).

    The sum is too large by about layers x d x a bias of the entropies that depends on n alone:
    `expected_sums` has it for independent coordinates. Equal values of a coordinate are put in a
    random order, so that a constant coordinate is independent of the others.

    The principal axes of two coordinates of one variance are the diagonals, whatever the samples
    are, so that layers would turn them to and fro. Every second layer of `pca` turns two by another
    angle instead.
    """
    n, d = x.shape
    scores = normal_scores(n)
    marginal_entropy = d * _ranked(scores[None])[1]
    rows = np.ascontiguousarray(x.T, np.float64)
    order = _random_ties(rows, rng)
    marginal = np.empty_like(rows)
    removed = 0.0
    for layer in range(layers if d > 1 else 0):
        _put(marginal, order, scores)
        oblique = d == 2 and kind == "pca" and layer % 2 == 1
        turn = _oblique(layer // 2) if oblique else rotation(kind, marginal, rng)
        order, entropy = _ranked(turn @ marginal)
        removed += marginal_entropy - entropy
    _put(marginal, order, scores)
    return removed, marginal.T


def _oblique(count: int) -> np.ndarray:
    """Return a rotation of two coordinates: angles in (0, pi / 2) that fill it evenly."""
    angle = 0.5 * math.pi * ((count + 1) * _GOLDEN % 1.0)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def gaussianizing_layers(n: int, d: int) -> int:
    """Return the layers for n samples: 15 a dimension, at most 150, and one for 20 samples.

    The noise of the sum grows with its terms.
    """
    return max(1, min(_LAYERS_A_COLUMN * d, MOST_FIXED_LAYERS, n // SAMPLES_A_LAYER))


def expected_sums(n: int, d: int, layers: int, kind: Rotation, runs: int, seed: int) -> np.ndarray:
    """Return the sums (runs,) of `gaussianized` for data with permuted columns.

    Ranks of permuted columns are random orders, whatever the data were. So the runs serve all data
    of this shape, and are cached.
    """
    sums = thread_map(lambda run: expected_sum(n, d, layers, kind, run, seed), range(runs))
    return np.array(sums)


@lru_cache(maxsize=4096)
def expected_sum(n: int, d: int, layers: int, kind: Rotation, run: int, seed: int) -> float:
    """Return one of the runs of `expected_sums`."""
    rng = seeds.generator(seed, "rbig null", run)
    return gaussianized(rng.standard_normal((n, d)), layers, kind, rng)[0]


def _random_ties(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the order (d, n) of every row, with equal values in random order."""
    mixed = rng.permuted(np.tile(np.arange(rows.shape[1]), (len(rows), 1)), axis=1)
    order = np.argsort(np.take_along_axis(rows, mixed, axis=1), axis=1, kind="stable")
    return np.take_along_axis(mixed, order, axis=1)


def _ranked(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the order of every row of (d, n), and the sum of their entropies in nats.

    Values are rounded to 1 / 65,535 of the row's range, far under the width of a histogram's bin:
    whole numbers of 16 bits are sorted eight times faster than floats.
    """
    low = rows.min(axis=1, keepdims=True)
    span = rows.max(axis=1, keepdims=True) - low
    keys = ((rows - low) * (_LEVELS / span)).astype(np.uint16)
    bins = bin_count(rows.shape[1])
    cells = (keys.astype(np.int64) * bins) >> 16
    entropy = sum(
        histogram_entropy(np.bincount(row, minlength=bins), float(width[0]) / bins)
        for row, width in zip(cells, span, strict=True)
    )
    return np.argsort(keys, axis=1, kind="stable"), entropy


def _put(marginal: np.ndarray, order: np.ndarray, scores: np.ndarray) -> None:
    for row, indices in zip(marginal, order, strict=True):
        row[indices] = scores


PATIENCE = 60
"""Layers without gain after which the paper's rule stops."""
_TOLERANCES = (0.1571, 0.0468, 0.0145, 0.0046, 0.0014, 0.0001, 0.00001)
"""In bits a coordinate, for 1e2, 1e3, ..., 1e8 samples."""
_SHARE_OF_TOLERANCE = 0.5
"""sqrt(.25): a quarter of the squared tolerance, as the authors' code has it."""


def _mapped(marginals: Sequence[Marginal], rows: np.ndarray) -> np.ndarray:
    """Return rows (d, n), each by its own map."""
    pairs = zip(marginals, rows, strict=True)
    return np.stack([marginal.transform(row) for marginal, row in pairs])


@dataclass(frozen=True, eq=False)
class Layer:
    """Marginal maps, then a rotation."""

    marginals: tuple[Marginal, ...]
    turn: np.ndarray
    """(d, d), orthogonal."""

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (d, n)."""
        return self.turn @ _mapped(self.marginals, rows)

    def inverse(self, rows: np.ndarray) -> np.ndarray:
        """Map rows (d, n) back."""
        pairs = zip(self.marginals, self.turn.T @ rows, strict=True)
        return np.stack([marginal.inverse(row) for marginal, row in pairs])

    def log_slopes(self, rows: np.ndarray) -> np.ndarray:
        """Return log |determinant of the derivative| (n,); the rotation has none."""
        pairs = zip(self.marginals, rows, strict=True)
        return np.sum([marginal.log_slope(row) for marginal, row in pairs], axis=0)


class NonGaussianity(NamedTuple):
    """How far a density is from N(0, I), in nats: J = T + J_m."""

    total_correlation: float
    """T: what the coordinates share."""
    marginals: float
    """J_m: the sum over coordinates of the divergence of each from N(0, 1)."""

    @property
    def nats(self) -> float:
        """J, the divergence of the whole from N(0, I)."""
        return self.total_correlation + self.marginals


class Destructor:
    """Rotation-based iterative Gaussianization, invertible, also for new samples.

    Every layer maps each coordinate to a Gaussian one, then rotates. The result is close to
    N(0, I); the density of x follows from the derivative:
    log p(x) = log N(D(x); 0, I) + log |det dD/dx|.

    Methods raise DataError for arrays that cannot be used or have another number of columns than
    the fitted one, and where nothing was fitted.

    References:
        Johnson et al. (2019), eq. 3, 6 and 7; fig. 1 for its effect on concentric circles.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> angle = np.random.default_rng(0).uniform(0, 6.28, 1000)
        >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> destructor = mi.Destructor(layers=20).fit(circle)
        >>> z = destructor.transform(circle)
        >>> bool(np.allclose(destructor.inverse(z), circle, atol=1e-6))
        True
        >>> destructor.sample(5).shape
        (5, 2)
    """

    removed: np.ndarray
    """(layers,): total correlation that each layer removed, in nats; after `fit`."""
    stopped: bool
    """The paper's rule ended the fit; False where all layers were used."""

    def __init__(
        self,
        layers: int = 50,
        rotation: Rotation = "pca",
        stopping: Literal["fixed", "paper"] = "fixed",
        seed: int = 0,
    ) -> None:
        """Check the settings; a SettingsError says which of them is wrong.

        Args:
            layers: number of layers; the most, if `stopping` is "paper".
            rotation: `pca`, `ica` or `random`.
            stopping: `fixed`, or `paper`: after 60 layers in a row without gain, which then are
                left out. A layer has no gain if the entropies change by less than half a tolerance
                a coordinate (root mean square; half of .0145 bits for 10,000 samples) or the sum
                is negative.
            seed: of rotations and samples.
        """
        check_whole("destructor: layers", layers)
        check_choice("destructor: rotation", rotation, ROTATIONS)
        check_choice("destructor: stopping", stopping, ("fixed", "paper"))
        check_whole("destructor: seed", seed, 0)
        self.layers, self.stopping, self.seed = layers, stopping, seed
        self.rotation: Rotation = rotation
        self._fitted: list[Layer] = []

    def fit(self, x: np.ndarray) -> Destructor:
        """Fit the layers to samples (n, d), finite, without constant columns; return itself."""
        rows = np.ascontiguousarray(check_numbers("x", x).T)
        flat = np.flatnonzero(np.ptp(rows, axis=1) == 0)
        if flat.size:
            hint = "A constant has no density. Leave such columns out."
            raise DataError("x", "columns that vary", f"column {flat[0]} constant", hint)
        rng = seeds.generator(self.seed, "destructor")
        tolerance = _tolerance(rows.shape[1])
        self._fitted, removed, idle = [], [], 0
        self.stopped = False
        ordered = np.sort(rows, axis=1)
        for _ in range(self.layers):
            marginals = tuple(map(Marginal.of, ordered))
            # A marginal map rises, so that what was in order stays so.
            entropies = sorted_entropies(_mapped(marginals, ordered))
            rows = _mapped(marginals, rows)
            turn = self._turn(rows, rng)
            rows = turn @ rows
            ordered = np.sort(rows, axis=1)
            change = entropies - sorted_entropies(ordered)
            self._fitted.append(Layer(marginals, turn))
            removed.append(float(change.sum()))
            if self.stopping == "paper":
                small = math.sqrt(float((change * change).mean())) < tolerance
                if small or removed[-1] < 0:
                    removed[-1] = 0.0
                    idle += 1
                else:
                    idle = 0
                if idle == PATIENCE:
                    self.stopped = True
                    del self._fitted[-PATIENCE:], removed[-PATIENCE:]
                    break
        self.removed = np.array(removed)
        self._columns = rows.shape[0]
        return self

    def _turn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the rotation (d, d) of Gaussian rows (d, n).

        Of two coordinates PCA takes the axes of the covariance, and random ones where all have one
        variance: those of the correlation are the diagonals, whatever the samples are, so that it
        would turn to and fro for ever. In more dimensions chance decides.
        """
        if self.rotation == "pca" and len(rows) == 2:
            variances, axes = np.linalg.eigh(np.cov(rows))
            if np.ptp(variances) > _ROUND * variances.max():
                return axes.T
            return rotation("random", rows, rng)
        return rotation(self.rotation, rows, rng)

    @property
    def total_correlation(self) -> float:
        """T of the samples it was fitted to, in nats: the sum over all layers (eq. 7)."""
        self._check_fitted()
        return float(self.removed.sum())

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Map data (n, d) to nearly independent N(0, 1)."""
        rows = self._rows("x", x)
        for layer in self._fitted:
            rows = layer.transform(rows)
        return rows.T

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Map the results (n, d) of `transform` back to data."""
        rows = self._rows("z", z)
        for layer in reversed(self._fitted):
            rows = layer.inverse(rows)
        return rows.T

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Draw new samples (count, d) of the density: Gaussian ones through the inverse."""
        check_whole("destructor: count", count)
        self._check_fitted()
        draw = seeds.generator(seed, "destructor samples")
        return self.inverse(draw.standard_normal((count, self._columns)))

    def log_jacobian(self, x: np.ndarray) -> np.ndarray:
        """Return log |det dD/dx| (n,) in nats; its mean is the second term of eq. 6."""
        return self._mapped(x)[1]

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return log p(x) (n,) in nats (eq. 3)."""
        rows, slopes = self._mapped(x)
        return slopes - 0.5 * (rows * rows + math.log(2 * math.pi)).sum(axis=0)

    def non_gaussianity(self, x: np.ndarray) -> NonGaussianity:
        """Estimate J of `transform(x)`, its divergence from N(0, I) (eq. 4 and 5).

        Args:
            x: (n, d), best samples that it was not fitted to: it fits the noise of those, too.
        """
        z = self.transform(check_numbers("x", x))
        (n, d), layers = z.shape, gaussianizing_layers(*z.shape)
        rng = seeds.generator(self.seed, "destructor non-gaussianity")
        removed = gaussianized(z, layers, self.rotation, rng)[0]
        chance = expected_sums(n, d, layers, self.rotation, _CHANCE_RUNS, self.seed)
        total = removed - float(chance.mean()) if d > 1 else 0.0
        return NonGaussianity(total, gaussian_divergence(z.T))

    def _mapped(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self._rows("x", x)
        slopes = np.zeros(rows.shape[1])
        for layer in self._fitted:
            slopes += layer.log_slopes(rows)
            rows = layer.transform(rows)
        return rows, slopes

    def _rows(self, name: str, values: np.ndarray) -> np.ndarray:
        self._check_fitted()
        checked = check_numbers(name, values, minimum=1)
        if checked.shape[1] != self._columns:
            columns = f"{self._columns} columns, as it was fitted to"
            raise DataError(name, columns, checked.shape[1])
        return checked.T

    def _check_fitted(self) -> None:
        if not hasattr(self, "removed"):
            raise DataError("destructor", "one that was fitted", "a new one", "Call fit.")


def gaussian_divergence(rows: np.ndarray) -> float:
    """Return the sum over rows (d, n) of the divergence of each from N(0, 1), in nats.

    -H + 1/2 ln 2 pi + 1/2 E z^2.
    """
    entropies = sorted_entropies(np.sort(rows, axis=1))
    return float((GAUSSIAN_ENTROPY - 0.5 + 0.5 * (rows * rows).mean(axis=1) - entropies).sum())


def total_correlation_loss(z: Tensor, log_jacobian: Tensor) -> Tensor:
    """Return sum_d H(z_d) - <log |det dz/dx|> in nats, to be minimized by a flow from x to z.

    It is T(z) + H(x), and but for the entropies of the coordinates of x the change of total
    correlation of eq. 6. H(x) does not depend on the flow, so that the least value is that of
    independent coordinates. Entropies are those of the distances between values that are sqrt(n)
    apart in order, which have gradients; for a thousand samples they are right to some hundredths.

    Args:
        z: (n, d) float, the flow's output.
        log_jacobian: (n,), or () where it is the same for all samples.

    Returns:
        () float; larger for coordinates that share information.

    References:
        Johnson et al. (2019), eq. 5 and 6. E. Learned-Miller, J. Fisher: ICA using spacings
        estimates of entropy. JMLR 4 (2003) 1271.

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> x = np.random.default_rng(0).normal(size=(4000, 2)).astype("float32")
        >>> mixed = x @ np.array([[1.0, 0.75], [0.0, 0.66]], "float32")  # rho .75
        >>> loss = mi.total_correlation_loss
        >>> round(float(loss(mixed, np.log(0.66)) - loss(x, 0.0)), 1)  # -ln(1 - rho^2) / 2
        0.4
    """
    from scipy.special import digamma

    values = _tensor("z", z)
    if not values.dtype.is_floating:
        raise DataError("z", "floats", f"dtype {values.dtype.name}")
    n = (values.shape[0] or 0) if values.shape.rank else 0
    if n < 2:
        raise DataError("z", "two samples or more", n)
    logarithms = _tensor("log_jacobian", log_jacobian)
    if not (logarithms.dtype.is_floating or logarithms.dtype.is_integer):
        raise DataError("log_jacobian", "real numbers", f"dtype {logarithms.dtype.name}")
    if not any(logarithms.shape.is_compatible_with(shape) for shape in ((), (n,))):
        raise DataError("log_jacobian", f"shape () or ({n},)", tuple(logarithms.shape))
    reach = max(1, round(math.sqrt(n) / 2))
    low, high = (np.clip(np.arange(n) + step, 0, n - 1) for step in (-reach, reach))
    ordered = tf.sort(values, axis=0)
    spacings = tf.maximum(tf.gather(ordered, high) - tf.gather(ordered, low), _LEAST_SPACING)
    bias = float(np.mean(math.log(n + 1) - digamma(high - low)))
    entropies = tf.reduce_mean(tf.math.log(spacings), axis=0) + bias
    return tf.reduce_sum(entropies) - tf.reduce_mean(tf.cast(logarithms, values.dtype))


def _tensor(name: str, values: Any) -> Tensor:
    """Return an argument of a loss as a tensor."""
    try:
        return tf.convert_to_tensor(values)
    except (TypeError, ValueError) as error:
        raise DataError(name, "a tensor of numbers", described(values)) from error


def _tolerance(n: int) -> float:
    """Return the change of an entropy in nats under which there is no gain; linear in n."""
    counts = 10.0 ** np.arange(2, 2 + len(_TOLERANCES))
    return _SHARE_OF_TOLERANCE * nats(float(np.interp(n, counts, _TOLERANCES)))
