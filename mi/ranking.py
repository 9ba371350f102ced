"""Which maps of a layer know most about the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import html, plots
from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress, automatic
from oip.core.units import bits
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator
from oip.mi.estimators.registry import able, label_estimator
from oip.mi.estimators.results import LEVEL, MapEstimates, joined
from oip.mi.layer_sample import BYTE_BUDGET, At, LayerSample
from oip.mi.permutation_test import ENOUGH, adjusted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from oip.network.layers import LayerInfo


def ranks(estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """(m,) int: 1 for the most informative map; equal ones in the order given.

    Args:
        estimates: of the maps of a layer; NaN ranks last.
        ordered: estimates at their ceiling differ by what they are worth. If not, they share the
            first places in the order given.
    """
    result = np.empty(len(estimates.raw), int)
    order = np.argsort(-_compared(estimates.raw, estimates, ordered), kind="stable")
    result[order] = np.arange(1, len(order) + 1)
    return result


def rank_intervals(estimates: MapEstimates, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rank of each map in 95 % of the draws, (m,) int each.

    A draw resamples the images in the same way for all maps, so that what they share does not blur
    their order. Maps that are equal in a draw all have the first to the last of their places in it.

    Returns:
        First and last rank; the map's own rank lies between them. Without draws nothing is known:
        the first and the last place.
    """
    own = ranks(estimates, ordered)
    if not len(estimates.draws):
        return np.ones_like(own), np.full_like(own, len(own))
    drawn = _compared(estimates.draws, estimates, ordered)
    first = np.empty(drawn.shape)
    last = np.empty(drawn.shape)
    for place, row in enumerate(drawn):
        upward = np.sort(-row)
        first[place] = np.searchsorted(upward, -row, side="left") + 1
        last[place] = np.searchsorted(upward, -row, side="right")
    low = np.quantile(first, (1 - LEVEL) / 2, axis=0, method="lower").astype(int)
    high = np.quantile(last, (1 + LEVEL) / 2, axis=0, method="higher").astype(int)
    return np.minimum(low, own), np.maximum(high, own)


