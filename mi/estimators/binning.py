"""Binning: responses as cells of a grid, information by counting them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from oip.core.checks import check_choice, check_flag, check_number, check_whole
from oip.core.errors import SettingsError
from oip.core.records import Parameters
from oip.core.units import bits
from oip.mi.estimators.base import LabelEstimator, RawEstimate
from oip.mi.estimators.results import LabelledResponses, MapEstimates
from oip.mi.resampling import Prepared, over_prepared
from oip.mi.validation import row_codes

_COUNTS = {"quantile": 10, "range": 30, "minmax": 10}
_SAMPLES_A_CELL, _PAIR = 5, 2
_SAMPLES_A_PAIR, _SAMPLES_A_ROW = 3, 0.8
"""Samples of a cell of two numbers, and of more of them, whose information is adjusted for chance:
least error of 4 to 32 bins, n = 100 to 3,000, and of 2 to 10, n = 300 and 1,000."""
ELEMENTS = 1 << 20
"""Numbers of an array that is worked on at once."""
_ROUNDING = 1e-9
"""Share of a bin that a value may be under its lower edge: .3 / .1 is 2.9999999999999996."""
_SURE = 1e-9
"""Share of its ceiling that chance leaves at least; less is none."""
_ALONE = 0.1
"""Share of samples with a cell to themselves that makes a notice."""
_TOO_LARGE = (
    "which identifies each of them: the value is too large. Use fewer columns or a smaller count."
)
_UNSURE = (
    "which carries no information: the value rests on the other {others:.0%}. Use fewer columns."
)
_EITHER_WAY = "may be too small, or too large where the condition is too coarse"
_COARSE = 3
"""Bins a column, of several, up to which a notice says so."""
_LACKING = 0.03
"""Share of an entropy that few samples lack, or of x in cells without y, that makes a notice."""


@dataclass(frozen=True)
class Binning(LabelEstimator):
    """Entropies of the cells that samples fall into: H = -sum_k p_k ln p_k.

    Every coordinate is cut into bins; a sample's cell is the row of its bins. Informations are
    I(X;Y) = H(X) + H(Y) - H(X,Y) of cells, and so on; entropies are those of the cells, not
    differential ones. A label's entropy is that of its shares. KL(P||Q) = sum_k p_k ln(p_k / q_k)
    of cells that both share, bins being made of both; it is no more than that of the densities.

    Bins, `by`
        `quantile`: `count` bins of equal shares, a coordinate by itself; a value that makes up
        several shares, such as the 0 of a ReLU, is a bin. Monotone transformations change nothing.
        If `count` is None it is 10 for a column and a label; for I(X;Y) of two numbers, and their
        T, so many that cells have three samples each, of more columns .8; else 10, and fewer in
        more than two dimensions, so that cells have five samples each, or as near to it as can be.
        A notice says where columns have two or three bins only. Halves of the samples, for the
        interval, have the bins of the whole.
        `width`: floor(x / width), in the responses' own units.
        `range`: `count` equal bins from `low` to `high`, for units that are bounded, such as tanh;
        values outside go to the first or last bin.

    Bias
        Few samples a cell make entropies too small and informations too large. Miller and Madow's
        first-order correction adds (K - 1) / 2n nats to an entropy of K cells that are occupied;
        it may bring informations under 0. Of two labels, and where bins are made by `quantile`
        without a `count`, I(X;Y) is adjusted for chance instead: h (I - E) / (h - E), E the mean of
        I over all orders of the samples of Y, h the smaller entropy. It is 0 by chance and h at
        most, whatever the number of cells. Every cell has half a sample more in a KL divergence,
        since one that Q lacks would make it infinite, and its bias by sampling is subtracted, as
        far as the half samples leave it: with n' = n + K / 2 and m' = m + K / 2 it is
        (K - 1) n / 2n'^2 + sum_k p_k (1 - q_k) m / 2 m'^2 q_k. Bins are by the smaller sample.

    Use it for discrete data and few dimensions. Not for wide responses: every sample soon has a
    cell of its own, which tells nothing, and estimates are unsure, or at their ceilings, log n and
    H(Y), where bins are given.

    Units:
        Nats inside, bits where it is shown.

    References:
        G. A. Miller: Note on the bias of information estimates. Information theory in psychology,
        1955. N. X. Vinh, J. Epps, J. Bailey: Information theoretic measures for clusterings
        comparison. Journal of Machine Learning Research 11 (2010) 2837 (chance). A. M. Saxe et
        al.: On the information bottleneck theory of deep learning. ICLR 2018 (range and width).

    Example:
        >>> import numpy as np
        >>> from oip import mi
        >>> y = np.arange(400) % 4
        >>> round(mi.mutual_information(y // 2, y, "binning", discrete_x=True, null=0).bits, 1)
        1.0
    """

    name: ClassVar[str] = "binning"
    name_shown: ClassVar[str] = "mutual information (binned)"
    shuffles: ClassVar[int] = 1000

    by: Literal["quantile", "width", "range", "minmax"] = "quantile"
    """How bins are made."""
    count: int | None = None
    """Bins a coordinate, for `quantile` and `minmax` (10 if None) and `range` (30 if None)."""
    width: float = 0.5
    """Of a bin, for `width`."""
    low: float = -1.0
    """Lower end, for `range`."""
    high: float = 1.0
    """Upper end, for `range`."""
    corrected: bool = True
    """Miller and Madow's correction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("binning: by", self.by, ("quantile", "width", "range", "minmax"))
        if self.count is not None:
            check_whole("binning: count", self.count, 2)
            if self.by == "width":
                hint = "Give width=, or another by=, such as 'quantile'."
                raise SettingsError("binning: count", "none by width", self.count, hint)
        check_number("binning: width", self.width)
        check_number("binning: low", self.low, -math.inf)
        check_number("binning: high", self.high, self.low)
        check_flag("binning: corrected", self.corrected)

    @property
    def parameters(self) -> Parameters:
        """The bins and the correction."""
        bins: Parameters = {"by": self.by}
        if self.by == "width":
            bins["width"] = self.width
        elif self.count is None and self.by == "quantile":
            bins["count"] = "by samples and dimensions"
        else:
            bins["count"] = self.count or _COUNTS[self.by]
        if self.by == "range":
            bins |= {"low": self.low, "high": self.high}
        return {**bins, "corrected": self.corrected}

    def _map_estimates(self, samples: LabelledResponses) -> MapEstimates:
        """See `LabelEstimator._map_estimates`; the bins are made of all samples."""
        classes = int(samples.codes.max()) + 1
        return over_prepared(lambda x: self._prepare(x, classes), samples)

    def _prepare(self, x: np.ndarray, classes: int) -> Prepared | None:
        n, d = x.shape
        coarse = self._coarse(n // classes, d if d > 1 else 0)
        cells = coarse.cells(np.asarray(x, np.float64))
        chances: dict[tuple[int, ...], float] = {}

        def information(codes: np.ndarray, indices: np.ndarray | None) -> float:
            if indices is not None or not self._adjusts:
                return self._information(cells if indices is None else cells[indices], codes)[0]
            counts = tuple(np.bincount(codes).tolist())  # the same for all shuffles
            if counts not in chances:
                chances[counts] = chance_information(cells, codes)
            return self._information(cells, codes, chances[counts])[0]

        notices = self._own_cells(x=cells) + self._few_bins(coarse, n, d)
        return Prepared(information, notices) if cells.any() else None

    def _coarse(self, n: int, d: int, samples: float = _SAMPLES_A_CELL) -> Binning:
        """Return the binning for quantities of n samples in d dimensions together.

        If `count` is None and there are more than two, bins are so few that cells have as many
        samples each, if that can be.
        """
        if self.by != "quantile" or self.count is not None or not d:
            return self
        count = int((self._bin_samples(n) / samples) ** (1 / d) + 1e-9)
        return replace(self, count=int(np.clip(count, 2, _COUNTS["quantile"])))

    def of_samples(self, n: int) -> Binning:
        """See `Estimator.of_samples`: halves have the bins of the whole."""
        settings = {item.name: getattr(self, item.name) for item in fields(Binning)}
        return _BinningOfSamples(**settings, samples=n)

    def _bin_samples(self, n: int) -> int:
        """Return the number of samples by which n samples are cut into bins."""
        return n

    def information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return H(X) + H(Y) - H(X,Y) of cells; at most the smaller of H(X) and H(Y)."""
        d = x.shape[1] + y.shape[1]
        samples = _SAMPLES_A_ROW if self._adjusts else _SAMPLES_A_CELL
        coarse = self._coarse(len(x), d if d > _PAIR else 0, samples)
        if d == _PAIR and self._adjusts:
            count = int(math.sqrt(self._bin_samples(len(x)) / _SAMPLES_A_PAIR))
            coarse = replace(self, count=max(2, count))
        a, b = coarse.cells(x), coarse.cells(y)
        nats, ceiling = self._information(a, b)
        notices = self._own_cells(x=a, y=b) + self._few_bins(coarse, len(x), d)
        return RawEstimate(nats, ceiling=ceiling, notices=notices)

    def discrete_information(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return H(X) + H(Y) - H(X,Y) of two labels; at most the smaller of H(X) and H(Y)."""
        nats, ceiling = self._information(x, y)
        return RawEstimate(nats, ceiling=ceiling)

    def conditional_information(
        self, x: np.ndarray, y: np.ndarray, given: np.ndarray, seed: int
    ) -> RawEstimate:
        """Return H(X,Z) + H(Y,Z) - H(X,Y,Z) - H(Z) of cells."""
        d = x.shape[1] + y.shape[1] + given.shape[1]
        coarse = self._coarse(len(x), d)
        a, b, c = coarse.cells(x), coarse.cells(y), coarse.cells(given)
        ac, bc, abc = together(a, c), together(b, c), together(together(a, b), c)
        nats = self._entropy(ac) + self._entropy(bc) - self._entropy(abc) - self._entropy(c)
        ceiling = min(cell_entropy(ac), cell_entropy(bc)) - cell_entropy(c)
        notices = _own_cells(_TOO_LARGE, together=abc)
        notices += self._few_bins(coarse, len(x), d, _EITHER_WAY)
        return RawEstimate(nats, ceiling=ceiling, notices=notices)

    def entropy(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return H of the cells, at most log n: no differential entropy."""
        return RawEstimate(self._entropy(self.cells(x)), ceiling=math.log(len(x)))

    def label_entropy(self, codes: np.ndarray, seed: int) -> RawEstimate:
        """Return -sum_y p_y ln p_y of the shares, corrected.

        At most the logarithm of the number of classes, or of n where classes may be missing.
        """
        classes, n = int(codes.max()) + 1, len(codes)
        plain, lacking = cell_entropy(codes), (classes - 1) / (2 * n)
        if lacking <= _LACKING * plain or classes == 1:
            return RawEstimate(min(self._entropy(codes), math.log(classes)))
        notice = f"{classes} classes in {n} samples: shares lack about {bits(lacking):.2g} bits"
        notice += ", which were added." if self.corrected else "."
        return RawEstimate(self._entropy(codes), ceiling=math.log(n), notices=(notice,))

    def total_correlation(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return sum_i H(X_i) - H(X) of cells; at most the sum without its largest term.

        Of two columns it is their I(X;Y).
        """
        n, d = x.shape
        if d == _PAIR and self._adjusts:
            return self.information(x[:, :1], x[:, 1:], seed)
        coarse = self._coarse(n, d if d > _PAIR else 0)
        single, joint = [coarse.cells(column[:, None]) for column in x.T], coarse.cells(x)
        nats = sum(self._entropy(cells) for cells in single) - self._entropy(joint)
        plain = [cell_entropy(cells) for cells in single]
        notices = _own_cells(_TOO_LARGE, x=joint) + self._few_bins(coarse, n, d)
        return RawEstimate(nats, ceiling=sum(plain) - max(plain), notices=notices)

    def divergence(self, x: np.ndarray, y: np.ndarray, seed: int) -> RawEstimate:
        """Return sum_k p_k ln(p_k / q_k) of the cells of x and y together."""
        n, m, d = len(x), len(y), x.shape[1]
        coarse = self._coarse(min(n, m), d)
        cells = coarse.cells(np.concatenate([x, y]))
        k = int(cells.max()) + 1
        counts = [np.bincount(codes, minlength=k) for codes in (cells[:n], cells[n:])]
        p, q = ((count + 0.5) / (count + 0.5).sum() for count in counts)
        nats = float((p * np.log(p / q)).sum())
        if self.corrected:
            nats -= (k - 1) * n / (2 * (n + k / 2) ** 2)
            nats -= float((p * (1 - q) / q).sum()) * m / (2 * (m + k / 2) ** 2)
        lacking = float(counts[0][counts[1] == 0].sum()) / n
        notice = (
            f"{lacking:.0%} of x lies in cells without y, so that the value depends on the number "
            "of y. Use more samples of y."
        )
        return RawEstimate(nats, notices=(notice,) if lacking > _LACKING else ())

    def input_information(self, x: np.ndarray, seed: int) -> RawEstimate:
        """Return I(X;M) = H(M) of the cells M, which follow from the sample; uncorrected."""
        return RawEstimate(cell_entropy(self.cells(x)), ceiling=math.log(len(x)))

    def cells(self, x: np.ndarray) -> np.ndarray:
        """Return the cell (n,) int of each row of x (n, d), in no meaningful order."""
        if self.by == "width":
            bins = np.floor(x / self.width + _ROUNDING)
        elif self.by in ("range", "minmax"):
            count = self.count or _COUNTS[self.by]
            low, span = self.low, self.high - self.low
            if self.by == "minmax":
                low, span = x.min(axis=0), np.ptp(x, axis=0)
                span = np.where(span > 0, span, 1.0)
            bins = equal_bins(x, low, span, count)
        else:
            count = self.count or _COUNTS["quantile"]
            bins = np.stack([_quantile_bins(column, count) for column in x.T], axis=1)
        return row_codes(bins)

    def _information(
        self, x: np.ndarray, y: np.ndarray, chance: float | None = None
    ) -> tuple[float, float]:
        """Return I of cells and the smaller entropy; `chance` as far as it is known."""
        sides, joint_cells = [cell_entropy(cells) for cells in (x, y)], together(x, y)
        ceiling = min(sides)
        if not self._adjusts:
            return self._entropy(x) + self._entropy(y) - self._entropy(joint_cells), ceiling
        chance = chance_information(x, y) if chance is None else chance
        if ceiling - chance <= _SURE * ceiling:
            return 0.0, ceiling
        nats = sum(sides) - cell_entropy(joint_cells)
        return ceiling * (nats - chance) / (ceiling - chance), ceiling

    @property
    def _adjusts(self) -> bool:
        return self.corrected and self.by == "quantile" and self.count is None

    def _few_bins(
        self, coarse: Binning, n: int, d: int, effect: str = "is too small"
    ) -> tuple[str, ...]:
        """Return a notice where d columns of n samples leave a column few bins."""
        if coarse is self or coarse.count is None or coarse.count > _COARSE or d == 1:
            return ()
        return (
            f"{d} columns of {n} samples have {coarse.count} bins each. What a column says within "
            f"a bin is missing, so that the value {effect}. Use fewer columns, or ksg.",
        )

    def _own_cells(self, **sides: np.ndarray) -> tuple[str, ...]:
        return _own_cells(_UNSURE if self._adjusts else _TOO_LARGE, **sides)

    def _entropy(self, cells: np.ndarray) -> float:
        return cell_entropy(cells, self.corrected)


@dataclass(frozen=True)
class _BinningOfSamples(Binning):
    """Binning with as many bins as `samples` samples have, whatever their number.

    Halves with bins by their own number would be estimates of another quantity, and vary less.
    """

    samples: int = field(default=0, kw_only=True, repr=False)
    """Their number."""

    def _bin_samples(self, n: int) -> int:
        return self.samples


def _own_cells(effect: str, **sides: np.ndarray) -> tuple[str, ...]:
    """Return a notice for cells (n,) of which many samples have one to themselves."""
    notices = []
    for name, cells in sides.items():
        alone = float((np.bincount(cells)[cells] == 1).mean())
        if alone > _ALONE:
            effect = effect.format(others=1 - alone)
            notices.append(
                f"{name}: {alone:.0%} of the samples have a cell to themselves, {effect}"
            )
    return tuple(notices)


def equal_bins(
    x: np.ndarray, low: float | np.ndarray, span: float | np.ndarray, count: int
) -> np.ndarray:
    """Return which of `count` bins between low and low + span each number is in, from 0.

    Numbers outside are in the first or the last.
    """
    return np.clip(np.floor((x - low) / (span / count) + _ROUNDING), 0, count - 1)


def _quantile_bins(x: np.ndarray, count: int) -> np.ndarray:
    """Return bins (n,) of equal shares; a value that is several cuts has a bin to itself."""
    cuts, times = np.unique(np.quantile(x, np.arange(1, count) / count), return_counts=True)
    ranks = np.searchsorted(cuts, x, side="right")
    last = np.maximum(ranks - 1, 0)
    # At the lower end, all that is above would else be with it.
    alone = (cuts[last] == x) & ((times[last] > 1) | (x == x.min()))
    return 2.0 * ranks - alone


def cell_entropy(cells: np.ndarray, corrected: bool = False) -> float:
    """Return the entropy in nats of cells (n,) int, 0 or more, with Miller and Madow's correction.

    That is (K - 1) / 2n for K cells; left out unless `corrected`.
    """
    from scipy.special import entr

    counts = np.bincount(cells)
    counts = counts[counts > 0]
    correction = (len(counts) - 1) / (2 * len(cells)) if corrected else 0.0
    return float(entr(counts / len(cells)).sum()) + correction


def chance_information(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean I in nats of cells x (n,) and y (n,) int over all orders of y, uncorrected.

    A cell of x with a samples draws them from the cells of y without replacement, so a cell of y
    with b samples shares k of them with hypergeometric probability: E = sum k/n ln(n k / a b).
    """
    n = len(x)
    (a, times_a), (b, times_b) = (
        np.unique(counts[counts > 0], return_counts=True)
        for counts in (np.bincount(x), np.bincount(y))
    )
    logs = _log_factorials(n)
    return float(
        sum(
            times * (_shared(size, b, n, logs) @ times_b)
            for size, times in zip(a.tolist(), times_a, strict=True)
        )
    )


def _shared(a: int, sizes: np.ndarray, n: int, logs: np.ndarray) -> np.ndarray:
    """Return (m,) nats of a cell of a samples and cells of some sizes (m,), which rise.

    A large cell may share as many samples as it has; so some sizes are worked on at a time.
    """
    result = np.empty(len(sizes))
    step = max(1, ELEMENTS // min(a, int(sizes[-1])))
    for start in range(0, len(sizes), step):
        b = sizes[start : start + step, None]
        k = np.arange(1, min(a, int(b[-1, 0])) + 1)
        neither = n - a - b + k
        possible = (k <= b) & (neither >= 0)
        chance = logs[a] + logs[b] + logs[n - a] + logs[n - b] - logs[n]
        chance = chance - logs[k] - logs[a - k] - logs[np.maximum(b - k, 0)]
        chance -= logs[np.clip(neither, 0, n)]
        terms = np.where(possible, np.exp(chance) * k / n * np.log(n * k / (a * b)), 0.0)
        result[start : start + step] = terms.sum(axis=1)
    return result


@lru_cache(maxsize=8)
def _log_factorials(n: int) -> np.ndarray:
    """Return ln k! for k from 0 to n."""
    from scipy.special import gammaln

    return gammaln(np.arange(n + 1) + 1.0)


def together(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cell (n,) int of each pair of cells, smaller than n."""
    return np.unique(x.astype(np.int64) * (int(y.max()) + 1) + y, return_inverse=True)[1]
