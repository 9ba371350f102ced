"""Citations of the methods that a run used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from oip.ascent.settings import PRESETS, ascent_settings
from oip.core.errors import Notice
from oip.core.formats import ModelRecord, RankingSettings, RunFile, RunSettings
from oip.core.layer_formats import EstimatorRecord, RankingFile
from oip.mi.estimators.base import NAMES
from oip.run import citations
from oip.run.citations import references
from oip.run.run import Run


class MadeUp(Run):
    """A run without files: its settings and the estimators of its rankings."""

    def __init__(self, settings, *estimators):
        model = ModelRecord(name="m", sha256="0")
        record = RunFile(model=model, layers=[], settings=settings, versions={"oip": "1.2.3"})
        super().__init__("none", record)
        self._estimators = estimators

    def reconstructed(self):
        return [0] if self.record.settings.reconstruct is not None else []

    def ranked(self):
        return [0] if self._estimators else []

    def ranking(self, index):
        tables = [
            EstimatorRecord(estimator=name, held_out=False, maps=[]) for name in self._estimators
        ]
        return RankingFile(layer="a", index=index, estimators=tables)


def cited(**changes):
    settings = msgspec.to_builtins(ascent_settings(**changes))
    return set(citations.citations(MadeUp(RunSettings(reconstruct=settings))))


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
        ({"blur": 0.0, "align": 1.0}, {"gorgun2025vital"}),
        ({"blur": 0.0, "fidelity": 1.0}, {"hamblin2024feature"}),
        ({"blur": 0.0, "total_variation": 0.3}, {"mahendran2015understanding"}),
        ({"blur": 0.0, "diversity": 0.5}, {"olah2017feature"}),
        ({"blur": 0.0, "drop_path": 0.2}, {"huang2016deep", "li2020learning"}),
        ({"blur": 0.0, "branch_gradient": 0.5}, {"wu2020skip"}),
    ],
)
def test_the_ascent_is_cited_by_its_settings(changes, more):
    assert cited(**changes) == ALWAYS | SOFTWARE | more


def test_every_preset_can_be_cited():
    for name in PRESETS:
        assert cited(preset=name) >= ALWAYS


def test_every_preset_of_which_the_best_was_kept_is_cited():
    settings = msgspec.to_builtins(ascent_settings("natural"))
    run = MadeUp(RunSettings(reconstruct=settings, preset="best:natural,maco,unheard-of"))
    added = set(citations.citations(run)) - cited(preset="natural")
    assert added == {"fel2023unlocking"} == cited(preset="maco") - cited(preset="natural")


def test_estimators_are_cited_by_the_rankings_that_are_there():
    keys = list(citations.citations(MadeUp(RunSettings(), "kde", "decoder")))
    assert keys[:2] == ["kolchinsky2017estimating", "xu2020usable"]
    assert "benjamini1995controlling" in keys
    assert not ALWAYS & set(keys)


def test_without_rankings_the_settings_name_the_estimators():
    rank = RankingSettings(estimators={"ksg": {}, "unheard-of": {}})
    keys = set(citations.citations(MadeUp(RunSettings(rank=rank))))
    assert {"ross2014mutual", "benjamini1995controlling"} <= keys


def test_every_estimator_has_a_reference():
    assert set(citations.ESTIMATORS) == set(NAMES)


def test_entries_are_bibtex_and_all_are_used():
    used = {key for key, _ in citations.ASCENT}
    used |= {key for keys in citations.ESTIMATORS.values() for key in keys}
    assert used | SOFTWARE | {"benjamini1995controlling"} == set(references())
    for key, text in references().items():
        assert re.match(rf"@\w+\{{{re.escape(key)},\n", text)
        assert text.count("{") == text.count("}")
        assert "title = " in text


def test_a_real_run(grown):
    entries = citations.citations(grown)
    assert ALWAYS <= set(entries)
    record = json.loads((Path(grown.path) / "run.json").read_text())
    assert f"version = {{{record['versions']['oip']}}}" in entries["oip"]


def test_a_ranking_that_cannot_be_read_is_told_where_its_methods_are_not_cited(tmp_path):
    settings = RunSettings(rank=RankingSettings(estimators=("kde",)))
    record = RunFile(model=ModelRecord(name="m", sha256="0"), layers=[], settings=settings)
    (tmp_path / "layers" / "000" / "ranking.json").mkdir(parents=True)
    run = Run(tmp_path, record)
    run.ranked = lambda: [0]
    with pytest.warns(Notice, match=r"ranking\.json.* Methods that only this ranking names"):
        assert "benjamini1995controlling" in citations.citations(run)
