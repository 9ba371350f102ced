import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

import oip
from oip.cli.main import COMMANDS, main, name_option, root, with_options
from oip.core.errors import SettingsError

SMALL = ["--starts", "2", "--steps", "10", "--screened", "16", "--quiet"]


def test_help_is_quick_and_brings_no_tensorflow():
    code = (
        "import sys; from oip.cli.main import run; run(['--help']);"
        "print([m for m in ('tensorflow', 'keras', 'rich', 'numpy') if m in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert out.returncode == 0
        assert out.stdout.strip().endswith("[]")
    assert min(seconds) < 0.4, "of the processor, whatever else runs beside it"


def test_the_help_of_a_command_brings_none_of_its_work():
    code = (
        "import sys; from oip.cli.main import run; run(['rank', '--help']);"
        "print('oip.workflows.rank' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().endswith("False")


def test_every_command_has_help_with_an_example_and_no_tensorflow():
    code = (
        "import sys; from oip.cli.main import run, COMMANDS\n"
        "for name in COMMANDS: run([name, '--help']); print('status')\n"
        "print('tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *helps, end = out.stdout.split("status\n")
    assert len(helps) == len(COMMANDS)
    for name, text in zip(COMMANDS, helps, strict=True):
        assert f"Usage: oip {name}" in text
        assert f"oip {name} " in text.partition("Example:")[2]
    assert end.strip() == "False"


def test_the_version_is_told(call):
    assert call("--version") == (0, f"oip, version {oip.__version__}\n", "")


def test_settings_of_the_library_are_named_as_options():
    command = root.get_command(None, "reconstruct")
    for text, expected in (
        ("input std: expected 1; received 2.", "--input-std: expected 1; received 2."),
        ("steps: no", "--steps: no"),
        ("layer: expected one of a; received b.", "layer: expected one of a; received b."),
        ("nothing", "nothing"),
    ):
        error = SettingsError(text)
        name_option(error, command)
        assert str(error) == expected


def test_parameters_in_hints_are_named_as_options():
    assert with_options("Give data=... for them.") == "Give --data SOURCE for them."
    assert with_options("Build it with keep_data=False.") == "Build it with --without-data."
    hint = "If you trust it: imports=['mine']. Choose input='b', or input_shape=(h, w, bands)."
    shown = "If you trust it: --import mine. Choose --input b, or --input-size."
    assert with_options(hint) == shown


def test_unknown_commands_and_options_are_wrong_usage(call):
    for arguments in (["dmo"], ["layers"], ["layers", "--nope"]):
        status, out, err = call(*arguments)
        assert (status, out) == (2, "")
        assert "Usage" in err
    for name, hint in (("dmo", "Did you mean 'demo'?"), ("mi", "'oip estimate' takes arrays")):
        assert f"No such command '{name}'. {hint}" in call(name)[2]


def test_layers_are_listed(call, small_file):
    status, out, _ = call("layers", small_file, "--json")
    assert status == 0
    layers = json.loads(out)["layers"]
    assert [layer["layer"] for layer in layers] == ["first", "second"]
    expected = {"index": 1, "layer": "second", "class": "Conv2D", "maps": 70, "size": [5, 5]}
    assert expected.items() <= layers[1].items()
    assert (layers[1]["receptive_field"], layers[1]["jump"]) == ([8, 8], [2, 2])
    given = json.loads(out)["input"]
    status, out, _ = call("layers", small_file)
    assert status == 0
    assert "5x5" in out
    (mean,), (std,) = given["mean"], given["std"]
    assert f"mean {mean:.4g}, std {std:.4g} (from {given['source']})" in out


def test_all_layers_with_maps_are_listed_and_how_the_model_is_fed(call, tmp_path):
    import keras

    depth = 25
    convolutions = [keras.layers.Conv2D(1, 1, name=f"conv_{k}") for k in range(depth)]
    layers = [keras.Input((8, 8, 3)), *convolutions, keras.layers.Flatten(name="flat")]
    keras.Sequential(layers, name="resnet50v2").save(tmp_path / "m.keras")
    status, out, err = call("layers", tmp_path / "m.keras")
    assert (status, out.count("conv_"), "flat" in out) == (0, depth, False)
    assert "not known. For ResNet50V2 of keras.applications: --preprocess tf\n" in out
    assert "--preprocess=tf" in err
    given = json.loads(call("layers", tmp_path / "m.keras", "--json")[1])["input"]
    assert given["shape"] == [8, 8, 3] and given["preprocess"] == "tf"
    assert given["mean"] is None and given["std"] is None and given["source"] is None
    assert "flat" in call("layers", tmp_path / "m.keras", "--all")[1]


def test_reconstruct_export_and_going_on(call, small_file, small_data, tmp_path):
    out = tmp_path / "run"
    arguments = ["reconstruct", small_file, "second:0-3", "@0", "--out", out, "--data", small_data]
    status, printed, err = call(*arguments, *SMALL, "--json")
    assert (status, err) == (0, "")
    record = json.loads(printed)
    assert [(layer["layer"], len(layer["maps"])) for layer in record["layers"]] == [
        ("first", 6),
        ("second", 4),
    ]
    assert {
        "map",
        "verdict",
        "converged",
        "score",
        "data_score",
        "stability",
        "n_null",
        "steps",
        "reason",
    } <= set(record["layers"][0]["maps"][0])
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert [layer["unseen_pixels"] for layer in record["layers"]] == [0, 0]
    assert record["layers"][1]["pixels"] == 256
    status, printed, _ = call(*arguments, *SMALL)
    assert status == 0
    assert "responsive" in printed
    assert "distinct patterns among the starts" in printed  # ten maps are few
    assert "pixels" not in printed
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}

    status, printed, _ = call("export", out, "second", "--out", tmp_path / "a.npz", "--json")
    assert (status, json.loads(printed)["files"]) == (0, [str(tmp_path / "a.npz")])
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["images"].shape == (4, 16, 16, 1)
    status, printed, _ = call("export", out, "--out", tmp_path / "pictures", "--format", "webp")
    assert (status, printed) == (0, f"10 pictures in {tmp_path / 'pictures'}\n")
    assert len(list((tmp_path / "pictures").glob("*.webp"))) == 10


def test_what_the_user_has_is_not_changed(call, small_file, small_data, tmp_path):
    before = [path.read_bytes() for path in (small_file, small_data)]
    arguments = ["reconstruct", small_file, "first", "--data", small_data, "--out", tmp_path / "r"]
    assert call(*arguments, *SMALL)[0] == 0
    assert [path.read_bytes() for path in (small_file, small_data)] == before


def test_nan_in_one_map_is_done_in_part_and_nan_in_all_is_bad_input(call, small_model, tmp_path):
    import keras

    for row, status in ((slice(2, 3), 1), (slice(None), 2)):
        model = keras.models.clone_model(small_model)
        model.set_weights(small_model.get_weights())
        kernel, bias = model.get_layer("first").get_weights()
        bias[row] = np.nan
        model.get_layer("first").set_weights([kernel, bias])
        path = tmp_path / f"nan{status}.keras"
        model.save(path)
        out = tmp_path / f"run{status}"
        result, printed, err = call("reconstruct", path, "first", "--out", out, *SMALL, "--json")
        assert result == status
        if status == 2:
            assert "NaN" in err
            assert not out.exists()
            continue
        verdicts = [item["verdict"] for item in json.loads(printed)["layers"][0]["maps"]]
        assert verdicts.count("failed") == 1
        assert "failed" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["layers", "none.keras"], "no such file"),
        (["reconstruct", "MODEL", "thrid", "--out", "OUT"], "expected one of first, second"),
        (["reconstruct", "MODEL", "second:70", "--out", "OUT"], "0 to 69"),
        (["reconstruct", "MODEL", "--noise", "pink", "--out", "OUT"], "noise"),
        (["reconstruct", "MODEL", "--steps", "0", "--out", "OUT"], "steps"),
        (["reconstruct", "MODEL", "--data", "nothing", "--out", "OUT"], "mnist-sample"),
        (["reconstruct", "MODEL", "--data", "SHAPE", "--out", "OUT"], "shape"),
        (["reconstruct", "MODEL", "--input-std", "0", "--out", "OUT"], "--input-std"),
        (["reconstruct", "MODEL", "--input-mean", "a", "--out", "OUT"], "--input-mean"),
        (["reconstruct", "MODEL", "--preset", "mine", "--out", "OUT"], "preset"),
        (["reconstruct", "MODEL", "--preset", "aligned", "--out", "OUT"], "Give --data SOURCE"),
        (["reconstruct", "MODEL", "--out", "MODEL/run"], "a folder"),
        (["reconstruct", "MODEL", "--out", "FULL"], "other files"),
        (["reconstruct", "MODEL", "--import", "no_such_thing", "--out", "OUT"], "--import"),
        (["export", "FULL", "--out", "OUT"], "no run.json"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    call, small_file, tmp_path, arguments, word
):
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    np.savez(tmp_path / "shape.npz", images=np.zeros((4, 9, 9, 1), np.uint8), labels=[0, 1, 0, 1])
    names = {
        "MODEL": str(small_file),
        "OUT": str(tmp_path / "out"),
        "FULL": str(full),
        "SHAPE": str(tmp_path / "shape.npz"),
    }
    for name, path in names.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert word in err
    assert err.startswith("oip: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in full.iterdir()] == ["letter.txt"]


def test_an_unwritable_folder_is_refused_before_any_work(call, small_file, tmp_path, monkeypatch):
    import tempfile

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    status, _, err = call("reconstruct", small_file, "--out", tmp_path / "run")
    assert status == 2
    assert "Permission denied" in err


def test_hostile_names_are_shown_as_text(call, capfd, tmp_path):
    import keras
    from keras import layers

    from oip.cli.tables import print_table

    name = "[red]\x1b[31m<script>"
    print_table((name,), [(name,)], name)
    printed = capfd.readouterr().out
    assert "\x1b" not in printed
    assert printed.count("[red]") == 3
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3, name=name)])
    model.save(tmp_path / "m.keras")  # TensorFlow itself takes no such name in a graph
    status, printed, err = call("layers", tmp_path / "m.keras")
    assert status == 0
    assert "\x1b" not in printed + err
    assert "[red]" in printed


