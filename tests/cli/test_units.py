"""Commands on units of layers that have no maps."""

import json
import re

import numpy as np
import pytest

QUICK = ("--starts", "1", "--steps", "4", "--screened", "8")


@pytest.fixture(scope="module")
def dense(small_model):
    return next(layer.name for layer in small_model.layers if "dense" in layer.name)


def test_all_layers_are_listed_after_those_with_maps(call, small_file, dense):
    status, out, _ = call("layers", small_file, "--json")
    assert status == 0 and "other_layers" not in json.loads(out)
    status, out, _ = call("layers", small_file, "--json", "--all")
    layers = json.loads(out)["other_layers"]
    kinds = {layer["layer"]: (layer["index"], layer["kind"], layer["maps"]) for layer in layers}
    assert status == 0 and kinds["pool"] == (4, "maps", 6) and kinds[dense] == (6, "units", 4)
    status, out, _ = call("layers", small_file, "--all")
    assert status == 0 and "4 units" in out and "everything" in out


def test_units_are_grown_ranked_and_shown_in_one_run(call, small_file, small_data, dense, tmp_path):
    run, data = tmp_path / "run", ("--data", f"{small_data}:all")
    status, out, _ = call("reconstruct", small_file, f"{dense}:0-2", *data, *QUICK, "--out", run)
    assert status == 0 and "unit" in out
    status, out, _ = call("rank", small_file, dense, *data, "--out", run, "--estimator", "kde")
    assert status == 0 and "unit" in out
    status, out, _ = call("reconstruct", small_file, "first:0", *data, *QUICK, "--out", run)
    assert status == 0
    record = json.loads((run / "run.json").read_text())
    assert [(layer["index"], layer.get("kind", "maps")) for layer in record["layers"]] == [
        (0, "maps"),
        (1, "maps"),
        (6, "units"),
    ]
    assert (run / "layers" / "006" / "shard-0000.npz").is_file()
    assert call("verify", run)[0] == 0
    status, _, _ = call("gallery", run)
    page = (run / "gallery" / "layers" / "006.html").read_text()
    assert status == 0 and "<dt>Units</dt>" in page and "everything" in page
    tiles = (run / "gallery" / "layers" / "006-p1.html").read_text()
    assert f"unit 1 of {dense}" in tiles and "all starts of its unit" in tiles
    assert "The most informative units" in page and not re.search(r"[> ]maps", page)
    index = (run / "gallery/index.html").read_text()
    assert "Random unit" in index and "the unit carries" in index


def test_orders_without_labels(call, small_file, small_images, dense, tmp_path):
    images = tmp_path / "bare.npz"
    np.savez(images, images=small_images[0])
    np.save(tmp_path / "numbers.npy", small_images[0][:, :8].mean((1, 2, 3)))
    call_rank = ("rank", small_file, dense, "--data", f"{images}:all")
    status, out, err = call(*call_rank, "--about", "none", "--out", tmp_path / "none")
    assert status == 0 and "no information about anything" in out and "kurtosis" in out
    target = ("--target", tmp_path / "numbers.npy", "--estimator", "kde", "--json")
    status, out, err = call(*call_rank, *target, "--out", tmp_path / "numbers")
    assert status == 0 and json.loads(out)["layers"][0]["about"] == "direction", err
    result = call(*call_rank, *target, "--out", tmp_path / "numbers")
    assert json.loads(result[1]) == json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["rank", "MODEL", "nowhere"], "one of first, second"),
        (["rank", "MODEL", "first", "--about", "direction"], "(--target)"),
        (["rank", "MODEL", "first", "--about", "none", "--kernels"], "the order alone"),
        (["rank", "MODEL", "first", "--about", "input", "--target", "x.npy"], "no such file"),
        (["rank", "MODEL", "DENSE", "--kernels"], "Dense"),
        (["rank", "MODEL", "DENSE", "--at", "block"], "pooling"),
        (["reconstruct", "MODEL", "DENSE:9"], "units of layer"),
        (["locate", "MODEL", "DENSE:0", "--translation"], "DENSE"),
    ],
)
def test_bad_input_is_exit_2(call, small_file, bars, dense, tmp_path, arguments, word):
    names = {"MODEL": small_file, "DENSE": dense, "DENSE:9": f"{dense}:9", "DENSE:0": f"{dense}:0"}
    arguments = [names.get(text, text) for text in arguments]
    status, printed, err = call(*arguments, "--data", bars, "--out", tmp_path / "out")
    assert (status, printed) == (2, "") and word.replace("DENSE", dense) in err, err
    assert "Traceback" not in err


def test_pixels_that_no_map_sees_are_named(call, tmp_path):
    import keras
    from keras import layers

    path = tmp_path / "patches.keras"
    for padding, unseen in (("valid", [2, 3]), ("same", [0, 0])):
        patches = layers.Conv2D(4, 4, 4, padding=padding, name="patches")
        end = [layers.GlobalAveragePooling2D(), layers.Dense(3)]
        keras.Sequential([layers.Input((10, 15, 1)), patches, *end]).save(path)
        assert json.loads(call("layers", path, "--json")[1])["unseen_end"] == unseen
        assert ("the last 2x3 of 10x15 pixels" in call("layers", path)[1]) == any(unseen)


def test_a_map_after_global_pooling_sees_everything(call, tmp_path):
    import keras
    from keras import layers

    path = tmp_path / "gate.keras"
    image = layers.Input((12, 12, 1))
    maps = layers.Conv2D(4, 3, name="maps")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(maps)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)
    end = layers.GlobalAveragePooling2D()(layers.Multiply()([maps, gate]))
    keras.Model(image, layers.Dense(3)(end)).save(path)
    lines = call("layers", path)[1].splitlines()
    assert any("gate" in line and "everything" in line for line in lines)
    assert not any(" maps " in line and "everything" in line for line in lines)


def test_a_network_of_lines_has_samples(call, tmp_path):
    import keras
    from keras import layers

    path = tmp_path / "lines.keras"
    parts = [layers.Input((15, 2)), layers.Conv1D(2, 2, strides=6), layers.Flatten()]
    keras.Sequential([*parts, layers.Dense(2)]).save(path)
    status, out, _ = call("layers", path)
    assert status == 0 and "samples between neighboring nodes" in out
    assert "of 15 samples" in out and "pixels" not in out
