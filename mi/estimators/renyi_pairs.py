"""What two maps know together, for all pairs of maps: redundancy and synergy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oip.mi.backend import matmul, thread_map
from oip.mi.estimators.gram import Distances, block_bytes, matrix_bytes
from oip.mi.estimators.renyi_entropy import (
    Bandwidth,
    class_entropy,
    gram,
    matrix_entropy,
    renyi_label_entropy,
)

_BYTES = 512 << 20


@dataclass(frozen=True, eq=False)
class Pairs:
    """Information of maps and of pairs of maps about one label, in nats.

    References:
        S. Yu et al.: Understanding convolutional neural networks with information theory: an
        initial exploration. IEEE TNNLS 32 (2021) 435.
    """

    single: np.ndarray
    """(m,): I(T^i; Y)."""
    joint: np.ndarray
    """(m, m): I({T^i, T^j}; Y), symmetric; on the diagonal that of a map with itself, whose joint
    matrix is narrower than its own."""

    @property
    def redundancy(self) -> np.ndarray:
        """(m, m): redundancy less synergy, I_i + I_j - I_ij."""
        return self.single[:, None] + self.single[None, :] - self.joint

    @property
    def non_redundant(self) -> np.ndarray:
        """(m, m): weighted non-redundant information, 2 I_ij - I_i - I_j."""
        return 2 * self.joint - self.single[:, None] - self.single[None, :]

    def share(self, values: np.ndarray) -> np.ndarray:
        """(m, m): `redundancy` or `non_redundant` as a share of I_ij; 0 where I_ij is 0."""
        known = self.joint > 0
        return np.divide(values, self.joint, out=np.zeros_like(values), where=known)


def pairs(responses: np.ndarray, codes: np.ndarray, alpha: float, width: Bandwidth) -> Pairs:
    """All pairs of maps of one layer.

    Args:
        responses: (n, m, d), finite.
        codes: (n,) int from 0.
        alpha: above 0. At 2, |A_i o A_j|^2 = <A_i^2, A_j^2> with squares of elements, so that all
            pairs are two products of (m, n^2) matrices, without and with the label's matrix.
        width: of the kernel.
    """
    maps = responses.shape[1]
    known = renyi_label_entropy(codes, alpha)
    if alpha == 2:
        whole, labelled = _squares(responses, codes, width)
        # S_2(A_i, A_j) is ln n^2 - ln |A_i o A_j|^2 for unit diagonals, with the label and without.
        found = np.log(labelled) - np.log(whole) + known
        return Pairs(found[:maps, maps], found[:maps, :maps])
    single, joint = np.zeros(maps), np.zeros((maps, maps))
    size = matrix_bytes(len(codes))
    room = max(1, _BYTES // size)
    for start in range(0, maps, room):
        grams = [gram(x, width) for x in responses[:, start : start + room].swapaxes(0, 1)]

        def column(other: int, start: int = start, grams: list[np.ndarray] = grams) -> None:
            inside = start <= other < start + len(grams)
            a = grams[other - start] if inside else gram(responses[:, other], width)
            if inside:
                single[other] = _information(a, codes, alpha, known)
            for place, b in enumerate(grams[: other - start + 1], start):
                value = _information(a * b, codes, alpha, known)
                joint[place, other] = joint[other, place] = value

        thread_map(column, range(start, maps), 5 * size)
    return Pairs(single, joint)


def _information(a: np.ndarray, codes: np.ndarray, alpha: float, known: float) -> float:
    return float(matrix_entropy(a, alpha)) + known - class_entropy(a, codes, alpha)


def _squares(
    responses: np.ndarray, codes: np.ndarray, width: Bandwidth
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of A_i^2 A_j^2 over all pairs of samples, and over those of one class, (m + 1, m + 1).

    The last map is constant, so that its column belongs to single maps. Some rows of all matrices
    are made at a time.
    """
    n, maps, d = responses.shape
    halves = np.array(
        thread_map(
            lambda place: width.doubled_square(Distances(responses[:, place]), d),
            range(maps),
            2 * block_bytes(n),
        )
    )
    whole = np.zeros((maps + 1, maps + 1))
    labelled = np.zeros_like(whole)
    room = max(1, _BYTES // (16 * n * (maps + 1)))
    for start in range(0, n, room):
        rows = slice(start, min(start + room, n))
        block = np.ones((maps + 1, rows.stop - start, n))

        def fill(place: int, rows: slice = rows, block: np.ndarray = block) -> None:
            if halves[place] > 0:  # 0 for a constant map
                x = np.array(responses[:, place], np.float64)
                x -= x.mean(axis=0)
                norms = (x * x).sum(axis=1)
                distances = norms[rows, None] + norms - 2 * (x[rows] @ x.T)
                np.exp(np.minimum(distances / (-0.5 * halves[place]), 0.0), out=block[place])

        thread_map(fill, range(maps))
        parts = added_squares(block, codes[rows, None] == codes)
        whole += parts[0]
        labelled += parts[1]
    return whole, labelled


def added_squares(block: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of A_i^2 A_j^2 over pairs of samples, and over those of one class: two products.

    Args:
        block: (m, rows, n): A_i^2, squares of elements.
        same: (rows, n) bool: the samples are of one class.

    Returns:
        (m, m) and (m, m).
    """
    flat = block.reshape(len(block), -1)
    return matmul(flat, flat.T), matmul(flat * same.reshape(-1), flat.T)
