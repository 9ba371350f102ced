"""A density destructor: an invertible map from a distribution to a standard Gaussian one.

References:
    J. E. Johnson et al.: Information theory in density destructors. ICML workshop on invertible
    neural networks, 2019. V. Laparra, G. Camps-Valls, J. Malo: Iterative Gaussianization: from ICA
    to random rotations. IEEE Transactions on Neural Networks 22 (2011) 537. D. Inouye, P.
    Ravikumar: Deep density destructors. ICML 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mi.estimators.rbig_layers import ROTATIONS, Rotation, rotation
from mi.estimators.rbig_marginal import GAUSSIAN_ENTROPY, Marginal, sorted_entropies
from mi.estimators.settings import check_choice, check_whole
from mi.samples import check_numbers
from oip.core import seeds
from oip.core.errors import DataError, expected
from oip.core.units import nats

PATIENCE = 60
"""Layers without gain after which the paper's rule stops."""
_TOLERANCES = (0.1571, 0.0468, 0.0145, 0.0046, 0.0014, 0.0001, 0.00001)
"""In bits a coordinate, for 1e2, 1e3, ..., 1e8 samples."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Marginal maps, then a rotation."""

    marginals: tuple[Marginal, ...]
    turn: np.ndarray
    """(d, d), orthogonal."""

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """(d, n) -> (d, n)."""
        parts = zip(self.marginals, rows, strict=True)
        return self.turn @ np.stack([one.transform(row) for one, row in parts])

    def inverse(self, rows: np.ndarray) -> np.ndarray:
        """(d, n) -> (d, n)."""
        parts = zip(self.marginals, self.turn.T @ rows, strict=True)
        return np.stack([one.inverse(row) for one, row in parts])

    def log_slopes(self, rows: np.ndarray) -> np.ndarray:
        """(n,): log |determinant of the derivative|; the rotation has none."""
        parts = zip(self.marginals, rows, strict=True)
        return np.sum([one.log_slope(row) for one, row in parts], axis=0)


