"""Rankings: how much each map of a layer knows about the label, by one estimator or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from oip.core import html, plots
from oip.core.errors import SettingsError
from oip.core.layer_formats import (
    Agreement,
    EstimatorRecord,
    MapInformation,
    RankingFile,
)
from oip.core.progress import Progress, automatic
from oip.core.units import (
    best_class,
    bits,
    class_medians,
    finite_list,
    finite_or_none,
    is_informative,
    three_best,
)
from oip.mi.backend import iterate_in_threads, thread_map
from oip.mi.estimators.base import Estimator, LabelEstimator, able, label_estimator
from oip.mi.estimators.results import (
    LEVEL,
    SATURATED,
    MapEstimates,
    bits_or_none,
    join_blocks,
)
from oip.mi.layer_sample import (
    BYTE_BUDGET,
    At,
    LayerResult,
    LayerSample,
    ResponseSummaries,
)
from oip.mi.permutation_test import ENOUGH, adjusted
from oip.mi.tags import over_tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from pandas import DataFrame

    from oip.core.files import Json
    from oip.core.records import Parameters
    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

DEFAULT_ESTIMATORS = ("predictive", "kde")
_POOLED_SHUFFLES = 4000
_FEWEST_SHUFFLES = 40
WITH_ORDER = "predictive"
"""The estimator that orders maps where other estimators put them at their ceiling."""
_MOST_SATURATED = 0.5
"""Share of saturated maps up to which ranks are an order."""
_MUCH_BY_CHANCE, _LITTLE_BITS = 0.25, 0.05
"""A share of an estimate that chance alone makes, and bits of chance, from which it is said."""
_FEWEST_CORRELATED = 3
_CHUNK = 8
"""Maps that are ranked between two reports of progress."""
_BARS = 256
_LABELED_BARS = 64
_ROWS = 20


def ranks(estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """Return (m,) int ranks: 1 for the most informative map, NaN last; equal maps share a rank.

    Maps are ordered by what they have above chance, see `MapEstimates.bias`; those with no more
    share the last rank of maps with a number. If not `ordered`, maps at their ceiling share the
    first one, unless shuffled labels are there, too.
    """
    falling = -_comparable(estimates.raw, estimates, ordered)
    return np.searchsorted(np.sort(falling), falling, side="left") + 1


def rank_intervals(estimates: MapEstimates, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest rank of each map in 95 % of the draws, (m,) int each.

    A draw resamples the images in the same way for all maps, so that what they share does not blur
    their order. Maps that are equal in a draw all have the first to the last of their ranks in it.
    The map's own rank lies between the two. Without draws they are the first and the last rank.
    """
    observed = ranks(estimates, ordered)
    if not len(estimates.draws):
        return np.ones_like(observed), np.full_like(observed, len(observed))
    draws = _comparable(estimates.draws, estimates, ordered)
    first_ranks = np.empty(draws.shape)
    last_ranks = np.empty(draws.shape)
    for index, draw in enumerate(draws):
        rising = np.sort(-draw)
        first_ranks[index] = np.searchsorted(rising, -draw, side="left") + 1
        last_ranks[index] = np.searchsorted(rising, -draw, side="right")
    low = np.quantile(first_ranks, (1 - LEVEL) / 2, axis=0, method="lower").astype(int)
    high = np.quantile(last_ranks, (1 + LEVEL) / 2, axis=0, method="higher").astype(int)
    return np.minimum(low, observed), np.maximum(high, observed)


def _comparable(values: np.ndarray, estimates: MapEstimates, ordered: bool) -> np.ndarray:
    """Return values (..., m) to order by: 0 for those under it, -1 for maps without a number."""
    bias = estimates.bias
    above_bias = np.where(np.isfinite(values), np.maximum(values - bias, 0.0), -1.0)
    if ordered:
        return above_bias
    at_ceiling = estimates.saturated & (bias < SATURATED * estimates.ceiling)
    return np.where(at_ceiling, np.inf, above_bias)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two values (m,); equal values share their mean rank.

    Maps that are NaN in one of them are left out; NaN for fewer than three, or where one is
    constant.
    """
    return _correlation("spearmanr", first, second)


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Return Kendall's tau-b: the share of map pairs in the same order less those in the other.

    As `spearman`; ties are allowed for (M. G. Kendall, Biometrika 33 (1945) 239).
    """
    return _correlation("kendalltau", first, second)


