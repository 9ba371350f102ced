"""A layer's responses to the data, as the gallery reads them: whole, or named as damaged."""

from __future__ import annotations

import numpy as np

from gallery.evidence import odd_file
from oip.run.directory import Run

_AXES = {
    "best_images": 2,
    "best_scores": 2,
    "best_positions": 3,
    "edges": 2,
    "histogram": 3,
    "active": 1,
}


def layer_responses(run: Run, index: int) -> dict[str, np.ndarray] | None:
    """What `Run.responses` documents, None where there is no file.

    Raises:
        RunError: the file is damaged, or its arrays are not those of its maps.
    """
    told = run.responses(index)
    if told is None:
        return None
    path = run.folder(index) / "responses.npz"
    missing = [name for name in ("maps", *_AXES) if name not in told]
    if missing:
        raise odd_file(path, f"arrays {', '.join(('maps', *_AXES))}", f"no {', '.join(missing)}")
    maps = told["maps"]
    if maps.ndim != 1 or maps.dtype.kind not in "iu":
        raise odd_file(path, "whole numbers 'maps'", f"{maps.dtype} of {maps.shape}")
    for name, axes in _AXES.items():
        found = told[name]
        if found.ndim != axes or len(found) != len(maps) or found.dtype.kind not in "iuf":
            raise odd_file(path, f"'{name}' of {len(maps)} maps, {axes} axes", found.shape)
    best = told["best_images"].shape
    if told["best_scores"].shape != best or told["best_positions"].shape != (*best, 2):
        raise odd_file(path, f"scores and positions of {best} images", told["best_scores"].shape)
    return told
