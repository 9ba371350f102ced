"""What the reports of `kernels` and `plane` say of planted records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mi.training_record import RecordedLayer, TrainingRecord
from oip.studies import kernels_claims, plane_claims
from oip.studies.frame import Folder, StudySettings
from oip.studies.networks import DENSENET, LENET, RELU_MLP, SHOWN, STRIDED, Images
from oip.studies.training import Trained
from oip.studies.watched import WIDTHS, Watched

STEPS = np.array([0, 10, 100, 1000, 2500, 5000, 7500, 8000, 9000, 10_000])
CLASSES = tuple("abcde")


def layer(name: str, values: np.ndarray, kernels: int, whole: np.ndarray) -> RecordedLayer:
    """A layer whose kernels spread evenly about `values` (t,), in one order for all classes."""
    offsets = np.linspace(-0.1, 0.1, kernels)
    label = values[:, None] + offsets
    per_class = np.repeat(0.1 * label[..., None], len(CLASSES), axis=2)
    return RecordedLayer(name, 0, label, per_class, whole, 3 + whole[::-1])


def planted(network: Watched, first, second, last, accuracy: float = 0.99) -> Trained:
    """A training whose blocks' medians and whose last layer's information are given, (t,)."""
    rows = [np.broadcast_to(np.asarray(one, float), STEPS.shape) for one in (first, second, last)]
    blocks = [
        layer(name, row, 12, row) for name, row in zip(network.blocks[:2], rows, strict=False)
    ]
    ends = [RecordedLayer("classes", 1, np.zeros((10, 0)), np.zeros((10, 0, 5)), rows[2], rows[2])]
    told = {"label_ceiling": np.log2(5), "input_ceiling": 9.0}
    record = TrainingRecord(STEPS, (*blocks, *ends), CLASSES, None, told)
    return Trained(
        path=Path("unused"),
        watched=network,
        iterations=10_000,
        records=dict.fromkeys(WIDTHS, record),
        kept=(0, 5000, 10_000),
        accuracy=accuracy,
        _data=None,
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
    return {claim.paper: claim.agrees for claim in folder.claims}


def answer(folder: Folder, words: str) -> str:
    found = [agrees for paper, agrees in told(folder).items() if words in paper]
    assert len(found) == 1
    return found[0]


def as_the_paper_says() -> dict[str, Trained]:
    dense = planted(DENSENET, 0.9, RISE, 2.2)
    return {
        SHOWN[LENET]: planted(LENET, RISE + 0.5, LATE_FALL, 2.0, 0.991),
        SHOWN[DENSENET]: dense,
        SHOWN[STRIDED]: planted(STRIDED, RISE, LATE_FALL, 2.0, 0.990),
    }


def test_records_as_the_paper_has_them_agree(folder: Folder, data: Images) -> None:
    kernels_claims.compare(folder, data, as_the_paper_says())
    for words in ("end above", "rises all along", "falls late", "matters little"):
        assert answer(folder, words) == "yes", words


def test_the_opposite_does_not_agree(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    networks[SHOWN[LENET]] = planted(LENET, 1.0 - RISE / 2, RISE + 0.5, 2.0, 0.991)
    networks[SHOWN[DENSENET]] = planted(DENSENET, 2.0, 2 - RISE, 2.2)
    networks[SHOWN[STRIDED]] = planted(STRIDED, 1.0, 1.0, 2.0, 0.95)
    kernels_claims.compare(folder, data, networks)
    for words in ("end above", "rises all along", "matters little", "know little"):
        assert answer(folder, words) == "no", words
    # All classes rank the kernels in one order, in both blocks: alike, but the second not less so.
    assert answer(folder, "rank alike") == "partly"


def test_a_short_training_says_nothing_of_late_things(folder: Folder, data: Images) -> None:
    networks = {name: replace(one, iterations=500) for name, one in as_the_paper_says().items()}
    kernels_claims.compare(folder, data, networks)
    assert answer(folder, "falls late") == answer(folder, "matters little") == "not tested"


def test_kernels_at_the_ceiling_are_no_ground_for_an_order(folder: Folder, data: Images) -> None:
    networks = as_the_paper_says()
    top = np.linspace(1.0, np.log2(5), 10)
    networks[SHOWN[LENET]] = planted(LENET, top, LATE_FALL, 2.0)
    kernels_claims.compare(folder, data, networks)
    assert answer(folder, "end above") == "partly"
    assert "ceiling" in next(one.found for one in folder.claims if "end above" in one.paper)


def test_clothes_that_look_alike(folder: Folder) -> None:
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Bag")
    high = np.array([0.2, 0.9, 0.2, 0.2, 0.2, 0.9, 0.1, 0.9])

    def dressed(one: Trained, values: np.ndarray) -> Trained:
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
        kernels_claims.compare(folder, Images("fashion-mnist", None, Clothes()), networks)
        assert folder.claims[-1].agrees == wanted
        folder.claims.clear()


def test_last_layers_and_accuracies(folder: Folder) -> None:
    def networks(dense, plain, accuracy):
        return {
            SHOWN[RELU_MLP]: planted(RELU_MLP, 0, 0, plain, 0.97),
            SHOWN[LENET]: planted(LENET, RISE, RISE, plain, 0.99),
            SHOWN[DENSENET]: planted(DENSENET, RISE, RISE, dense, accuracy),
        }

    plane_claims.compare(folder, "mnist", networks(RISE + 0.5, RISE, 0.992), 10_000)
    assert answer(folder, "Accuracy") == "yes"
    assert answer(folder, "ends with more") == "yes"
    assert answer(folder, "no network has converged") == "yes"
    assert answer(folder, "grows during") == "yes"
    folder.claims.clear()
    plane_claims.compare(folder, "mnist", networks(RISE[::-1], RISE + 1, 0.98), 10_000)
    assert answer(folder, "Accuracy") == "partly"
    assert answer(folder, "ends with more") == "no"
    assert answer(folder, "no network has converged") == "partly"
    assert answer(folder, "grows during") == "partly"


def test_fashion_ends_farther_from_the_bound(folder: Folder) -> None:
    near = {SHOWN[LENET]: planted(LENET, RISE, RISE, np.append(RISE[:6], [2.2, 2.21, 2.2, 2.2]))}
    far = {SHOWN[LENET]: planted(LENET, RISE, RISE, np.append(RISE[:6], [1.2, 1.21, 1.2, 1.2]))}
    words = "farther from the bound"
    for found, wanted in (((near, far), "yes"), ((far, near), "no")):
        plane_claims.compare_sources(
            folder, dict(zip(("mnist", "fashion-mnist"), found, strict=True))
        )
        assert answer(folder, words) == wanted
        folder.claims.clear()
    plane_claims.compare_sources(folder, {"mnist": near})
    assert answer(folder, words) == "not tested"


def test_compression_is_a_rise_and_a_fall(folder: Folder) -> None:
    shapes = {
        "yes": np.array([1, 2, 3, 3, 3, 2.5, 2, 2, 2, 2]),
        "no": np.array([3, 2, 2, 2, 2, 2, 2, 2, 2, 2.0]),
        "partly": np.full(10, 2.0),
    }
    for wanted, values in shapes.items():
        plane_claims._compression(folder, "x", {"net": planted(RELU_MLP, 0, 0, values)})
        assert folder.claims[-1].agrees == wanted
