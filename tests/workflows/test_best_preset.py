import json
import shutil
import warnings

import numpy as np
import pytest

import oip
from oip.cli.main import run as command
from oip.core.errors import DataError, Notice, RunError, SettingsError
from oip.core.layer_formats import LegibilityFile, PresetsFile
from oip.run.check import verify_run
from oip.run.run import Run
from oip.run.shards import layer_oips
from oip.workflows.best_preset import NAME, best_presets

OPTIONS = {"starts": 1, "steps": 2, "screened": 4}
PRESETS = ("default", "fourier")


@pytest.fixture(scope="module")
def best(judge_folder):
    """A folder with a model, a judge, 400 images, and a run of the best of two presets."""
    folder, _ = judge_folder(400)
    return folder, grown(folder)


def grown(folder, maps="first:0-3", **changes):
    return oip.reconstruct_best_into(
        folder / "run",
        folder / "model.keras",
        maps,
        data=f"{folder / 'images.npz'}:all",
        judge=folder / "judge.keras",
        presets=PRESETS,
        **{**OPTIONS, **changes},
    )


def test_the_most_legible_preset_of_each_unit_is_kept(best):
    folder, run = best
    choice = PresetsFile.read(run.folder(0) / "presets.json")
    parts = {name: Run.open(folder / "run" / "presets" / name) for name in PRESETS}
    judged = {
        name: {row.map: row.share for row in LegibilityFile.read(file).maps}
        for name, part in parts.items()
        for file in [part.folder(0) / "legibility.json"]
    }
    oips = layer_oips(run, 0)
    assert oips.maps.tolist() == [0, 1, 2, 3]
    for row in choice.maps:
        shares = {name: judged[name][row.map] for name in PRESETS}
        assert row.shares == shares
        assert row.preset == max(PRESETS, key=lambda name: shares[name])
        own = layer_oips(parts[row.preset], 0)[row.map]
        assert oips[row.map].image.tolist() == own.image.tolist()
        assert oips[row.map].score == own.score
    assert len({row.preset for row in choice.maps}) == 2
    assert run.record.settings.preset == "best:default,fourier"


def test_legibility_is_of_the_images_that_nothing_was_chosen_with(best):
    _, run = best
    choice = PresetsFile.read(run.folder(0) / "presets.json")
    record = LegibilityFile.read(run.folder(0) / "legibility.json")
    assert (choice.samples, record.samples) == (200, 200)
    assert choice.split.endswith("0, 2, 4 ...") and record.split.endswith("1, 3, 5 ...")
    assert not [file for file in verify_run(run) if file.problem]


def test_the_same_call_goes_on(best):
    folder, run = best
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*.*")}
    grown(folder)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*.*")} == before
    shard = run.shards(0)[0]
    content = shard.read_bytes()
    shard.unlink()
    grown(folder)
    assert shard.read_bytes() == content
    old = {row.map: row for row in PresetsFile.read(run.folder(0) / "presets.json").maps}
    grown(folder, "first:4")
    new = PresetsFile.read(run.folder(0) / "presets.json").maps
    assert [row.map for row in new] == [0, 1, 2, 3, 4]
    assert {row.map: row for row in new if row.map < 4} == old
    with pytest.raises(RunError, match="made in another way"):
        grown(folder, seed=5)


