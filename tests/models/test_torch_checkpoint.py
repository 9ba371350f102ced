"""Checkpoints of PyTorch: tensors are read in both layouts, everything else is refused."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.models.torch_checkpoint import read_checkpoint

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "conv.count": np.array(7, np.int64),
}


class FloatStorage:
    pass


class LongStorage:
    pass


class Tensor:
    def __init__(self, key, array, shape=None, offset=0):
        self.key, self.array, self.offset = key, array, offset
        self.shape = array.shape if shape is None else shape


@pytest.fixture
def torch_names(monkeypatch):
    """Modules with the names that checkpoints refer to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_):
        raise AssertionError("the function itself is never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in (FloatStorage, LongStorage):
        monkeypatch.setattr(kind, "__module__", "torch")
        setattr(torch, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return utils


def pickled(content, utils):
    class Storage:
        def __init__(self, tensor):
            self.tensor = tensor

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            array = value.tensor.array
            kind = FloatStorage if array.dtype == np.float32 else LongStorage
            return ("storage", kind, value.tensor.key, "cpu", array.size)

        def reducer_override(self, value):
            if not isinstance(value, Tensor):
                return NotImplemented
            strides = tuple(step // value.array.itemsize for step in value.array.strides)
            strides = strides[: len(value.shape)]
            arguments = (Storage(value), value.offset, value.shape, strides, False, {})
            return utils._rebuild_tensor_v2, arguments

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def archive(path, content, tensors, utils):
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("model/data.pkl", pickled(content, utils))
        for tensor in tensors:
            target.writestr(f"model/data/{tensor.key}", tensor.array.tobytes())
    return path


def state(arrays=ARRAYS):
    tensors = {name: Tensor(str(key), array) for key, (name, array) in enumerate(arrays.items())}
    return collections.OrderedDict(tensors)


def test_archives_are_read(tmp_path, torch_names):
    content = state()
    arrays = read_checkpoint(archive(tmp_path / "a.pth", content, content.values(), torch_names))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_files_of_old_versions_are_read(tmp_path, torch_names):
    content = state()
    parts = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
    parts += [pickled(content, torch_names), pickle.dumps(["0", "1"], protocol=2)]
    for tensor in content.values():
        parts += [struct.pack("<q", tensor.array.size), tensor.array.tobytes()]
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(parts))
    arrays = read_checkpoint(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


class Evil:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_anything_but_tensors_is_refused_and_not_run(tmp_path, torch_names, capsys):
    path = archive(tmp_path / "a.pth", {"x": Evil()}, (), torch_names)
    with pytest.raises(DataError, match=r"print'"):
        read_checkpoint(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("0", np.zeros(4, np.float32), shape=(5,)),
        Tensor("0", np.zeros(4, np.float32), offset=2),
        Tensor("0", np.zeros(4, np.float32), offset=-1),
    ],
    ids=["too large", "too far", "negative"],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, torch_names, tensor):
    path = archive(tmp_path / "a.pth", {"x": tensor}, [tensor], torch_names)
    with pytest.raises(DataError, match="state dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"x": 1}) * 6])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pth"):
        read_checkpoint(path)
    with pytest.raises(DataError, match=r"b\.pth"):
        read_checkpoint(tmp_path / "b.pth")
