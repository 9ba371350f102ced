import json

import numpy as np
import pytest

from oip.cli.main import run


def _size(path):
    from PIL import Image

    with Image.open(path) as picture:
        return picture.size


def test_one_image_on_all_layers(call, small_file, bars, tmp_path):
    out = tmp_path / "pictures"
    status, printed, err = call(
        "activations", small_file, "--data", bars, "--images", "3", "--out", out, "--json"
    )
    assert (status, err) == (0, "")
    record = json.loads(printed)
    assert [row["class"] for row in record["layers"]] == [
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "Dense",
    ]
    assert [row.get("maps", row.get("units")) for row in record["layers"]] == [6, 6, 70, 4]
    assert record["overview"] == "overview.png"
    files = {row["file"] for row in record["layers"]} | {"overview.png"}
    assert {path.name for path in out.iterdir()} == files
    assert all(min(_size(out / name)) > 100 for name in files)


def test_no_overview_of_an_earlier_call_stays(call, small_file, bars, tmp_path):
    out = tmp_path / "out"
    arguments = ("activations", small_file, "--data", bars, "--out", out, "--json", "--quiet")
    assert call(*arguments, "--images", "7")[0] == 0
    assert (out / "overview.png").is_file()
    status, printed, _ = call(*arguments, "--images", "7,8")
    assert status == 0 and json.loads(printed)["overview"] is None
    assert not (out / "overview.png").exists()


def test_images_of_classes_beside_each_other(call, small_file, bars, tmp_path):
    out = tmp_path / "pictures"
    arguments = ("activations", small_file, "second", "--data", bars, "--out", out)
    chosen = ("--class", "upper", "--class", "3", "--count", "2")
    status, printed, _ = call(*arguments, *chosen, "--json")
    assert status == 0
    titles = json.loads(printed)["layers"][0]["images"]
    assert [title.split()[0] for title in titles] == ["upper", "upper", "bottom", "bottom"]
    assert {path.suffix for path in out.iterdir()} == {".png"}
    first = _size(next(out.iterdir()))
    status, printed, _ = call(*arguments, "--images", "1-2,0,1", "--format", "svg")
    assert status == 0
    assert "\x1b" not in printed
    assert {path.suffix for path in out.iterdir()} == {".png", ".svg"}
    call(*arguments, *chosen, "--columns", "35")
    assert _size(next(out.glob("*.png"))) != first


def test_orders(call, small_file, bars, tmp_path):
    def picture(*more):
        out = tmp_path / "pictures"
        arguments = ("activations", small_file, "first", "--data", bars, "--images", "0,1")
        status, _, err = call(*arguments, "--out", out, "--quiet", *more)
        assert (status, err) == (0, "")
        return next(out.iterdir()).read_bytes()

    ranked = ("rank", small_file, "first", "--data", bars, "--estimator", "predictive")
    assert call(*ranked, "--out", tmp_path / "run", "--quiet")[0] == 0
    by_run = picture("--order", tmp_path / "run")
    assert by_run == picture("--order", "mi")
    assert by_run != picture("--order", "index") == picture()
    assert picture("--scale", "own", "--colour", "viridis") != picture("--scale", "own")
    file = next((tmp_path / "run").glob("layers/*/ranking.json"))
    whole = file.read_bytes()
    for content in ({}, {"estimators": [{"maps": [{"map": 6}]}]}, [1]):
        file.write_text(json.dumps(content))
        arguments = ("activations", small_file, "first", "--data", bars, "--images", "0")
        status, _, err = call(
            *arguments, "--out", tmp_path / "none", "--order", tmp_path / "run", "--quiet"
        )
        assert (status, "ranking.json': expected a ranking" in err) == (2, True)
        assert not (tmp_path / "none").exists()
    file.write_bytes(whole)
    # A layer without maps of its own keeps its order, and is named.
    arguments = (
        "activations",
        small_file,
        "--data",
        bars,
        "--images",
        "0",
        "--out",
        tmp_path / "all",
    )
    status, _, err = call(*arguments, "--order", tmp_path / "run")
    assert status == 0
    assert "no ranking of second, dense" in err