def test_the_command(best, tmp_path, capsys, monkeypatch):
    folder, _ = best
    monkeypatch.chdir(folder)
    arguments = ["reconstruct", "model.keras", "--objective", "class:1", "--data", "images.npz:all"]
    arguments += ["--preset", "best:default,fourier", "--starts", "1", "--steps", "2", "-q"]
    arguments += ["--set", "screened=4", "--out", str(tmp_path / "run"), "--json"]
    assert command([*arguments, "--judge", "judge.keras"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["objective"] for row in result["layers"][0]["maps"]] == ["class:1"]
    assert command([*arguments[:-1], "--judge", "judge.keras"]) == 0
    printed = capsys.readouterr().out
    assert "judge judge.keras, 200 images of images.npz:all, 1, 3, 5 ..." in printed
    index = result["layers"][0]["index"]
    kept = PresetsFile.read(Run.open(tmp_path / "run").folder(index) / NAME)
    (chosen,), (judged,) = result["presets"], result["legibility"]
    assert (chosen["index"], chosen["maps"][0]["preset"]) == (index, kept.maps[0].preset)
    assert judged["judge"] == chosen["judge"] == "judge.keras"
    assert judged["samples"] == chosen["samples"] == 200 and 0.0 <= judged["maps"][0]["share"] <= 1
    assert f"most legible preset, by units: {kept.maps[0].preset} 1" in printed
    assert command(arguments) == 2
    assert "--judge and --data as well, and no --from; received no --judge." in (
        capsys.readouterr().err
    )
    assert command([*arguments, "--preset", "default", "--judge", ""]) == 2
    assert "--preset best as well" in capsys.readouterr().err
    assert command([*arguments, "--judge", "model.keras", "--out", str(tmp_path / "own")]) == 2
    assert "other weights" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_legibility_by_the_images_of_the_choice_is_told(best, judge_folder, tmp_path):
    folder, run = best
    copied = Run.open(shutil.copytree(run.path, tmp_path / "run"))
    more = {"judge": folder / "judge.keras", "model": folder / "model.keras"}
    with pytest.warns(Notice, match="chosen with 200 of these images, for which shares are too"):
        oip.judge_into(copied, data=f"{folder / 'images.npz'}:all", **more)
    other, _ = judge_folder(300)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        oip.judge_into(copied, data=f"{other / 'images.npz'}:train", **more)


def test_presets_with_references_have_images_of_their_own(judge_folder):
    folder, _ = judge_folder(600)
    run = oip.reconstruct_best_into(
        folder / "context",
        folder / "model.keras",
        "first:0-1",
        data=f"{folder / 'images.npz'}:all",
        judge=folder / "judge.keras",
        presets=("fourier", "context"),
        **OPTIONS,
    )
    parts = {
        name: Run.open(folder / "context" / "presets" / name) for name in ("fourier", "context")
    }
    sources = {name: part.record.data.source for name, part in parts.items()}
    assert sources["context"].endswith("1, 4, 7 ...") and sources["fourier"].endswith(":all")
    choice = PresetsFile.read(run.folder(0) / "presets.json")
    record = LegibilityFile.read(run.folder(0) / "legibility.json")
    assert choice.split.endswith("0, 3, 6 ...") and record.split.endswith("2, 5, 8 ...")
    assert (choice.samples, record.samples) == (200, 200)


def test_bad_input_is_refused(best):
    folder, _ = best
    assert best_presets("natural") is None
    assert best_presets("best:maco,fourier") == ("maco", "fourier")
    with pytest.raises(SettingsError, match="two presets or more"):
        best_presets("best:maco")
    few = {"data": np.zeros((399, 16, 16, 1), np.uint8) + np.arange(16, dtype=np.uint8)[:, None]}
    few |= {"judge": folder / "judge.keras"}
    with pytest.raises(DataError, match=r"at least 400.*SOURCE:all"):
        oip.reconstruct_best_into(folder / "few", folder / "model.keras", **few)
    expected = "at least 600, 200 of them to choose the preset, 200 for 'context'"
    with pytest.raises(DataError, match=expected):
        presets = ["natural", "context"]
        oip.reconstruct_best_into(
            folder / "few", folder / "model.keras", **few | {"presets": presets}
        )
    with pytest.raises(SettingsError, match="fourer"):
        oip.reconstruct_best_into(
            folder / "few", folder / "model.keras", presets=["fourer", "maco"], **few
        )
    assert not (folder / "few").exists()


def test_other_maps_are_kept_after_a_kill_between_two_presets(judge_folder, monkeypatch):
    from oip.workflows import best_preset

    folder, _ = judge_folder(400)
    original, calls = best_preset.reconstruct_layers, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(best_preset, "reconstruct_layers", killed)
    with pytest.raises(KeyboardInterrupt):
        grown(folder, "first:0-1")
    run = grown(folder, "first:3-4")
    assert layer_oips(run, 0).maps.tolist() == [3, 4]
    assert LegibilityFile.read(run.folder(0) / "legibility.json").numbers() == [3, 4]
    assert layer_oips(grown(folder, "first:0"), 0).maps.tolist() == [0, 3, 4]
