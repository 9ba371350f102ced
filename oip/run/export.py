"""OIPs as pictures and arrays for other programs.

Files carry a mark of their maker: files without it are never replaced unasked.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from oip.ascent.results import Oips
from oip.core import files
from oip.core.checks import check_choice, check_kind, check_path, check_whole, described
from oip.core.errors import RunError, SettingsError
from oip.core.files import WriteError
from oip.core.images import FORMATS, picture_of
from oip.core.output_formats import ExportedImagesFile

MARK = "oip export"
"""Stands in every picture: as Software in PNG and WebP, as the comment of a GIF."""
_SOFTWARE = 0x0131
"""Exif's tag of it."""
_FRAME_MILLISECONDS = 350
_LAST_MILLISECONDS = 1500

_OIPS = "OIPs of a layer"
_HINT = "Read them by oip.layer_oips(run, index), or make them by oip.reconstruct."


def export_arrays(oips: Oips | Iterable[Oips], path: str | Path, force: bool = False) -> Path:
    """Write the images of a layer as an `.npz`; return its path.

    It holds `images` (m, h, w, b), the best start of each map in input units, `maps`, `scores` and
    `verdicts`; of objectives their numbers are the `maps`, and `objectives` the expressions.

    Args:
        oips: of one layer, or parts of it; of each part only the written arrays are kept.
        path: of the file.
        force: replace a file that was not made by this function.

    Raises:
        WriteError: such a file, without `force`.
    """
    path = check_path("path of the file", path)
    check_ours([path], force)
    rows, objectives = [], []
    if not isinstance(oips, (Oips, Iterable)) or isinstance(oips, str):
        raise SettingsError("oips", _OIPS, described(oips), _HINT)
    for block in [oips] if isinstance(oips, Oips) else oips:
        check_kind("oips", block, Oips, _OIPS, _HINT)
        pixels, scores = block.pixels[:, 0].copy(), block.scores[:, 0].copy()
        rows.append((block.maps, pixels, scores, block.verdicts))
        objectives += [block.objectives[number] for number in block.maps if block.objectives]
    if not rows:
        raise SettingsError("oips", _OIPS, "none", _HINT)
    maps, images, scores, verdicts = map(np.concatenate, zip(*rows, strict=True))
    arrays = {"maps": maps, "images": images, "scores": scores, "verdicts": verdicts}
    expressions = np.array(objectives) if objectives else None
    ExportedImagesFile(**arrays, objectives=expressions).write(path)
    return path


def picture_names(
    index: int, layer: str, maps: Iterable[int], kind: str, objectives: Sequence[str] = ()
) -> list[str]:
    """Return names such as `002-Conv2D_3-map-0017.png`; of the layer's only harmless letters.

    Those of objectives say what each is: `004-objectives-0002-class-dogs.png`.

    >>> picture_names(2, "net/../Conv2D_3", [17], "png")
    ['002-net-Conv2D_3-map-0017.png']
    """
    begin = f"{index:03d}-{files.name_part(layer)}"
    if objectives:
        parts = {number: files.name_part(objectives[number]) for number in maps}
        return [f"{begin}-{number:04d}-{part}.{kind}" for number, part in parts.items()]
    return [f"{begin}-map-{map_index:04d}.{kind}" for map_index in maps]


def check_ours(paths: Iterable[Path], force: bool) -> None:
    """Raise a WriteError where a file exists that was not exported, unless forced."""
    for path in () if force else paths:
        if path.exists() and not _is_ours(path):
            hint = "Choose another --out, or add --force to replace it."
            raise WriteError(f"'{path}'", "no file, or an exported one", "another file", hint)


def export_pictures(
    oips: Oips,
    folder: str | Path,
    kind: str = "png",
    enhance: bool | None = None,
    size: int = 224,
    force: bool = False,
) -> list[Path]:
    """Write one picture per map into a folder; return the files, named as by `picture_names`.

    Args:
        oips: of one layer, such as `oip.layer_oips` reads from a run.
        folder: made where it is not there.
        kind: `png` (the best image), `webp` or `gif` (its evolution, animated).
        enhance: as for `Oips.displayed`.
        size: longer side in pixels.
        force: replace files that were not exported.

    Raises:
        SettingsError: another kind, or a size under 8.
        RunError: an evolution of OIPs whose run keeps no snapshots.
        WriteError: a file that was not exported is there, and `force` is not given.
    """
    check_kind("oips", oips, Oips, _OIPS, _HINT)
    folder = check_path("folder", folder)
    check_choice("kind", kind, ("png", "webp", "gif"))
    size = check_whole("size", size, 8)
    if kind != "png" and not len(oips.snapshot_steps):
        hint = "They were left out when the run was made: snapshots = 0."
        raise RunError(f"the evolution in '{oips.layer}'", "snapshots of it", "none", hint)
    names = picture_names(oips.index, oips.layer, oips.maps, kind, oips.objectives)
    paths = [folder / name for name in names]
    check_ours(paths, force)
    for row, (oip, path) in enumerate(zip(oips, paths, strict=True)):
        stages = oip.image[None] if kind == "png" else oips.snapshots[row].astype(np.float32)
        files.write_bytes(path, picture_file(oips.displayed(stages, enhance), kind, size))
    return paths


def picture_file(stages: np.ndarray, kind: str, size: int) -> bytes:
    """Return (s, h, w, b) uint8 stages as an endless animation, `webp` or `gif`, or one `png`."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    frames = [picture_of(stage, size) for stage in stages]
    stream = io.BytesIO()
    if kind == "png":
        software = PngInfo()
        software.add_text("Software", MARK)
        frames[0].save(stream, "PNG", optimize=True, pnginfo=software)
        return stream.getvalue()
    exif = Image.Exif()
    exif[_SOFTWARE] = MARK
    options = {"quality": 80, "method": 2, "exif": exif} if kind == "webp" else {"comment": MARK}
    durations = [_FRAME_MILLISECONDS] * (len(frames) - 1) + [_LAST_MILLISECONDS]
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


def _is_ours(path: Path) -> bool:
    """Return whether a file was exported."""
    from PIL import Image

    if path.suffix == ".npz":
        try:
            names = {*ExportedImagesFile.__struct_fields__, "schema"}
            return names == {*files.array_names(path), "schema", *ExportedImagesFile.OPTIONAL}
        except RunError:
            return False
    try:
        with Image.open(path, formats=FORMATS) as opened:
            marks = opened.info.get("Software"), opened.getexif().get(_SOFTWARE)
            return MARK in marks or opened.info.get("comment") == MARK.encode()
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError):
        return False
