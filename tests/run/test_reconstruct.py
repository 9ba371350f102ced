import json
import os
import shutil

import numpy as np
import pytest

from oip.ascent.settings import ascent_settings
from oip.core.errors import RunError
from oip.network.layer_spec import parse_selections
from oip.network.network import Network
from oip.run.check import verify_run
from oip.run.reconstruct import reconstruct_layers, summary
from oip.run.run import Run
from oip.run.shards import layer_oips, read_shard

SETTINGS = ascent_settings(steps=12, screened=24, starts=2)


def grow(out, network, texts=("second",), settings=SETTINGS, progress=None):
    chosen = parse_selections(network, texts)
    more = {} if progress is None else {"progress": progress}
    return reconstruct_layers(out, network, chosen, settings, **more)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def network(small_file):
    return Network(small_file)


@pytest.fixture(scope="module")
def finished(network, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    grow(out, network)
    return out


def test_a_run_holds_what_was_grown(finished, network):
    run = Run.open(finished)
    assert run.reconstructed() == [1]
    assert [path.name for path in run.shards(1)] == ["shard-0000.npz", "shard-0001.npz"]
    oips = layer_oips(run, 1)
    assert oips.images.shape == (70, 2, 16, 16, 1)
    assert np.isfinite(oips.null_percentile).any()
    assert run.record.model.name == "small.keras"
    assert str(finished) not in (finished / "run.json").read_text()
    report = summary(run, [1], 1.0)
    assert [row.map for row in report.layers[0].maps] == list(range(70))
    json.dumps(report.to_dict(), allow_nan=False)


def test_an_interrupted_run_goes_on_and_ends_the_same(finished, network, tmp_path):
    out = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop(label, done, total):
        if label == "second: maps" and done > 64:
            raise Stop

    with pytest.raises(Stop):
        grow(out, network, progress=stop)
    first = Run.open(out).shard(1, 0)
    made = first.stat().st_mtime_ns
    assert not Run.open(out).shard(1, 1).exists()
    grow(out, network)
    assert first.stat().st_mtime_ns == made
    assert contents(out) == contents(finished)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_done_again(finished, network, tmp_path, harm):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    path = Run.open(out).shard(1, 1)
    content = bytearray(path.read_bytes())
    if harm == "cut":
        content = content[: len(content) // 2]
    elif harm == "flip":
        content[len(content) // 2] ^= 4
    else:
        content = bytearray()
    path.write_bytes(content)
    with pytest.raises(RunError):
        read_shard(path)
    grow(out, network)
    assert contents(out) == contents(finished)


def test_more_maps_join_those_that_are_there(network, tmp_path):
    grow(tmp_path / "run", network, ["second:1,3"])
    grow(tmp_path / "run", network, ["second:5", "first:0"])
    run = Run.open(tmp_path / "run")
    assert run.reconstructed() == [0, 1]
    assert layer_oips(run, 1).maps.tolist() == [1, 3, 5]


def test_other_settings_and_other_models_are_refused(finished, network, small_model, tmp_path):
    before = contents(finished)
    with pytest.raises(RunError, match="made in another way") as error:
        grow(finished, network, settings=ascent_settings(steps=13, screened=24, starts=2))
    assert "expected steps 12; received steps 13. Choose another folder" in str(error.value)
    with pytest.raises(RunError, match="made in another way"):
        grow(finished, network, ["first"], ascent_settings(steps=5, screened=24, starts=2))
    import keras

    other = keras.models.clone_model(small_model)
    with pytest.raises(RunError, match="another model"):
        grow(finished, Network(other), ["first"])
    assert contents(finished) == before


def test_folders_that_are_no_runs_are_refused(network, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="other files"):
        grow(tmp_path, network)
    with pytest.raises(RunError, match=r"no run\.json"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text('{"kind": "oip-run", "schema": 1}')
    with pytest.raises(RunError, match="a run as oip writes it"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="something else"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        Run.open(tmp_path / "none")


def test_what_a_killed_process_left_is_no_hindrance(network, tmp_path):
    left = tmp_path / "run" / ".writing-abc.json"
    left.parent.mkdir()
    left.write_text("")
    grow(tmp_path / "run", network, ["first:0"])
    assert left.exists()
    os.utime(left, (0, 0))
    grow(tmp_path / "run", network, ["first:0"])
    assert not left.exists()


@pytest.mark.filterwarnings("ignore::oip.core.errors.Notice")
def test_each_file_that_is_missing_or_damaged_is_made_again(network, tmp_path):
    settings = ascent_settings(steps=3, screened=8, starts=2)
    run = grow(tmp_path / "run", network, ("second:0-2",), settings)
    whole = contents(run.path)
    assert {path.name for path in whole} == {
        *("run.json", "run.copy.json", "shard-0000.npz", "softmax.npz", "stability.json")
    }
    for path, content in whole.items():
        for harmed in (None, content[: len(content) // 2], content[:-9] + b"?" + content[-8:]):
            (run.path / path).unlink()
            if harmed is not None:
                (run.path / path).write_bytes(harmed)
            assert any(checked.problem for checked in verify_run(run))
            grow(run.path, network, ("second:0-2",), settings)
            assert contents(run.path) == whole, path


def test_a_damaged_shard_keeps_its_other_maps(network, tmp_path):
    settings = ascent_settings(steps=3, screened=8, starts=2)
    run = grow(tmp_path / "run", network, ("second:0-2,65",), settings)
    whole = contents(run.path)
    for number in (0, 1):
        run.shard(1, number).write_bytes(b"")
    grow(run.path, network, ("second:1",), settings)
    assert contents(run.path) == whole
