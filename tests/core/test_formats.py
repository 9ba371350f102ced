"""Files of runs, training records and models."""

from __future__ import annotations

import pytest

from oip.core import files, formats
from oip.core.errors import Notice, RunError

LAYER = {
    "index": 0,
    "layer": "conv",
    "class": "Conv2D",
    "maps": 4,
    "size": [5, 5],
    "receptive_field": [3, 3],
    "jump": [1, 1],
    "offset": [1, 1.5],
    "activation": "relu",
}
RUN = {
    "schema": 1,
    "kind": "oip-run",
    "model": {"name": "m.keras", "sha256": "5"},
    "input": {
        **{"shape": [8, 8, 1], "mean": [0.0], "std": [1.0], "low": None, "high": None},
        **{"source": "assumed", "bgr": False},
    },
    "layers": [LAYER],
    "settings": {"reconstruct": {"starts": 4, "blur_end": None}},
    "versions": {"python": "3.11"},
}


def _written(path, values):
    files.write_json(path, values)
    return path


def test_a_run_keeps_its_keys_and_numbers(tmp_path):
    path = _written(tmp_path / "run.json", RUN)
    run = formats.RunFile.read(path)
    assert (run.layers[0].name, run.layers[0].layer_class, run.layers[0].objectives) == (
        *("conv", "Conv2D"),
        None,
    )
    assert run.settings.rank is None and run.classes is None
    before = path.read_bytes()
    run.write(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("shape", [[], [4], [0, 4, 1], ["a", "b", "c"], [1, 2, 3, 4]])
def test_an_input_has_a_shape(tmp_path, shape):
    path = _written(tmp_path / "run.json", {**RUN, "input": {**RUN["input"], "shape": shape}})
    with pytest.raises(RunError, match=r"run\.json.*shape|run\.json.*\$.input"):
        formats.RunFile.read(path)


def test_a_training_record_has_a_number_for_each_step(tmp_path):
    layer = {"index": 0, "layer": "a", "maps": 2, "input": [None, None], "label": [0.0, 1.0]}
    values = {
        **{"schema": 1, "estimator": "kde", "name_shown": "", "samples": 9, "split": ""},
        **{"label_ceiling": 1.0, "input_ceiling": None, "steps": [0, 5], "layers": [layer]},
    }
    path = _written(tmp_path / "record.json", values)
    record = formats.TrainingRecordFile.read(path)
    assert "accuracy" not in record.to_dict() and record.to_dict()["input_ceiling"] is None
    for change in ({"steps": [0]}, {"steps": ["a", "b"]}, {"layers": [{**layer, "label": [1]}]}):
        _written(path, {**values, **change})
        with pytest.raises(RunError, match=r"record\.json"):
            formats.TrainingRecordFile.read(path)


def test_a_sidecar_may_say_little(tmp_path):
    values = {"kind": "oip-model", "input": {"mean": [1, 2], "std": [0.5]}, "classes": [0, "b"]}
    sidecar = formats.SidecarFile.read(_written(tmp_path / "m.oip.json", values))
    assert sidecar.input is not None and sidecar.input.mean == [1.0, 2.0]
    sidecar.write(tmp_path / "m.oip.json")
    assert set(files.read_json(tmp_path / "m.oip.json")) == {"schema", "kind", "input", "classes"}


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("input", {"low": 255.0, "high": 0.0}, "low to high"),
        ("input", {"std": [0.0]}, "above 0"),
        ("input", {"mean": [0.0, 1.0]}, "values of 'mean'"),
        ("input", {"mean": "0"}, "mean"),
        ("model", {"sha256": None}, "sha256"),
        ("layers", [LAYER, LAYER], "two layers"),
        ("layers", [{**LAYER, "index": -1}], "not a layer"),
        ("layers", [{"index": 0}], "layer"),
    ],
)
def test_a_run_changed_by_hand_is_one_line(tmp_path, part, change, reason):
    values = {**RUN, part: {**RUN[part], **change} if isinstance(change, dict) else change}
    with pytest.raises(RunError, match=reason):
        formats.RunFile.read(_written(tmp_path / "run.json", values))
    del values[part]
    if part != "input":
        with pytest.raises(RunError, match=part):
            formats.RunFile.read(_written(tmp_path / "run.json", values))


def test_a_batch_and_a_sidecar_changed_by_hand_are_one_line(tmp_path):
    run = {"run": "../0000", "model": "m", "sha256": "5", "key": "6", "settings": {}}
    values = {"schema": 1, "kind": "oip-batch", "runs": [{**run, "layers": [], "ranked": False}]}
    with pytest.raises(RunError, match="not the name of a run"):
        formats.BatchFile.read(_written(tmp_path / "batch.json", values))
    values = {"kind": "oip-model", "input": {"low": 2, "high": 1}}
    with pytest.raises(RunError, match="low to high"):
        formats.SidecarFile.read(_written(tmp_path / "m.oip.json", values))


def test_a_damaged_run_is_read_from_its_copy(tmp_path):
    path = tmp_path / "run.json"
    run = formats.RunFile.read(_written(path, RUN))
    run.write(path)
    assert run.is_at(path)
    for harm in (path.unlink, lambda: path.write_bytes(path.read_bytes()[:-9])):
        harm()
        assert not run.is_at(path)
        with pytest.warns(Notice, match=r"run\.copy\.json"):
            assert formats.RunFile.read_either(path) == run
        run.write(path)
    _written(path, {**RUN, "model": 5})  # changed by hand, not damaged
    with pytest.raises(RunError, match="model"):
        formats.RunFile.read_either(path)
