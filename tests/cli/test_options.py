"""The input of a model, as the command line sets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oip.cli.main import COMMANDS, root, run
from oip.cli.options import DataOptions, ModelOptions

QUICK = ["--steps", "4", "--starts", "1", "--screened", "8", "--quiet"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A model of two inputs with a layer each."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    left, right = layers.Input((9, 9, 1), name="a"), layers.Input((8, 8, 1), name="b")
    parts = [
        layers.Flatten()(layers.Conv2D(2, 3, name="left")(left)),
        layers.Flatten()(layers.Conv2D(2, 3, name="right")(right)),
    ]
    path = tmp_path_factory.mktemp("two") / "two.keras"
    keras.Model([left, right], layers.Concatenate()(parts)).save(path)
    return path


def test_the_layer_of_a_further_command_may_begin_with_a_dash():
    command = ModelOptions(Path("m.keras"), input_mean="-1").command("trace", "-a b:3", out="r")
    assert command == "oip trace --out r --input-mean=-1 -- m.keras '-a b:3'"
    assert ModelOptions(Path("m.keras")).command("layers", "a") == "oip layers m.keras a"


def test_layers_lists_the_inputs_and_what_depends_on_them(two, capsys):
    assert run(["layers", str(two), "--json", "--input", "b"]) == 0
    record = json.loads(capsys.readouterr().out)
    names = {layer["index"]: layer["layer"] for layer in record["layers"]}
    inputs = [
        (row["name"], row["images"], *(names[index] for index in row["layers"]))
        for row in record["inputs"]
    ]
    assert inputs == [("a", False, "left"), ("b", True, "right")]
    assert run(["layers", str(two)]) == 0
    assert "--input b: 8x8x1, @" in capsys.readouterr().out
    assert run(["layers", str(two), "--input", "c"]) == 2
    assert "a (@0), b (@1)" in capsys.readouterr().err


def test_layers_of_another_input_are_left_out_and_named(two, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert run(["reconstruct", str(two), "--out", out, "--json", *QUICK]) == 0
    streams = capsys.readouterr()
    assert [layer["layer"] for layer in json.loads(streams.out)["layers"]] == ["left"]
    assert "'right'" in streams.err
    assert "--input b" in streams.err
    assert run(["reconstruct", str(two), "right", "--out", out, *QUICK]) == 2
    assert "--input b" in capsys.readouterr().err


def test_the_input_that_is_told_takes_the_images(two, tmp_path, capsys):
    data = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    np.savez(data, images=images)
    out = tmp_path / "run"
    record = ["--input", "b", "--data", str(data), "--out", str(out), "--json"]
    assert run(["reconstruct", str(two), "right", *record, *QUICK]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["layer"] == "right"
    settled = json.loads((out / "run.json").read_text())["input"]
    assert (settled["name"], settled["shape"]) == ("b", [8, 8, 1])
    assert settled["source"].startswith("data ")
    assert settled["mean"][0] == pytest.approx(images.mean(), rel=0.1)  # of its test part


def test_every_command_with_data_resizes_and_refuses_what_is_empty(capsys):
    for name in COMMANDS:
        command = root.get_command(None, name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--data" in options) == ("--resize" in options), name
        required = {p.name: p for p in command.params if p.required}
        arguments = [
            text
            for key, parameter in required.items()
            for text in ([*parameter.opts[:1], "x"] if parameter.opts[0][0] == "-" else ["x"])
            if key not in ("out", "source")
        ]
        if "--out" in options:
            more = ["--data", "x"] if "--data" in options else []
            assert run([name, *arguments, "--out", "", *more]) == 2, name
            assert "'--out': expected a path" in capsys.readouterr().err, name


@pytest.mark.parametrize("command", ["rank", "reconstruct", "prune", "patterns", "locate"])
def test_an_empty_source_is_refused(command, small_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = {"patterns": ["first", "--class", "0"], "locate": ["first"]}.get(command, [])
    out = "out.keras" if command == "prune" else "out"
    assert run([command, str(small_file), *more, "--data", "", "--out", out]) == 2
    assert "--data: expected mnist-sample" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.alone
def test_the_limit_of_files_is_an_option(small_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OIP_READ_LIMIT", "4")
    assert run(["--read-limit", "0.00001", "layers", str(small_file)]) == 2
    assert "above the limit of 1e-05 GiB" in capsys.readouterr().err
    assert run(["--read-limit", "0", "layers", str(small_file)]) == 2


@pytest.fixture
def photos(tmp_path):
    """Class folders of 24 images of many sizes, and one of 30."""
    for number in range(54):
        folder = tmp_path / "photos" / ("few" if number < 12 else "many")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (17 + number % 5, 20), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_photographs_are_ranked_and_shown_in_the_size_of_the_model(
    photos, small_file, tmp_path, capsys
):
    arguments = ["rank", str(small_file), "first", "--data", f"{photos}:all", "--estimator", "kde"]
    out = str(tmp_path / "run")
    assert run([*arguments, "--out", out, "--resize", "fit"]) == 0
    streams = capsys.readouterr()
    assert "54 of 54 images were brought to the model's 16 x 16 pixels" in streams.err
    assert "with black borders (--resize fit)" in streams.err
    assert "Classes of fewer than 20 images: few (12)." in streams.err
    assert "few" not in streams.out.partition("\n")[2] and "%)" not in streams.out  # all is noise
    record = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert record == {"source": "photos:all", "images": 54, "resize": "fit"}
    # The gallery brings them to the same size in the same way.
    assert run(["gallery", out, "--with-data", "--data", f"{photos}:all"]) == 0


def test_a_tag_of_few_images_is_named_where_a_map_knows_of_no_other(small_file, tmp_path, capsys):
    random = np.random.default_rng(0)
    bright = np.arange(60) % 5 == 0
    images = random.integers(0, 100, (60, 16, 16, 1), np.uint8)
    images[bright] += 150
    tags = np.column_stack([bright, np.arange(60) // 30])
    np.savez(tmp_path / "tags.npz", images=images, labels=tags, classes=["bright", "late"])
    arguments = ["rank", str(small_file), "first", "--data", f"{tmp_path / 'tags.npz'}:all"]
    assert run([*arguments, "--estimator", "ksg", "--out", str(tmp_path / "run")]) == 0
    streams = capsys.readouterr()
    assert "Tags of fewer than 20 images: bright (12)." in streams.err
    assert "bright (few images)" in streams.out


def test_photographs_of_many_sizes_need_a_size_for_a_model_that_takes_any(photos, tmp_path, capsys):
    import keras
    from keras import layers

    model = [layers.Input((None, None, 1)), layers.Conv2D(2, 3, name="c")]
    path = tmp_path / "free.keras"
    keras.Sequential([*model, layers.GlobalAveragePooling2D()]).save(path)
    arguments = ["rank", str(path), "--data", f"{photos}:all", "--estimator", "kde"]
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "Say which size: --input-size." in capsys.readouterr().err
    assert run([*arguments, "--out", str(tmp_path / "run"), "--input-size", "12,10"]) == 0
    assert "brought to the model's 12 x 10 pixels, cropped" in capsys.readouterr().err


def test_further_commands_have_the_options_that_open_the_model_and_its_data(monkeypatch):
    monkeypatch.setenv("OIP_DATA", "data")
    model = ModelOptions(
        Path("a b.keras"), ("own.layers",), input_name="left", input_mean="-1,2", preprocess="tf"
    )
    data = DataOptions("photos", Path("data"), "fit")
    text = model.command("reconstruct", "conv:3", data=data, out="runs/a")
    statistics = "--input-mean=-1,2 --preprocess=tf"
    assert text == (
        "oip reconstruct 'a b.keras' conv:3 --data photos --resize fit --out runs/a --input=left "
        f"{statistics} --import=own.layers"
    )
    assert statistics in model.command("rank", "conv:3")
    elsewhere = DataOptions(None, Path("other"))
    assert model.command("rank", data=elsewhere).count("--data SOURCE --data-dir other") == 1


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("compare A B --by pooled", "--match as well"),
        ("compare A B --threshold 0.9", "--match as well"),
        ("compare A B --import module", "--match as well"),
        ("compare A B --resize fit", "--match as well"),
        ("compare A B --seed 0", "--match as well"),
        ("rank MODEL --data DATA --out OUT --silenced-to mean", "--ablate as well"),
        ("train conv-stack --data DATA --out OUT --record-every 5", "--record DIR as well"),
        ("activations MODEL --data DATA --out OUT --images 0 --count 5", "--class as well"),
        ("directions MODEL L --data DATA --out OUT --steps 5", "--method sae as well"),
        ("gallery A --resize fit", "--with-data as well"),
        ("gallery A --without-data --data DATA", "--with-data as well"),
        ("batch JOB --dry-run --part 0/2", "no --dry-run"),
        ("batch JOB --print-sbatch --part 0/2", "no --print-sbatch"),
        ("batch JOB --dry-run --part 2/2", "K from 0 to N - 1"),
        ("batch JOB --workers 2", "--engine local or slurm as well"),
        ("batch JOB --scheduler tcp://a:1", "--engine dask as well"),
        ("batch JOB --engine local --scheduler tcp://a:1", "--engine dask as well"),
    ],
)
def test_an_option_that_does_nothing_alone_is_refused(call, tmp_path, arguments, needed):
    job = tmp_path / "job.toml"
    job.write_text('models = ["m.keras"]\nout = "out"\n')
    names = {"OUT": tmp_path / "out", "JOB": job}
    status, out, err = call(*(names.get(word, word) for word in arguments.split()))
    assert (status, out) == (2, "") and needed in err
    assert list(tmp_path.iterdir()) == [job]
