from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oip import models
from oip.core.errors import SettingsError
from oip.core.progress import silent
from oip.studies import trained
from oip.studies.report import Folder, StudySettings
from oip.studies.trained import WIDTHS, Batches, Watched, kept_at, recorded_at

WATCHED = Watched(
    "lenet", ("Conv2D_1", "Conv2D_2"), ("Dense_1", "classes"), (("filters", (2, 3)),), batch=16
)


@pytest.fixture
def data(bars: Path):
    return models.load(f"{bars}:train"), models.load(f"{bars}:test")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved every second iteration."""
    monkeypatch.setattr(trained, "_REGULAR", 2)


def done(path: Path, data, iterations: int, progress=silent):
    folder = Folder(path, "kernels", StudySettings())
    return trained.trained(folder, WATCHED, *data, iterations, 0, progress)


def test_iterations_that_are_recorded_and_kept() -> None:
    assert recorded_at(7) == [0, 1, 2, 5, 7]
    assert recorded_at(1200) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1200]
    assert kept_at(7) == [0, 2, 7]
    assert kept_at(12_000) == [0, 5_000, 10_000, 12_000]
    for iterations in (1, 7, 500, 4_999, 5_000, 10_000, 12_345):
        assert set(kept_at(iterations)) <= set(recorded_at(iterations))
        assert set(recorded_at(iterations)[:-1]) <= set(recorded_at(4 * iterations))


def test_a_training_is_recorded_and_not_done_again(tmp_path: Path, data) -> None:
    told: list[str] = []
    first = done(tmp_path, data, 12)
    again = done(tmp_path, data, 12, lambda label, *_: told.append(label))
    assert not told
    for one in (first, again):
        assert set(one.records) == set(WIDTHS)
        for width in WIDTHS:
            record = one.records[width]
            assert record.steps.tolist() == [0, 1, 2, 5, 10, 12]
            names = [layer.layer for layer in record.layers]
            assert names == ["Conv2D_1", "Conv2D_2", "Dense_1", "classes"]
            assert [layer.label.shape[1] for layer in record.layers] == [2, 3, 0, 0]
            assert record.file.at == "block"
    assert first.accuracy == again.accuracy
    model = first.model(12)
    images, labels = data[1].images, data[1].labels
    right = model.predict(images, verbose=0).argmax(axis=1) == labels
    assert first.accuracy == pytest.approx(right.mean())
    start = first.model(0).get_weights()
    assert not np.allclose(start[-2], model.get_weights()[-2])


def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, data, often: None
) -> None:
    whole = done(tmp_path / "whole", data, 9)

    def killed(label: str, so_far: int, total: int) -> None:
        if so_far == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        done(tmp_path / "cut", data, 9, killed)
    begun: list[int] = []
    cut = done(tmp_path / "cut", data, 9, lambda label, so_far, total: begun.append(so_far))
    assert begun[0] == 6
    for width in WIDTHS:
        assert cut.records[width].steps.tolist() == whole.records[width].steps.tolist()
        for one, other in zip(cut.records[width].layers, whole.records[width].layers, strict=True):
            np.testing.assert_allclose(one.label, other.label, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(one.whole_label, other.whole_label, rtol=1e-3, atol=1e-4)
    for one, other in zip(cut.model(9).get_weights(), whole.model(9).get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_more_iterations_go_on_from_fewer_and_fewer_are_read_from_more(
    tmp_path: Path, data, often: None
) -> None:
    short = done(tmp_path, data, 4)
    begun: list[int] = []
    long = done(tmp_path, data, 8, lambda label, so_far, total: begun.append(so_far))
    assert begun[0] == 4
    assert long.records["fixed"].steps.tolist() == [0, 1, 2, 4, 5, 6, 8]
    again = done(tmp_path, data, 4)
    assert again.records["fixed"].steps.tolist() == short.records["fixed"].steps.tolist()
    assert again.accuracy == short.accuracy
    with pytest.raises(SettingsError, match="8 iterations"):
        done(tmp_path, data, 7)
    # What was there is still there.
    assert done(tmp_path, data, 8).records["fixed"].steps.tolist() == [0, 1, 2, 4, 5, 6, 8]


def test_other_data_and_other_options_are_other_trainings(tmp_path: Path, data) -> None:
    first = done(tmp_path, data, 1)
    turned = (data[0], models.load("binary-12:test"))
    with pytest.raises(Exception):  # noqa: B017 - whatever Keras says of images that do not fit
        done(tmp_path, turned, 1)
    assert done(tmp_path, data, 1).path == first.path
    folder = Folder(tmp_path, "kernels", StudySettings())
    other = trained.trained(folder, WATCHED, *data, 1, 1, silent)
    assert other.path != first.path


def test_batches_hold_each_image_once_a_pass() -> None:
    batches = Batches(10, 3, seed=4)
    first = np.concatenate([batches.at(done) for done in range(3)])
    second = np.concatenate([batches.at(done) for done in range(3, 6)])
    assert len(set(first)) == len(set(second)) == 9
    assert first.tolist() != second.tolist()
    fresh = Batches(10, 3, seed=4)
    np.testing.assert_array_equal(fresh.at(4), batches.at(4))
    assert sorted(Batches(2, 5, 0).at(7)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
