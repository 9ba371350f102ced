import json
import shutil

import numpy as np
import pytest

import oip
from oip.core.errors import DataError, Notice, RunError, SettingsError
from oip.core.formats import RunSettings
from oip.core.layer_formats import AblationFile, KernelsFile, RankingFile, RedundancyFile
from oip.core.progress import silent
from oip.models.datasets import labeled
from oip.network.network import Network
from oip.run.run import Run, run_record

FILES = {
    "ablation.json": AblationFile,
    "kernels.json": KernelsFile,
    "redundancy.json": RedundancyFile,
}


@pytest.fixture(scope="module")
def ranked(small_model, bars, tmp_path_factory):
    """A run with the rankings of the first layer and three maps of the second."""
    out = tmp_path_factory.mktemp("ranked") / "run"
    images, labels = bars
    layers = ["first", "second:3,5,7"]
    options = {"estimators": ["kde"], "samples": 60, "redundancy": True, "ablate": True}
    return out, oip.rank_into(out, small_model, layers, data=images, labels=labels, **options)


def test_the_result_is_that_of_the_command(ranked, small_model, bars, capsys, tmp_path):
    from oip.cli.main import run

    layers = ranked[1]
    small_model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "bars.npz", images=bars[0], labels=bars[1])
    arguments = ["rank", tmp_path / "m.keras", "first", "--out", tmp_path / "run", "--json"]
    data = ["--data", f"{tmp_path / 'bars.npz'}:train", "--estimator", "kde", "--samples", "60"]
    assert run([str(argument) for argument in (*arguments, *data, "--quiet")]) == 0
    (printed,) = json.loads(capsys.readouterr().out)["layers"]
    assert set(printed) < set(layers[0].to_dict())
    assert printed["estimators"][0].keys() == layers[0].to_dict()["estimators"][0].keys()
    assert [layer.layer.name for layer in layers] == ["first", "second"]
    assert sorted(layers[1].maps) == [3, 5, 7]


def test_results_show_themselves(ranked):
    first, second = ranked[1]
    assert repr(first).startswith("RankedLayer first: 6 maps by kde; best map ")
    assert first._repr_html_().count("<tr>") >= 6
    table = second.to_pandas()
    assert table["map"].tolist() == second.maps
    assert table["rank"].tolist() == [1, 2, 3]
    assert first.redundancy.layer == "first" and first.ablation.agreement
    assert first.kernels is None


def test_images_of_several_labels_are_ranked_tag_by_tag(small_model, bars, tmp_path):
    images, labels = bars
    tags = np.stack([labels % 2, labels > 0, labels == 1], axis=1).astype(int)
    options = {"estimators": ["kde"], "samples": 60}
    (layer,) = oip.rank_into(tmp_path, small_model, "first", data=images, labels=tags, **options)
    assert layer.ranking.tags and layer.ranking.classes == ["0", "1", "2"]
    assert len(layer.best.maps[0].per_class) == 3


def test_the_same_call_reads_what_is_there(ranked, small_model, bars):
    out, layers = ranked
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    images, labels = bars
    options = {"estimators": ["kde"], "samples": 60, "redundancy": True, "ablate": True}
    second_call = oip.rank_into(
        out, small_model, ["first", "second:3,5,7"], data=images, labels=labels, **options
    )
    assert [layer.to_dict() for layer in second_call] == [layer.to_dict() for layer in layers]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before


