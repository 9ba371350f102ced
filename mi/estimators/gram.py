"""Squared distances between samples, Gram matrices of Gaussian kernels, principal components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oip.core.checks import check_number
from oip.core.errors import SettingsError
from oip.mi.backend import matmul

BLOCK_BUDGET = 64 << 20
"""Bytes of a block of rows of a distance matrix, and of the columns that it is made from."""
MATRIX_BUDGET = 1 << 30
"""Bytes of the largest distance matrix that is made as a whole."""
_CACHED = 1 << 20
"""Bytes of a block that are worked on at a time."""
_ROUNDING = 1e-13
"""Distances under this share of the squared norms of both points are rounding of equal points."""
_LOOKED_AT = 101
"""Rows whose medians are the center."""
_TINY = 1e-280
"""Distances under this have lost their digits."""


class Distances:
    """Squared Euclidean distances between the rows of x (n, d), a block of rows at a time.

    Computed in float64 by matrix products of the centered data, some columns at a time, so that
    neither a common offset, a few far samples nor the width of x costs precision or memory. Up to
    some 2900 samples the block is the whole matrix; with more the memory stays, and the time goes
    on growing as n^2.

    Args:
        x: (n, d), finite.
        byte_budget: bytes of a block, which has one row at least.
        column_budget: bytes of the columns that are centered at once.
    """

    def __init__(
        self, x: np.ndarray, byte_budget: int = BLOCK_BUDGET, column_budget: int = BLOCK_BUDGET
    ) -> None:
        self._x = x
        size = 8 * max(1, len(x))
        self._rows_at_once = max(1, byte_budget // size)
        self._columns_at_once = max(1, column_budget // size)
        self._single_block: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._x)

    @property
    def whole(self) -> bool:
        """Whether one block is the whole matrix."""
        return self._rows_at_once >= len(self)

    @cached_property
    def constant(self) -> bool:
        """Whether all rows are the same, or differ too little for their squares."""
        return not (self._x != self._x[:1]).any() or self._norms.max() < _TINY

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows, and their distances (rows, n) to all.

        Distances are 0 or more, and exactly 0 on the diagonal and between equal rows. The reader
        may write into a block.
        """
        for start in range(0, len(self), self._rows_at_once):
            rows = slice(start, min(start + self._rows_at_once, len(self)))
            if self._single_block is None:
                yield rows, self.between(rows)
            else:
                block, self._single_block = self._single_block, None
                yield rows, block

    def between(self, rows: slice) -> np.ndarray:
        """Return the distances (rows, n) of some rows to all."""
        block: np.ndarray | None = None
        for columns in self._columns():
            products = matmul(columns[rows], columns.T)
            block = products if block is None else np.add(block, products, out=block)
        norms = self._norms
        if block is None:
            return np.zeros((rows.stop - rows.start, len(self)))
        step = max(1, _CACHED // (8 * len(self)))
        for start in range(0, len(block), step):
            cut = block[start : start + step]
            cut *= 2.0
            begin = rows.start + start
            sums = norms[begin : begin + len(cut), None] + norms
            np.subtract(sums, cut, out=cut)
            sums *= _ROUNDING
            cut[cut <= np.maximum(sums, _TINY, out=sums)] = 0.0
        diagonal = np.arange(len(block))
        block[diagonal, diagonal + rows.start] = 0.0
        return block

    @cached_property
    def median(self) -> float:
        """Median of the distances between different rows, see `median_squared_distance`.

        Of more than one block it is known to one part in a million, from two runs over all of them.
        """
        if self.constant:
            return 0.0
        if not self.whole:
            return self._median_of_blocks()
        self._single_block = self.between(slice(0, len(self)))
        return median_squared_distance(self._single_block)

    def _columns(self) -> Iterator[np.ndarray]:
        """Yield centered columns (n, some) float64.

        The center is a median: a mean follows one far sample, away from all others.
        """
        step = max(1, len(self) // _LOOKED_AT)
        for start in range(0, self._x.shape[1], self._columns_at_once):
            columns = np.array(self._x[:, start : start + self._columns_at_once], np.float64)
            columns -= np.median(columns[::step], axis=0)
            yield columns

    @cached_property
    def _norms(self) -> np.ndarray:
        """(n,): of the centered rows, squared."""
        return np.sum(
            [np.einsum("ij,ij->i", columns, columns) for columns in self._columns()], axis=0
        )

    def _median_of_blocks(self) -> float:
        # Floats of 0 or more are in the order of their bits: 16 of these, then 16 more.
        counts, zeros = np.zeros(1 << 16, np.int64), -len(self)  # without the diagonal
        for _, block in self.blocks():
            zeros += block.size - np.count_nonzero(block)
            counts += np.bincount(block.view(np.int64).ravel() >> 48, minlength=1 << 16)
        counts[0] -= zeros + len(self)
        positive = int(counts.sum())
        rank = (positive + zeros) // 2 - zeros
        rank = positive // 2 if rank < 0 else rank
        leading = int(np.searchsorted(np.cumsum(counts), rank, side="right"))
        rank -= int(counts[:leading].sum())
        second = np.zeros(1 << 16, np.int64)
        for _, block in self.blocks():
            bits = block.view(np.int64).ravel()
            candidates = bits[(bits >> 48 == leading) & (bits != 0)]
            second += np.bincount(candidates >> 32 & 0xFFFF, minlength=1 << 16)
        following = int(np.searchsorted(np.cumsum(second), rank, side="right"))
        middle = np.int64(leading << 48 | following << 32 | 1 << 31)
        return float(middle.view(np.float64))


def block_bytes(n: int, byte_budget: int = BLOCK_BUDGET) -> int:
    """Return the bytes of one block of the distances between n samples."""
    return min(8 * n * n, max(byte_budget, 8 * n))


def matrix_bytes(n: int) -> int:
    """Return the bytes of all distances between n samples."""
    return 8 * n * n


def squared_distances(x: np.ndarray, byte_budget: int = MATRIX_BUDGET) -> np.ndarray:
    """Return the distances (n, n) between the rows of x as one matrix, see `Distances.blocks`.

    A SettingsError says that n is too large for one matrix of `byte_budget` bytes.
    """
    n = len(x)
    if matrix_bytes(n) > byte_budget:
        limit = int((byte_budget // 8) ** 0.5)
        hint = "This needs the whole matrix: use fewer, or another estimator, such as kde or ksg."
        raise SettingsError("distances between samples", f"at most {limit} samples", n, hint)
    return Distances(x).between(slice(0, n))


def median_squared_distance(distances: np.ndarray) -> float:
    """Return the median of the squared distances (n, n) between different samples.

    Where more than half of them are 0 (a map that is mostly silent) it is the median of the others,
    so that it is 0 for a constant only.
    """
    return distance_quantile(distances, 0.5)


def distance_quantile(distances: np.ndarray, share: float) -> float:
    """Return a quantile of the squared distances (n, n), see `median_squared_distance`."""
    n, values = len(distances), distances.reshape(-1)
    if n < 2:
        return 0.0
    quantile = _pair_quantile(values, n, share)
    if quantile > 0 or not values.any():
        return quantile
    return _pair_quantile(values[values > 0], 0, share)  # to sort near so many ties is slow


_STEPS = (101, 103, 107)
"""One number of so many is looked at to find which are near a quantile: no divisor of n."""


def _pair_quantile(values: np.ndarray, zeros: int, share: float) -> float:
    """Return a quantile of numbers of which there are two each, and zeros that do not count.

    As `np.quantile`, but only those near it are put in order.
    """
    size, step = len(values), next(step for step in _STEPS if math.isqrt(len(values)) % step)
    position = share * ((size - zeros) // 2 - 1)
    rank = zeros + 2 * int(position)  # of the lower of the two that it lies between
    sample = np.sort(values[::step])
    middle, margin = rank / size * len(sample), 1.5 * math.sqrt(len(sample)) + 2.0
    first, last = int(middle - margin), int(middle + margin)  # three deviations away, or more
    is_candidate = values >= (sample[first] if first > 0 else -np.inf)
    lower_count = size - np.count_nonzero(is_candidate)
    if last < len(sample):
        is_candidate &= values <= sample[last]
    candidates = values[is_candidate]
    if not lower_count <= rank < lower_count + len(candidates) - 2:
        candidates, lower_count = values.copy(), 0
    candidates.partition(rank - lower_count)
    lower, larger = candidates[rank - lower_count], candidates[rank - lower_count + 1 :]
    upper = np.partition(larger, 1)[1] if len(larger) > 1 else lower
    return float(lower + (position - int(position)) * (upper - lower))


@dataclass(frozen=True)
class Bandwidth:
    """The width of the kernel K = exp(-D / 2 sigma^2), D being squared distances.

    The last of these that is given counts:
        relative: 2 sigma^2 as a share of the median squared distance, free of scale;
        silverman: h in sigma = h n^(-1 / (4 + d)), in the samples' own units (the paper has h = 5
            for responses and .1 for errors);
        sigma: in the samples' own units.
    """

    relative: float = 1.0
    silverman: float | None = None
    sigma: float | None = None

    def check(self, owner: str) -> None:
        """Raise a SettingsError unless a value is a number above 0."""
        check_number(f"{owner}: relative", self.relative)
        for name in ("silverman", "sigma"):
            if getattr(self, name) is not None:
                check_number(f"{owner}: {name}", getattr(self, name))

    def doubled_square(self, distances: np.ndarray | Distances, d: int) -> float:
        """Return 2 sigma^2 for squared distances (n, n), or in blocks, of samples (n, d)."""
        if self.sigma is not None:
            return 2 * self.sigma**2
        if self.silverman is not None:
            return 2 * (self.silverman * len(distances) ** (-1 / (4 + d))) ** 2
        if isinstance(distances, Distances):
            return self.relative * distances.median
        return self.relative * median_squared_distance(distances)


def gram(x: np.ndarray, width: Bandwidth) -> np.ndarray:
    """Return the Gram matrix (n, n) float64 of samples x (n, d): 1 on the diagonal.

    All elements are 1 for a constant x.
    """
    distances = squared_distances(x)
    if not distances.any():
        distances[:] = 1.0
        return distances
    return exponential(distances, width.doubled_square(distances, x.shape[1]))


def exponential(distances: np.ndarray, scale: float) -> np.ndarray:
    """Replace distances by exp(-distance / scale), in place."""
    with np.errstate(over="ignore"):  # infinitely far is 0
        distances /= -scale
    return np.exp(distances, out=distances)


def label_gram(codes: np.ndarray) -> np.ndarray:
    """Return the Gram matrix (n, n) of a label: 1 for two samples of one class, else 0."""
    return (codes[:, None] == codes[None, :]).astype(np.float64)


def cut(matrix: np.ndarray, indices: np.ndarray | None) -> np.ndarray:
    """Return the rows and columns of some samples of a matrix (n, n); all of them if None."""
    return matrix if indices is None else matrix[np.ix_(indices, indices)]


def principal_components(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return scores (n, min(d, n, count)) float32 on the leading principal components of x (n, d).

    The largest variance comes first. They are centered and on one scale: the mean squared norm of
    the rows is 1, less what is left out; all are zero for a constant x. Those of up to four times
    as many columns are exact. Wider x goes through a random projection with two power steps (Halko,
    Martinsson, Tropp, 2011), drawn by `rng`, which finds the leading components to a few parts in
    1000.
    """
    exact = x.shape[1] <= max(count, min(4 * count, len(x)))
    # Scaled by a power of 2, which is exact: single precision ends at 3e38. Centered before it is
    # cast, since an offset takes the digits of single precision.
    exponent = int(np.frexp(np.abs(x).max(initial=0.0))[1])
    scaled = np.ldexp(x, -exponent)
    centered = np.array(scaled, np.float64 if exact else x.dtype)
    centered -= centered.mean(axis=0)
    largest = np.abs(centered).max(initial=0.0)
    if largest <= 8 * np.finfo(x.dtype).eps * np.abs(scaled).max(initial=0.0):
        return np.zeros((len(x), min(x.shape[1], count)), np.float32)
    centered /= largest
    centered = centered if exact else centered.astype(np.float32)
    size = np.sqrt(np.einsum("ij,ij->", centered, centered, dtype=np.float64) / len(x))
    centered /= centered.dtype.type(size)
    if exact:
        _, axes = np.linalg.eigh(centered.T @ centered)
        return (centered @ axes[:, ::-1][:, :count]).astype(np.float32)
    basis = centered @ rng.standard_normal((x.shape[1], count + 10)).astype(np.float32)
    for _ in range(2):
        basis = np.linalg.qr(basis)[0]
        basis = centered @ np.linalg.qr(centered.T @ basis)[0]
    basis = np.linalg.qr(basis)[0]
    inner = (basis.T @ centered).astype(np.float64)
    squares, axes = np.linalg.eigh(inner @ inner.T)
    scores = basis @ (axes[:, ::-1] * np.sqrt(np.maximum(squares[::-1], 0.0)))
    return scores[:, :count].astype(np.float32)
