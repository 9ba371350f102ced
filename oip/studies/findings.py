"""Findings of a report: measured values, rows, verdicts, and curves over a training."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from oip.core.errors import RunError
from oip.core.seeds import generator
from oip.mi.estimators.results import SATURATED
from oip.mi.ranking import spearman

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Agreement = Literal["yes", "partly", "no", "not tested"]
AGREEMENTS = ("yes", "partly", "no", "not tested")
_TEXTS = ("paper", "quantity", "remark", "figure", "reported", "n", "settings")
"""Fields of a finding that `findings.toml` has."""
_SPREADS = 2.0
_DRAWS = 2_000  # of the bootstrap of correlations
_KERNEL_DRAWS = 400
TOO_SHORT = 5_000
"""Iterations that a statement about the late training needs."""
RISING = 0.5
"""Rank correlation with the iteration above which something rises."""
LATE = 0.75
"""Share of a training after which it is late."""
CHANGE = 0.05
"""Share of a curve's largest value that counts as a rise or as a fall."""
_STEP_DRAWS, _STEP_LEVEL = 1_000, 0.025  # of the bootstrap of steps between layers
AT_CEILING = "at the ceiling"
"""Remark on a value that cannot be compared."""


@dataclass(frozen=True)
class Value:
    """A measured number with its 95 % interval."""

    name: str
    """What was measured, such as "LeNet"."""
    value: float
    low: float = math.nan
    high: float = math.nan
    """Ends of the interval; NaN where there is none."""
    form: str = ".2f"
    remark: str = ""
    """Such as "at the ceiling"."""

    @classmethod
    def within(
        cls, value: float, spread: float, name: str = "", form: str = ".2f", remark: str = ""
    ) -> Value:
        """Return a value with an interval of two standard deviations to both sides."""
        return cls(name, value, value - _SPREADS * spread, value + _SPREADS * spread, form, remark)

    @classmethod
    def mean_of(cls, values: np.ndarray, name: str = "", form: str = ".2f") -> Value:
        """Return the mean of values (n,) with two standard errors; no interval for one value."""
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls.within(float(values.mean()), float(error), name, form)

    @classmethod
    def spread_of(
        cls, values: np.ndarray, name: str = "", form: str = ".2f", remark: str = ""
    ) -> Value:
        """Return the mean of values (n,) with two deviations; no interval for one value."""
        spread = values.std(ddof=1) if len(values) > 1 else math.nan
        return cls.within(float(values.mean()), float(spread), name, form, remark)

    @property
    def spread(self) -> float:
        """The standard deviation of which `within` made the interval."""
        return (self.high - self.low) / (2 * _SPREADS)

    def named(self, name: str, form: str = "", remark: str = "") -> Value:
        """Return the value under another name."""
        return replace(self, name=name, form=form or self.form, remark=remark)

    def percent(self, name: str, form: str = ".2f") -> Value:
        """Return a share in % under another name."""
        value, low, high = (100 * share for share in (self.value, self.low, self.high))
        return Value(name, value, low, high, form)

    def above(self, minimum: Value | float = 0.0, floor: float | None = None) -> bool | None:
        """Return whether the whole interval is above a number, or a value above another one's.

        False where the whole interval is below `floor` (`minimum` if None); None where it does not
        decide.
        """
        if isinstance(minimum, Value):
            return larger(self.value, minimum.value, math.hypot(self.spread, minimum.spread))
        if self.low > minimum:
            return True
        return False if self.high < (minimum if floor is None else floor) else None

    def text(self) -> str:
        """Return such as `LeNet 0.53 (0.50 to 0.56, at the ceiling)`; NaN is "unknown"."""
        form, interval = self.form.replace(".", "z.", 1), ""  # never -0
        if math.isfinite(self.low) and math.isfinite(self.high):
            interval = f"{self.low:{form}} to {self.high:{form}}"
        note = ", ".join(filter(None, (interval, self.remark)))
        value_text = format(self.value, form) if math.isfinite(self.value) else "unknown"
        return f"{self.name} {value_text}" + (f" ({note})" if note else "")


