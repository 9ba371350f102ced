import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, ModelError, Notice, RunError, SettingsError
from oip.core.formats import RecordedLayerPart, RecordedMapsFile, TrainingRecordFile
from oip.core.output_formats import TrainingStepFile
from oip.mi.training.record import RecordFolder
from oip.mi.training.recorder import Schedule

STEPS = 4
"""Batches an epoch."""


@pytest.fixture
def model(small_model):
    """The small model, compiled and at its start."""
    import keras

    keras.utils.set_random_seed(5)
    copy = keras.models.clone_model(small_model)
    loss = "sparse_categorical_crossentropy"
    # A graph is traced for longer than these few batches take.
    copy.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)
    return copy


@pytest.fixture
def bars(small_images):
    """The small images, thrice, with other noise on each."""
    images, labels = (np.concatenate([part] * 3) for part in small_images)
    noise = np.random.default_rng(0).integers(0, 20, images.shape)
    return (images + noise).astype(np.uint8), labels


def fit(model, data, recorder, epochs=2, first=0):
    model.fit(
        *data,
        batch_size=30,
        epochs=epochs,
        initial_epoch=first,
        verbose=0,
        shuffle=False,
        callbacks=[recorder],
    )


def test_a_record_says_what_the_estimator_says_of_the_trained_network(model, bars, tmp_path):
    from oip.gallery.read_run import training_record
    from oip.network.forward import map_blocks
    from oip.network.network import Network
    from oip.run.run import Run

    recorder = mi.Recorder(*bars, out=tmp_path, samples=60, split="bars:test")
    fit(model, bars, recorder)
    record = recorder.record
    assert record.steps.tolist() == [0, STEPS, 2 * STEPS]
    assert [(layer.layer, layer.label.shape) for layer in record.layers] == [
        ("first", (3, 6)),
        ("second", (3, 70)),
    ]
    ranking = mi.rank(model, *bars, "second", estimators=["kde"], samples=60)
    assert np.allclose(record["second"].label[-1], ranking.by("kde").mi, atol=1e-5)
    assert np.allclose(record["@1"].per_class[-1], ranking.by("kde").per_class, atol=1e-5)
    # A layer as a whole, from its products alone, as from its responses themselves.
    images, codes = recorder._images, recorder._codes
    network = Network(model)
    (_, values), *_ = map_blocks(network, images, network.find("first"))
    flat = values.reshape(len(images), -1)
    about_label = mi.estimator("kde").over_maps(flat[:, None], codes).mi[0] / np.log(2)
    about_input = mi.input_information(flat, "kde").bits
    assert record["first"].whole_label[-1] == pytest.approx(about_label, rel=1e-3)
    assert record["first"].whole_input[-1] == pytest.approx(about_input, rel=1e-3)
    predicted = model(images, training=False).numpy().argmax(axis=1)
    assert record.accuracy is not None
    assert record.accuracy[-1] == pytest.approx((predicted == codes).mean())
    # As the gallery reads it.
    file = training_record(Run(tmp_path, {}))
    assert file is not None
    assert file == record.file
    assert file.steps == record.steps.tolist()
    assert (file.samples, file.split, file.unit) == (60, "bars:test", "bits")
    assert (file.label_ceiling, record.label_ceiling) == (pytest.approx(2.0), file.label_ceiling)
    assert record.input_ceiling == file.input_ceiling == pytest.approx(np.log2(60))
    maps_file = RecordedMapsFile.read_if_there(tmp_path / "record" / "layer-001.npz")
    assert maps_file is not None
    assert (maps_file.label == record["second"].label).all()


def test_it_goes_on_where_a_saved_training_goes_on(model, bars, tmp_path):
    import keras

    options = {"every": "3 batches", "samples": 40, "out": tmp_path / "cut"}
    fit(model, bars, mi.Recorder(*bars, **options), epochs=2)
    model.save(tmp_path / "saved.keras")
    kept = mi.TrainingRecord.open(tmp_path / "cut")
    assert kept.steps.tolist() == [0, 3, 6, 8]
    fit(model, bars, mi.Recorder(*bars, **options), epochs=4, first=2)  # and is then given up
    assert mi.TrainingRecord.open(tmp_path / "cut").steps.tolist() == [0, 3, 6, 8, 9, 12, 15, 16]
    restored = keras.models.load_model(tmp_path / "saved.keras")
    recorder = mi.Recorder(*bars, **options)
    fit(restored, bars, recorder, epochs=3, first=2)
    assert recorder.record.steps.tolist() == [0, 3, 6, 8, 9, 12]
    for layer, other in zip(recorder.record.layers, kept.layers, strict=True):
        assert np.array_equal(layer.label[:4], other.label)
        assert not np.array_equal(layer.label[4], layer.label[3])


