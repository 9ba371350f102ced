from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oip import mi
from oip.core.output_formats import NumbersFile
from oip.core.progress import silent
from oip.studies import plane, trained
from oip.studies.data import load_images
from oip.studies.findings import partial_rank_correlation
from oip.studies.report import Folder, StudySettings
from oip.studies.runner import run_several, run_study
from oip.studies.trained import DENSENET, LENET, RELU_MLP, WIDTHS, finding_by_width

RISE = np.linspace(0.5, 1.5, 10)
TOP = np.log2(5)


@pytest.fixture
def uses(monkeypatch):
    """Decisions and regularized trainings that are made up: information decides on groups."""
    bits = [f"{width} {layer}" for width in WIDTHS for layer in ("features", "output")]

    def decisions(network, data, size):
        information = network.seed + len(network.recipe) / 10
        single = 0.8 + 0.001 * (7 * network.seed % 3)
        shares = np.array([single, 0.85, 0.9 + information / 100, 0.95])
        rules = dict.fromkeys(("mean of the outputs", "product of the outputs"), shares)
        return {"accuracy": single, **rules, **dict.fromkeys(bits, information)}

    def regularized(plan, data, size):
        gain = {"": 0.0, trained.LABEL: 0.1, trained.INPUT: -0.2}[plan.term]
        return {"accuracy": 0.7 + gain + 0.001 * plan.seed, "label": 2.0, "input": 3.0}

    monkeypatch.setattr(plane, "decisions", decisions)
    monkeypatch.setattr(plane, "regularized", regularized)


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
    plane.add_plane_findings(folder, "mnist", trainings)
    assert finding(folder, "final converged MI").verdict == "not tested"
    converged = finding(folder, "neither of the networks")
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
        plane.add_plane_findings(folder, "x", trainings)
        converged = finding(folder, "neither of the networks")
        assert converged.verdict == expected
        assert "from iteration 10,000 to 50,000" in converged.ours


def test_a_small_drop_or_one_of_a_single_record_is_not_significant(planted) -> None:
    spike = np.array([1, 1, 1, 1.3, 1, 1, 1, 1, 1, 1.0])
    small = np.array([1, 1.04, 1.04, 1.04, 1.04, 1.04, 1, 1, 1, 1.0])
    large = np.array([1, 1.4, 1.4, 1.4, 1.4, 1.4, 1, 1, 1, 1.0])
    steady = np.array([0, 0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5])
    cases = ((spike - 0.1 * (spike > 1), "no"), (small, "no"), (large, "yes"), (steady, "no"))
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

    texts = (
        "the accuracy rates of the networks",
        "final converged MI",
        "neither of the networks",
        "clear patterns",
    )
    cases = (
        (trainings(RISE + 0.5, RISE, 0.992), ("yes", "yes", "yes", "yes")),
        (trainings(RISE[::-1], RISE + 0.5, 0.98), ("partly", "no", "partly", "partly")),
    )
    for case, verdicts in cases:
        folder.findings.clear()
        folder.add(plane.accuracies(case, 10_000))
        plane.add_plane_findings(folder, "mnist", case)
        assert tuple(finding(folder, text).verdict for text in texts) == verdicts
    assert "LeNet 99.22" in finding(folder, "the accuracy rates of the networks").reported


def test_fashion_ends_farther_from_the_bound(folder: Folder, planted) -> None:
    near, far = (
        {LENET.title: planted(LENET, RISE, RISE, np.append(RISE[:6], end))}
        for end in ([2.2, 2.21, 2.2, 2.2], [1.2, 1.21, 1.2, 1.2])
    )
    for digits, clothes, expected in ((near, far, "yes"), (far, near, "no")):
        folder.findings.clear()
        plane.add_bounds_by_source(folder, {"mnist": digits, "fashion-mnist": clothes})
        assert finding(folder, "farther from the IB bound").verdict == expected
    folder.findings.clear()
    plane.add_bounds_by_source(folder, {"mnist": near})
    assert finding(folder, "farther from the IB bound").verdict == "not tested"


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
    figures_as_svg, bars: Path, made_up, uses, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(trained, "study_training", made_up)
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    assert run_study("plane", tmp_path, settings, silent).whole
    numbers = NumbersFile.read(tmp_path / "numbers.json").figures
    assert set(numbers) == {
        *("plane-bars-npz", "last-layers-bars-npz", "plane-older-networks"),
        *("decisions-bars-npz", "regularized-bars-npz"),
    }
    drawn = numbers["plane-bars-npz"]
    assert len(drawn["LeNet, fixed width, block 1: I(T;Y), bits"]) == 4
    for name, values in drawn.items():
        if "I(X;T)" in name:
            assert max(values) <= drawn["LeNet: log2 of the images"] + 1e-9
    older = numbers["plane-older-networks"]
    assert len([name for name in older if name.startswith("tanh-MLP, fixed")]) == 12
    record = json.loads((tmp_path / "study.json").read_text())
    assert any("tanh-MLP" in claim["paper"] for claim in record["claims"])
    verdicts = {claim["paper"][10:18]: claim["agrees"] for claim in record["claims"]}
    assert (verdicts['"When tw'], verdicts['"In futu']) == ("yes", "partly")
    assert "icosahedron" in " ".join(record["notes"])
    order = list(dict.fromkeys(claim["figure"] for claim in record["claims"]))
    # One of them has no figure: it needs both data sets.
    assert order == ["fig. 3", "fig. 3, 4", "fig. 4", "", "sec. 1", "sec. 7"]
    drawn = [figure["caption"].partition(" of the paper")[0] for figure in record["figures"]]
    assert drawn[1:3] == ["As figure 3", "As figure 4"]
    # The same trainings give the same bytes again.
    kept = [tmp_path / name for name in ("numbers.json", "figures/plane-bars-npz.svg")]
    before = [path.read_bytes() for path in kept]
    run_study("plane", tmp_path, settings, silent)
    assert [path.read_bytes() for path in kept] == before


