import json
import math

import numpy as np
import pytest

from oip import mi
from oip.cli.main import run
from oip.mi.estimators.registry import NAMES, estimator_class

KEYS = "quantity estimator value unit low high p_value ceiling saturated n"


@pytest.fixture
def save(tmp_path):
    """Writes arrays to a file and returns its path."""

    def write(**arrays):
        path = tmp_path / "samples.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


@pytest.fixture
def told(capsys):
    """Runs `oip estimate ... --json` and reads what it prints."""

    def ask(*arguments):
        assert run(["estimate", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


X = np.random.default_rng(0).normal(size=(200, 2))
LABEL = np.arange(200) % 2


def test_the_json_is_as_agreed_and_in_bits(save, told):
    path = save(x=X[:, 0] + LABEL, y=LABEL)
    one = told(path, "--estimator", "kde", "--set", "relative=0.05", "--seed", "3")
    assert set(KEYS.split()) <= set(one)
    wanted = mi.mutual_information(X[:, 0] + LABEL, LABEL, "kde", relative=0.05, seed=3)
    assert one["value"] == pytest.approx(wanted.bits)
    assert (one["quantity"], one["unit"], one["estimator"]) == ("I(X;Y)", "bits", "kde")
    assert one["ceiling"] == pytest.approx(1.0)
    assert one["low"] <= one["value"] <= one["high"]
    assert (one["p_value"], one["n"], one["saturated"]) == (wanted.p_value, 200, False)
    assert one["parameters"] == {"relative": 0.05, "bound": "upper"}


def test_the_quantity_follows_from_the_arrays_or_is_said(save, told):
    path = save(x=X, y=X[:, 0], given=X[:, 1])
    assert told(path, "--estimator", "gaussian")["quantity"] == "I(X;Y|Z)"
    assert told(path, "--estimator", "ksg", "--quantity", "mi")["quantity"] == "I(X;Y)"
    one = told(path, "--estimator", "gaussian", "--quantity", "total-correlation", "--null", "9")
    assert one["quantity"] == "T(X)"
    assert one["p_value"] >= 0.1
    assert told(path, "--estimator", "ksg", "--quantity", "entropy")["quantity"] == "H(X)"
    one = told(save(x=X, y=X + 3), "--estimator", "gaussian", "--quantity", "kl")
    assert one["quantity"] == "KL(X||Y)"
    assert one["value"] == pytest.approx(9 / math.log(2), rel=0.2)
    one = told(save(x=X), "--estimator", "gaussian")
    assert (one["quantity"], one["p_value"], one["ceiling"]) == ("H(X)", None, None)


@pytest.mark.parametrize("name", [n for n in NAMES if estimator_class(n).resamples])
def test_every_estimator_does_what_it_can(save, told, name):
    one = mi.estimator(name)
    path = save(x=X[:60], y=LABEL[:60])
    asked = {
        "mi": "label_information",
        "entropy": "entropy",
        "total-correlation": "total_correlation",
        "input": "input_information",
    }
    for quantity, ability in asked.items():
        if one.can(ability):
            found = told(path, "--estimator", name, "--quantity", quantity)
            assert (found["estimator"], found["unit"], found["n"]) == (name, "bits", 60)
            assert math.isfinite(found["value"])


def test_sides_can_be_told_to_be_labels(save, told):
    path = save(x=LABEL, y=LABEL * 1.0)
    one = told(path, "--estimator", "binning", "--discrete", "--discrete-x")
    assert one["saturated"]
    assert one["value"] == pytest.approx(1.0)
    path = save(x=X[:, 0], y=LABEL)
    one = told(path, "--estimator", "ksg", "--no-discrete", "--set", "algorithm=2")
    assert one["parameters"]["algorithm"] == 2


def test_given_may_be_told_to_be_numbers_or_a_label(save, told):
    given = np.arange(200) % 3
    path = save(x=X[:, 0] + given, y=X[:, 1] + given, given=given)
    wanted = {
        "--discrete-given": True,
        "--no-discrete-given": False,
    }
    for option, discrete in wanted.items():
        found = told(path, "--estimator", "ksg", option, "--null", "0", "--draws", "0")
        same = mi.conditional_mutual_information(
            X[:, 0] + given,
            X[:, 1] + given,
            given,
            "ksg",
            discrete_given=discrete,
            null=0,
            draws=0,
        )
        assert found["nats"] == pytest.approx(same.nats)
        assert found["value"] == pytest.approx(same.nats / math.log(2))
    names = save(x=np.where(LABEL, "a", "b"), y=LABEL)
    assert run(["estimate", names, "--estimator", "ksg", "--no-discrete-x"]) == 2


def test_draws_and_negentropy(save, told):
    path = save(x=np.random.default_rng(0).exponential(size=(300, 1)), y=np.arange(300) % 2)
    one = told(path, "--estimator", "ksg", "--quantity", "mi", "--draws", "0", "--null", "0")
    assert (one["low"], one["high"], one["p_value"]) == (None, None, None)
    one = told(path, "--estimator", "rbig", "--quantity", "negentropy", "--draws", "5")
    assert one["quantity"] == "J(X)"
    assert one["low"] <= one["value"] <= one["high"]
    assert one["nats"] == pytest.approx(0.42, abs=0.12)


def test_people_read_a_line(save, capsys):
    wide = np.maximum(np.random.default_rng(0).normal(size=(100, 30)), 0)
    path = save(x=wide, y=np.arange(100) % 2)
    assert run(["estimate", path, "--estimator", "ksg"]) == 0
    text = capsys.readouterr().out
    assert "bits" in text
    assert "ties" in text
    assert "principal components" in text
    assert run(["estimate", path, "--estimator", "ksg", "--json"]) == 0
    shown = capsys.readouterr()
    assert "ties" in shown.err
    assert len(json.loads(shown.out)["notices"]) == 2
    assert run(["estimate", path, "--estimator", "ksg", "--json", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--estimator", "kdee"], "Did you mean 'kde'"),
        (["--estimator", "kde", "--set", "relative"], "NAME=VALUE"),
        (["--estimator", "kde", "--set", "=3"], "NAME=VALUE"),
        (["--estimator", "kde", "--set", "width=3"], "parameter of 'kde'"),
        (["--estimator", "kde", "--set", "estimator=ksg"], "parameter of 'kde'"),
        (["--estimator", "kde", "--set", "relative=wide"], "a number above 0"),
        (["--estimator", "decoder", "--quantity", "entropy"], "entropy: expected kde"),
        (["--estimator", "ksg", "--quantity", "conditional-mi"], "an array 'given'"),
        ([], "--estimator"),
        (["--estimator", "kde", "--quantity", "depth"], "depth"),
        (["--estimator", "kde", "--quantity", "entropy", "--null", "3"], "--null"),
        (["--estimator", "kde", "--discrete-given"], "--discrete-given"),
        (["--estimator", "kde", "--null", "1000000000000"], "null: expected at most"),
        (["--estimator", "ksg", "--draws", "1000000000000"], "draws: expected at most"),
        (["--estimator", "renyi", "--set", "sigma=1e-200"], "sigma: expected a number from 1e-100"),
        (["--estimator", "dse", "--quantity", "input", "--set", "sigma=1e200"], "to 1e+100"),
        (["--estimator", "kde", "--quantity", "entropy", "--set", "noise=1e308"], "noise"),
        (["--estimator", "vme", "--set", "bandwidth=1e-200"], "bandwidth"),
        (["--estimator", "binning", "--set", "by=width", "--set", "width=1e-310"], "width"),
        (["--estimator", "renyi", "--set", "alpha=1e308"], "alpha"),
    ],
)
def test_wrong_use(save, capsys, arguments, word):
    assert run(["estimate", save(x=X, y=LABEL), *arguments]) == 2
    shown = capsys.readouterr()
    assert word in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"y": LABEL}, "an array 'x'"),
        ({"x": X, "y": LABEL[:-1]}, "199"),
        ({"x": X * np.nan, "y": LABEL}, "NaN"),
        ({"x": np.array([["a", "b"]] * 200), "y": X}, "shape"),
        ({"x": X, "y": np.arange(200)}, "seen once"),
        ({"x": np.zeros((0, 2))}, "at least 2 samples"),
    ],
)
def test_arrays_that_cannot_be_used(save, capsys, arrays, word):
    assert run(["estimate", save(**arrays), "--estimator", "kde"]) == 2
    shown = capsys.readouterr()
    assert word in shown.err
    assert shown.out == ""


def test_files_that_cannot_be_used(tmp_path, capsys):
    path = tmp_path / "no.npz"
    assert run(["estimate", str(path), "--estimator", "kde"]) == 2
    assert "no such file" in capsys.readouterr().err
    path.write_bytes(b"no archive")
    assert run(["estimate", str(path), "--estimator", "kde"]) == 2
    capsys.readouterr()
    np.savez(path, x=np.array([{}] * 4, object))
    assert run(["estimate", str(path), "--estimator", "kde"]) == 2
    assert "pickle" in capsys.readouterr().err.lower()


def test_help_names_the_estimators(capsys):
    assert run(["estimate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in (
        "kde",
        "ksg",
        "binning",
        "predictive",
        "total-correlation",
        "Destructor",
        "Example",
    ):
        assert name in text
