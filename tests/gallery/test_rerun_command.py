"""The command that makes an OIP again: a shell reads it as it was meant, and it means the same."""

from __future__ import annotations

import shlex

import msgspec
import numpy as np
import pytest

from oip.ascent.settings import PRESETS, ascent_settings
from oip.cli.options import ModelOptions
from oip.cli.rank import command as rank
from oip.cli.reconstruct import command as reconstruct
from oip.core.checks import parse_assignments
from oip.core.formats import LayerRecord, RunFile
from oip.gallery.rerun_command import commands_again, rerun_command
from oip.network.inputs import InputSpec


def _layer(name="a", index=0, **more):
    blank = {"layer_class": "Conv2D", "maps": 20, "size": [], **dict.fromkeys(GEOMETRY)}
    return LayerRecord(name=name, index=index, **blank, **more)


GEOMETRY = ("receptive_field", "jump", "offset")
LAYER = _layer()
SPEC = {
    "shape": [8, 8, 1],
    "mean": [0.5],
    "std": [1.0],
    "low": 0.0,
    "high": 1.0,
    "source": "sidecar",
    "bgr": False,
}


def _read(text):
    """The options that the command line itself makes of a command."""
    arguments = shlex.split(text)
    assert arguments[:2] == ["oip", "reconstruct"]
    return reconstruct.make_context("reconstruct", arguments[2:]).params


def _run(name="m.keras", **more):
    return RunFile.of({"model": {"name": name, "sha256": ""}, "layers": [], **more})


@pytest.mark.parametrize(("source", "given"), [("own", "own"), ("", None)])
def test_oips_are_made_again_with_the_data_that_they_were_grown_with(
    run, edit_record, source, given
):
    edit_record(run, lambda values: values["settings"].update(data={"source": source}))
    (grown, ranked) = commands_again(run, ["layers/001/shard-0000.npz", "layers/001/ranking.json"])
    assert _read(grown)["source"] == given
    assert "--data mnist-sample:test" in ranked


@pytest.mark.parametrize("name", ["legibility.json", "presets.json"])
def test_what_belongs_to_the_best_preset_of_each_unit_is_made_with_the_oips(run, edit_record, name):
    edit_record(run, lambda values: values["settings"].update(preset="best:natural,maco"))
    (text,) = commands_again(run, [f"layers/001/{name}", "layers/001/shard-0000.npz"])
    assert _read(text)["preset"] == "best:natural,maco"
    edit_record(run, lambda values: values["settings"].update(preset="natural"))
    (text,) = commands_again(run, ["layers/001/legibility.json"])
    assert text.startswith("oip judge ")


@pytest.mark.parametrize("about", ["label", "input", "direction", "none"])
def test_a_ranking_is_made_again_about_the_same_and_from_images_prepared_alike(
    run, edit_record, about
):
    def change(values):
        values["settings"]["rank"] = {"estimators": {"ksg": {}}, "samples": 300, "about": about}
        values["input"]["source"] = "preprocess tf"

    edit_record(run, change)
    (text,) = commands_again(run, ["layers/001/ranking.json"])
    arguments = shlex.split(text)
    assert arguments[:3] == ["oip", "rank", "small.keras"]
    given = rank.make_context("rank", arguments[2:]).params
    assert given["estimators"] == (() if about == "none" else ("ksg",))
    assert given["about"] == (None if about == "label" else about)
    assert given["target"] == ("FILE" if about == "direction" else None)
    assert given["preprocess"] == "tf" and given["samples"] == 300


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"starts": 7, "steps": 31, "screened": 64, "noise": "single:4", "seed": 11},
        {"rate": 0.37, "blur_end": 0.25, "decorrelate": True, "jitter": 3, "tolerance": 1e-06},
        {"climb_inactive": False, "parameterization": "fourier", "rotation": 2.5},
    ],
)
def test_command_resolves_to_the_settings_of_the_run(preset, changes):
    settings = ascent_settings(preset, **changes)
    stored = {"reconstruct": msgspec.to_builtins(settings)}
    command = _read(rerun_command(_run(settings=stored), "run", LAYER, 3))
    own = {name: command[name] for name in ("starts", "steps", "screened", "noise", "seed")}
    assert (
        ascent_settings(command["preset"], **(own | parse_assignments(command["changes"])))
        == settings
    )
    assert changes or not command["changes"], "a preset alone needs no --set"


class _Network:
    classes = ()

    def __init__(self, inputs):
        self.inputs = inputs


