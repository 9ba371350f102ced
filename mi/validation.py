"""Samples as people have them, checked: arrays of numbers, labels, or either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import DataError, SettingsError, expected

FEWEST = 2
"""Samples that any estimate needs."""
_LARGEST = 1e100
TIED = 0.05
"""Share of values that others have, too, from which a reader is told."""


@dataclass(frozen=True, eq=False)
class Side:
    """One side of an information quantity: numbers or a label."""

    name: str
    """Of the argument, for messages."""
    values: np.ndarray
    """(n, d) float64, or (n,) int from 0 of a label."""
    is_label: bool

    def __len__(self) -> int:
        return len(self.values)

    @property
    def d(self) -> int:
        """Dimensions; 1 for a label."""
        return 1 if self.is_label else self.values.shape[1]

    @property
    def numbers(self) -> np.ndarray:
        """(n, d): the numbers, or a label as one-hot rows."""
        return one_hot(self.values) if self.is_label else self.values


def check_side(name: str, given: Any, discrete: bool | None, labels_first: bool) -> Side:
    """Numbers or a label, whichever it is.

    Args:
        name: of the argument, for messages.
        given: (n,) or (n, d) numbers, (n,) whole numbers, booleans or names, one-hot rows.
        discrete: True takes any values as a label, False takes numbers as numbers, None decides:
            names are a label; whole numbers, booleans and one-hot rows are one if `labels_first`;
            all else is numbers.

    Raises:
        DataError: what is neither.
        SettingsError: `discrete` is something else.
    """
    if discrete is not None and not isinstance(discrete, bool):
        raise SettingsError(expected(f"{name}: discrete", "True, False or None", discrete))
    if discrete is None:
        discrete = _looks_like_labels(given, labels_first)
    if discrete:
        return Side(name, check_codes(name, given, None, discrete=True), True)
    return Side(name, check_numbers(name, given), False)


def check_numbers(name: str, given: Any, least: int = FEWEST) -> np.ndarray:
    """Numbers as (n, d) float64.

    Args:
        name: of the argument, for messages.
        given: (n,) or (n, d) numbers or booleans.
        least: samples.

    Raises:
        DataError: no numbers, NaN, infinity, another shape, no column, too few samples, numbers
            that are too large or differ too little for their squares.
    """
    values = _plain(name, given)
    if values.dtype.kind not in "buif":
        raise DataError(expected(name, "an array of numbers", f"dtype {values.dtype}"))
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(expected(name, "shape (n,) or (n, d), d 1 or more", np.shape(given)))
    if len(values) < least:
        raise DataError(expected(name, f"at least {least} samples", len(values)))
    values = values.astype(np.float64)
    _check_sizes(name, values)
    spread = np.ptp(values, axis=0)
    smallest = float(spread.min(where=spread > 0, initial=np.inf))
    if smallest < 1 / _LARGEST:
        wanted = f"coordinates that vary by {1 / _LARGEST:g} or more, or not at all"
        raise DataError(expected(name, wanted, f"{smallest:.3g}", "Take another unit."))
    return values


def check_responses(given: Any) -> np.ndarray:
    """Responses (n, m, d) as float32 or float64.

    Raises:
        DataError: no numbers, NaN, infinity, another shape, no node, fewer than two samples.
    """
    values = _plain("responses", given)
    if values.dtype.kind not in "buif":
        raise DataError(expected("responses", "an array of numbers", f"dtype {values.dtype}"))
    if values.ndim != 3 or not values.shape[2] or not values.shape[1]:
        raise DataError(expected("responses", "shape (n, maps, d)", values.shape))
    if len(values) < FEWEST:
        raise DataError(expected("responses", f"at least {FEWEST} samples", len(values)))
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    _check_sizes("responses", values)
    return values


def check_codes(name: str, given: Any, count: int | None, discrete: bool = False) -> np.ndarray:
    """A label as codes (n,) int, 0 to classes - 1, in the order of the sorted values.

    Args:
        name: of the argument, for messages.
        given: (n,) whole numbers, booleans or names, (n, 1) of them, or one-hot rows.
        count: samples that it belongs to; any number if None.
        discrete: take floats as names, too.

    Raises:
        DataError: another length, fewer than two samples, or what is no label.
    """
    values = one_column(name, plain(name, given), discrete)
    if count is not None:
        check_lengths(name, len(values), count)
    if len(values) < FEWEST:
        raise DataError(expected(name, f"at least {FEWEST} samples", len(values)))
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def checked_maps(responses: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Responses (n, m, d) and codes (n,) of their label: one class, or each seen twice or more.

    Raises:
        DataError: responses or labels that cannot be used; a class that is seen once.
    """
    values = check_responses(responses)
    codes = check_codes("labels", labels, len(values))
    if codes.any():
        check_seen_twice("labels", codes)
    return values, codes


