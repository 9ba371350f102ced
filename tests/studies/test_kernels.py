from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from oip.core.output_formats import NumbersFile
from oip.core.progress import silent
from oip.mi.ranking import spearman
from oip.studies import kernels, trained
from oip.studies.data import Images, load_images
from oip.studies.findings import over_kernels, rank_agreement
from oip.studies.kernels import add_gains_by_source, draw_heat_maps
from oip.studies.report import Folder, StudySettings
from oip.studies.runner import run_study
from oip.studies.trained import DENSENET, LENET, STRIDED, WIDTHS

RISE = np.linspace(0.5, 1.5, 10)
LATE_FALL = np.array([0.5, 0.8, 1.2, 1.6, 1.8, 1.7, 1.2, 1.2, 1.2, 1.2])
CEILING = np.linspace(1.0, np.log2(5), 10)


class _Test:
    classes = tuple("abcde")
    source = "mnist:test"

    def __len__(self) -> int:
        return 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "kernels", StudySettings())


@pytest.fixture
def data() -> Images:
    return Images("mnist", None, _Test())


@pytest.fixture
def trainings(planted):
    """Records as the paper has them."""
    return {
        LENET.title: planted(LENET, RISE + 0.5, LATE_FALL, 2.0, 0.991),
        DENSENET.title: planted(DENSENET, 0.9, RISE, 2.2),
        STRIDED.title: planted(STRIDED, RISE, LATE_FALL, 2.0, 0.990),
    }


def finding(folder: Folder, text: str):
    """The one finding whose statement holds a text."""
    findings = [row for row in folder.findings if text in row.paper]
    assert len(findings) == 1
    return findings[0]


def verdict(folder: Folder, data: Images, trainings, text: str) -> str:
    return verdicts(folder, data, trainings, text)[0]


def verdicts(folder: Folder, data: Images, trainings, *texts: str) -> list[str]:
    folder.findings.clear()
    kernels.add_kernel_findings(folder, data, trainings)
    return [finding(folder, text).verdict for text in texts]


def shuffled(training, block: int, record: int, *, classes: bool = False):
    """The kernels of a block in another order at one record: for all classes, or for each."""
    random = np.random.default_rng(0)
    layers = list(training.records["fixed"].layers)
    label, per_class = layers[block].label.copy(), layers[block].per_class.copy()
    if classes:
        for column in per_class[record].T:
            random.shuffle(column)
    else:
        random.shuffle(label[record])
    layers[block] = replace(layers[block], label=label, per_class=per_class)
    changed = replace(training.records["fixed"], layers=tuple(layers))
    return replace(training, records=dict.fromkeys(WIDTHS, changed))


def test_records_as_the_paper_has_them_agree(folder, data, trainings) -> None:
    texts = (
        "higher than its counterparts",
        "increase consistently",
        "toward the end",
        "has little impact",
    )
    assert verdicts(folder, data, trainings, *texts) == ["yes"] * 4
    first = finding(folder, "higher than its counterparts")
    assert (first.figure, first.n) == ("fig. 5", "10,000 iterations, 500 images; 24 kernels each")


def test_the_opposite_does_not_agree(folder, data, trainings, planted) -> None:
    trainings[LENET.title] = planted(LENET, 1.0 - RISE / 2, RISE + 0.5, 2.0, 0.991)
    trainings[DENSENET.title] = planted(DENSENET, 2.0, 2 - RISE, 2.2)
    trainings[STRIDED.title] = planted(STRIDED, 1.0, 1.0, 2.0, 0.95)
    texts = (
        "higher than its counterparts",
        "increase consistently",
        "has little impact",
        "generate low MI",
    )
    assert verdicts(folder, data, trainings, *texts) == ["no"] * 4
    # All classes rank the kernels in one order, in both blocks: alike, but the second not less so.
    assert finding(folder, "always ranked high").verdict == "not tested"


