"""Networks of keras.applications as files."""

from __future__ import annotations

import numpy as np
import pytest

import oip
from oip.batch.job import ModelSource
from oip.batch.keras_applications import application_file, build_application
from oip.core.errors import ModelError
from oip.core.images import APPLICATIONS, preprocess_of
from oip.network.loading import load_model


def test_how_images_are_prepared_is_what_keras_does():
    import keras

    modules = vars(keras.applications).values()
    rooms = [module for module in modules if hasattr(module, "preprocess_input")]
    kinds_by_name = {}
    for room in rooms:
        ends = np.stack([np.zeros((1, 1, 3)), np.full((1, 1, 3), 255.0)])
        low, high = np.asarray(room.preprocess_input(ends.copy()))[:, 0, 0]
        kinds = {(0.0, 255.0): None, (-1.0, 1.0): "tf"}
        torch, caffe = (-2.118, 2.249), (-103.939, 151.061)
        pair = (round(float(low[0]), 3), round(float(high[0]), 3))
        kind = {**kinds, torch: "torch", caffe: "caffe"}[pair]
        kinds_by_name |= {name: kind for name in vars(room) if name[:1].isupper()}
    assert {"VGG16", "EfficientNetB0", "MobileNetV2", "DenseNet121"} <= set(kinds_by_name)
    assert {name: preprocess_of(name) for name in kinds_by_name} == kinds_by_name
    assert {name for names in APPLICATIONS.values() for name in names} <= set(kinds_by_name)


def test_an_application_is_built_once_and_known_again(job, tmp_path, quick_processes):
    source = {"application": "VGG16", "weights": "none", "size": [32, 32], "seed": 3}
    request = {**job, "models": [{**source, "layers": ["block1_conv1:0-3"]}]}
    result = oip.batch.run(request)
    (path,) = (result.out / "models").glob("*.keras")
    assert path.name == "VGG16-32x32-seed-3.keras"
    made = path.stat().st_mtime_ns
    assert result.runs[0].job.input.preprocess == "caffe"
    assert oip.Run.open(result.runs[0].folder).record.input.bgr is True
    assert oip.batch.run(request).pieces == 0
    assert path.stat().st_mtime_ns == made
    rebuilt = tmp_path / "rebuilt.keras"
    build_application(
        ModelSource(application="VGG16", weights="none", size=(32, 32), seed=3), rebuilt
    )
    first, second = (load_model(model_file).get_weights() for model_file in (path, rebuilt))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_processes_that_build_an_application_at_once_have_one_file(tmp_path):
    """Parts of a batch begin together: a second file would be another model, with another run."""
    source = ModelSource(application="MobileNet", weights="none", size=(32, 32))
    path = tmp_path / "models" / "mobile.keras"
    build_application(source, path)
    content = path.read_bytes()
    build_application(source, path)
    assert path.read_bytes() == content


def test_what_cannot_be_built_is_one_line_and_no_file(tmp_path, quick_processes):
    small = ModelSource(application="VGG16", weights="none", size=(3, 3))
    with pytest.raises(ModelError, match="cannot build 'VGG16'"):
        application_file(small, tmp_path / "models")
    with pytest.raises(ModelError, match="Did you mean 'MobileNetV2'"):
        build_application(ModelSource(application="MobilNetV2"), tmp_path / "mobile.keras")
    assert not list(tmp_path.rglob("*.keras"))
