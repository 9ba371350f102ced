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
