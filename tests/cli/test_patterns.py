import json

import numpy as np
import pytest

from oip import mi


def test_json_files_and_python_say_the_same(call, small_file, bars, tmp_path):
    out = tmp_path / "fcp"
    status, printed, err = call(
        *("patterns", small_file, "second", "--data", bars, "--class", "upper"),
        *("--against", "lower", "--out", out, "--json", "--quiet", "--shuffles", "99"),
        *("--drawn", "4"),
    )
    assert (status, err) == (0, "")
    record = json.loads(printed)
    kept = json.loads((out / "patterns.json").read_text())
    assert {name: kept[name] for name in record} == record
    assert (kept["schema"], kept["data"]) == (1, "bars.npz:train")
    separation = mi.Separation.load(out / "separation.npz")
    assert separation.to_dict() == record["separation"]
    assert [row["map"] for row in record["separation"]["maps"]] == separation.maps.tolist()
    assert record["separation"]["separating_maps"] > 10
    assert mi.CommonPatterns.load(out / "common.npz").to_dict() == record["common"]
    assert record["common"]["class"] == "upper"
    assert record["common-against"]["class"] == "lower"
    assert {path.name for path in out.iterdir()} == {
        "patterns.json",
        *(
            f"{name}{ending}"
            for name in ("common", "common-against", "separation")
            for ending in (".npz", ".png")
        ),
    }


def test_tables_and_a_class_alone(call, small_file, bars, tmp_path):
    out = tmp_path / "fcp"
    arguments = ("patterns", small_file, "@0:0-3", "--data", bars, "--out", out, "--format", "svg")
    status, printed, err = call(
        *arguments, "--class", "[b]\x1btop", "--shuffles", "99", "--drawn", "2"
    )
    assert status == 0
    assert "\x1b" not in printed
    assert "nodes are common to" in printed
    assert "patterns: 4/4" in err
    assert {path.name for path in out.iterdir()} == {"common.npz", "common.svg", "patterns.json"}
    assert mi.CommonPatterns.load(out / "common.npz").maps.tolist() == [0, 1, 2, 3]
    status, printed, _ = call(*arguments, "--class", "0", "--against", "1", "--shuffles", "99")
    assert status == 0
    assert "Cliff's delta" in printed


def test_a_folder_holds_the_results_of_one_call(call, small_file, bars, tmp_path):
    out = tmp_path / "fcp"
    out.mkdir()
    (out / "common.png").write_text("of somebody else, until there are results")
    (out / "separation of mine.png").write_text("")
    arguments = ("patterns", small_file, "@0:0-3", "--data", bars, "--out", out, "--quiet")
    arguments += ("--shuffles", "19", "--drawn", "2", "--class", "upper")
    assert call(*arguments, "--against", "lower", "--format", "svg")[0] == 0
    assert (out / "separation.svg").is_file() and (out / "common.png").is_file()
    (out / "silenced-0-own.png").write_text("")
    assert call(*arguments)[0] == 0
    names = {"common.npz", "common.png", "patterns.json", "separation of mine.png"}
    assert {path.name for path in out.iterdir()} == names


def test_points_are_silenced_on_the_other_half(call, small_file, bars, tmp_path):
    out = tmp_path / "fcp"
    arguments = ("patterns", small_file, "second:0-5", "--data", bars, "--out", out, "--silence")
    arguments += ("--shuffles", "99", "--most", "0.6", "--class", "upper")
    status, printed, _ = call(*arguments, "--against", "lower", "--json", "--quiet")
    assert status == 0
    record = json.loads(printed)
    kinds = {(row["class"], row["points"]) for row in record["silenced"]}
    assert {("upper", "common"), ("lower", "common")} <= kinds
    row = record["silenced"][0]
    assert len(row["nodes"]) == record["common"]["common"]
    assert record["common"]["images"] + row["samples"] == 24
    assert 0 < row["loss_p"] <= 1 and row["split"] == "bars.npz:train"
    assert len(list(out.glob("silenced-*.png"))) == len(record["silenced"])
    status, printed, _ = call(*arguments, "--node", "1,1", "--node", "0,2")
    assert status == 0
    assert "12 chosen" in printed and "fall of the logit" in printed


def test_maps_that_are_not_finite_are_exit_1(call, broken_file, bars, tmp_path):
    arguments = ("--data", bars, "--class", "1", "--out", tmp_path / "out", "--shuffles", "99")
    status, _, err = call("patterns", broken_file, "first", *arguments)
    assert status == 1
    assert "1 maps have responses that are not finite" in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["first", "--class", "middle"], "upper"),
        (["first", "--class", "1", "--against", "9"], "received '9'"),
        (["first", "--class", "1", "--against", "upper"], "twice"),
        (["first"], "--class"),
        (["--class", "1"], "LAYER"),
        (["frist", "--class", "1"], "first"),
        (["first:9", "--class", "1"], "0 to 5"),
        (["poool", "--class", "1"], "first, second"),
        (["second", "--class", "1", "--at", "block"], "pooling"),
        (["first", "--class", "1", "--most", "0"], "--most"),
        (["first", "--class", "1", "--level", "1"], "--level"),
        (["first", "--class", "1", "--shuffles", "9"], "--shuffles"),
        (["first", "--class", "1", "--data", "NOLABELS"], "no labels"),
        (["first", "--class", "1", "--node", "1,1"], "--silence"),
        (["first", "--class", "1", "--silence", "--node", "1"], "such as 2,3"),
        (["first", "--class", "1", "--silence", "--node", "99,0"], "a node of its"),
        (["first", "--class", "1", "--silence", "--node", f"{10**20},0"], "such as 2,3"),
        (["@6", "--class", "1", "--silence", "--node", "1"], "a layer with nodes"),
        (["first", "--class", "1", "--silence", "--at", "block"], "--at response"),
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(
    call, small_file, small_images, bars, tmp_path, arguments, word
):
    np.savez(tmp_path / "bare.npz", images=small_images[0])
    bare = f"{tmp_path / 'bare.npz'}:train"
    arguments = [bare if row == "NOLABELS" else row for row in arguments]
    out = tmp_path / "out"
    status, printed, err = call("patterns", small_file, "--data", bars, "--out", out, *arguments)
    assert (status, printed) == (2, "")
    assert word in err
    assert "Traceback" not in err and "\x1b" not in err
    assert not out.exists()
