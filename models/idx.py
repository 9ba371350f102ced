"""IDX files, the format of MNIST: a magic number, the sizes, then plain bytes.

Source: http://yann.lecun.com/exdb/mnist (the format's own page).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from models.datasets import Dataset, dataset
from oip.core.errors import DataError, expected

_UNSIGNED_BYTE = 0x08
_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_HEAD = 4


def is_idx_folder(folder: Path) -> bool:
    """Whether images of at least one part lie in `folder` as IDX files."""
    return any(_find(folder, part, "images", 3) for part in _PREFIXES)


def load_idx_folder(
    folder: Path, part: str | None, source: str, classes: tuple[str, ...] | None = None
) -> Dataset:
    """One part of a folder of IDX files, or all that is there.

    Args:
        folder: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the like with `t10k`
            or `test` in front; with or without `.gz`.
        part: "train", "test", or None for both.
        source: what to call it in messages and in the result.
        classes: names; the numbers up to the largest label of both parts if None.

    Raises:
        DataError: a part that is not there, or a file that is damaged.
    """
    found = {name: _find(folder, name, "images", 3) for name in _PREFIXES}
    wanted = [name for name in _PREFIXES if part == name or (part is None and found[name])]
    images = []
    for name in wanted:
        path = found[name]
        if path is None:
            raise DataError(
                expected(source, f"'{_PREFIXES[name][0]}-images-idx3-ubyte[.gz]'", "no such file")
            )
        images.append(read_idx(path, (3, 4)))
    labels = {
        name: read_idx(path, (1,))
        for name in _PREFIXES
        if (path := _find(folder, name, "labels", 1))
    }
    if missing := [name for name in wanted if name not in labels]:
        name = f"'{_PREFIXES[missing[0]][0]}-labels-idx1-ubyte[.gz]'"
        raise DataError(expected(source, name, "no such file"))
    if classes is None:
        most = max(int(values.max(initial=0)) for values in labels.values())
        classes = tuple(str(label) for label in range(most + 1))
    if len({part_images.shape[1:] for part_images in images}) > 1:
        shapes = " and ".join(str(part_images.shape[1:]) for part_images in images)
        raise DataError(expected(source, "images of one size", shapes))
    for name, part_images in zip(wanted, images, strict=True):
        if len(labels[name]) != len(part_images):
            raise DataError(
                expected(
                    f"{source}: labels of the {name} part",
                    f"{len(part_images)}, one an image",
                    len(labels[name]),
                )
            )
    every_image = images[0] if len(images) == 1 else np.concatenate(images)
    return dataset(every_image, np.concatenate([labels[name] for name in wanted]), classes, source)


def read_idx(path: Path, dimensions: tuple[int, ...]) -> np.ndarray:
    """The array of an IDX file of bytes, gzipped or not.

    Args:
        path: the file.
        dimensions: the numbers of axes that will do.

    Raises:
        DataError: unreadable, not an IDX file, of another type, shorter or longer than it says.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(expected(f"'{path.name}'", "a whole IDX file", error)) from error
    if len(content) < _HEAD or content[:2] != b"\0\0":
        raise DataError(
            expected(f"'{path.name}'", "an IDX file", f"a file that begins with {content[:4]!r}")
        )
    kind, axes = content[2], content[3]
    if kind != _UNSIGNED_BYTE or axes not in dimensions:
        wanted = f"unsigned bytes in {' or '.join(map(str, dimensions))} dimensions"
        raise DataError(
            expected(f"'{path.name}'", wanted, f"type 0x{kind:02x} in {axes} dimensions")
        )
    start = _HEAD + 4 * axes
    if len(content) < start:
        raise DataError(expected(f"'{path.name}'", f"{start} bytes and more", len(content)))
    shape = struct.unpack(f">{axes}I", content[_HEAD:start])
    size = 1
    for side in shape:
        size *= side
    if len(content) - start != size:
        raise DataError(
            expected(f"'{path.name}'", f"{size} bytes for shape {shape}", len(content) - start)
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, part: str, what: str, axes: int) -> Path | None:
    for prefix in _PREFIXES[part]:
        for joint in ("-", "."):
            for ending in ("", ".gz"):
                path = folder / f"{prefix}-{what}{joint}idx{axes}-ubyte{ending}"
                if path.is_file():
                    return path
    return None
