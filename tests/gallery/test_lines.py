"""Networks of lines of numbers: from the shell to the gallery."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from oip import gallery
from oip.cli.main import root
from oip.core.errors import DataError
from oip.core.files import read_json
from oip.core.images import LINE_SIZE
from oip.gallery.images import cell_of, fitted_cell, line_length, resized, size_of
from oip.network.inputs import with_bands

LENGTH = 64


def test_lines_are_drawings_of_one_size():
    for shape in ([64, 2], [64, 1], [1000, 3], [1, 30, 1], [2, 1]):
        length, bands = shape[-2:]
        assert (size_of(shape), line_length(shape)) == (LINE_SIZE, length)
        image = np.random.default_rng(0).integers(0, 256, (1, length, bands)).astype(np.uint8)
        cell = cell_of(LINE_SIZE)
        assert cell == (64, 96, False)
        assert fitted_cell(image, cell[:2]).shape == (64, 96, 3)
        assert resized(image, 224).shape == (149, 224, 3)
    assert (size_of([28, 20, 3]), line_length([28, 20, 3])) == ((28, 20), 0)


def test_a_surplus_axis_of_lines_is_dropped_and_no_other():
    assert with_bands(np.zeros((5, 64, 2, 1)), (64, 2)).shape == (5, 64, 2)
    assert with_bands(np.zeros((5, 64)), (64, 1)).shape == (5, 64, 1)
    assert with_bands(np.zeros((5, 64, 2, 3)), (64, 2)).shape == (5, 64, 2, 3)
    assert with_bands(np.zeros((5, 8, 8)), (8, 8, 1)).shape == (5, 8, 8, 1)


def _model(path, bands, length):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((length, bands)),
            keras.layers.Conv1D(4, 5, activation="relu", name="c1"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(path)


def _done(*arguments):
    result = CliRunner().invoke(root, [str(word) for word in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(("bands", "length"), [(2, LENGTH), (1, None)])
def test_from_the_shell_to_the_gallery(tmp_path, bands, length):
    model, data, run = tmp_path / "c.keras", tmp_path / "c.npz", tmp_path / "run"
    _model(model, bands, length)
    random = np.random.default_rng(0)
    labels = np.arange(750) % 3
    waves = np.sin(np.arange(LENGTH) * 0.3 * (labels[:, None] + 1))
    lines = random.normal(size=(750, LENGTH, bands)) + waves[..., None]
    np.savez(data, images=lines.astype(np.float32), labels=labels)
    small = ("--starts", 2, "--steps", 4, "--screened", 8, "-q")
    _done("reconstruct", model, "c1", "--data", data, "--out", run, *small)
    _done("rank", model, "c1", "--data", data, "--out", run, "--estimator", "decoder", "-q")
    _done("gallery", run, "--with-data", "--data", data, "-q")
    folder = run / "gallery"
    with Image.open(folder / "img/full/000/0000.webp") as picture:
        assert picture.size == LINE_SIZE[::-1]
    with Image.open(folder / "img/sheet-000.webp") as picture:
        assert picture.size == (16 * 96, 64)
    (first, *_) = folder.glob("img/data/*.webp")
    with Image.open(first) as picture:
        assert picture.size == (224, 149)
    detail = (folder / "data/detail-000-0000.js").read_text("utf-8")
    wide = round(5 * LINE_SIZE[1] / LENGTH, 2)
    assert f",{wide},{float(LINE_SIZE[0])}]" in detail, "the field is 5 samples wide"
    record = json.loads(detail.split(",", 1)[1].rstrip().removesuffix(");"))
    about = record["maps"]["0"]["per_class"][0]
    for name in ("mi", "low", "high", "p"):
        assert len(about[name]) == 3 and None not in about[name], "as oip rank writes them"
    assert all(
        low <= bits <= high
        for low, bits, high in zip(about["low"], about["mi"], about["high"], strict=True)
    )
    info = read_json(run / "run.json")
    free = {} if length else {"input_size": [LENGTH]}
    assert info.get("loading", {}) == free, "what a model of any size was fed is told"


def test_data_of_another_form_are_refused(maker, tmp_path):
    run = maker(tmp_path / "run", shape=(LENGTH, 2))
    with pytest.raises(DataError, match="length"):
        gallery.build(run, data_images=np.zeros((30, LENGTH, 2, 3), np.float32))
    assert gallery.build(run, data_images=np.zeros((30, LENGTH, 2), np.float32)).is_file()
