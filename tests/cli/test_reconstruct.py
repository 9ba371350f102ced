import json

import msgspec
import numpy as np
import pytest

from oip.cli.reconstruct import print_summary
from oip.run.reconstruct import RunSummary


@pytest.fixture
def bars(small_images, tmp_path):
    """200 images with labels, 40 of them the test part."""
    images, labels = (np.tile(part, (5,) + (1,) * (part.ndim - 1)) for part in small_images)
    noise = np.random.default_rng(1).integers(0, 20, images.shape).astype(np.uint8)
    np.savez(tmp_path / "bars.npz", images=images + noise, labels=labels)
    return tmp_path / "bars.npz"


SMALL = ["--starts", "2", "--steps", "8", "--screened", "16", "--quiet"]


def test_the_most_informative_maps_are_reconstructed(call, small_file, bars, tmp_path):
    arguments = ["reconstruct", small_file, "--data", bars, "--out", tmp_path / "run"]
    status, printed, _ = call(*arguments, "--top", "3", "--by", "mi", *SMALL, "--json")
    assert status == 0
    record = json.loads(printed)["layers"]
    assert [len(layer["maps"]) for layer in record] == [3, 3]
    for layer in record:
        folder = tmp_path / "run" / "layers" / f"{layer['index']:03d}"
        ranking = json.loads((folder / "ranking.json").read_text())
        best = [row["map"] for row in ranking["estimators"][0]["maps"][:3]]
        assert sorted(best) == [row["map"] for row in layer["maps"]]
    status, second, _ = call(*arguments, "--top", "3", *SMALL, "--json")
    assert [layer["maps"] for layer in json.loads(second)["layers"]] == [
        layer["maps"] for layer in record
    ]


def test_maps_that_separate_two_classes_are_reconstructed(
    call, small_file, bars, small_model, tmp_path
):
    from oip import mi, models

    arguments = ["reconstruct", small_file, "second", "--data", bars, "--out", tmp_path / "run"]
    status, printed, _ = call(*arguments, "--top", "2", "--by", "separates:0,3", *SMALL, "--json")
    assert status == 0
    result = [row["map"] for row in json.loads(printed)["layers"][0]["maps"]]
    data = models.load(bars, part="test")
    separation = mi.separating(small_model, data.images, data.labels, "second", 0, 3)
    assert result == sorted(separation.maps[:2].tolist())


def test_layers_without_a_finite_map_are_left_out_and_named(call, broken_file, bars, tmp_path):
    arguments = ["--data", bars, "--top", "2", "--by", "separates:0,3", *SMALL[:-1], "--json"]
    status, printed, err = call("reconstruct", broken_file, "--out", tmp_path / "run", *arguments)
    assert status == 1
    assert [layer["layer"] for layer in json.loads(printed)["layers"]] == ["first"]
    assert "responses of layer 'second'" in err
    alone = ["reconstruct", broken_file, "second", "--out", tmp_path / "none", *arguments]
    status, _, err = call(*alone)
    assert (status, "finite numbers" in err) == (2, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--by", "mi"], "--top"),
        (["--top", "2"], "--data"),
        (["--top", "2", "--objective", "class:1", "--data", "x.npz"], "objectives"),
        (["--top", "2", "--by", "size", "--data", "x.npz"], "separates:CLASS,CLASS"),
        (["--top", "2", "--by", "separates:4", "--data", "x.npz"], "separates:CLASS,CLASS"),
        (["--top", "0"], "range"),
    ],
)
def test_what_does_not_go_together_is_refused(call, small_file, tmp_path, arguments, word):
    out = tmp_path / "run"
    status, printed, err = call("reconstruct", small_file, "--out", out, *arguments)
    assert (status, printed) == (2, "")
    assert word in err
    assert not out.exists()


def test_images_without_labels_cannot_be_ranked(call, small_file, small_images, tmp_path):
    path = tmp_path / "bare.npz"
    np.savez(path, images=small_images[0])
    for by in ("mi", "separates:0,1"):
        arguments = ["reconstruct", small_file, "--data", path, "--out", tmp_path / "run"]
        status, _, err = call(*arguments, "--top", "2", "--by", by, *SMALL)
        assert status == 2
        assert "labels" in err
        assert not (tmp_path / "run").exists()


def summary_of(maps, unseen=0, **changes):
    """A summary of layers with so many maps each."""
    row = {
        "verdict": "responsive",
        "provably_dead": False,
        "saturated": False,
        "score": 2.0,
        "data_score": 1.0,
        "data_active": 0.5,
        "stability": 0.4,
        "null_percentile": None,
        "patterns": 2,
        "medoids": [0, 3],
        "steps": 24,
        "reason": "budget",
        **changes,
    }
    layers = [
        {
            "layer": f"layer{index}",
            "index": index,
            "pixels": 784,
            "unseen_pixels": unseen,
            "maps": [{"map": number, **row} for number in range(count)],
        }
        for index, count in enumerate(maps)
    ]
    return msgspec.convert({"run": "run", "seconds": 1.0, "layers": layers}, RunSummary)


