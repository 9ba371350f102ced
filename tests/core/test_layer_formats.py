"""Files of a run's layer as today's version and the last one wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core import files, layer_formats
from oip.core.errors import RunError

MAP = {"map": 3, "rank": 1, "mi": 0.5, "p_value": None, "saturated": False, "per_class": [0.1, 0.2]}
RANKING = {"schema": 1, "key": "k", "layer": "a", "index": 0, "classes": ["x", "y"]}


def _written(path, values):
    files.write_json(path, values)
    return path


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
