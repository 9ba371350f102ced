from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oip.core import files
from oip.core.progress import silent
from oip.studies import plane, trained
from oip.studies.report import Folder, StudySettings
from oip.studies.runner import run_several, run_study
from oip.studies.trained import DENSENET, LENET, RELU_MLP, WIDTHS, finding_by_width

RISE = np.linspace(0.5, 1.5, 10)
TOP = np.log2(5)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "plane", StudySettings())


def finding(folder: Folder, text: str):
    """The one finding whose statement holds a text."""
    findings = [row for row in folder.findings if text in row.paper]
    assert len(findings) == 1
    return findings[0]


def test_a_layer_pinned_from_the_start_is_no_growth(planted) -> None:
    trainings = {LENET.title: planted(LENET, TOP, RISE, RISE)}
    grows = finding_by_width("plane", plane.layers_grow, trainings)
    assert grows.verdict == "yes"
    assert "LeNet, of 2 2 (1 at the ceiling from the start)" in grows.ours
    trainings = {LENET.title: planted(LENET, TOP, TOP, TOP)}
    assert finding_by_width("plane", plane.layers_grow, trainings).verdict == "not tested"


def test_last_layers_at_the_ceiling_are_not_compared(folder: Folder, planted) -> None:
    trainings = {
        RELU_MLP.title: planted(RELU_MLP, 0, 0, RISE, 0.97),
        LENET.title: planted(LENET, RISE, RISE, RISE, 0.99),
        DENSENET.title: planted(DENSENET, RISE, RISE, TOP, 0.99),
    }
    plane.add_plane_findings(folder, "mnist", trainings, 10_000)
    assert finding(folder, "ends with more").verdict == "not tested"
    converged = finding(folder, "no network has converged")
    assert converged.verdict == "partly"
    assert converged.ours.count("at the ceiling)") == 2
    assert converged.ours.endswith("to +0.000, at the ceiling).")


def test_convergence_is_judged_after_10_000_iterations_where_there_are_more(
    folder: Folder, planted
) -> None:
    steps = 5 * planted(RELU_MLP, 0, 0, 0).records["fixed"].steps
    training = planted(RELU_MLP, 0, 0, np.where(steps < 10_000, RISE, 1.5))
    record = replace(training.records["fixed"], steps=steps)
    rising = replace(
        record, layers=(*record.layers[:-1], replace(record.layers[-1], whole_label=RISE))
    )
    for changed, expected in ((record, "not tested"), (rising, "yes")):
        records = dict.fromkeys(WIDTHS, changed)
        long = replace(training, iterations=50_000, records=records)
        trainings = {"net": long, DENSENET.title: long}
        folder.findings.clear()
        plane.add_plane_findings(folder, "x", trainings, 100)
        converged = finding(folder, "no network has converged")
        assert converged.verdict == expected
        assert "from iteration 10,000 to 50,000" in converged.ours


def test_a_small_drop_or_one_of_a_single_record_is_not_significant(planted) -> None:
    spike = np.array([1, 1, 1, 1.3, 1, 1, 1, 1, 1, 1.0])
    small = np.array([1, 1.04, 1.04, 1.04, 1.04, 1.04, 1, 1, 1, 1.0])
    large = np.array([1, 1.4, 1.4, 1.4, 1.4, 1.4, 1, 1, 1, 1.0])
    still = np.array([0, 0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5])
    cases = ((spike - 0.1 * (spike > 1), "no"), (small, "no"), (large, "yes"), (still, "no"))
    for values, expected in cases:
        trainings = {"net": planted(RELU_MLP, 0, 0, values)}
        row = finding_by_width("plane", plane.label_drops, trainings, by_line="")
        assert row.verdict == expected, values


