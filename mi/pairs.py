"""I(X;Y) by what X and Y are: numbers and numbers, numbers and a label, a label and a label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mi.estimation import of_label, of_some, resampled
from mi.estimators.base import (
    DiscreteEstimator,
    Estimator,
    LabelEstimator,
    PairEstimator,
    Value,
)
from mi.estimators.choice import estimator_of
from mi.estimators.resampling import joint_null
from mi.samples import Side, check_lengths, check_seen_twice


@dataclass(frozen=True, eq=False)
class Pairing(ABC):
    """Two sides and an estimator that can do them.

    `left` and `right` are numbers (n, d) or codes (n,); the information is the same from either
    side, so that a label, where there is one, is on the right.
    """

    one: Any
    left: np.ndarray
    right: np.ndarray
    seed: int

    @abstractmethod
    def value(self, left: np.ndarray, right: np.ndarray) -> Value:
        """I of samples like these, without interval and null."""

    def whole(self, shuffles: int, draws: int) -> Value:
        """I of all samples, with interval and null."""
        value = self.value(self.left, self.right)
        null = self.null(shuffles) if shuffles else None
        return replace(value, draws=self.drawn(draws), null=null)

    def drawn(self, draws: int) -> np.ndarray | None:
        """(draws,): the estimate from random halves."""
        return resampled(
            self.one,
            lambda parts: self.value(self.left[parts[0]], self.right[parts[0]]).nats,
            [len(self.left)],
            draws,
            self.seed,
        )

    def null(self, shuffles: int) -> np.ndarray:
        """(shuffles,): the estimate after the right side was put in random orders."""
        return joint_null(
            lambda right: self.value(self.left, right).nats,
            self.right,
            shuffles,
            self.seed,
            self.one.working_bytes(len(self.right)),
        )


class _Numbers(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> Value:
        return self.one.information(left, right, self.seed)

    def null(self, shuffles: int) -> np.ndarray:
        return self.one.information_null(self.left, self.right, shuffles, self.seed)


class _Label(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> Value:
        return of_some(self.one, left, right, self.seed)

    def whole(self, shuffles: int, draws: int) -> Value:
        return of_label(self.one, self.left, self.right, shuffles, draws, self.seed)


class _Labels(Pairing):
    def value(self, left: np.ndarray, right: np.ndarray) -> Value:
        return self.one.discrete_information(left, right, self.seed)


def paired(
    x: Side, y: Side, name: str | Estimator | None, parameters: dict[str, Any], seed: int
) -> Pairing:
    """The two sides with an estimator of the information between them.

    Args:
        x, y: of one length.
        name: `kde` for numbers and a label, `ksg` for numbers, `binning` for labels, if None.
        parameters: of the estimator.
        seed: of whatever is drawn.

    Raises:
        DataError: lengths that differ; a class that is seen once.
        SettingsError: an unknown estimator or parameter, or one that cannot do this.
    """
    check_lengths(y.name, len(y), len(x))
    if x.is_label and y.is_label:
        what = "I(X;Y) of two labels"
        one = estimator_of(what, DiscreteEstimator, "binning" if name is None else name, parameters)
        return _Labels(one, x.values, y.values, seed)
    if not x.is_label and not y.is_label:
        what = "I(X;Y) of numbers and numbers (say discrete=True if y is a label)"
        one = estimator_of(what, PairEstimator, "ksg" if name is None else name, parameters)
        return _Numbers(one, x.values, y.values, seed)
    numbers, label = (y, x) if x.is_label else (x, y)
    what = f"I(X;Y) of numbers and a label (say discrete=False if {label.name} is numbers)"
    one = estimator_of(what, LabelEstimator, "kde" if name is None else name, parameters)
    if label.values.any():
        check_seen_twice(label.name, label.values)
    return _Label(one, numbers.values, label.values, seed)
