"""An order of samples and classes that is their own, so that folds depend on nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from oip.core import seeds

FOLDS = 5
_FAR = 8.0
"""Median distances from the middle beyond which samples are drawn in."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """An order of samples and classes that follows from the responses of one map.

    Samples are sorted by a random combination of their coordinates, class by class, and then put in
    a random order; classes are sorted by size, then by the mean place of their samples. So it does
    not matter in which order samples are given, what classes are called, nor the unit of x. In this
    order, samples go to the folds in turns, so that every class is spread evenly over them.
    """

    order: np.ndarray
    """(n,) int: samples, those of a class one after the other."""
    classes: np.ndarray
    """(classes,) int: codes of the classes."""
    codes: np.ndarray
    """(n,) int: for each sample of `order` the place of its class in `classes`; the same for all
    maps of one label."""

    @classmethod
    def of(cls, x: np.ndarray, codes: np.ndarray, seed: int) -> Arrangement:
        """Return the arrangement of responses x (n, d) and labels (n,) int."""
        x = np.asarray(x)
        mix = seeds.generator(seed, "fold order").standard_normal(x.shape[1])
        ranks = np.unique((x * mix).sum(axis=1, dtype=np.float64), return_inverse=True)[1]
        counts = np.bincount(codes)
        classes = np.lexsort((np.bincount(codes, ranks) / counts, counts))
        ordinals = np.argsort(classes)[codes]
        by_rank = np.lexsort((ordinals, ranks))
        # One order of ranks for all maps would favor or harm all of them together.
        content = ordinals[by_rank].astype(np.int32).tobytes()
        digest = hashlib.blake2b(content, digest_size=6).digest()
        random = seeds.generator(seed, "folds", int.from_bytes(digest, "little"))
        members = [by_rank[ordinals[by_rank] == ordinal] for ordinal in range(len(classes))]
        order = np.concatenate([random.permutation(own) for own in members])
        return cls(order, classes, np.repeat(np.arange(len(classes)), counts[classes]))

    @property
    def folds(self) -> np.ndarray:
        """(n,) int: the fold of each sample as it was given, 0 to 4."""
        folds = np.empty(len(self.order), int)
        folds[self.order] = np.arange(len(self.order)) % FOLDS
        return folds


def drawn_in(x: np.ndarray) -> np.ndarray:
    """Return x (n, d) with samples that are very far from all others drawn in.

    Directions from the median stay; a distance r beyond c = 8 median distances becomes
    c (1 + ln r / c). A few samples would else fix the scale on which all others are the same. x is
    returned as it is where no sample is that far.
    """
    largest = np.abs(x).max(initial=0.0)
    if largest == 0 or not _far(x / largest - (x / largest).mean(axis=0)).any():
        return x
    away = np.asarray(x, np.float64) / largest
    away -= np.median(away, axis=0)
    far = _far(away)
    if not far.any():
        return x
    ratio = _norms(away[far]) / (_FAR * _middle(away))
    away[far] *= ((1.0 + np.log(ratio)) / ratio)[:, None]
    return away


def _far(away: np.ndarray) -> np.ndarray:
    return _norms(away) > _FAR * _middle(away)


def _middle(away: np.ndarray) -> float:
    """Return the median length of the rows that are not 0."""
    norms = _norms(away)
    return float(np.median(norms[norms > 0])) if norms.any() else 0.0


def _norms(away: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", away, away))
