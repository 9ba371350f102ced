"""Shards of large images: small, exact enough, and read beside those of earlier versions."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from oip.ascent.reconstruction import Ascent
from oip.ascent.results import PER_MAP, SHARED
from oip.ascent.settings import ascent_settings, stored_settings
from oip.ascent.targets import MapTargets
from oip.core import files
from oip.core.errors import RunError
from oip.core.layer_formats import ShardFile
from oip.network.network import Network
from oip.run.check import verify_run
from oip.run.export import export_pictures
from oip.run.merge import merge_runs
from oip.run.reconstruct import reconstruct_layers
from oip.run.shards import layer_oips, read_best_images, read_shard, shard_record, write_shard

SIDE = 96


@pytest.fixture(scope="module")
def network():
    """A layer of four maps on color images of 96 pixels, 0 to 255."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    return Network(
        keras.Sequential(
            [
                layers.Input((SIDE, SIDE, 3)),
                layers.Normalization(mean=[120.0] * 3, variance=[60.0**2] * 3),
                layers.Conv2D(8, 5, strides=2, activation="relu"),
                layers.Conv2D(4, 5, strides=2, activation="relu"),
            ]
        )
    )


@pytest.fixture(scope="module")
def grow(network):
    """A function that grows some of the maps in memory."""

    def grown(preset="natural", maps=range(4), **changes):
        settings = ascent_settings(preset, starts=2, steps=8, screened=8, **changes)
        ascent = Ascent(network, MapTargets(network, network.layers[1]), settings)
        return ascent.grow(np.array(maps)), ascent.picture_ends

    return grown


@pytest.fixture(scope="module")
def natural(grow):
    return grow()


def scores(network, images):
    """Return the scores (m,) of best images (m, h, w, b), each of its own map."""
    pixels = images.astype(np.float32) * network.inputs.std + network.inputs.mean
    values = np.array(network.model(pixels.astype(np.float32))).mean((1, 2))
    return np.diagonal(values)


def write_old(path, oips, key):
    """Write a shard as versions of schema 2 did."""
    arrays = {"schema": np.array(2), "key": np.array(key)}
    for name in {*SHARED, *PER_MAP} - {"alpha"}:
        value = np.array(getattr(oips, name))
        arrays[name] = value.astype(np.float16) if name in ("images", "snapshots") else value
    files.write_arrays(path, arrays)


@pytest.mark.parametrize("preset", ["natural", "default"])
def test_the_score_that_is_read_back_is_that_of_the_image(network, grow, tmp_path, preset):
    oips, ends = grow(preset)
    path = tmp_path / "shard.npz"
    write_shard(path, oips, "key", ends)
    images = read_best_images(path)
    np.testing.assert_allclose(scores(network, images), oips.scores[:, 0], rtol=2e-4)
    np.testing.assert_array_equal(images, read_shard(path)[0].images[:, 0])


def test_pictures_of_256_levels_are_kept_as_they_are(natural, tmp_path):
    oips, ends = natural
    path = tmp_path / "shard.npz"
    write_shard(path, oips, "key", ends)
    result, key = read_shard(path)
    assert key == "key"
    np.testing.assert_allclose(result.images, oips.images, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result.snapshots[:, -1], result.images[:, 0])
    error = np.abs(result.snapshots.astype(float) - oips.snapshots)
    assert result.snapshots.shape == oips.snapshots.shape
    assert error.mean() < 0.4  # the noise in its colors
    for name in PER_MAP:
        if name not in ("images", "snapshots"):
            np.testing.assert_array_equal(getattr(result, name), getattr(oips, name))
    write_shard(tmp_path / "second.npz", oips, "key", ends)
    assert (tmp_path / "second.npz").read_bytes() == path.read_bytes()
    write_old(tmp_path / "old.npz", oips, "key")
    assert path.stat().st_size < (tmp_path / "old.npz").stat().st_size / 3


def test_shards_of_earlier_versions_are_read_beside_new_ones(natural, tmp_path):
    oips, ends = natural
    write_old(tmp_path / "old.npz", oips, "key")
    write_shard(tmp_path / "new.npz", oips, "key", ends)
    old, new = (read_shard(tmp_path / f"{name}.npz")[0] for name in ("old", "new"))
    np.testing.assert_allclose(old.images, new.images, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(old.snapshots, oips.snapshots)
    np.testing.assert_array_equal(read_best_images(tmp_path / "old.npz"), old.images[:, 0])
    assert read_shard(tmp_path / "old.npz", snapshots=False)[0].snapshots.shape[1] == 0


def test_a_run_of_large_images_is_whole_and_its_parts_make_it(network, tmp_path):
    layer = network.layers[1]
    settings = ascent_settings("natural", starts=2, steps=4, screened=8)
    runs = [
        reconstruct_layers(tmp_path / name, network, [(layer, np.array(maps))], settings)
        for name, maps in (("a", [0, 2]), ("b", [1, 3]), ("both", range(4)))
    ]
    merged = merge_runs([run.path for run in runs[:2]], tmp_path / "merged").run
    assert not [checked for checked in verify_run(merged) if checked.problem]
    parts, whole = (layer_oips(run, layer.index) for run in (merged, runs[2]))
    np.testing.assert_array_equal(parts.maps, whole.maps)
    np.testing.assert_array_equal(parts.images, whole.images)
    path = merged.shard(layer.index, 0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert [checked.file for checked in verify_run(merged) if checked.problem]


@pytest.mark.parametrize(
    "changes",
    [
        {"image_pictures": None},
        {"image_pictures": np.zeros(40, np.uint8)},
        {"snapshot_sizes": None},
        {"snapshot_ends": np.zeros((4, 1, 2, 3), np.float32)},
        {"image_ends": np.zeros((4, 2, 2, 1), np.float32)},
        {"best_rows": np.array([4]), "best_images": np.zeros((1, SIDE, SIDE, 3), np.float16)},
        {"best_rows": np.array([1])},
    ],
)
def test_odd_pictures_are_damage(natural, tmp_path, changes):
    oips, ends = natural
    record: ShardFile = msgspec.structs.replace(shard_record(oips, "key", ends), **changes)
    record.write(tmp_path / "odd.npz")
    with pytest.raises(RunError, match=r"odd\.npz"):
        read_shard(tmp_path / "odd.npz")


def test_without_snapshots_all_else_is_the_same(natural, grow, tmp_path):
    oips, ends = natural
    without, _ = grow(snapshots=0)
    for name in (*PER_MAP, *SHARED):
        if "snapshot" not in name:
            np.testing.assert_array_equal(getattr(without, name), getattr(oips, name))
    assert without.snapshots.shape == (4, 0, SIDE, SIDE, 3)
    path = tmp_path / "shard.npz"
    write_shard(path, without, "key", ends)
    result, _ = read_shard(path)
    assert result.snapshots.shape == without.snapshots.shape
    assert result.snapshot_steps.tolist() == []
    result[0].plot()
    assert export_pictures(result, tmp_path / "png", "png", None, 64)
    with pytest.raises(RunError, match="snapshots of it"):
        export_pictures(result, tmp_path / "webp", "webp", None, 64)
    assert not (tmp_path / "webp").exists()


def test_runs_of_earlier_settings_keep_their_keys():
    assert "snapshots" not in stored_settings(ascent_settings("natural"))
    assert stored_settings(ascent_settings("natural", snapshots=0))["snapshots"] == 0
