"""Labels as people have them, checked and turned into codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.errors import DataError, SettingsError, expected

FEWEST = 20
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
    if count < FEWEST:
        raise DataError(expected("labelled samples", f"at least {FEWEST}", count))
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
    if often.sum() < 2 or len(kept) < FEWEST:
        raise DataError(
            expected(
                "labels",
                f"two classes seen more than once, in {FEWEST} samples or more",
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
    if size < max(FEWEST, 2 * len(counts)):
        wanted = f"at least {max(FEWEST, 2 * len(counts))} for {len(counts)} classes"
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