def test_kernels_that_are_high_for_all_classes_before_training(
    folder, data, trainings, planted
) -> None:
    text = "consistently have high MI values for all digit classes"
    assert verdict(folder, data, trainings, text) == "yes"
    half = "LeNet, first block 6 (of 12), LeNet, second block 6 (of 12)"
    assert half in finding(folder, text).ours
    trainings[LENET.title] = shuffled(trainings[LENET.title], 0, 0, classes=True)
    assert verdict(folder, data, trainings, text) == "partly"
    assert "LeNet, first block 0 (of 12)" in finding(folder, text).ours
    trainings[LENET.title] = planted(LENET, CEILING + 2, LATE_FALL + 1.5, 2.0)
    # The first block is at the ceiling, the second has high kernels.
    assert verdict(folder, data, trainings, text) == "partly"
    assert "highest information in bits 2.10" in finding(folder, text).ours


def test_a_short_training_says_nothing_of_late_things(folder, data, trainings) -> None:
    short = {name: replace(training, iterations=500) for name, training in trainings.items()}
    assert verdict(folder, data, short, "toward the end") == "not tested"
    assert finding(folder, "has little impact").verdict == "not tested"


def test_kernels_at_the_ceiling_have_no_order(folder, data, trainings, planted) -> None:
    trainings[LENET.title] = planted(LENET, CEILING, LATE_FALL, 2.0)
    assert verdict(folder, data, trainings, "higher than its counterparts") == "not tested"
    assert "at the ceiling" in finding(folder, "higher than its counterparts").ours


@pytest.mark.parametrize(
    ("block", "undecided"),
    [(0, ("changes more dramatically",)), (1, ("increase consistently", "generate low MI"))],
)
def test_densenet_at_the_ceiling_decides_nothing(
    folder, data, trainings, planted, block, undecided
) -> None:
    medians = [np.full(10, 0.9), RISE]
    medians[block] = CEILING
    trainings[DENSENET.title] = planted(DENSENET, *medians, 2.2)
    expected = ["not tested"] * len(undecided)
    assert verdicts(folder, data, trainings, *undecided) == expected
    for text in (*undecided, "more stable", "more specialization"):
        assert "at the ceiling)" in finding(folder, text).ours, text
    # Findings on the other network are judged as before.
    assert finding(folder, "toward the end").verdict == "yes"


def test_a_rise_of_the_first_half_alone_is_not_all_along(folder, data, trainings, planted) -> None:
    early = np.array([0.3, 0.5, 0.8, 1.1, 1.3, 1.5, 1.501, 1.502, 1.5, 1.501])
    trainings[DENSENET.title] = planted(DENSENET, 0.9, early, 2.2)
    assert verdict(folder, data, trainings, "increase consistently") == "partly"


def test_an_order_is_kept_by_lenet_and_lost_by_densenet(folder, data, trainings, planted) -> None:
    text = "changes more dramatically"
    kept = {**trainings, DENSENET.title: shuffled(trainings[DENSENET.title], 0, -1)}
    lost = {**trainings, LENET.title: shuffled(trainings[LENET.title], 0, -1)}
    assert verdict(folder, data, kept, text) == "yes"
    assert verdict(folder, data, lost, text) == "no"
    # More of an order than DenseNet's, but little of it: half a finding is none.
    dense = planted(DENSENET, 0.9, RISE, 2.2)
    layers = list(dense.records["fixed"].layers)
    turned = layers[0].label.copy()
    turned[-1] = turned[-1, ::-1]
    layers[0] = replace(layers[0], label=turned)
    record = replace(dense.records["fixed"], layers=tuple(layers))
    lost[DENSENET.title] = replace(dense, records=dict.fromkeys(WIDTHS, record))
    assert verdict(folder, data, lost, text) != "yes"


def test_only_an_order_that_was_there_can_be_lost(folder, data, trainings) -> None:
    dense = trainings[DENSENET.title]
    for block in (0, 1):
        dense = shuffled(dense, block, -1, classes=True)
    trainings[DENSENET.title] = dense
    assert verdict(folder, data, trainings, "more specialization") == "yes"
    for block in (0, 1):
        dense = shuffled(dense, block, 0, classes=True)
    trainings[DENSENET.title] = dense
    assert verdict(folder, data, trainings, "more specialization") == "not tested"


