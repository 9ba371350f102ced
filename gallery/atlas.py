"""The atlas: maps of a layer on a plane, those with alike responses close together."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from oip.gallery.cache import PictureKeys
from oip.gallery.escape import PageValues
from oip.gallery.read_run import LayerEntry

GRID = 1000
"""Positions are whole numbers from 0 to this."""
LANDMARKS = 1000
"""Maps that are embedded; more are placed between them, so that the time is bounded."""
_NEAREST = 4
_STEPS = 300
_ALIKE = 10
"""Maps that are listed as having the most alike responses."""


def layer_atlas(layer: LayerEntry, keys: PictureKeys) -> PageValues | None:
    """Return map numbers and positions of a layer; None where it has no responses.

    The positions of the old gallery are kept where the responses are the same.
    """
    maps, points = _placed_maps(layer)
    if len(maps) < 2:
        return None
    digest = hashlib.sha256(np.ascontiguousarray(points).tobytes()).hexdigest()
    key = keys.key("atlas", digest, GRID, LANDMARKS, _STEPS)
    name = f"atlas-{layer.index:03d}"
    text = keys.old_text(f"{name}-positions") if keys.note(name, key) else None
    plane = np.array(json.loads(text)) if text is not None else positions(points)
    keys.add(f"{name}-positions", json.dumps(plane.tolist()))
    return {"maps": maps.tolist(), "x": plane[:, 0].tolist(), "y": plane[:, 1].tolist()}


def alike_maps(layer: LayerEntry) -> dict[int, list[tuple[int, float]]]:
    """Return for each map the others with the most alike responses, and their correlation."""
    maps, points = _placed_maps(layer)
    if len(maps) < 2:
        return {}
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    result = {}
    for row, map_index in enumerate(maps.tolist()):
        likeness = units @ units[row]
        likeness[row] = -np.inf
        order = np.argsort(-likeness, kind="stable")[: min(_ALIKE, len(maps) - 1)]
        result[map_index] = [
            (int(maps[neighbor]), round(float(likeness[neighbor]), 2)) for neighbor in order
        ]
    return result


def _placed_maps(layer: LayerEntry) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (m,) and the features (m, p) of the maps whose responses vary."""
    responses = layer.responses
    if responses is None or responses.likeness is None:
        return np.zeros(0, int), np.zeros((0, 0))
    in_gallery = np.isin(responses.maps, [entry.map for entry in layer.maps])
    points = responses.likeness.astype(np.float64)
    usable = in_gallery & np.isfinite(points).all(axis=1) & (np.abs(points).sum(axis=1) > 0)
    return responses.maps[usable], points[usable]


def positions(points: np.ndarray) -> np.ndarray:
    """Return (m, 2) whole numbers from 0 to 1000: the maps on a plane by t-SNE.

    The same points give the same positions: it begins with the principal components, and runs in
    one thread. Of more than 1,000 maps every other, third ... is embedded, and the rest stands at
    the mean of the nearest ones, weighted by likeness.

    Args:
        points: (m, p); the inner product of two rows says how alike they are.

    Source:
        L. van der Maaten, G. Hinton: Visualizing data using t-SNE. Journal of Machine Learning
        Research 9 (2008) 2579-2605, as scikit-learn has it.
    """
    landmarks = np.unique(np.linspace(0, len(points) - 1, min(len(points), LANDMARKS)).astype(int))
    placed = _embedded(points[landmarks])
    plane = np.empty((len(points), 2))
    plane[landmarks] = placed
    for row in np.setdiff1d(np.arange(len(points)), landmarks).tolist():
        likeness = points[landmarks] @ points[row]
        nearest = np.argsort(-likeness, kind="stable")[:_NEAREST]
        weights = np.maximum(likeness[nearest], 1e-6) ** 2
        plane[row] = weights @ placed[nearest] / weights.sum()
    low, high = plane.min(axis=0), plane.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return np.rint(GRID * (plane - low) / span).astype(int)


def _embedded(points: np.ndarray) -> np.ndarray:
    count = len(points)
    if count < 5:
        return np.stack([np.arange(count), np.zeros(count)], axis=1)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return TSNE(
            2,
            perplexity=min(30.0, (count - 1) / 3),
            init="pca" if points.shape[1] > 1 else "random",
            random_state=0,
            max_iter=_STEPS,
            method="exact" if count <= 128 else "barnes_hut",
        ).fit_transform(points)
