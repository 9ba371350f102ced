"""Models are read without trust."""

import io
import json
import os
import shutil
import zipfile

import h5py
import numpy as np
import pytest

from oip.core.errors import ModelError
from oip.network.loading import check_config, load_model


def edited(source, target, change):
    """A copy of a `.keras` file with its configuration changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(entry, content)
    return target


def lambda_model():
    import keras
    from keras import layers

    inputs = layers.Input((8, 8, 1))
    outputs = layers.Lambda(lambda x: x * 2)(layers.Conv2D(2, 3)(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_lambda_layers_are_refused_in_both_formats(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    lambda_model().save(path)
    with pytest.raises(ModelError, match="Lambda"):
        load_model(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_plain_models_load_and_are_not_compiled(small_model, small_images, tmp_path, ending):
    import numpy as np

    path = tmp_path / f"model{ending}"
    small_model.save(path)
    loaded = load_model(path)
    assert not getattr(loaded, "compiled", False)
    part = small_images[0][:4].astype("float32")
    np.testing.assert_allclose(loaded(part), small_model(part), rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("keras.utils", "get_file"),
        ("keras.src.saving.saving_lib", "load_model"),
        ("torch", "Module"),
    ],
)
def test_foreign_modules_are_refused(small_file, tmp_path, module, kind):
    def change(config):
        config["config"]["layers"][1]["module"] = module
        config["config"]["layers"][1]["class_name"] = kind

    with pytest.raises(ModelError, match="not safe"):
        load_model(edited(small_file, tmp_path / "bad.keras", change))


@pytest.mark.parametrize(
    "part",
    [
        {"class_name": "layers.Lambda", "module": "keras", "config": {}},
        {"class_name": "Lambda2", "module": "keras", "config": {}},
        {"class_name": "function", "module": "keras", "config": "utils.get_file"},
        {"class_name": ["Lambda"], "module": "keras", "config": {}},
    ],
)
def test_names_that_lead_elsewhere_are_refused(part):
    with pytest.raises(ModelError, match="not safe"):
        check_config({"layers": [part]}, (), "x.keras")


def test_a_configuration_that_cannot_be_read_is_damaged(tmp_path):
    for number, text in enumerate(("[" * 100_000, "nothing")):
        path = tmp_path / f"{number}.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
        with pytest.raises(ModelError, match="damaged"):
            load_model(path)


def test_a_builtin_function_as_activation_is_refused():
    part = {"class_name": "function", "module": "builtins", "config": "eval"}
    with pytest.raises(ModelError, match="not safe"):
        check_config({"layers": [{"activation": part}]}, (), "x.keras")
    check_config({"activation": {**part, "config": "relu"}}, (), "x.keras")


def test_a_named_module_is_trusted_and_custom_losses_do_not_matter():
    layer = {"class_name": "Mine", "module": "mine.layers", "config": {}}
    with pytest.raises(ModelError, match=r"imports=\['mine'\]"):
        check_config({"layers": [layer]}, (), "x.keras")
    check_config({"layers": [layer]}, ("mine",), "x.keras")
    check_config({"compile_config": {"loss": layer}}, (), "x.keras")
    with pytest.raises(ModelError, match=r"imports=\['mine'\]"):  # Keras compiles models inside
        check_config({"config": {"compile_config": {"loss": layer}}}, (), "x.keras")


def test_custom_layers_come_by_import(tmp_path, monkeypatch):
    (tmp_path / "my_own_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import keras
    import my_own_layers

    inputs = keras.layers.Input((8, 8, 1))
    path = tmp_path / "custom.keras"
    outputs = my_own_layers.Twice()(keras.layers.Conv2D(2, 3)(inputs))
    keras.Model(inputs, outputs).save(path)
    with pytest.raises(ModelError, match=r"imports=\['my_own_layers'\]"):
        load_model(path)
    assert load_model(path, ["my_own_layers"]) is not None
    with pytest.raises(ModelError, match="can be imported"):
        load_model(path, ["no_such_module_anywhere"])


def test_modules_of_the_user_find_a_keras_with_all_that_it_does(small_model, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("oip.network.loading.show_optional_packages", lambda: calls.append(True))
    small_model.save(tmp_path / "model.keras")
    load_model(tmp_path / "model.keras")
    assert not calls
    load_model(tmp_path / "model.keras", ["json"])
    assert calls


def test_what_is_no_model_is_named(tmp_path, small_file):
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.keras")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelError, match="SavedModel"):
        load_model(tmp_path / "saved")
    (tmp_path / "cut.keras").write_bytes(small_file.read_bytes()[:2000])
    (tmp_path / "text.h5").write_text("hello")
    for name in ("cut.keras", "text.h5"):
        with pytest.raises(ModelError, match="damaged"):
            load_model(tmp_path / name)
    with h5py.File(tmp_path / "weights.h5", "w") as archive:
        archive["w"] = [1.0]
    with pytest.raises(ModelError, match=r"weights only\. Save the model with"):
        load_model(tmp_path / "weights.h5")
    (tmp_path / "model.pt").write_text("")
    with pytest.raises(ModelError, match="ends in"):
        load_model(tmp_path / "model.pt")


def test_layers_that_are_too_wide_are_refused_before_they_are_built(small_file, tmp_path):
    def change(config):
        config["config"]["layers"][2]["config"]["filters"] = 300_000_000

    path = edited(small_file, tmp_path / "wide.keras", change)
    import keras

    own = keras.Layer.add_weight
    with pytest.raises(ModelError, match=r"10\.1 GiB of content, above the limit of 4 GiB"):
        load_model(path)
    assert keras.Layer.add_weight is own
    load_model(small_file)


@pytest.mark.parametrize("kind", ["assets", "weights", "legacy"])
def test_a_model_that_unpacks_to_more_than_the_limit(small_file, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("OIP_READ_LIMIT", "0.004")  # four million bytes
    stream, zeros = io.BytesIO(), np.zeros(8 << 20, np.uint8)
    with h5py.File(stream, "w") as weights:
        weights.create_dataset("layers/x", data=zeros, compression="gzip")
        weights.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
    path = tmp_path / ("x.h5" if kind == "legacy" else "x.keras")
    if kind == "legacy":
        path.write_bytes(stream.getvalue())
    else:
        shutil.copy(small_file, path)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            name, content = ("assets/x", zeros.tobytes()), ("x.weights.h5", stream.getvalue())
            archive.writestr(*(name if kind == "assets" else content))
    with pytest.raises(ModelError, match=r"0\.0078\d* GiB of content, above the limit"):
        load_model(path)


def test_a_model_that_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.keras")
    with pytest.raises(ModelError, match="a FIFO"):
        load_model(tmp_path / "x.keras")


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_keywords_of_earlier_versions_without_effect_are_dropped(tmp_path, small_images, ending):
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((16, 16, 1)),
            layers.DepthwiseConv2D(3),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(2, 3),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    model.save(tmp_path / f"old{ending}")
    groups = {"groups": 1}

    def older(config, **changes):
        for layer in config["config"]["layers"]:
            if "Conv" in layer["class_name"]:
                layer["config"] |= groups
            if layer["class_name"] == "BatchNormalization":
                layer["config"] |= {"renorm": False, "fused": True}

    def written():
        if ending == ".keras":
            return edited(tmp_path / "old.keras", tmp_path / "older.keras", older)
        shutil.copyfile(tmp_path / "old.h5", tmp_path / "older.h5")
        with h5py.File(tmp_path / "older.h5", "r+") as archive:
            config = json.loads(archive.attrs["model_config"])
            older(config)
            archive.attrs["model_config"] = json.dumps(config)
        return tmp_path / "older.h5"

    images = small_images[0][:3].astype("float32")
    result = load_model(written())
    np.testing.assert_allclose(result(images), model(images), rtol=1e-5)
    groups["groups"] = 2
    with pytest.raises(ModelError, match=r"Unrecognized keyword .*'groups': 2") as error:
        load_model(written())
    assert len(str(error.value)) < 250


def test_the_random_numbers_of_the_user_stay_as_they_are(small_file):
    import random

    state = random.getstate()
    load_model(small_file)
    assert random.getstate() == state


def test_no_module_of_python_itself_is_advised():
    part = {"module": "os", "class_name": "system", "config": {}}
    with pytest.raises(ModelError, match=r"'os\.system'") as error:
        check_config(part, (), "model.keras")
    assert "imports=" not in str(error.value)
    with pytest.raises(ModelError, match=r"imports=\['mine'\]"):
        check_config(part | {"module": "mine.layers"}, (), "model.keras")


def test_a_model_with_adapters_is_loaded(tmp_path):
    import keras
    from keras import layers

    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Dense(2)])
    for layer in model.layers:
        layer.enable_lora(2)
        for weight in layer.trainable_weights:
            weight.assign(np.full(weight.shape, 0.25))
    model.save(tmp_path / "adapted.keras")
    loaded = load_model(tmp_path / "adapted.keras")
    image = np.ones((1, 6, 6, 1), np.float32)
    np.testing.assert_allclose(loaded(image), model(image), rtol=1e-5)