def test_lenets_second_block_loses_the_order_that_all_classes_had(folder, data, trainings) -> None:
    text = "are trained to specialize"
    assert verdict(folder, data, trainings, text) == "not tested"  # one order from start to end
    lenet = trainings[LENET.title]
    trainings[LENET.title] = shuffled(lenet, 0, -1, classes=True)
    assert verdict(folder, data, trainings, text) == "not tested"  # of the other block
    trainings[LENET.title] = shuffled(lenet, 1, -1, classes=True)
    assert verdict(folder, data, trainings, text) == "yes"
    assert "LeNet, second block, start 1.00" in finding(folder, text).ours


def test_classes_that_do_not_rank_alike_are_not_alike_less_so(folder, data, trainings) -> None:
    lenet = trainings[LENET.title]
    trainings[LENET.title] = lenet = shuffled(lenet, 1, -1, classes=True)
    assert verdict(folder, data, trainings, "always ranked high") == "yes"
    trainings[LENET.title] = shuffled(lenet, 0, -1, classes=True)
    assert verdict(folder, data, trainings, "always ranked high") == "no"


def test_a_gain_that_comes_late_is_not_early(folder, data, trainings, planted) -> None:
    flat = np.array([1.0, 1.0, 1.0, 1.0, 1.2, 1.4, 1.6, 1.8, 1.9, 2.0])
    trainings[LENET.title] = planted(LENET, flat, LATE_FALL, 2.0)
    assert verdict(folder, data, trainings, "at early stages") == "partly"


def test_clothes_that_look_alike(folder, trainings) -> None:
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag")
    high = np.array([0.2, 0.9, 0.2, 0.2, 0.2, 0.9, 0.1, 0.9])

    def dressed(training, values):
        record = training.records["fixed"]
        layers = [
            replace(layer, per_class=np.broadcast_to(values, (*layer.label.shape, 8)).copy())
            for layer in record.layers
        ]
        record = replace(record, layers=tuple(layers))
        return replace(training, records=dict.fromkeys(WIDTHS, record))

    class Clothes(_Test):
        classes = names

    images = Images("fashion-mnist", None, Clothes())
    for values, expected in ((high, "yes"), (1 - high, "no")):
        changed = {name: dressed(training, values) for name, training in trainings.items()}
        assert verdict(folder, images, changed, "shirt has the lowest") == expected
    assert "Lowest first" in finding(folder, "shirt has the lowest").ours


def test_two_sources_are_compared_by_their_gains(folder, planted) -> None:
    def trainings(first):
        return {
            network.title: planted(network, np.asarray(first), RISE, 2.0)
            for network in (LENET, DENSENET)
        }

    less, more, full = trainings(1 + 0.02 * RISE), trainings(1 + 0.3 * RISE), trainings(CEILING)
    noisy = trainings(1 + 0.04 * RISE)
    for record in range(-4, 0):
        noisy = {name: shuffled(training, 0, record) for name, training in noisy.items()}
    for digits, clothes in ((more, less), (less, more), (noisy, less), (full, less)):
        add_gains_by_source(folder, {"mnist": digits, "fashion-mnist": clothes})
    add_gains_by_source(folder, {"mnist": less})
    expected = ["yes", "no", "not tested", "not tested", "not tested"]
    assert [row.verdict for row in folder.findings] == expected
    assert "LeNet, mnist +0.25 (+0.25 to +0.25)" in folder.findings[0].ours
    assert "at the ceiling" in folder.findings[3].ours