@pytest.mark.parametrize(
    "statistics",
    [
        {"preprocess": "caffe"},
        {"preprocess": "torch"},
        {"mean": (0.1306604, -0.5, 3.0), "std": (0.3081,), "value_range": (-1.0, 255.0)},
        {"mean": (-1.5,)},
        {"value_range": (-0.1, 1.0)},
        {"preprocess": "caffe", "mean": (1.0,)},
    ],
)
def test_command_tells_what_the_input_was_told(statistics):
    bands = np.zeros(3, np.float32)
    bare = InputSpec((8, 8, 3), bands, bands + 1, float("nan"), float("nan"), "assumed")
    spec = bare.with_statistics(**statistics)
    command = _read(rerun_command(_run(input=spec.to_dict()), "run", LAYER, 0))
    network = _Network(bare)
    names = ("input_mean", "input_std", "input_range", "preprocess")
    options = ModelOptions(command["model"], **{name: command[name] for name in names})
    options.input.set_statistics(network, None)
    assert network.inputs.to_dict() == spec.to_dict()


@pytest.mark.parametrize("source", ["sidecar", "data mnist:test", "the model's Rescaling layer"])
def test_what_model_or_data_say_is_not_told_again(source):
    spec = {**SPEC, "source": source}
    command = _read(rerun_command(_run(input=spec), "run", LAYER, 0))
    assert not any(
        command[name] for name in ("input_mean", "input_std", "input_range", "preprocess")
    )


def test_command_tells_how_the_model_was_loaded():
    loading = {"imports": ["my.layers", "others"], "input_size": [96, 128]}
    command = _read(rerun_command(_run(loading=loading), "run", LAYER, 0))
    assert command["imports"] == ("my.layers", "others")
    assert ModelOptions(command["model"], input_size=command["input_size"]).input.size == (96, 128)


def test_command_names_the_input_of_several():
    command = _read(rerun_command(_run(input={**SPEC, "name": "left"}), "run", LAYER, 0))
    assert command["input_name"] == "left"


def test_command_leaves_the_finished_run_alone():
    assert _read(rerun_command(_run(), "run", LAYER, 0))["out"].name == "run-again"


def test_command_names_the_objective_of_an_image():
    layer = _layer("objectives", 3, objectives=["class:4", "class:4 - class:9"])
    run = _run(settings={"reconstruct": {"seed": 1}})
    arguments = shlex.split(rerun_command(run, "run", layer, 1))
    assert arguments[:5] == ["oip", "reconstruct", "m.keras", "--objective", "class:4 - class:9"]


@pytest.mark.parametrize(
    "name", ["Conv2D_3", "block 1/c", "$(rm -rf ~)", "a'b\"c", "-x", "a\nb", "c:3"]
)
def test_command_is_one_word_a_part(name):
    settings = {"reconstruct": {"starts": 3, "noise": "tilt:0.5", "seed": 9}}
    run = _run("my model;ls.keras", settings=settings, data={"source": "my data.npz"})
    arguments = shlex.split(rerun_command(run, "my run", _layer(name, 4), 17))
    expected = f"{name}:17" if name not in ("-x", "a\nb", "c:3") else "@4:17"
    assert arguments[:4] == ["oip", "reconstruct", "my model;ls.keras", expected]
    assert arguments[4:6] == ["--data", "my data.npz"]
    assert arguments[6:12] == ["--preset", "default", "--starts", "3", "--noise", "tilt:0.5"]
    assert arguments[12:] == ["--out", "my run-again", "--seed", "9"]


def test_a_model_whose_name_begins_with_a_dash_is_no_option():
    command = rerun_command(_run("-m.keras"), "run", LAYER, 0)
    assert shlex.split(command)[:3] == ["oip", "reconstruct", "./-m.keras"]


def test_command_names_the_preset():
    run = _run(settings={"reconstruct": {"climb_silent": False, "warmup": 0}})
    assert "--preset author" in rerun_command(run, "run", LAYER, 0)


def test_what_was_in_memory_has_no_names_that_a_shell_would_find():
    settings = {"reconstruct": msgspec.to_builtins(ascent_settings())}
    for model, source, expected in (
        ("sequential", "arrays", ("MODEL", "SOURCE")),
        ("m.keras", "arrays:test", ("m.keras", "SOURCE")),
        ("m.keras", "photos:test", ("m.keras", "photos:test")),
    ):
        run = _run(model, settings=settings, data={"source": source})
        command = shlex.split(rerun_command(run, "r", LAYER, 3))
        assert (command[2], command[command.index("--data") + 1]) == expected
