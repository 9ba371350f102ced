from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oip.core.errors import DataError, OipError, RunError, SettingsError
from oip.core.files import read_arrays, read_json, write_arrays
from oip.models import Dataset, TrainSettings, train
from oip.models.datasets import dataset
from oip.models.training import (
    Batches,
    confusion_of,
    fit,
    load_state,
    release,
    save_state,
    train_batches,
)

QUICK = TrainSettings(epochs=6, batch=16, learning_rate=0.003)


def bars(count: int, seed: int, source: str) -> Dataset:
    """Upright and flat bars in noise: two classes that a small network tells apart."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 18, 18, 1), np.uint8)
    labels = np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        at = rng.integers(2, 15)
        image[(slice(None), slice(at, at + 2)) if label else slice(at, at + 2)] = 250
    return dataset(images, labels, ("flat", "upright"), source)


TRAIN, TEST = bars(96, 0, "bars:train"), bars(40, 1, "bars:test")


def test_a_training_end_to_end(tmp_path: Path) -> None:
    import keras

    record: list[tuple[str, int, int]] = []
    out = tmp_path / "new" / "bars.keras"
    result = train("conv-stack", TRAIN, TEST, QUICK, out, lambda *args: record.append(args))
    assert result.accuracy > 0.9
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert len(result.losses) == 6
    assert record == [("training", step, 36) for step in range(37)]
    assert sorted(path.name for path in out.parent.iterdir()) == ["bars.keras", "bars.oip.json"]

    model = keras.models.load_model(out)
    confusion = confusion_of(model, TEST.images, TEST.labels, 2)
    np.testing.assert_array_equal(confusion, result.confusion)
    assert confusion.sum(axis=1).tolist() == [20, 20]
    assert result.accuracy == confusion.trace() / 40

    sidecar = read_json(out.parent / "bars.oip.json")
    assert sidecar == result.sidecar
    assert sidecar["kind"] == "oip-model"
    assert sidecar["model"] == "bars.keras"
    assert sidecar["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert sidecar["input"]["shape"] == [18, 18, 1]
    assert sidecar["input"]["mean"] == pytest.approx([TRAIN.images.mean()])
    assert sidecar["input"]["std"] == pytest.approx([TRAIN.images.std()])
    assert (sidecar["input"]["low"], sidecar["input"]["high"]) == (0.0, 255.0)
    assert sidecar["classes"] == ["flat", "upright"]
    assert sidecar["data"] == "bars:train"
    assert sidecar["settings"] == QUICK.to_dict()
    assert str(tmp_path) not in json.dumps(sidecar)


def test_the_seed_decides(tmp_path: Path) -> None:
    short = dataclasses.replace(QUICK, epochs=1)
    first, second = (
        train("conv-stack", TRAIN, TEST, short, tmp_path / f"{name}.keras") for name in "ab"
    )
    other = train(
        "conv-stack", TRAIN, TEST, dataclasses.replace(short, seed=1), tmp_path / "c.keras"
    )
    assert first.losses == pytest.approx(second.losses, rel=1e-4)
    assert first.losses != pytest.approx(other.losses, rel=1e-4)


def test_a_step_is_traced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    step, traced = keras.Model.train_step, []

    def counted(model: keras.Model, data: Any) -> Any:
        traced.append(model)
        return step(model, data)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    settings = dataclasses.replace(QUICK, epochs=1)
    train("lenet5", TRAIN, TEST, settings, tmp_path / "a.keras")
    assert len(traced) == 1


def test_a_callback_watches(tmp_path: Path) -> None:
    import keras

    visible: list[int] = []
    watcher = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: visible.append(epoch))
    settings = dataclasses.replace(QUICK, epochs=2)
    train("conv-stack", TRAIN, TEST, settings, tmp_path / "a.keras", record=watcher)
    assert visible == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_what_was_there(tmp_path: Path, error: type) -> None:
    out = tmp_path / "old.keras"
    out.write_bytes(b"old")

    def stops(label: str, done: int, total: int) -> None:
        if done == 3:
            raise error

    with pytest.raises(error):
        train("conv-stack", TRAIN, TEST, QUICK, out, stops)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.keras"]


def test_a_training_that_diverges_writes_nothing(tmp_path: Path) -> None:
    settings = TrainSettings(epochs=20, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(OipError, match="diverged"):
        train("conv-stack", TRAIN, TEST, settings, tmp_path / "a.keras")
    assert list(tmp_path.iterdir()) == []


def without(data: Dataset, **changes: Any) -> Dataset:
    return dataclasses.replace(data, **changes)


@pytest.mark.parametrize(
    ("data_train", "data_test", "message"),
    [
        (without(TRAIN, labels=None), TEST, "bars:train': expected images with labels"),
        (TRAIN, without(TEST, labels=None), "bars:test': expected images with labels"),
        (without(TRAIN, labels=np.zeros(96, np.int64)), TEST, "none of 'upright'"),
        (TRAIN, without(TEST, images=TEST.images[:, :17]), "test part"),
        (TRAIN, without(TEST, classes=("a", "b")), "classes of the test part"),
        (without(TRAIN, images=TRAIN.images * 0), TEST, "vary"),
        (
            without(TRAIN, images=TRAIN.images[:, :12, :12]),
            without(TEST, images=TEST.images[:, :12, :12]),
            "18 x 18",
        ),
    ],
)
def test_data_that_do_not_fit(
    tmp_path: Path, data_train: Dataset, data_test: Dataset, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        train("conv-stack", data_train, data_test, QUICK, tmp_path / "a.keras")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(SettingsError, match=r"\.keras"):
        train("conv-stack", TRAIN, TEST, QUICK, tmp_path / "a.h5")
    for out in (tmp_path / "file" / "a.keras", tmp_path / "folder.keras"):
        with pytest.raises(RunError):
            train("conv-stack", TRAIN, TEST, QUICK, out)


def test_batches_hold_each_image_once_a_pass() -> None:
    batches = Batches(10, 3, seed=4)
    first = np.concatenate([batches.at(done) for done in range(3)])
    second = np.concatenate([batches.at(done) for done in range(3, 6)])
    assert len(set(first)) == len(set(second)) == 9
    assert first.tolist() != second.tolist()
    fresh = Batches(10, 3, seed=4)
    np.testing.assert_array_equal(fresh.at(4), batches.at(4))
    assert sorted(Batches(2, 5, 0).at(7)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def compiled() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((18, 18, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )
    optimizer = keras.optimizers.Adam(1e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def test_a_restored_training_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    whole = compiled()
    train_batches(whole, TRAIN, 7, 16, 3)
    first = compiled()
    train_batches(first, TRAIN, 4, 16, 3)
    save_state(tmp_path / "state.npz", first)
    second = compiled()
    load_state(tmp_path / "state.npz", second)
    train_batches(second, TRAIN, 7, 16, 3)
    assert int(second.optimizer.iterations) == 7
    for weights, expected in zip(second.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)
    save_state(tmp_path / "weights.npz", whole, with_optimizer=False)
    bare = compiled()
    load_state(tmp_path / "weights.npz", bare)
    assert int(bare.optimizer.iterations) == 0
    np.testing.assert_array_equal(bare.get_weights()[0], whole.get_weights()[0])
    with pytest.raises(RunError, match="no such file"):
        load_state(tmp_path / "none.npz", bare)
    content = bytearray((tmp_path / "weights.npz").read_bytes())
    for position in (4, len(content) // 2, len(content) - 9):  # in the arrays and around them
        changed = bytearray(content)
        changed[position] ^= 4
        (tmp_path / "flipped.npz").write_bytes(changed)
        with pytest.raises(RunError, match="flipped"):
            load_state(tmp_path / "flipped.npz", bare)


def test_a_state_without_its_whole_optimizer_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    trained = compiled()
    train_batches(trained, TRAIN, 4, 16, 3)
    save_state(tmp_path / "state.npz", trained)
    arrays = read_arrays(tmp_path / "state.npz")
    del arrays["optimizer-2"]
    write_arrays(tmp_path / "state.npz", arrays)
    model = compiled()
    before = model.get_weights()
    with pytest.raises(RunError, match="no 'optimizer-2'"):
        load_state(tmp_path / "state.npz", model)
    for weights, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_callbacks_see_every_batch_and_an_empty_training(tmp_path: Path) -> None:
    import keras

    events: list[str] = []
    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: events.append("begin"),
        on_train_batch_end=lambda batch, logs: events.append("batch"),
        on_train_end=lambda logs: events.append("end"),
    )
    model = compiled()
    train_batches(model, TRAIN, 3, 16, 0, [callback])
    train_batches(model, TRAIN, 3, 16, 0, [callback])
    assert events == ["begin", "batch", "batch", "batch", "end", "begin", "end"]


def test_the_state_of_other_layers_leaves_a_model_as_it_was(tmp_path: Path) -> None:
    import keras

    first, second = (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(count)])
        for count in (5, 6)
    )
    save_state(tmp_path / "state.npz", first, with_optimizer=False)
    before = second.get_weights()
    with pytest.raises(RunError, match=r"expected a state of .* shape"):
        load_state(tmp_path / "state.npz", second)
    for old, weight in zip(before, second.get_weights(), strict=True):
        np.testing.assert_array_equal(old, weight)


def test_a_released_model_holds_no_numbers() -> None:
    model = compiled()
    fit(model, TRAIN, QUICK)
    variables = [*model.variables, *model.optimizer.variables]
    assert sum(variable.value.numpy().nbytes for variable in variables) > 1000
    release(model)
    assert {variable.value.numpy().nbytes for variable in variables} == {0}
