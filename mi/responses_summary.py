"""What images excite a map, and how its response is distributed over the classes."""

from __future__ import annotations

import numpy as np

BEST = 9
BINS = 24


def summarise(
    values: np.ndarray, size: tuple[int, ...], codes: np.ndarray, classes: int, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Best images and histograms of some maps.

    An image excites a map if the spatial mean of the map's response to it is above 0.

    Args:
        values: (n, m, d) responses.
        size: nodes along each spatial axis; their product is d.
        codes: (n,) int, class of each image.
        classes: how many.
        places: (n,) int, the images' places in what the user gave.

    Returns:
        `best_images` (m, 9) int64, -1 where fewer excite the map; `best_scores` (m, 9) float32, NaN
        there; `best_positions` (m, 9, 2) int32, row and column of the strongest node, -1 there;
        `edges` (m, bins + 1) float32; `histogram` (m, classes, bins) int32 of the spatial mean;
        `active` (m,) float32, share of the images that excite the map. A map with responses that
        are not finite has no best images, NaN edges, zeros and NaN.
    """
    maps = values.shape[1]
    means = values.mean(axis=2, dtype=np.float64)
    shape = (1, *size) if len(size) == 1 else size
    result = {
        "best_images": np.full((maps, BEST), -1, np.int64),
        "best_scores": np.full((maps, BEST), np.nan, np.float32),
        "best_positions": np.full((maps, BEST, 2), -1, np.int32),
        "edges": np.full((maps, BINS + 1), np.nan, np.float32),
        "histogram": np.zeros((maps, classes, BINS), np.int32),
        "active": np.full(maps, np.nan, np.float32),
    }
    for row in range(maps):
        scores = means[:, row]
        if not np.isfinite(scores).all():
            continue
        best = np.argsort(-scores, kind="stable")[:BEST]
        best = best[scores[best] > 0]
        strongest = np.unravel_index(values[best, row].argmax(axis=1), shape)
        result["best_images"][row, : len(best)] = places[best]
        result["best_scores"][row, : len(best)] = scores[best]
        result["best_positions"][row, : len(best)] = np.stack(strongest[-2:], axis=1)
        edges = np.linspace(scores.min(), scores.max(), BINS + 1)
        if edges[0] == edges[-1]:
            edges = edges[0] + np.linspace(0.0, max(1.0, abs(edges[0])), BINS + 1)
        bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
        np.add.at(result["histogram"][row], (codes, bins), 1)
        result["edges"][row] = edges
        result["active"][row] = (scores > 0).mean()
    return result