def test_settings_of_keras_and_of_a_notebook_do_no_harm(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first"}))
    code = """
import keras, sys
from oip.cli.main import main
from oip.models.recipes import RECIPES
for recipe in RECIPES:
    model = recipe.build((32, 32, 3), 10)
    formats = {layer.data_format for layer in model.layers if hasattr(layer, "data_format")}
    assert model.output_shape == (None, 10) and formats <= {"channels_last"}, recipe
assert keras.config.image_data_format() == "channels_first"
RECIPES[0].build((32, 32, 3), 10).save(sys.argv[1])
main(["layers", sys.argv[1]])
"""
    environment = os.environ | {
        "KERAS_HOME": str(tmp_path),
        "MPLBACKEND": "Agg",  # not the one of the tests
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    run = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    out = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert out.returncode == 0, out.stderr


def test_the_backend_of_a_notebook_is_not_used(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["MPLBACKEND"] == "Agg"


@pytest.mark.alone
def test_verbose_says_what_is_done_and_how_long_it_takes(call, small_file, tmp_path):
    import logging

    reconstruct = ("reconstruct", small_file, "first:0", *SMALL)
    _, _, quiet = call(*reconstruct, "--out", tmp_path / "a", "--quiet")
    assert "opened model" not in quiet
    _, _, err = call(*reconstruct, "--out", tmp_path / "b", "--quiet", "-v")
    assert f"oip: opened model {small_file}: " in err
    assert "shard-0000.npz: grew 1 maps: " in err
    assert "wrote" not in err
    _, _, err = call("-vv", *reconstruct, "--out", tmp_path / "c", "--quiet")
    assert "oip: wrote " in err and "oip: traced " in err
    assert logging.getLogger("oip").level == logging.NOTSET
    assert "opened model" not in call(*reconstruct, "--out", tmp_path / "d", "--quiet")[2]
