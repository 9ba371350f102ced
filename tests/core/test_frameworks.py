"""Imports at first use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import keras
import pytest
import tensorflow as tf

from oip.core import frameworks
from oip.core.frameworks import import_quietly, public_modules


def test_frameworks_are_the_real_ones():
    assert frameworks.keras.Model is keras.Model
    assert frameworks.tf.constant is tf.constant
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = frameworks.tf.no_such_name


@pytest.mark.parametrize(
    "statement", ["from oip import mi, models, gallery", "import oip.cli.main"]
)
def test_importing_brings_no_heavy_library(statement):
    heavy = "tensorflow keras sklearn scipy matplotlib pandas".split()
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["missing", "damaged"])
def test_a_file_that_is_no_model_is_refused_without_tensorflow(tmp_path, name):
    path = tmp_path / f"{name}.keras"
    if name == "damaged":
        path.write_bytes(b"no zip file")
    code = (
        "import sys; from oip.network.loading import load_model; from oip import OipError\n"
        f"try: load_model({str(path)!r})\n"
        "except OipError as error: print(error, 'tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "expected a" in out.stdout and out.stdout.strip().endswith("False")


def test_keras_does_without_optional_packages_that_others_get(tmp_path):
    (tmp_path / "drawing.py").write_text(
        "try: import matplotlib\nexcept ImportError: matplotlib = None\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from oip.core.frameworks import hide_optional_packages, import_quietly\n"
        "from oip.core.frameworks import show_optional_packages\n"
        "hide_optional_packages(); first = import_quietly('drawing').matplotlib\n"
        "import matplotlib; del sys.modules['drawing']\n"
        "print(first, import_quietly('drawing').matplotlib is matplotlib)\n"
        "del sys.modules['drawing'], sys.modules['matplotlib']; show_optional_packages()\n"
        "print(import_quietly('drawing').matplotlib is not None)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["None", "True", "True"]


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_a_module_is_imported(tmp_path, monkeypatch, collects):
    (tmp_path / "collecting.py").write_text("import gc\ncollects = gc.isenabled()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "collecting", raising=False)
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        assert import_quietly("collecting").collects is False
        assert gc.isenabled() is collects
    finally:
        (gc.enable if before else gc.disable)()
        sys.modules.pop("collecting", None)


@pytest.mark.parametrize("package", ["oip", "oip.mi", "oip.models", "oip.gallery"])
def test_public_names_are_there_and_others_are_not(package):
    import importlib

    module = importlib.import_module(package)
    for name in module.__all__:
        assert name in dir(module)
        assert getattr(module, name) is not None
    assert sorted(public_modules(package)) == sorted(module.__all__)
    with pytest.raises(AttributeError, match=package):
        _ = module.no_such_name


def test_stderr_is_open_again_after_imports_in_two_threads(tmp_path, monkeypatch):
    for name, seconds in {"slow_one": 0.1, "slow_two": 0.2}.items():
        (tmp_path / f"{name}.py").write_text(f"import time\ntime.sleep({seconds})\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = os.fstat(2)
    threads = [
        threading.Thread(target=import_quietly, args=(name,)) for name in ("slow_one", "slow_two")
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
