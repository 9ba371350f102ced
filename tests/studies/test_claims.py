"""What the reports of `kernels` and `plane` say of planted records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oip.core.formats import TrainingRecordFile
from oip.mi.training.record import RecordedLayer, TrainingRecord
from oip.studies import kernels, plane
from oip.studies.data import Images
from oip.studies.report import Finding, Folder, StudySettings
from oip.studies.trained import (
    DENSENET,
    LENET,
    RELU_MLP,
    SHOWN,
    STRIDED,
    WIDTHS,
    RecordedNetwork,
    RecordedTraining,
)

STEPS = np.array([0, 10, 100, 1000, 2500, 5000, 7500, 8000, 9000, 10_000])
CLASSES = tuple("abcde")


def layer(name: str, values: np.ndarray, kernels: int, whole: np.ndarray) -> RecordedLayer:
    """A layer whose kernels spread evenly about `values` (t,), in one order for all classes."""
    offsets = np.linspace(-0.1, 0.1, kernels)
    label = values[:, None] + offsets
    per_class = np.repeat(0.1 * label[..., None], len(CLASSES), axis=2)
    return RecordedLayer(name, 0, label, per_class, whole, 3 + whole[::-1])


def planted(
    network: RecordedNetwork, first, second, last, accuracy: float = 0.99
) -> RecordedTraining:
    """A training whose blocks' medians and whose last layer's information are given, (t,)."""
    rows = [np.broadcast_to(np.asarray(one, float), STEPS.shape) for one in (first, second, last)]
    blocks = [
        layer(name, row, 12, row) for name, row in zip(network.blocks[:2], rows, strict=False)
    ]
    ends = [RecordedLayer("classes", 1, np.zeros((10, 0)), np.zeros((10, 0, 5)), rows[2], rows[2])]
    file = TrainingRecordFile(
        estimator="kde",
        name_shown="kde",
        samples=512,
        split="",
        label_ceiling=float(np.log2(5)),
        input_ceiling=9.0,
        layers=[],
        steps=STEPS.tolist(),
    )
    record = TrainingRecord(STEPS, (*blocks, *ends), CLASSES, None, file)
    return RecordedTraining(
        path=Path("unused"),
        network=network,
        iterations=10_000,
        records=dict.fromkeys(WIDTHS, record),
        kept=(0, 5000, 10_000),
        accuracy=accuracy,
        data=None,
    )


RISE = np.linspace(0.5, 1.5, 10)
LATE_FALL = np.array([0.5, 0.8, 1.2, 1.6, 1.8, 1.7, 1.2, 1.2, 1.2, 1.2])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, "kernels", StudySettings())


@pytest.fixture
def data() -> Images:
    return Images("mnist", None, _Test())


class _Test:
    classes = CLASSES
    source = "mnist:test"

    def __len__(self) -> int:
        return 10_000


def told(folder: Folder) -> dict[str, str]:
    return {finding.paper: finding.verdict for finding in folder.findings}


def answer(folder: Folder, words: str) -> str:
    found = [agrees for paper, agrees in told(folder).items() if words in paper]
    assert len(found) == 1
    return found[0]


def as_the_paper_says() -> dict[str, RecordedTraining]:
    dense = planted(DENSENET, 0.9, RISE, 2.2)
    return {
        SHOWN[LENET]: planted(LENET, RISE + 0.5, LATE_FALL, 2.0, 0.991),
        SHOWN[DENSENET]: dense,
        SHOWN[STRIDED]: planted(STRIDED, RISE, LATE_FALL, 2.0, 0.990),
    }


def test_records_as_the_paper_has_them_agree(folder: Folder, data: Images) -> None:
    kernels.compare(folder, data, as_the_paper_says())
    for words in ("end above", "rises all along", "falls late", "matters little"):
        assert answer(folder, words) == "yes", words


def test_the_opposite_does_not_agree(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    networks[SHOWN[LENET]] = planted(LENET, 1.0 - RISE / 2, RISE + 0.5, 2.0, 0.991)
    networks[SHOWN[DENSENET]] = planted(DENSENET, 2.0, 2 - RISE, 2.2)
    networks[SHOWN[STRIDED]] = planted(STRIDED, 1.0, 1.0, 2.0, 0.95)
    kernels.compare(folder, data, networks)
    for words in ("end above", "rises all along", "matters little", "know little"):
        assert answer(folder, words) == "no", words
    # All classes rank the kernels in one order, in both blocks: alike, but the second not less so.
    assert answer(folder, "rank alike") == "not tested"


def test_a_short_training_says_nothing_of_late_things(folder: Folder, data: Images) -> None:
    networks = {name: replace(one, iterations=500) for name, one in as_the_paper_says().items()}
    kernels.compare(folder, data, networks)
    assert answer(folder, "falls late") == answer(folder, "matters little") == "not tested"


def test_kernels_at_the_ceiling_are_no_ground_for_an_order(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    top = np.linspace(1.0, np.log2(5), 10)
    networks[SHOWN[LENET]] = planted(LENET, top, LATE_FALL, 2.0)
    kernels.compare(folder, data, networks)
    assert answer(folder, "end above") == "not tested"
    assert "ceiling" in next(one.ours for one in folder.findings if "end above" in one.paper)


CEILING = np.linspace(1.0, np.log2(5), 10)


@pytest.mark.parametrize("place", [0, 1])
def test_densenet_at_the_ceiling_decides_nothing(folder: Folder, data: Images, place: int) -> None:
    blocks = [np.full(10, 0.9), RISE]
    blocks[place] = CEILING
    networks = as_the_paper_says()
    networks[SHOWN[DENSENET]] = planted(DENSENET, *blocks, 2.2)
    kernels.compare(folder, data, networks)
    words = ("order of the first block",) if not place else ("rises all along", "know little")
    for one in words:
        assert answer(folder, one) == "not tested", one
    for one in (*words, "more steadily", "become specialised"):
        found = next(claim.ours for claim in folder.findings if one in claim.paper)
        assert "at the ceiling)" in found, one
    # What a network at the ceiling does not touch is judged as before.
    assert answer(folder, "falls late") == "yes"


def test_a_rise_of_the_first_half_alone_is_not_all_along(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    early = np.array([0.3, 0.5, 0.8, 1.1, 1.3, 1.5, 1.501, 1.502, 1.5, 1.501])
    networks[SHOWN[DENSENET]] = planted(DENSENET, 0.9, early, 2.2)
    kernels.compare(folder, data, networks)
    assert answer(folder, "rises all along") == "partly"


def shuffled(
    one: RecordedTraining, block: int, record: int, *, classes: bool = False
) -> RecordedTraining:
    """The kernels of a block in another order at one record: for all classes, or for each."""
    random = np.random.default_rng(0)
    part = one.records["fixed"].layers[block]
    label, per_class = part.label.copy(), part.per_class.copy()
    if classes:
        for column in per_class[record].T:
            random.shuffle(column)
    else:
        random.shuffle(label[record])
    layers = list(one.records["fixed"].layers)
    layers[block] = replace(part, label=label, per_class=per_class)
    changed = replace(one.records["fixed"], layers=tuple(layers))
    return replace(one, records=dict.fromkeys(WIDTHS, changed))


def test_an_order_is_kept_by_lenet_and_lost_by_densenet(folder: Folder, data: Images) -> None:
    kept, lost = as_the_paper_says(), as_the_paper_says()
    kept[SHOWN[DENSENET]] = shuffled(kept[SHOWN[DENSENET]], 0, -1)
    lost[SHOWN[LENET]] = shuffled(lost[SHOWN[LENET]], 0, -1)
    for networks, wanted in ((kept, "yes"), (lost, "no")):
        kernels.compare(folder, data, networks)
        assert answer(folder, "order of the first block") == wanted
        folder.findings.clear()
    # More of an order than DenseNet's, but little of it: half a finding is none.
    dense = planted(DENSENET, 0.9, RISE, 2.2)
    part = dense.records["fixed"].layers[0]
    turned = part.label.copy()
    turned[-1] = turned[-1, ::-1]
    layers = (replace(part, label=turned), *dense.records["fixed"].layers[1:])
    record = replace(dense.records["fixed"], layers=layers)
    lost[SHOWN[DENSENET]] = replace(dense, records=dict.fromkeys(WIDTHS, record))
    kernels.compare(folder, data, lost)
    assert answer(folder, "order of the first block") != "yes"


def test_only_an_order_that_was_there_can_be_lost(folder: Folder, data: Images) -> None:
    words = "become specialised"
    networks = as_the_paper_says()
    dense = networks[SHOWN[DENSENET]]
    for block in (0, 1):
        dense = shuffled(dense, block, -1, classes=True)
    networks[SHOWN[DENSENET]] = dense
    kernels.compare(folder, data, networks)
    assert answer(folder, words) == "yes"
    folder.findings.clear()
    for block in (0, 1):
        dense = shuffled(dense, block, 0, classes=True)
    networks[SHOWN[DENSENET]] = dense
    kernels.compare(folder, data, networks)
    assert answer(folder, words) == "not tested"


def test_classes_that_do_not_rank_alike_are_not_alike_less_so(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    networks[SHOWN[LENET]] = shuffled(networks[SHOWN[LENET]], 1, -1, classes=True)
    kernels.compare(folder, data, networks)
    assert answer(folder, "rank alike") == "yes"
    folder.findings.clear()
    networks[SHOWN[LENET]] = shuffled(networks[SHOWN[LENET]], 0, -1, classes=True)
    kernels.compare(folder, data, networks)
    assert answer(folder, "rank alike") == "no"


def test_a_gain_that_comes_late_is_not_early(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    flat = np.array([1.0, 1.0, 1.0, 1.0, 1.2, 1.4, 1.6, 1.8, 1.9, 2.0])
    networks[SHOWN[LENET]] = planted(LENET, flat, LATE_FALL, 2.0)
    kernels.compare(folder, data, networks)
    assert answer(folder, "information early") == "partly"


def test_a_layer_pinned_from_the_start_is_no_growth() -> None:
    top = np.log2(5)
    networks = {SHOWN[LENET]: planted(LENET, top, RISE, RISE)}
    grows = plane.by_width(plane.layers_grow, networks, Finding("", "no"))
    assert grows.verdict == "yes"
    assert "LeNet, of 2 2 (1 at the ceiling from the start)" in grows.ours
    networks = {SHOWN[LENET]: planted(LENET, top, top, top)}
    assert plane.by_width(plane.layers_grow, networks, Finding("", "no")).verdict == "not tested"


def test_last_layers_at_the_ceiling_are_not_compared(folder: Folder) -> None:
    top = np.full(10, np.log2(5))
    networks = {
        SHOWN[RELU_MLP]: planted(RELU_MLP, 0, 0, RISE, 0.97),
        SHOWN[LENET]: planted(LENET, RISE, RISE, RISE, 0.99),
        SHOWN[DENSENET]: planted(DENSENET, RISE, RISE, top, 0.99),
    }
    plane.compare(folder, "mnist", networks, 10_000)
    assert answer(folder, "ends with more") == "not tested"
    assert answer(folder, "no network has converged") == "partly"
    found = next(one.ours for one in folder.findings if "converged" in one.paper)
    assert found.count("at the ceiling)") == 2
    assert found.endswith("to +0.000, at the ceiling).")


def test_convergence_is_judged_after_10_000_iterations_where_there_are_more(folder: Folder) -> None:
    steps = 5 * STEPS
    late = np.where(steps < 10_000, RISE, 1.5)
    one = planted(RELU_MLP, 0, 0, late)
    record = replace(one.records["fixed"], steps=steps)
    long = replace(one, iterations=50_000, records=dict.fromkeys(WIDTHS, record))
    row = Finding("", "no")
    assert plane.by_width(plane.still_rises, {"net": long}, row).verdict == "not tested"
    rising = replace(
        record, layers=(*record.layers[:-1], replace(record.layers[-1], whole_label=RISE))
    )
    long = replace(long, records=dict.fromkeys(WIDTHS, rising))
    assert plane.by_width(plane.still_rises, {"net": long}, row).verdict == "yes"
    plane.compare(folder, "x", {"net": long, SHOWN[DENSENET]: long}, 100)
    assert "from iteration 10,000 to 50,000" in folder.findings[1].ours


def test_a_small_drop_or_one_of_a_single_record_is_not_significant() -> None:
    spike = np.array([1, 1, 1, 1.3, 1, 1, 1, 1, 1, 1.0])
    small = np.array([1, 1.04, 1.04, 1.04, 1.04, 1.04, 1, 1, 1, 1.0])
    large = np.array([1, 1.4, 1.4, 1.4, 1.4, 1.4, 1, 1, 1, 1.0])
    still = np.array([0, 0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5])
    cases = ((spike - 0.1 * (spike > 1), "no"), (small, "no"), (large, "yes"), (still, "no"))
    for values, wanted in cases:
        networks = {"net": planted(RELU_MLP, 0, 0, values)}
        row = plane.by_width(plane.label_drops, networks, Finding("", "no"))
        assert row.verdict == wanted, values


def test_clothes_that_look_alike(folder: Folder) -> None:
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag")
    high = np.array([0.2, 0.9, 0.2, 0.2, 0.2, 0.9, 0.1, 0.9])

    def dressed(one: RecordedTraining, values: np.ndarray) -> RecordedTraining:
        record = one.records["fixed"]
        layers = [
            replace(part, per_class=np.broadcast_to(values, (*part.label.shape, 8)).copy())
            for part in record.layers
        ]
        return replace(one, records=dict.fromkeys(WIDTHS, replace(record, layers=tuple(layers))))

    class Clothes(_Test):
        classes = names

    for values, wanted in ((high, "yes"), (1 - high, "no")):
        networks = {name: dressed(one, values) for name, one in as_the_paper_says().items()}
        kernels.compare(folder, Images("fashion-mnist", None, Clothes()), networks)
        assert folder.findings[-1].verdict == wanted
        folder.findings.clear()


def test_last_layers_and_accuracies(folder: Folder) -> None:
    def networks(dense, plain, accuracy):
        return {
            SHOWN[RELU_MLP]: planted(RELU_MLP, 0, 0, plain, 0.97),
            SHOWN[LENET]: planted(LENET, RISE, RISE, plain, 0.99),
            SHOWN[DENSENET]: planted(DENSENET, RISE, RISE, dense, accuracy),
        }

    plane.compare(folder, "mnist", networks(RISE + 0.5, RISE, 0.992), 10_000)
    assert answer(folder, "Accuracy") == "yes"
    assert answer(folder, "ends with more") == "yes"
    assert answer(folder, "no network has converged") == "yes"
    assert answer(folder, "grows during") == "yes"
    folder.findings.clear()
    plane.compare(folder, "mnist", networks(RISE[::-1], RISE + 0.5, 0.98), 10_000)
    assert answer(folder, "Accuracy") == "partly"
    assert answer(folder, "ends with more") == "no"
    assert answer(folder, "no network has converged") == "partly"
    assert answer(folder, "grows during") == "partly"


def test_fashion_ends_farther_from_the_bound(folder: Folder) -> None:
    near = {SHOWN[LENET]: planted(LENET, RISE, RISE, np.append(RISE[:6], [2.2, 2.21, 2.2, 2.2]))}
    far = {SHOWN[LENET]: planted(LENET, RISE, RISE, np.append(RISE[:6], [1.2, 1.21, 1.2, 1.2]))}
    words = "farther from the bound"
    for found, wanted in (((near, far), "yes"), ((far, near), "no")):
        plane.compare_sources(folder, dict(zip(("mnist", "fashion-mnist"), found, strict=True)))
        assert answer(folder, words) == wanted
        folder.findings.clear()
    plane.compare_sources(folder, {"mnist": near})
    assert answer(folder, words) == "not tested"


def test_compression_is_a_rise_and_a_fall() -> None:
    shapes = {
        "yes": np.array([1, 2, 3, 3, 3, 2.5, 2, 2, 2, 2]),
        "no": np.array([3, 2, 2, 2, 2, 2, 2, 2, 2, 2.0]),
    }
    for wanted, values in shapes.items():
        networks = {"net": planted(RELU_MLP, 0, 0, values)}
        row = plane.by_width(plane.fits_then_compresses, networks, Finding("", "no"))
        assert row.verdict == wanted
