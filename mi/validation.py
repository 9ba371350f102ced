"""Checks of samples as people have them: arrays of numbers, labels, or either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oip.core import seeds
from oip.core.checks import LARGEST, one_column
from oip.core.errors import DataError, SettingsError, notice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FEWEST = 2
"""Samples that any estimate needs."""
FEWEST_LABELS = 20
"""Fewest labeled samples that an estimate for a network is made from."""
FEWEST_HELD_OUT = 5
"""Samples of a class under which held-out p-values can be too small: shuffles against given
predictions miss that two folds agree by chance, which their width alone does not show then."""
TIED = 0.05
"""Share of values that occur more than once from which the reader gets a notice."""
_MOST_COPIES, _OFF_GRID = 0.1, 1e-6
_STEPS, _STEPS_ALONE = 10_000, 1_000_000
"""Of a grid, from whose width on rows that repeat are copies: one number repeats more often."""
_FOLLOWS = 1e-6
"""Share of a column's deviation under which what others leave of it is rounding."""
_HEAVY = 10.0
"""Kurtosis from which tails are heavy."""
_EXACT = 2**53
"""Whole numbers up to this are kept as float64."""
_NUMBERS = "an array of numbers"
_LABELS = "one whole number, boolean or name per sample"


@dataclass(frozen=True, eq=False)
class Side:
    """One side of an information quantity: numbers or a label."""

    name: str
    """Name of the argument, for messages."""
    values: np.ndarray
    """(n, d) float64, or (n,) int from 0 of a label."""
    is_label: bool

    def __len__(self) -> int:
        return len(self.values)

    @property
    def d(self) -> int:
        """The number of dimensions; 1 for a label."""
        return 1 if self.is_label else self.values.shape[1]

    def label_notice(self) -> tuple[str, ...]:
        """Return a remark on numbers that look like a label: whole ones, a tenth of n at most."""
        if self.is_label or self.d > 1 or np.any(self.values % 1):
            return ()
        count = len(np.unique(self.values))
        text = (
            f"{self.name} has only {count} different values. If it is a label, say discrete=True."
        )
        return (text,) if 1 < count <= len(self) / 10 else ()


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the samples that are used."""

    codes: np.ndarray
    """(n,) int: indices into `classes`."""
    classes: tuple[str, ...]
    indices: np.ndarray
    """(n,) int: indices into the samples given."""
    notices: tuple[str, ...] = ()
    """Samples that were left out."""


def check_side(name: str, values: ArrayLike, discrete: bool | None, labels_first: bool) -> Side:
    """Return numbers or a label, whichever the values are; `name` is that of the argument.

    `discrete` True takes any values as a label, False takes numbers as numbers. None decides: names
    are a label; whole numbers, booleans and one-hot rows are one if `labels_first`; all else is
    numbers.

    Raises:
        DataError: values that are neither.
        SettingsError: `discrete` is something else.
    """
    if discrete is not None and not isinstance(discrete, bool):
        raise SettingsError(f"{name}: discrete", "True, False or None", discrete)
    if discrete is None:
        discrete = _looks_like_labels(values, labels_first)
    if discrete:
        return Side(name, check_codes(name, values, None, discrete=True), True)
    return Side(name, check_numbers(name, values), False)


def check_numbers(name: str, values: ArrayLike, minimum: int = FEWEST) -> np.ndarray:
    """Return numbers or booleans (n,) or (n, d) as (n, d) float64.

    Raises:
        DataError: no numbers, NaN, infinity, another shape, no column, too few samples, numbers
            that are too large or differ too little for their squares.
    """
    numbers = _array(name, values, _NUMBERS)
    if numbers.dtype.kind not in "buif":
        raise DataError(name, _NUMBERS, f"dtype {numbers.dtype}")
    shape = numbers.shape
    if numbers.ndim == 1:
        numbers = numbers[:, None]
    if numbers.ndim != 2 or not numbers.shape[1]:
        raise DataError(name, "shape (n,) or (n, d), d 1 or more", shape)
    _check_count(name, len(numbers), minimum)
    is_whole, numbers = numbers.dtype.kind in "iu", numbers.astype(np.float64)
    _check_sizes(name, numbers)
    if is_whole and np.abs(numbers).max() > _EXACT:
        notice(
            f"{name}: whole numbers above 2^53 are rounded to 16 digits. If only differences "
            "count, take off an offset first, as by x - x.min(axis=0)."
        )
    spread = np.ptp(numbers, axis=0)
    smallest = float(spread.min(where=spread > 0, initial=np.inf))
    if smallest < 1 / LARGEST:
        text = f"coordinates that vary by {1 / LARGEST:g} or more, or not at all"
        raise DataError(name, text, f"{smallest:.3g}", "Take another unit.")
    return numbers


def check_responses(responses: ArrayLike) -> np.ndarray:
    """Return responses (n, m, d) as float32 or float64.

    Raises:
        DataError: no numbers, NaN, infinity, another shape, no node, fewer than two samples.
    """
    values = _array("responses", responses, _NUMBERS)
    if values.dtype.kind not in "buif":
        raise DataError("responses", _NUMBERS, f"dtype {values.dtype}")
    if values.ndim != 3 or not values.shape[2] or not values.shape[1]:
        raise DataError("responses", "shape (n, maps, d)", values.shape)
    _check_count("responses", len(values), FEWEST)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    _check_sizes("responses", values)
    return values


def check_codes(
    name: str, labels: ArrayLike, count: int | None, discrete: bool = False
) -> np.ndarray:
    """Return a label as codes (n,) int, 0 to classes - 1, in the order of the sorted values.

    Raises:
        DataError: another length than `count`, one sample, or what `label_column` refuses.
    """
    values = label_column(name, labels, discrete)
    if count is not None:
        check_same_length(name, len(values), count)
    _check_count(name, len(values), FEWEST)
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def checked_maps(responses: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return responses (n, m, d) and codes (n,) of their label.

    A DataError also where one of several classes is seen once.
    """
    values = check_responses(responses)
    codes = check_codes("labels", labels, len(values))
    if codes.any():
        check_seen_twice("labels", codes)
    return values, codes


