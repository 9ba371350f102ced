"""A ranking: the estimates of a layer's maps, their order, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mi.agreement import kendall
from mi.estimators.base import LabelEstimator
from mi.estimators.results import MapEstimates
from mi.nulls import adjusted
from mi.ranks import rank_intervals, ranks
from oip.core import notebook, plots
from oip.core.errors import SettingsError, expected
from oip.core.units import bits

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

WITH_ORDER = "predictive"
"""The estimator that tells maps apart where others put them at their ceiling."""
_MOSTLY = 0.5
_BARS = 256
_ROWS = 20


@dataclass(frozen=True, eq=False)
class Estimated:
    """What one estimator says of the maps; information in bits, NaN for maps without a number."""

    estimator: str
    name_shown: str
    parameters: dict[str, Any]
    held_out: bool
    mi: np.ndarray
    """(m,)"""
    raw: np.ndarray
    """(m,): before negative estimates are shown as 0."""
    low: np.ndarray
    """(m,): lower end of the 95 % interval."""
    high: np.ndarray
    """(m,): upper end of the 95 % interval."""
    p_value: np.ndarray
    """(m,): against shuffled labels."""
    p_adjusted: np.ndarray
    """(m,): for the number of maps, by Benjamini and Hochberg."""
    saturated: np.ndarray
    """(m,) bool: within 2 % of the ceiling."""
    per_class: np.ndarray
    """(m, classes): about being of a class or not."""
    per_class_low: np.ndarray | None
    """(m, classes): lower ends of their 95 % intervals; None where the estimator has none."""
    per_class_high: np.ndarray | None
    """(m, classes): upper ends."""
    per_class_p: np.ndarray | None
    """(m, classes): against shuffled labels, adjusted for the number of maps and classes."""
    class_ceiling: np.ndarray
    """(classes,): the largest values that these can take."""
    ceiling: float
    """Entropy of the label."""
    ordered: bool
    """The ranks are an order. If not, so many maps are at the ceiling that there is none. In any
    case those at the ceiling of a bound that is not held out share the first places, by number."""
    rank: np.ndarray
    """(m,) int: 1 is the most informative."""
    rank_low: np.ndarray
    """(m,) int: first place in 95 % of the draws."""
    rank_high: np.ndarray
    """(m,) int: last place in 95 % of the draws."""
    input: np.ndarray | None = None
    """(m,): what the response tells of the input; None if that was not asked or cannot be told."""

    @classmethod
    def of(
        cls, one: LabelEstimator, estimates: MapEstimates, about_input: np.ndarray | None = None
    ) -> Estimated:
        """What is shown of an estimator's result for a whole layer.

        Args:
            one: the estimator.
            estimates: of all maps, in nats.
            about_input: (m,) nats about the input, or None.
        """
        finite = np.isfinite(estimates.raw)
        ordered = one.held_out or estimates.saturated[finite].mean() <= _MOSTLY
        low, high = rank_intervals(estimates, one.held_out)
        p = estimates.p_value
        return cls(
            estimator=one.name,
            name_shown=one.name_shown,
            parameters=one.parameters,
            held_out=one.held_out,
            mi=bits(estimates.mi),
            raw=bits(estimates.raw),
            low=bits(estimates.low),
            high=bits(estimates.high),
            p_value=p,
            p_adjusted=adjusted(p),
            saturated=estimates.saturated,
            per_class=bits(estimates.per_class),
            per_class_low=_bits(estimates.per_class_low),
            per_class_high=_bits(estimates.per_class_high),
            per_class_p=_adjusted(estimates.per_class_p),
            class_ceiling=bits(estimates.class_ceiling),
            ceiling=float(bits(np.nanmax(estimates.ceiling))),
            ordered=bool(ordered),
            rank=ranks(estimates, one.held_out),
            rank_low=low,
            rank_high=high,
            input=None if about_input is None else bits(about_input),
        )

    @property
    def class_share(self) -> np.ndarray:
        """(m, classes): of what there is to know about being of the class or not, 0 to 1."""
        return self.per_class / self.class_ceiling

    @property
    def about_classes(self) -> dict[str, np.ndarray | None]:
        """What is known of `per_class` beside its values."""
        names = ("per_class_low", "per_class_high", "per_class_p")
        return {name: getattr(self, name) for name in names}

    @property
    def saturated_share(self) -> float:
        """Share of the maps with a number that are at the ceiling."""
        return float(self.saturated[np.isfinite(self.mi)].mean())

    @property
    def order(self) -> np.ndarray:
        """(m,) int: rows, the most informative first."""
        return np.argsort(self.rank)

    @property
    def notices(self) -> list[str]:
        """What a reader has to know before using the numbers."""
        told = []
        if not self.ordered:
            told.append(
                f"{self.estimator}: {self.saturated_share:.0%} of the maps are saturated (within "
                f"2 % of {self.ceiling:.3g} bits); their order is noise. Use '{WITH_ORDER}'."
            )
        elif self.saturated.any() and not self.held_out:
            told.append(
                f"{self.estimator}: {self.saturated.sum()} maps are saturated (within 2 % of "
                f"{self.ceiling:.3g} bits) and share the first places."
            )
        below = int((self.raw < 0).sum())
        if below:
            some = "estimate under 0 is" if below == 1 else "estimates under 0 are"
            told.append(f"{self.estimator}: {below} {some} shown as 0.")
        return told


@dataclass(frozen=True, eq=False)
class Ranking:
    """The maps of one layer and what they know about the label."""

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: map numbers; the rows of all arrays."""
    classes: tuple[str, ...]
    estimated: tuple[Estimated, ...]
    """One for each estimator, the default order first."""
    samples: int
    split: str
    at: str
    seed: int
    responses: dict[str, np.ndarray] = field(repr=False)
    """Best images and response histograms of every map, see `oip.run.directory.Run.responses`."""
    notices: tuple[str, ...] = ()

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the most informative first, by the first estimator."""
        return self.maps[self.estimated[0].order]

    @property
    def all_notices(self) -> list[str]:
        """What was left out or clipped, and which orders are none."""
        return [*self.notices, *(text for one in self.estimated for text in one.notices)]

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def agreement(self) -> list[tuple[str, str, float]]:
        """Kendall's tau-b of the orders by every two estimators; NaN where one of them is none."""
        return [
            (
                one.estimator,
                other.estimator,
                kendall(one.mi, other.mi) if one.ordered and other.ordered else float("nan"),
            )
            for one, other in combinations(self.estimated, 2)
        ]

    def by(self, estimator: str) -> Estimated:
        """What one estimator says.

        Raises:
            SettingsError: it was not asked.
        """
        for one in self.estimated:
            if one.estimator == estimator:
                return one
        names = ", ".join(one.estimator for one in self.estimated)
        raise SettingsError(expected("estimator of this ranking", names, f"'{estimator}'"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values as `oip rank --json` prints them for a layer; information in bits."""
        return {
            "layer": self.layer,
            "index": self.index,
            "at": self.at,
            "classes": list(self.classes),
            "notices": list(self.notices),
            "agreement": [
                {"estimators": [first, second], "kendall": _number(tau)}
                for first, second, tau in self.agreement
            ],
            "estimators": [self._told(one) for one in self.estimated],
        }

    def to_pandas(self) -> DataFrame:
        """A row for each map and estimator, in the order of the first; information in bits."""
        import pandas

        rows = []
        for one in self.estimated:
            for place in one.order:
                row = self._map(one, place)
                for name in ("per_class_share", *one.about_classes):
                    del row[name]
                per_class = row.pop("per_class") or [None] * len(self.classes)
                rows.append(
                    {
                        "layer": self.layer,
                        "estimator": one.estimator,
                        **row,
                        **{
                            f"mi:{name}": v for name, v in zip(self.classes, per_class, strict=True)
                        },
                    }
                )
        return pandas.DataFrame(rows)

    def plot(self) -> Figure:
        """Bars of the information with intervals and ceiling, one panel an estimator."""
        count = len(self.estimated)
        figure, panels = plots.figure(7.0, 0.3 + 2.2 * count, rows=count)
        for axes, one in zip(panels.flat, self.estimated, strict=True):
            order = one.order[:_BARS]
            mi = np.nan_to_num(one.mi[order])
            error = np.nan_to_num(np.stack([mi - one.low[order], one.high[order] - mi]))
            places = np.arange(len(order))
            axes.bar(places, mi, width=0.8, color=plots.PALETTE[0])
            axes.errorbar(places, mi, np.maximum(error, 0), fmt="none", ecolor="black", lw=0.8)
            axes.axhline(one.ceiling, color=plots.PALETTE[1], lw=1, ls="--", label="ceiling")
            if len(order) <= 64:
                names = [str(number) for number in self.maps[order]]
                axes.set_xticks(places, names, fontsize=plots.SMALL - 1, rotation=90)
            else:
                axes.set_xticks([])
            axes.set_xlabel("map, by rank" if one.ordered else "map (saturated: no order)")
            axes.set_ylabel("bits")
            axes.set_title(one.name_shown, fontsize=plots.FONT)
            axes.legend(loc="upper right", frameon=False, fontsize=plots.SMALL)
        figure.suptitle(plots.printable(self._title()), fontsize=plots.FONT + 1)
        return figure

    def _title(self) -> str:
        where = f", {self.split}" if self.split else ""
        return f"{self.layer}: {len(self)} maps, {self.samples} images{where}"

    def _told(self, one: Estimated) -> dict[str, Any]:
        return {
            "estimator": one.estimator,
            "name_shown": one.name_shown,
            "parameters": one.parameters,
            "unit": "bits",
            "samples": self.samples,
            "split": self.split,
            "ceiling": one.ceiling,
            "class_ceilings": one.class_ceiling.tolist(),
            "input_ceiling": None if one.input is None else float(np.log2(self.samples)),
            "saturated_share": one.saturated_share,
            "ordered": one.ordered,
            "notices": one.notices,
            "maps": [self._map(one, place) for place in one.order],
        }

    def _map(self, one: Estimated, place: int) -> dict[str, Any]:
        known = bool(np.isfinite(one.mi[place]))
        return {
            "map": int(self.maps[place]),
            "rank": int(one.rank[place]),
            "rank_low": int(one.rank_low[place]),
            "rank_high": int(one.rank_high[place]),
            "mi": _number(one.mi[place]),
            "low": _number(one.low[place]),
            "high": _number(one.high[place]),
            "p_value": _number(one.p_value[place]),
            "p_adjusted": _number(one.p_adjusted[place]),
            "saturated": bool(one.saturated[place]),
            "raw": _number(one.raw[place]),
            "per_class": one.per_class[place].tolist() if known else None,
            "per_class_share": one.class_share[place].tolist() if known else None,
            **{
                name: None if values is None or not known else _numbers(values[place])
                for name, values in one.about_classes.items()
            },
            "input": None if one.input is None else _number(one.input[place]),
        }

    def _repr_html_(self) -> str:
        first = self.estimated[0]
        rows = [
            (
                int(first.rank[place]) if first.ordered else None,
                int(self.maps[place]),
                float(first.mi[place]),
                f"{first.low[place]:.3f} to {first.high[place]:.3f}",
                f"{first.p_adjusted[place]:.2g}",
            )
            for place in first.order[:_ROWS]
        ]
        return notebook.block(
            self._title(),
            notebook.paragraph(f"{first.name_shown}, of {first.ceiling:.3f} bits"),
            *(notebook.paragraph(text) for text in self.all_notices),
            notebook.table(
                ("rank", "map", "bits", "95 %", "p (adjusted)"), rows, len(self) - len(rows)
            ),
        )


def _bits(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else bits(values)


def _adjusted(p: np.ndarray | None) -> np.ndarray | None:
    return None if p is None else adjusted(p.ravel()).reshape(p.shape)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