def test_alike_is_the_mean_of_all_rank_correlations() -> None:
    table = np.random.default_rng(0).normal(size=(24, 6)).round(1)
    pairs = combinations(range(6), 2)
    mean = np.mean([spearman(table[:, a], table[:, b]) for a, b in pairs])
    assert rank_agreement(table) == pytest.approx(mean)
    ranked = np.repeat(np.arange(9.0)[:, None], 4, axis=1)
    assert rank_agreement(ranked) == pytest.approx(1.0)
    # Classes in which all kernels are equal have no order.
    assert rank_agreement(np.column_stack([ranked[:, :2], np.ones(9)])) == pytest.approx(1.0)
    assert np.isnan(rank_agreement(np.ones((9, 4))))
    several = np.random.default_rng(3).normal(size=(5, 24, 6)).round(1)
    assert rank_agreement(several) == pytest.approx(
        [float(rank_agreement(table)) for table in several]
    )


def test_the_spread_over_kernels_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    first, second = (
        over_kernels(lambda indices: values[indices].mean(axis=-1), 400) for _ in range(2)
    )
    assert first.value == pytest.approx(values.mean())
    assert first.spread == pytest.approx(values.std() / 20, rel=0.15)
    assert first == second
    assert np.isnan(over_kernels(lambda indices: np.full(indices.shape[:-1], np.nan), 5).spread)


def test_rates_are_by_iteration() -> None:
    values = np.array([[0.0, 1.0], [0.5, 1.0], [1.5, 0.0]])
    assert kernels.rates(values, np.array([0, 10, 510])).tolist() == [[50.0, 0.0], [2.0, -2.0]]


def test_the_variance_that_comes_nearest(planted) -> None:
    medians = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [0.5, 0.7, 0.9, 1.0, 1.1, 1.2, 1.3]])
    sweep = {"relative": np.repeat(medians[..., None], 12, 2), "fixed": np.ones((2, 6, 12))}
    row = kernels.variance_finding(sweep, planted(DENSENET, 0, 0, 0))
    assert row.verdict == "yes"
    assert "relative width, variance 0.1: start 0.50, end 1.10" in row.ours
    sweep["relative"] += 1.0
    assert kernels.variance_finding(sweep, planted(DENSENET, 0, 0, 0)).verdict == "no"