def _correlation(kind: str, first: np.ndarray, second: np.ndarray) -> float:
    from scipy import stats

    finite = np.isfinite(first) & np.isfinite(second)
    a, b = np.asarray(first)[finite], np.asarray(second)[finite]
    if len(a) < _FEWEST_CORRELATED or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(getattr(stats, kind)(a, b)[0])


@dataclass(frozen=True, eq=False)
class EstimatorRanking:
    """The maps of a layer by one estimator; information in bits, NaN for maps without a number."""

    estimator: str
    name_shown: str
    parameters: Parameters
    held_out: bool
    """A held-out predictive bound: at its ceiling it is knowledge, not saturation."""
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
    chance: np.ndarray
    """(m,): mean over shuffled labels, NaN without any. Ranks go by what is above it, where it is
    surely above 0."""
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
    case those at the ceiling of a bound that is not held out share the first rank."""
    rank: np.ndarray
    """(m,) int: 1 is the most informative; equal maps share one."""
    rank_low: np.ndarray
    """(m,) int: first rank in 95 % of the draws: of this estimator's order, whatever its bias."""
    rank_high: np.ndarray
    """(m,) int: last rank in 95 % of the draws."""
    input: np.ndarray | None = None
    """(m,): information about the input; None if it was not requested or cannot be estimated."""
    unit: str = "bits"
    """Of `mi`; empty for a plain number."""

    @classmethod
    def of(
        cls,
        estimator: LabelEstimator,
        estimates: MapEstimates,
        about_input: np.ndarray | None = None,
    ) -> EstimatorRanking:
        """Return the ranking of all maps; `about_input` is (m,) nats, or None."""
        held_out = estimator.abilities.held_out
        saturated = estimates.saturated
        finite = np.isfinite(estimates.raw)
        low, high = rank_intervals(estimates, held_out)
        p_value, class_p = estimates.p_value, estimates.per_class_p
        if class_p is not None:
            class_p = adjusted(class_p.ravel()).reshape(class_p.shape)
        return cls(
            estimator=estimator.name,
            name_shown=estimator.name_shown,
            parameters=estimator.settings,
            held_out=held_out,
            mi=bits(estimates.mi),
            raw=bits(estimates.raw),
            low=bits(estimates.low),
            high=bits(estimates.high),
            p_value=p_value,
            p_adjusted=adjusted(p_value),
            chance=bits(estimates.chance),
            saturated=saturated,
            per_class=bits(estimates.per_class),
            per_class_low=bits_or_none(estimates.per_class_low),
            per_class_high=bits_or_none(estimates.per_class_high),
            per_class_p=class_p,
            class_ceiling=bits(estimates.class_ceiling),
            ceiling=float(bits(np.nanmax(estimates.ceiling))),
            ordered=bool(held_out or saturated[finite].mean() <= _MOST_SATURATED),
            rank=ranks(estimates, held_out),
            rank_low=low,
            rank_high=high,
            input=bits_or_none(about_input),
        )

    def __repr__(self) -> str:
        return f"EstimatorRanking({self.estimator}: {len(self.mi)} maps)"

    @property
    def class_share(self) -> np.ndarray:
        """(m, classes): shares of the class ceilings, 0 to 1."""
        return self.per_class / self.class_ceiling

    @property
    def saturated_share(self) -> float:
        """Share of the maps with a number that are at the ceiling."""
        return float(self.saturated[np.isfinite(self.mi)].mean())

    @property
    def order(self) -> np.ndarray:
        """(m,) int: rows, the most informative first."""
        return np.argsort(self.rank, kind="stable")

    @property
    def notices(self) -> list[str]:
        """Remarks that a reader needs before using the numbers."""
        notices = []
        if not self.ordered:
            notices.append(
                f"{self.estimator}: {self.saturated_share:.0%} of the maps are saturated (within "
                f"2 % of {self.ceiling:.3g} bits); their order is noise. Use '{WITH_ORDER}'."
            )
        elif self.saturated.any() and not self.held_out:
            notices.append(
                f"{self.estimator}: {self.saturated.sum()} maps are saturated (within 2 % of "
                f"{self.ceiling:.3g} bits); those above chance share the first rank."
            )
        by_chance = self.chance > _MUCH_BY_CHANCE * np.maximum(self.raw, 0.0)
        if not self.held_out and (by_chance & (self.chance > _LITTLE_BITS)).any():
            notices.append(
                f"{self.estimator}: shuffled labels reach up to {np.nanmax(self.chance):.3g} bits; "
                "ranks are by the bits above chance."
            )
        negative = int((self.raw < 0).sum())
        if negative:
            estimates = "estimate below 0 is" if negative == 1 else "estimates below 0 are"
            notices.append(f"{self.estimator}: {negative} {estimates} shown as 0.")
        return notices

    def map_information(self, row: int, map_index: int) -> MapInformation:
        """Return the numbers of one map, a row of the arrays, as `ranking.json` holds them."""
        finite = bool(np.isfinite(self.mi[row]))

        def by_class(values: np.ndarray | None) -> list[float | None] | None:
            return None if values is None or not finite else finite_list(values[row])

        names = ("mi", "low", "high", "p_value", "p_adjusted", "chance", "raw")
        return MapInformation(
            map=map_index,
            rank=int(self.rank[row]),
            rank_low=int(self.rank_low[row]),
            rank_high=int(self.rank_high[row]),
            **{name: finite_or_none(getattr(self, name)[row]) for name in names},
            saturated=bool(self.saturated[row]),
            per_class=by_class(self.per_class),
            per_class_share=by_class(self.class_share),
            per_class_low=by_class(self.per_class_low),
            per_class_high=by_class(self.per_class_high),
            per_class_p=by_class(self.per_class_p),
            input=None if self.input is None else finite_or_none(self.input[row]),
        )


