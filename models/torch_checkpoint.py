"""Reader of PyTorch checkpoints: the tensors of a state dict as arrays, without PyTorch.

Checkpoints are pickles, which can name any function to be called. This reader knows tensors and
ordered dictionaries; whatever else a file names is refused, so that nothing of it is run.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from oip.core.errors import DataError, reason_of
from oip.core.files import check_regular

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""Types of numbers in a storage, little-endian."""
_MOST_BYTES = 4 << 30
_PREAMBLE = 3
"""Pickles before the tensors in files of before PyTorch 1.6: magic number, version, system."""


@dataclass(frozen=True)
class _Storage:
    """A named run of numbers of one type."""

    key: str
    kind: str
    """As NumPy writes types."""
    count: int


class _TensorView(NamedTuple):
    """A tensor: the part of a storage that its numbers are, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Return a copy of the tensor's numbers; raise a ValueError if they are not all there."""
        sides = list(zip(self.shape, self.strides, strict=True))
        if any(side < 0 or stride < 0 for side, stride in sides) or self.offset < 0:
            raise ValueError("a tensor with a negative size")
        last = self.offset + sum((side - 1) * stride for side, stride in sides)
        if math.prod(self.shape) and last >= len(numbers):
            raise ValueError("a tensor that is larger than its storage")
        if math.prod(self.shape) * numbers.itemsize > _MOST_BYTES:
            raise ValueError("a tensor of more than 4 GiB")
        steps = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)
        return np.array(view)


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _TensorView:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _TensorView(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _TensorUnpickler(pickle.Unpickler):
    """Reads tensors and containers; everything else that a pickle names is refused."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"'{module}.{name}', which is not a tensor")

    def persistent_load(self, pid: object) -> _Storage:
        fields = pid if isinstance(pid, tuple) else ()
        if len(fields) < 5 or fields[0] != "storage" or fields[1] not in _STORAGES.values():
            raise pickle.UnpicklingError("something stored apart that is not a tensor's numbers")
        return _Storage(str(fields[2]), fields[1], int(fields[4]))


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict, by name; both layouts of files that PyTorch writes.

    Args:
        path: of a file that `torch.save(model.state_dict(), path)` wrote.

    Raises:
        DataError: no such file, not a checkpoint, or one that holds more than tensors.
    """
    path = Path(path)
    try:
        check_regular(path)
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        with path.open("rb") as stream:
            return _read_stream(stream)
    except (
        *(OSError, ValueError, KeyError, TypeError, EOFError, IndexError, AttributeError),
        *(MemoryError, OverflowError, struct.error, pickle.UnpicklingError, zipfile.BadZipFile),
    ) as error:
        raise DataError(
            f"cannot read '{path.name}'", "a PyTorch state dict of tensors", reason_of(error)
        ) from error


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("an archive without data.pkl")
        if sum(item.file_size for item in archive.infolist()) > _MOST_BYTES:
            raise ValueError("more than 4 GiB")
        tensors = _views(_TensorUnpickler(io.BytesIO(archive.read(pickles[0]))).load())
        root = pickles[0].removesuffix("data.pkl")
        numbers = {
            storage: np.frombuffer(archive.read(f"{root}data/{storage.key}"), storage.kind)
            for storage in {view.storage for view in tensors.values()}
        }
    return {name: view.array(numbers[view.storage]) for name, view in tensors.items()}


def _read_stream(stream: BinaryIO) -> dict[str, np.ndarray]:
    for _ in range(_PREAMBLE):
        _TensorUnpickler(stream).load()
    tensors = _views(_TensorUnpickler(stream).load())
    storages = {view.storage.key: view.storage for view in tensors.values()}
    numbers = {}
    for key in _TensorUnpickler(stream).load():
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        size = count * np.dtype(storage.kind).itemsize
        if not 0 <= size <= _MOST_BYTES:
            raise ValueError("a storage of more than 4 GiB")
        numbers[key] = np.frombuffer(stream.read(size), storage.kind)
    return {name: view.array(numbers[view.storage.key]) for name, view in tensors.items()}


def _views(content: object) -> dict[str, _TensorView]:
    if not isinstance(content, dict) or not content:
        raise ValueError("not a dictionary of tensors")
    for name, view in content.items():
        if not (isinstance(name, str) and isinstance(view, _TensorView)):
            raise ValueError(f"'{name}' is not a tensor")
    return content
