"""OIPs as pictures and arrays for other programs. File names come from indices only."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from oip.ascent.results import Oips
from oip.core import files
from oip.core.errors import RunError
from oip.core.images import picture_of, png

_FRAME_MILLISECONDS = 350
_LAST_MILLISECONDS = 1500


def export_arrays(oips: Oips | Iterable[Oips], path: Path) -> Path:
    """Write an `.npz`: images (m, h, w, b) of the best starts in input units, maps, scores,
    verdicts; and return its path.

    The OIPs are of one layer, or parts of it; of each part only the written arrays are kept.
    """
    parts = [oips] if isinstance(oips, Oips) else oips
    rows = [
        (part.maps, part.pixels[:, 0].copy(), part.scores[:, 0].copy(), part.verdicts)
        for part in parts
    ]
    names = ("maps", "images", "scores", "verdicts")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    files.write_arrays(path, {name: np.concatenate(values) for name, values in columns})
    return path


def export_pictures(
    oips: Oips, folder: Path, kind: str, enhance: bool | None, size: int
) -> list[Path]:
    """Write one picture a map into a folder; return the files: `000-0017.png` is map 17 of layer 0.

    Args:
        oips: of one layer.
        folder: made where it is not there.
        kind: `png` (the best image), `webp` or `gif` (its evolution, animated).
        enhance: as for `Oips.displayed`.
        size: longer side in pixels.

    Raises:
        RunError: an evolution of OIPs whose run keeps no snapshots.
    """
    if kind != "png" and not len(oips.snapshot_steps):
        hint = "They were left out when the run was made: snapshots = 0."
        raise RunError(f"the evolution in '{oips.layer}'", "snapshots of it", "none", hint)
    written = []
    for row, oip in enumerate(oips):
        path = folder / f"{oips.index:03d}-{oip.map:04d}.{kind}"
        if kind == "png":
            content = png(oips.displayed(oip.image, enhance), size)
        else:
            stages = oips.snapshots[row].astype(np.float32)
            content = animation(oips.displayed(stages, enhance), kind, size)
        files.write_bytes(path, content)
        written.append(path)
    return written


def animation(stages: np.ndarray, kind: str, size: int) -> bytes:
    """Return an endless animation of (s, h, w, b) uint8 stages, as `webp` or `gif`."""
    frames = [picture_of(stage, size) for stage in stages]
    durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_MILLISECONDS]
    stream = io.BytesIO()
    options = {"quality": 80, "method": 2} if kind == "webp" else {}
    frames[0].save(
        stream,
        kind.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **options,
    )
    return stream.getvalue()
