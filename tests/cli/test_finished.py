"""A command that finds its work done reads the run and opens no model; any change is noticed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from oip.core.layer_formats import LegibilityFile, MapLegibility
from oip.network.network import Network
from oip.run.check import verify_run
from oip.run.run import Run

GROWN = ("first", "--starts", "2", "--steps", "8", "--screened", "8", "--quiet")
RANKED = ("first", "--samples", "60", "--estimator", "predictive", "--quiet")


@pytest.fixture
def opened(monkeypatch):
    """The models that were opened, one after the other."""
    paths = []
    original = Network.__init__

    def init(self, model, *args, **options):
        paths.append(model)
        original(self, model, *args, **options)

    monkeypatch.setattr(Network, "__init__", init)
    return paths


@pytest.fixture
def model(small_file, tmp_path):
    return shutil.copy(small_file, tmp_path / "model.keras")


def without_seconds(printed):
    return {name: value for name, value in json.loads(printed).items() if name != "seconds"}


@pytest.mark.parametrize(("command", "options"), [("reconstruct", GROWN), ("rank", RANKED)])
def test_the_second_time_no_model_is_opened(call, model, bars, tmp_path, opened, command, options):
    out = tmp_path / "run"
    arguments = (command, model, *options, "--data", bars, "--out", out, "--json")
    first = call(*arguments)
    opened.clear()
    second = call(*arguments)
    assert not opened
    assert (second[0], second[2]) == (first[0], first[2]) == (0, "")
    assert without_seconds(second[1]) == without_seconds(first[1])
    text = call(*arguments[:-1])[1]
    assert not opened
    assert "first" in text
    assert not [checked for checked in verify_run(Run.open(out)) if checked.problem]
    shutil.copytree(out, tmp_path / "elsewhere")
    moved = call(*arguments[:-2], tmp_path / "elsewhere", "--json")
    assert not opened
    assert command == "rank" or json.loads(moved[1])["run"] == str(tmp_path / "elsewhere")


def other_seed(model, bars, out):
    return ("--seed", "1")


def other_statistics(model, bars, out):
    (model.parent / "model.oip.json").write_text('{"schema": 1, "kind": "oip-model"}')
    return ()


def other_data(model, bars, out):
    path = bars.partition(":")[0]
    with np.load(path) as arrays:
        values = dict(arrays)
    values["images"] = values["images"][:, ::-1]
    np.savez(path, **values)
    return ()


def lost_file(model, bars, out):
    (out / "layers/000/responses.npz").unlink()
    return ()


def damaged_file(model, bars, out):
    path = out / "layers/000/ranking.json"
    path.write_bytes(path.read_bytes().replace(b"predictive", b"prEdictive", 1))
    return ()


def damaged_list(model, bars, out):
    (out / "finished.json").write_text("{")
    return ()


@pytest.mark.parametrize(
    "change",
    [other_seed, other_statistics, other_data, lost_file, damaged_file, damaged_list],
)
def test_any_change_opens_the_model(call, model, bars, tmp_path, opened, change):
    out = tmp_path / "run"
    arguments = ("rank", model, *RANKED, "--data", bars, "--out", out)
    assert call(*arguments)[0] == 0
    more = change(model, bars, out)
    opened.clear()
    call(*arguments, *more)
    assert opened


def test_tensorflow_is_not_imported(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    arguments = ["rank", small_file, *RANKED, "--data", bars, "--out", out]
    call(*arguments)
    code = (
        "import sys; from oip.cli.main import run; "
        "status = run(sys.argv[1:]); assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def test_a_legibility_that_came_later_is_shown(call, model, bars, tmp_path, opened):
    out = tmp_path / "run"
    arguments = ("rank", model, *RANKED, "--data", bars, "--out", out, "--json")
    call(*arguments)
    opened.clear()
    path = out / "layers/000/legibility.json"
    path.write_text("{}")
    call(*arguments)
    assert opened
    rows = [MapLegibility(map=map_index, share=0.75) for map_index in range(6)]
    head = {"layer": "first", "index": 0, "judge": "pixels", "judge_layer": "", "key": ""}
    LegibilityFile(**head, samples=200, split="", maps=rows).write(path)
    first = call(*arguments)[1]
    opened.clear()
    assert call(*arguments)[1] == first and not opened
    assert json.loads(first)["layers"][0]["legibility"]["maps"][0]["share"] == 0.75


def test_data_are_read_once_by_a_command_that_was_given_other_options(
    call, model, bars, tmp_path, monkeypatch
):
    from oip import models

    loads = []
    original = models.load

    def load(*arguments, **options):
        loads.append(arguments)
        return original(*arguments, **options)

    arguments = ("reconstruct", model, *GROWN, "--data", bars, "--out", tmp_path / "run")
    assert call(*arguments)[0] == 0
    monkeypatch.setattr(models, "load", load)
    assert call(*arguments, "--seed", "1")[0] != 0  # OIPs of another seed
    assert len(loads) == 1


def test_a_folder_that_is_no_result_does_not_stop_a_ranking(call, model, bars, tmp_path):
    arguments = ("rank", model, *RANKED, "--data", bars, "--out", tmp_path / "run")
    assert call(*arguments)[0] == 0
    (tmp_path / "run" / "layers" / "000" / "legibility.json").mkdir()
    status, _, errors = call(*arguments, "--seed", "1")
    assert (status, errors) == (0, "")
