"""Every file of a run is read, and what is wrong with it is named."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.core.formats import CausesFile
from oip.core.layer_formats import RedundancyFile
from oip.run.check import repair_run, run_status, verify_run
from oip.run.run import clear_leftovers, leftovers
from oip.run.shards import layer_oips, read_shard, write_shard


def problems(run):
    return {checked.file: checked.problem for checked in verify_run(run) if checked.problem}


def test_a_whole_run_has_no_problems(grown):
    results = verify_run(grown)
    assert not problems(grown)
    assert {result.file for result in results} == {
        path.relative_to(grown.path).as_posix() for path in grown.path.rglob("*") if path.is_file()
    }
    assert all(result.read for result in results)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_damage_is_found(copied, harm, share):
    path = copied.shard(1, 0)
    content = bytearray(path.read_bytes())
    where = int(share * len(content))
    if harm == "cut":
        content = content[:where]
    else:
        content[where] ^= 2
    path.write_bytes(content)
    assert list(problems(copied)) == ["layers/001/shard-0000.npz"]


def changed(run, **values):
    path = run.shard(1, 1)
    oips, key = read_shard(path)
    write_shard(path, replace(oips, **values), key)
    return problems(run).get("layers/001/shard-0001.npz", "")


def test_shards_that_do_not_fit_the_run_are_named(copied):
    oips, key = read_shard(copied.shard(1, 1))
    assert "another block" in changed(copied, maps=oips.maps - 64)
    assert "out of order" in changed(copied, maps=oips.maps[::-1])
    assert "of a layer of 70" in changed(copied, maps=oips.maps + 50)
    assert "of layer @0" in changed(copied, index=0)
    assert "shape" in changed(copied, images=oips.images[..., :8, :])
    assert "verdicts" in changed(copied, verdict_codes=oips.verdict_codes + 9)
    broken = oips.images.copy()
    broken[0, 0] = np.inf
    assert "finite" in changed(copied, images=broken)
    write_shard(copied.shard(1, 1), oips, "f" * 64)
    assert "another way" in problems(copied)["layers/001/shard-0001.npz"]
    write_shard(copied.shard(1, 1), oips, key)
    assert not problems(copied)


def test_other_files_are_held_against_the_run_too(copied):
    folder = copied.folder(1)
    stable = folder / "stability.json"
    record = files.read_json(stable)
    files.write_json(stable, {**record, "maps": record["maps"][:-1]})
    assert "values of" in problems(copied)["layers/001/stability.json"]
    stable.write_text("{}")
    assert "schema 1" in problems(copied)["layers/001/stability.json"]
    files.write_json(stable, record)
    (folder / "ranking.json").write_text('{"index": 0, "estimators": []}')
    (folder / "responses.npz").write_bytes(b"no archive")
    (folder / "kernels.json").write_text("{")
    (folder / ".writing-abc.npz").write_bytes(b"")
    (copied.path / "letter.txt").write_text("dear")
    assert set(problems(copied)) == {
        f"layers/001/{name}" for name in ("ranking.json", "responses.npz", "kernels.json")
    }
    unread = {checked.file for checked in verify_run(copied) if not checked.read}
    assert unread == {"letter.txt", "layers/001/.writing-abc.npz"}


def test_causes_of_another_layer_are_named(copied):
    CausesFile(layer="first", index=0, units=[]).write(copied.folder(1) / "causes.json")
    assert "of layer @0" in problems(copied)["layers/001/causes.json"]


def test_a_redundancy_of_another_layer_is_named(copied):
    about = {"parameters": {}, "unit": "bits", "samples": 9, "split": "", "at": "response"}
    rows = {"notices": [], "maps": [], "clusters": [], "together": []}
    record = RedundancyFile(layer="first", index=0, **about, **rows)
    record.write(copied.folder(1) / "redundancy.json")
    assert "of layer @0" in problems(copied)["layers/001/redundancy.json"]


def test_files_that_a_command_noted_are_missed(copied):
    copied.note_made(1, "ablation.json")
    copied.note_made(1, "ablation.json")
    copied.note_made(0, "kernels.json")
    run = type(copied).open(copied.path)
    assert run.record.made == {"000": ["kernels.json"], "001": ["ablation.json"]}
    assert problems(run) == {
        "layers/000/kernels.json": "missing",
        "layers/001/ablation.json": "missing",
    }


def test_rows_of_stability_fit_the_shards(copied):
    path = copied.folder(1) / "stability.json"
    record = files.read_json(path)
    files.write_json(path, {**record, "clusters": [row[:-1] for row in record["clusters"]]})
    assert "one length" in problems(copied)["layers/001/stability.json"]
    with pytest.raises(RunError, match="one length"):
        layer_oips(copied, 1)
    for name in ("clusters", "medoids"):
        record[name] = [[*row, row[0]] for row in record[name]]
    files.write_json(path, record)
    assert "number of starts" in problems(copied)["layers/001/stability.json"]
    with pytest.raises(RunError, match="2 starts of each map"):
        layer_oips(copied, 1)
    assert repair_run(copied) == ["layers/001/stability.json"]
    assert not problems(copied)


def test_the_status_names_records_that_cannot_be_read(copied):
    for name in ("stability.json", "ranking.json"):
        (copied.folder(1) / name).write_text("{")
    first, second = run_status(copied).layers
    assert (first.damaged, second.damaged) == ([], ["ranking.json", "stability.json"])
    assert second.has_problems and not second.ranked and not second.stability


def test_a_run_may_be_named_by_its_path(copied):
    path = copied.path
    for name in (path, str(path)):
        assert run_status(name).to_dict() == run_status(copied).to_dict()
        assert verify_run(name) == verify_run(copied)
    (copied.folder(1) / "stability.json").unlink()
    assert repair_run(str(path)) == ["layers/001/stability.json"]


def test_leftovers_of_killed_processes_are_cleared(copied):
    old = copied.folder(1) / ".writing-old.npz"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    new = copied.folder(1) / ".writing-new.npz"
    new.write_bytes(b"")
    left, alive = (copied.path / f".gallery-{n}-abcdef12" for n in (1, 2))
    left.mkdir()
    with files.locked(alive):
        assert set(leftovers(copied.path)) == {old, left}
        assert not problems(copied)
        type(copied).open(copied.path, tidy=False)
        assert left.exists()
        type(copied).open(copied.path)
        assert not left.exists() and alive.exists() and old.exists()
        assert clear_leftovers(copied.path) == [old]
    assert new.exists()
    # killed between the two renames of a build, which the next command undoes
    left.with_name(left.name + "-old").mkdir()
    type(copied).open(copied.path)
    assert [path.name for path in copied.path.glob("*gallery*")] == ["gallery"]


def test_files_that_are_no_plain_files_are_named(copied):
    shard = copied.shard(1, 1)
    shard.unlink()
    shard.symlink_to(shard.name)  # itself
    pipe = copied.folder(0) / "stability.json"
    pipe.unlink()
    os.mkfifo(pipe)
    assert {"layers/001/shard-0001.npz", "layers/000/stability.json"} <= problems(copied).keys()


@pytest.mark.parametrize("name", ["shard-0000.npz", "legibility.json", "kernels-0001.png"])
def test_a_folder_in_place_of_a_file_is_found(copied, name):
    path = copied.folder(1) / name
    path.unlink(missing_ok=True)
    path.mkdir()
    assert "a folder" in problems(copied)[f"layers/001/{name}"]