def test_a_ranking_that_was_killed_while_it_was_written_is_not_paired_with_other_arrays(
    small_model, bars, tmp_path, monkeypatch
):
    images, labels = bars
    options = {"data": images, "labels": labels, "estimators": ["kde"]}
    oip.rank_into(tmp_path, small_model, "first", samples=60, **options)
    folder = tmp_path / "layers/000"
    before = (folder / "ranking.json").read_bytes(), (folder / "responses.npz").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(RankingFile, "write", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            oip.rank_into(tmp_path, small_model, "first", samples=40, **options)
    oip.rank_into(tmp_path, small_model, "first", samples=60, **options)
    assert before == (
        (folder / "ranking.json").read_bytes(),
        (folder / "responses.npz").read_bytes(),
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_other_names_of_classes_are_ranked_again(small_model, bars, tmp_path):
    images, labels = bars
    options = {"estimators": ["kde"], "samples": 60}
    for names in ("abcd", "wxyz"):
        data = labeled(images, labels, tuple(names), "bars")
        (layer,) = oip.rank_into(tmp_path, small_model, "first", data=data, **options)
        assert layer.ranking.classes == list(names)


def test_another_input_is_ranked_by_itself(bars, tmp_path):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = [layers.Input((16, 16, 1), name=name) for name in "ab"]
    both = layers.Add()([layers.Conv2D(3, 3)(tensor) for tensor in inputs])
    model = keras.Model(inputs, layers.Conv2D(3, 3, activation="relu", name="shared")(both))
    images, labels = bars
    options = {"data": images, "labels": labels, "estimators": ["kde"], "samples": 40}
    first, second = (
        oip.rank_into(tmp_path, oip.Network(model, input=name), "shared", **options)[0]
        for name in "ab"
    )
    assert [row.mi for row in first.best.maps] != [row.mi for row in second.best.maps]


def test_kernels_redundancy_and_ablation_alone(ranked, small_model, bars):
    out, layers = ranked
    images, labels = bars
    data = {"data": images, "labels": labels}
    kernels = oip.kernels_into(out, small_model, "second", [5, 3], estimator="kde", **data)
    assert [row.map for row in kernels.maps] == [5, 3]
    assert (out / "layers" / "001" / "kernels-0005.png").is_file()
    assert oip.redundancy_into(out, small_model, "second", [3, 5], samples=60, **data).clusters
    ablation = oip.ablate_into(out, small_model, layers[0], samples=60, **data)
    assert ablation == layers[0].ablation
    by_mean = oip.ablate_into(out, small_model, layers[0], to="mean", samples=60, **data)
    assert by_mean.silenced_to == "mean"
    by_mean = oip.ablate_into(out, small_model, layers[0], silenced_to="mean", samples=60, **data)
    assert by_mean.silenced_to == "mean"
    oip.ablate_into(out, small_model, layers[0], samples=60, **data)
    with pytest.raises(RunError, match="folder of a run"):
        oip.redundancy_into(out / "none", small_model, "second", **data)
    with pytest.raises(SettingsError, match="0 to 69"):
        oip.kernels_into(out, small_model, "second", [70], **data)


def test_kernels_of_other_settings_that_were_stopped_leave_no_old_pictures(
    small_model, bars, tmp_path
):
    options = {"data": bars[0], "labels": bars[1], "progress": silent}
    oip.rank_into(tmp_path, small_model, "second:0-2", estimators=["kde"], samples=40, **options)
    more = {"estimator": "kde", "samples": 40, **options}
    oip.kernels_into(tmp_path, small_model, "second", range(3), **more)

    def stopped(_label: str, done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oip.kernels_into(
            tmp_path, small_model, "second", [1], **{**more, "progress": stopped}, seed=1
        )
    folder = tmp_path / "layers" / "001"
    assert KernelsFile.read(folder / "kernels.json").numbers() == [1]
    kernels = oip.kernels_into(tmp_path, small_model, "second", [1], **more, seed=1)
    assert [row.map for row in kernels.maps] == [1]
    assert KernelsFile.read(folder / "kernels.json").numbers() == [0, 1, 2]


def test_layers_that_no_pooling_follows_are_left_out_where_none_is_named(
    small_model, bars, tmp_path
):
    images, labels = bars
    options = {"data": images, "labels": labels, "estimators": ["kde"], "samples": 40}
    with pytest.warns(Notice, match="no pooling follows them: second"):
        (layer,) = oip.rank_into(tmp_path / "run", small_model, at="block", **options)
    assert layer.layer.name == "first"


def test_layers_without_finite_responses_are_left_out_with_a_notice(small_model, bars, tmp_path):
    import keras

    model = keras.models.clone_model(small_model)
    model.set_weights(small_model.get_weights())
    kernel, bias = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([kernel, bias * np.nan])
    images, labels = bars
    options = {"data": images, "labels": labels, "estimators": ["kde"], "samples": 40}
    with pytest.warns(Notice, match="second"):
        (layer,) = oip.rank_into(tmp_path / "run", model, ["first", "second:0-2"], **options)
    assert layer.layer.name == "first"
    with pytest.raises(DataError, match="finite"):
        oip.rank_into(tmp_path / "none", model, "second:0-2", **options)
    assert not (tmp_path / "none").exists()


def test_bad_input_writes_nothing(small_model, bars, tmp_path):
    images, labels = bars
    out = tmp_path / "run"
    with pytest.raises(DataError, match="no labels"):
        oip.rank_into(out, small_model, data=images)
    with pytest.raises(SettingsError, match="pooling"):
        oip.rank_into(out, small_model, "second", data=images, labels=labels, at="block")
    with pytest.raises(DataError, match="4 classes of the model's output"):
        oip.rank_into(out, small_model, data=images, labels=labels % 2, ablate=True)
    with pytest.raises(SettingsError, match="kde"):
        oip.rank_into(out, small_model, data=images, labels=labels, estimators=["kd"])
    assert not out.exists()


def test_a_part_is_merged_into_what_is_there(small_model, bars, tmp_path):
    images, labels = bars
    data = {"data": images, "labels": labels, "estimators": ["kde"], "samples": 60}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    more = {"kernels": True, "redundancy": True, "ablate": True}
    (expected,) = oip.rank_into(whole, small_model, "first:0-3", **more, **data)
    oip.rank_into(parts, small_model, "first:1-3", **more, **data)
    (part,) = oip.rank_into(parts, small_model, "first:0", **more, **data)
    assert part.maps == [0] and [row.map for row in part.ablation.maps] == [0]
    assert part.best.maps[0] == next(row for row in expected.best.maps if row.map == 0)
    folder, other = (path / "layers" / "000" for path in (whole, parts))
    for path in folder.glob("*.*"):
        if path.name != "ablation.json":
            assert (other / path.name).read_bytes() == path.read_bytes(), path.name
    first, second = (AblationFile.read(path / "ablation.json") for path in (folder, other))
    assert first.key == second.key and first.numbers() == second.numbers()
    losses = [[row.loss_increase for row in record.maps] for record in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    # in another way: everything is measured in that way, and nothing is lost
    data["samples"] = 50
    oip.rank_into(parts, small_model, "first:2", **more, **data)
    run = oip.Run.open(parts)
    records = [run.ranking(0), *(kind.read(other / name) for name, kind in FILES.items())]
    assert [record.numbers() for record in records] == [[0, 1, 2, 3]] * 4
    assert run.responses(0).maps.tolist() == [0, 1, 2, 3]
    assert {by.samples for by in run.ranking(0).estimators} == {50}
    # a damaged ranking: its maps are known from the file beside it
    (other / "ranking.json").write_text("{")
    oip.rank_into(parts, small_model, "first:2", **data)
    assert run.ranking(0).numbers() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["ranking.json", "responses.npz"])
def test_a_folder_in_place_of_a_file_is_named_before_anything_is_measured(
    small_model, bars, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("oip.workflows.rank.rank", lambda *args, **options: pytest.fail("measured"))
    (tmp_path / "layers" / "000" / name).mkdir(parents=True)
    Run.begin(tmp_path / "run", run_record(Network(small_model), RunSettings()))
    shutil.copytree(tmp_path / "layers", tmp_path / "run" / "layers")
    options = {"estimators": ["kde"], "samples": 60}
    with pytest.raises(RunError, match=f"{name}': expected a file; received a folder"):
        oip.rank_into(
            tmp_path / "run", small_model, "first", data=bars[0], labels=bars[1], **options
        )
