"""Directions of a layer kept in a run, and taken by its commands as units."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import oip
from oip import mi
from oip.core.errors import ModelError, Notice, RunError
from oip.gallery.rerun_command import commands_again
from oip.network.layers import DirectionSet
from oip.run.check import verify_run
from oip.run.merge import merge_runs
from oip.workflows.directions import with_run_directions

QUICK = {"starts": 1, "steps": 4, "screened": 8}


@pytest.fixture(scope="module")
def run(small_file, bars, tmp_path_factory):
    """A run with three directions of `second`, grown and ranked beside some of its maps."""
    out = tmp_path_factory.mktemp("directions") / "run"
    images, labels = bars
    directions = oip.directions_into(out, small_file, "second", data=images, count=3)
    oip.reconstruct_into(out, small_file, ["second+nmf", "second:0-3"], data=images, **QUICK)
    ranked = oip.rank_into(
        out, small_file, "second+nmf", data=images, labels=labels, estimators=["ksg"]
    )
    return out, directions, list(ranked)


def test_directions_are_grown_and_ranked_as_maps_are(run, small_file, bars):
    out, directions, ranked = run
    network = with_run_directions(oip.Network(small_file), out)
    layer = network.find("second+nmf")
    assert (layer.maps, layer.noun, layer.size) == (3, "direction", network.find("second").size)
    assert network.find(f"@{layer.index}") is layer
    oips = oip.layer_oips(oip.Run.open(out), layer.index)
    assert oips.layer == "second+nmf" and len(oips) == 3
    grown = oips.images[0, 0] * oips.std + oips.mean
    response = oip.responses(network, grown[None], "second").values.reshape(70, -1)
    along = directions.weights[0] @ response
    assert along.mean() == pytest.approx(oips.scores[0, 0], rel=0.02)
    (layer_ranking,) = ranked
    assert sorted(layer_ranking.maps) == [0, 1, 2]
    assert all(not checked.problem for checked in verify_run(oip.Run.open(out)))


def test_the_response_is_that_along_the_direction(run, small_file, bars):
    out, directions, _ = run
    network = with_run_directions(oip.Network(small_file), out)
    images = bars[0][:20]
    along = oip.responses(network, images, "second+nmf").values
    maps = oip.responses(network, images, "second").values
    expected = np.einsum("km,nm...->nk...", directions.weights, maps)
    np.testing.assert_allclose(along, expected, rtol=1e-4, atol=1e-3)
    ranking = mi.rank(network, images, np.arange(20) % 2, "second+nmf", estimators="ksg")
    assert len(ranking.order) == 3


def test_a_direction_that_can_be_negative_is_never_silent(small_file):
    network = oip.Network(small_file)
    base = network.find("second")
    weights = np.eye(base.maps, dtype=np.float32)[:2]
    for sign in (1, -1):
        name = f"second+nmf{sign}"
        signed = weights * [[1], [sign]]
        layer = network.with_directions([DirectionSet("second", name, 20, signed)]).find(name)
        assert layer.can_be_inactive == (base.can_be_inactive and sign > 0)


def test_the_same_call_finds_the_same_and_another_is_refused(run, small_file, bars):
    out, directions, _ = run
    repeated = oip.directions_into(out, small_file, "second", data=bars[0], count=3)
    np.testing.assert_array_equal(repeated.weights, directions.weights)
    assert repeated.explained == pytest.approx(directions.explained)
    with pytest.raises(RunError, match="the same images and settings"):
        oip.directions_into(out, small_file, "second", data=bars[0], count=2)
    other = oip.directions_into(out, small_file, "second", data=bars[0], count=2, method="pca")
    network = with_run_directions(oip.Network(small_file), out)
    assert [layer.name for layer in network.direction_layers] == ["second+nmf", "second+pca"]
    assert other.method == "pca"


def test_a_damaged_file_is_left_out_and_made_again(run, small_file, bars, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    network = oip.Network(small_file)
    paths = sorted((tmp_path / "run/layers").glob("*/directions.npz"))
    path = paths[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    name = path.relative_to(tmp_path / "run").as_posix()
    (lost,) = commands_again(oip.Run.open(tmp_path / "run"), [name])
    assert lost.startswith("oip directions small.keras second --data")
    assert lost.endswith(f"--method nmf --count 3 --out {tmp_path / 'run'}")
    with pytest.warns(Notice, match="damaged"):
        left = with_run_directions(network, tmp_path / "run").direction_layers
    assert "second+nmf" not in [layer.name for layer in left]
    with pytest.warns(Notice, match="damaged"), pytest.warns(Notice, match="was lost"):
        oip.directions_into(tmp_path / "run", small_file, "second", data=bars[0], count=3)
    assert path.read_bytes() == whole
    assert sorted((tmp_path / "run/layers").glob("*/directions.npz")) == paths


def test_directions_are_of_one_run(small_file, bars, tmp_path):
    with pytest.raises(ModelError, match=r"second\+nmf"):
        oip.reconstruct_into(tmp_path / "run", small_file, "second+nmf", data=bars[0], **QUICK)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError):
        oip.directions_into(tmp_path / "run", small_file, "third", data=bars[0])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("dear")
    with pytest.raises(RunError):
        oip.directions_into(tmp_path / "mine", small_file, "second", data=bars[0])
    assert not (tmp_path / "run").exists()


def test_rankings_along_directions_that_were_lost_are_made_again(run, small_file, bars, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    (path,) = (tmp_path / "run/layers").glob("*/ranking.json")
    before = path.read_bytes()
    (path.parent / "directions.npz").unlink()
    images, labels = bars
    more = {"count": 3, "seed": 5, "samples": 12}
    with pytest.warns(Notice, match="only if data and settings are as they were"):
        oip.directions_into(tmp_path / "run", small_file, "second", data=images, **more)
    oip.rank_into(
        tmp_path / "run", small_file, "second+nmf", data=images, labels=labels, estimators=["ksg"]
    )
    assert path.read_bytes() != before


def test_two_processes_that_find_directions_do_not_take_one_place(
    small_file, bars, tmp_path, monkeypatch
):
    from oip.workflows import directions as workflow

    def other_process_is_faster(*arguments, **more):
        monkeypatch.setattr(workflow, "directions", mi.directions)
        oip.directions_into(tmp_path / "run", small_file, "second", data=bars[0], count=2)
        return mi.directions(*arguments, **more)

    monkeypatch.setattr(workflow, "directions", other_process_is_faster)
    more = {"data": bars[0], "count": 2, "method": "pca"}
    oip.directions_into(tmp_path / "run", small_file, "second", **more)
    network = with_run_directions(oip.Network(small_file), tmp_path / "run")
    names = [layer.name for layer in network.direction_layers]
    assert names == ["second+nmf", "second+pca"]
    assert set(names) <= {layer.name for layer in oip.Run.open(tmp_path / "run").layers}


def test_runs_with_different_directions_are_not_merged(run, small_file, bars, tmp_path):
    other = tmp_path / "other"
    oip.directions_into(other, small_file, "second", data=bars[0], count=3, method="pca")
    oip.reconstruct_into(other, small_file, "second+pca", data=bars[0], **QUICK)
    with pytest.raises(RunError, match=r"directions 'second\+nmf'.* received 'second\+pca'"):
        merge_runs([run[0], other], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