@pytest.fixture(scope="module")
def report(figures_as_svg, bars: Path, made_up, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of made-up trainings."""
    out = tmp_path_factory.mktemp("kernels")
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "study_training", made_up)
        assert run_study("kernels", out, settings, silent).whole
    return out


@pytest.fixture(scope="module")
def numbers(report: Path) -> dict:
    return NumbersFile.read(report / "numbers.json").figures


def test_the_report_has_the_papers_figures(report: Path, numbers: dict) -> None:
    names = {name.rpartition("bars-npz")[0] for name in numbers}
    assert names == {
        "boxes-relative-",
        "boxes-fixed-",
        "classes-relative-",
        "classes-fixed-",
        "responses-",
        "variances-",
    }
    assert all((report / "figures" / f"{name}.svg").is_file() for name in numbers)
    boxes = numbers["boxes-relative-bars-npz"]
    first = np.array(boxes["LeNet, first block: bits by iteration and kernel"])
    assert first.shape == (4, 24)
    assert (first >= 0).all() and (first <= np.log2(3) + 1e-6).all()
    rate = np.array(boxes["LeNet, first block: rate of the mean, bits per 1,000 iterations"])
    np.testing.assert_allclose(rate, 1000 * np.diff(first.mean(axis=1)), atol=1e-3)
    swept = numbers["variances-bars-npz"]
    ends = np.array(swept["DenseNet, relative width, end: bits by variance and kernel"])
    assert ends.shape == (7, 12) and np.isfinite(ends).all()


def test_heat_maps_are_in_the_order_of_the_start(numbers: dict) -> None:
    maps = numbers["classes-relative-bars-npz-densenet"]
    assert maps["iterations"] == [0, 1, 3]
    bits = np.array(maps["second block: bits by iteration, kernel and class"])
    ranks = np.array(maps["second block: ranks by iteration, kernel and class"])
    assert bits.shape == ranks.shape == (3, 12, 3)
    for values, orders in zip(bits, ranks, strict=True):
        for column, order in zip(values.T, orders.T, strict=True):
            assert sum(order) == sum(range(1, 13))
            assert (np.diff(column[np.argsort(order)]) <= 1e-9).all()
            for value in set(column):
                assert len(set(order[column == value])) == 1
    boxes = numbers["boxes-relative-bars-npz"]
    start = np.array(boxes["DenseNet, second block: bits by iteration and kernel"])[0]
    order = maps["second block: kernels in this order"]
    assert (np.diff(start[order]) <= 1e-9).all()


def test_the_network_with_coarse_responses_is_the_blurrier_one() -> None:
    rows, columns = np.indices((14, 14))
    fine, coarse = (rows + columns) % 2.0, rows / 14.0
    images = 1 + np.random.default_rng(0).random((8, 3, 1, 1))

    def shown(pattern):
        values = images * pattern
        values[0] = values[1, 0] = 0.0  # silent, for all images and for one
        return kernels.ShownResponses(None, np.arange(8), np.zeros(8), values)

    for lenet, dense, verdict in ((fine, coarse, "yes"), (coarse, fine, "no")):
        row = kernels.blur_finding("mnist", {"LeNet": shown(lenet), "DenseNet": shown(dense)})
        assert row.verdict == verdict
    assert "LeNet 14 (14 to 14), DenseNet 100 (100 to 100)" in row.ours
    same = kernels.blur_finding("mnist", {"LeNet": shown(fine), "DenseNet": shown(fine)})
    assert same.verdict == "not tested"


def test_responses_are_those_of_the_best_and_the_worst(numbers: dict) -> None:
    responses = numbers["responses-bars-npz-lenet"]
    boxes = numbers["boxes-relative-bars-npz"]
    end = np.array(boxes["LeNet, first block: bits by iteration and kernel"])[-1]
    order = np.argsort(-end, kind="stable")
    assert responses["kernels"] == [*order[:4], *order[-4:]]
    values = np.array(responses["block outputs by kernel and class"])
    assert values.shape == (8, 3, 6, 6)
    assert values.min() >= 0


def test_figures_are_in_the_papers_order(report: Path) -> None:
    record = json.loads((report / "study.json").read_text())
    captions = [figure["caption"].partition(" of the paper")[0] for figure in record["figures"]]
    figures = ["s 5 and 8", " 6", " 7", " 9", " 10"]
    assert list(dict.fromkeys(captions))[:-1] == [f"As figure{number}" for number in figures]


def test_findings_are_reported_and_late_ones_are_not_tested(report: Path) -> None:
    record = json.loads((report / "study.json").read_text())
    rows = {claim["paper"]: claim for claim in record["claims"]}
    late = next(claim for paper, claim in rows.items() if "toward the end" in paper)
    assert late["agrees"] == "not tested"
    assert late["reported"] == "after 20,000 of 50,000 iterations"
    assert "3 iterations" in late["sure"]
    assert sum("Fashion-MNIST" in paper for paper in rows) == 1
    assert "nan" not in json.dumps([claim["found"] for claim in record["claims"]]).lower()


def test_kernels_at_the_ceiling_have_no_rank_in_heat_maps(
    tmp_path: Path, bars: Path, made_up
) -> None:
    settings = StudySettings(quick=True, data=(str(bars),), iterations=3)
    folder = Folder(tmp_path, "kernels", settings)
    data = load_images(folder, str(bars))
    training = made_up(folder, LENET, data)
    record = training.records["fixed"]
    layers = list(record.layers)
    most = np.array(record.file.class_ceilings)
    values = np.broadcast_to(most, layers[0].per_class.shape).copy()
    values[:, 3] = 0.1
    layers[0] = replace(layers[0], per_class=values)
    changed = replace(training, records={"fixed": replace(record, layers=tuple(layers))})
    draw_heat_maps(folder, data, "LeNet", changed, "fixed")
    numbers = next(iter(folder.numbers.values()))
    ranks = np.array(numbers["first block: ranks by iteration, kernel and class"])
    assert set(ranks.ravel()) == {12.0, 24.0}
    full = numbers["first block: at the ceiling, by iteration, kernel and class"]
    assert np.mean(full) == 23 / 24
    assert "first block 96%, 96%, 96%" in folder.figures[0].caption