Values = Mapping[str, Sequence[Value]] | Sequence[Value]
"""Measured values of a finding; a mapping groups them, such as by width of the kernel."""


def named_values(
    names: Iterable[object], numbers: Iterable[float], form: str = ".2f"
) -> list[Value]:
    """Return numbers as values of these names."""
    return [Value(str(name), value, form=form) for name, value in zip(names, numbers, strict=True)]


@dataclass(frozen=True)
class Finding:
    """A row of a report's table: the paper's statement beside the measured values."""

    paper: str
    """The paper's statement, and on which data."""
    verdict: Agreement = "not tested"
    quantity: str = ""
    """Name of the measured quantity, with its unit."""
    values: Values = ()
    remark: str = ""
    """What the values cannot say, in sentences."""
    figure: str = ""
    """Figure, table or section of the paper, such as "fig. 7"."""
    reported: str = ""
    """The paper's value, with its unit."""
    n: str = ""
    """Samples, kernels, seeds, trainings."""
    settings: str = ""
    """How it was measured and judged."""

    @property
    def groups(self) -> dict[str, list[Value]]:
        """Group -> its values; the group's name is empty where there are no groups."""
        groups = self.values if isinstance(self.values, Mapping) else {"": self.values}
        return {group: list(values) for group, values in groups.items()}

    @property
    def ours(self) -> str:
        """The measured values as text."""
        texts = [
            (f"{group}: " if group else "") + ", ".join(value.text() for value in values)
            for group, values in self.groups.items()
            if values
        ]
        measured = ": ".join(filter(None, (self.quantity, "; ".join(texts))))
        return " ".join(filter(None, (f"{measured}." if measured else "", self.remark)))

    def to_dict(self) -> dict[str, object]:
        """Return the row as JSON holds it."""
        values = [
            {
                "group": group,
                "name": value.name,
                **{end: plain_numbers(getattr(value, end)) for end in ("value", "low", "high")},
            }
            for group, several in self.groups.items()
            for value in several
        ]
        return {
            "paper": self.paper,
            "figure": self.figure,
            "reported": self.reported,
            "found": self.ours,
            "values": values,
            "agrees": self.verdict,
            "sure": "; ".join(filter(None, (self.n, self.settings))),
            "n": self.n,
            "settings": self.settings,
        }


def finding(
    study: str,
    name: str,
    verdict: Agreement = "not tested",
    values: Values = (),
    subject: str = "",
    /,
    **constants: object,
) -> Finding:
    """Return a row of the report's table; its texts are row `name` of `findings.toml`.

    `subject`, the data or network that the row is about, stands before the paper's statement; the
    constants are the values of the names in braces. On other data than those that the paper speaks
    of, the row says so, and has the figure of these data where there is one.
    """
    row = text_file("findings")[study][name]
    texts = {field: row[field].format(**constants) for field in _TEXTS if field in row}
    data = (subject or str(constants.get("key", ""))).lower()
    for part, figure in row.get("figure_on", {}).items():
        if part in data:
            texts["figure"] = figure
    if subject:
        said_of = row.get("said_of", subject)
        of_others = "" if said_of == subject else f" (said of {said_of})"
        texts["paper"] = f"{subject}{of_others}: {texts['paper']}"
    return replace(Finding("", verdict, values=values), **texts)


def untested(study: str, name: str, remark: str, settings: str, **constants: object) -> Finding:
    """Return the paper's statement of such a row, and why it was not tested."""
    paper = finding(study, name, **constants).paper
    return Finding(paper, remark=remark, settings=settings)


def place_among_texts(study: str, row: Finding) -> int:
    """Return the index of the row's statement among the study's texts, else their number."""
    statements = [texts["paper"] for texts in text_file("findings")[study].values()]
    matches = (index for index, text in enumerate(statements) if row.paper.endswith(text))
    return next(matches, len(statements))


