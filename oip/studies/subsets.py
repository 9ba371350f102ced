"""Some images of a data set, in the shares of its classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.core import seeds

_LOOKS = (200, 500, 1000, 2000)
"""Numbers of first images that are looked at; studies take some of them without a draw, too."""
_DEVIATIONS = 4.0


def limited(data: Any, count: int | None) -> Any:
    """So many images of a data set, the first of which hold every class in its share.

    Args:
        data: a `models.Dataset`.
        count: images at the most; all of them if None.

    Returns:
        The first images, in their order, where that is random. Otherwise, as of class folders,
        whose images come class by class, or of images without labels, a draw with a fixed seed of
        which any number of first images has the classes' shares.
    """
    from models.datasets import chosen

    count = len(data) if count is None else min(count, len(data))
    if in_random_order(data.labels, count):
        if count == len(data):
            return data
        return chosen(data, np.arange(count), f"{data.source}, the first {count}")
    places = fair_order(data.labels, len(data))[:count]
    return chosen(data, places, f"{data.source}, {count} drawn in the shares of the classes")


def in_random_order(labels: np.ndarray | None, count: int) -> bool:
    """Whether the first images, up to `count`, hold every class in about its share.

    No class may be four standard deviations off, and one more. Of images without labels nothing is
    known, so that they count as ordered.
    """
    if labels is None:
        return False
    codes = np.unique(labels, return_inverse=True)[1]
    shares = np.bincount(codes) / len(codes)
    for look in sorted({*(one for one in _LOOKS if one < count), count}):
        wanted = look * shares
        off = np.abs(np.bincount(codes[:look], minlength=len(shares)) - wanted)
        if (off > _DEVIATIONS * np.sqrt(wanted * (1 - shares)) + 1).any():
            return False
    return True


def fair_order(labels: np.ndarray | None, count: int) -> np.ndarray:
    """(count,): places of all images, of which any first ones have the shares of the classes.

    Images are shuffled, and each gets its place among those of its class as a share of them; by
    these shares they are sorted. The seed is fixed.
    """
    order = seeds.generator(0, "study subset").permutation(count)
    if labels is None:
        return order
    shuffled = np.asarray(labels)[order]
    share = np.empty(count)
    for label in np.unique(shuffled):
        own = np.flatnonzero(shuffled == label)
        share[own] = (np.arange(len(own)) + 0.5) / len(own)
    return order[np.argsort(share, kind="stable")]
