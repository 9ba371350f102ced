"""Verdicts in words."""

from __future__ import annotations

from msgspec.structs import replace

from oip.ascent.results import VERDICT_MEANINGS, MapEvidence
from oip.core.formats import RunFile
from oip.core.layer_formats import LegibilityFile, MapLegibility
from oip.gallery.verdict_text import (
    NO_OIP,
    headline,
    legibility_sentence,
    patience_of,
    sentences,
)

EVIDENCE = MapEvidence(
    map=5,
    verdict="responsive",
    converged=True,
    score=3.0,
    data_score=1.5,
    data_active=0.25,
    white_score=0.5,
    screened_score=0.75,
    stability=0.5,
    null_percentile=93.0,
    n_null=40,
    steps=120,
    reason="converged",
)


def test_evidence_is_told_with_its_numbers():
    text = " ".join(sentences(EVIDENCE))
    for part in ("3", "1.5", "2 times", "25 %", "0.5", "0.75", "0.50", "93 %", "40", "120"):
        assert part in text
    assert "Not converged" not in text


def test_the_headline_is_one_clause():
    assert headline(EVIDENCE) == (
        "The map responds 2 times as strongly to this pattern as to the best image of the data"
        ", at the same mean and contrast"
    )
    linear = headline(replace(EVIDENCE, verdict="never silent", data_score=-1.5))
    values = "with 3 to this pattern, with -1.5 to the best image of the data, at the same"
    assert values in linear
    assert headline(replace(EVIDENCE, data_score=None)).endswith("with 3 to this pattern")
    named = replace(EVIDENCE, objective="class:4")
    assert headline(named) == (
        "The objective is 3 for this image; the best image of the data has 1.5"
    )
    assert "map" not in sentences(named)[0]
    assert headline(replace(EVIDENCE, verdict="dead")) == VERDICT_MEANINGS["dead"].rstrip(".")
    assert headline(None) == NO_OIP.rstrip(".")


def test_open_ascents_say_so():
    evidence = replace(EVIDENCE, converged=False)
    assert any("still rose" in line for line in sentences(replace(evidence, reason="budget")))
    assert any("stalled" in line for line in sentences(replace(evidence, reason="stalled")))


def test_dead_and_failed_maps_have_no_score():
    for verdict in ("dead", "failed"):
        evidence = replace(EVIDENCE, verdict=verdict, score=None, stability=None)
        assert sentences(evidence) == [VERDICT_MEANINGS[verdict]]
    proved = replace(EVIDENCE, verdict="dead", stability=None, provably_dead=True)
    assert "no input can make it respond" in " ".join(sentences(proved))


def test_without_data_nothing_is_said_of_data():
    evidence = replace(EVIDENCE, data_score=None, data_active=None)
    assert "data" not in " ".join(sentences(evidence))


def test_data_that_leaves_the_map_silent_divides_nothing():
    evidence = replace(EVIDENCE, verdict="reachable-only", data_score=0.0)
    assert "times" not in " ".join(sentences(evidence))


def test_no_oip():
    assert sentences(None) == [NO_OIP]


def test_a_used_up_budget_is_no_end_by_itself():
    evidence = replace(EVIDENCE, reason="budget", steps=30)
    text = " ".join(sentences(evidence, 10))
    assert "All 30 steps were used; the score rose by less than 1 % over the last 10." in text
    assert "ended" not in text
    assert "converged after 120 steps" in " ".join(sentences(EVIDENCE, 10))


def test_a_schedule_that_was_run_to_its_end_is_not_called_half_done():
    planned = replace(EVIDENCE, reason="schedule", steps=128, converged=False)
    text = " ".join(sentences(planned, 10))
    assert "It ran its full schedule of 128 steps; at its end the score still rose." in text
    assert "Not converged" not in text
    assert "the score settled" in " ".join(sentences(replace(planned, converged=True)))


def test_patience_is_that_of_the_run():
    bare = {"model": {"name": "m", "sha256": ""}, "layers": []}
    settings = {"reconstruct": {"patience": 7}}
    assert patience_of(RunFile.of({**bare, "settings": settings})) == 7
    assert patience_of(RunFile.of(bare)) is None


def test_legibility_is_one_sentence():
    row = MapLegibility(
        map=3, share=0.87, low=0.8, high=0.92, reference=0.95, control=0.51, pairs=5000
    )
    both = replace(row, reference_same_count=0.75)
    silent = MapLegibility(map=4, reason="silent")
    record = LegibilityFile(layer="a", index=0, judge="lite2", samples=1000, maps=[row, silent])
    assert legibility_sentence(record, row) == (
        "Shown these pictures, lite2 chooses the image that excites the map more 87 % of the time "
        "(95 %: 80 % to "
        "92 %; chance 50 %; with the best images 95 %; with pictures of other maps 51 %), over "
        "5000 pairs of 1000 images."
    )
    assert "best images 95 %, with as many of them as pictures 75 %;" in legibility_sentence(
        record, both
    )
    assert "it responds to too few images" in legibility_sentence(record, silent)
