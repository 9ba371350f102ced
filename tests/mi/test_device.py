"""The way through TensorFlow, forced onto its own CPU device: what a GPU would be asked for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi import backend
from oip.mi.estimators.registry import label_estimator


@pytest.fixture
def through_tensorflow(monkeypatch):
    """Everything goes through TensorFlow; (products, eigenvalues) that did are counted."""
    import tensorflow as tf

    calls = [0, 0]
    matmul, eigvalsh = tf.matmul, tf.linalg.eigvalsh

    def counted(place, work):
        def call(*arrays):
            calls[place] += 1
            return work(*arrays)

        return call

    monkeypatch.setattr(backend, "_gpu", lambda tf: "/CPU:0")
    monkeypatch.setattr(backend, "_PRODUCTS_WORTH", 0)
    monkeypatch.setattr(backend, "_ELEMENTS_WORTH", 0)
    monkeypatch.setattr(tf, "matmul", counted(0, matmul))
    monkeypatch.setattr(tf.linalg, "eigvalsh", counted(1, eigvalsh))
    return calls


def symmetric(*shape):
    a = np.random.default_rng(0).normal(size=shape)
    return a + np.swapaxes(a, -1, -2)


def test_products_and_eigenvalues_are_those_of_numpy(through_tensorflow, monkeypatch):
    a, b = np.random.default_rng(0).normal(size=(2, 30, 30))
    for kind in (np.float64, np.float32):
        found = backend.matmul(a.astype(kind), b[:, :7].astype(kind))
        assert found.dtype == kind
        assert np.allclose(found, a @ b[:, :7], rtol=50 * np.finfo(kind).eps, atol=1e-5)
    matrices = symmetric(2, 5, 20, 20)
    wanted = np.linalg.eigvalsh(matrices)
    assert np.allclose(backend.eigenvalues(matrices), wanted, rtol=1e-12, atol=1e-12)
    assert through_tensorflow == [2, 1]
    monkeypatch.setattr(backend, "_BYTES", 8 * 20 * 20 * 3)
    assert np.allclose(backend.eigenvalues(matrices), wanted, rtol=1e-12, atol=1e-12)
    assert through_tensorflow == [2, 5]


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("kde", (True, False)),
        ("renyi", (True, True)),
        ("dsmi", (True, True)),
        ("vme", (True, False)),
    ],
)
def test_estimates_are_the_same(request, layer_like, name, ways):
    responses, codes = layer_like
    plain = label_estimator(name).over_maps(responses, codes, 0, 3, 3)
    calls = request.getfixturevalue("through_tensorflow")
    found = label_estimator(name).over_maps(responses, codes, 0, 3, 3)
    assert tuple(bool(count) for count in calls) == ways
    for field in ("raw", "per_class_raw", "draws", "null"):
        assert np.allclose(getattr(found, field), getattr(plain, field), rtol=1e-9, atol=1e-6)


def test_what_does_not_fit_is_done_by_numpy(through_tensorflow, monkeypatch):
    import tensorflow as tf

    def full(*arrays):
        raise tf.errors.ResourceExhaustedError(None, None, "no room")

    monkeypatch.setattr(tf, "matmul", full)
    a = symmetric(10, 10)
    assert (backend.matmul(a, a) == a @ a).all()


def test_without_a_gpu_numpy_does_it(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(backend, "_PRODUCTS_WORTH", 0)
    monkeypatch.setattr(tf, "matmul", None)
    a = symmetric(10, 10)
    if not tf.config.get_visible_devices("GPU"):
        assert (backend.matmul(a, a) == a @ a).all()


ASK = (
    "import sys, numpy as np; from oip import mi; from oip.mi import backend; {more};"
    "x = np.random.default_rng(0).normal(size=(600, 50));"
    "mi.mutual_information(x, x[:, 0] > 0, 'renyi', null=0, draws=0);"
    "sys.exit('tensorflow' in sys.modules)"
)


@pytest.mark.parametrize(
    ("signs", "wanted", "imported"), [(False, "", 0), (True, "", 1), (True, "cpu", 0)]
)
def test_tensorflow_is_imported_where_there_are_signs_of_a_gpu(signs, wanted, imported, tmp_path):
    # A stand-in that has no GPU: the real one takes seconds.
    stand_in = "class config:\n    get_visible_devices = staticmethod(lambda kind: [])\n"
    (tmp_path / "tensorflow.py").write_text(stand_in)
    ours = str(Path(mi.__file__).parent.parent)
    environment = {
        **os.environ,
        "OIP_DEVICE": wanted,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), ours]),
    }
    code = ASK.format(more=f"backend._signs_of_gpu = lambda: {signs}")
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == imported


def test_signs_of_a_gpu_are_commands_of_its_driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(backend.Path, "exists", lambda path: False)
    found = []
    for there in ("", "nvidia-smi", "rocm-smi"):
        backend._signs_of_gpu.cache_clear()
        monkeypatch.setattr(backend.shutil, "which", {there: there}.get)
        found.append(backend._signs_of_gpu())
    assert found == [False, True, True]
    backend._signs_of_gpu.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not backend._signs_of_gpu()
    backend._signs_of_gpu.cache_clear()


def test_a_device_that_is_none(monkeypatch):
    monkeypatch.setenv("OIP_DEVICE", "cuda")
    monkeypatch.setattr(backend, "_PRODUCTS_WORTH", 0)
    with pytest.raises(SettingsError, match="OIP_DEVICE: expected cpu or gpu; received 'cuda'"):
        backend.matmul(np.eye(3), np.eye(3))
