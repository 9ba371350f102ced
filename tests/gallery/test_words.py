"""Verdicts in words, and a command that a shell reads as it was meant."""

from __future__ import annotations

import shlex

import pytest

from gallery.words import MEANINGS, NO_OIP, command, sentences

EVIDENCE = {
    "verdict": "responsive",
    "converged": True,
    "provably_dead": False,
    "saturated": False,
    "score": 3.0,
    "data_score": 1.5,
    "data_active": 0.25,
    "white_score": 0.5,
    "screened_score": 0.75,
    "stability": 0.5,
    "null_percentile": 93.0,
    "n_null": 40,
    "steps": 120,
    "reason": "converged",
}


def test_evidence_is_told_with_its_numbers():
    text = " ".join(sentences(EVIDENCE))
    for part in ("3", "1.5", "2 times", "25 %", "0.5", "0.75", "0.50", "93 %", "40", "120"):
        assert part in text
    assert "Not converged" not in text


def test_open_ascents_say_so():
    told = {**EVIDENCE, "converged": False}
    assert any("still rose" in line for line in sentences({**told, "reason": "budget"}))
    assert any("stalled" in line for line in sentences({**told, "reason": "stalled"}))


def test_dead_and_failed_maps_have_no_score():
    for verdict in ("dead", "failed"):
        told = {**EVIDENCE, "verdict": verdict, "score": None, "stability": None}
        assert sentences(told) == [MEANINGS[verdict]]
    proved = {**EVIDENCE, "verdict": "dead", "stability": None, "provably_dead": True}
    assert "no input can open the map" in " ".join(sentences(proved))


def test_without_data_nothing_is_said_of_data():
    told = {**EVIDENCE, "data_score": None, "data_active": None}
    assert "data" not in " ".join(sentences(told))


def test_data_that_leaves_the_map_silent_divides_nothing():
    told = {**EVIDENCE, "verdict": "reachable-only", "data_score": 0.0}
    assert "times" not in " ".join(sentences(told))


def test_command_names_the_objective_of_an_image():
    layer = {"layer": "objectives", "index": 3, "objectives": ["class:4", "class:4 - class:9"]}
    info = {"model": {"name": "m.keras"}, "settings": {"reconstruct": {"seed": 1}}}
    words = shlex.split(command(info, "run", layer, 1))
    assert words[:5] == ["oip", "reconstruct", "m.keras", "--objective", "class:4 - class:9"]


def test_no_oip():
    assert sentences({}) == [NO_OIP]


@pytest.mark.parametrize("name", ["Conv2D_3", "block 1/c", "$(rm -rf ~)", "a'b\"c", "-x", "a\nb"])
def test_command_is_one_word_a_part(name):
    info = {
        "model": {"name": "my model;ls.keras", "sha256": ""},
        "settings": {"reconstruct": {"starts": 3, "noise": "tilt:0.5", "seed": 9}},
        "data": {"source": "my data.npz"},
    }
    words = shlex.split(command(info, "my run", {"layer": name, "index": 4}, 17))
    wanted = f"{name}:17" if name not in ("-x", "a\nb") else "@4:17"
    assert words[:4] == ["oip", "reconstruct", "my model;ls.keras", wanted]
    assert words[4:6] == ["--data", "my data.npz"]
    assert words[6:] == ["--starts", "3", "--noise", "tilt:0.5", "--out", "my run", "--seed", "9"]


def test_command_names_the_preset():
    info = {
        "model": {"name": "m.keras"},
        "settings": {"reconstruct": {"climb_silent": False, "warmup": 0}},
    }
    assert "--preset author" in command(info, "run", {"layer": "a", "index": 0}, 0)
