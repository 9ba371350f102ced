"""Two runs side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oip.core.errors import RunError
from oip.run.compare import compare_runs
from oip.run.shards import layer_oips


def ranked(run, values):
    maps = [{"map": number, "mi": mi, "rank": place} for place, (number, mi) in enumerate(values)]
    told = {"estimators": [{"estimator": "decoder", "maps": maps}]}
    (run.folder(0) / "ranking.json").write_text(json.dumps(told))


def test_a_run_is_like_itself(grown):
    told = compare_runs(grown, grown)
    assert told["same_model"] is True
    assert [layer["layer"] for layer in told["layers"]] == ["first", "second"]
    layer = told["layers"][1]
    assert layer["same_verdict"] == 70
    assert layer["median_similarity"] == pytest.approx(1.0, abs=1e-3)
    assert layer["score_correlation"] == pytest.approx(1.0)
    assert layer["mi_correlation"] is None
    blocks = {one["map"]: one["percentile"] for one in layer["maps"]}
    assert min(blocks[number] for number in range(64)) > 90
    assert blocks[66] is None  # five others are too few
    json.dumps(told, allow_nan=False)


def test_other_seeds_grow_other_images_of_the_same_maps(grown, make_run, tmp_path):
    other = make_run(tmp_path / "seed", "second:0-30", seed=4)
    told = compare_runs(grown, other)
    (layer,) = told["layers"]
    assert [one["map"] for one in layer["maps"]] == list(range(31))
    for one in layer["maps"]:
        first, second = (layer_oips(run, 1)[one["map"]] for run in (grown, other))
        assert one["scores"] == pytest.approx([first.score, second.score])
        assert one["verdicts"] == [first.verdict, second.verdict]
        centre = float((first.image * second.image).sum())
        plain = centre / np.sqrt((first.image**2).sum() * (second.image**2).sum())
        assert plain - 1e-3 <= one["similarity"] <= 1.0
    assert layer["median_similarity"] < 0.999


def test_rankings_are_compared_where_the_estimator_is_one(copied, make_run, tmp_path):
    other = make_run(tmp_path / "other", "first")
    ranked(copied, [(0, 0.9), (2, 0.5), (1, 0.1)])
    ranked(other, [(0, 0.8), (1, 0.4), (2, None)])
    layer = compare_runs(copied, other)["layers"][0]
    by_map = {one["map"]: one for one in layer["maps"]}
    assert (by_map[1]["mi"], by_map[1]["ranks"]) == ([0.1, 0.4], [2, 1])
    assert layer["mi_correlation"] is None  # two pairs are no order
    ranked(other, [(0, 0.8), (1, 0.4), (2, 0.2)])
    layer = compare_runs(copied, other)["layers"][0]
    assert layer["mi_correlation"] == pytest.approx(0.5)  # ranks 3 1 2 against 3 2 1
    assert layer["estimator"] == "decoder"


def test_runs_that_have_nothing_in_common_are_refused(copied, make_run, tmp_path):
    first = make_run(tmp_path / "a", "first")
    second = make_run(tmp_path / "b", "second:0")
    with pytest.raises(RunError, match="both have"):
        compare_runs(first, second)
    copied.info["input"]["shape"] = [32, 32, 1]
    with pytest.raises(RunError, match="shape"):
        compare_runs(first, copied)
