"""What an estimate carries besides its number."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from oip.core import html
from oip.core.units import bits
from oip.mi.permutation_test import p_values

SATURATED = 0.98
"""Share of its ceiling from which an estimate says nothing about an order."""
LEVEL = 0.95
"""Of every interval."""


@dataclass(frozen=True)
class Estimate:
    """One estimate of an information quantity, with what is needed to judge it.

    Nats inside; whatever is shown is in bits.
    """

    quantity: str
    """Such as `I(X;Y)`, `I(X;Y|Z)`, `H(X)`, `T(X)` (total correlation) or `KL(X||Y)`."""
    estimator: str
    parameters: dict[str, Any]
    nats: float
    n: int
    """Samples."""
    d: int
    """Dimensions of x."""
    ceiling: float | None = None
    """Largest value that the estimate can take, in nats; None if there is none."""
    low: float | None = None
    """Lower end of the 95 % interval, in nats."""
    high: float | None = None
    """Upper end of the 95 % interval, in nats."""
    p_value: float | None = None
    """Against shuffled samples, one-sided; None if no null was made."""
    raw: float | None = None
    """The value before it was clipped, in nats; None if it was not."""
    seed: int = 0
    notices: tuple[str, ...] = ()
    """What a reader has to know before using the number."""
    least: float = 0.0
    """What the estimate has without any information, in nats: the entropy of the noise where x is
    measured with noise added, else 0. A share of the ceiling is counted from here."""

    @property
    def bits(self) -> float:
        """The estimate in bits."""
        return bits(self.nats)

    @property
    def unit(self) -> str:
        """The unit of everything that is shown."""
        return "bits"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval in bits, None if there is none."""
        if self.low is None or self.high is None:
            return None
        return bits(self.low), bits(self.high)

    @property
    def saturated(self) -> bool:
        """Within 2 % of the ceiling: no ground for an order. Never where the ceiling is 0."""
        return self.share is not None and self.share >= SATURATED

    @property
    def share(self) -> float | None:
        """The estimate as a share of its ceiling, I / H(Y) for a label; None without a ceiling."""
        if self.ceiling is None or self.ceiling <= self.least:
            return None
        return (self.nats - self.least) / (self.ceiling - self.least)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, information in bits; the value in nats, too."""
        return {
            "quantity": self.quantity,
            "estimator": self.estimator,
            "parameters": self.parameters,
            "value": self.bits,
            "unit": self.unit,
            "nats": self.nats,
            "low": None if self.low is None else bits(self.low),
            "high": None if self.high is None else bits(self.high),
            "p_value": self.p_value,
            "ceiling": None if self.ceiling is None else bits(self.ceiling),
            "saturated": self.saturated,
            "raw": None if self.raw is None else bits(self.raw),
            "n": self.n,
            "d": self.d,
            "seed": self.seed,
            "notices": list(self.notices),
        }

    def __str__(self) -> str:
        text = f"{self.quantity} = {self.bits:.4g} bits"
        if self.interval is not None:
            text += f" ({self.interval[0]:.4g} to {self.interval[1]:.4g})"
        told = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        text += f", {self.estimator} ({told}), n = {self.n}"
        if self.p_value is not None:
            text += f", p = {self.p_value:.2g}"
        if self.ceiling is not None:
            text += f", ceiling {bits(self.ceiling):.4g} bits"
        if self.raw is not None:
            text += f", clipped from {bits(self.raw):.4g} bits"
        text += ", saturated" if self.saturated else ""
        return ". ".join([text, *self.notices])

    def _repr_html_(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        between = None if self.interval is None else "{:.4g} to {:.4g}".format(*self.interval)
        rows = [
            ("value, bits", self.bits),
            ("95 %", between),
            ("ceiling, bits", None if self.ceiling is None else bits(self.ceiling)),
            ("p", None if self.p_value is None else f"{self.p_value:.2g}"),
            ("samples", self.n),
            ("estimator", f"{self.estimator} ({told})"),
        ]
        warnings = ["saturated: no ground for an order"] if self.saturated else []
        if self.raw is not None:
            warnings.append(f"clipped from {bits(self.raw):.4g} bits")
        return html.block(
            self.quantity,
            html.table(("", ""), rows),
            *(html.paragraph(text) for text in (*warnings, *self.notices)),
        )


@dataclass(frozen=True, eq=False)
class MapEstimates:
    """Estimates of the information of m maps about one label, in nats, NaN for unusable maps.

    Draws and shuffles are the same for all maps (draw i of one map belongs to draw i of another),
    so that ranks have intervals and blocks of maps can be joined.
    """

    raw: np.ndarray
    """(m,): the estimates as they come out, possibly under 0."""
    ceiling: np.ndarray
    """(m,): the largest value that each can take."""
    per_class_raw: np.ndarray
    """(m, classes): information about being of a class or not; NaN where it was not asked for."""
    class_ceiling: np.ndarray
    """(classes,): the largest values that these can take."""
    draws: np.ndarray
    """(draws, m): the estimate under resampling, centred on `raw`."""
    null: np.ndarray
    """(shuffles, m): the estimate from shuffled labels."""
    notices: tuple[tuple[str, ...], ...] = ()
    """(m,): what a reader has to know of each map's number; empty where a family has none."""
    estimator: str = ""
    """Name of the family."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What the values depend on besides the data."""
    n: int = 0
    """Samples."""
    d: int = 0
    """Nodes of a map."""
    seed: int = 0
    per_class_ends: np.ndarray | None = None
    """(m, classes, 2): 95 % intervals of `per_class_raw`; None where a family has none."""
    per_class_p: np.ndarray | None = None
    """(m, classes): one-sided p-values of `per_class_raw` against shuffled labels."""

    @property
    def mi(self) -> np.ndarray:
        """(m,): the estimates, clipped to 0 and the ceiling."""
        return np.clip(self.raw, 0.0, self.ceiling)

    @property
    def bits(self) -> np.ndarray:
        """(m,): the same in bits."""
        return bits(self.mi)

    @property
    def unit(self) -> str:
        """The unit of everything that is shown."""
        return "bits"

    @property
    def per_class(self) -> np.ndarray:
        """(m, classes): one-vs-rest, clipped to 0 and the ceilings."""
        return np.clip(self.per_class_raw, 0.0, self.class_ceiling)

    @property
    def per_class_low(self) -> np.ndarray | None:
        """(m, classes): lower ends of the intervals of `per_class`; None where there are none."""
        if self.per_class_ends is None:
            return None
        return np.clip(self.per_class_ends[..., 0], 0.0, self.per_class)

    @property
    def per_class_high(self) -> np.ndarray | None:
        """(m, classes): their upper ends."""
        if self.per_class_ends is None:
            return None
        return np.clip(self.per_class_ends[..., 1], self.per_class, self.class_ceiling)

    @property
    def low(self) -> np.ndarray:
        """(m,): lower ends of the 95 % intervals."""
        return np.clip(quantiles(self.draws, (1 - LEVEL) / 2), 0.0, self.mi)

    @property
    def high(self) -> np.ndarray:
        """(m,): upper ends of the 95 % intervals."""
        return np.clip(quantiles(self.draws, (1 + LEVEL) / 2), self.mi, self.ceiling)

    @property
    def p_value(self) -> np.ndarray:
        """(m,): one-sided, against shuffled labels; pooled over these maps if shuffles are few."""
        return p_values(self.raw, self.null)

    @property
    def saturated(self) -> np.ndarray:
        """(m,) bool: within 2 % of the ceiling."""
        return self.mi >= SATURATED * self.ceiling

    def spread(self, usable: np.ndarray) -> MapEstimates:
        """The same estimates at the True places of `usable`, NaN at the others."""
        places = np.flatnonzero(usable)
        changed: dict[str, Any] = {
            name: _spread(getattr(self, name), axis, places, len(usable))
            for name, axis in _MAP_AXES.items()
            if getattr(self, name) is not None
        }
        if self.notices:
            told = dict(zip(places.tolist(), self.notices, strict=True))
            changed["notices"] = tuple(told.get(place, ()) for place in range(len(usable)))
        return replace(self, **changed)


