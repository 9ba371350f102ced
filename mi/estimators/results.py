"""Estimates with their intervals, p-values and ceilings: one number, or one for each map."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import html
from oip.core.records import Parameters
from oip.core.units import bits
from oip.mi.permutation_test import p_values

if TYPE_CHECKING:
    from pandas import DataFrame

SATURATED = 0.98
"""Share of its ceiling from which an estimate says nothing about an order."""
_NOTHING = 1e-9
"""Nats under which a ceiling is 0, but for rounding."""
LEVEL = 0.95
"""Of every interval."""
ENOUGH_DRAWS = 200
"""Draws from which their quantiles are the ends of an interval."""
COVERS = "the spread of this estimator over samples of this size, not its bias"
"""What an interval is of."""
_FEWEST_DRAWS = 2
_FEWEST_FOR_BIAS = 10
_ROWS = 20


@dataclass(frozen=True, repr=False)
class Estimate:
    """An estimate of an information quantity, with its interval, p-value and ceiling.

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
    """Lower end of the 95 % interval, in nats. It covers the estimator's own mean over samples of
    this size: how far new samples would move the estimate, not how far it is from the truth."""
    high: float | None = None
    """Upper end of the 95 % interval, in nats."""
    p_value: float | None = None
    """Against shuffled samples, one-sided; None if no null was made."""
    raw: float | None = None
    """The value before it was clipped, in nats; None if it was not."""
    seed: int = 0
    notices: tuple[str, ...] = ()
    """What a reader has to know before using the number."""
    chance: float | None = None
    """Mean over shuffled samples, in nats, as the value is shown (0 at least): what this estimator
    gives without any information at this n and d; None if no null was made."""
    least: float = 0.0
    """The value without any information, in nats: the entropy of the noise where x is measured with
    noise added, else 0. A share of the ceiling is counted from here."""

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
        """Whether it is within 2 % of the ceiling, no ground for an order; False if that is 0."""
        return self.share is not None and self.share >= SATURATED

    @property
    def share(self) -> float | None:
        """The estimate as a share of its ceiling, I / H(Y) for a label; None without a ceiling."""
        if self.ceiling is None or self.ceiling <= self.least + _NOTHING:
            return None
        return (self.nats - self.least) / (self.ceiling - self.least)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, information in bits; the value in nats, too."""
        return {
            "quantity": self.quantity,
            "estimator": self.estimator,
            "parameters": self.parameters,
            "value": self.bits,
            "unit": self.unit,
            "nats": self.nats,
            "low": bits_or_none(self.low),
            "high": bits_or_none(self.high),
            "interval_covers": None if self.low is None else COVERS,
            "p_value": self.p_value,
            "chance": bits_or_none(self.chance),
            "ceiling": bits_or_none(self.ceiling),
            "saturated": self.saturated,
            "raw": bits_or_none(self.raw),
            "n": self.n,
            "d": self.d,
            "seed": self.seed,
            "notices": list(self.notices),
        }

    def to_pandas(self) -> DataFrame:
        """Return a table of one row, information in bits."""
        import pandas

        left_out = ("parameters", "nats", "notices")
        values = self.to_dict()
        row = {name: value for name, value in values.items() if name not in left_out}
        return pandas.DataFrame([row])

    def __repr__(self) -> str:
        return f"<Estimate: {self._value}, {self.estimator}, n = {self.n}>"

    def __str__(self) -> str:
        text = f"{self._value}, {self._method}, n = {self.n}"
        if self.p_value is not None:
            text += f", p = {self.p_value:.2g}"
        if self.chance is not None:
            text += f", chance {bits(self.chance):z.3g} bits"
        if self.ceiling is not None:
            text += f", ceiling {bits(self.ceiling):.4g} bits"
        if self.raw is not None:
            text += f", clipped from {bits(self.raw):z.4g} bits"
        text += ", saturated" if self.saturated else ""
        return " ".join([f"{text}.", *self.notices]) if self.notices else text

    def _repr_html_(self) -> str:
        rows = [
            ("value, bits", self.bits),
            ("95 %", self.interval and "{:.4g} to {:.4g}".format(*self.interval)),
            ("the interval covers", self.interval and COVERS),
            ("ceiling, bits", bits_or_none(self.ceiling)),
            ("p", None if self.p_value is None else f"{self.p_value:.2g}"),
            ("chance, bits", bits_or_none(self.chance)),
            ("samples", self.n),
            ("estimator", self._method),
        ]
        warnings = ["saturated: no ground for an order"] if self.saturated else []
        if self.raw is not None:
            warnings.append(f"clipped from {bits(self.raw):.4g} bits")
        return html.block(
            self.quantity,
            html.table(("", ""), rows),
            *(html.paragraph(text) for text in (*warnings, *self.notices)),
        )

    @property
    def _value(self) -> str:
        between = " (95 %: {:.4g} to {:.4g})".format(*self.interval) if self.interval else ""
        return f"{self.quantity} = {self.bits:z.4g} bits{between}"

    @property
    def _method(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.parameters.items())
        return f"{self.estimator} ({settings})"


def bits_or_none(nats: Any) -> Any:
    """Return a number or an array of them in bits, None for None."""
    return None if nats is None else bits(nats)


@dataclass(frozen=True, eq=False, repr=False)
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
    """(m, classes): information about being of a class or not; NaN where it was not estimated."""
    class_ceiling: np.ndarray
    """(classes,): the largest values that these can take."""
    draws: np.ndarray
    """(draws, m): of each estimate about `raw`, as samples of this size would spread it, without
    its bias."""
    null: np.ndarray
    """(shuffles, m): the estimate from shuffled labels."""
    notices: tuple[tuple[str, ...], ...] = ()
    """(m,): what a reader has to know of each map's number; empty where an estimator has none."""
    estimator: str = ""
    parameters: Parameters = field(default_factory=dict)
    """The settings that the values depend on."""
    n: int = 0
    """Samples."""
    d: int = 0
    """Nodes of a map."""
    seed: int = 0
    per_class_ends: np.ndarray | None = None
    """(m, classes, 2): 95 % intervals of `per_class_raw`; None where an estimator has none."""
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
        return np.clip(self._ends[:, 0], 0.0, self.mi)

    @property
    def high(self) -> np.ndarray:
        """(m,): upper ends of the 95 % intervals."""
        return np.clip(self._ends[:, 1], self.mi, self.ceiling)

    @cached_property
    def _ends(self) -> np.ndarray:
        return interval_ends(self.raw, self.draws)

    def widened(self, factor: float) -> MapEstimates:
        """Return the estimates with draws and intervals of classes as many times as wide."""
        if factor == 1.0:
            return self
        intervals, center = self.per_class_ends, self.per_class_raw[..., None]
        return replace(
            self,
            draws=self.raw + factor * (self.draws - self.raw),
            per_class_ends=None if intervals is None else center + factor * (intervals - center),
        )

    @property
    def p_value(self) -> np.ndarray:
        """(m,): one-sided, against shuffled labels; pooled over these maps if shuffles are few."""
        return p_values(self.raw, self.null)

    @property
    def chance(self) -> np.ndarray:
        """(m,): the mean over shuffled labels, 0 at least as `mi` is; NaN without any."""
        if not len(self.null):
            return np.full(len(self.raw), np.nan)
        return np.maximum(self.null.mean(axis=0), 0.0)

    @property
    def bias(self) -> np.ndarray:
        """(m,): what chance alone adds to each estimate, 0 unless that is sure.

        That is `chance` where it is above 0 by more than three standard errors of its mean.
        """
        if len(self.null) < _FEWEST_FOR_BIAS:
            return np.zeros(len(self.raw))
        error = self.null.std(axis=0) / np.sqrt(len(self.null))
        return np.where(self.chance > 3 * error, self.chance, 0.0)

    @property
    def saturated(self) -> np.ndarray:
        """(m,) bool: within 2 % of the ceiling; False where that is 0."""
        return (self.mi >= SATURATED * self.ceiling) & (self.ceiling > _NOTHING)

    def spread(self, usable: np.ndarray) -> MapEstimates:
        """Return the estimates in the True rows of `usable` (rows,) bool, NaN in the others."""
        rows = np.flatnonzero(usable)
        changed: dict[str, object] = {
            name: _spread(getattr(self, name), axis, rows, len(usable))
            for name, axis in _MAP_AXES.items()
            if getattr(self, name) is not None
        }
        if self.notices:
            notices = dict(zip(rows.tolist(), self.notices, strict=True))
            changed["notices"] = tuple(notices.get(row, ()) for row in range(len(usable)))
        return replace(self, **changed)

    def to_pandas(self) -> DataFrame:
        """Return a row for each map; information in bits."""
        import pandas

        columns = {
            "mi": self.bits,
            "low": bits(self.low),
            "high": bits(self.high),
            "p_value": self.p_value,
            "chance": bits(self.chance),
            "ceiling": bits(self.ceiling),
            "saturated": self.saturated,
        }
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        best = np.argsort(-np.nan_to_num(self.mi, nan=-1.0), kind="stable")[:3]
        listed = ", ".join(f"{row} ({self.bits[row]:z.3g} bits)" for row in best)
        return f"<MapEstimates: {len(self.raw)} maps by {self.estimator}, n = {self.n}; {listed}>"

    def _repr_html_(self) -> str:
        table = self.to_pandas().head(_ROWS)
        rows = [(row, *values) for row, values in zip(table.index, table.to_numpy(), strict=True)]
        return html.block(
            f"{len(self.raw)} maps, {self.estimator}, bits",
            html.table(("row", *table.columns), rows, len(self.raw) - len(rows)),
        )


