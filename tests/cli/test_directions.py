"""`oip directions`, and what other commands make of them."""

from __future__ import annotations

import json

import pytest

SMALL = ["--starts", "1", "--steps", "4", "--screened", "8", "--quiet"]


def test_directions_are_units_of_the_run(call, small_file, bars, tmp_path):
    out = tmp_path / "run"
    arguments = ["directions", small_file, "second", "--data", bars, "--count", "3", "--out", out]
    status, text, err = call(*arguments)
    assert status == 0
    assert "second+nmf" in text and "explained" in text and "oip reconstruct" in err
    record = json.loads(call(*arguments, "--json", "--quiet")[1])
    assert (record["layer"], record["count"], record["method"]) == ("second", 3, "nmf")
    assert call("reconstruct", small_file, "second+nmf:0-1", "--out", out, *SMALL)[0] == 0
    ranked = call("rank", small_file, "second+nmf", "--data", bars, "--out", out, "--quiet")
    assert ranked[0] == 0 and "direction" in ranked[1]
    assert "second+nmf" in call("status", out)[1]
    for command in ("locate", "trace"):  # the run's own directions
        status, _, err = call(command, small_file, "second+nmf:1", "--data", bars, "--out", out)
        assert status == 0, err
        assert command == "trace" or f"oip gallery {out}" in err
    given = ("--directions", out, "--quiet")
    pictures = ("--data", bars, "--out", out.parent / "pictures", *given)
    status, text, _ = call(
        "activations", small_file, "second+nmf", "--images", "0,1", *pictures, "--json"
    )
    assert status == 0 and json.loads(text)["layers"][0]["layer"] == "second+nmf"
    separation = ("second+nmf", "--class", "upper", "--shuffles", "99")
    status, text, _ = call("patterns", small_file, *separation, *pictures)
    assert status == 0 and "direction" in text
    status, _, err = call("patterns", small_file, *separation, "--silence", *pictures)
    assert status == 2 and "directions" in err
    status, _, err = call("reconstruct", small_file, "second+pca", "--out", out)
    assert status == 2 and "'oip directions'" in err
    assert call("gallery", out, "--quiet")[0] == 0
    assert "second+nmf" in (out / "gallery/index.html").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        ["third"],
        ["second", "--count", "71"],
        ["second", "--count", "0"],
        ["second", "--method", "umap"],
        ["second", "--samples", "3"],
        ["second", "--data", "NONE"],
    ],
)
def test_bad_input_is_exit_2_and_nothing_is_written(call, small_file, bars, tmp_path, changes):
    before = sorted(tmp_path.iterdir())
    arguments = ["directions", small_file, *changes, "--out", tmp_path / "run"]
    arguments += [] if "NONE" in changes else ["--data", bars]
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before
