"""Files of runs, records, batches and models as today's version and the last one wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core import files, formats, layer_formats
from oip.core.errors import RunError

MAP = {"map": 3, "rank": 1, "mi": 0.5, "p_value": None, "saturated": False, "per_class": [0.1, 0.2]}
RANKING = {"schema": 1, "key": "k", "layer": "a", "index": 0, "classes": ["x", "y"]}
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
    assert (run.layers[0].name, run.layers[0].kind, run.layers[0].objectives) == (
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


def test_rankings_of_the_last_schema_know_held_out_bounds_by_their_names(tmp_path):
    names = ("predictive", "decoder", "kde", "mine")
    tables = [{"estimator": name, "parameters": {}, "maps": [MAP]} for name in names]
    path = _written(tmp_path / "ranking.json", {**RANKING, "estimators": tables})
    ranking = layer_formats.RankingFile.read(path)
    assert [table.held_out for table in ranking.estimators] == [True, True, False, False]
    ranking.write(path)
    assert files.read_json(path)["schema"] == 2
    assert layer_formats.RankingFile.read(path) == ranking
    assert ranking.estimators[0].maps[0].per_class == [0.1, 0.2]
    assert not {"schema", "key", "data_sha256"} & set(ranking.public_dict())


def test_a_ranking_says_itself_which_bounds_are_held_out(tmp_path):
    table = {"estimator": "kde", "held_out": True, "maps": []}
    values = {**RANKING, "schema": 2, "estimators": [table]}
    path = _written(tmp_path / "ranking.json", values)
    assert layer_formats.RankingFile.read(path).estimators[0].held_out


@pytest.mark.parametrize("estimators", [None, 3, [3], [{}], [{"estimator": "kde", "maps": 3}]])
def test_damaged_rankings(tmp_path, estimators):
    path = _written(tmp_path / "ranking.json", {**RANKING, "estimators": estimators})
    with pytest.raises(RunError, match=r"ranking\.json"):
        layer_formats.RankingFile.read(path)


def test_stability_has_a_row_for_each_map(tmp_path):
    values = {
        **{"schema": 1, "maps": [0, 2], "within": [0.5, None], "percentile": [90.0, None]},
        **{"n_null": [11, 0], "clusters": [[0], [0]], "medoids": [[True], [False]]},
    }
    path = _written(tmp_path / "stability.json", values)
    assert layer_formats.StabilityFile.read(path).within == [0.5, None]
    for name, value in (("within", [1.0]), ("n_null", [1.5, 2]), ("medoids", None)):
        _written(path, {**values, name: value})
        with pytest.raises(RunError, match=name):
            layer_formats.StabilityFile.read(path)


def test_responses_of_the_last_version_have_no_schema(tmp_path):
    arrays = {
        "maps": np.arange(2),
        "best_images": np.zeros((2, 9), int),
        "best_scores": np.zeros((2, 9), np.float32),
        "best_positions": np.zeros((2, 9, 2), np.int32),
        "edges": np.zeros((2, 25), np.float32),
        "histogram": np.zeros((2, 4, 24), np.int32),
        "active": np.zeros(2, np.float32),
    }
    path = tmp_path / "responses.npz"
    files.write_arrays(path, arrays)
    responses = layer_formats.ResponsesFile.read(path)
    responses.write(path)
    assert files.read_array(path, "schema") == 1
    assert layer_formats.ResponsesFile.read(path).histogram.shape == (2, 4, 24)


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
