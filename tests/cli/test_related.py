import json

import numpy as np
import pytest

from oip.gallery.read_run import layer_evidence
from oip.run.run import Run


@pytest.fixture
def bars(small_images, tmp_path):
    """The small images three times, with noise."""
    images, labels = small_images
    images, labels = np.concatenate([images] * 3), np.concatenate([labels] * 3)
    images = images + np.random.default_rng(0).integers(0, 20, images.shape).astype(np.uint8)
    path = tmp_path / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return f"{path}:train"


def test_kernels_and_redundancies_are_as_the_gallery_reads_them(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    asked = ("rank", small_file, "second:3,7", "--data", bars, "--out", out, "--quiet", "--json")
    status, printed, err = call(*asked, "--estimator", "kde", "--kernels", "--redundancy")
    assert (status, err) == (0, "")
    (told,) = json.loads(printed)["layers"]
    evidence = layer_evidence(Run.open(out), 1)
    assert [one["map"] for one in evidence.kernels["maps"]] == [3, 7]
    ranked = [one["map"] for one in told["estimators"][0]["maps"]]
    assert [one["map"] for one in told["kernels"]["maps"]] == ranked
    kernels = evidence.kernels["maps"][0]
    assert (kernels["of"], len(kernels["kernels"])) == (6, 6)
    values = [one["mi"] for one in kernels["kernels"]]
    assert values == sorted(values, reverse=True)
    assert np.shape(kernels["kernels"][0]["weights"]) == (3, 3)
    for number in (3, 7):
        picture = out / "layers" / "001" / f"kernels-{number:04d}.png"
        assert picture.read_bytes()[:4] == b"\x89PNG"
    assert evidence.redundancy.maps.tolist() == [3, 7]
    assert evidence.redundancy.pairs.shape == (10, 2, 2)
    assert told["redundancy"]["samples"] == 96
    assert call("verify", out)[0] == 0


def test_what_was_done_is_not_done_again_and_other_maps_are_added(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    rest = ("--data", bars, "--out", out, "--quiet", "--estimator", "kde", "--kernels")
    assert call("rank", small_file, "second:3", *rest)[0] == 0
    folder = out / "layers" / "001"
    first = (folder / "kernels-0003.png").stat().st_mtime_ns
    assert call("rank", small_file, "second:5", *rest)[0] == 0
    told = json.loads((folder / "kernels.json").read_text())
    assert [one["map"] for one in told["maps"]] == [3, 5]
    assert (folder / "kernels-0003.png").stat().st_mtime_ns == first
    assert call("rank", small_file, "second:5", *rest, "--seed", "1")[0] == 0
    told = json.loads((folder / "kernels.json").read_text())
    assert [one["map"] for one in told["maps"]] == [5]


def test_tables(call, small_file, bars, tmp_path):
    status, printed, _ = call(
        *("rank", small_file, "first", "--data", bars, "--out", tmp_path / "run", "--quiet"),
        *("--estimator", "kde", "--kernels", "--redundancy"),
    )
    assert status == 0
    assert "input channel" in printed
    assert "0 of 1" in printed
    assert "maps together" in printed


def test_layers_without_plain_kernels_are_refused_before_anything_is_written(call, bars, tmp_path):
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((16, 16, 1)), layers.DepthwiseConv2D(3, depth_multiplier=2), layers.Flatten()]
    )
    model.save(tmp_path / "deep.keras")
    out = tmp_path / "run"
    status, printed, err = call(
        "rank", tmp_path / "deep.keras", "--data", bars, "--out", out, "--kernels"
    )
    assert (status, printed) == (2, "")
    assert "plain convolution" in err
    assert not out.exists()
