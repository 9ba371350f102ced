"""The study of density destructors on planted cases, whole and interrupted."""

import math

import numpy as np
import pytest

from oip.core.output_formats import NumbersFile
from oip.studies import rbig
from oip.studies.rbig import METHODS, Case, MethodTable, RbigSize, StudentT, Trial, scatter
from oip.studies.report import Folder, StudySettings


@pytest.mark.parametrize(
    ("nu", "d", "total", "information"),
    [(3, 3, 0.11047, 0.17871), (5, 10, 0.42686, 0.32883), (3, 50, 6.96475, 1.20256)],
)
def test_truths_of_t_distributions(nu, d, total, information):
    assert StudentT(nu, np.eye(d)).total_correlation == pytest.approx(total, abs=1e-5)
    assert StudentT(nu, np.eye(2 * d)).information(d) == pytest.approx(information, abs=1e-5)


def test_scatter_matters_as_for_a_gaussian():
    # With many degrees of freedom a t distribution is a Gaussian: T and I follow from S alone.
    s = np.array([[1.0, 0.75], [0.75, 1.0]])
    student = StudentT(1e7, s)
    truth = -0.5 * math.log(1 - 0.75**2)
    assert student.total_correlation == pytest.approx(truth, abs=1e-4)
    assert student.information(1) == pytest.approx(truth, abs=1e-4)


def test_samples_have_the_scatter_and_the_tails():
    s = scatter(4, np.random.default_rng(0))
    assert np.allclose(np.diagonal(s), 1.0)
    x = StudentT(5, s).samples(200_000, np.random.default_rng(1))
    assert np.allclose(np.cov(x.T), s * 5 / 3, atol=0.05)


def test_all_methods_measure_a_strong_dependence():
    arrays = rbig.estimates(Trial(Case(3, 3, False), 500, 0), seed=0, room=1 << 30)
    assert all(arrays[name].shape == (len(METHODS),) for name in ("total", "information"))
    assert np.isfinite(arrays["total"]).all()
    small = rbig.estimates(Trial(Case(3, 3, False), 500, 0), seed=0, room=1)
    left_out = [name == "vme" for name, _ in METHODS.values()]
    assert np.isnan(small["total"]).tolist() == left_out
    assert small["total"][0] == arrays["total"][0]


def test_entropies_of_neighbors_and_their_sums():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)) * [1, 2, 3]
    entropy = 1.5 * math.log(2 * math.pi * math.e) + math.log(6)
    assert rbig.neighbor_entropy(x) == pytest.approx(entropy, abs=0.05)
    x[:, 1] = 0.75 * x[:, 0] + (1 - 0.75**2) ** 0.5 * x[:, 1] / 2
    truth = -0.5 * math.log(1 - 0.75**2)
    assert rbig.by_entropies(x, 1, "total") == pytest.approx(truth, abs=0.06)
    assert rbig.by_entropies(x, 1, "information") == pytest.approx(truth, abs=0.06)


def test_rbig_is_judged_by_the_stopping_rule_of_the_paper():
    values = np.zeros((1, 1, len(METHODS)))
    values[0, 0] = [1.0, 2.0, 1.1, 2.0, 2.0, 2.0]  # the null subtracted is best
    table = MethodTable(1.0, np.array([9]), values)
    assert rbig.best_finding("T", {Case(3, 3, True): table}, 1).verdict == "no"


def test_close_is_the_best_or_near_it():
    values = np.zeros((1, 2, len(METHODS)))
    values[0] = np.array([1.1, 2.0, 1.3, np.nan, 1.4, 1.14])
    table = MethodTable(1.0, np.array([500]), values)
    assert table.errors[0, :3] == pytest.approx([0.1, 1.0, 0.3])
    assert table.close()[0].tolist() == [True, False, False, False, False, True]


def test_a_method_that_was_left_out_is_no_miss():
    values = np.array([[[1.0, 1.0, 2.0, np.nan, 2.0, 1.0]], [[1.0, 1.0, 2.0, 1.0, 2.0, 3.0]]])
    table = MethodTable(1.0 + 1e-3, np.array([10, 20]), values)
    finding = rbig.best_finding("T", {Case(3, 3, True): table}, 1)
    assert finding.groups["vME"][0].text() == "close 1 (of 1)"
    assert finding.groups["kNN (KSG)"][0].text() == "close 1 (of 2)"
    left = MethodTable(1.0 + 1e-3, np.array([10]), values[:1])
    finding = rbig.best_finding("T", {Case(3, 3, True): left}, 1)
    assert "vME: close 0 (of 0), median error unknown" in finding.ours


def test_negative_values_are_counted_by_method():
    values = np.zeros((2, 3, len(METHODS)))
    values[0, 1, 5] = -1.0
    tables = {Case(3, 3, True): MethodTable(1.0, np.array([10, 20]), values)}
    finding = rbig.negative_finding("T", tables, 3)
    assert finding.verdict == "no"
    assert [value.value for value in finding.values] == [0, 0, 0, 0, 0, 1]
    # The paper's figures omit the sums of nearest-neighbor entropies alone.
    verdicts = []
    for row in (0, 1):
        values[row, 0, 4] = -1.0
        verdicts.append(rbig.negative_finding("T", tables, 3).verdict)
    assert verdicts == ["partly", "yes"]


TINY = RbigSize(400, 8, {2: (60,), 3: (60,)}, {2: 60, 3: 60}, (60,), trials=2, room=1 << 30)


def test_the_whole_study_on_made_up_estimates(drawn_figures, tmp_path, monkeypatch):
    settings = StudySettings(quick=True)
    calls = []

    def stops(trial, **options):
        calls.append(trial)
        if len(calls) == 4:
            raise KeyboardInterrupt
        rng = np.random.default_rng(len(calls))
        values = {name: rng.normal(size=len(METHODS)) for name in rbig.QUANTITIES}
        for numbers in values.values():
            numbers[list(METHODS).index("vME")] = np.nan  # left out in all trials, for its memory
        return values

    monkeypatch.setattr(rbig, "estimates", stops)
    with pytest.raises(KeyboardInterrupt):
        rbig.run(Folder(tmp_path, rbig.NAME, settings), TINY)
    folder = Folder(tmp_path, rbig.NAME, settings)
    rbig.run(folder, TINY)
    # Two scatters, two degrees of freedom, two dimensions, two trials; one was stopped.
    assert len(calls) == 16 + 1
    report = folder.finish(rbig.TITLE, rbig.SOURCE)
    assert report.is_file()
    numbers = NumbersFile.read(tmp_path / "numbers.json").figures
    assert set(numbers) == {
        "circles-pca", "circles-ica", "circles-random", "total", "total-identity",
        "information", "information-identity",
    }  # fmt: skip
    assert all(finding.verdict in ("yes", "partly", "no") for finding in folder.findings)
    assert len(numbers["total"]["nu3-d3 values"][0][0]) == len(METHODS)


def test_sizes_of_the_paper_and_of_a_quick_study():
    assert rbig.FULL.counts[50] == (500, 1_000, 5_000, 10_000, 50_000)
    assert Case(3, 50, False).counts(rbig.FULL) == (1_000,)
    assert Case(3, 50, True).counts(rbig.QUICK) == (500, 1_000)
