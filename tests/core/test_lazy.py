"""Packages whose import costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oip.core.lazy import public_modules


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
