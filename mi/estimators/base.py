"""What an estimator of information has to be able to do: one small class a quantity.

A family is a frozen dataclass of its settings that inherits from those of these classes whose
quantity it can estimate, and defines their methods. What it does not inherit from it cannot do, and
whoever asks for that is told which estimators can. Everything inside is in nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from oip.core import seeds
from oip.core.checks import check_drawn, check_whole
from oip.mi.backend import each
from oip.mi.estimators.results import MapEstimates, MapSamples
from oip.mi.resampling import joint_null
from oip.mi.validation import FEWEST, checked_maps


@dataclass(frozen=True, eq=False)
class Value:
    """An estimate in nats, as a family gives it."""

    nats: float
    """As it comes out; who asked for it clips it where it has to be 0 or more."""
    ceiling: float | None = None
    """Largest value that the estimate can take; None if there is none."""
    least: float = 0.0
    """What the estimate has without any information, from which it rises to its ceiling: the
    entropy of the noise where x is measured with noise added."""
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

    Subclasses check their settings when they are made (`oip.core.checks`).
    """

    name: ClassVar[str]
    """What it is asked for by."""
    name_shown: ClassVar[str]
    """What its numbers are called where they are shown."""
    held_out: ClassVar[bool] = False
    """A bound from held-out predictions: being at the ceiling is then knowledge, not saturation."""
    shuffles: ClassVar[int] = 100
    """Shuffles of the null where no number is asked for; 0: no null unless it is asked for."""
    alone_shuffles: ClassVar[int | None] = None
    """The same for one estimate by itself, where those of many maps are too dear; `shuffles` if
    None."""
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

    def working_bytes(self, n: int) -> int:
        """Memory that one estimate of n samples takes while it is made, about; 0 of little."""
        return 0

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

        Large matrix products and eigenvalues run on a GPU where there is one (`oip.mi.backend`).

        Args:
            responses: (n, m, d), finite.
            labels: (n,) whole numbers, booleans or strings, or one-hot rows (n, classes).
            seed: a whole number, 0 or more; with the same seed, all blocks of a layer share draws
                and shuffles.
            shuffles: of the labels, for the null.
            draws: for the intervals.
            one_vs_rest: the information about being of each class or not is estimated, too. It
                costs as much as that many more labels, most of the time where eigenvalues are.

        Returns:
            In nats; all 0 where there is one class only.

        Raises:
            DataError: responses or labels that cannot be used; a class that is seen once.
            SettingsError: seed, shuffles or draws that are no whole numbers of 0 or more, or so
                many that their samples do not fit in memory.

        Example:
            >>> import numpy as np
            >>> from oip import mi
            >>> responses = np.random.default_rng(0).normal(size=(100, 3, 4))
            >>> labels = np.arange(100) % 2
            >>> mi.estimator("kde").over_maps(responses, labels).mi.shape
            (3,)
        """
        responses, codes = checked_maps(responses, labels)
        seed = check_whole("seed", seed, 0)
        shuffles = check_drawn("shuffles", shuffles, len(codes))
        draws = check_drawn("draws", draws, len(codes))
        n, maps, d = responses.shape
        if codes.any():
            samples = MapSamples(responses, codes, seed, shuffles, draws, one_vs_rest)
            found = self._over_maps(samples)
        else:
            found = MapEstimates(
                raw=np.zeros(maps),
                ceiling=np.zeros(maps),
                per_class_raw=np.full((maps, 1), 0.0 if one_vs_rest else np.nan),
                class_ceiling=np.zeros(1),
                draws=np.zeros((draws, maps)),
                null=np.zeros((shuffles, maps)),
            )
        told = {"estimator": self.name, "parameters": self.parameters, "n": n, "d": d, "seed": seed}
        return replace(found, **told)

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
        return joint_null(
            lambda other: self.information(x, other, seed).nats,
            y,
            shuffles,
            seed,
            self.working_bytes(len(y)),
        )


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


class ConditionalLabelEstimator(Estimator):
    """I(X;Y|Z) of a label Y, given numbers, in a way of its own rather than by the chain rule."""

    @abstractmethod
    def conditional_label_information(
        self, x: np.ndarray, codes: np.ndarray, given: np.ndarray, seed: int
    ) -> Value:
        """I(X;Y|Z) of x (n, dx) or a label (n,) int, codes (n,) int, given (n, dz)."""


class EntropyEstimator(Estimator):
    """H(X) of numbers."""

    @abstractmethod
    def entropy(self, x: np.ndarray, seed: int) -> Value:
        """H(X) of x (n, d), float64 and finite."""


class LabelEntropyEstimator(Estimator):
    """H(Y) of a label."""

    @abstractmethod
    def label_entropy(self, codes: np.ndarray, seed: int) -> Value:
        """H(Y) of codes (n,) int, 0 to classes - 1."""


class TotalCorrelationEstimator(Estimator):
    """T(X) = sum_i H(X_i) - H(X) of numbers."""

    @abstractmethod
    def total_correlation(self, x: np.ndarray, seed: int) -> Value:
        """T(X) of x (n, d), float64 and finite, d 2 or more."""

    def total_correlation_null(self, x: np.ndarray, shuffles: int, seed: int) -> np.ndarray:
        """(shuffles,): estimates after every column of x was put in a random order by itself."""

        def shuffled(place: int) -> float:
            draw = seeds.generator(seed, "null", place)
            return self.total_correlation(draw.permuted(x, axis=0), seed).nats

        return np.array(each(shuffled, range(shuffles), x.nbytes + self.working_bytes(len(x))))


class NegentropyEstimator(Estimator):
    """The entropy that numbers lack to a Gaussian of their covariance."""

    @abstractmethod
    def negentropy(self, x: np.ndarray, seed: int) -> Value:
        """Of x (n, d), float64 and finite."""


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
