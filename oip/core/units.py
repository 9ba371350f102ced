"""Information is in nats inside and in bits at every surface."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)

NATS_PER_BIT = math.log(2.0)


def bits(nats: Number) -> Number:
    """Nats to bits."""
    return nats / NATS_PER_BIT


def nats(bits: Number) -> Number:
    """Bits to nats."""
    return bits * NATS_PER_BIT


def finite_or_none(value: float | np.floating) -> float | None:
    """Return a number as Python has it, None for NaN and infinity; JSON has neither."""
    return float(value) if math.isfinite(value) else None


def finite_list(values: np.ndarray) -> list[float | None]:
    """Return numbers (n,) as a list, None for NaN and infinity."""
    return [finite_or_none(value) for value in values]
