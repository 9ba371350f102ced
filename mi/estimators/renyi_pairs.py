"""Information of two maps together, for all pairs of maps: redundancy and synergy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oip.mi.backend import matmul, thread_map
from oip.mi.estimators.gram import Bandwidth, Distances, block_bytes, gram, matrix_bytes
from oip.mi.estimators.renyi_entropy import class_entropy, matrix_entropy, renyi_label_entropy

PAIRS_BUDGET = 512 << 20
"""Bytes of Gram matrices that are kept at once."""
_BEST = 3


@dataclass(frozen=True, eq=False, repr=False)
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
        """Return `redundancy` or `non_redundant` (m, m) as a share of I_ij; 0 where I_ij is 0."""
        positive = self.joint > 0
        return np.divide(values, self.joint, out=np.zeros_like(values), where=positive)

    def __repr__(self) -> str:
        best = np.argsort(-np.nan_to_num(self.single), kind="stable")[:_BEST]
        listed = ", ".join(f"{row} ({self.single[row]:.3g} nats)" for row in best)
        return f"<Pairs: {len(self.single)} maps; best alone: {listed}>"


def pairs(
    responses: np.ndarray,
    codes: np.ndarray,
    alpha: float,
    width: Bandwidth,
    byte_budget: int = PAIRS_BUDGET,
) -> Pairs:
    """Estimate the information of all pairs of maps of one layer.

    Args:
        responses: (n, m, d), finite.
        codes: (n,) int from 0.
        alpha: above 0. At 2, |A_i o A_j|^2 = <A_i^2, A_j^2> with squares of elements, so that all
            pairs are two products of (m, n^2) matrices, without and with the label's matrix.
        width: of the kernel.
        byte_budget: bytes of Gram matrices that are kept at once.
    """
    maps = responses.shape[1]
    of_label = renyi_label_entropy(codes, alpha)
    if alpha == 2:
        whole, labelled = _squares(responses, codes, width, byte_budget)
        # S_2(A_i, A_j) is ln n^2 - ln |A_i o A_j|^2 for unit diagonals, with the label and without.
        values = np.log(labelled) - np.log(whole) + of_label
        return Pairs(values[:maps, maps], values[:maps, :maps])
    single, joint = np.zeros(maps), np.zeros((maps, maps))
    size = matrix_bytes(len(codes))
    step = max(1, byte_budget // size)

    def information(a: np.ndarray) -> float:
        return float(matrix_entropy(a, alpha)) + of_label - class_entropy(a, codes, alpha)

    for start in range(0, maps, step):
        grams = [gram(x, width) for x in responses[:, start : start + step].swapaxes(0, 1)]

        def column(index: int, start: int = start, grams: list[np.ndarray] = grams) -> None:
            inside = index < start + len(grams)
            a = grams[index - start] if inside else gram(responses[:, index], width)
            if inside:
                single[index] = information(a)
            for row, b in enumerate(grams[: index - start + 1], start):
                joint[row, index] = joint[index, row] = information(a * b)

        thread_map(column, range(start, maps), 5 * size)
    return Pairs(single, joint)


def _squares(
    responses: np.ndarray, codes: np.ndarray, width: Bandwidth, byte_budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums (m + 1, m + 1) of A_i^2 A_j^2 over all pairs of samples, and over one class.

    The last map is constant, so that its column belongs to single maps. Some rows of all matrices
    are made at a time.
    """
    n, maps, d = responses.shape
    scales = np.array(
        thread_map(
            lambda index: width.doubled_square(Distances(responses[:, index]), d),
            range(maps),
            2 * block_bytes(n),
        )
    )
    whole = np.zeros((maps + 1, maps + 1))
    labelled = np.zeros_like(whole)
    step = max(1, byte_budget // (16 * n * (maps + 1)))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        block = np.ones((maps + 1, rows.stop - start, n))

        def fill(index: int, rows: slice = rows, block: np.ndarray = block) -> None:
            if scales[index] > 0:  # 0 for a constant map
                x = np.array(responses[:, index], np.float64)
                x -= x.mean(axis=0)
                norms = (x * x).sum(axis=1)
                distances = norms[rows, None] + norms - 2 * (x[rows] @ x.T)
                np.exp(np.minimum(distances / (-0.5 * scales[index]), 0.0), out=block[index])

        thread_map(fill, range(maps))
        parts = added_squares(block, codes[rows, None] == codes)
        whole += parts[0]
        labelled += parts[1]
    return whole, labelled


def added_squares(block: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of A_i^2 A_j^2 over pairs of samples, and over those of one class.

    Args:
        block: (m, rows, n): A_i^2, squares of elements.
        same: (rows, n) bool: the samples are of one class.

    Returns:
        (m, m) and (m, m).
    """
    flat = block.reshape(len(block), -1)
    return matmul(flat, flat.T), matmul(flat * same.reshape(-1), flat.T)
