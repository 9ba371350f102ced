"""The main promise, on every eighth of the real images that are part of the installation."""

import json
import os
import re
import subprocess

import numpy as np
import pytest

from oip import models
from oip.run.run import Run
from oip.run.shards import layer_oips
from oip.workflows.demo import SOURCE

PEAK = "peak"
CODE = f"""
import sys
from pathlib import Path
from oip.cli.main import run
from oip.studies.report import peak_bytes
status = run(["demo", *sys.argv[1:]])
if not status:
    Path("{PEAK}").write_text(str(peak_bytes()))
sys.exit(status)
"""
"""A program's own peak: what `resource` tells of it holds that of the process that started it."""


def demo(python, *arguments, cwd):
    return subprocess.run(
        [python, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def shown(quick_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    digits = models.load(f"{SOURCE}:all")
    np.savez(folder / "digits.npz", images=digits.images[::8], labels=digits.labels[::8])
    out = demo(quick_python, "--json", "--data", "digits.npz", cwd=folder)
    assert out.returncode == 0, out.stderr
    return folder, json.loads(out.stdout), out.stderr


def test_the_network_knows_its_digits(shown):
    assert shown[1]["accuracy"] >= 0.9
    assert shown[1]["run"] == "runs/demo-digits"


def test_every_map_has_an_oip_or_a_verdict_with_evidence(shown):
    folder, record, _ = shown
    assert [layer["maps"] for layer in record["layers"]] == [32, 64, 128]
    run = Run.open(folder / record["run"])
    for layer in record["layers"]:
        assert sum(layer["verdicts"].values()) == layer["maps"]
        for row in layer_oips(run, layer["index"]):
            evidence = row.evidence()
            assert evidence["score"] is not None
            assert (evidence["score"] > 0) != (row.verdict == "dead")


def test_no_excitable_map_is_silent_and_nearly_all_beat_the_best_image(shown):
    deepest = shown[1]["layers"][2]
    assert deepest["excitable"] >= 90
    assert deepest["above_best_image"] >= 0.99 * deepest["excitable"]
    oips = layer_oips(Run.open(shown[0] / shown[1]["run"]), 2)
    assert (oips.scores[oips.data_active > 0, 0] > 0).all()


def test_maps_differ_in_what_they_know(shown):
    for layer in shown[1]["layers"]:
        assert layer["estimator"] == "predictive"
        assert 0.3 < layer["most"]["bits"] < 3.33
        assert layer["most"]["bits"] > layer["least"]["bits"]


def test_the_gallery_is_there_with_all_maps(shown):
    folder, record, _ = shown
    assert (folder / record["gallery"]).is_file()
    pages = folder / record["run"] / "gallery"
    listed = json.loads((pages / "maps.json").read_text())
    assert len(listed["maps"]) == 224
    assert len(list((pages / "img" / "full").rglob("*.webp"))) >= 224


def test_nothing_but_plain_progress_on_stderr(shown):
    for line in shown[2].splitlines():
        assert re.fullmatch(r".+: \d+/\d+(, [\d.]+/s)?(, .+ left)?", line), line


def test_it_fits_into_two_gibibytes(shown):
    assert int((shown[0] / PEAK).read_text()) < 2 << 30


def test_the_same_command_goes_on_and_does_nothing_twice(shown, call, monkeypatch):
    folder, record, _ = shown
    run = folder / record["run"]
    kept = [path for path in run.rglob("*") if path.suffix in (".npz", ".keras")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    monkeypatch.chdir(folder)
    status, out, _ = call("demo", "--json", "--data", "digits.npz")
    assert status == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    second = json.loads(out)
    assert {**second, "seconds": 0} == {**record, "seconds": 0}
    status, _, err = call("demo", "--data", "digits.npz", "--seed", 1)
    assert status == 2
    assert "another demo" in err


def test_a_part_of_the_data_is_refused(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call("demo", "--data", "mnist-sample:test")
    assert status == 2
    assert "without a part" in err
    assert not list(tmp_path.iterdir())