@dataclass(frozen=True, eq=False)
class Ranking(LayerResult):
    """The maps of a layer in the order of their information, by one estimator or several."""

    classes: tuple[str, ...]
    estimators: tuple[EstimatorRanking, ...]
    """One for each estimator, the default order first."""
    samples: int
    split: str
    at: str
    seed: int
    responses: dict[str, np.ndarray] = field(repr=False)
    """Best images and response histograms of every map, see `ResponseSummaries`."""
    notices: tuple[str, ...] = ()
    tags: bool = False
    """Images have several labels; `classes` are these, and bits are added up over them."""
    about: str = "label"
    """What the numbers are about, see `mi.rank_without_labels`."""

    def __repr__(self) -> str:
        ranking = self.estimators[0]
        best = three_best(self.order, ranking.mi[ranking.order], "bits")
        return f"Ranking({self._title}; best by {ranking.estimator}: {self.noun} {best})"

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the most informative first, by the first estimator."""
        return self.maps[self.estimators[0].order]

    @property
    def all_notices(self) -> list[str]:
        """Remarks on the samples and on the numbers of each estimator."""
        return [*self.notices, *(text for ranking in self.estimators for text in ranking.notices)]

    @property
    def agreement(self) -> list[tuple[str, str, float]]:
        """Kendall's tau-b of the orders by every two estimators; NaN where one of them is none."""
        pairs = []
        for first, second in combinations(self.estimators, 2):
            are_ordered = first.ordered and second.ordered
            tau = kendall(first.mi, second.mi) if are_ordered else float("nan")
            pairs.append((first.estimator, second.estimator, tau))
        return pairs

    def by(self, estimator: str) -> EstimatorRanking:
        """Return the ranking by one estimator.

        Raises:
            SettingsError: this ranking has no such estimator.
        """
        for ranking in self.estimators:
            if ranking.estimator == estimator:
                return ranking
        names = ", ".join(ranking.estimator for ranking in self.estimators)
        raise SettingsError("estimator of this ranking", names, f"'{estimator}'")

    def to_file(self, key: str = "", data_sha256: str | None = None) -> RankingFile:
        """Return the content of `ranking.json`; the key is of all that the ranking depends on."""
        return RankingFile(
            key=key,
            data_sha256=data_sha256,
            layer=self.layer,
            index=self.index,
            at=self.at,
            classes=list(self.classes),
            notices=list(self.notices),
            tags=self.tags,
            about=self.about,
            agreement=[
                Agreement(estimators=[first, second], kendall=finite_or_none(tau))
                for first, second, tau in self.agreement
            ],
            estimators=[self._record(ranking) for ranking in self.estimators],
        )

    def _record(self, ranking: EstimatorRanking) -> EstimatorRecord:
        return EstimatorRecord(
            estimator=ranking.estimator,
            name_shown=ranking.name_shown,
            parameters=ranking.parameters,
            held_out=ranking.held_out,
            unit=ranking.unit,
            samples=self.samples,
            split=self.split,
            ceiling=finite_or_none(ranking.ceiling),
            class_ceilings=ranking.class_ceiling.tolist(),
            input_ceiling=None if ranking.input is None else float(np.log2(self.samples)),
            saturated_share=ranking.saturated_share,
            ordered=ranking.ordered,
            notices=ranking.notices,
            maps=[ranking.map_information(row, int(self.maps[row])) for row in ranking.order],
        )

    def to_dict(self) -> dict[str, Json]:
        """Return plain values as `oip rank --json` prints them; information in bits."""
        return self.to_file().public_dict()

    def to_pandas(self) -> DataFrame:
        """Return a row for each map and estimator, in the order of each; information in bits."""
        import pandas

        names = ("rank", "rank_low", "rank_high", "mi", "low", "high", "p_value", "p_adjusted")
        names += ("chance", "saturated", "raw")
        tables = []
        for ranking in self.estimators:
            order = ranking.order
            columns = {name: getattr(ranking, name)[order] for name in names}
            head = {"layer": self.layer, "estimator": ranking.estimator, "map": self.maps[order]}
            columns["input"] = np.nan if ranking.input is None else ranking.input[order]
            by_class = zip(self.classes, ranking.per_class[order].T, strict=True)
            columns |= {f"mi:{name}": values for name, values in by_class}
            tables.append(pandas.DataFrame({**head, **columns}))
        return pandas.concat(tables, ignore_index=True)

    def plot(self) -> Figure:
        """Draw bars of the information with intervals and ceiling, one panel an estimator."""
        return self._bar_figure(self.estimators)

    def _bar_figure(self, estimators: Sequence[EstimatorRanking]) -> Figure:
        figure, panels = plots.figure(7.0, 0.3 + 2.2 * len(estimators), rows=len(estimators))
        for axes, ranking in zip(panels.flat, estimators, strict=True):
            order = ranking.order[:_BARS]
            mi = np.nan_to_num(ranking.mi[order])
            error = np.nan_to_num(np.stack([mi - ranking.low[order], ranking.high[order] - mi]))
            across = np.arange(len(order))
            axes.bar(across, mi, width=0.8, color=plots.PALETTE[0])
            axes.errorbar(across, mi, np.maximum(error, 0), fmt="none", ecolor="black", lw=0.8)
            axes.axhline(ranking.ceiling, color=plots.PALETTE[1], lw=1, ls="--", label="ceiling")
            chance = np.nan_to_num(ranking.chance[order])
            if (chance > _LITTLE_BITS).any():  # ranks are by what is above it
                axes.plot(across, chance, "_", color=plots.PALETTE[3], label="shuffled labels")
            names = self.maps[order].tolist() if len(order) <= _LABELED_BARS else []
            axes.set_xticks(across[: len(names)], names, fontsize=plots.SMALL - 1, rotation=90)
            axes.set_xlabel(self.noun + (", by rank" if ranking.ordered else " (saturated)"))
            axes.set(ylabel="bits", ylim=(0, 1.2 * axes.get_ylim()[1]))
            axes.set_title(ranking.name_shown, fontsize=plots.FONT)
            axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=plots.SMALL)
        figure.suptitle(plots.printable(self._title), fontsize=plots.FONT + 1)
        return figure

    @property
    def _title(self) -> str:
        split = f", {self.split}" if self.split else ""
        return f"{self.layer}: {self._counted}, {self.samples} images{split}"

    def _repr_html_(self) -> str:
        ranking, rows = self.estimators[0], []
        medians = class_medians(ranking.per_class)
        for row in ranking.order[:_ROWS]:
            rank = int(ranking.rank[row]) if ranking.ordered else None
            interval = f"{ranking.low[row]:z.3f} to {ranking.high[row]:z.3f}"
            mi, p_adjusted = float(ranking.mi[row]), float(ranking.p_adjusted[row])
            informative = is_informative(mi, p_adjusted)
            code = best_class(ranking.per_class[row], medians) if informative else None
            best = None if code is None else self.classes[code]
            rows.append((rank, int(self.maps[row]), mi, interval, f"{p_adjusted:.2g}", best))
        headings = ("rank", self.noun, "information, bits", "95 % interval", "p-value, adjusted")
        text = f"{ranking.name_shown}, at most {ranking.ceiling:.3f} bits"
        return html.block(
            self._title,
            *map(html.paragraph, (text, *self.all_notices)),
            html.embedded_figure(self._bar_figure(self.estimators[:1]), self._title),
            html.table((*headings, "best for"), rows, len(self) - len(rows)),
        )


