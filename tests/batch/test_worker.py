"""What a process keeps between two pieces of work."""

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oip
from oip.ascent.settings import AscentSettings
from oip.batch.driver import run
from oip.batch.job import job_of, read_job
from oip.batch.worker import ModelJob, WorkerCache
from oip.core.errors import Notice, RunError, SettingsError
from oip.core.files import sha256
from oip.core.layer_formats import DirectionsFile
from oip.run.check import verify_run
from oip.workflows.inputs import ModelInput

ALIGNED = """
models = ["color.keras"]
layers = ["last:0-2"]
data = "photos.npz:train"
out = "batch"
[settings]
preset = "aligned"
steps = 4
screened = 4
starts = 1
"""


def test_a_batch_aligns_features_with_its_data(tmp_path, contents):
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.Conv2D(4, 3, activation="relu", name="first"),
            layers.Conv2D(5, 3, activation="relu", name="last"),
        ]
    )
    model.save(tmp_path / "color.keras")
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, labels=np.arange(40) % 2)
    (tmp_path / "job.toml").write_text(ALIGNED)
    result = run(read_job(tmp_path / "job.toml"))
    assert result.failures == []
    grown = oip.Run.open(tmp_path / "batch/runs/0000")
    assert grown.record.settings.preset == "aligned"
    single = oip.reconstruct_into(
        tmp_path / "single",
        tmp_path / "color.keras",
        "last:0-2",
        data=f"{tmp_path / 'photos.npz'}:train",
        preset="aligned",
        **{"steps": 4, "screened": 4, "starts": 1},
    )
    assert contents(Path(grown.path) / "layers") == contents(Path(single.path) / "layers")


def test_images_are_brought_to_the_size_of_each_model(small_file, tmp_path):
    for number in range(4):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    data = f"{tmp_path / 'photos'}:all"
    job = ModelJob(str(small_file), ModelInput(), (), (), data, None, AscentSettings(), None, "fit")
    cache = WorkerCache()
    with pytest.warns(Notice, match=r"4 of 4 images were brought to the model's 16 x 16"):
        images = cache.images(job)
    assert images is not None and images.shape == (4, 16, 16, 1)
    assert not images[:, 0].any(), "black borders"
    assert cache.network(job) is cache.network(job) and cache.data(job) is cache.data(job)


def test_old_data_are_gone_when_others_are_read(small_file, small_images, tmp_path, monkeypatch):
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", images=small_images[0], labels=small_images[1])
    source = f"{tmp_path / 'a.npz'}:all"
    job = ModelJob(str(small_file), ModelInput(), (), (), source, None, AscentSettings(), None)
    cache = WorkerCache()
    old = weakref.ref(cache.data(job))
    monkeypatch.setattr("oip.batch.worker.load_data", lambda *_, **__: old())
    assert cache.data(replace(job, data=f"{tmp_path / 'b.npz'}:all")) is None, "not both at once"


def test_directions_of_a_run_are_grown_and_ranked(small_file, small_images, tmp_path):
    images, labels = small_images
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    parts = oip.directions_into(
        tmp_path / "parts", small_file, "second", data=images, count=3, samples=40
    )
    model = {"path": str(small_file), "directions": str(tmp_path / "parts")}
    job = {
        "models": [model],
        "layers": ["second+nmf:0-1", "second:0"],
        "data": f"{tmp_path / 'data.npz'}:train",
        "out": str(tmp_path / "batch"),
        "settings": {"steps": 2, "screened": 4, "starts": 1},
        "rank": {"samples": 40, "estimators": ["ksg"]},
    }
    result = run(job_of(job))
    assert result.failures == []
    grown = oip.Run.open(tmp_path / "batch/runs/0000")
    layer = grown.reconstructed_layer("second+nmf")
    assert oip.layer_oips(grown, layer.index).maps.tolist() == [0, 1]
    assert grown.ranking(layer.index) is not None
    kept = DirectionsFile.read(grown.folder(layer.index) / "directions.npz")
    assert np.array_equal(kept.weights, parts.weights.astype(np.float32))
    assert not [checked for checked in verify_run(grown) if checked.problem]
    other = {**model, "directions": str(tmp_path / "other")}
    oip.directions_into(tmp_path / "other", small_file, "second", data=images, count=2, samples=40)
    with pytest.raises(SettingsError, match="the same run"):
        run(job_of({**job, "models": [model, other], "out": str(tmp_path / "more")}))
    with pytest.raises(RunError, match="others"):
        run(job_of({**job, "models": [other]}))


def test_files_that_changed_between_two_calls_are_read_anew(tmp_path):
    """A notebook trains a model, runs a batch, and writes another model and data by these names."""
    import keras
    from keras import layers

    generator = np.random.default_rng(0)
    settings = {"starts": 1, "steps": 3, "screened": 4}
    paths = {"models": [str(tmp_path / "m.keras")], "data": f"{tmp_path / 'd.npz'}:all"}
    job = {**paths, "out": str(tmp_path / "batch"), "settings": settings}

    def write(low, high):
        images = generator.integers(low, high, (8, 9, 9, 1)).astype("uint8")
        np.savez(tmp_path / "d.npz", images=images)
        return images.mean()

    def done():
        result = run(job)
        assert result.pieces > 0
        inspection = result.runs[0].inspection
        assert inspection.digest == sha256(tmp_path / "m.keras")
        return inspection.record.input.mean[0]

    model = keras.Sequential([layers.Input((9, 9, 1)), layers.Conv2D(2, 3, name="c")])
    model.save(tmp_path / "m.keras")
    for low, high in ((100, 255), (0, 9)):
        mean = write(low, high)
        assert done() == pytest.approx(mean)
    model.layers[0].kernel.assign(2 * model.layers[0].kernel)
    model.save(tmp_path / "m.keras")
    assert done() == pytest.approx(mean)
