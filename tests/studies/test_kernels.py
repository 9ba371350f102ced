from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oip.cli.main import run
from oip.core.progress import silent
from oip.studies.curves import Estimate
from oip.studies.data import load_images
from oip.studies.kernels import compare_sources, one_a_class
from oip.studies.kernels_plots import heat_maps
from oip.studies.report import Folder, StudySettings
from oip.studies.runner import run_study
from oip.studies.trained import LENET, WIDTHS, study_training


@pytest.fixture(scope="module")
def reports(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both studies of a few iterations, with what they share."""
    out = tmp_path_factory.mktemp("reports")
    told = ["--quick", "--quiet", "--iterations", "3", "--data", str(bars), "--out", str(out)]
    assert run(["study", "kernels", "plane", *told]) == 0
    return out


def test_the_kernels_report_has_the_papers_figures(reports: Path) -> None:
    numbers = json.loads((reports / "kernels" / "numbers.json").read_text())
    shown = {name.rpartition("bars-npz")[0] for name in numbers}
    assert shown == {
        "boxes-relative-",
        "boxes-fixed-",
        "classes-relative-",
        "classes-fixed-",
        "responses-",
    }
    assert all((reports / "kernels" / "figures" / f"{name}.svg").is_file() for name in numbers)
    boxes = numbers["boxes-relative-bars-npz"]
    first = np.array(boxes["LeNet, first block: bits by iteration and kernel"])
    assert first.shape == (4, 24)
    assert (first >= 0).all() and (first <= np.log2(3) + 1e-6).all()
    change = np.array(boxes["LeNet, first block: first difference of the mean"])
    np.testing.assert_allclose(change, np.diff(first.mean(axis=1)), atol=1e-6)


def test_heat_maps_are_in_the_order_of_the_start(reports: Path) -> None:
    numbers = json.loads((reports / "kernels" / "numbers.json").read_text())
    maps = numbers["classes-relative-bars-npz-densenet"]
    assert maps["iterations"] == [0, 1, 3]
    bits = np.array(maps["second block: bits by iteration, kernel and class"])
    ranks = np.array(maps["second block: ranks by iteration, kernel and class"])
    assert bits.shape == ranks.shape == (3, 12, 3)
    for table, places in zip(bits, ranks, strict=True):
        for column, order in zip(table.T, places.T, strict=True):
            assert sum(order) == sum(range(1, 13))
            assert (np.diff(column[np.argsort(order)]) <= 1e-9).all()
            for value in set(column):
                assert len(set(order[column == value])) == 1
    boxes = numbers["boxes-relative-bars-npz"]
    start = np.array(boxes["DenseNet, second block: bits by iteration and kernel"])[0]
    order = maps["second block: kernels in this order"]
    assert (np.diff(start[order]) <= 1e-9).all()


def test_responses_are_those_of_the_best_and_the_worst(reports: Path) -> None:
    numbers = json.loads((reports / "kernels" / "numbers.json").read_text())
    found = numbers["responses-bars-npz-lenet"]
    end = np.array(
        numbers["boxes-relative-bars-npz"]["LeNet, first block: bits by iteration and kernel"]
    )[-1]
    order = np.argsort(-end, kind="stable")
    assert found["kernels"] == [*order[:4], *order[-4:]]
    values = np.array(found["block outputs by kernel and class"])
    assert values.shape == (8, 3, 6, 6)
    assert values.min() >= 0


def test_claims_are_made_and_late_ones_are_not_tested(reports: Path) -> None:
    told = json.loads((reports / "kernels" / "study.json").read_text())
    rows = {claim["paper"]: claim for claim in told["claims"]}
    late = next(claim for paper, claim in rows.items() if "falls late" in paper)
    assert late["agrees"] == "not tested"
    assert "3 iterations" in late["sure"]
    assert sum("Fashion-MNIST" in paper for paper in rows) == 1
    assert "nan" not in json.dumps([claim["found"] for claim in told["claims"]]).lower()


def test_the_plane_report_has_every_network(reports: Path) -> None:
    numbers = json.loads((reports / "plane" / "numbers.json").read_text())
    assert set(numbers) == {"plane-bars-npz", "last-layers-bars-npz", "plane-older-networks"}
    plane = numbers["plane-bars-npz"]
    assert len(plane["LeNet, fixed width, block 1: I(T;Y), bits"]) == 4
    for name, values in plane.items():
        if "I(X;T)" in name:
            assert max(values) <= plane["LeNet: log2 of the images"] + 1e-9
    older = numbers["plane-older-networks"]
    assert len([name for name in older if name.startswith("tanh-MLP, fixed")]) == 12
    told = json.loads((reports / "plane" / "study.json").read_text())
    papers = [claim["paper"] for claim in told["claims"]]
    assert any("tanh-MLP" in paper for paper in papers)
    assert "icosahedron" in " ".join(told["notes"])


def test_both_studies_share_their_trainings_and_are_linked(reports: Path) -> None:
    trainings = [path.name for path in (reports / "shared").iterdir()]
    assert len(trainings) == 6
    assert not any((reports / "kernels" / "parts").glob("bars*"))
    text = (reports / "index.html").read_text()
    assert "kernels/report.html" in text and "plane/report.html" in text


def test_a_finished_study_is_not_computed_again(reports: Path, bars: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in reports.rglob("*.npz")}
    kept = [reports / "plane" / name for name in ("numbers.json", "figures/plane-bars-npz.svg")]
    whole = [path.read_bytes() for path in kept]
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    run_study("plane", reports / "plane", settings, silent, reports / "shared")
    assert {path: path.stat().st_mtime_ns for path in reports.rglob("*.npz")} == before
    assert [path.read_bytes() for path in kept] == whole


def test_two_sources_are_compared_by_their_gains(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "kernels", StudySettings())
    gains = (Estimate(0.02, 0.01), Estimate(0.3, 0.02), Estimate(0.04, 0.05), None)
    less, more, noisy, full = (
        {width: dict.fromkeys(("LeNet", "DenseNet"), gain) for width in WIDTHS} for gain in gains
    )
    compare_sources(folder, {"mnist": more, "fashion-mnist": less})
    compare_sources(folder, {"mnist": less, "fashion-mnist": more})
    compare_sources(folder, {"mnist": less})
    compare_sources(folder, {"mnist": noisy, "fashion-mnist": less})
    compare_sources(folder, {"mnist": full, "fashion-mnist": less})
    wanted = ["yes", "no", "not tested", "not tested", "not tested"]
    assert [finding.verdict for finding in folder.findings] == wanted
    assert "LeNet, mnist +0.30 (+0.26 to +0.34)" in folder.findings[0].ours
    assert "at the ceiling" in folder.findings[4].ours


def test_one_image_of_each_class() -> None:
    images = np.arange(6)[:, None]
    assert one_a_class(images, np.array([2, 0, 2, 0, 1, 1]), 4).ravel().tolist() == [1, 4, 0]


def test_kernels_at_the_ceiling_have_no_order_in_heat_maps(
    reports: Path, tmp_path: Path, bars: Path
) -> None:
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    folder = Folder(reports / "kernels", "kernels", settings, shared=reports / "shared")
    data = load_images(folder, str(bars), settings)
    one = study_training(folder, LENET, data, settings, silent)
    record = one.records["fixed"]
    most = np.array(record.file.class_ceilings)
    layers = list(record.layers)
    values = np.broadcast_to(most, layers[0].per_class.shape).copy()
    values[:, 3] = 0.1
    layers[0] = replace(layers[0], per_class=values)
    planted = replace(one, records={"fixed": replace(record, layers=tuple(layers))})
    drawn = Folder(tmp_path, "kernels", settings)
    heat_maps(drawn, data, "LeNet", planted, "fixed")
    numbers = next(iter(drawn.numbers.values()))
    ranks = np.array(numbers["first block: ranks by iteration, kernel and class"])
    assert set(ranks.ravel()) == {12.0, 24.0}
    assert (
        np.mean(numbers["first block: at the ceiling, by iteration, kernel and class"]) == 23 / 24
    )
    assert "first block 96%, 96%, 96%" in drawn.figures[0].caption


def test_plane_goes_on_without_the_first_source(reports: Path, bars: Path, capsys) -> None:
    out = reports.parent / "second"
    sources = ("--data", "nowhere.npz", "--data", str(bars))
    told = ("--quick", "--quiet", "--iterations", "3", *sources, "--out", str(out))
    shutil.copytree(reports / "shared", out / "shared")
    assert run(["study", "plane", "kernels", *told]) == 1
    assert "plane: done without" in capsys.readouterr().err
    study = json.loads((out / "plane" / "study.json").read_text())
    assert sum("no data" in claim["sure"] for claim in study["claims"]) == 1
    assert any("IP-MLP" in claim["paper"] for claim in study["claims"])
