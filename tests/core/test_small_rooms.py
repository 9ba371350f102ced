import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.core.errors import OipError, PartlyFailed, RunError, expected
from oip.core.images import enhanced, plain, png, shown
from oip.core.seeds import derived_seed, generator
from oip.core.units import bits, nats


@given(st.floats(-1e6, 1e6))
def test_units_go_there_and_back(value):
    assert nats(bits(value)) == pytest.approx(value)


def test_a_fair_coin_is_one_bit():
    assert bits(math.log(2)) == pytest.approx(1.0)


def test_seeds_depend_on_purpose_and_indices_alone():
    first = generator(0, "start", 1, 2).random(4)
    generator(0, "start", 9, 9).random(100)
    assert np.array_equal(first, generator(0, "start", 1, 2).random(4))
    others = [generator(1, "start", 1, 2), generator(0, "white", 1, 2), generator(0, "start", 2, 1)]
    for other in others:
        assert not np.array_equal(first, other.random(4))
    assert 0 <= derived_seed(5, "x") < 2**31


def test_errors_say_expected_received_and_their_status():
    text = expected("maps", "0 to 3", 9, "Try 'oip layers'.")
    assert text == "maps: expected 0 to 3; received 9. Try 'oip layers'."
    assert (RunError.exit_status, PartlyFailed.exit_status) == (2, 1)
    assert issubclass(RunError, OipError)


def test_renderings_use_the_full_range_and_stand_nan():
    image = np.random.default_rng(0).normal(size=(8, 8, 1))
    assert (plain(image).min(), plain(image).max()) == (0, 255)
    assert (enhanced(image) == 0).sum() >= 2
    assert plain(np.full((4, 4, 1), np.nan)).shape == (4, 4, 1)
    assert np.ptp(plain(np.ones((4, 4, 3)))) == 0


def test_any_number_of_bands_can_be_shown():
    for bands, shape in ((1, (5, 4)), (2, (5, 4, 3)), (3, (5, 4, 3)), (7, (5, 4, 3))):
        assert shown(np.zeros((5, 4, bands), np.uint8)).shape == shape
    assert png(np.zeros((5, 4, 1), np.uint8), 50).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "statement", ["from oip import mi, models, gallery", "import oip.cli.main"]
)
def test_importing_brings_no_heavy_library(statement):
    heavy = "tensorflow keras sklearn scipy matplotlib pandas".split()
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["oip", "mi", "models", "gallery"])
def test_public_names_are_there_and_others_are_not(package):
    import importlib

    module = importlib.import_module(package)
    for name in module.__all__:
        assert name in dir(module)
        assert getattr(module, name) is not None
    assert sorted(module._MODULES) == sorted(module.__all__)
    with pytest.raises(AttributeError, match=package):
        _ = module.no_such_name