def test_last_layers_and_accuracies(folder: Folder, planted) -> None:
    def trainings(dense, plain, accuracy):
        return {
            RELU_MLP.title: planted(RELU_MLP, 0, 0, plain, 0.97),
            LENET.title: planted(LENET, RISE, RISE, plain, 0.99),
            DENSENET.title: planted(DENSENET, RISE, RISE, dense, accuracy),
        }

    texts = ("Accuracy", "ends with more", "no network has converged", "grows during")
    cases = (
        (trainings(RISE + 0.5, RISE, 0.992), ("yes", "yes", "yes", "yes")),
        (trainings(RISE[::-1], RISE + 0.5, 0.98), ("partly", "no", "partly", "partly")),
    )
    for case, verdicts in cases:
        folder.findings.clear()
        plane.add_plane_findings(folder, "mnist", case, 10_000)
        assert tuple(finding(folder, text).verdict for text in texts) == verdicts
    assert "LeNet 99.22" in finding(folder, "Accuracy").reported


def test_fashion_ends_farther_from_the_bound(folder: Folder, planted) -> None:
    near, far = (
        {LENET.title: planted(LENET, RISE, RISE, np.append(RISE[:6], end))}
        for end in ([2.2, 2.21, 2.2, 2.2], [1.2, 1.21, 1.2, 1.2])
    )
    for digits, clothes, expected in ((near, far, "yes"), (far, near, "no")):
        folder.findings.clear()
        plane.add_bounds_by_source(folder, {"mnist": digits, "fashion-mnist": clothes})
        assert finding(folder, "farther from the bound").verdict == expected
    folder.findings.clear()
    plane.add_bounds_by_source(folder, {"mnist": near})
    assert finding(folder, "farther from the bound").verdict == "not tested"


def test_compression_is_a_rise_and_a_fall(planted) -> None:
    cases = {
        "yes": np.array([1, 2, 3, 3, 3, 2.5, 2, 2, 2, 2]),
        "no": np.array([3, 2, 2, 2, 2, 2, 2, 2, 2, 2.0]),
    }
    constants = {"by_line": "", "too_short": 5000}
    for expected, values in cases.items():
        trainings = {"net": planted(RELU_MLP, 0, 0, values)}
        row = finding_by_width("plane", plane.fits_then_compresses, trainings, **constants)
        assert row.verdict == expected


def test_the_report_has_every_network(
    figures_as_svg, bars: Path, made_up, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(trained, "study_training", made_up)
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    assert run_study("plane", tmp_path, settings, silent).whole
    numbers = files.read_json(tmp_path / "numbers.json")
    assert set(numbers) == {"plane-bars-npz", "last-layers-bars-npz", "plane-older-networks"}
    drawn = numbers["plane-bars-npz"]
    assert len(drawn["LeNet, fixed width, block 1: I(T;Y), bits"]) == 4
    for name, values in drawn.items():
        if "I(X;T)" in name:
            assert max(values) <= drawn["LeNet: log2 of the images"] + 1e-9
    older = numbers["plane-older-networks"]
    assert len([name for name in older if name.startswith("tanh-MLP, fixed")]) == 12
    record = json.loads((tmp_path / "study.json").read_text())
    assert any("tanh-MLP" in claim["paper"] for claim in record["claims"])
    assert "icosahedron" in " ".join(record["notes"])
    # The same trainings give the same bytes again.
    kept = [tmp_path / name for name in ("numbers.json", "figures/plane-bars-npz.svg")]
    before = [path.read_bytes() for path in kept]
    run_study("plane", tmp_path, settings, silent)
    assert [path.read_bytes() for path in kept] == before


def test_studies_go_on_without_the_first_source(
    unsaved_figures, bars: Path, made_up, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(trained, "study_training", made_up)
    settings = StudySettings(quick=True, data=("nowhere.npz", str(bars)), iterations=3)
    outcome = run_several(["plane", "kernels"], tmp_path, settings, silent)
    assert set(outcome.lacking) == {"plane", "kernels"} and not outcome.stopped
    record = json.loads((tmp_path / "plane" / "study.json").read_text())
    assert sum("no data" in claim["sure"] for claim in record["claims"]) == 1
    assert any("IP-MLP" in claim["paper"] for claim in record["claims"])
    text = (tmp_path / "index.html").read_text()
    assert "kernels/report.html" in text and "plane/report.html" in text
