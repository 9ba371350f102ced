from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from oip import models
from oip.core.errors import RunError, SettingsError
from oip.core.progress import silent
from oip.network import forward
from oip.network.forward import run_in_batches
from oip.network.network import Network
from oip.studies.data import Images
from oip.studies.report import Folder, StudySettings
from oip.studies.trained import (
    WIDTHS,
    RecordedNetwork,
    kept_at,
    network_predictor,
    predictor,
    recorded_at,
    recorded_training,
)

NETWORK = RecordedNetwork(
    "lenet", ("Conv2D_1", "Conv2D_2"), ("Dense_1", "classes"), (("filters", (2, 3)),), batch=16
)


@pytest.fixture
def data(bars: Path):
    return Images("bars", models.load(f"{bars}:train"), models.load(f"{bars}:test"))


def training(path: Path, data, iterations: int, progress=silent, regular: int = 500):
    folder = Folder(path, "kernels", StudySettings(), progress=progress)
    return recorded_training(folder, NETWORK, data, iterations, regular)


def test_iterations_that_are_recorded_and_kept() -> None:
    assert recorded_at(7) == [0, 1, 2, 5, 7]
    assert recorded_at(1200) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1200]
    assert kept_at(7) == [0, 2, 7]
    assert kept_at(12_000) == [0, 5_000, 10_000, 12_000]
    for iterations in (1, 7, 500, 4_999, 5_000, 10_000, 12_345):
        assert set(kept_at(iterations)) <= set(recorded_at(iterations))
        assert set(recorded_at(iterations)[:-1]) <= set(recorded_at(4 * iterations))


