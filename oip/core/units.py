"""Information is in nats inside and in bits at every surface."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import SupportsFloat, TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)

NATS_PER_BIT = math.log(2.0)


def bits(nats: Number) -> Number:
    """Nats to bits."""
    return nats / NATS_PER_BIT


def nats(bits: Number) -> Number:
    """Bits to nats."""
    return bits * NATS_PER_BIT


def finite_or_none(value: SupportsFloat) -> float | None:
    """Return a number as Python has it, None for NaN and infinity; JSON has neither."""
    return float(value) if math.isfinite(value) else None


def finite_list(values: np.ndarray) -> list[float | None]:
    """Return numbers (n,) as a list, None for NaN and infinity."""
    return [finite_or_none(value) for value in values]


def three_best(names: Iterable[object], values: Iterable[float], unit: str = "") -> str:
    """Return the first three names with their values, such as `7 (1.24 bits), 2 (1.1 bits)`."""
    pairs = list(islice(zip(names, values, strict=True), 3))
    unit = f" {unit}" if unit else ""
    return ", ".join(f"{name} ({value:.3g}{unit})" for name, value in pairs)
