"""Files of a run that are damaged or of another form are named; nothing ends in a traceback."""

from __future__ import annotations

import numpy as np
import pytest

from oip import gallery
from oip.core import files
from oip.core.errors import RunError

COUNT = 12


def _json(run, name, change):
    path = run.path / name
    record = files.read_json(path)
    change(record)
    files.write_json(path, record)


def _arrays(run, name, change):
    path = run.path / name
    arrays = files.read_arrays(path)
    change(arrays)
    files.write_arrays(path, arrays)


def _stability(run, **changes):
    content = {
        "schema": 1,
        "maps": list(range(COUNT)),
        "within": [0.5] * COUNT,
        "percentile": [90.0] * COUNT,
        "n_null": [11] * COUNT,
        "clusters": [[0, 0, 0]] * COUNT,
        "medoids": [[True, False, False]] * COUNT,
    }
    files.write_json(run.folder(0) / "stability.json", {**content, **changes})


def _dropped(name):
    return lambda record: record.pop(name)


def _weights(value):
    return lambda record: record["maps"][0]["kernels"][0].update(weights=value)


def _kernels(value):
    return lambda record: record["maps"][0].update(kernels=value)


LAYER = "layers/000/"
JSON = [
    ("run.json", _dropped("input")),
    ("run.json", lambda record: record["input"].pop("shape")),
    ("run.json", lambda record: record["input"].update(shape=[0, 3, 1])),
    ("run.json", lambda record: record["input"].update(shape=["a", "b", "c"])),
    ("run.json", lambda record: record.update(classes=5)),
    ("run.json", lambda record: record.update(settings=[1])),
    ("run.json", lambda record: record.update(data="x")),
    ("run.json", lambda record: record["layers"][0].update(objectives=["a"])),
    ("layers/000/ranking.json", lambda record: record.update(notices=3)),
    ("layers/000/kernels.json", _kernels({"a": 1})),
    ("layers/000/kernels.json", _kernels([3])),
    ("layers/000/kernels.json", _weights("<b>")),
    ("layers/000/kernels.json", _weights([["x"]])),
    ("record/record.json", lambda record: record.update(steps=["a", "b", "c", "d"])),
    ("record/record.json", lambda record: record.update(steps=3)),
]
ARRAYS = [
    ("responses.npz", _dropped("maps")),
    ("responses.npz", _dropped("best_scores")),
    ("responses.npz", _dropped("histogram")),
    ("responses.npz", lambda arrays: arrays.update(histogram=arrays["histogram"][:1])),
    ("responses.npz", lambda arrays: arrays.update(edges=arrays["edges"][0])),
    ("responses.npz", lambda arrays: arrays.update(best_scores=arrays["best_scores"][:, :2])),
    ("responses.npz", lambda arrays: arrays.update(maps=arrays["maps"][:, None])),
    ("softmax.npz", lambda arrays: arrays.update(maps=np.zeros((COUNT, 2), int))),
    ("softmax.npz", lambda arrays: arrays.update(maps=arrays["maps"].astype(str))),
    ("redundancy.npz", lambda arrays: arrays.update(maps=arrays["maps"][:, None])),
    ("redundancy.npz", lambda arrays: arrays.update(names=np.array("renyi"))),
]
STABILITY = [
    {"within": 3},
    {"within": [0.1]},
    {"within": ["x"] * COUNT},
    {"n_null": [1]},
    {"clusters": [[0]] * COUNT},
    {"medoids": None},
]


@pytest.fixture
def bare(full_run):
    """A run of a small layer only."""
    for path in (full_run.path / "layers/001").iterdir():
        path.unlink()
    return full_run


def _refused(run, name):
    with pytest.raises(RunError, match=name.rpartition("/")[2].replace(".", r"\.")):
        gallery.build(run.path, data_images=np.zeros((30, 12, 12, 1), np.uint8))
    assert not (run.path / "gallery").exists()


@pytest.mark.parametrize(("name", "change"), JSON)
def test_json_of_another_form(bare, name, change):
    _json(bare, name, change)
    _refused(bare, name)


@pytest.mark.parametrize(("name", "change"), ARRAYS)
def test_arrays_of_another_form(bare, name, change):
    _arrays(bare, LAYER + name, change)
    _refused(bare, name)


@pytest.mark.parametrize("changes", STABILITY)
def test_stability_of_another_form(bare, changes):
    _stability(bare, **changes)
    _refused(bare, "stability.json")


def test_stability_as_it_should_be_is_taken(bare):
    _stability(bare)
    assert gallery.build(bare).is_file()
