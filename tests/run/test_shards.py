"""A block of maps beside other processes that write to the same shard."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.run.shards import (
    finished_maps,
    grow_block,
    layer_oips,
    layer_parts,
    maps_in_shards,
    measure_stability,
    open_blocks,
    read_shard,
    refuse_other_shards,
    shard_key,
    stability_file,
    write_shard,
)


class Copier:
    """Grows maps by taking them from a finished run; does something else meanwhile."""

    picture_ends = None

    def __init__(self, run, meanwhile=None):
        self._oips = layer_oips(run, 1)
        self._meanwhile = meanwhile
        self.grown = []

    def grow(self, maps, report=None):

        self.grown.append(maps.tolist())
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        rows = np.flatnonzero(np.isin(self._oips.maps, maps))
        return self._oips.rows(rows)


@pytest.fixture
def empty(grown, tmp_path):
    return type(grown)(tmp_path / "empty", grown.record)


def test_maps_that_another_process_wrote_meanwhile_are_not_lost(grown, empty):
    def other():
        grow_block(empty, 1, Copier(grown), 0, np.array([5, 6]), "key")

    copier = Copier(grown, other)
    grow_block(empty, 1, copier, 0, np.array([1, 2]), "key")
    assert copier.grown == [[1, 2], [1, 2, 5, 6]]
    assert finished_maps(empty.shard(1, 0), "key").tolist() == [1, 2, 5, 6]


def test_what_another_process_finished_meanwhile_is_left_alone(grown, empty):
    def other():
        grow_block(empty, 1, Copier(grown), 0, np.array([1, 2]), "key")

    copier = Copier(grown, other)
    grow_block(empty, 1, copier, 0, np.array([1, 2]), "key")
    made = empty.shard(1, 0).stat().st_mtime_ns
    assert copier.grown == [[1, 2]]
    assert grow_block(empty, 1, copier, 0, np.array([2]), "key") is None
    assert empty.shard(1, 0).stat().st_mtime_ns == made


def test_only_valid_shards_of_the_key_count(grown, empty):
    assert [number for number, _ in open_blocks(empty, 1, np.arange(70), "key")] == [0, 1]
    grow_block(empty, 1, Copier(grown), 1, np.arange(64, 70), "key")
    grow_block(empty, 1, Copier(grown), 0, np.array([1, 2]), "key")
    (block,) = open_blocks(empty, 1, np.array([2, 3, 66]), "key")
    assert (block[0], block[1].tolist()) == (0, [1, 2, 3])
    assert len(open_blocks(empty, 1, np.array([2, 66]), "other")) == 2
    with pytest.raises(RunError, match="another way"):
        refuse_other_shards(empty, "other")
    path = empty.shard(1, 1)
    path.write_bytes(path.read_bytes()[:-130])
    assert finished_maps(path, "key").size == 0
    assert shard_key(path) is None
    refuse_other_shards(empty, "key")


def test_a_lock_keeps_others_off_until_it_is_given_back(tmp_path):
    pytest.importorskip("fcntl")
    order = []

    def second():
        with files.locked(tmp_path / "folder"):
            order.append("second")

    thread = threading.Thread(target=second)
    with files.locked(tmp_path / "folder"):
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert not list((tmp_path / "folder").iterdir())


def test_a_layer_comes_shard_by_shard_with_its_stability(grown):
    whole = layer_oips(grown, 1)
    parts = list(layer_parts(grown, 1, snapshots=False))
    assert [len(part) for part in parts] == [64, 6]
    for name in ("maps", "images", "scores", "stability", "null_percentile", "n_null"):
        values = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(values, getattr(whole, name))
    assert parts[0].snapshots.shape == (64, 0, 16, 16, 1)
    with pytest.raises(RunError, match="one of 0, 1"):
        next(layer_parts(grown, 7))


def test_stability_is_measured_again_when_maps_have_come(grown, copied):
    path = copied.shard(1, 1)
    oips, key = read_shard(path)
    path.unlink()
    (copied.folder(1) / "stability.json").unlink()
    measure_stability(copied, 1, 0)
    assert len(stability_file(copied, 1).maps) == 64
    write_shard(path, oips, key)
    assert stability_file(copied, 1) is None
    assert np.isnan(layer_oips(copied, 1).stability).all()  # of other maps than are there
    measure_stability(copied, 1, 0)
    assert maps_in_shards(copied, 1).tolist() == list(range(70))
    before, after = (run.folder(1) / "stability.json" for run in (grown, copied))
    assert before.read_bytes() == after.read_bytes()
    after.write_text("{")
    assert stability_file(copied, 1) is None


def test_a_shard_comes_back_bit_by_bit(grown, tmp_path):
    path = grown.shard(1, 0)
    oips, key = read_shard(path)
    write_shard(tmp_path / "again.npz", oips, key)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