@cache
def text_file(name: str) -> dict[str, dict]:
    """Return the texts of a TOML file of this folder, by study and name."""
    path = Path(__file__).with_name(f"{name}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def larger(first: float, second: float, spread: float) -> bool | None:
    """Return whether `first` is the larger one.

    None where the difference is within two spreads, or one of them is unknown.
    """
    difference = first - second
    if not np.isfinite([difference, spread]).all() or abs(difference) <= _SPREADS * spread:
        return None
    return bool(difference > 0)


def at_ceiling(value: float, ceiling: float) -> bool:
    """Return whether an estimate is too near to its ceiling to be compared with others."""
    return bool(value >= SATURATED * ceiling)


def all_of(outcomes: Iterable[bool | None]) -> bool | None:
    """Return the outcome of a finding in parts: True if all hold, False if one fails, else None."""
    outcomes = list(outcomes)
    if any(outcome is not None and not outcome for outcome in outcomes):
        return False
    return None if not outcomes or any(outcome is None for outcome in outcomes) else True


def agreement(outcomes: Iterable[bool | None]) -> Agreement:
    """Return the verdict over several outcomes: all for it, all against it, or else partly.

    None is an outcome that is undecided; "not tested" where all are.
    """
    outcomes = [None if outcome is None else bool(outcome) for outcome in outcomes]
    if all(outcome is None for outcome in outcomes):
        return "not tested"
    if all(outcomes):
        return "yes"
    return "no" if all(outcome is False for outcome in outcomes) else "partly"


def weighed(outcomes: Iterable[bool | None]) -> Agreement:
    """Return the verdict over outcomes of a test, "partly" where the intervals decide nothing."""
    verdict = agreement(outcomes)
    return "partly" if verdict == "not tested" else verdict


NO_EFFECT = 0.01
"""An effect whose whole interval is below it is none."""


def judged(effects: Sequence[Value], minimum: float = 0.0) -> Agreement:
    """Return the verdict over the effects of all sources, NaN where there was nothing to measure.

    Yes where all of them are above `minimum`, no where all are below `NO_EFFECT`; an interval that
    holds both does not decide, and partly where none does.
    """
    if not any(np.isfinite(effect.low) for effect in effects):
        return "not tested"
    return weighed(effect.above(minimum, NO_EFFECT) for effect in effects)


def graded(share: float, yes: float, partly: float) -> Agreement:
    """Return "yes" from the share `yes` on, "partly" from `partly` on, else "no"."""
    return "yes" if share >= yes else "partly" if share >= partly else "no"


def joined(verdicts: Sequence[Agreement]) -> Agreement:
    """Return the verdict over several verdicts.

    "partly" where those that decide differ, or say "yes" and some do not decide.
    """
    decided: list[Agreement] = [verdict for verdict in verdicts if verdict != "not tested"]
    if not decided:
        return "not tested"
    if len(set(decided)) > 1 or (decided[0] == "yes" and len(decided) < len(verdicts)):
        return "partly"
    return decided[0]


def plain_numbers(values: ArrayLike | str) -> object:
    """Return numbers as JSON holds them: lists, None for NaN and infinity; text unchanged.

    Raises:
        RunError: the values are of another kind.
    """
    if isinstance(values, str):
        return values
    array = np.asarray(values)
    if array.dtype.kind in "biuUO":
        return array.tolist()
    if array.dtype.kind != "f":
        raise RunError("numbers of a figure", "numbers or text", f"dtype {array.dtype}")
    # The shortest text that gives the same number, so that single precision stays short.
    exact = array if array.dtype == np.float64 else array.astype(str).astype(np.float64)
    objects = np.array(exact, dtype=object)
    objects[~np.isfinite(exact)] = None
    return objects.tolist()


def grown(change: np.ndarray) -> bool | None:
    """Return whether a change over seeds is above 0; None where it is within two deviations."""
    spread = 2 * float(change.std(ddof=1)) if len(change) > 1 else 0.0
    return None if abs(change.mean()) <= spread else bool(change.mean() > 0)


def kept(rows: np.ndarray) -> bool:
    """Return whether curves (seeds, t) end with more of their rise than they lost from the peak."""
    mean = rows.mean(axis=0)
    return bool(mean.max() - mean[-1] < mean[-1] - mean[0])


def late(values: np.ndarray, steps: np.ndarray) -> Value:
    """Return mean and standard deviation of records (t,) over the last quarter of a training.

    Of one record alone the deviation is 0.
    """
    last = np.asarray(values, float)[steps >= LATE * steps[-1]]
    return Value.within(float(last.mean()), float(last.std(ddof=1)) if len(last) > 1 else 0.0)


def settled(values: np.ndarray, steps: np.ndarray) -> Value:
    """Return the mean of the last quarter, and the spread about a line through it.

    What still rises there is no noise, and must not hide that nothing fell.
    """
    last = steps >= LATE * steps[-1]
    about_line = drift(np.asarray(values)[last], steps[last]).spread
    return Value.within(late(values, steps).value, about_line)


def trend(values: np.ndarray) -> float:
    """Return Spearman's correlation with the order of the records."""
    return spearman(np.arange(len(values), dtype=float), np.asarray(values, float))


def rank_agreement(table: np.ndarray) -> np.ndarray:
    """Return the mean (...) of Spearman's correlations between each two columns (..., m, columns).

    Equal values share their mean rank; NaN where no two columns have an order.
    """
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=-2)
    ranks -= ranks.mean(axis=-2, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=-2, keepdims=True))
    ordered = length[..., 0, :] > 0
    ranks /= np.where(length > 0, length, 1.0)
    # The mean over pairs follows from the sum of all columns: |sum|^2 = columns + 2 * pairs' sum.
    columns = ordered.sum(axis=-1)
    pairs = columns * (columns - 1) / 2
    total = ((ranks.sum(axis=-1) ** 2).sum(axis=-1) - columns) / 2
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def partial_rank_correlation(
    first: np.ndarray, second: np.ndarray, condition: np.ndarray, seed: int
) -> Value:
    """Return Spearman's correlation of two numbers, a third one's part taken out of both.

    The interval is that of pairs drawn with replacement, by a bootstrap with this seed. NaN where
    the third number is one of the two, or constant.
    """
    from scipy.stats import rankdata

    def partial(rows: np.ndarray) -> np.ndarray:
        """Return the correlation (k,) of each row of numbers (k, n) of pairs."""
        ranks = rankdata(np.stack([first, second, condition])[:, rows], axis=2)  # (3, k, n)
        ranks -= ranks.mean(axis=2, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            ranks /= np.linalg.norm(ranks, axis=2, keepdims=True)
            ab, ac, bc = ((ranks[i] * ranks[j]).sum(axis=1) for i, j in ((0, 1), (0, 2), (1, 2)))
            unexplained = (1 - ac**2) * (1 - bc**2)
            return np.where(unexplained > 1e-13, (ab - ac * bc) / np.sqrt(unexplained), np.nan)

    rng = generator(seed, "bootstrap of pairs", len(first))
    draws = partial(rng.integers(0, len(first), (_DRAWS, len(first))))
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (math.nan, math.nan)
    (value,) = partial(np.arange(len(first))[None])
    return Value("", float(value), float(low), float(high), "+.2f")


def over_kernels(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> Value:
    """Return a statistic of kernels, and its deviation over kernels drawn with replacement.

    The statistic takes indices (..., m) of the kernels and returns values (...).
    """
    rng = generator(0, "study-kernels-bootstrap", count)
    draws = np.asarray(statistic(rng.integers(0, count, (_KERNEL_DRAWS, count))))
    finite = draws[np.isfinite(draws)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else np.nan
    return Value.within(float(statistic(np.arange(count))), spread)


def drift(values: np.ndarray, steps: np.ndarray) -> Value:
    """Return the rise of a straight line through records (t,), and their deviation about it.

    The rise is that from the first to the last record; both are NaN of fewer than three records.
    """
    if len(values) < 3:
        return Value("", math.nan)
    times = (steps - steps[0]) / (steps[-1] - steps[0])
    slope, start = np.polyfit(times, np.asarray(values, float), 1)
    about = np.asarray(values, float) - (start + slope * times)
    return Value.within(float(slope), float(np.sqrt((about**2).sum() / (len(values) - 2))))


def second_half(values: np.ndarray, steps: np.ndarray) -> Value:
    """Return the `drift` of the records from the middle of a training on."""
    is_late = steps >= steps[-1] / 2
    return drift(np.asarray(values)[is_late], steps[is_late])


def rises_all_along(
    values: np.ndarray, steps: np.ndarray, ceiling: float
) -> tuple[bool | None, bool | None]:
    """Return whether something rises in order with the iterations, and in the second half too.

    Records are denser at first, so that an order over all of them could be that of the start alone.
    None where a rise is within its spread, and for both where the end is at the ceiling.
    """
    if at_ceiling(values[-1], ceiling):
        return None, None
    rises = all_of([late(values, steps).above(values[0]), larger(trend(values), RISING, 0.0)])
    return rises, second_half(values, steps).above()


def peak(values: np.ndarray) -> tuple[float, int]:
    """Return the highest mean of three records in a row, and the index of the middle one.

    The highest single record of a noisy curve lies above its end by chance alone.
    """
    if len(values) < 3:
        return math.nan, 0
    means = np.convolve(np.asarray(values, float), np.full(3, 1 / 3), "valid")
    index = int(np.argmax(means))
    return float(means[index]), index + 1


class CurveShape(NamedTuple):
    """The course of one quantity of a layer over a training."""

    rises: bool  # it ends above its start
    falls: bool  # it ends below its largest value
    drop: float  # by what share of it


def curve_shape(values: np.ndarray) -> CurveShape:
    """Return the course of a curve (t, batches), beyond 5 % of its peak and two standard errors."""
    mean = values.mean(axis=1)
    top = int(np.argmax(mean))
    highest = max(float(mean[top]), 1e-12)

    def clear(change: np.ndarray) -> bool:
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else 0.0
        return bool(change.mean() > max(CHANGE * highest, 2 * float(error)))

    fall = values[top] - values[-1]
    return CurveShape(clear(values[-1] - values[0]), clear(fall), float(fall.mean() / highest))


def saturates(values: np.ndarray, ceilings: np.ndarray, tolerance: float) -> bool | None:
    """Return whether information (counts,) grows and is at its ceiling before the most filters.

    At its ceiling (counts,) is within a share `tolerance` of it. None where it is there with
    the fewest filters: nothing can grow.
    """
    full = values >= (1 - tolerance) * ceilings
    if full[0]:
        return None
    grows = bool(np.all(np.diff(values) > -0.05 * ceilings[1:])) and values[-1] > values[0]
    return bool(grows and full[:-1].any())


def violations(values: np.ndarray, forward: bool) -> tuple[int, int]:
    """Return the steps between layers that go against the inequality, and how many there are.

    Of values (batches, layers), I with the input may not rise (`forward`), I with the last layer's
    error may not fall. Against it are steps of which 97.5 % of the means over batches drawn with
    replacement are on the wrong side.
    """
    violation = np.diff(values, axis=1) if forward else -np.diff(values, axis=1)
    rows = generator(0, "renyi bootstrap").integers(0, len(values), (_STEP_DRAWS, len(values)))
    low = np.quantile(violation[rows].mean(axis=1), _STEP_LEVEL, axis=0)
    # Eigenvalues carry rounding; less than a millionth of a bit is none.
    return int((low > 1e-6).sum()), violation.shape[1]
