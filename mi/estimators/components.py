"""Principal components of responses."""

from __future__ import annotations

import numpy as np


def principal_components(x: np.ndarray, room: int, rng: np.random.Generator) -> np.ndarray:
    """Scores on the leading principal components of x, all on one scale.

    The largest variance comes first. Wide x goes through a random projection with two power steps
    (Halko, Martinsson, Tropp, 2011), which finds the leading components to a few parts in 1000.

    Args:
        x: (n, d) float, finite.
        room: most components.
        rng: for the projection.

    Returns:
        (n, min(d, n, room)) float32, centred. The mean squared norm of the rows is 1, less what is
        left out; all are zero for a constant x.
    """
    # Scaled before it is cast, by a power of 2, which is exact: single precision ends at 3e38.
    exponent = int(np.frexp(np.abs(x).max(initial=0.0))[1])
    scaled = np.ldexp(x, -exponent)
    centred = np.array(scaled, np.float64 if x.shape[1] <= room else np.float32)
    centred -= centred.mean(axis=0)
    largest = np.abs(centred).max(initial=0.0)
    if largest <= 8 * np.finfo(x.dtype).eps * np.abs(scaled).max(initial=0.0):
        return np.zeros((len(x), min(x.shape[1], room)), np.float32)
    centred /= largest
    size = np.sqrt((centred.astype(np.float64) ** 2).sum(axis=1).mean())
    centred /= centred.dtype.type(size)
    if x.shape[1] <= room:
        _, axes = np.linalg.eigh(centred.T @ centred)
        return (centred @ axes[:, ::-1]).astype(np.float32)
    basis = centred @ rng.standard_normal((x.shape[1], room + 10)).astype(np.float32)
    for _ in range(2):
        basis = np.linalg.qr(basis)[0]
        basis = centred @ np.linalg.qr(centred.T @ basis)[0]
    basis = np.linalg.qr(basis)[0]
    inner = (basis.T @ centred).astype(np.float64)
    squares, axes = np.linalg.eigh(inner @ inner.T)
    scores = basis @ (axes[:, ::-1] * np.sqrt(np.maximum(squares[::-1], 0.0)))
    return scores[:, :room].astype(np.float32)