def test_a_training_is_recorded_and_not_repeated(tmp_path: Path, data) -> None:
    labels: list[str] = []
    first = training(tmp_path, data, 12)
    second = training(tmp_path, data, 12, lambda label, *_: labels.append(label))
    assert not labels
    for recorded in (first, second):
        assert set(recorded.records) == set(WIDTHS)
        for record in recorded.records.values():
            assert record.steps.tolist() == [0, 1, 2, 5, 10, 12]
            names = [layer.layer for layer in record.layers]
            assert names == ["Conv2D_1", "Conv2D_2", "Dense_1", "classes"]
            assert [layer.label.shape[1] for layer in record.layers] == [2, 3, 0, 0]
            assert record.file.at == "block"
    assert first.accuracy == second.accuracy
    model = first.model(12)
    right = model.predict(data.test.images, verbose=0).argmax(axis=1) == data.test.labels
    assert first.accuracy == pytest.approx(right.mean())
    start = first.model(0).get_weights()
    assert not np.allclose(start[-2], model.get_weights()[-2])


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, data) -> None:
    whole = training(tmp_path / "whole", data, 9, regular=2)

    def killed(label: str, done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "cut", data, 9, killed, regular=2)
    steps: list[int] = []
    cut = training(tmp_path / "cut", data, 9, lambda _, done, total: steps.append(done), regular=2)
    assert steps[0] == 6
    for width in WIDTHS:
        first, second = cut.records[width], whole.records[width]
        assert first.steps.tolist() == second.steps.tolist()
        for layer, same in zip(first.layers, second.layers, strict=True):
            np.testing.assert_allclose(layer.label, same.label, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(layer.whole_label, same.whole_label, rtol=1e-3, atol=1e-4)
    for weights, same in zip(cut.model(9).get_weights(), whole.model(9).get_weights(), strict=True):
        np.testing.assert_allclose(weights, same, rtol=1e-3, atol=1e-5)


def test_a_training_killed_after_its_last_iteration_is_finished(tmp_path: Path, data) -> None:
    def killed(label: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, data, 2, killed)
    finished = training(tmp_path, data, 2)
    assert finished.records["fixed"].steps.tolist() == [0, 1, 2]
    assert len(finished.model(2).get_weights()) == len(finished.model(0).get_weights())


def test_more_iterations_go_on_from_fewer_and_fewer_are_read_from_more(
    tmp_path: Path, data
) -> None:
    short = training(tmp_path, data, 4, regular=2)
    steps: list[int] = []
    long = training(tmp_path, data, 8, lambda _, done, total: steps.append(done), regular=2)
    assert steps[0] == 4
    assert long.records["fixed"].steps.tolist() == [0, 1, 2, 4, 5, 6, 8]
    second = training(tmp_path, data, 4, regular=2)
    assert second.records["fixed"].steps.tolist() == short.records["fixed"].steps.tolist()
    assert second.accuracy == short.accuracy
    with pytest.raises(SettingsError, match="8 iterations"):
        training(tmp_path, data, 7, regular=2)
    # The longer training is still there.
    whole = training(tmp_path, data, 8, regular=2)
    assert whole.records["fixed"].steps.tolist() == [0, 1, 2, 4, 5, 6, 8]


def test_other_data_and_other_seeds_are_other_trainings(tmp_path: Path, data) -> None:
    first = training(tmp_path, data, 1)
    turned = Images("bars", data.train, models.load("binary-12:test"))
    with pytest.raises(Exception):  # noqa: B017 - Keras chooses the error for images of a wrong size
        training(tmp_path, turned, 1)
    assert training(tmp_path, data, 1).path == first.path
    folder = Folder(tmp_path / "seeds", "kernels", StudySettings(seed=1), shared=first.path.parent)
    other = recorded_training(folder, NETWORK, data, 1)
    assert other.path.parent == first.path.parent
    assert other.path != first.path


def test_a_training_that_diverges_says_so(tmp_path: Path, data) -> None:
    broken = RecordedNetwork("lenet", (), ("classes",), (("filters", (2, 3)),), 16, 1e30)
    folder = Folder(tmp_path, "kernels", StudySettings())
    with pytest.raises(SettingsError, match="a finite loss"):
        recorded_training(folder, broken, data, 5)


def test_two_studies_share_a_training(tmp_path: Path, data) -> None:
    paths = set()
    for study in ("kernels", "plane"):
        folder = Folder(tmp_path / study, study, StudySettings(), shared=tmp_path / "shared")
        paths.add(recorded_training(folder, NETWORK, data, 1).path)
    assert [path.parent for path in paths] == [tmp_path / "shared"]


def test_files_of_a_training_that_are_damaged_or_lost_are_named_with_a_way_out(
    tmp_path: Path, data
) -> None:
    whole = training(tmp_path / "whole", data, 4, regular=2)
    for name, call in (
        ("end-000004.json", lambda folder: training(folder, data, 4, regular=2)),
        ("relative/record/layer-001.npz", lambda folder: training(folder, data, 4, regular=2)),
        ("fixed/record/record.json", lambda folder: training(folder, data, 4, regular=2)),
        ("weights/000002.npz", lambda folder: training(folder, data, 4, regular=2).model(2)),
    ):
        shutil.copytree(tmp_path / "whole", tmp_path / name)
        own = tmp_path / name / whole.path.relative_to(tmp_path / "whole")
        (own / name).write_bytes(b"{")
        with pytest.raises(RunError, match=f"{name}'.* Remove the folder '{own}': its training"):
            call(tmp_path / name)
    (whole.path / "fixed/record/steps/000000001.npz").unlink()
    with pytest.raises(RunError, match=r"received none of step 1\. Remove the folder"):
        training(tmp_path / "whole", data, 6, regular=2)


def test_large_images_run_a_few_at_once(monkeypatch) -> None:
    inputs = keras.Input((64, 64, 1))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(400, 3)(inputs))
    network = Network(keras.Model(inputs, outputs))
    images = np.random.default_rng(0).random((45, 64, 64, 1), np.float32)
    sizes = []

    def batches(graph, images, bytes_per_image):
        for rows, result in run_in_batches(graph, images, bytes_per_image):
            sizes.append(rows.stop - rows.start)
            yield rows, result

    monkeypatch.setattr(forward, "run_in_batches", batches)
    assert network_predictor(network)(images) == pytest.approx(predictor(network.model)(images))
    assert sizes == [21, 21, 3, 45]  # 6.2 MB an image, of 134 MB at once; then all of them