def rank(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
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
    """Order the maps of a layer by the information of their responses about the label.

    The first estimator gives the default order. `predictive` (usable information, a held-out lower
    bound) orders maps that other estimators put at their ceiling, and is the default because its
    order agrees best with judges that it has never seen (`tests/benchmarks/ranking.py`).

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them.
        labels: (n,) whole numbers, booleans or strings, or one-hot rows. Of images with several
            labels (n, k) zeros and ones: each of the k tags is ranked by itself, the bits are
            added up, and stand by tag where others stand by class.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        maps: map numbers; all if None.
        estimators: names, or estimators with parameters of their own.
        samples: most images that are used, in the shares of their classes.
        at: the response after its activation, or the block output after the pooling that follows.
        seed: of the subsample, the folds and the shuffles.
        progress: is called with the number of maps done.
        classes: names; the label k is shown as `classes[k]`.
        split: name of the images, such as "mnist:test"; shown with the result.
        with_input: also estimate the information about the input, by those estimators that can.
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
    requested = _instances(estimators, with_input)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, at=at, seed=seed)
    sample = sample.draw(labels, samples, classes, with_tags=True)
    label, count, offset = f"{sample.layer.name}: ranking", len(sample.maps), 0
    summaries = ResponseSummaries(sample)
    measurements = _MapMeasurements(sample, requested, with_input)
    for block in summaries.blocks(byte_budget, progress, "ranking"):
        for chunk in measurements.add(block.values, np.flatnonzero(block.finite)):
            progress(label, offset + int(chunk[-1]) + 1, count)
        offset += len(block.finite)
    return Ranking(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        maps=sample.maps,
        classes=sample.classes,
        estimators=measurements.rankings(summaries.usable),
        samples=len(sample),
        split=split,
        at=at,
        seed=seed,
        responses=summaries.arrays(),
        notices=(*sample.notices, *sample.few_images_notices, *summaries.unusable_notices),
        tags=sample.tags is not None,
    )


class _MapMeasurements:
    """The information of maps about the label and the input, by several estimators."""

    def __init__(self, sample: LayerSample, estimators: list[LabelEstimator], with_input: bool):
        self._sample, self._estimators, self._with_input = sample, estimators, with_input
        self._shuffles = [_shuffles(estimator, len(sample.maps)) for estimator in estimators]
        self._bytes = max(estimator.working_bytes(len(sample)) for estimator in estimators)
        self._about_label: list[list[MapEstimates]] = [[] for _ in estimators]
        self._about_input: list[list[np.ndarray]] = [[] for _ in estimators]

    def add(self, responses: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Measure the maps of some rows of responses (n, m, d); yield the rows that are done."""
        chunks = [rows[begin : begin + _CHUNK] for begin in range(0, len(rows), _CHUNK)]
        indices = range(len(self._estimators))
        items = [(chunk, index) for chunk in chunks for index in indices]
        measured = iterate_in_threads(partial(self._measure, responses), items, self._bytes)
        for chunk in chunks:
            for index in indices:
                about_label, about_input = next(measured)
                self._about_label[index].append(about_label)
                if about_input is not None:
                    self._about_input[index].append(about_input)
            yield chunk

    def _measure(
        self, responses: np.ndarray, item: tuple[np.ndarray, int]
    ) -> tuple[MapEstimates, np.ndarray | None]:
        """Measure a chunk of maps by one estimator, about the label and about the input."""
        chunk, index = item
        values = responses[:, chunk]
        estimator, sample = self._estimators[index], self._sample
        draws = (sample.seed, self._shuffles[index], estimator.map_draws)
        if sample.tags is None:
            about_label = estimator.over_maps(values, sample.codes, *draws, distinct=True)
        else:
            about_label = over_tags(estimator, values, sample.tags, *draws)
        if not self._with_input or not estimator.can("input_information"):
            return about_label, None
        return about_label, _input_information(estimator, values, sample.seed)

    def rankings(self, usable: np.ndarray) -> tuple[EstimatorRanking, ...]:
        """Return the rankings of all maps; those of `usable` (m,) bool were measured."""
        triples = zip(self._estimators, self._about_label, self._about_input, strict=True)
        return tuple(
            EstimatorRanking.of(
                estimator, join_blocks(estimates).spread(usable), _spread(about_input, usable)
            )
            for estimator, estimates, about_input in triples
        )


def _instances(estimators: Sequence[str | Estimator], with_input: bool) -> list[LabelEstimator]:
    """Return the estimators of some names, one about the input among them if requested."""
    requested = [estimators] if isinstance(estimators, (str, Estimator)) else list(estimators)
    if not requested:
        raise SettingsError("estimators", "at least one", "none")
    instances = [label_estimator(estimator) for estimator in requested]
    names = [estimator.name for estimator in instances]
    if len(set(names)) < len(names):
        raise SettingsError("estimators", "each one once", ", ".join(names))
    if with_input and not any(estimator.can("input_information") for estimator in instances):
        expected = f"one about the input, of {', '.join(able('input_information'))}"
        raise SettingsError("estimators", expected, ", ".join(names))
    return instances


def _shuffles(estimator: LabelEstimator, maps: int) -> int:
    """Return how often labels are shuffled: nulls are pooled where a thousand are expensive."""
    if not estimator.shuffles:
        return 0
    pooled = max(_FEWEST_SHUFFLES, -(-_POOLED_SHUFFLES // maps))
    return ENOUGH if estimator.abilities.cheap_null else min(pooled, ENOUGH)


def _input_information(estimator: Estimator, values: np.ndarray, seed: int) -> np.ndarray:
    """Return (m,) nats of the responses (n, m, d) of each map about the input."""

    def information(row: int) -> float:
        raw = estimator.input_information(values[:, row].astype(np.float64), seed)
        return float(np.clip(raw.nats, 0.0, np.inf if raw.ceiling is None else raw.ceiling))

    return np.array(thread_map(information, range(values.shape[1])))


def _spread(blocks: list[np.ndarray], usable: np.ndarray) -> np.ndarray | None:
    """Return the values of the usable maps among all maps, NaN for the others."""
    if not blocks:
        return None
    result = np.full(len(usable), np.nan)
    result[usable] = np.concatenate(blocks)
    return result
