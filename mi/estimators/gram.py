"""Squared Euclidean distances between responses: one matrix serves every kernel and class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.mi.backend import matmul

_MATRIX_BUDGET = 1 << 30
_BLOCK_BUDGET = 64 << 20
"""Bytes of a block of rows."""
_COLUMN_BUDGET = 64 << 20
_CACHED = 1 << 20
"""Bytes of a block that are worked on at a time."""
_ROUNDING = 1e-13
"""Distances under this share of the largest squared norm are rounding of equal points."""
_TINY = 1e-280
"""Distances under this have lost their digits."""


class Distances:
    """Squared Euclidean distances between the rows of x, a block of rows at a time.

    Computed in float64 by matrix products of the centred data, some columns at a time, so that
    neither a common offset nor the width of x costs precision or memory. Up to some 2900 samples
    the block is the whole matrix; with more the memory stays and the time goes on growing with n^2.

    Args:
        x: (n, d), finite.

    Example:
        >>> import numpy as np
        >>> [(rows.stop, block.shape) for rows, block in Distances(np.zeros((3, 2))).blocks()]
        [(3, (3, 3))]
    """

    def __init__(self, x: np.ndarray) -> None:
        self._x = x
        self._kept: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._x)

    @property
    def whole(self) -> bool:
        """One block is the whole matrix."""
        return self._room >= len(self)

    @cached_property
    def constant(self) -> bool:
        """All rows are the same, or differ too little for their squares."""
        return not (self._x != self._x[:1]).any() or self._norms.max() < _TINY

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows, and their distances (rows, n) to all.

        Distances are 0 or more, and exactly 0 on the diagonal and between equal rows. A block is
        the reader's, who may write into it.
        """
        for start in range(0, len(self), self._room):
            rows = slice(start, min(start + self._room, len(self)))
            if self._kept is None:
                yield rows, self._block(rows)
            else:
                block, self._kept = self._kept, None
                yield rows, block

    @cached_property
    def median(self) -> float:
        """Median of the distances between different rows.

        Where more than half of them are 0 (a map that is mostly silent) it is the median of the
        others, so that it is 0 for a constant only. Of more than one block it is known to one part
        in a million, from two runs over all of them.
        """
        if self.constant:
            return 0.0
        if not self.whole:
            return self._median_of_blocks()
        self._kept = self._block(slice(0, len(self)))
        return median_squared_distance(self._kept)

    @property
    def _room(self) -> int:
        return max(1, _BLOCK_BUDGET // (8 * max(1, len(self))))

    def _columns(self) -> Iterator[np.ndarray]:
        """Centred columns (n, some) float64."""
        width = max(1, _COLUMN_BUDGET // (8 * max(1, len(self))))
        for start in range(0, self._x.shape[1], width):
            part = np.array(self._x[:, start : start + width], np.float64)
            part -= part.mean(axis=0)
            yield part

    @cached_property
    def _norms(self) -> np.ndarray:
        """(n,): of the centred rows, squared."""
        return np.sum([np.einsum("ij,ij->i", part, part) for part in self._columns()], axis=0)

    def _block(self, rows: slice) -> np.ndarray:
        block: np.ndarray | None = None
        for part in self._columns():
            found = matmul(part[rows], part.T)
            block = found if block is None else np.add(block, found, out=block)
        norms = self._norms
        if block is None:
            return np.zeros((rows.stop - rows.start, len(self)))
        least = max(_TINY, _ROUNDING * norms.max(initial=0.0))
        step = max(1, _CACHED // (8 * len(self)))
        for start in range(0, len(block), step):
            part = block[start : start + step]
            part *= 2.0
            first = rows.start + start
            np.subtract(norms[first : first + len(part), None] + norms, part, out=part)
            part[part <= least] = 0.0
        places = np.arange(len(block))
        block[places, places + rows.start] = 0.0
        return block

    def _median_of_blocks(self) -> float:
        # Floats of 0 or more are in the order of their bits: 16 of these, then 16 more.
        first, zeros = np.zeros(1 << 16, np.int64), -len(self)  # without the diagonal
        for _, block in self.blocks():
            zeros += block.size - np.count_nonzero(block)
            first += np.bincount(block.view(np.int64).ravel() >> 48, minlength=1 << 16)
        first[0] -= zeros + len(self)
        positive = int(first.sum())
        rank = (positive + zeros) // 2 - zeros
        rank = positive // 2 if rank < 0 else rank
        leading = int(np.searchsorted(np.cumsum(first), rank, side="right"))
        rank -= int(first[:leading].sum())
        second = np.zeros(1 << 16, np.int64)
        for _, block in self.blocks():
            bits = block.view(np.int64).ravel()
            inside = bits[(bits >> 48 == leading) & (bits != 0)]
            second += np.bincount(inside >> 32 & 0xFFFF, minlength=1 << 16)
        following = int(np.searchsorted(np.cumsum(second), rank, side="right"))
        middle = np.int64(leading << 48 | following << 32 | 1 << 31)
        return float(middle.view(np.float64))


def block_bytes(n: int) -> int:
    """Bytes of one block of the distances between n samples."""
    return min(8 * n * n, max(_BLOCK_BUDGET, 8 * n))


def matrix_bytes(n: int) -> int:
    """Bytes of all distances between n samples."""
    return 8 * n * n


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances between the rows of x, for what needs all of them at once.

    Args:
        x: (n, d), finite.

    Returns:
        (n, n) float64, symmetric, 0 or more, exactly 0 on the diagonal and between equal rows.

    Raises:
        SettingsError: n is too large for one matrix of 1 GiB.
    """
    n = len(x)
    if matrix_bytes(n) > _MATRIX_BUDGET:
        most = int((_MATRIX_BUDGET // 8) ** 0.5)
        hint = "This needs the whole matrix: use fewer, or another estimator, such as kde or ksg."
        raise SettingsError(
            expected("distances between samples", f"at most {most} samples", n, hint)
        )
    return Distances(x)._block(slice(0, n))


def median_squared_distance(distances: np.ndarray) -> float:
    """Median of the squared distances between different samples.

    Where more than half of them are 0 (a map that is mostly silent) it is the median of the others,
    so that it is 0 for a constant only.

    Args:
        distances: (n, n), symmetric.
    """
    n = len(distances)
    pairs = np.empty(n * (n - 1) // 2)
    start = 0
    for place, row in enumerate(distances):
        stop = start + n - 1 - place
        pairs[start:stop] = row[place + 1 :]
        start = stop
    if not pairs.size:
        return 0.0
    middle = float(np.median(pairs, overwrite_input=True))
    if middle > 0:
        return middle
    positive = pairs[pairs > 0]
    return float(np.median(positive, overwrite_input=True)) if positive.size else 0.0