def check_seen_twice(name: str, codes: np.ndarray) -> None:
    """Every class has two samples or more: of one alone nothing can be learned.

    Raises:
        DataError: it has not.
    """
    single = np.flatnonzero(np.bincount(codes) == 1)
    if single.size:
        first = int(np.flatnonzero(codes == single[0])[0])
        raise DataError(
            expected(
                name,
                "every class in two samples or more",
                f"{single.size} seen once (one of them in sample {first})",
                "Leave those samples out, or say discrete=False if the values are numbers.",
            )
        )


def check_lengths(name: str, count: int, wanted: int) -> None:
    """As many samples as the other argument has.

    Raises:
        DataError: more or fewer.
    """
    if count != wanted:
        raise DataError(expected(name, f"{wanted} samples, as many as the others have", count))


def one_hot(codes: np.ndarray) -> np.ndarray:
    """(n, classes) float64."""
    return np.eye(codes.max() + 1)[codes]


def _check_sizes(name: str, values: np.ndarray) -> None:
    """Finite numbers whose squares do not overflow.

    Raises:
        DataError: NaN, infinity, numbers above 1e100.
    """
    if not np.isfinite(values).all():
        raise DataError(expected(name, "finite numbers", "NaN or infinity"))
    largest = float(np.abs(values).max())
    if largest > _LARGEST:
        wanted = f"numbers up to {_LARGEST:g}"
        raise DataError(expected(name, wanted, f"{largest:.3g}", "Take another unit."))


def _plain(name: str, given: Any) -> np.ndarray:
    if np.ma.is_masked(given):
        hint = "Leave out the samples with masked values."
        raise DataError(expected(name, "an array of numbers", "masked values", hint))
    try:
        return np.asarray(given)
    except ValueError as error:
        raise DataError(expected(name, "an array of numbers", "rows of different lengths")) from (
            error
        )


def _looks_like_labels(given: Any, labels_first: bool) -> bool:
    try:
        values = np.asarray(given)
    except ValueError:  # rows of different lengths: whoever reads them says so
        return labels_first
    if values.dtype.kind in "USO":
        return values.dtype.kind != "O" or _all_names(values)
    if not labels_first or values.dtype.kind not in "buif":
        return False
    if values.ndim == 1 or values.shape[1:] == (1,):
        return values.dtype.kind != "f"
    return (
        values.ndim == 2
        and bool(np.isin(values, (0, 1)).all())
        and bool((values.sum(axis=1) == 1).all())
    )


def _all_names(values: np.ndarray) -> bool:
    return all(isinstance(value, str) for value in values.ravel())


def tied_share(x: np.ndarray) -> float:
    """Largest share, over the coordinates of x (n, d), of values that another sample has, too."""
    ordered = np.sort(x, axis=0)
    return float((ordered[1:] == ordered[:-1]).mean(axis=0).max(initial=0.0))


FEWEST_LABELS = 20
"""Fewest labelled samples that an estimate is made from."""
_KINDS = "one whole number, boolean or name a sample"


@dataclass(frozen=True)
class Labels:
    """Labels of the samples that are used.

    `codes` (n,) int are indices into `classes`; `kept` (n,) int are the samples' places in what was
    given; `notices` say what was left out.
    """

    codes: np.ndarray
    classes: tuple[str, ...]
    kept: np.ndarray
    notices: tuple[str, ...] = ()


def check_labels(
    labels: Any, count: int, classes: Sequence[str] | None = None, discrete: bool = False
) -> Labels:
    """Labels as codes.

    Args:
        labels: (n,) whole numbers, booleans or strings, (n, 1) of them, or one-hot rows (n, k).
        count: number of samples that they belong to.
        classes: names; the whole number k is shown as `classes[k]`. The value's own text if None.
        discrete: take (n,) floats as names, too.

    Returns:
        The labels without those that are seen once, of which nothing can be learned.

    Raises:
        DataError: labels that are missing, of another length, continuous, NaN, several for a
            sample, of one class only, or for fewer than 20 samples.
    """
    values = one_column("labels", plain("labels", labels), discrete)
    if len(values) != count:
        raise DataError(expected("labels", f"{count}, one a sample", len(values)))
    if count < FEWEST_LABELS:
        raise DataError(expected("labelled samples", f"at least {FEWEST_LABELS}", count))
    found, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(found) == 1:
        raise DataError(
            expected("labels", "two classes or more", f"only '{found[0]}'", "Add other classes.")
        )
    often = counts > 1
    kept = np.flatnonzero(often[codes])
    notices = []
    if not often.all():
        single = [str(value) for value in found[~often][:5]]
        more = ", ..." if np.sum(~often) > 5 else ""
        notices.append(
            f"{np.sum(~often)} labels that are seen once were left out: {', '.join(single)}{more}."
        )
    if often.sum() < 2 or len(kept) < FEWEST_LABELS:
        raise DataError(
            expected(
                "labels",
                f"two classes seen more than once, in {FEWEST_LABELS} samples or more",
                f"{len(found)} different labels for {count} samples",
                "Labels that hardly repeat are no classes.",
            )
        )
    names = _names(found[often], classes)
    renumbered = np.cumsum(often) - 1
    return Labels(renumbered[codes[kept]], names, kept, tuple(notices))