class Destructor:
    """Rotation-based iterative Gaussianization, invertible and for samples that it has not seen.

    Every layer maps each coordinate to a Gaussian one, then rotates. What comes out is close to
    N(0, I); the density of x follows from the derivative:
    log p(x) = log N(D(x); 0, I) + log |det dD/dx|.

    Attributes after `fit`:
        removed: (layers,) total correlation that each layer removed, in nats: sum_d H(before its
            rotation) - sum_d H(after).
        stopped: the paper's rule ended the fit; False where all layers were used.

    References:
        Johnson et al. (2019), eq. 3, 6 and 7; fig. 1 for what it does to concentric circles.

    Example:
        >>> import numpy as np, mi
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
    stopped: bool

    def __init__(
        self,
        layers: int = 50,
        rotation: Rotation = "pca",
        stopping: Literal["fixed", "paper"] = "fixed",
        seed: int = 0,
    ) -> None:
        """Settings.

        Args:
            layers: that are fitted; the most that are, if `stopping` is "paper".
            rotation: `pca`, `ica` or `random`.
            stopping: `fixed`, or `paper`: after 60 layers in a row without gain, which then are
                left out. A layer has no gain if the entropies change by less than a tolerance a
                coordinate (root mean square; .0145 bits for 10,000 samples) or the sum is negative.
            seed: of rotations and samples.

        Raises:
            SettingsError: a setting that makes no sense.
        """
        check_whole("destructor: layers", layers)
        check_choice("destructor: rotation", rotation, ROTATIONS)
        check_choice("destructor: stopping", stopping, ("fixed", "paper"))
        check_whole("destructor: seed", seed, 0)
        self.layers, self.stopping, self.seed = layers, stopping, seed
        self.rotation: Rotation = rotation
        self._fitted: list[Layer] = []

    def fit(self, x: np.ndarray) -> Destructor:
        """Fits the layers to samples.

        Args:
            x: (n, d) numbers, finite; no column is constant.

        Returns:
            Itself.

        Raises:
            DataError: x cannot be used.
        """
        rows = np.ascontiguousarray(check_numbers("x", x).T)
        flat = np.flatnonzero(np.ptp(rows, axis=1) == 0)
        if flat.size:
            hint = "A constant has no density. Leave such columns out."
            raise DataError(expected("x", "columns that vary", f"column {flat[0]} constant", hint))
        rng = seeds.generator(self.seed, "destructor")
        tolerance = _tolerance(rows.shape[1])
        self._fitted, removed, idle = [], [], 0
        self.stopped = False
        for _ in range(self.layers):
            marginals = tuple(Marginal.of(row) for row in np.sort(rows, axis=1))
            parts = zip(marginals, rows, strict=True)
            rows = np.stack([one.transform(row) for one, row in parts])
            before = sorted_entropies(np.sort(rows, axis=1))
            turn = rotation(self.rotation, rows, rng)
            rows = turn @ rows
            change = before - sorted_entropies(np.sort(rows, axis=1))
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

    @property
    def total_correlation(self) -> float:
        """T of the samples it was fitted to, in nats: eq. 7, what all layers removed."""
        self._check_fitted()
        return float(self.removed.sum())

    def transform(self, x: np.ndarray) -> np.ndarray:
        """(n, d) of the data -> (n, d), close to independent N(0, 1).

        Raises:
            DataError: x cannot be used, or has another number of columns.
        """
        rows = self._rows("x", x)
        for layer in self._fitted:
            rows = layer.transform(rows)
        return rows.T

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """(n, d) as `transform` gives them -> (n, d) of the data.

        Raises:
            DataError: z cannot be used, or has another number of columns.
        """
        rows = self._rows("z", z)
        for layer in reversed(self._fitted):
            rows = layer.inverse(rows)
        return rows.T

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, d): new samples of the density, Gaussian ones through the inverse.

        Raises:
            SettingsError: `count` is not 1 or more.
            DataError: nothing was fitted.
        """
        check_whole("destructor: count", count)
        self._check_fitted()
        drawn = seeds.generator(seed, "destructor samples").standard_normal((count, self._columns))
        rows = drawn.T
        for layer in reversed(self._fitted):
            rows = layer.inverse(rows)
        return rows.T

    def log_jacobian(self, x: np.ndarray) -> np.ndarray:
        """(n,): log |det dD/dx| in nats; its mean is the second term of eq. 6.

        Raises:
            DataError: x cannot be used, or has another number of columns.
        """
        return self._mapped(x)[1]

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """(n,): log p(x) in nats (eq. 3).

        Raises:
            DataError: x cannot be used, or has another number of columns.
        """
        rows, slopes = self._mapped(x)
        return slopes - 0.5 * (rows * rows + math.log(2 * math.pi)).sum(axis=0)

    def _mapped(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = self._rows("x", x)
        slopes = np.zeros(rows.shape[1])
        for layer in self._fitted:
            slopes += layer.log_slopes(rows)
            rows = layer.transform(rows)
        return rows, slopes

    def _rows(self, name: str, values: np.ndarray) -> np.ndarray:
        self._check_fitted()
        checked = check_numbers(name, values, least=1)
        if checked.shape[1] != self._columns:
            wanted = f"{self._columns} columns, as it was fitted to"
            raise DataError(expected(name, wanted, checked.shape[1]))
        return checked.T

    def _check_fitted(self) -> None:
        if not hasattr(self, "removed"):
            raise DataError(expected("destructor", "one that was fitted", "a new one", "Call fit."))


def gaussian_divergence(rows: np.ndarray) -> float:
    """Sum over rows (d, n) of the divergence of each from N(0, 1), in nats.

    -H + 1/2 ln 2 pi + 1/2 E z^2.
    """
    own = sorted_entropies(np.sort(rows, axis=1))
    return float((GAUSSIAN_ENTROPY - 0.5 + 0.5 * (rows * rows).mean(axis=1) - own).sum())


def _tolerance(n: int) -> float:
    """Change of an entropy under which a layer has no gain, in nats; linear in log n."""
    known = range(2, 2 + len(_TOLERANCES))
    return nats(float(np.interp(math.log10(n), list(known), _TOLERANCES)))
