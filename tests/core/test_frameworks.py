"""Imports at first use."""

from __future__ import annotations

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