def stratified(codes: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Sorted places of a random subsample with the same shares of the classes, 2 of each at least.

    Args:
        codes: (n,) int.
        size: samples wanted; all places are returned when there are no more.
        seed: 0 or more.

    Raises:
        SettingsError: fewer than two samples a class are wanted.
    """
    if len(codes) <= size:
        return np.arange(len(codes))
    counts = np.bincount(codes)
    if size < max(FEWEST_LABELS, 2 * len(counts)):
        wanted = f"at least {max(FEWEST_LABELS, 2 * len(counts))} for {len(counts)} classes"
        raise SettingsError(expected("samples", wanted, size))
    share = counts * size / len(codes)
    take = np.maximum(np.floor(share).astype(int), np.minimum(counts, 2))
    while take.sum() != size:
        step = 1 if take.sum() < size else -1
        lacking = (share - take) * step
        movable = take < counts if step > 0 else take > 2
        take[np.argmax(np.where(movable, lacking, -np.inf))] += step
    draw = seeds.generator(seed, "samples")
    chosen = [
        draw.permutation(np.flatnonzero(codes == code))[:number] for code, number in enumerate(take)
    ]
    return np.sort(np.concatenate(chosen))


def label_entropy(codes: np.ndarray) -> float:
    """H(Y) of the labels at hand, in nats: the most that anything can know of them."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def class_entropies(codes: np.ndarray) -> np.ndarray:
    """(classes,): entropy of being of a class or not, in nats: the ceilings of one-vs-rest."""
    share = np.bincount(codes) / len(codes)
    rest = 1.0 - share
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.stack([share * np.log(share), rest * np.log(rest)])
    return -np.nan_to_num(parts).sum(axis=0)


def plain(name: str, labels: Any) -> np.ndarray:
    """Labels as an array of numbers, booleans or text.

    Raises:
        DataError: none, objects, masked values, rows of different lengths, NaN or infinity.
    """
    if labels is None:
        raise DataError(expected(name, _KINDS, "none", "Information is about a label."))
    if np.ma.is_masked(labels):
        hint = "Leave out the samples with masked values."
        raise DataError(expected(name, _KINDS, "masked values", hint))
    try:
        values = np.asarray(labels)
    except ValueError as error:
        raise DataError(expected(name, _KINDS, "rows of different lengths")) from error
    if values.dtype.kind == "O":
        if not all(isinstance(value, str) for value in values.ravel()):
            kinds = sorted({type(value).__name__ for value in values.ravel()})
            raise DataError(expected(name, _KINDS, ", ".join(kinds)))
        values = values.astype(str)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "biufU":
        raise DataError(expected(name, _KINDS, f"dtype {values.dtype}"))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(expected(name, _KINDS, "NaN or infinity"))
    return values


def one_column(name: str, values: np.ndarray, discrete: bool) -> np.ndarray:
    """(n,): one value a sample, of a column or one-hot rows.

    Raises:
        DataError: several labels for a sample, another shape, floats unless `discrete`.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind != "U":
        zero_one = np.isin(values, (0, 1)).all()
        if zero_one and (values.sum(axis=1) == 1).all():
            return values.argmax(axis=1)
        what = "several labels for a sample" if zero_one else "rows that are not one-hot"
        hint = "Give one column at a time: the information is about one label."
        raise DataError(expected(name, _KINDS, what, hint))
    if values.ndim != 1:
        hint = "A label for every pixel cannot be used." if values.ndim > 2 else ""
        raise DataError(expected(name, _KINDS, f"shape {values.shape}", hint))
    if values.dtype.kind == "f" and not discrete:
        hint = "If the numbers are classes, give them as whole numbers: labels.astype(int)."
        raise DataError(expected(name, _KINDS, f"floats ({values.dtype})", hint))
    return values


def _names(found: np.ndarray, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None or found.dtype.kind == "U":
        return tuple(str(value) for value in found)
    if found.min() < 0 or found.max() >= len(classes):
        raise DataError(
            expected(
                "labels",
                f"0 to {len(classes) - 1}, for {len(classes)} classes",
                f"{found.min()} to {found.max()}",
            )
        )
    return tuple(str(classes[int(value)]) for value in found)
