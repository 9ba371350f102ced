"""The positions of the atlas."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oip import gallery
from oip.gallery.atlas import GRID, LANDMARKS, alike_maps, layer_atlas, positions
from oip.gallery.cache import PictureKeys
from oip.gallery.read_run import read_layer


def _groups(count, groups, seed=0):
    random = np.random.default_rng(seed)
    own = np.arange(count) % groups
    points = np.eye(groups)[own] + 0.05 * random.normal(size=(count, groups))
    return points / np.linalg.norm(points, axis=1, keepdims=True), own


@pytest.mark.parametrize("count", [2, 4, 5, 60, LANDMARKS + 200])
def test_positions_are_the_same_each_time_and_in_range(count):
    points, _ = _groups(count, 4)
    plane = positions(points)
    assert plane.shape == (count, 2) and plane.dtype.kind == "i"
    assert plane.min() >= 0 and plane.max() == GRID
    if count <= 60:
        assert (plane == positions(points)).all()


@pytest.mark.parametrize("count", [60, LANDMARKS + 200])
def test_alike_maps_lie_close_together(count):
    points, own = _groups(count, 3)
    plane = positions(points).astype(float)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (own[distances.argmin(axis=1)] == own).mean() > 0.95


def test_layers_without_responses_have_no_atlas(maker, tmp_path):
    run = maker(tmp_path / "run", counts=(12, 500))
    layer = read_layer(run, 0)
    atlas = layer_atlas(layer, PictureKeys(None, "x"))
    assert atlas["maps"] == list(range(1, 12)), "the first one always responds the same"
    assert len(atlas["x"]) == len(atlas["y"]) == 11
    assert layer_atlas(read_layer(run, 1), PictureKeys(None, "x")) is None
    assert alike_maps(read_layer(run, 1)) == {}
    alike = alike_maps(layer)
    assert set(alike) == set(range(1, 12))
    values = [value for _, value in alike[3]]
    assert len(values) == 10 and values == sorted(values, reverse=True)
    assert 3 not in dict(alike[3])


def test_positions_are_kept_from_the_old_gallery(maker, tmp_path, monkeypatch):
    run = maker(tmp_path / "run")
    page = gallery.build(run)
    text = (page.parent / "data/atlas.js").read_text("utf-8")
    record = json.loads(text.split(",", 1)[1].rstrip().removesuffix(");"))
    assert set(record) == {"0", "1"} and len(record["1"]["maps"]) == 39

    def fail(points):
        raise AssertionError("embedded again")

    monkeypatch.setattr("oip.gallery.atlas.positions", fail)
    gallery.build(run)
    assert (page.parent / "data/atlas.js").read_text("utf-8") == text