def check_seen_twice(name: str, codes: np.ndarray) -> None:
    """Raise a DataError if a class has one sample only, of which nothing can be learned."""
    single = np.flatnonzero(np.bincount(codes) == 1)
    if single.size:
        sample = int(np.flatnonzero(codes == single[0])[0])
        raise DataError(
            name,
            "every class in two samples or more",
            f"{single.size} seen once (one of them in sample {sample})",
            "Leave those samples out, or say discrete=False if the values are numbers.",
        )


def check_same_length(name: str, count: int, other: int) -> None:
    """Raise a DataError unless there are as many samples as the other arguments have."""
    if count != other:
        raise DataError(name, f"{other} samples, as many as the others have", count)


def check_labels(
    labels: ArrayLike | None,
    count: int,
    classes: Sequence[str] | None = None,
    discrete: bool = False,
) -> Labels:
    """Return the labels without those that are seen once, of which nothing can be learned.

    Args:
        labels: (n,) whole numbers, booleans or strings, (n, 1) of them, or one-hot rows (n, k).
        count: number of samples that they belong to.
        classes: names; the whole number k is shown as `classes[k]`. The value's own text if None.
        discrete: take (n,) floats as names, too.

    Raises:
        DataError: labels that are missing, of another length, continuous, NaN, several for a
            sample, of one class only, or for fewer than 20 samples.
    """
    values = label_column("labels", labels, discrete)
    if len(values) != count:
        raise DataError("labels", f"{count}, one per sample", len(values))
    if count < FEWEST_LABELS:
        hint = "Give more; copies of a sample count once."
        raise DataError("labelled samples", f"at least {FEWEST_LABELS}", count, hint)
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) == 1:
        only = f"only '{distinct[0]}'"
        raise DataError("labels", "two classes or more", only, "Add other classes.")
    often = counts > 1
    usable_rows = np.flatnonzero(often[codes])
    if often.sum() < 2 or len(usable_rows) < FEWEST_LABELS:
        text = f"two classes seen more than once, in {FEWEST_LABELS} samples or more"
        received = f"{len(distinct)} different labels for {count} samples"
        hint = "Labels that hardly repeat cannot be used as classes."
        raise DataError("labels", text, received, hint)
    notices = ()
    rare = distinct[~often]
    if rare.size:
        listed = ", ".join(str(value) for value in rare[:5]) + (", ..." if rare.size > 5 else "")
        notices = (f"{rare.size} labels that are seen once were left out: {listed}.",)
    renumbered = np.cumsum(often) - 1
    return Labels(
        renumbered[codes[usable_rows]], _names(distinct[often], classes), usable_rows, notices
    )