def test_legends_of_planes_are_left_of_the_ceiling(
    monkeypatch, unsaved_figures, folder: Folder, planted
) -> None:
    drawn = []
    monkeypatch.setattr(folder, "figure", lambda name, drawing, *rest: drawn.append(drawing))
    plane.draw_information_planes(folder, "mnist", {LENET.title: planted(LENET, RISE, RISE, RISE)})
    drawing = drawn[0]
    drawing.draw_without_rendering()
    for panel in drawing.axes[: len(WIDTHS)]:
        (line,) = [line for line in panel.lines if line.get_linestyle() == ":"]
        right = panel.get_legend().get_window_extent().x1
        assert right < panel.transData.transform((line.get_xdata()[0], 0))[0]


def test_studies_go_on_without_the_first_source(
    unsaved_figures, bars: Path, made_up, uses, tmp_path, monkeypatch
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


def test_decisions_from_several_images() -> None:
    labels = np.repeat([0, 1], 50)
    # Of every class two of five images are wrong, but less sure.
    outputs = np.where(np.arange(100) % 5 < 3, 0.9, 0.4)
    outputs = np.stack([outputs, 1 - outputs], axis=1)
    outputs[50:] = outputs[50:, ::-1]
    rng = np.random.default_rng(0)
    shares = [plane.group_accuracy(outputs, labels, n, 2000, False, rng) for n in (1, 2, 3)]
    assert shares[0] == pytest.approx(0.6)
    # Of two both have to be among the less sure ones, of three, too: hypergeometric.
    assert shares[1] == pytest.approx(1 - 20 * 19 / (50 * 49), abs=0.02)
    assert shares[2] == pytest.approx(1 - 20 * 19 * 18 / (50 * 49 * 48), abs=0.02)
    assert np.isnan(plane.group_accuracy(outputs[:1], labels[:1], 2, 10, True, rng))


def test_a_correlation_without_a_third_number() -> None:
    rng = np.random.default_rng(0)
    third = rng.normal(size=60)
    first, second = (third + 0.1 * rng.normal(size=60) for _ in range(2))
    value = partial_rank_correlation(first, second, third, 0)
    assert value.low < 0 < value.high and abs(value.value) < 0.4
    assert partial_rank_correlation(first, first - third, third, 0).low > 0.5


def test_a_network_learns_until_it_is_good_enough(bars: Path, tmp_path) -> None:
    data = load_images(Folder(tmp_path, "plane", StudySettings()), str(bars))
    size = plane.UseSize(images=60, measured=15, groups=20)
    arrays = plane.decisions(plane.DecisionNetwork("ip-mlp", 0), data, size)
    assert arrays["accuracy"] > 0.6 and arrays["mean of the outputs"].shape == (4,)
    assert 0 < arrays["fixed output"] <= np.log2(3) + 1e-9


def test_information_of_a_batch_is_that_of_the_estimator() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    t = rng.normal(size=(60, 4)) + labels[:, None]
    about_label, about_input = trained.kernel_information(t.astype(np.float32), labels)
    estimator = mi.estimator("kde", relative=0.1)
    label = mi.mutual_information(t, labels, estimator, null=0, draws=0).nats
    assert float(about_label) == pytest.approx(label, abs=0.01)
    assert float(about_input) == pytest.approx(estimator.input_information(t, 0).nats, abs=0.02)


def test_the_gradients_of_information_move_it() -> None:
    import tensorflow as tf

    labels = np.arange(60) % 3
    start = np.random.default_rng(0).normal(size=(60, 4)) + 0.5 * labels[:, None]
    for side, sign in ((0, 1.0), (1, -1.0)):
        t = tf.Variable(start.astype(np.float32))
        first = trained.kernel_information(t, labels)[side]
        for _ in range(20):
            with tf.GradientTape() as tape:
                value = trained.kernel_information(t, labels)[side]
            t.assign_add(4 * sign * tape.gradient(value, t))
        last = trained.kernel_information(t, labels)[side]
        assert sign * float(last - first) > 0.05
        # Which no scale does.
        scaled = trained.kernel_information(7.0 * t, labels)[side]
        assert float(scaled) == pytest.approx(float(last), abs=1e-3)


def test_a_training_with_information_in_its_loss(bars: Path, tmp_path) -> None:
    data = load_images(Folder(tmp_path, "plane", StudySettings()), str(bars))
    size = plane.UseSize(batches=4, measured=30)
    plan = plane.RegularizedTraining("ip-mlp", 100, trained.INPUT, 1.0, 0)
    arrays = plane.regularized(plan, data, size)
    assert 0 <= arrays["accuracy"] <= 1 and 0 <= arrays["input"] <= np.log2(30) + 1e-9
    assert plan.name == "ip-mlp-100-less-I-X-T--1-seed0"
