import json
import math
import shlex

import numpy as np
import pytest

from oip import mi
from oip.cli.main import run
from oip.mi.estimators.base import NAMES, estimator_class

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
def record(capsys):
    """Run `oip estimate ... --json` and return what it prints."""

    def ask(*arguments):
        assert run(["estimate", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


X = np.random.default_rng(0).normal(size=(200, 2))
LABEL = np.arange(200) % 2


def test_the_json_is_as_agreed_and_in_bits(save, record):
    path = save(x=X[:, 0] + LABEL, y=LABEL)
    row = record(path, "--estimator", "kde", "--set", "relative=0.05", "--seed", "3")
    assert set(KEYS.split()) <= set(row)
    expected = mi.mutual_information(X[:, 0] + LABEL, LABEL, "kde", relative=0.05, seed=3)
    assert row["value"] == pytest.approx(expected.bits)
    assert (row["quantity"], row["unit"], row["estimator"]) == ("I(X;Y)", "bits", "kde")
    assert row["ceiling"] == pytest.approx(1.0)
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["p_value"], row["n"], row["saturated"]) == (expected.p_value, 200, False)
    assert row["parameters"] == {"relative": 0.05, "bound": "upper"}


def test_the_quantity_follows_from_the_arrays_or_is_said(save, record):
    path = save(x=X, y=X[:, 0], given=X[:, 1])
    assert record(path, "--estimator", "gaussian")["quantity"] == "I(X;Y|Z)"
    assert record(path, "--estimator", "ksg", "--quantity", "mi")["quantity"] == "I(X;Y)"
    row = record(path, "--estimator", "gaussian", "--quantity", "total-correlation", "--null", "9")
    assert row["quantity"] == "T(X)"
    assert row["p_value"] >= 0.1
    assert record(path, "--estimator", "ksg", "--quantity", "entropy")["quantity"] == "H(X)"
    row = record(save(x=X, y=X + 3), "--estimator", "gaussian", "--quantity", "kl")
    assert row["quantity"] == "KL(X||Y)"
    assert row["value"] == pytest.approx(9 / math.log(2), rel=0.2)
    row = record(save(x=X), "--estimator", "gaussian")
    assert (row["quantity"], row["p_value"], row["ceiling"]) == ("H(X)", None, None)


@pytest.mark.parametrize("name", [n for n in NAMES if estimator_class(n).resamples])
def test_every_estimator_does_what_it_can(save, record, name):
    row = mi.estimator(name)
    path = save(x=X[:60], y=LABEL[:60])
    arguments = {
        "mi": "label_information",
        "entropy": "entropy",
        "total-correlation": "total_correlation",
        "input": "input_information",
    }
    for quantity, ability in arguments.items():
        if row.can(ability):
            result = record(path, "--estimator", name, "--quantity", quantity)
            assert (result["estimator"], result["unit"], result["n"]) == (name, "bits", 60)
            assert math.isfinite(result["value"])


def test_sides_can_be_told_to_be_labels(save, record):
    path = save(x=LABEL, y=LABEL * 1.0)
    row = record(path, "--estimator", "binning", "--discrete", "--discrete-x")
    assert row["saturated"]
    assert row["value"] == pytest.approx(1.0)
    path = save(x=X[:, 0], y=LABEL)
    row = record(path, "--estimator", "ksg", "--no-discrete", "--set", "algorithm=2")
    assert row["parameters"]["algorithm"] == 2


def test_given_may_be_told_to_be_numbers_or_a_label(save, record):
    given = np.arange(200) % 3
    path = save(x=X[:, 0] + given, y=X[:, 1] + given, given=given)
    expected = {
        "--discrete-given": True,
        "--no-discrete-given": False,
    }
    for option, discrete in expected.items():
        result = record(path, "--estimator", "ksg", option, "--null", "0", "--draws", "0")
        same = mi.conditional_mutual_information(
            X[:, 0] + given,
            X[:, 1] + given,
            given,
            "ksg",
            discrete_given=discrete,
            null=0,
            draws=0,
        )
        assert result["nats"] == pytest.approx(same.nats)
        assert result["value"] == pytest.approx(same.nats / math.log(2))
    names = save(x=np.where(LABEL, "a", "b"), y=LABEL)
    assert run(["estimate", names, "--estimator", "ksg", "--no-discrete-x"]) == 2


def test_without_an_estimator_it_is_the_default_of_the_quantity_in_python(save, record):
    path = save(x=X, y=LABEL)
    quick = ("--draws", "0", "--null", "0")
    assert record(path, *quick)["estimator"] == "kde"
    assert record(path, "--no-discrete", *quick)["estimator"] == "ksg"
    assert record(path, "--quantity", "total-correlation", *quick)["estimator"] == "ksg"
    assert record(save(x=X), "--draws", "0")["estimator"] == "kde"


@pytest.mark.parametrize("estimator", ["ksg", "binning", "gaussian", "renyi", "rbig", "kde"])
@pytest.mark.parametrize("quantity", ["mi", "total-correlation", "kl", "entropy", "input"])
def test_the_next_steps_work(save, capsys, estimator, quantity):
    for y in (LABEL, X + 1.5):
        path = save(x=X, y=y)
        call = ["estimate", path, "--estimator", estimator, "--quantity", quantity, "--draws", "0"]
        if run(call) != 0:
            continue  # not every estimator has every quantity
        lines = capsys.readouterr().err.split("Next:")[1].splitlines()
        steps = [shlex.split(line, comments=True) for line in lines]
        assert [step[1] for step in steps] == ["estimate", "cite"]
        for step in steps:
            assert run([*step[1:], *(["--draws", "0"] if step[1] == "estimate" else [])]) == 0


def test_a_label_among_numbers_is_recognized(save, capsys):
    assert run(["estimate", save(x=X, y=LABEL * 1.0), "--estimator", "ksg", "--draws", "0"]) == 0
    assert "If it is a label, say" in capsys.readouterr().out


def test_draws_and_negentropy(save, record):
    path = save(x=np.random.default_rng(0).exponential(size=(300, 1)), y=np.arange(300) % 2)
    row = record(path, "--estimator", "ksg", "--quantity", "mi", "--draws", "0", "--null", "0")
    assert (row["low"], row["high"], row["p_value"]) == (None, None, None)
    row = record(path, "--estimator", "rbig", "--quantity", "negentropy", "--draws", "5")
    assert row["quantity"] == "J(X)"
    assert row["low"] <= row["value"] <= row["high"]
    assert row["nats"] == pytest.approx(0.42, abs=0.12)


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
    assert len(json.loads(shown.out)["notices"]) == 3  # and the bias in 30 dimensions
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
        (["--set", "k=3"], "--estimator as well"),
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


def test_a_condition_without_y_is_no_entropy(call, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    np.savez(tmp_path / "a.npz", x=x, given=x[:, 0])
    status, out, err = call("estimate", tmp_path / "a.npz")
    assert (status, out) == (2, "") and "expected an array 'y'" in err
    assert call("estimate", tmp_path / "a.npz", "--quantity", "entropy", "--quiet")[0] == 0