def _names(values: np.ndarray, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes with these values."""
    if classes is None or values.dtype.kind == "U":
        return tuple(str(value) for value in values)
    if values.min() < 0 or values.max() >= len(classes):
        numbers = f"0 to {len(classes) - 1}, for {len(classes)} classes"
        raise DataError("labels", numbers, f"{values.min()} to {values.max()}")
    fractions = values[values % 1 != 0]
    if fractions.size:
        raise DataError("labels", "whole numbers, one for each class", fractions[0])
    names = tuple(str(classes[int(value)]) for value in values)
    check_distinct(names)
    return names


def check_distinct(names: Sequence[str]) -> None:
    """Raise a DataError for a name that several classes have: their numbers stand by name."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError("classes", "a name of its own for each", f"'{twice}' twice")


def stratified(codes: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the sorted rows of a subsample with the same shares of the classes.

    Two of each class or more; all rows where there are no more than `size`. A SettingsError says
    that there are fewer than two samples a class.
    """
    if len(codes) <= size:
        return np.arange(len(codes))
    counts = np.bincount(codes)
    minimum = max(FEWEST_LABELS, 2 * len(counts))
    if size < minimum:
        text = f"at least {minimum} for {len(counts)} classes"
        raise SettingsError("samples", text, size)
    share = counts * size / len(codes)
    take = np.maximum(np.floor(share).astype(int), np.minimum(counts, 2))
    while take.sum() != size:
        step = 1 if take.sum() < size else -1
        lacking = (share - take) * step
        movable = take < counts if step > 0 else take > 2
        take[np.argmax(np.where(movable, lacking, -np.inf))] += step
    draw = seeds.generator(seed, "samples")
    rows_by_class = [
        draw.permutation(np.flatnonzero(codes == code))[:count] for code, count in enumerate(take)
    ]
    return np.sort(np.concatenate(rows_by_class))


def label_entropy(codes: np.ndarray) -> float:
    """Return H(Y) of the labels at hand, in nats: an upper bound of all information about them."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def class_entropies(codes: np.ndarray) -> np.ndarray:
    """Return (classes,) entropies of being of a class or not, in nats: ceilings of one-vs-rest."""
    share = np.bincount(codes) / len(codes)
    other_share = 1.0 - share
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.stack([share * np.log(share), other_share * np.log(other_share)])
    return -np.nan_to_num(terms).sum(axis=0)


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Return codes (n,) as one-hot rows (n, classes) float64."""
    return np.eye(codes.max() + 1)[codes]


def check_varied(name: str, x: np.ndarray) -> None:
    """Raise a DataError for a constant coordinate of x (n, d)."""
    if not np.ptp(x, axis=0).all():
        raise DataError(name, "coordinates that vary", "a constant one")


def check_full_rank(name: str, x: np.ndarray) -> None:
    """Raise a DataError where a column of x (n, d), none constant, follows from the others."""
    centered = x - x.mean(axis=0)
    residuals = np.linalg.qr(centered / np.sqrt((centered * centered).sum(axis=0)), mode="r")
    if np.abs(np.diagonal(residuals)).min() <= _FOLLOWS:
        hint = "Leave out columns that follow from others, or take more samples."
        raise DataError(name, "a covariance of full rank", "a singular one", hint)


def varied(x: np.ndarray) -> np.ndarray:
    """Return the columns of x (n, d) that are not constant."""
    moves = np.ptp(x, axis=0) > 8 * np.finfo(x.dtype).eps * np.abs(x).max(axis=0)
    return x if moves.all() else x[:, moves]


def heavy_tails(effect: str, **sides: np.ndarray) -> tuple[str, ...]:
    """Return a notice for each side (n, d) that has heavy tails, with their effect."""
    notices = []
    for name, side in sides.items():
        columns = varied(side)
        deviations = columns - columns.mean(axis=0)
        squares = (deviations / deviations.std(axis=0)) ** 2
        kurtosis = float((squares**2).mean(axis=0).max(initial=0.0))
        if kurtosis > _HEAVY:
            notices.append(
                f"{name}: heavy tails (kurtosis {kurtosis:.0f}; 3 is Gaussian): {effect}. With "
                "marginals='ranks' they do not."
            )
    return tuple(notices)


def normal_marginals(x: np.ndarray, ties: np.random.Generator | None = None) -> np.ndarray:
    """Return every column of x (n, ...) as normal quantiles of its ranks.

    Monotone maps of a column change nothing, and tails are those of a Gaussian. Equal values stay
    equal, or come in an order that `ties` draws for every column: that is independent of all else,
    so that it leaves the information of x as it is.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    if ties is None:
        return ndtri(rankdata(x, axis=0) / (len(x) + 1.0))
    order = np.lexsort((ties.random(x.shape), x), axis=0)
    return ndtri((np.argsort(order, axis=0) + 1.0) / (len(x) + 1.0))


def first_of_copies(*sides: np.ndarray) -> np.ndarray | None:
    """Return the samples without copies of others, (k,) int and sorted; None if there are none.

    A copy repeats another sample in all sides, numbers (n, d) or labels (n,). Numbers that repeat
    for another reason are no copies: those on a grid, such as counts and rounded values; samples
    at an end of every column, as after a ReLU; a row of numbers that comes with several labels, or
    in more than a tenth of the samples.
    """
    numbers = [side for side in sides if side.ndim == 2]
    x = varied(np.concatenate(numbers, axis=1)) if numbers else np.empty((0, 0))
    if not x.size or _is_on_grid(x):
        return None
    codes = np.stack([side for side in sides if side.ndim == 1] or [np.zeros(len(x), int)], axis=1)
    rows = row_codes(x)
    counts = np.bincount(rows)[rows]
    repeated = (counts > 1) & (counts <= max(2, _MOST_COPIES * len(x)))
    is_extreme = ((x == x.min(axis=0)) | (x == x.max(axis=0))).all(axis=1)
    repeated &= ~is_extreme | (counts <= counts.max(where=repeated & ~is_extreme, initial=0))
    if not repeated.any():
        return None
    joint_codes = row_codes(np.concatenate([rows[:, None], codes], axis=1))
    if (np.bincount(joint_codes)[joint_codes] != counts)[repeated].any():
        return None
    is_first = np.zeros(len(x), bool)
    is_first[np.unique(rows, return_index=True)[1]] = True
    return np.flatnonzero(is_first | ~repeated)


def _is_on_grid(x: np.ndarray) -> bool:
    """Return whether the columns of x (n, d) are multiples of a step, at most `_STEPS` of them.

    If there is one column, also whether it has more steps, or half precision.
    """
    maximum = _STEPS if x.shape[1] > 1 else _STEPS_ALONE
    with np.errstate(over="ignore"):
        if x.shape[1] == 1 and (x.astype(np.float16) == x).all():
            return True
    for column in x.T:
        values = np.unique(column)
        with np.errstate(over="ignore", invalid="ignore"):
            span = values[-1] - values[0]
            steps = (values - values[0]) * (np.rint(span / np.diff(values).min()) / span)
        if steps[-1] > maximum or np.abs(steps - np.rint(steps)).max() > _OFF_GRID:
            return False
    return True


def row_codes(x: np.ndarray) -> np.ndarray:
    """Return a number (n,) from 0 for every row of x (n, d), the same for equal rows."""
    values = np.ascontiguousarray(x + np.zeros(1, x.dtype))  # -0 is 0
    rows = values.view(np.dtype((np.void, values.dtype.itemsize * values.shape[1])))
    return np.unique(rows.reshape(-1), return_inverse=True)[1].reshape(-1)


def copies_notice(n: int, unique_count: int) -> str:
    """Return what a reader has to know where copies were left out."""
    return f"{n - unique_count} of {n} samples are copies of others and were left out."


def tied_share(x: np.ndarray) -> float:
    """Return the largest share, over the columns of x (n, d), of values that occur before."""
    ordered = np.sort(x, axis=0)
    return float((ordered[1:] == ordered[:-1]).mean(axis=0).max(initial=0.0))


def label_column(name: str, labels: ArrayLike | None, discrete: bool = False) -> np.ndarray:
    """Return labels as (n,) numbers, booleans or text: one value per sample.

    They are (n,) whole numbers, booleans or names, (n, 1) of them, or one-hot rows; if `discrete`,
    floats are names, too.

    Raises:
        DataError: none, objects, masked values, rows of different lengths, NaN or infinity;
            several labels for a sample, another shape, floats unless `discrete`.
    """
    if labels is None:
        raise DataError(name, _LABELS, "none", "Information is about a label.")
    values = _array(name, labels, _LABELS)
    if values.dtype.kind == "O":
        if not _are_names(values):
            kinds = sorted({type(value).__name__ for value in values.ravel()})
            raise DataError(name, _LABELS, ", ".join(kinds))
        values = values.astype(str)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "biufU":
        raise DataError(name, _LABELS, f"dtype {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(name, _LABELS, "NaN or infinity")
    values = one_column(values)
    if values.ndim == 2 and values.dtype.kind != "U":
        zero_one = np.isin(values, (0, 1)).all()
        if zero_one and (values.sum(axis=1) == 1).all():
            return values.argmax(axis=1)
        received = "several labels for a sample" if zero_one else "rows that are not one-hot"
        hint = "Give one column at a time: the information is about one label."
        raise DataError(name, _LABELS, received, hint)
    if values.ndim != 1:
        hint = "A label for every pixel cannot be used." if values.ndim > 2 else ""
        raise DataError(name, _LABELS, f"shape {values.shape}", hint)
    if values.dtype.kind == "f" and not discrete:
        hint = "If the numbers are classes, give them as whole numbers: labels.astype(int)."
        raise DataError(name, _LABELS, f"floats ({values.dtype})", hint)
    return values


def _array(name: str, values: ArrayLike, kind: str) -> np.ndarray:
    """Return values as an array; raise a DataError for masked values and ragged rows."""
    if np.ma.is_masked(values):
        hint = "Leave out the samples with masked values."
        raise DataError(name, kind, "masked values", hint)
    try:
        return _plain_numbers(np.asarray(values))
    except ValueError as error:
        raise DataError(name, kind, "rows of different lengths") from error


def _plain_numbers(values: np.ndarray) -> np.ndarray:
    """Return numbers that are kept as objects, as columns of tables may be, as numbers."""
    if values.dtype.kind == "O" and values.size:
        if all(isinstance(value, (int, float, np.number, np.bool_)) for value in values.ravel()):
            return np.array(values.tolist())
    return values


def _check_count(name: str, count: int, minimum: int) -> None:
    if count < minimum:
        raise DataError(name, f"at least {minimum} samples", count)


def _check_sizes(name: str, values: np.ndarray) -> None:
    """Raise a DataError for NaN, infinity, and numbers whose squares overflow."""
    if not np.isfinite(values).all():
        raise DataError(name, "finite numbers", "NaN or infinity")
    largest = float(np.abs(values).max())
    if largest > LARGEST:
        text = f"numbers up to {LARGEST:g}"
        raise DataError(name, text, f"{largest:.3g}", "Take another unit.")


def _looks_like_labels(given: ArrayLike, labels_first: bool) -> bool:
    """Return whether values are names, or, if `labels_first`, whole numbers or one-hot rows."""
    try:
        values = _plain_numbers(np.asarray(given))
    except ValueError:  # rows of different lengths: the check that follows refuses them
        return labels_first
    if values.dtype.kind in "USO":
        return values.dtype.kind != "O" or _are_names(values)
    if not labels_first or values.dtype.kind not in "buif":
        return False
    if values.ndim == 1 or values.shape[1:] == (1,):
        return values.dtype.kind != "f"
    return (
        values.ndim == 2
        and bool(np.isin(values, (0, 1)).all())
        and bool((values.sum(axis=1) == 1).all())
    )


def _are_names(values: np.ndarray) -> bool:
    return all(isinstance(value, str) for value in values.ravel())
