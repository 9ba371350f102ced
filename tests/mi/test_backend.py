"""Threads, and the way through TensorFlow, forced onto its own CPU device."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi import backend
from oip.mi.backend import thread_map, workers
from oip.mi.estimators.base import label_estimator


@pytest.fixture
def through_tensorflow(monkeypatch):
    """Everything goes through TensorFlow; (products, eigenvalues) that did are counted."""
    import tensorflow as tf

    calls = [0, 0]
    matmul, eigvalsh = tf.matmul, tf.linalg.eigvalsh

    def counted(index, work):
        def call(*arrays):
            calls[index] += 1
            return work(*arrays)

        return call

    monkeypatch.setattr(backend, "gpu_device", lambda tf: "/CPU:0")
    monkeypatch.setattr(backend, "LEAST_MULTIPLICATIONS", 0)
    monkeypatch.setattr(backend, "LEAST_ELEMENTS", 0)
    monkeypatch.setattr(tf, "matmul", counted(0, matmul))
    monkeypatch.setattr(tf.linalg, "eigvalsh", counted(1, eigvalsh))
    return calls


def symmetric(*shape):
    a = np.random.default_rng(0).normal(size=shape)
    return a + np.swapaxes(a, -1, -2)


def test_products_and_eigenvalues_are_those_of_numpy(through_tensorflow):
    a, b = np.random.default_rng(0).normal(size=(2, 30, 30))
    for kind in (np.float64, np.float32):
        product = backend.matmul(a.astype(kind), b[:, :7].astype(kind))
        assert product.dtype == kind
        assert np.allclose(product, a @ b[:, :7], rtol=50 * np.finfo(kind).eps, atol=1e-5)
    matrices = symmetric(2, 5, 20, 20)
    eigenvalues = np.linalg.eigvalsh(matrices)
    assert np.allclose(backend.eigenvalues(matrices), eigenvalues, rtol=1e-12, atol=1e-12)
    assert through_tensorflow == [2, 1]
    in_parts = backend.eigenvalues(matrices, byte_budget=8 * 20 * 20 * 3)
    assert np.allclose(in_parts, eigenvalues, rtol=1e-12, atol=1e-12)
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
    result = label_estimator(name).over_maps(responses, codes, 0, 3, 3)
    assert tuple(bool(count) for count in calls) == ways
    for field in ("raw", "per_class_raw", "draws", "null"):
        assert np.allclose(getattr(result, field), getattr(plain, field), rtol=1e-9, atol=1e-6)


def test_products_of_a_gpu_are_not_rounded(through_tensorflow, monkeypatch):
    import tensorflow as tf

    rounds, allowed = tf.config.experimental.tensor_float_32_execution_enabled, []
    before, matmul = rounds(), tf.matmul

    def watched(a, b):
        allowed.append(rounds())
        if len(allowed) == 1:
            backend.matmul(b.numpy(), b.numpy())  # a block within another one
            allowed.append(rounds())
        return matmul(a, b)

    monkeypatch.setattr(tf, "matmul", watched)
    a = symmetric(10, 10).astype(np.float32)
    assert np.allclose(backend.matmul(a, a), a @ a, rtol=1e-5)
    assert allowed == [False, False, False]
    assert rounds() == before


def test_what_does_not_fit_is_done_by_numpy(through_tensorflow, monkeypatch):
    import tensorflow as tf

    def full(*arrays):
        raise tf.errors.ResourceExhaustedError(None, None, "no room")

    monkeypatch.setattr(tf, "matmul", full)
    a = symmetric(10, 10)
    assert (backend.matmul(a, a) == a @ a).all()


def test_without_a_gpu_numpy_does_it(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(backend, "LEAST_MULTIPLICATIONS", 0)
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
    ("signs", "device", "imported"), [(False, "", 0), (True, "", 1), (True, "cpu", 0)]
)
def test_tensorflow_is_imported_where_there_are_signs_of_a_gpu(signs, device, imported, tmp_path):
    # A stand-in that has no GPU: the real one takes seconds.
    stand_in = "class config:\n    get_visible_devices = staticmethod(lambda kind: [])\n"
    (tmp_path / "tensorflow.py").write_text(stand_in)
    ours = str(Path(mi.__file__).parent.parent)
    environment = {
        **os.environ,
        "OIP_DEVICE": device,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), ours]),
    }
    code = ASK.format(more=f"backend.signs_of_gpu = lambda: {signs}")
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == imported


def test_signs_of_a_gpu_are_commands_of_its_driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(backend.Path, "exists", lambda path: False)
    results = []
    for program in ("", "nvidia-smi", "rocm-smi"):
        backend.signs_of_gpu.cache_clear()
        monkeypatch.setattr(backend.shutil, "which", {program: program}.get)
        results.append(backend.signs_of_gpu())
    assert results == [False, True, True]
    backend.signs_of_gpu.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not backend.signs_of_gpu()
    backend.signs_of_gpu.cache_clear()


def test_a_device_that_is_none(monkeypatch):
    monkeypatch.setenv("OIP_DEVICE", "cuda")
    monkeypatch.setattr(backend, "LEAST_MULTIPLICATIONS", 0)
    with pytest.raises(SettingsError, match="OIP_DEVICE: expected cpu or gpu; received 'cuda'"):
        backend.matmul(np.eye(3), np.eye(3))


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_as_many_threads_as_the_memory_holds(eight_cores):
    assert [workers(size, byte_budget=1000) for size in (0, 1, 125, 126, 400, 1000, 5000)] == [
        8,
        8,
        8,
        7,
        2,
        1,
        1,
    ]


@pytest.mark.parametrize(("bytes_each", "most"), [(0, 8), (300, 3), (2000, 1)])
def test_no_more_work_than_that_at_a_time(eight_cores, bytes_each, most):
    lock, now, counts = threading.Lock(), [0], []

    def work(item):
        with lock:
            now[0] += 1
            counts.append(now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
        return item**2

    assert thread_map(work, range(16), bytes_each, byte_budget=1000) == [
        item**2 for item in range(16)
    ]
    assert 1 <= max(counts) <= most


def test_threads_inside_threads_are_none_and_products_have_one(eight_cores):
    from threadpoolctl import threadpool_info

    def blas_threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    def inner(item):
        return threading.get_ident(), blas_threads()

    def outer(item):
        return threading.get_ident(), thread_map(inner, range(3))

    before = blas_threads()
    for own, inside in thread_map(outer, range(4)):
        assert {thread for thread, _ in inside} == {own}
        assert all(set(counts) <= {1} for _, counts in inside)
    assert blas_threads() == before


def test_products_are_let_go_when_the_last_is_done():
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas_threads():
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        first, second = backend.one_blas_thread(), backend.one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_threads_are_those_of_oip_threads(monkeypatch):
    monkeypatch.setenv("OIP_THREADS", "3")
    assert workers() == 3