def _compared(values: np.ndarray, estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """(..., m): values under 0 are as good as 0, maps without a number come after all."""
    shown = np.where(np.isfinite(values), np.maximum(values, 0.0), -1.0)
    return shown if ordered else np.where(estimates.saturated, np.inf, shown)


BEST = 9
BINS = 24


def summarise(
    values: np.ndarray, size: tuple[int, ...], codes: np.ndarray, classes: int, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Best images and histograms of some maps.

    An image excites a map if the spatial mean of the map's response to it is above 0.

    Args:
        values: (n, m, d) responses.
        size: nodes along each spatial axis; their product is d.
        codes: (n,) int, class of each image.
        classes: how many.
        places: (n,) int, the images' places in what the user gave.

    Returns:
        `best_images` (m, 9) int64, -1 where fewer excite the map; `best_scores` (m, 9) float32, NaN
        there; `best_positions` (m, 9, 2) int32, row and column of the strongest node, -1 there;
        `edges` (m, bins + 1) float32; `histogram` (m, classes, bins) int32 of the spatial mean;
        `active` (m,) float32, share of the images that excite the map. A map with responses that
        are not finite has no best images, NaN edges, zeros and NaN.
    """
    maps = values.shape[1]
    means = values.mean(axis=2, dtype=np.float64)
    shape = (1, *size) if len(size) == 1 else size
    result = {
        "best_images": np.full((maps, BEST), -1, np.int64),
        "best_scores": np.full((maps, BEST), np.nan, np.float32),
        "best_positions": np.full((maps, BEST, 2), -1, np.int32),
        "edges": np.full((maps, BINS + 1), np.nan, np.float32),
        "histogram": np.zeros((maps, classes, BINS), np.int32),
        "active": np.full(maps, np.nan, np.float32),
    }
    for row in range(maps):
        scores = means[:, row]
        if not np.isfinite(scores).all():
            continue
        best = np.argsort(-scores, kind="stable")[:BEST]
        best = best[scores[best] > 0]
        strongest = np.unravel_index(values[best, row].argmax(axis=1), shape)
        result["best_images"][row, : len(best)] = places[best]
        result["best_scores"][row, : len(best)] = scores[best]
        result["best_positions"][row, : len(best)] = np.stack(strongest[-2:], axis=1)
        edges = np.linspace(scores.min(), scores.max(), BINS + 1)
        if edges[0] == edges[-1]:
            edges = edges[0] + np.linspace(0.0, max(1.0, abs(edges[0])), BINS + 1)
        bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
        np.add.at(result["histogram"][row], (codes, bins), 1)
        result["edges"][row] = edges
        result["active"][row] = (scores > 0).mean()
    return result


_FEWEST = 3


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two values a map; equal values share their mean rank.

    Args:
        first, second: (m,); maps that are NaN in one of them are left out.

    Returns:
        -1 to 1; NaN of fewer than three maps, or where one of them is constant.
    """
    return _correlation("spearmanr", first, second)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b: pairs of maps in the same order less those in the other, ties allowed for.

    Args:
        first, second: (m,); maps that are NaN in one of them are left out.

    Returns:
        -1 to 1; NaN of fewer than three maps, or where one of them is constant.

    References:
        M. G. Kendall: The treatment of ties in ranking problems. Biometrika 33 (1945) 239.
    """
    return _correlation("kendalltau", first, second)


def _correlation(kind: str, first: np.ndarray, second: np.ndarray) -> float:
    from scipy import stats

    known = np.isfinite(first) & np.isfinite(second)
    a, b = np.asarray(first)[known], np.asarray(second)[known]
    if len(a) < _FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(getattr(stats, kind)(a, b)[0])


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
        ordered = one.abilities.held_out or estimates.saturated[finite].mean() <= _MOSTLY
        low, high = rank_intervals(estimates, one.abilities.held_out)
        p = estimates.p_value
        return cls(
            estimator=one.name,
            name_shown=one.name_shown,
            parameters=one.parameters,
            held_out=one.abilities.held_out,
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
            rank=ranks(estimates, one.abilities.held_out),
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
    """Best images and response histograms of every map, see `oip.run.run.Run.responses`."""
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
        return html.block(
            self._title(),
            html.paragraph(f"{first.name_shown}, of {first.ceiling:.3f} bits"),
            *(html.paragraph(text) for text in self.all_notices),
            html.table(
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


DEFAULT_ESTIMATORS = ("predictive", "kde")
_POOLED_SHUFFLES = 4000
_FEWEST_SHUFFLES = 40


def rank(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    estimators: Sequence[str | Estimator] = DEFAULT_ESTIMATORS,
    samples: int = 2000,
    at: At = "response",
    seed: int = 0,
    progress: Progress = automatic,
    classes: Sequence[str] | None = None,
    split: str = "",
    with_input: bool = False,
    byte_budget: int = BYTE_BUDGET,
) -> Ranking:
    """Orders the maps of a layer by what their responses know about the label.

    The first estimator gives the default order. `predictive` (usable information, a held-out lower
    bound) tells maps apart that other estimators put at their ceiling, and is the default because
    its order agrees best with judges that it has never seen (`tests/benchmarks/ranking.py`).

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them.
        labels: (n,) whole numbers, booleans or strings, or one-hot rows.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        maps: map numbers; all if None.
        estimators: names, or estimators with parameters of their own.
        samples: most images that are used, in the shares of their classes.
        at: the response after its activation, or the block output after the pooling that follows.
        seed: of the subsample, the folds and the shuffles.
        progress: is told how many maps are done.
        classes: names; the label k is shown as `classes[k]`.
        split: what the images are, such as "mnist:test"; shown with the result.
        with_input: also what each map tells of the input, by those estimators that can.
        byte_budget: for the responses that are in memory at a time.

    Returns:
        The ranking, in bits wherever it is shown, with the images that excite each map.

    Raises:
        ModelError, SettingsError: an unknown layer, map, estimator or parameter.
        DataError: images or labels that cannot be used.
        NoFiniteResponses: no map of the layer has finite responses.

    Example:
        >>> ranking = mi.rank("model.keras", images, labels, "Conv2D_3")  # doctest: +SKIP
        >>> ranking.to_pandas().head()  # doctest: +SKIP
    """
    chosen = _chosen(estimators, with_input)
    sample = LayerSample.draw(
        model_or_path,
        images,
        labels,
        layer,
        maps=maps,
        at=at,
        samples=samples,
        seed=seed,
        classes=classes,
    )
    codes = sample.codes
    shuffles = max(_FEWEST_SHUFFLES, -(-_POOLED_SHUFFLES // len(sample.maps)))
    finite: list[np.ndarray] = []
    summaries: list[dict[str, np.ndarray]] = []
    parts: dict[str, list[MapEstimates]] = {one.name: [] for one in chosen}
    inputs: dict[str, list[np.ndarray]] = {one.name: [] for one in chosen}
    for block in sample.responses(byte_budget, progress, "ranking"):
        finite.append(block.finite)
        summaries.append(
            summarise(block.values, sample.size, codes, len(sample.classes), sample.indices)
        )
        if block.finite.any():
            good = block.values if block.finite.all() else block.values[:, block.finite]
            for one in chosen:
                most = ENOUGH if one.abilities.cheap_null else min(shuffles, ENOUGH)
                count = most if one.shuffles else 0
                parts[one.name].append(one.over_maps(good, codes, seed, count, one.map_draws))
                if with_input and one.can("input_information"):
                    inputs[one.name].append(_about_input(one, good, seed))
    usable = np.concatenate(finite)
    return Ranking(
        layer=sample.layer.name,
        index=sample.layer.index,
        maps=sample.maps,
        classes=sample.classes,
        estimated=tuple(
            Estimated.of(
                one,
                joined(parts[one.name]).spread(usable),
                _spread(inputs[one.name], usable),
            )
            for one in chosen
        ),
        samples=len(sample),
        split=split,
        at=at,
        seed=seed,
        responses={
            name: np.concatenate([summary[name] for summary in summaries]) for name in summaries[0]
        },
        notices=(*sample.notices, *_unusable(sample.maps[~usable])),
    )


def _chosen(estimators: Sequence[str | Estimator], with_input: bool) -> list[LabelEstimator]:
    asked = [estimators] if isinstance(estimators, (str, Estimator)) else list(estimators)
    if not asked:
        raise SettingsError(expected("estimators", "at least one", "none"))
    chosen = [label_estimator(one) for one in asked]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise SettingsError(expected("estimators", "each one once", ", ".join(names)))
    if with_input and not any(one.can("input_information") for one in chosen):
        able_ones = ", ".join(able("input_information"))
        wanted = f"one that tells of the input, of {able_ones}"
        raise SettingsError(expected("estimators", wanted, ", ".join(names)))
    return chosen


def _about_input(one: Estimator, values: np.ndarray, seed: int) -> np.ndarray:
    """(m,): what the responses (n, m, d) of each map tell of the input, in nats."""

    def told(place: int) -> float:
        value = one.input_information(values[:, place].astype(np.float64), seed)
        return float(np.clip(value.nats, 0.0, np.inf if value.ceiling is None else value.ceiling))

    return np.array(thread_map(told, range(values.shape[1])))


def _spread(parts: list[np.ndarray], usable: np.ndarray) -> np.ndarray | None:
    if not parts:
        return None
    result = np.full(len(usable), np.nan)
    result[usable] = np.concatenate(parts)
    return result


def _unusable(maps: np.ndarray) -> list[str]:
    if not maps.size:
        return []
    listed = ", ".join(str(number) for number in maps[:8]) + (", ..." if maps.size > 8 else "")
    return [f"{maps.size} maps have responses that are not finite and rank last: {listed}."]
