"""What pixels are by convention."""

from __future__ import annotations

import numpy as np


def plain_range(images: np.ndarray) -> tuple[float, float]:
    """The range that pixels are meant to have: 0 to 255, 0 to 1, or what is there.

    Args:
        images: numbers of any shape, at least one.
    """
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    if low >= 0.0 and high <= 255.0:
        return 0.0, 255.0
    return low, high
