"""Toy data: spectra of matrices, manifolds of known dimension, trees with branches (figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.progress import Progress
from oip.core.units import bits
from oip.studies.diffusion_measures import SCALES, corrupted

if TYPE_CHECKING:
    from oip.studies.frame import Folder

WIDE = 2_048
"""Dimensions that the manifolds lie in."""
SAMPLES = 500
BRANCHES = (2, 5, 10)
TREE_DIMENSIONS = 20
NOISE = 0.01
"""Standard deviation in every one of the wide dimensions."""
KINDS = ("uniform", "normal")


@dataclass(frozen=True)
class Toys:
    """How much of them."""

    sizes: tuple[int, ...]
    """Of the matrices."""
    weights: tuple[float, ...]
    """Of the identity."""
    dimensions: tuple[int, ...]
    """Of the manifolds."""
    corruptions: tuple[float, ...]
    runs: int


def toys(one: Toys, seed: int, progress: Progress, folder: Folder) -> dict[str, np.ndarray]:
    """All of figure 3, in bits; every run is a part of the study's folder.

    Returns:
        `identity` (runs, sizes, weights); of each kind K of manifold and scale S `K S`, and `K
        binned`, (runs, dimensions); of each scale S `tree S`, and `tree binned`, (runs, branches,
        corruptions).
    """
    progress("toy data", 0, one.runs)
    rows = []
    for run in range(one.runs):
        rows.append(folder.part(f"toys/run-{run}", lambda run=run: _one_run(one, seed, run)))
        progress("toy data", run + 1, one.runs)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _one_run(one: Toys, seed: int, run: int) -> dict[str, np.ndarray]:
    """What `toys` returns, of one run."""
    import mi
    from mi.estimators.renyi_entropy import matrix_entropy

    binned: Any = mi.estimator("binning", corrected=False)
    names = [*(scale.name for scale in SCALES), "binned"]
    identity = np.zeros((len(one.sizes), len(one.weights)))
    spaces = {f"{kind} {name}": np.zeros(len(one.dimensions)) for kind in KINDS for name in names}
    trees = {f"tree {name}": np.zeros((len(BRANCHES), len(one.corruptions))) for name in names}
    rng = seeds.generator(seed, "toys", run)
    for row, size in enumerate(one.sizes):
        matrix = random_positive(size, rng)
        for column, weight in enumerate(one.weights):
            mixed = weight * np.eye(size) + (1 - weight) * matrix
            identity[row, column] = matrix_entropy(mixed, 1.0)
    for kind in KINDS:
        for place, d in enumerate(one.dimensions):
            x = manifold(kind, d, SAMPLES, rng)
            for scale in SCALES:
                spaces[f"{kind} {scale.name}"][place] = scale.entropy.entropy(x, seed).nats
            spaces[f"{kind} binned"][place] = binned.entropy(x, seed).nats
    for row, branches in enumerate(BRANCHES):
        x, codes = tree(branches, SAMPLES, rng)
        for column, share in enumerate(one.corruptions):
            known = corrupted(codes, share, rng)
            for scale in SCALES:
                value = information(scale.information, x, known, seed)
                trees[f"tree {scale.name}"][row, column] = value
            trees["tree binned"][row, column] = information(binned, x, known, seed)
    found = {"identity": identity, **spaces, **trees}
    return {name: bits(values) for name, values in found.items()}


def information(estimator: Any, x: np.ndarray, codes: np.ndarray, seed: int) -> float:
    """I of numbers x (n, d) and a label, in nats, as it comes out."""
    return float(estimator.over_maps(x[:, None], codes, seed, one_vs_rest=False).raw[0])


def random_positive(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size): a random symmetric positive definite matrix with a trace of its size.

    A A^T with A uniform in (0, 1), so that its elements are positive, as a diffusion matrix's are.
    """
    a = rng.random((size, size))
    matrix = a @ a.T
    return matrix * size / np.trace(matrix)


def manifold(kind: str, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2048): d coordinates in a random linear subspace, with noise in all dimensions.

    Args:
        kind: `uniform` in [-1, 1], or `normal`.
        d: dimension of the subspace.
        count: of samples.
        rng: for all of it.
    """
    inner = rng.uniform(-1, 1, (count, d)) if kind == "uniform" else rng.normal(size=(count, d))
    axes = np.linalg.qr(rng.normal(size=(WIDE, d)))[0]
    return inner @ axes.T + NOISE * rng.normal(size=(count, WIDE))


def tree(branches: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 20) along branches that leave the origin, and the number of each one's branch.

    Every branch is a path of four straight pieces in random directions.
    """
    codes = np.arange(count) % branches
    x = np.zeros((count, TREE_DIMENSIONS))
    for branch in range(branches):
        own = np.flatnonzero(codes == branch)
        steps = rng.normal(size=(4, TREE_DIMENSIONS))
        steps += 2 * rng.normal(size=TREE_DIMENSIONS)  # away from the origin on the whole
        corners = np.concatenate([np.zeros((1, TREE_DIMENSIONS)), np.cumsum(steps, axis=0)])
        along = rng.uniform(0, 4, len(own))
        piece = np.minimum(along.astype(int), 3)
        x[own] = corners[piece] + (along - piece)[:, None] * steps[piece]
    return x + 0.1 * rng.normal(size=x.shape), codes
