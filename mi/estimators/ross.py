"""Information of numbers about any label of the same samples, from one list of neighbours."""

from __future__ import annotations

import numpy as np

from mi.estimators import balls
from mi.estimators.resampling import Information

_MARGIN = 6
"""The list holds as many neighbours as make k of a common class likely, times this."""
_ROWS = 1 << 22


def prepared(x: np.ndarray, k: int, rarity: float) -> Information:
    """Ross's estimate of I(X;Y) for any label of any of the samples x.

    The samples nearer than the k-th neighbour of a sample's own class are those before it in the
    list of its neighbours: once the list is made, a label only has to be looked up along it. The
    few samples whose list ends too early are compared with all others.

    Args:
        x: (n, d) float64 without ties.
        k: neighbours looked for in the sample's class; all but itself where the class is smaller.
        rarity: samples for each one of a common class.

    Returns:
        `information(codes, places)` in nats; classes of one sample are left out.
    """
    if x.shape[1] == 1:
        return _prepared_line(x[:, 0], k)
    n = len(x)
    length = int(min(n - 1, max(8, _MARGIN * (k + 1) * rarity)))
    near = balls.nearest(x, length)[1].astype(np.int32)

    def information(codes: np.ndarray, places: np.ndarray | None) -> float:
        own = np.full(n, -1, np.int32)
        own[slice(None) if places is None else places] = codes
        counts = np.bincount(codes)
        kept = np.flatnonzero(own >= 0)
        kept = kept[counts[own[kept]] > 1]
        if not kept.size:
            return 0.0
        own[np.setdiff1d(np.arange(n), kept)] = -1
        return _ross(x, near, own, kept, counts[own[kept]], k)

    return information


def _prepared_line(x: np.ndarray, k: int) -> Information:
    """The same on a line, where neighbours of a class are beside each other once it is sorted."""
    everything = np.argsort(x)

    def information(codes: np.ndarray, places: np.ndarray | None) -> float:
        order = everything
        if places is not None:
            own = np.full(len(x), -1, np.int32)
            own[places] = codes
            order, codes = order[own[order] >= 0], own
        order = order[np.bincount(codes[order])[codes[order]] > 1]
        if not order.size:
            return 0.0
        order = order[np.argsort(codes[order], kind="stable")]
        values, classes = x[order], codes[order]
        sizes = np.bincount(classes)[classes]
        far = np.full((len(order), 2 * k), np.inf)
        for step in range(1, min(k, len(order) - 1) + 1):
            apart = np.where(
                classes[step:] == classes[:-step], values[step:] - values[:-step], np.inf
            )
            far[step:, step - 1], far[:-step, k + step - 1] = apart, apart
        wanted = np.minimum(k, sizes - 1)
        radius = np.take_along_axis(np.sort(far, axis=1), wanted[:, None] - 1, axis=1)[:, 0]
        inside = balls.within(values[:, None], np.nextafter(radius, 0))
        return _estimate(wanted, sizes, inside)

    return information


def _estimate(wanted: np.ndarray, sizes: np.ndarray, inside: np.ndarray) -> float:
    """psi(n) + <psi(k_i)> - <psi(N_y)> - <psi(m_i)>."""
    from scipy.special import digamma

    value = digamma(len(wanted)) + digamma(wanted).mean()
    return float(value - digamma(sizes).mean() - digamma(inside).mean())


def _ross(
    x: np.ndarray,
    near: np.ndarray,
    own: np.ndarray,
    kept: np.ndarray,
    sizes: np.ndarray,
    k: int,
) -> float:
    """The estimate of the samples `kept`, whose label is `own`; it is -1 for all others."""
    wanted = np.minimum(k, sizes - 1)
    inside = np.zeros(len(kept), int)
    # Most samples find their k-th soon; only the others go on along the list.
    lacking = np.arange(len(kept))
    for length in (near.shape[1] // 4, near.shape[1]):
        if length and lacking.size:
            inside[lacking] = _along(near[:, :length], own, kept[lacking], wanted[lacking])
            lacking = lacking[inside[lacking] == 0]
    step = max(1, _ROWS // len(x))
    for start in range(0, len(lacking), step):
        rows = lacking[start : start + step]
        distances = balls.chebyshev(x[kept[rows]], x[kept])
        same = own[kept[rows]][:, None] == own[kept][None, :]
        ordered = np.sort(np.where(same, distances, np.inf), axis=1)
        radius = np.take_along_axis(ordered, wanted[rows][:, None], axis=1)
        inside[rows] = (distances < radius).sum(axis=1)
    return _estimate(wanted, sizes, inside)


def _along(near: np.ndarray, own: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(rows,) int: samples nearer than the last one wanted, itself among them; 0 if that is not in
    the list."""
    result = np.zeros(len(rows), int)
    everyone = bool((own >= 0).all())
    step = max(1, _ROWS // near.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        labels = own[near[rows[part]]]
        counted = np.cumsum(labels == own[rows[part], None], axis=1, dtype=np.int32)
        reached = counted >= wanted[part, None]
        end = reached.argmax(axis=1)
        before = end + 1
        if not everyone:
            seen = np.cumsum(labels >= 0, axis=1, dtype=np.int32)
            before = seen[np.arange(len(end)), end]
        result[part] = np.where(reached[:, -1], before, 0)
    return result