_MAP_AXES = {
    "raw": 0,
    "ceiling": 0,
    "per_class_raw": 0,
    "per_class_ends": 0,
    "per_class_p": 0,
    "draws": 1,
    "null": 1,
}


def joined(parts: list[MapEstimates]) -> MapEstimates:
    """Blocks of maps as one, in the order given."""
    values: dict[str, Any] = {
        one.name: np.concatenate(
            [getattr(part, one.name) for part in parts], axis=_MAP_AXES[one.name]
        )
        if one.name in _MAP_AXES and getattr(parts[0], one.name) is not None
        else getattr(parts[0], one.name)
        for one in fields(MapEstimates)
    }
    values["notices"] = tuple(told for part in parts for told in part.notices)
    return MapEstimates(**values)


def _spread(values: np.ndarray, axis: int, places: np.ndarray, count: int) -> np.ndarray:
    shape = list(values.shape)
    shape[axis] = count
    result = np.full(shape, np.nan)
    result[(slice(None),) * axis + (places,)] = values
    return result


def quantile_ends(values: np.ndarray) -> np.ndarray:
    """(m, 2): ends of the 95 % interval of every column of (draws, m)."""
    return np.stack([quantiles(values, (1 + side * LEVEL) / 2) for side in (-1, 1)], axis=1)


def quantiles(values: np.ndarray, share: float) -> np.ndarray:
    """(m,): quantile of every column of (draws, m), NaN for columns of NaN."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    return np.quantile(values, share, axis=0)


@dataclass(frozen=True, eq=False)
class LabelledResponses:
    """Responses and labels that are checked, and what is asked of every map."""

    responses: np.ndarray
    """(n, m, d) float32 or float64, finite."""
    codes: np.ndarray
    """(n,) int, 0 to classes - 1; two classes or more, every one seen twice or more."""
    seed: int = 0
    shuffles: int = 0
    """Of the labels, for the null."""
    draws: int = 0
    """For the intervals."""
    one_vs_rest: bool = True
    """The information about being of each class or not is asked for, too."""

    @property
    def maps(self) -> int:
        """How many maps there are."""
        return self.responses.shape[1]
