"""Parts of the maps, from several runs, make the run that grew them all."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.core.formats import PartnersFile, TrainingRecordFile
from oip.core.images import png
from oip.core.layer_formats import (
    EstimatorRecord,
    KernelsFile,
    LegibilityFile,
    MapInformation,
    MapKernels,
    MapLegibility,
    PresetChoice,
    PresetsFile,
    RankingFile,
    ResponsesFile,
)
from oip.run.merge import merge_runs
from oip.run.run import Run
from oip.run.shards import layer_oips


def contents(run):
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file()
    }


def ranking(count=0, source=""):
    """A ranking of the first maps of the second layer, of data of some name."""
    maps = [MapInformation(map=number, mi=1.0) for number in range(count)]
    tables = [EstimatorRecord(estimator="kde", held_out=False, split=source, maps=maps)]
    return RankingFile(layer="second", index=1, estimators=tables)


def responses(count):
    column, pairs = np.zeros((count, 1)), np.zeros((count, 1, 2), int)
    return ResponsesFile(
        maps=np.arange(count),
        best_images=column.astype(int),
        best_scores=column,
        best_positions=pairs,
        edges=np.zeros((count, 3)),
        histogram=pairs,
        active=np.zeros(count),
    )


def partners(count):
    """Partners of the first units of a layer in another network."""
    numbers, values = np.arange(count), np.zeros(count)
    return PartnersFile(
        other="b.keras",
        layer="second",
        split="digits",
        threshold=0.5,
        maps=numbers,
        partners=numbers,
        correlation=values,
        low=values,
        high=values,
        percentile=values,
        has_picture=values > 0,
        pictures=np.zeros((count, 2, 2), np.uint8),
    )


def training_record(steps=()):
    return TrainingRecordFile(
        estimator="kde",
        name_shown="KDE",
        samples=100,
        split="digits",
        label_ceiling=3.3,
        input_ceiling=None,
        layers=[],
        steps=list(steps),
    )


def test_parts_make_the_whole(grown, make_run, tmp_path):
    runs = [
        make_run(tmp_path / "a", "second:64-69"),
        make_run(tmp_path / "b", "first", "second:0-63"),
    ]
    before = [contents(run) for run in runs]
    merged = merge_runs([run.path for run in runs], tmp_path / "out")
    assert merged.maps == {0: 6, 1: 70}
    assert contents(merged.run) == contents(grown)
    assert [contents(run) for run in runs] == before
    times = {path: path.stat().st_mtime_ns for path in merged.run.path.rglob("shard-*")}
    merge_runs([run.path for run in runs], tmp_path / "out")
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_maps_of_one_shard_are_put_together_the_first_run_first(make_run, tmp_path):
    first = make_run(tmp_path / "a", "second:1,3,5")
    second = make_run(tmp_path / "b", "second:0,3")
    merged = merge_runs([first.path, second.path], tmp_path / "out")
    merged_oips = layer_oips(merged.run, 1)
    assert merged_oips.maps.tolist() == [0, 1, 3, 5]
    for run, rows in ((first, [1, 2, 3]), (second, [0])):
        oips = layer_oips(run, 1)
        np.testing.assert_array_equal(
            merged_oips.images[rows], oips.images[np.isin(oips.maps, merged_oips.maps[rows])]
        )
    assert np.isfinite(merged_oips.stability).all()


def test_what_was_left_of_a_merge_is_used_and_damage_in_it_is_mended(copied, tmp_path):
    out = tmp_path / "out"
    merge_runs([copied.path], out)
    path = Run.open(out).shard(1, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    merge_runs([copied.path], out)
    assert path.read_bytes() == whole


def test_rankings_come_along_and_the_first_one_stands(copied, grown, tmp_path):
    for run, text in ((copied, "first"), (Run.open(_copy(grown, tmp_path / "b")), "second")):
        ranking(source=text).write(run.folder(1) / "ranking.json")
        (run.folder(1) / "shard-0000.error.json").write_text("{}")
    merged = merge_runs([copied.path, tmp_path / "b"], tmp_path / "out")
    assert merged.run.ranking(1).estimators[0].split == "first"
    assert len(merged.notices) == 1 and "ranking.json" in merged.notices[0]
    assert not list((tmp_path / "out").rglob("*.error.json"))


def test_files_that_were_made_together_are_those_of_one_run(copied, grown, tmp_path):
    other = Run.open(_copy(grown, tmp_path / "b"))
    for run, count in ((copied, 2), (other, 3)):
        (run.path / "record/steps").mkdir(parents=True)
        training_record(range(count)).write(run.path / "record/record.json")
        for step in range(count):
            files.write_arrays(run.path / f"record/steps/{step}.npz", {"mi": np.ones(count)})
        ranking(count).write(run.folder(1) / "ranking.json")
    responses(3).write(other.folder(1) / "responses.npz")
    for left_behind in (b"", b"damaged"):
        merged = merge_runs([copied.path, other.path], tmp_path / "out")
        path = merged.run.folder(1) / "ranking.json"
        assert path.read_bytes() == (copied.folder(1) / "ranking.json").read_bytes()
        path.write_bytes(left_behind)
        assert sorted(path.name for path in (merged.run.path / "record/steps").iterdir()) == [
            "0.npz",
            "1.npz",
        ]
        assert not (merged.run.folder(1) / "responses.npz").exists()
        assert merged.notices == tuple(
            f"{name}: that of '{copied.path}' was taken"
            for name in ("layers/001/ranking.json", "record/record.json")
        )


def test_arrays_without_their_ranking_do_not_stand_for_one(copied, grown, tmp_path):
    other = Run.open(_copy(grown, tmp_path / "b"))
    responses(2).write(copied.folder(1) / "responses.npz")
    responses(3).write(other.folder(1) / "responses.npz")
    ranking(3).write(other.folder(1) / "ranking.json")
    merged = merge_runs([copied.path, other.path], tmp_path / "out")
    folder = merged.run.folder(1)
    assert (folder / "ranking.json").is_file() and merged.notices == ()
    assert files.read_array(folder / "responses.npz", "maps").tolist() == [0, 1, 2]


def test_a_record_that_the_merged_run_has_itself_stays_whole(copied, tmp_path):
    own, theirs = tmp_path / "out/record", copied.path / "record"
    merge_runs([copied.path], tmp_path / "out")
    for folder, steps in ((own, []), (theirs, [1])):
        folder.mkdir()
        training_record(steps).write(folder / "record.json")
    files.write_arrays(theirs / "layer-001.npz", {"mi": np.ones(2)})
    merged = merge_runs([copied.path], tmp_path / "out")
    assert [path.name for path in own.iterdir()] == ["record.json"]
    assert merged.notices == (f"record/record.json: that of '{tmp_path / 'out'}' was kept",)


def test_kernels_that_were_ranked_in_one_way_are_joined(make_run, tmp_path):
    runs = [make_run(tmp_path / name, "second:1,3") for name in "abc"]
    about = {"estimator": "kde", "samples": 60, "ceiling": 1.0}
    for run, maps, key in zip(runs, ([1, 3], [0, 3], [5]), ("same", "same", "other"), strict=True):
        rows = [MapKernels(map=number, of=1, kernels=[]) for number in maps]
        for number in maps:
            (run.folder(1) / f"kernels-{number:04d}.png").write_bytes(
                png(np.zeros((4, 4, 3), np.uint8))
            )
        KernelsFile(**about, maps=rows, key=key).write(run.folder(1) / "kernels.json")
    merged = merge_runs([run.path for run in runs], tmp_path / "out")
    record = KernelsFile.read(merged.run.folder(1) / "kernels.json")
    assert record.numbers() == [0, 1, 3]
    assert sorted(path.name for path in merged.run.folder(1).glob("kernels-*.png")) == [
        f"kernels-{number:04d}.png" for number in (0, 1, 3)
    ]
    assert merged.notices == (f"layers/001/kernels.json: that of '{runs[0].path}' was taken",)


def test_legibility_by_one_judge_and_the_presets_kept_are_joined(make_run, tmp_path):
    runs = [
        make_run(tmp_path / "a", "second:1,3,5"),
        make_run(tmp_path / "b", "second:0,3"),
        make_run(tmp_path / "c", "second:7"),
    ]
    about = {"judge": "lite2", "samples": 200, "split": "photos"}
    for run, share in zip(runs, (0.6, 0.8, 0.9), strict=True):
        maps = layer_oips(run, 1).maps.tolist()
        rows = [MapLegibility(map=number, share=share) for number in maps]
        judge = about if share < 0.9 else {**about, "judge": "another"}
        record = LegibilityFile(layer="second", index=1, **judge, maps=rows, key=f"{share}")
        record.write(run.folder(1) / "legibility.json")
        choices = [PresetChoice(map=n, preset="maco", shares={"maco": share}) for n in maps]
        PresetsFile(**about, maps=choices).write(run.folder(1) / "presets.json")
    merged = merge_runs([run.path for run in runs], tmp_path / "out")
    record = LegibilityFile.read(merged.run.folder(1) / "legibility.json")
    assert {row.map: row.share for row in record.maps} == {0: 0.8, 1: 0.6, 3: 0.6, 5: 0.6}
    kept = PresetsFile.read(merged.run.folder(1) / "presets.json")
    assert [row.map for row in kept.maps] == [0, 1, 3, 5, 7]
    assert merged.notices == (f"layers/001/legibility.json: that of '{runs[0].path}' was taken",)
    merged = merge_runs([run.path for run in runs], tmp_path / "out")
    assert LegibilityFile.read(merged.run.folder(1) / "legibility.json") == record


def test_arrays_that_are_left_behind_are_named(copied, grown, tmp_path):
    for run, number in ((copied, 1), (Run.open(_copy(grown, tmp_path / "b")), 2)):
        partners(number).write(run.folder(1) / "partners.npz")
        responses(number).write(run.folder(1) / "responses.npz")
    merged = merge_runs([copied.path, tmp_path / "b"], tmp_path / "out")
    assert PartnersFile.read(merged.run.folder(1) / "partners.npz").maps.tolist() == [0]
    assert len(merged.notices) == 1 and "partners.npz" in merged.notices[0]


def test_what_was_made_in_the_merged_run_since_stays(copied, tmp_path):
    name = "layers/001/ranking.json"
    ranking(source="first").write(copied.path / name)
    (copied.folder(1) / "kernels-0001.png").write_bytes(png(np.zeros((3, 3, 1), np.uint8)))
    out = tmp_path / "out"
    assert merge_runs([copied.path], out).notices == ()
    assert merge_runs([copied.path], out).notices == ()
    ranking(source="second").write(out / name)
    (out / "layers/001/kernels-0001.png").write_bytes(b"damaged")
    assert merge_runs([copied.path], out).notices == (f"{name}: that of '{out}' was kept",)
    assert RankingFile.read(out / name) == ranking(source="second")
    assert contents(Run.open(out))["layers/001/kernels-0001.png"].startswith(b"\x89PNG")
    (out / name).write_text("{")
    assert merge_runs([copied.path], out).notices == ()
    assert RankingFile.read(out / name) == ranking(source="first")


def _copy(run, path):
    import shutil

    shutil.copytree(run.path, path)
    return path


def test_what_does_not_belong_together_is_refused(grown, copied, make_run, tmp_path):
    other = make_run(tmp_path / "seed", "first:0", seed=1)
    with pytest.raises(RunError, match="another way: expected seed 1; received seed 0"):
        merge_runs([grown.path, other.path], tmp_path / "out")
    with pytest.raises(RunError, match="beside the runs"):
        merge_runs([grown.path, copied.path], copied.path)
    info = files.read_json(copied.path / "run.json")
    info["model"]["sha256"] = "0" * 64
    files.write_json(copied.path / "run.json", info)
    with pytest.raises(RunError, match="another model"):
        merge_runs([grown.path, copied.path], tmp_path / "out")
    with pytest.raises(RunError, match="no such folder"):
        merge_runs([tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_source_is_named(grown, copied, tmp_path):
    copied.shard(1, 1).write_bytes(b"no archive")
    with pytest.raises(RunError, match="shard-0001"):
        merge_runs([grown.path, copied.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["legibility.json", "responses.npz", "shard-0000.npz"])
def test_a_folder_in_place_of_a_file_is_named_and_not_left_out(copied, tmp_path, name):
    path = copied.folder(0) / name
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(RunError, match=f"{name}'.* a folder"):
        merge_runs([copied.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("layers/001/ranking.json", b"[]", "ranking.json'.* a list"),
        ("layers/001/ranking.json", b'{"schema": 2, "maps": 3}', "ranking.json'.* another form"),
        ("layers/001/legibility.json", b"{", "legibility.json'"),
        ("layers/000/responses.npz", b"no archive", "responses.npz'"),
        ("layers/999/kernels.json", b"{}", "kernels.json'.* of no layer that run.json names"),
        ("record/record.json", b"3", "record.json'.* a int"),
        ("layers/000/kernels-0001.png", b"GIF", "kernels-0001.png'.* damaged"),
    ],
)
def test_a_file_of_another_shape_is_named_before_anything_is_written(
    copied, tmp_path, name, content, message
):
    (copied.path / name).parent.mkdir(exist_ok=True)
    (copied.path / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        merge_runs([copied.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_another_layer_or_block_are_named_before_anything_is_written(copied, tmp_path):
    shard = copied.shard(1, 1).read_bytes()
    copied.shard(1, 2).write_bytes(shard)
    with pytest.raises(RunError, match=r"shard-0002.npz'.* maps of another block"):
        merge_runs([copied.path], tmp_path / "out")
    copied.shard(1, 2).unlink()
    ranking().write(copied.folder(0) / "ranking.json")
    with pytest.raises(RunError, match=r"000/ranking.json'.* of layer @1"):
        merge_runs([copied.path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