def test_a_damaged_step_is_left_out_as_a_training_goes_on(model, bars, tmp_path):
    options = {"every": "2 batches", "samples": 40, "out": tmp_path}
    first = mi.Recorder(*bars, **options)
    fit(model, bars, first, epochs=1)
    steps = first.record.steps.tolist()
    damaged = tmp_path / "record" / "steps" / f"{steps[1]:09d}.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    recorder = mi.Recorder(*bars, **options)
    with pytest.warns(Notice, match=f"goes on without step {steps[1]}"):
        fit(model, bars, recorder, epochs=2, first=1)
    further = recorder.record.steps.tolist()
    assert further[: len(steps) - 1] == [steps[0], *steps[2:]] and further[-1] > steps[-1]


def test_a_folder_of_something_else_is_left_alone(model, bars, tmp_path):
    fit(model, bars, mi.Recorder(*bars, out=tmp_path, samples=40), epochs=1)
    before = (tmp_path / "record" / "record.json").read_bytes()
    with pytest.raises(RunError, match="Choose another folder"):
        fit(model, bars, mi.Recorder(*bars, out=tmp_path, samples=80), epochs=1)
    assert (tmp_path / "record" / "record.json").read_bytes() == before
    (tmp_path / "mine" / "record").mkdir(parents=True)
    (tmp_path / "mine" / "record" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        fit(model, bars, mi.Recorder(*bars, out=tmp_path / "mine"), epochs=1)


def test_a_killed_training_leaves_what_it_recorded(tmp_path):
    empty = TrainingRecordFile(
        key="a",
        estimator="kde",
        name_shown="kde",
        samples=20,
        split="",
        classes=["x"],
        label_ceiling=1.0,
        input_ceiling=None,
        layers=[RecordedLayerPart(index=0, layer="one", maps=2, input=[], label=[])],
        steps=[],
    )
    folder = RecordFolder(tmp_path, empty)
    assert folder.begin(0) == []
    for step in range(5):
        arrays = {
            "layer-000-label": np.full(2, step, np.float32),
            "layer-000-per_class": np.zeros((2, 1), np.float32),
            "layer-000-layer": np.array([np.nan, step]),
        }
        folder.write(step, TrainingStepFile(named=arrays, accuracy=np.nan))
    # Joined at one, two and four steps; the fifth waits for the next one who looks.
    read = mi.TrainingRecord.open(tmp_path)
    assert read.steps.tolist() == [0, 1, 2, 3]
    assert np.isnan(read.layers[0].whole_input).all()
    assert read.accuracy is None
    resumed = RecordFolder(tmp_path, empty)
    assert resumed.begin(4) == [0, 1, 2, 3, 4]
    resumed.join()
    assert mi.TrainingRecord.open(tmp_path).layers[0].label[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert resumed.begin(2) == [0, 1, 2]


def test_some_layers_without_a_folder_in_small_blocks(model, bars):
    whole = mi.Recorder(*bars, samples=40, layers=["second"])
    fit(model, bars, whole, epochs=1)
    small = mi.Recorder(*bars, samples=40, layers=["@1"], byte_budget=1)
    fit(model, bars, small, epochs=1)
    whole_record, other = whole.record, small.record
    assert [layer.index for layer in other.layers] == [1]
    assert np.allclose(whole_record["second"].label[1], other["second"].label[0], atol=1e-5)
    assert whole_record["second"].whole_label[1] == pytest.approx(
        other["second"].whole_label[0], rel=1e-4
    )


def test_maps_that_are_not_finite_have_no_number(model, bars, tmp_path):
    kernel, bias = model.get_layer("second").get_weights()
    bias[3] = np.inf
    model.get_layer("second").set_weights([kernel, bias])
    model.get_layer("second").trainable = False
    recorder = mi.Recorder(*bars, out=tmp_path, samples=40, estimator="ksg")
    recorder.set_model(model)
    recorder.on_train_begin()
    record = recorder.record
    assert np.isnan(record["second"].label[0]).nonzero()[0].tolist() == [3]
    assert np.isnan(record["second"].whole_label).all()
    assert np.isnan(record["first"].whole_input).all()
    json.loads((tmp_path / "record" / "record.json").read_text())
    record.plot_boxes()
    with pytest.raises(SettingsError, match="kde"):
        record.plot_plane()


def test_figures_show_the_numbers_and_are_the_same_every_time(
    model, bars, tmp_path, figures_as_they_fall
):
    options = {"samples": 40, "layers": ["first"], "classes": ["$a", "b", "c", "d"]}
    recorder = mi.Recorder(*bars, "log", out=tmp_path, **options)
    fit(model, bars, recorder)
    record = recorder.record
    assert record.steps.tolist() == [0, 1, 2, 5, 8]
    paths = record.save_figures(tmp_path / "one")
    assert {path.stem for path in paths} == {
        "boxes",
        "differences",
        "plane",
        "classes-000",
        "class-ranks-000",
    }
    second_paths = mi.TrainingRecord.open(tmp_path).save_figures(tmp_path / "two")
    for path, other in zip(paths, second_paths, strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name
    lines = record.plot_differences().axes[0].lines
    assert np.allclose(lines[1].get_ydata(), np.diff(record["first"].label.mean(axis=1)), atol=1e-6)
    start = np.argsort(-record["first"].label[0], kind="stable")
    figure = record.plot_classes("first")
    for axes, step in zip(figure.axes, range(5), strict=False):
        shown = axes.images[0].get_array()
        assert np.allclose(shown, record["first"].per_class[step][start])
    ranks = record.plot_classes("first", ranks=True).axes[0].images[0].get_array()
    assert (np.sort(ranks, axis=0) == np.arange(1, 7)[:, None]).all()
    assert (ranks.argmin(axis=0) == record["first"].per_class[0][start].argmax(axis=0)).all()
    table = record.to_pandas()
    assert len(table) == 5 * 6
    assert {"step", "layer", "map", "mi", "mi:$a"} == set(table.columns[:5])


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"every": "sometimes"}, SettingsError, "epochs"),
        ({"estimator": "nobody"}, SettingsError, "kde"),
        ({"labels": np.zeros(120)}, DataError, "floats"),
        ({"labels": np.zeros(120, int)}, DataError, "two classes"),
        ({"labels": np.arange(9) % 3}, DataError, "120"),
        ({"images": np.zeros((120, 16))}, DataError, "shape"),
        ({"samples": 3}, SettingsError, "samples"),
        ({"images": (np.zeros((120, 16, 16, 1)), np.zeros(120))}, DataError, "of one shape"),
        ({"images": np.ma.masked_equal(np.zeros((120, 16, 16, 1)), 0)}, DataError, "masked"),
    ],
)
def test_bad_input_is_refused_before_the_training(bars, changed, error, word):
    with pytest.raises(error, match=word):
        mi.Recorder(**{"images": bars[0], "labels": bars[1], **changed})


