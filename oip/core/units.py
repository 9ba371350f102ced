"""Information is in nats inside and in bits at every surface."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import SupportsFloat, TypeAlias, TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)

Numbers: TypeAlias = np.ndarray | Sequence[float | None]
_LEAST = 0.0005
"""Bits about a class that are not shown as 0."""
_LEAST_OF_MAP = 0.005
"""Bits of a map that are not shown as 0.00."""
ABOVE_NULL = 0.05
"""Adjusted p-value up to which bits are above those of shuffled labels."""
NATS_PER_BIT = math.log(2.0)


def bits(nats: Number) -> Number:
    """Convert nats to bits."""
    return nats / NATS_PER_BIT


def nats(bits: Number) -> Number:
    """Convert bits to nats."""
    return bits * NATS_PER_BIT


def finite_or_none(value: SupportsFloat) -> float | None:
    """Return a number as Python has it, 0 for -0, None for NaN and infinity, which JSON lacks."""
    return float(value) + 0.0 if math.isfinite(value) else None


def finite_list(values: np.ndarray) -> list[float | None]:
    """Return numbers (n,) as a list, None for NaN and infinity."""
    return [finite_or_none(value) for value in values]


def finite_median(values: Iterable[object]) -> float | None:
    """Return the median of the finite numbers among some values, None where there are none."""
    kinds = (float, np.floating)
    numbers = [float(value) for value in values if isinstance(value, kinds)]
    numbers = [number for number in numbers if math.isfinite(number)]
    return statistics.median(numbers) if numbers else None


def class_medians(rows: np.ndarray | Sequence[Numbers]) -> np.ndarray:
    """Return what the maps of a layer know about each class, (classes,) bits.

    That is the median over the maps that know something of any class; 0 with fewer than two.

    Args:
        rows: (m, classes) bits of each map about each class; None or NaN where there is no number.
    """
    numbers = np.nan_to_num(np.asarray(rows, np.float64))
    informed = numbers[(numbers > 0).any(axis=1)]
    if len(informed) < 2:
        return np.zeros(numbers.shape[1])
    return np.maximum(np.median(informed, axis=0), 0.0)


def usual_bits(numbers: Numbers, medians: np.ndarray) -> np.ndarray:
    """Return what maps that know as much usually know about each class, (classes,) bits.

    Args:
        numbers: (classes,) bits of a map; None or NaN where there is no number.
        medians: (classes,) of its layer, see `class_medians`.
    """
    values = np.asarray(numbers, np.float64)
    shared = np.where(np.isfinite(values), medians, 0.0)
    return shared * (np.nansum(values) / (shared.sum() or 1.0))


def best_class(numbers: Numbers, medians: np.ndarray) -> int | None:
    """Return the class that a map is best for: about which it knows most beyond `usual_bits`.

    By its bits alone the easiest class would be that of nearly all maps of a layer.

    Args:
        numbers: (classes,) bits of the map; None or NaN where there is no number.
        medians: (classes,) of its layer, see `class_medians`.

    Returns:
        None where it knows nothing of any class.

    >>> medians = class_medians([[0.4, 0.1], [0.3, 0.2], [0.4, 0.1]])
    >>> best_class([0.3, 0.2], medians), best_class([0.0, None], medians)
    (1, None)
    """
    values = np.nan_to_num(np.asarray(numbers, np.float64))
    above_zero = values >= _LEAST
    if not above_zero.any():
        return None
    return int(np.where(above_zero, values - usual_bits(numbers, medians), -np.inf).argmax())


def is_informative(bits: float | None, p_adjusted: float | None) -> bool:
    """Return whether a map knows something: more than 0.00 bits, and more than shuffled labels.

    Without it a map is best for no class.

    >>> is_informative(0.2, 0.01), is_informative(0.2, 0.3), is_informative(0.004, 0.01)
    (True, False, False)
    """
    has_bits = bits is not None and bits >= _LEAST_OF_MAP
    return has_bits and not (p_adjusted is not None and p_adjusted > ABOVE_NULL)


def of_noun(text: str, noun: str) -> str:
    """Return a text about a map that speaks of a unit, a token, a head or a direction.

    >>> of_noun("response of the map", "unit")
    'response of the unit'
    """
    return re.sub(r"\bmap(?=s?\b)", noun, text)


def plural(count: int, noun: str) -> str:
    """Return a number of things.

    >>> plural(1, "map"), plural(3, "token channel")
    ('1 map', '3 token channels')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")


def three_best(names: Iterable[object], values: Iterable[float], unit: str = "") -> str:
    """Return the first three names with their values, such as `7 (1.24 bits), 2 (1.1 bits)`."""
    pairs = list(islice(zip(names, values, strict=True), 3))
    unit = f" {unit}" if unit else ""
    return ", ".join(f"{name} ({value:z.3g}{unit})" for name, value in pairs)


def percent(share: float) -> str:
    """Return a share as people write percentages, a digit after the point below ten.

    >>> percent(1.0), percent(0.256), percent(0.0213), percent(0.0004), percent(0.0)
    ('100 %', '26 %', '2.1 %', '< 0.1 %', '0 %')
    """
    if 0.0 < share < 0.001:
        return "< 0.1 %"
    value = 100 * share
    return f"{value:.1f} %" if 0.0 < value < 9.95 else f"{value:.0f} %"
