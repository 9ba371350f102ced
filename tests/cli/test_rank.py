import json
import re

import numpy as np
import pytest

from oip.cli.main import run
from oip.gallery.read_run import layer_evidence
from oip.run.run import Run


def test_json_and_files_say_the_same(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    status, printed, err = call(
        "rank", small_file, "--data", bars, "--out", out, "--json", "--quiet"
    )
    assert (status, err) == (0, "")
    record = json.loads(printed)["layers"]
    assert [(layer["layer"], layer["index"]) for layer in record] == [("first", 0), ("second", 1)]
    assert [len(layer["estimators"][0]["maps"]) for layer in record] == [6, 70]
    for layer in record:
        folder = out / "layers" / f"{layer['index']:03d}"
        kept = json.loads((folder / "ranking.json").read_text())
        assert {name: kept[name] for name in layer} == layer
        assert set(kept) - set(layer) == {"schema", "key", "data_sha256", "checksum"}
        with np.load(folder / "responses.npz") as arrays:
            maps = len(layer["estimators"][0]["maps"])
            assert arrays["best_images"].shape == (maps, 9)
            assert arrays["histogram"].shape[:2] == (maps, 4)
            assert arrays["maps"].tolist() == list(range(maps))
    info = json.loads((out / "run.json").read_text())
    assert set(info["settings"]["rank"]["estimators"]) == {"predictive", "kde"}
    assert info["data"]["source"] == record[0]["estimators"][0]["split"]


def test_a_layer_that_was_finished_is_not_done_again(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    arguments = ("rank", small_file, "first", "--data", bars, "--out", out, "--json", "--quiet")
    first = call(*arguments)
    path = out / "layers" / "000" / "ranking.json"
    made = path.stat().st_mtime_ns
    assert call(*arguments) == first
    assert path.stat().st_mtime_ns == made
    assert call(*arguments, "--seed", "1")[0] == 0
    assert path.stat().st_mtime_ns > made


def test_some_maps_of_a_ranked_layer_are_best_for_the_same_class(call, small_file, bars, tmp_path):
    def best_of(maps):
        where = "--data", bars, "--out", tmp_path / "run", "--quiet"
        lines = call("rank", small_file, maps, *where)[1].splitlines()
        rows = [line.split() for line in lines if re.match(r"\s+\d+ \(", line)]
        return {row[2]: row[-2:] for row in rows[: len(rows) // 2]}

    every = best_of("first")
    assert len(every) == 6 and {len(cells) for cells in every.values()} == {2}
    assert best_of("first:1,4") == {number: every[number] for number in ("1", "4")}


def test_maps_that_labels_at_random_tell_nothing_of_are_best_for_no_class(
    call, small_file, bars, tmp_path
):
    with np.load(bars.removesuffix(":train")) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez(
        tmp_path / "random.npz", images=images, labels=np.random.default_rng(0).permutation(labels)
    )
    more = ("--estimator", "kde", "--json", "--quiet", "--out", tmp_path / "run")
    arguments = ("rank", small_file, "first", "--data", tmp_path / "random.npz", *more)
    maps = json.loads(call(*arguments)[1])["layers"][0]["estimators"][0]["maps"]
    assert all(row["p_adjusted"] > 0.05 and max(row["per_class"]) > 0.001 for row in maps)
    table = call(*(text for text in arguments if text != "--json"))[1].splitlines()
    rows = [line.split() for line in table if re.match(r"\s+\d+ \(", line)]
    assert len(rows) == 6 and {cells[-1] for cells in rows} == {"-"}


def test_tables_show_the_best_and_the_worst_without_control_characters(
    call, small_file, bars, tmp_path
):
    status, printed, err = call(
        "rank",
        small_file,
        "second",
        "--data",
        bars,
        "--out",
        tmp_path / "run",
        "--estimator",
        "decoder",
    )
    assert status == 0
    assert "\x1b" not in printed
    assert "usable information (a lower bound)" in printed
    assert "70 (" in printed
    assert "11 (" not in printed.split("...")[0]
    assert "ranking: 70/70" in err
    status, printed, _ = call(
        "rank", small_file, "first:0,4", "--data", bars, "--out", tmp_path / "run", "--quiet"
    )
    assert status == 0
    assert "..." not in printed


def test_maps_that_are_not_finite_are_exit_1_and_all_of_them_exit_2(
    call, small_model, bars, tmp_path
):
    import keras

    def broken(layer, row):
        model = keras.models.clone_model(small_model)
        model.set_weights(small_model.get_weights())
        kernel, bias = model.get_layer(layer).get_weights()
        bias[row] = np.nan
        model.get_layer(layer).set_weights([kernel, bias])
        path = tmp_path / f"nan-{layer}.keras"
        model.save(path)
        return path

    for row, expected in ((slice(2, 3), 1), (slice(None), 2)):
        path = broken("first", row)
        out = tmp_path / f"run{expected}"
        status, printed, err = call("rank", path, "first", "--data", bars, "--out", out, "--json")
        assert status == expected
        assert "finite" in err
        if expected == 1:
            maps = json.loads(printed)["layers"][0]["estimators"][0]["maps"]
            assert (maps[-1]["map"], maps[-1]["mi"]) == (2, None)
        else:
            assert not out.exists()
    # A layer of which nothing can be told is named, and the others are kept.
    arguments = ["--data", bars, "--out", tmp_path / "run", "--json"]
    status, printed, err = call("rank", broken("second", slice(None)), *arguments)
    assert status == 1
    assert [layer["layer"] for layer in json.loads(printed)["layers"]] == ["first"]
    assert "'second'" in err


def test_block_leaves_out_layers_without_pooling_unless_they_are_named(
    call, small_file, bars, tmp_path
):
    arguments = ["--data", bars, "--out", tmp_path / "run", "--at", "block", "--json"]
    status, printed, err = call("rank", small_file, *arguments)
    assert status == 0
    assert [layer["layer"] for layer in json.loads(printed)["layers"]] == ["first"]
    assert "second" in err
    status, _, err = call("rank", small_file, "second", *arguments)
    assert status == 2
    assert "pooling" in err


def test_what_reconstruct_was_told_of_the_input_stays(call, bars, tmp_path):
    import keras
    from keras import layers

    plain = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(3, 5, activation="relu")])
    plain.save(tmp_path / "plain.keras")
    out = tmp_path / "run"
    made = ["reconstruct", tmp_path / "plain.keras", "--out", out, "--input-mean", "7", "--quiet"]
    small = ["--starts", "1", "--steps", "2", "--screened", "8"]
    assert run([str(part) for part in (*made, *small)]) == 0
    before = json.loads((out / "run.json").read_text())["input"]
    assert call("rank", tmp_path / "plain.keras", "--data", bars, "--out", out, "--quiet")[0] == 0
    after = json.loads((out / "run.json").read_text())
    assert after["input"] == before
    assert set(after["settings"]) == {"reconstruct", "preset", "data", "rank"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["MODEL", "--data", "BARS"], "--out"),
        (["MODEL", "--out", "OUT"], "--data"),
        (["MODEL", "thrid", "--data", "BARS", "--out", "OUT"], "first, second"),
        (["MODEL", "first:9", "--data", "BARS", "--out", "OUT"], "0 to 5"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--estimator", "decodr"], "decoder"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--samples", "3"], "--samples"),
        (["MODEL", "--data", "BARS", "--out", "OUT", "--at", "start"], "--at"),
        (["MODEL", "--data", "NOLABELS", "--out", "OUT"], "labels"),
        (["MODEL", "--data", "ONECLASS", "--out", "OUT"], "two classes"),
        (["MODEL", "--data", "FEW", "--out", "OUT"], "at least 20"),
        (["none.keras", "--data", "BARS", "--out", "OUT"], "none.keras"),
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(
    call, small_file, small_images, bars, tmp_path, arguments, word
):
    images, labels = small_images
    np.savez(tmp_path / "nolabels.npz", images=images)
    np.savez(tmp_path / "oneclass.npz", images=images, labels=labels * 0)
    np.savez(tmp_path / "few.npz", images=images[:12], labels=labels[:12])
    names = {
        "MODEL": str(small_file),
        "BARS": bars,
        "OUT": str(tmp_path / "out"),
        "NOLABELS": f"{tmp_path / 'nolabels.npz'}:train",
        "ONECLASS": f"{tmp_path / 'oneclass.npz'}:train",
        "FEW": f"{tmp_path / 'few.npz'}:train",
    }
    status, out, err = call("rank", *(names.get(argument, argument) for argument in arguments))
    assert (status, out) == (2, "")
    assert word in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_the_effect_stands_beside_the_ranking(call, small_file, bars, tmp_path):
    from scipy.stats import spearmanr

    from oip.gallery.read_run import layer_evidence
    from oip.run.run import Run

    arguments = (
        "rank",
        small_file,
        "first",
        "--data",
        bars,
        "--out",
        tmp_path / "run",
        "--ablate",
        "--quiet",
    )
    arguments = (*arguments, "--estimator", "kde", "--with-input")
    status, printed, _ = call(*arguments, "--json")
    assert status == 0
    (layer,) = json.loads(printed)["layers"]
    ablation = layer_evidence(Run.open(tmp_path / "run"), 0).ablation
    assert ablation is not None
    assert ablation.public_dict() == layer["ablation"]
    effects = {row.map: row.loss_increase for row in ablation.maps}
    assert sorted(effects) == list(range(6))
    maps = layer["estimators"][0]["maps"]
    expected = spearmanr([row["mi"] for row in maps], [effects[row["map"]] for row in maps])[0]
    assert layer["ablation"]["agreement"] == [
        {"estimator": "kde", "spearman": pytest.approx(expected)}
    ]
    path = tmp_path / "run" / "layers" / "000" / "ablation.json"
    made = path.stat().st_mtime_ns
    status, printed, _ = call(*arguments)
    assert status == 0
    assert path.stat().st_mtime_ns == made
    assert "loss increase without" in printed
    assert f"{effects[maps[0]['map']]:.4f}" in printed
    assert f"kde and loss without the map: Spearman {expected:.2f}" in printed
    assert "input," in printed  # the heading breaks in a narrow table
    call(*arguments, "--silenced-to", "mean")
    assert json.loads(path.read_text())["silenced_to"] == "mean"


def test_agreement_is_printed_and_a_saturated_order_is_none(call, small_file, bars, tmp_path):
    arguments = ("rank", small_file, "first", "--data", bars, "--out", tmp_path / "run", "--quiet")
    _, printed, _ = call(*arguments, "--estimator", "decoder", "--estimator", "kde")
    assert "decoder and kde: Kendall's tau " in printed


def test_the_loss_of_other_classes_is_refused(call, small_file, small_images, tmp_path):
    images, labels = small_images
    path = tmp_path / "two.npz"
    np.savez(path, images=images, labels=labels % 2)
    out = tmp_path / "run"
    status, _, err = call("rank", small_file, "--data", f"{path}:train", "--out", out, "--ablate")
    assert status == 2
    assert "4 classes of the model's output" in err
    assert not out.exists()


def test_kernels_and_redundancies_are_as_the_gallery_reads_them(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    arguments = (
        "rank",
        small_file,
        "second:3,7",
        "--data",
        bars,
        "--out",
        out,
        "--quiet",
        "--json",
    )
    status, printed, err = call(*arguments, "--estimator", "kde", "--kernels", "--redundancy")
    assert (status, err) == (0, "")
    (record,) = json.loads(printed)["layers"]
    evidence = layer_evidence(Run.open(out), 1)
    assert [row.map for row in evidence.kernels.maps] == [3, 7]
    ranked = [row["map"] for row in record["estimators"][0]["maps"]]
    assert [row["map"] for row in record["kernels"]["maps"]] == ranked
    kernels = evidence.kernels.maps[0]
    assert (kernels.of, len(kernels.kernels)) == (6, 6)
    values = [max(row.mi - row.chance, 0.0) for row in kernels.kernels]
    assert values == sorted(values, reverse=True)
    assert np.shape(kernels.kernels[0].weights) == (3, 3)
    for number in (3, 7):
        picture = out / "layers" / "001" / f"kernels-{number:04d}.png"
        assert picture.read_bytes()[:4] == b"\x89PNG"
    assert evidence.redundancy.maps.tolist() == [3, 7]
    assert evidence.redundancy.pairs.shape == (10, 2, 2)
    assert record["redundancy"]["samples"] == 96
    assert call("verify", out)[0] == 0


def test_what_was_done_is_not_done_again_and_other_maps_are_added(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    rest = ("--data", bars, "--out", out, "--quiet", "--estimator", "kde", "--kernels")
    assert call("rank", small_file, "second:3", *rest)[0] == 0
    folder = out / "layers" / "001"
    first = (folder / "kernels-0003.png").stat().st_mtime_ns
    assert call("rank", small_file, "second:5", *rest)[0] == 0
    record = json.loads((folder / "kernels.json").read_text())
    assert [row["map"] for row in record["maps"]] == [3, 5]
    assert (folder / "kernels-0003.png").stat().st_mtime_ns == first
    assert call("rank", small_file, "second:5", *rest, "--seed", "1")[0] == 0
    record = json.loads((folder / "kernels.json").read_text())
    assert [row["map"] for row in record["maps"]] == [3, 5]  # both in the new way
    assert (folder / "kernels-0003.png").stat().st_mtime_ns > first


def test_tables(call, small_file, bars, tmp_path):
    status, printed, _ = call(
        *("rank", small_file, "first", "--data", bars, "--out", tmp_path / "run", "--quiet"),
        *("--estimator", "kde", "--kernels", "--redundancy"),
    )
    assert status == 0
    assert "input channel" in printed
    assert "0 of 1" in printed
    assert "maps together" in printed
    dense = call(
        *("rank", small_file, "@6", "--data", bars, "--out", tmp_path / "run", "--quiet"),
        *("--estimator", "kde", "--redundancy"),
    )
    assert dense[0] == 0 and "units together" in dense[1] and "maps" not in dense[1]


def test_layers_without_plain_kernels_are_refused_before_anything_is_written(call, bars, tmp_path):
    import keras
    from keras import layers

    model = keras.Sequential(
        [layers.Input((16, 16, 1)), layers.DepthwiseConv2D(3, depth_multiplier=2), layers.Flatten()]
    )
    model.save(tmp_path / "deep.keras")
    out = tmp_path / "run"
    status, printed, err = call(
        "rank", tmp_path / "deep.keras", "--data", bars, "--out", out, "--kernels"
    )
    assert (status, printed) == (2, "")
    assert "plain convolution" in err
    assert not out.exists()


def test_few_images_of_a_part_are_named_with_the_way_to_take_all(call, small_file, bars, tmp_path):
    arguments = ["rank", small_file, "second:0-1", "--estimator", "kde", "--out", tmp_path / "run"]
    source = bars.removesuffix(":train")
    status, _, err = call(*arguments, "--data", source)
    assert status == 0 and f"are few for a ranking; --data {source}:all takes" in err
    status, _, err = call(*arguments[:-1], tmp_path / "all", "--data", f"{source}:all")
    assert status == 0 and "few for a ranking" not in err


def test_photographs_are_prepared_for_all_commands_on_a_run(call, tmp_path):
    import keras

    draw = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = draw.integers(0, 120, (240, 8, 8, 3)) + labels[:, None, None, None] * 100
    np.savez(tmp_path / "photos.npz", images=images.astype(np.uint8), labels=labels)
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(2, 3, activation="relu", name="conv")
    keras.Sequential([keras.Input((8, 8, 3)), conv]).save(tmp_path / "m.keras")
    model, out = tmp_path / "m.keras", tmp_path / "run"
    data = ("--data", f"{tmp_path / 'photos.npz'}:all")
    more = (*data, "--preprocess", "tf", "--out", out, "--quiet")
    quick = ("--starts", 1, "--steps", 2, "--screened", 4)
    assert call("reconstruct", model, "conv", *quick, *more)[0] == 0
    rank = ("rank", model, "conv", "--estimator", "binning")
    status, _, err = call(*rank, *data, "--out", out)
    assert status == 2 and "Give --preprocess tf" in err
    raw, means = tmp_path / "raw", []
    for folder, arguments in ((raw, (*data, "--out", raw, "--quiet")), (out, more)):
        assert call(*rank, *arguments)[0] == 0
        with np.load(folder / "layers" / "000" / "responses.npz") as arrays:
            means.append(float(arrays["edges"].max()))
    assert means[1] < 5 < 50 < means[0]
    assert json.loads((out / "run.json").read_text())["input"]["source"] == "preprocess tf"
    assert call("judge", out, *data)[0] == 0, "pixels of -1 to 1 are expected"
