"""What is cited is what was used."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oip.ascent.settings import PRESETS, ascent_settings
from oip.mi.estimators.registry import NAMES
from oip.run import citations
from oip.run.citations import REFERENCES


@dataclass
class Told:
    """What `citations` asks of a run."""

    settings: dict[str, Any]
    rankings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def info(self):
        return {"settings": self.settings, "versions": {"oip": "1.2.3"}}

    def reconstructed(self):
        return [0] if "reconstruct" in self.settings else []

    def ranked(self):
        return list(range(len(self.rankings)))

    def ranking(self, index):
        return self.rankings[index]


def cited(**changes):
    import msgspec

    settings = msgspec.to_builtins(ascent_settings(**changes))
    return set(citations.citations(Told({"reconstruct": settings})))  # type: ignore[arg-type]


ALWAYS = {"moenchmeyer-oip", "erhan2009visualizing", "simonyan2014deep"}
SOFTWARE = {"oip", "chollet2015keras", "abadi2016tensorflow"}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {"yosinski2015understanding"}),
        ({"preset": "author"}, set()),
        ({"blur": 0.0}, set()),
        ({"blur": 0.0, "jitter": 2}, {"mordvintsev2015inceptionism"}),
        ({"blur": 0.0, "parameterization": "fourier"}, {"olah2017feature"}),
        ({"blur": 0.0, "parameterization": "phase"}, {"fel2023unlocking"}),
        ({"blur": 0.0, "total_variation": 0.3}, {"mahendran2015understanding"}),
        ({"blur": 0.0, "diversity": 0.5}, {"olah2017feature"}),
    ],
)
def test_the_ascent_is_cited_by_its_settings(changes, more):
    assert cited(**changes) == ALWAYS | SOFTWARE | more


def test_every_preset_can_be_cited():
    for name in PRESETS:
        assert cited(preset=name) >= ALWAYS


def test_estimators_are_cited_by_the_rankings_that_are_there():
    rankings = [{"estimators": [{"estimator": name} for name in ("kde", "decoder")]}]
    found = list(citations.citations(Told({}, rankings)))  # type: ignore[arg-type]
    assert found[:2] == ["kolchinsky2017estimating", "xu2020usable"]
    assert "benjamini1995controlling" in found
    assert not ALWAYS & set(found)


def test_every_estimator_has_a_reference():
    assert set(citations._ESTIMATORS) == set(NAMES)


def test_entries_are_bibtex_and_all_are_used():
    used = {key for key, _ in citations._ASCENT}
    used |= {key for keys in citations._ESTIMATORS.values() for key in keys}
    assert used | SOFTWARE | {"benjamini1995controlling"} == set(REFERENCES)
    for key, text in REFERENCES.items():
        assert re.match(rf"@\w+\{{{re.escape(key)},\n", text)
        assert text.count("{") == text.count("}")
        assert "title = " in text


def test_a_real_run(grown):
    found = citations.citations(grown)
    assert ALWAYS <= set(found)
    told = json.loads((Path(grown.path) / "run.json").read_text())
    assert f"version = {{{told['versions']['oip']}}}" in found["oip"]
