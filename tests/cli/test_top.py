import json

import numpy as np
import pytest


@pytest.fixture
def bars(small_images, tmp_path):
    """200 images with labels, 40 of them the test part."""
    images, labels = (np.tile(part, (5,) + (1,) * (part.ndim - 1)) for part in small_images)
    noise = np.random.default_rng(1).integers(0, 20, images.shape).astype(np.uint8)
    np.savez(tmp_path / "bars.npz", images=images + noise, labels=labels)
    return tmp_path / "bars.npz"


SMALL = ["--starts", "2", "--steps", "8", "--screened", "16", "--quiet"]


def test_the_most_informative_maps_are_reconstructed(call, small_file, bars, tmp_path):
    asked = ["reconstruct", small_file, "--data", bars, "--out", tmp_path / "run"]
    status, printed, _ = call(*asked, "--top", "3", "--by", "mi", *SMALL, "--json")
    assert status == 0
    told = json.loads(printed)["layers"]
    assert [len(layer["maps"]) for layer in told] == [3, 3]
    for layer in told:
        folder = tmp_path / "run" / "layers" / f"{layer['index']:03d}"
        ranking = json.loads((folder / "ranking.json").read_text())
        best = [one["map"] for one in ranking["estimators"][0]["maps"][:3]]
        assert sorted(best) == [one["map"] for one in layer["maps"]]
    status, again, _ = call(*asked, "--top", "3", *SMALL, "--json")
    assert [layer["maps"] for layer in json.loads(again)["layers"]] == [
        layer["maps"] for layer in told
    ]


def test_maps_that_separate_two_classes_are_reconstructed(
    call, small_file, bars, small_model, tmp_path
):
    from oip import mi, models

    asked = ["reconstruct", small_file, "second", "--data", bars, "--out", tmp_path / "run"]
    status, printed, _ = call(*asked, "--top", "2", "--by", "separates:0,3", *SMALL, "--json")
    assert status == 0
    found = [one["map"] for one in json.loads(printed)["layers"][0]["maps"]]
    data = models.load(bars, part="test")
    apart = mi.separating(small_model, data.images, data.labels, "second", 0, 3)
    assert found == sorted(apart.maps[:2].tolist())


def test_layers_without_a_finite_map_are_left_out_and_named(call, broken_file, bars, tmp_path):
    asked = ["--data", bars, "--top", "2", "--by", "separates:0,3", *SMALL[:-1], "--json"]
    status, printed, err = call("reconstruct", broken_file, "--out", tmp_path / "run", *asked)
    assert status == 1
    assert [layer["layer"] for layer in json.loads(printed)["layers"]] == ["first"]
    assert "responses of layer 'second'" in err
    alone = ["reconstruct", broken_file, "second", "--out", tmp_path / "none", *asked]
    status, _, err = call(*alone)
    assert (status, "finite numbers" in err) == (2, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--by", "mi"], "--top"),
        (["--top", "2"], "--data"),
        (["--top", "2", "--objective", "class:1", "--data", "x.npz"], "objectives"),
        (["--top", "2", "--by", "size", "--data", "x.npz"], "separates:CLASS,CLASS"),
        (["--top", "2", "--by", "separates:4", "--data", "x.npz"], "separates:CLASS,CLASS"),
        (["--top", "0"], "range"),
    ],
)
def test_what_does_not_go_together_is_refused(call, small_file, tmp_path, arguments, word):
    out = tmp_path / "run"
    status, printed, err = call("reconstruct", small_file, "--out", out, *arguments)
    assert (status, printed) == (2, "")
    assert word in err
    assert not out.exists()


def test_images_without_labels_cannot_be_ranked(call, small_file, small_images, tmp_path):
    path = tmp_path / "bare.npz"
    np.savez(path, images=small_images[0])
    for by in ("mi", "separates:0,1"):
        asked = ["reconstruct", small_file, "--data", path, "--out", tmp_path / "run"]
        status, _, err = call(*asked, "--top", "2", "--by", by, *SMALL)
        assert status == 2
        assert "labels" in err
        assert not (tmp_path / "run").exists()