_MAP_AXES = {
    "raw": 0,
    "ceiling": 0,
    "per_class_raw": 0,
    "per_class_ends": 0,
    "per_class_p": 0,
    "draws": 1,
    "null": 1,
}


def join_blocks(blocks: list[MapEstimates]) -> MapEstimates:
    """Return blocks of maps as one, in the order given."""
    values: dict[str, Any] = {}
    for name in (item.name for item in fields(MapEstimates)):
        first_block = getattr(blocks[0], name)
        if name in _MAP_AXES and first_block is not None:
            arrays = [getattr(block, name) for block in blocks]
            values[name] = np.concatenate(arrays, axis=_MAP_AXES[name])
        else:
            values[name] = first_block
    values["notices"] = tuple(notices for block in blocks for notices in block.notices)
    return MapEstimates(**values)


def _spread(values: np.ndarray, axis: int, rows: np.ndarray, count: int) -> np.ndarray:
    shape = list(values.shape)
    shape[axis] = count
    result = np.full(shape, np.nan)
    result[(slice(None),) * axis + (rows,)] = values
    return result


def interval_ends(values: np.ndarray | float, draws: np.ndarray) -> np.ndarray:
    """Return the ends (..., 2) of the 95 % intervals of values (...) from draws (draws, ...).

    Quantiles of the draws from `ENOUGH_DRAWS` on. With fewer, Student's t with a degree of freedom
    for each pair of draws, since quantiles of 20 draws are as good as their extremes, and too near.
    NaN with fewer than two draws.
    """
    from scipy.special import stdtrit

    if len(draws) < _FEWEST_DRAWS:
        return np.full((*np.shape(values), 2), np.nan)
    if len(draws) >= ENOUGH_DRAWS:
        return np.moveaxis(np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0), 0, -1)
    deviation = np.sqrt(((draws - values) ** 2).mean(axis=0))
    reach = stdtrit(len(draws) // 2, (1 + LEVEL) / 2) * deviation
    return np.stack([values - reach, values + reach], axis=-1)


@dataclass(frozen=True, eq=False)
class LabelledResponses:
    """Checked responses and labels, and the estimates requested for every map."""

    responses: np.ndarray
    """(n, m, d) float32 or float64, finite."""
    codes: np.ndarray
    """(n,) int, 0 to classes - 1; two classes or more, each of two samples or more."""
    seed: int = 0
    shuffles: int = 0
    """Of the labels, for the null."""
    draws: int = 0
    """Random halves, for the intervals."""
    one_vs_rest: bool = True
    """Also estimate the information about being of each class or not."""

    @property
    def maps(self) -> int:
        """The number of maps."""
        return self.responses.shape[1]