def test_maps_that_are_not_finite_are_exit_1(call, broken_file, bars, tmp_path):
    arguments = ("--data", bars, "--images", "0", "--out", tmp_path / "out", "--json")
    status, printed, err = call("activations", broken_file, "first", *arguments)
    assert status == 1
    assert "not finite: maps 4" in err
    assert json.loads(printed)["layers"][0]["not_finite"] == [4]


def test_layers_without_a_finite_response_are_told_and_the_rest_is_drawn(
    call, broken_file, bars, tmp_path
):
    out = tmp_path / "out"
    arguments = ("activations", broken_file, "--data", bars, "--out", out)
    for order in ("index", "mi"):
        status, printed, err = call(*arguments, "--images", "0", "--order", order, "--json")
        assert status == 1
        record = json.loads(printed)["layers"]
        # NaN in one map of the first layer is in all maps of the second.
        assert [row["file"] is None for row in record] == [False, False, True, True]
        assert [row.get("not_finite") for row in record] == [[4], [4], None, None]
        assert "finite numbers" in record[2]["error"] and "'second'" in err
        names = {"overview.png"} | {row["file"] for row in record[:2]}
        assert {path.name for path in out.iterdir()} == names
    status, printed, err = call(*arguments, "--images", "0")
    assert (status, "second" in printed) == (1, False)
    alone = ("activations", broken_file, "second", "--data", bars, "--out", tmp_path / "none")
    status, _, err = call(*alone, "--images", "0")
    assert (status, "finite numbers" in err) == (2, True)
    assert not (tmp_path / "none").exists()


def test_what_does_not_fit_is_refused_before_anything_is_drawn(
    call, small_file, bars, tmp_path, monkeypatch
):
    from oip.network import responses

    # Room for the layers before, not for `second`, the largest: 70 maps of 5 x 5 nodes.
    expected = 4 * 70 * 25
    monkeypatch.setattr(responses.check_budget, "__defaults__", (expected - 1,))
    arguments = (
        "activations",
        small_file,
        "--data",
        bars,
        "--images",
        "0",
        "--out",
        tmp_path / "out",
    )
    status, _, err = call(*arguments)
    assert (status, "'second'" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_images_without_labels_have_numbers(call, small_file, small_images, tmp_path):
    np.savez(tmp_path / "bare.npz", images=small_images[0])
    source = f"{tmp_path / 'bare.npz'}:train"
    arguments = ("activations", small_file, "pool", "--data", source, "--out", tmp_path / "out")
    status, printed, _ = call(*arguments, "--images", "5", "--json")
    assert status == 0
    assert json.loads(printed)["layers"][0]["images"] == ["image 5"]
    status, _, err = call(*arguments, "--class", "1")
    assert (status, "no labels" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--images", "96"], "0 to 95"),
        (["--images", "3-1"], "low to high"),
        (["--images", "one"], "0,5,9"),
        (["--images", "0-30"], "at most 24"),
        ([], "neither"),
        (["--images", "0", "--class", "upper"], "both"),
        (["--class", "middle"], "upper"),
        (["--class", "upper", "--class", "lower", "--count", "20"], "at most 24"),
        (["--class", "1", "--count", "24", "--data", "FEW"], "at most 8"),
        (["--class", "upper", "--count", "0"], "--count"),
        (["frist", "--images", "0"], "Did you mean 'first'"),
        (["--images", "0", "--order", "none"], "none"),
        (["--images", "0", "--order", "OTHER"], "another model"),
        (["--images", "0", "--colour", "rainbow"], "--colour"),
        (["--images", "0", "--columns", "0"], "--columns"),
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(
    call, small_file, small_data, bars, tmp_path, arguments, word
):
    if "OTHER" in arguments:
        import keras
        from keras import layers

        other = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3)])
        other.save(tmp_path / "other.keras")
        made = ["rank", tmp_path / "other.keras", "--data", bars, "--out", tmp_path / "run"]
        assert run([str(part) for part in made] + ["--estimator", "kde", "--quiet"]) == 0
    names = {"OTHER": str(tmp_path / "run"), "FEW": f"{small_data}:train"}
    arguments = [names.get(row, row) for row in arguments]
    out = tmp_path / "out"
    status, _, err = call("activations", small_file, "--data", bars, "--out", out, *arguments)
    assert status == 2
    assert word in err
    assert "Traceback" not in err and "\x1b" not in err
    assert not out.exists()
