"""What an estimator of information has to be able to do: one small class a quantity.

A family is a frozen dataclass of its settings that inherits from those of these classes whose
quantity it can estimate, and defines their methods. What it does not inherit from it cannot do, and
whoever asks for that is told which estimators can. Everything inside is in nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from mi.estimators.map_samples import MapSamples
from mi.estimators.resampling import joint_null
from mi.estimators.results import MapEstimates
from mi.samples import FEWEST, checked_maps


@dataclass(frozen=True, eq=False)
class Value:
    """An estimate in nats, as a family gives it."""

    nats: float
    """As it comes out; who asked for it clips it where it has to be 0 or more."""
    ceiling: float | None = None
    """Largest value that the estimate can take; None if there is none."""
    draws: np.ndarray | None = None
    """(draws,): the estimate under resampling. No family fills it: who asked for the value does,
    with as many as were asked for."""
    null: np.ndarray | None = None
    """(shuffles,): the estimate from shuffled samples, filled in the same way."""
    notices: tuple[str, ...] = ()
    """What a reader has to know before using the number: a bias, an assumption that is broken."""


@dataclass(frozen=True)
class Estimator(ABC):
    """A way to estimate information.

    Subclasses check their settings when they are made (`mi.estimators.settings`).
    """

    name: ClassVar[str]
    """What it is asked for by."""
    name_shown: ClassVar[str]
    """What its numbers are called where they are shown."""
    held_out: ClassVar[bool] = False
    """A bound from held-out predictions: being at the ceiling is then knowledge, not saturation."""
    shuffles: ClassVar[int] = 100
    """Shuffles of the null where no number is asked for; 0: no null unless it is asked for."""
    resamples: ClassVar[int] = 40
    """Random halves that an interval is made from where no number is asked for; 0: no interval."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What the value depends on besides the data, for the reader."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def fewest(self) -> int:
        """Samples that an estimate needs."""
        return FEWEST

    @property
    def clips(self) -> bool:
        """Information under 0 or above its ceiling is shown as 0 or the ceiling."""
        return True


class LabelEstimator(Estimator):
    """I(X;Y) of responses X and a label Y, for many maps at once."""

    cheap_null: ClassVar[bool] = False
    """A thousand shuffles cost little, so that every map of a ranking has a null of its own."""
    map_draws: ClassVar[int] = 200
    """Random halves for the intervals of a ranking's maps; fewer where they are dear."""

    def over_maps(
        self,
        responses: np.ndarray,
        labels: Any,
        seed: int = 0,
        shuffles: int = 0,
        draws: int = 0,
        one_vs_rest: bool = True,
    ) -> MapEstimates:
        """Estimates for every map by itself.

        Large matrix products and eigenvalues are left to a GPU where there is one (`mi.device`).

        Args:
            responses: (n, m, d), finite.
            labels: (n,) whole numbers, booleans or strings, or one-hot rows (n, classes).
            seed: 0 or more; with the same seed, all blocks of a layer share draws and shuffles.
            shuffles: of the labels, for the null.
            draws: for the intervals.
            one_vs_rest: the information about being of each class or not is estimated, too. It
                costs as much as that many more labels, most of the time where eigenvalues are.

        Returns:
            In nats; all 0 where there is one class only.

        Raises:
            DataError: responses or labels that cannot be used; a class that is seen once.

        Example:
            >>> import numpy as np, mi
            >>> responses = np.random.default_rng(0).normal(size=(100, 3, 4))
            >>> labels = np.arange(100) % 2
            >>> mi.estimator("kde").over_maps(responses, labels).mi.shape
            (3,)
        """
        responses, codes = checked_maps(responses, labels)
        if not codes.any():
            maps = responses.shape[1]
            return MapEstimates(
                raw=np.zeros(maps),
                ceiling=np.zeros(maps),
                per_class_raw=np.full((maps, 1), 0.0 if one_vs_rest else np.nan),
                class_ceiling=np.zeros(1),
                draws=np.zeros((draws, maps)),
                null=np.zeros((shuffles, maps)),
            )
        samples = MapSamples(responses, codes, seed, shuffles, draws, one_vs_rest)
        return self._over_maps(samples)

    @abstractmethod
    def _over_maps(self, samples: MapSamples) -> MapEstimates:
        """What `over_maps` gives, of input that is checked."""


class PairEstimator(Estimator):
    """I(X;Y) of numbers and numbers."""

    @abstractmethod
    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """I(X;Y) of x (n, dx) and y (n, dy), both float64 and finite."""

    def information_null(
        self, x: np.ndarray, y: np.ndarray, shuffles: int, seed: int
    ) -> np.ndarray:
        """(shuffles,): estimates after the rows of y were put in random orders.

        A family whose estimates of one x share work does them all at once in its own way.
        """
        return joint_null(lambda other: self.information(x, other, seed).nats, y, shuffles, seed)


class DiscreteEstimator(Estimator):
    """I(X;Y) of a label and a label."""

    @abstractmethod
    def discrete_information(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """I(X;Y) of two codes (n,) int, each 0 to its number of classes - 1."""


class ConditionalEstimator(Estimator):
    """I(X;Y|Z) of numbers."""

    @abstractmethod
    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """I(X;Y|Z) of x (n, dx), y (n, dy), given (n, dz), all float64 and finite."""


class EntropyEstimator(Estimator):
    """H(X) of numbers."""

    @abstractmethod
    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """H(X) of x (n, d), float64 and finite."""


class TotalCorrelationEstimator(Estimator):
    """T(X) = sum_i H(X_i) - H(X) of numbers."""

    @abstractmethod
    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """T(X) of x (n, d), float64 and finite, d 2 or more."""


class DivergenceEstimator(Estimator):
    """KL(P||Q) of two distributions of numbers."""

    @abstractmethod
    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> Value:
        """KL(P||Q) of samples x (n, d) of P and y (m, d) of Q, float64 and finite."""


class InputEstimator(Estimator):
    """I(X;M): what a response M, made noisy or coarse, tells of which sample it came from."""

    @abstractmethod
    def input_information(self, x: np.ndarray, seed: int) -> Value:
        """I(X;M) of responses x (n, d), float64 and finite; at most log n."""
