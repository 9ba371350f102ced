"""Information quantities of plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from mi import labels as labelling
from mi.estimators.base import Estimate, LabelEstimator
from mi.estimators.choice import ESTIMATORS
from mi.estimators.choice import estimator as made
from mi.estimators.kde import Kde
from mi.nulls import ENOUGH
from oip.core.errors import DataError, SettingsError, expected

_DRAWS = 200


def mutual_information(
    x: np.ndarray,
    y: Any,
    estimator: str | LabelEstimator = "kde",
    *,
    discrete: bool | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Estimate:
    """I(X;Y) of numbers and a label.

    Args:
        x: (n,) or (n, d) numbers, finite.
        y: (n,) whole numbers, booleans or strings, or one-hot rows: a label.
        estimator: `decoder` (a held-out lower bound), `kde`, or an estimator.
        discrete: True takes a y of floats as a label, too.
        seed: of folds, draws and shuffles.
        parameters: of the estimator, such as `relative=0.05`.

    Returns:
        The estimate with its interval, p-value (1000 shuffles) and ceiling.

    Raises:
        DataError: arrays that cannot be used.
        SettingsError: an unknown estimator or parameter, or a continuous y.

    Example:
        >>> import numpy as np, mi
        >>> y = np.arange(200) % 2
        >>> x = y + np.random.default_rng(0).normal(size=200) / 10
        >>> round(mi.mutual_information(x, y).bits, 2)
        1.0
    """
    chosen = made(estimator, **parameters)
    values = _samples(x)
    if discrete is False or (discrete is None and _continuous(y)):
        names = ", ".join(one.name for one in ESTIMATORS)
        hint = "If y is a label, say discrete=True or give whole numbers."
        raise SettingsError(
            expected(
                "mutual_information: y",
                f"a label, for the estimators {names}",
                "continuous numbers",
                hint,
            )
        )
    known = labelling.check_labels(y, len(values), discrete=bool(discrete))
    values = values[known.kept]
    result = chosen.over_maps(values[:, None, :], known.codes, seed, ENOUGH, _DRAWS)
    raw, value = float(result.raw[0]), float(result.mi[0])
    return Estimate(
        quantity="I(X;Y)",
        estimator=chosen.name,
        parameters=chosen.parameters,
        nats=value,
        n=len(values),
        d=values.shape[1],
        ceiling=float(result.ceiling[0]),
        low=float(result.low[0]),
        high=float(result.high[0]),
        p_value=float(result.p_value[0]),
        raw=None if raw == value else raw,
        seed=seed,
    )


def input_information(x: np.ndarray, estimator: str = "kde", **parameters: Any) -> Estimate:
    """I(X;M): what x with a little noise, M, still tells of which sample it came from.

    For the responses of a network, which follow from the input, it is the information about the
    input; it is made by the noise, and infinite without it.

    Args:
        x: (n,) or (n, d) numbers, finite.
        estimator: `kde`.
        parameters: `noise` (variance) or `relative`; `bound="lower"` or `"upper"`.

    Returns:
        The estimate; its ceiling is log n.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter.

    Example:
        >>> import numpy as np, mi
        >>> mi.input_information(np.arange(64.0) * 1000, noise=1.0).saturated
        True
    """
    chosen = _kernel(estimator, parameters)
    values = _samples(x)
    raw, ceiling = chosen.input_information(values), float(np.log(len(values)))
    value = float(np.clip(raw, 0.0, ceiling))
    return Estimate(
        quantity="I(X;M)",
        estimator=chosen.name,
        parameters=chosen.parameters,
        nats=value,
        n=len(values),
        d=values.shape[1],
        ceiling=ceiling,
        raw=None if raw == value else raw,
    )


def entropy(x: np.ndarray, estimator: str = "kde", **parameters: Any) -> Estimate:
    """A bound of the differential entropy of x with Gaussian noise added; it may be negative.

    Args:
        x: (n,) or (n, d) numbers, finite.
        estimator: `kde`.
        parameters: `noise` (variance) or `relative`; `bound="lower"` or `"upper"`.

    Raises:
        DataError: x cannot be used.
        SettingsError: an unknown estimator or parameter; a constant x without `noise`.

    Example:
        >>> import numpy as np, mi
        >>> x = np.random.default_rng(0).normal(size=2000)
        >>> upper, lower = (mi.entropy(x, noise=0.05, bound=b).nats for b in ("upper", "lower"))
        >>> lower < 1.4433 < upper  # of N(0, 1.05)
        True
    """
    chosen = _kernel(estimator, parameters)
    values = _samples(x)
    return Estimate(
        quantity="H(X)",
        estimator=chosen.name,
        parameters=chosen.parameters,
        nats=chosen.entropy(values),
        n=len(values),
        d=values.shape[1],
    )


def _kernel(name: str | LabelEstimator, parameters: dict[str, Any]) -> Kde:
    chosen = made(name, **parameters)
    if not isinstance(chosen, Kde):
        raise SettingsError(expected("estimator of this quantity", Kde.name, f"'{chosen.name}'"))
    return chosen


def _continuous(y: Any) -> bool:
    try:
        values = np.asarray(y)
    except ValueError:  # rows of different lengths: refused as labels
        return False
    return values.dtype.kind == "f" and values.ndim == 1


def _samples(x: np.ndarray) -> np.ndarray:
    """x as (n, d) float64."""
    values = np.asarray(x)
    if values.dtype.kind not in "buif":
        raise DataError(expected("x", "an array of numbers", f"dtype {values.dtype}"))
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(expected("x", "shape (n,) or (n, d)", np.shape(x)))
    if len(values) < labelling.FEWEST:
        raise DataError(expected("x", f"at least {labelling.FEWEST} samples", len(values)))
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(expected("x", "finite numbers", "NaN or infinity"))
    return values