def test_bad_input_is_refused_as_the_training_begins(model, bars, tmp_path):
    with pytest.raises(ModelError, match="second"):
        fit(model, bars, mi.Recorder(*bars, out=tmp_path / "a", layers=["secnd"]))
    with pytest.raises(SettingsError, match="once"):
        fit(model, bars, mi.Recorder(*bars, out=tmp_path / "a", layers=["second", "@1"]))
    with pytest.raises(DataError, match="shape"):
        fit(model, bars, mi.Recorder(bars[0][:, :9], bars[1], out=tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_bad_records_are_refused(model, bars, tmp_path):
    with pytest.raises(RunError, match=r"record\.json"):
        mi.TrainingRecord.open(tmp_path)
    recorder = mi.Recorder(*bars, samples=40)
    with pytest.raises(RunError, match=r"record\.json"):
        _ = recorder.record
    fit(model, bars, mi.Recorder(*bars, out=tmp_path, samples=40), epochs=1)
    with pytest.raises(SettingsError, match="first, second"):
        mi.TrainingRecord.open(tmp_path)["third"]
    path = tmp_path / "record" / "layer-001.npz"
    with np.load(path) as arrays:
        changed = dict(arrays)
    for steps, word in (
        (changed["steps"] + 1, "other steps"),
        (changed["steps"][:1], "layer-001.npz"),
    ):
        np.savez(path, **{**changed, "steps": steps})
        with pytest.raises(RunError, match=word):
            mi.TrainingRecord.open(tmp_path)


def test_dense_layers_are_recorded_as_a_whole_and_blocks_after_their_pooling(
    model, bars, tmp_path, figures_as_they_fall
):
    from oip.network.forward import map_blocks
    from oip.network.network import Network

    options = {"samples": 60, "out": tmp_path, "every": [0]}
    recorder = mi.Recorder(*bars, layers=["first"], dense=["dense"], at="block", **options)
    model.layers[-1].name = "dense"
    fit(model, bars, recorder, epochs=1)
    record = recorder.record
    assert [(layer.layer, layer.label.shape[1]) for layer in record.layers] == [
        ("first", 6),
        ("dense", 0),
    ]
    assert [layer.layer for layer in record.with_maps] == ["first"]
    assert record.file.at == "block"
    # Maps are those of the block output.
    images, codes = recorder._images, recorder._codes
    network = Network(model)
    (_, values), *_ = map_blocks(network, images, network.find("first"), at="block")
    estimates = mi.estimator("kde").over_maps(values, codes).mi / np.log(2)
    np.testing.assert_allclose(record["first"].label[-1], estimates, atol=1e-5)
    # The dense layer's output is what the model predicts.
    output = model(images, training=False).numpy()
    about_label = mi.estimator("kde").over_maps(output[:, None], codes).mi[0] / np.log(2)
    assert record["dense"].whole_label[-1] == pytest.approx(about_label, rel=1e-3)
    about_input = mi.input_information(output, "kde").bits
    assert record["dense"].whole_input[-1] == pytest.approx(about_input, rel=1e-3)
    names = {path.stem for path in record.save_figures(tmp_path / "figures")}
    assert names == {"boxes", "differences", "plane", "classes-000", "class-ranks-000"}
    with pytest.raises(SettingsError, match="layers with maps"):
        record.plot_classes("dense")


def test_a_network_without_maps_is_recorded_by_its_dense_layers(bars, tmp_path):
    import keras
    from keras import layers

    parts = [layers.Flatten(), layers.Dense(5, activation="relu", name="hidden"), layers.Dense(4)]
    plain = keras.Sequential([layers.Input((16, 16, 1)), *parts])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile("adam", loss, run_eagerly=True)
    recorder = mi.Recorder(*bars, dense=["hidden"], samples=40, out=tmp_path)
    fit(plain, bars, recorder, epochs=1)
    record = recorder.record
    assert [layer.layer for layer in record.layers] == ["hidden"]
    assert np.isfinite(record["hidden"].whole_label).all()
    assert {path.stem for path in record.save_figures(tmp_path / "figures")} == {"plane"}
    with pytest.raises(SettingsError, match="layers with maps"):
        record.plot_boxes()


def test_what_cannot_be_recorded_is_told(model, bars):
    with pytest.raises(SettingsError, match="response or block"):
        mi.Recorder(*bars, at="input")
    with pytest.raises(ModelError, match="layer of units"):
        fit(model, bars, mi.Recorder(*bars, dense=["nothing"]))
    name = model.layers[-1].name
    with pytest.raises(SettingsError, match="each one once"):
        fit(model, bars, mi.Recorder(*bars, dense=[name, name]))


def recorded(every, steps=1200):
    schedule = Schedule.of(every)
    return [now for now in range(1, steps + 1) if schedule.between(now - 1, now)]


def test_what_people_say():
    assert Schedule.of(2) == Schedule.of("2") == Schedule.of(" 2 epochs ") == Schedule(epochs=2)
    assert [epoch for epoch in range(1, 8) if Schedule.of(3).after_epoch(epoch)] == [3, 6]
    assert not Schedule.of("10 batches").after_epoch(10)
    assert recorded("500 batches") == [500, 1000]
    assert recorded("log") == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert recorded([7, 3, 3, 900]) == recorded(np.array([3, 7, 900])) == [3, 7, 900]


@pytest.mark.parametrize("every", ["7 batches", "log", [3, 20, 21]])
def test_a_step_that_was_jumped_over_is_recorded_at_the_next_look(every):
    schedule = Schedule.of(every)
    looks = [now for now in range(5, 105, 5) if schedule.between(now - 5, now)]
    due = recorded(every, 100)
    assert looks == sorted({-(-step // 5) * 5 for step in due})


@pytest.mark.parametrize(
    "every", [0, -1, True, 1.5, "", "0", "often", "3 hours", [], [1.5], [-1], None]
)
def test_anything_else_is_refused(every):
    with pytest.raises(SettingsError, match="batches"):
        Schedule.of(every)


def test_short_forms(model, bars):
    recorder = mi.Recorder(*bars, samples=40, layers=["first"])
    fit(model, bars, recorder, epochs=1)
    record = recorder.record
    assert repr(record) == "TrainingRecord(2 records, steps 0 to 4; kde; layers first)"
    assert repr(record["first"]) == "RecordedLayer(first: 6 maps, 2 steps)"


@pytest.mark.parametrize("end", ["sigmoid", "linear", "apart"])
def test_one_unit_is_two_classes(end, bars, tmp_path):
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    images, labels = bars[0], bars[1] % 2
    network = keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(3, 3, activation="relu", name="first"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid" if end == "sigmoid" else None, name="unit"),
            *([layers.Activation("sigmoid")] if end == "apart" else []),
        ]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=end == "linear")
    network.compile(keras.optimizers.Adam(0.03), loss, run_eagerly=True)
    recorder = mi.Recorder(images, labels, out=tmp_path, samples=len(labels), dense=["unit"])
    fit(network, (images, labels), recorder, epochs=1)
    outputs = network(recorder._images, training=False).numpy()[:, 0]
    predicted = outputs > (0.0 if end == "linear" else 0.5)
    assert recorder.record.accuracy[-1] == np.mean(predicted == recorder._codes)
    assert 0 < recorder.record.accuracy[-1] < 1
    assert recorder.record["first"].per_class.shape == (2, 3, 2)
