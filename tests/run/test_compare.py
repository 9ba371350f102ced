"""Two runs side by side."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from oip.core.errors import RunError
from oip.core.layer_formats import EstimatorRecord, MapInformation, RankingFile
from oip.run.compare import compare_runs
from oip.run.run import Run
from oip.run.shards import layer_oips


def ranked(run, values, **options):
    maps = [
        MapInformation(map=number, mi=mi, rank=rank) for rank, (number, mi) in enumerate(values)
    ]
    table = EstimatorRecord(estimator="decoder", held_out=True, maps=maps)
    ranking = RankingFile(layer="first", index=0, estimators=[table], **options)
    ranking.write(run.folder(0) / "ranking.json")


def test_a_run_is_like_itself(grown):
    comparison = compare_runs(grown, grown)
    assert comparison.same_model is True
    assert [layer.layer for layer in comparison.layers] == ["first", "second"]
    layer = comparison.layers[1]
    assert layer.same_verdict == 70
    assert layer.median_similarity == pytest.approx(1.0, abs=1e-3)
    assert layer.score_correlation == pytest.approx(1.0)
    assert layer.mi_correlation is None
    percentiles = {entry.map: entry.percentile for entry in layer.maps}
    assert min(percentiles[number] for number in range(64)) > 90
    assert percentiles[66] is None  # five peers are too few
    json.dumps(comparison.to_dict(), allow_nan=False)
    assert "second (70 maps)" in repr(comparison)
    table = comparison.to_pandas()
    assert (table["verdicts:1"] == table["verdicts:2"]).all() and len(table) == 76


def test_other_seeds_grow_other_images_of_the_same_maps(grown, make_run, tmp_path):
    other = make_run(tmp_path / "seed", "second:0-30", seed=4)
    (layer,) = compare_runs(grown, other).layers
    assert [entry.map for entry in layer.maps] == list(range(31))
    parts = [layer_oips(run, 1) for run in (grown, other)]
    for entry in layer.maps:
        first, second = (part[entry.map] for part in parts)
        assert entry.scores == pytest.approx([first.score, second.score])
        assert entry.verdicts == (first.verdict, second.verdict)
        centre = float((first.image * second.image).sum())
        plain = centre / np.sqrt((first.image**2).sum() * (second.image**2).sum())
        assert plain - 1e-3 <= entry.similarity <= 1.0
    assert layer.median_similarity < 0.999


def test_rankings_are_compared_where_the_estimator_is_one(copied, make_run, tmp_path):
    other = make_run(tmp_path / "other", "first")
    ranked(copied, [(0, 0.9), (2, 0.5), (1, 0.1)])
    ranked(other, [(0, 0.8), (1, 0.4), (2, None)])
    layer = compare_runs(copied, other).layers[0]
    by_map = {entry.map: entry for entry in layer.maps}
    assert (by_map[1].mi, by_map[1].ranks) == ((0.1, 0.4), (2, 1))
    assert layer.mi_correlation is None  # two pairs are no order
    ranked(other, [(0, 0.8), (1, 0.4), (2, 0.2)])
    layer = compare_runs(copied, other).layers[0]
    assert layer.mi_correlation == pytest.approx(0.5)  # ranks 3 1 2 against 3 2 1
    assert layer.estimator == "decoder"
    ranked(other, [(0, 0.8), (1, 0.4), (2, 0.2)], about="input")
    layer = compare_runs(copied, other).layers[0]
    assert (layer.estimator, layer.mi_correlation) == (None, None)
    assert {entry.mi for entry in layer.maps} == {None}


def test_runs_that_have_nothing_in_common_are_refused(copied, make_run, tmp_path):
    first = make_run(tmp_path / "a", "first")
    second = make_run(tmp_path / "b", "second:0")
    with pytest.raises(RunError, match="both have"):
        compare_runs(first, second)
    other = msgspec.structs.replace(copied.record.input, shape=[32, 32, 1])
    changed = Run(copied.path, msgspec.structs.replace(copied.record, input=other))
    with pytest.raises(RunError, match="shape"):
        compare_runs(first, changed)
