"""`oip status`, `verify`, `merge`, `compare` and `cite` of single runs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess

import numpy as np
import pytest

from oip.cli.compare import _pair
from oip.cli.main import run

SMALL = ["--starts", "2", "--steps", "6", "--screened", "8", "--quiet"]


@pytest.fixture(scope="module")
def runs(small_file, tmp_path_factory):
    """Two runs of the small model: parts of the maps, made alike."""
    folder = tmp_path_factory.mktemp("runs")
    for name, layers in (("a", ["first", "second:0-9"]), ("b", ["second:5-69"])):
        arguments = ["reconstruct", str(small_file), *layers, "--out", str(folder / name), *SMALL]
        assert run(arguments) == 0
    return folder


def test_status(call, runs, tmp_path):
    status, out, _ = call("status", runs / "a")
    assert status == 0
    assert "10 of 70" in out
    record = json.loads(call("status", runs / "a", "--json")[1])
    assert [layer["oips"] for layer in record["layers"]] == [6, 10]
    assert [layer["stability"] for layer in record["layers"]] == [True, True]
    shutil.copytree(runs / "a", tmp_path / "copy")
    (tmp_path / "copy/layers/001/shard-0000.npz").write_bytes(b"")
    status, out, _ = call("status", tmp_path / "copy")
    assert status == 1
    assert "damaged" in out
    shutil.copytree(runs / "a", tmp_path / "other")
    path = tmp_path / "other/layers/000/softmax.npz"
    path.write_bytes(path.read_bytes()[:300])
    assert "softmax.npz" in call("status", tmp_path / "other")[1]
    assert call("status", tmp_path / "other")[0] == 1


def test_verify(call, runs, tmp_path):
    status, out, _ = call("verify", runs / "a", "--quiet")
    assert (status, "0 wrong" in out) == (0, True)
    shutil.copytree(runs / "a", tmp_path / "copy")
    path = tmp_path / "copy/layers/001/shard-0000.npz"
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "copy/notes.txt").write_text("dear")
    status, out, _ = call("verify", tmp_path / "copy", "--quiet")
    assert status == 1
    assert "shard-0000" in out and "1 of other kinds not read" in out
    status, out, _ = call("verify", tmp_path / "copy", "--json", "--quiet")
    (problem,) = json.loads(out)["problems"]
    assert problem["file"] == "layers/001/shard-0000.npz"


def test_commands_that_read_a_damaged_file_name_verify(call, runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "a", copy)
    path = copy / "layers/000/shard-0000.npz"
    path.write_bytes(path.read_bytes()[:400])
    for arguments in (("gallery", copy), ("export", copy, "first", "--out", tmp_path / "out")):
        status, _, err = call(*arguments, "--quiet")
        assert status == 2 and str(path) in err and f"'oip verify {copy}'" in err
        assert len(err.splitlines()) == 1
    batch = tmp_path / "batch"
    shutil.copytree(copy, batch / "runs/0000")
    (batch / "batch.json").write_text("{}")
    assert f"'oip verify {batch}'" in call("gallery", batch / "runs/0000")[2]
    for name in ("run.json", "run.copy.json"):
        (copy / name).write_text("{")
    status, _, err = call("gallery", copy)
    assert status == 2 and "in another folder" in err and "verify" not in err
    assert not (tmp_path / "out").exists()


def test_verify_names_files_without_a_checksum(call, runs, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(runs / "a", out)
    assert "checksum" not in call("verify", out, "--quiet")[1]
    path = out / "layers/001/stability.json"
    values = json.loads(path.read_text())
    del values["checksum"]
    path.write_text(json.dumps(values))
    status, text, _ = call("verify", out, "--quiet")
    assert status == 0 and "Without a checksum" in text and str(path) in text
    names = json.loads(call("verify", out, "--json", "--quiet")[1])["without_checksum"]
    assert names == [str(path)]


def test_verify_repair(call, runs, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(runs / "a", out)
    names = ("run.json", "layers/001/stability.json")
    whole = [(out / name).read_bytes() for name in names]
    for name in names:
        text = (out / name).read_text()
        (out / name).write_text(text.replace("1", "2", 5))
    status, text, error = call("verify", out, "--quiet")
    assert status == 1 and all(name in text for name in names) and "run.copy.json" in error
    assert (call("status", out)[0], call("cite", out)[0]) == (1, 0)
    status, text, _ = call("verify", out, "--repair", "--quiet")
    assert status == 0 and text.count("made again") == 2
    assert [(out / name).read_bytes() for name in names] == whole
    shard = out / "layers/001/shard-0000.npz"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert call("verify", out, "--repair", "--quiet")[0] == 1


def test_verify_prints_the_command_that_makes_files_again(call, small_file, runs, tmp_path):
    out = tmp_path / "a copy"
    shutil.copytree(runs / "a", out)
    whole = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "layers/001/shard-0000.npz").write_bytes(b"")
    (out / "layers/000/softmax.npz").unlink()
    (out / ".gallery-1-abcdef12").mkdir()
    status, text, _ = call("verify", out, "--quiet")
    assert status == 1 and (out / ".gallery-1-abcdef12").exists()
    assert "--repair removes" in text and ".gallery-1-abcdef12" in text
    commands = json.loads(call("verify", out, "--quiet", "--json")[1])["commands"]
    assert [shlex.split(command)[3] for command in commands] == ["first:0-5", "second:0-9"]
    for command in commands:
        assert command in text
        _, *arguments = shlex.split(command)
        arguments[1] = str(small_file)
        assert call(*arguments, "--quiet")[0] == 0
    call("verify", out, "--repair", "--quiet")
    made = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for files in (made, whole):
        files.pop(out / "finished.json")  # of the last command
    assert made == whole


def test_the_commands_for_a_run_whose_name_begins_with_a_dash_can_be_given(
    call, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs / "a", tmp_path / "-a")
    _, _, remarks = call("status", "--", "-a")
    steps = [shlex.split(line.removeprefix("Next:")) for line in remarks.splitlines()]
    assert steps[0][:4] == ["oip", "rank", "MODEL", "--data"] and steps[0][-2] == "--out"
    assert call(*steps[1][1:-1])[0] == 0 and steps[1][-1] == "--open"
    (tmp_path / "-a/gallery/maps.csv").write_text("")
    (command,) = json.loads(call("verify", "--json", "--", "-a")[1])["commands"]
    assert call(*shlex.split(command)[1:])[0] == 0
    assert call("verify", "--", "-a")[0] == 0


@pytest.mark.parametrize("name", ["copy", "-a"])
def test_verify_moves_a_gallery_away_that_no_new_one_may_replace(
    call, runs, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs / "a", tmp_path / name)
    assert call("gallery", "--single-file", "--quiet", "--", name)[0] == 0
    assert call("gallery", "--quiet", "--", name)[0] == 0
    damaged = [f"{name}/gallery/drawn.json", f"{name}/gallery/maps.json", f"{name}/gallery.html"]
    for path in damaged:
        (tmp_path / path).write_text("x")
    assert "Move it away" in call("gallery", "--", name)[2]
    commands = json.loads(call("verify", "--json", "--", name)[1])["commands"]
    assert [shlex.split(command)[0] for command in commands] == ["mv", "mv", "oip", "oip"]
    for command in map(shlex.split, commands):
        if command[0] == "mv":
            subprocess.run(command, check=True)
        else:
            assert call(*command[1:])[0] == 0
    assert call("verify", "--", name)[0] == 0
    assert (tmp_path / f"{name}-damaged-gallery/maps.csv").is_file()


@pytest.mark.parametrize("name", ["x" * 300, "loop", "loop/run", "a/" * 3000])
def test_a_path_that_the_system_does_not_look_up_is_one_line(call, runs, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    path, data = f"{tmp_path}/{name}", ["--data", "mnist-sample"]
    for arguments in (
        ["status", path],
        ["gallery", path],
        ["merge", runs / "a", "--out", path],
        ["reconstruct", path, "--out", tmp_path / "new"],
        ["rank", "m.keras", "--data", path, "--out", tmp_path / "new"],
        ["train", "conv-stack", *data, "--out", "m.keras", "--record", path],
        ["batch", "--init", path],
        ["study", "plane", "--quick", "--data", path, "--out", tmp_path / "new"],
    ):
        status, out, err = call(*arguments)
        assert status == 2 and out == ""
        assert "expected " in err.splitlines()[-1] and len(err.splitlines()[-1]) < 800
    assert [entry.name for entry in tmp_path.iterdir()] == ["loop"]


def test_merge_and_compare(call, runs, tmp_path):
    arguments = ["merge", runs / "a", runs / "b", "--out", tmp_path / "both", "--quiet"]
    status, out, _ = call(*arguments)
    assert status == 0
    assert "both: 76 maps of 2 layers\n" in out
    assert json.loads(call(*arguments, "--json")[1])["layers"] == [
        {"index": 0, "maps": 6},
        {"index": 1, "maps": 70},
    ]
    status, out, _ = call("compare", tmp_path / "both", runs / "a")
    assert status == 0
    assert "10 of 10" in out
    record = json.loads(call("compare", tmp_path / "both", runs / "b", "--json")[1])
    assert [len(layer["maps"]) for layer in record["layers"]] == [65]
    assert call("export", tmp_path / "both", "second", "--out", tmp_path / "a.npz")[0] == 0


def test_a_merge_of_rankings_alone_says_so(call, small_file, bars, tmp_path):
    data = ["--data", bars, "--estimator", "kde", "--samples", "60"]
    assert call("rank", small_file, "first", *data, "--out", tmp_path / "a", "--quiet")[0] == 0
    out = call("merge", tmp_path / "a", "--out", tmp_path / "b", "--quiet")[1]
    assert out == f"{tmp_path / 'b'}: rankings of 1 layer\n"


def test_an_unknown_number_of_a_pair_is_a_dash():
    shown = [_pair(pair) for pair in ((None, 0.5), (None, None), (3, None), (3, 3), ("a", "b"))]
    assert shown == ["-, 0.500", "-", "3, -", "3", "a, b"]


@pytest.mark.parametrize(("name", "hint"), [("a.csv", "gallery/maps.csv"), ("a.png", "a folder")])
def test_pictures_go_into_a_folder(call, runs, tmp_path, name, hint):
    status, out, err = call("export", runs / "a", "--out", tmp_path / name)
    assert (status, out, hint in err) == (2, "", True)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir()
    assert call("export", runs / "a", "first", "--out", tmp_path / name, "--size", 8)[0] == 0


@pytest.mark.parametrize("options", [("--format", "webp"), ("--plain",), ("--size", 64)])
def test_options_of_pictures_are_refused_for_arrays(call, runs, tmp_path, options):
    path = tmp_path / "a.npz"
    status, out, err = call("export", runs / "a", "first", "--out", path, *options)
    assert (status, out) == (2, "") and f"oip: {options[0]}: expected a folder" in err
    assert not path.exists()


def test_cite(call, runs):
    status, out, _ = call("cite", runs / "a")
    assert status == 0
    assert out.count("@") == len(json.loads(call("cite", runs / "a", "--json")[1])["entries"])
    assert "erhan2009visualizing" in out
    assert "kolchinsky" not in out
    status, out, err = call("cite", "--estimator", "ksg", "--estimator", "kde")
    assert (status, "kraskov2004" in out, "kolchinsky" in out, "@software" in out) == (0, 1, 1, 1)
    assert "oip cite --estimator ksg --estimator kde > methods.bib" in err
    assert call("cite", runs / "a", "--estimator", "ksg")[1].count("@software") == 1
    assert (call("cite")[0], call("cite", "--estimator", "no")[0]) == (2, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "NONE"],
        ["verify", "NONE"],
        ["cite", "NONE"],
        ["merge", "RUN", "NONE", "--out", "OUT"],
        ["merge", "RUN", "--out", "RUN"],
        ["compare", "RUN", "NONE"],
        ["merge", "--out", "OUT"],
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(call, runs, tmp_path, arguments):
    names = {"NONE": tmp_path / "none", "RUN": runs / "a", "OUT": tmp_path / "out"}
    status, out, err = call(*(names.get(row, row) for row in arguments))
    assert (status, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_units_of_two_networks_are_matched(call, small_file, runs, bars, tmp_path):
    data = ("--data", bars, "--samples", "200", "--models", small_file, small_file, "--quiet")
    out = tmp_path / "match"
    status, text, _ = call("compare", runs / "a", runs / "b", "--match", *data, "--out", out)
    assert status == 0
    assert "linear CKA" in text and "partners" in text
    assert (out / "index.html").is_file()
    arguments = ["compare", runs / "a", runs / "b", "--match", *data, "--layer", "second=second"]
    for kept_in, kept in (
        (("--out", runs / "a", "--out", out), {"a": True, "b": False}),
        (("--keep",), {"a": True, "b": True}),  # as it was in earlier versions
    ):
        assert call(*arguments, *kept_in)[0] == 0
        assert {name: bool(list((runs / name).rglob("partners.npz"))) for name in kept} == kept
    record = json.loads(call(*arguments, "--json")[1])
    assert (record["paired_by"], record["layers"]) == ("given", ["second"])
    assert record["matches"][0]["share"] == pytest.approx(
        np.mean([unit["has_partner"] for unit in record["matches"][0]["maps"]])
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["RUN", "RUN", "--match"],
        ["RUN", "RUN", "--match", "--data", "NONE"],
        ["RUN", "RUN", "--match", "--data", "DATA", "--layer", "third"],
        ["RUN", "RUN", "--out", "OUT"],
        ["RUN", "RUN", "--keep"],
        ["RUN", "RUN", "--data", "DATA"],
        ["RUN", "NONE", "--match", "--data", "DATA", "--out", "OUT"],
    ],
)
def test_a_match_that_cannot_be_is_exit_2(call, small_file, runs, bars, tmp_path, arguments):
    before = sorted(tmp_path.iterdir())
    names = {"NONE": tmp_path / "none", "RUN": runs / "a", "OUT": tmp_path / "out", "DATA": bars}
    arguments = [
        *arguments,
        *(["--models", small_file, small_file] if "third" in arguments else []),
    ]
    status, out, err = call("compare", *(names.get(row, row) for row in arguments))
    assert (status, out) == (2, "")
    assert err and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before
