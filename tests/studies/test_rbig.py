"""The study of density destructors on planted cases, whole and interrupted."""

import json
import math

import numpy as np
import pytest

from oip import mi
from oip.core.progress import silent
from oip.studies import rbig
from oip.studies.rbig import METHODS, Case, Student, Table, scatter
from oip.studies.report import Folder, StudySettings


@pytest.mark.parametrize(
    ("nu", "d", "total", "information"),
    [
        (3, 3, 0.11047, 0.17871),
        (5, 10, 0.42686, 0.32883),
        (3, 50, 6.96475, 1.20256),
    ],
)
def test_truths_of_t_distributions(nu, d, total, information):
    assert Student(nu, np.eye(d)).total_correlation == pytest.approx(total, abs=1e-5)
    assert Student(nu, np.eye(2 * d)).information(d) == pytest.approx(information, abs=1e-5)


def test_scatter_matters_as_for_a_gaussian():
    # With many degrees of freedom a t distribution is a Gaussian: T and I follow from S alone.
    s = np.array([[1.0, 0.75], [0.75, 1.0]])
    student = Student(1e7, s)
    truth = -0.5 * math.log(1 - 0.75**2)
    assert student.total_correlation == pytest.approx(truth, abs=1e-4)
    assert student.information(1) == pytest.approx(truth, abs=1e-4)


def test_samples_have_the_scatter_and_the_tails():
    s = scatter(4, np.random.default_rng(0))
    assert np.allclose(np.diagonal(s), 1.0)
    x = Student(5, s).samples(200_000, np.random.default_rng(1))
    assert np.allclose(np.cov(x.T), s * 5 / 3, atol=0.05)


def test_the_truth_of_circles_is_that_of_samples():
    x = rbig.circles(4000, np.random.default_rng(0))
    estimate = mi.total_correlation(x, null=0, draws=0).nats
    assert rbig.true_total_correlation() == pytest.approx(estimate, abs=0.06)


@pytest.mark.parametrize(("rotation", "least"), [("pca", 0.3), ("random", 0.6)])
def test_circles_there_and_back(rotation, least):
    found = rbig.destroyed(1000, 40, rotation, seed=0)
    assert found["inverse_error"] < 1e-5
    assert found["cumulative"][-1] > found["chance"][:, -1].max()
    # What is left of rings after some layers is the same in all directions.
    assert least < found["cumulative"][-1] / found["truth"] < 1.0
    assert found["by_jacobian"] == pytest.approx(found["cumulative"][-1], rel=0.1)


def test_random_rotations_leave_a_more_even_square():
    found = [rbig.destroyed(1000, 40, name, seed=0)["evenness"] for name in ("pca", "random")]
    assert found[1] < found[0]


def test_evenness_of_even_and_uneven_points():
    rng = np.random.default_rng(0)
    assert rbig.evenness(rng.random((20_000, 2))) == pytest.approx(1.0, abs=0.6)
    assert rbig.evenness(rng.random((20_000, 2)) ** 2) > 50


def test_all_methods_measure_a_strong_dependence():
    found = rbig.measured(Case(3, 3, False), 500, 0, seed=0, room=1 << 30)
    assert all(found[name].shape == (len(METHODS),) for name in ("total", "information"))
    assert np.isfinite(found["total"]).all()
    small = rbig.measured(Case(3, 3, False), 500, 0, seed=0, room=1)
    left_out = [method.name == "vme" for method in METHODS]
    assert np.isnan(small["total"]).tolist() == left_out
    assert small["total"][0] == found["total"][0]


def test_close_is_the_best_or_near_it():
    values = np.zeros((1, 2, len(METHODS)))
    values[0] = np.array([1.1, 2.0, 1.3, np.nan, 1.14])
    table = Table(1.0, np.array([500]), values)
    assert table.errors[0, :3] == pytest.approx([0.1, 1.0, 0.3])
    assert table.close()[0].tolist() == [True, False, False, False, True]


def test_what_was_left_out_is_no_miss(tmp_path):
    values = np.array([[[1.0, 1.0, 2.0, np.nan, 1.0]], [[1.0, 1.0, 2.0, 1.0, 3.0]]])
    table = Table(1.0 + 1e-3, np.array([10, 20]), values)
    folder = Folder(tmp_path, "rbig", StudySettings())
    rbig._claim(folder, "T", {Case(3, 3, True): table}, "one trial", "")
    found = folder.claims[0].found
    assert "vME: 1 of 1" in found and "kNN: 1 of 2" in found
    left = Table(1.0 + 1e-3, np.array([10]), values[:1])
    rbig._claim(folder, "T", {Case(3, 3, True): left}, "one trial", "")
    assert "vME: 0 of 0, median error unknown" in folder.claims[1].found


@pytest.fixture
def minute(monkeypatch):
    """The study, as small as it can be."""
    monkeypatch.setattr(rbig, "_QUICK_SAMPLES", 400)
    monkeypatch.setattr(rbig, "_QUICK_LAYERS", 8)
    monkeypatch.setattr(rbig, "DIMENSIONS", (2, 3))
    monkeypatch.setattr(rbig, "_QUICK_COUNTS", dict.fromkeys((2, 3), (60,)))
    monkeypatch.setattr(rbig, "QUICK_TRIALS", 2)


def test_the_whole_study(minute, tmp_path, monkeypatch):
    settings = StudySettings(quick=True)
    folder = Folder(tmp_path, rbig.NAME, settings)
    original, calls = rbig.measured, []

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(rbig, "measured", stops)
    with pytest.raises(KeyboardInterrupt):
        rbig.run(folder, settings, silent)
    folder = Folder(tmp_path, rbig.NAME, settings)
    rbig.run(folder, settings, silent)
    # Two scatters, two degrees of freedom, two dimensions, two trials; one was stopped.
    assert len(calls) == 16 + 1
    report = folder.finish(rbig.TITLE, rbig.SOURCE)
    assert report.is_file()
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert set(numbers) == {
        "circles-pca", "circles-random", "total", "total-identity",
        "information", "information-identity",
    }  # fmt: skip
    assert all(claim.agrees in ("yes", "partly", "no") for claim in folder.claims)
    assert len(numbers["total"]["nu3-d3 values"][0][0]) == len(METHODS)