def test_pixels_that_a_layer_does_not_see_are_told(capsys):
    print_summary(summary_of([2], unseen=108))
    assert "layer0 sees 676 of 784 pixels" in capsys.readouterr().out
    print_summary(summary_of([2]))
    assert "pixels" not in capsys.readouterr().out
    print_summary(summary_of([2], saturated=True))
    printed = capsys.readouterr().out
    assert "responsive (at its" in printed and "limit)" in printed


def test_maps_are_listed_for_one_layer_for_few_maps_and_on_request(capsys):
    for maps, details, listed in (
        ([40], False, True),
        ([12, 12], False, True),
        ([12, 13], False, False),
        ([12, 13], True, True),
    ):
        print_summary(summary_of(maps), details)
        out = capsys.readouterr().out
        assert ("patterns" in out) is listed
        assert out.count("step limit") == (sum(maps) if listed else 0)
        assert ("(0, 3)" in out) is listed


def test_columns_without_a_value_are_left_out(capsys):
    print_summary(summary_of([2]))
    assert "stability" in capsys.readouterr().out
    missing = {"stability": None, "patterns": 0, "data_score": None}
    print_summary(summary_of([2], **missing))
    printed = capsys.readouterr().out
    assert "step limit" in printed and "score: mean response" in printed
    for heading in ("stability", "above others", "patterns", "score of the best image"):
        assert heading not in printed


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--steps", "0", "--starts", "0"), "--steps"),
        (("--starts", "0", "--steps", "0"), "--starts"),
        (("--starts", "0", "--seed", "-1"), "--starts"),
        (("--seed", "-1", "--starts", "0"), "--seed"),
        (("--preset", "unknown", "--snapshots", "-1"), "--preset"),
        (("--preset", "best", "--snapshots", "-1"), "--snapshots"),
        (("--from", "", "--steps", "0"), "--from"),
    ],
)
def test_the_first_wrong_option_is_named(call, tmp_path, arguments, option):
    status, _, printed = call("reconstruct", "none.keras", "--out", tmp_path / "no", *arguments)
    options = {argument for argument in arguments if argument.startswith("--")}
    assert status == 2 and [name for name in options if name in printed] == [option]


@pytest.mark.parametrize("name", ["starts", "seed"])
def test_a_setting_has_one_value(call, small_file, tmp_path, name):
    more = f"--{name}", "4", "--set", f"{name}=2"
    status, _, printed = call("reconstruct", small_file, "--out", tmp_path / "run", *more)
    assert status == 2 and not (tmp_path / "run").exists()
    assert f"--{name}: expected one value; received --{name} and --set {name}=" in printed


def test_fewer_images_are_screened_than_by_default_for_fewer_starts(call, small_file, tmp_path):
    arguments = ("reconstruct", small_file, "second:0", "--steps", "2", "--out", tmp_path / "run")
    status, _, _ = call(*arguments, "--screened", "2", "--starts", "1", "--quiet")
    assert status == 0
    status, _, printed = call(*arguments, "--screened", "2", "--starts", "3")
    assert status == 2 and "at least the 3 starts" in printed


def test_assumed_statistics_are_told_to_the_quiet_and_bad_grammar_fails_first(call, tmp_path):
    import keras
    from keras import layers

    keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(2, 3, name="first")]).save(
        tmp_path / "plain.keras"
    )
    arguments = ["reconstruct", tmp_path / "plain.keras", "--out", tmp_path / "run", *SMALL]
    status, _, printed = call(*arguments)
    assert (status, "deviation are not known" in printed) == (0, True)
    status, _, printed = call(
        "reconstruct", "none.keras", "--out", tmp_path / "no", "--objective", "x"
    )
    assert (status, "class:4" in printed, "none.keras" in printed) == (2, True, False)


def test_layers_of_another_input_are_no_failure_unless_they_are_named(call, tmp_path):
    import keras
    from keras import layers

    left, right = layers.Input((9, 9, 1), name="a"), layers.Input((8, 8, 1), name="b")
    parts = [layers.Conv2D(2, 3, name="left")(left), layers.Conv2D(2, 3, name="right")(right)]
    path = tmp_path / "model.keras"
    outputs = layers.Concatenate()([layers.Flatten()(part) for part in parts])
    keras.Model([left, right], outputs).save(path)
    quick = ("--starts", "1", "--steps", "2", "--screened", "4", "--quiet")
    for _ in range(2):
        status, _, err = call("reconstruct", path, "--out", tmp_path / "run", *quick)
        assert status == 0
    status, _, err = call("reconstruct", path, "right", "--out", tmp_path / "named", *quick)
    assert status == 2 and "'right'" in err
    assert not (tmp_path / "named").exists()
