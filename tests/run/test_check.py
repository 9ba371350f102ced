"""Every file of a run is read, and what is wrong with it is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oip.core import files
from oip.run.check import verify_run
from oip.run.shards import read_shard, write_shard


def problems(run):
    return {each.file: each.problem for each in verify_run(run) if each.problem}


def test_a_whole_run_has_no_problems(grown):
    results = verify_run(grown)
    assert not problems(grown)
    assert {each.file for each in results} == {
        path.relative_to(grown.path).as_posix() for path in grown.path.rglob("*") if path.is_file()
    }
    assert all(each.read for each in results)


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
    unread = {each.file for each in verify_run(copied) if not each.read}
    assert unread == {"letter.txt", "layers/001/.writing-abc.npz"}
