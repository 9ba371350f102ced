import json
import re

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """160 images with a bar at one of four heights."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 60, (160, 16, 16, 1)).astype(np.uint8)
    labels = np.arange(160) % 4
    for image, label in zip(images, labels, strict=True):
        image[2 + 3 * label : 4 + 3 * label, 3:13] = 230
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory, bars):
    """A model that tells the bars apart, with a sidecar."""
    import keras
    from keras import layers

    from oip.core import files

    keras.utils.set_random_seed(3)
    made = keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.Normalization(mean=40.0, variance=80.0**2),
            layers.Conv2D(6, 3, activation="relu", name="first"),
            layers.MaxPooling2D(),
            layers.Conv2D(9, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    made.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    with np.load(bars) as arrays:
        made.fit(arrays["images"], arrays["labels"], epochs=6, batch_size=16, verbose=0)
    path = tmp_path_factory.mktemp("model") / "bars.keras"
    made.save(path)
    record = {
        "schema": 1,
        "kind": "oip-model",
        "sha256": files.sha256(path),
        "input": {"shape": [16, 16, 1], "mean": [40.0], "std": [80.0], "low": 0, "high": 255},
        "classes": ["a", "b", "c", "d"],
        "confusion": [[1]],
        "accuracy": 0.5,
    }
    files.write_json(path.with_suffix(".oip.json"), record)
    return path


def test_a_smaller_model_is_written_with_its_sidecar(call, model, bars, tmp_path):
    from oip.core import files
    from oip.network.network import Network

    before = files.sha256(model), model.with_suffix(".oip.json").read_bytes()
    out = tmp_path / "new" / "smaller.keras"
    status, printed, err = call("prune", model, "--data", bars, "--out", out, "--json", "--quiet")
    assert (status, err) == (0, "")
    record = json.loads(printed)
    (row,) = record["methods"]
    assert row["method"] == "elimination"
    assert set(row["stages"]) == {"pruned", "corrected"}
    assert row["stages"]["corrected"]["parameters"] < record["before"]["parameters"]
    assert row["stages"]["corrected"]["accuracy"] >= record["before"]["accuracy"] - 0.1
    assert record["before"]["accuracy"] > 0.9
    network = Network(out)
    assert [layer.maps for layer in network.layers] == [3, 4]
    assert [len(kept) for kept in row["kept"].values()] == [3, 4]
    sidecar = network.sidecar
    assert sidecar is not None
    assert sidecar.classes == ["a", "b", "c", "d"]
    assert sidecar.input is not None and sidecar.input.std == [80.0]
    assert sidecar.accuracy == row["stages"]["corrected"]["accuracy"]
    assert sidecar.pruned["kept"] == row["kept"]
    assert sidecar.pruned["from"]["sha256"] == before[0]
    assert sidecar.confusion is None
    assert (files.sha256(model), model.with_suffix(".oip.json").read_bytes()) == before


def test_all_methods_are_compared_in_one_table_and_nothing_is_written(call, model, bars, tmp_path):
    from oip.mi.selection import METHODS

    before = sorted(model.parent.iterdir())
    status, printed, _ = call(
        *("prune", model, "second", "--data", bars, "--method", "compare", "--keep", "0.4"),
        *("--no-correct", "--quiet"),
    )
    assert status == 0
    rows = re.findall(r"^ +(\S+) +pruned +([\d.]+) % +([\d,]+) ", printed, re.M)
    assert [row[0] for row in rows] == list(METHODS)
    assert len({row[2] for row in rows}) == 1
    assert "before" in printed
    assert sorted(model.parent.iterdir()) == before


def test_only_named_layers_are_pruned_and_fine_tuning_is_a_stage(call, model, bars, tmp_path):
    out = tmp_path / "smaller.keras"
    status, printed, _ = call(
        *("prune", model, "first", "--data", bars, "--out", out, "--json", "--quiet"),
        *("--method", "taylor", "--no-correct", "--fine-tune", "2", "--keep", "0.3"),
    )
    assert status == 0
    (row,) = json.loads(printed)["methods"]
    assert {name: len(kept) for name, kept in row["kept"].items()} == {"first": 2}
    stages = row["stages"]
    assert list(stages) == ["pruned", "fine-tuned"]
    assert stages["fine-tuned"]["accuracy"] >= stages["pruned"]["accuracy"]


def test_layers_of_a_residual_block_lose_the_same_maps(call, bars, tmp_path):
    import keras
    from keras import layers

    given = layers.Input((16, 16, 1))
    stem = layers.Conv2D(6, 3, padding="same", activation="relu", name="stem")(given)
    values = layers.Conv2D(6, 3, padding="same", name="block")(stem)
    values = layers.GlobalMaxPooling2D()(layers.Add()([stem, values]))
    path = tmp_path / "residual.keras"
    keras.Model(given, layers.Dense(4)(values)).save(path)
    out = tmp_path / "smaller.keras"
    status, printed, _ = call(
        *("prune", path, "--data", bars, "--out", out, "--method", "l1", "--json", "--quiet")
    )
    assert status == 0
    (row,) = json.loads(printed)["methods"]
    assert row["kept"]["stem"] == row["kept"]["block"]
    assert len(row["kept"]["stem"]) == 3


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["MODEL", "--data", "BARS"], "--out"),
        (["MODEL", "--data", "BARS", "--out", "OUT.h5"], ".keras"),
        (["MODEL", "--data", "BARS", "--out", "MODEL"], "another file"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--method", "compare"], "no --out"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--method", "tailor"], "taylor"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--keep", "0"], "--keep"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--keep", "1.5"], "--keep"),
        (["MODEL", "--data", "BARS:test", "--out", "OUT"], "without a part"),
        (["MODEL", "--data", "NOLABELS", "--out", "OUT"], "labels"),
        (["MODEL", "--data", "MANY", "--out", "OUT"], "classes 0 to 3"),
        (["MODEL", "third", "--data", "BARS", "--out", "OUT"], "first, second"),
        (["WHOLE", "--data", "BARS", "--out", "OUT"], "output"),
        (["none.keras", "--data", "BARS", "--out", "OUT"], "none.keras"),
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(call, model, bars, tmp_path, arguments, word):
    import keras
    from keras import layers

    with np.load(bars) as arrays:
        images = arrays["images"]
    np.savez(tmp_path / "nolabels.npz", images=images)
    np.savez(tmp_path / "many.npz", images=images, labels=np.arange(160) % 5)
    whole = keras.Sequential(
        [layers.Input((16, 16, 1)), layers.Conv2D(4, 16, name="only"), layers.Flatten()]
    )
    whole.save(tmp_path / "whole.keras")
    names = {
        "MODEL": model,
        "WHOLE": tmp_path / "whole.keras",
        "BARS": bars,
        "BARS:test": f"{bars}:test",
        "NOLABELS": tmp_path / "nolabels.npz",
        "MANY": tmp_path / "many.npz",
        "OUT": tmp_path / "out.keras",
        "OUT.h5": tmp_path / "out.h5",
    }
    before = model.read_bytes()
    status, out, err = call("prune", *(names.get(argument, argument) for argument in arguments))
    assert (status, out) == (2, "")
    assert word in err
    assert "Traceback" not in err
    assert not (tmp_path / "out.keras").exists()
    assert model.read_bytes() == before
