from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from oip import studies
from oip.cli import study as study_command
from oip.core import plots
from oip.core.errors import SettingsError
from oip.studies.frame import MissingData


@pytest.fixture
def small(monkeypatch):
    """Three studies in place of the real ones: one that works, one without data, one that fails."""
    runs: list[str] = []

    def works(folder, settings, progress):
        def compute():
            runs.append("computed")
            progress("counting", 3, 3)
            return {"y": np.arange(3) + settings.seed}

        values = folder.part("counted", compute)["y"]
        drawing, panels = plots.figure(3, 2)
        panels[0, 0].plot(values)
        folder.figure("counted", drawing, "Counted", {"y": values})
        folder.claim("Three", f"{len(values)}", "yes", "counted")

    def without(folder, settings, progress):
        raise MissingData("moon rocks", "'/moon'", "Fetch some.")

    def fails(folder, settings, progress):
        raise SettingsError("cannot be done")

    def add(name, run):
        module = types.ModuleType(f"small_{name}")
        told = {"NAME": name, "TITLE": f"About {name}", "SOURCE": "A paper", "MINUTES": 1}
        vars(module).update(told, run=run)
        monkeypatch.setitem(sys.modules, f"small_{name}", module)
        return f"small_{name}"

    table = {
        name: add(name, run)
        for name, run in (("counts", works), ("rocks", without), ("fails", fails))
    }
    monkeypatch.setattr(studies, "STUDIES", table)
    monkeypatch.setattr(study_command, "STUDIES", table)
    return runs


def test_one_study_writes_its_report_and_goes_on_with_what_is_there(small, call, tmp_path):
    status, out, _ = call("study", "counts", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (0, str(tmp_path / "report.html"))
    assert "About counts" in (tmp_path / "report.html").read_text()
    status, out, _ = call("study", "counts", "--out", tmp_path, "--json", "--quiet")
    told = json.loads(out)
    assert told == {"page": str(tmp_path / "report.html"), "studies": ["counts"], "stopped": {}}
    assert small == ["computed"]


def test_all_studies_are_linked_and_one_that_stops_does_not_stop_the_others(small, call, tmp_path):
    status, out, err = call("study", "all", "--quick", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (1, str(tmp_path / "index.html"))
    assert "moon rocks" in err and "cannot be done" in err
    text = (tmp_path / "index.html").read_text()
    assert "counts/report.html" in text and "rocks/report.html" in text
    assert "fails/report.html" not in text and "cannot be done" in text
    assert "not tested" in (tmp_path / "rocks" / "report.html").read_text()


def test_missing_data_leave_a_report_and_status_1(small, call, tmp_path):
    status, out, err = call("study", "rocks", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (1, str(tmp_path / "report.html"))
    assert "moon rocks" in err
    told = json.loads((tmp_path / "study.json").read_text())
    assert told["claims"][0]["agrees"] == "not tested"
    assert "/moon" in told["claims"][0]["found"]


def test_a_study_that_cannot_be_done_leaves_with_2(small, call, tmp_path):
    status, out, err = call("study", "fails", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert err.strip().splitlines()[-1] == "oip: cannot be done"


def test_another_setting_in_the_same_folder_is_refused(small, call, tmp_path):
    assert call("study", "counts", "--out", tmp_path, "--quiet")[0] == 0
    status, _, err = call("study", "counts", "--seed", 4, "--out", tmp_path, "--quiet")
    assert status == 2
    assert "seed 4" in err


@pytest.mark.parametrize("names", [["nothing"], ["counts", "nothing"], ["all", "nothing"]])
def test_an_unknown_study_leaves_nothing(small, call, tmp_path, names):
    status, _, err = call("study", *names, "--out", tmp_path / "out")
    assert status == 2
    assert "counts, rocks, fails, all" in err
    assert not (tmp_path / "out").exists()


def test_the_help_lists_the_studies_with_their_minutes(small, call):
    status, out, _ = call("study", "--help")
    assert status == 0
    assert "About counts; quick: 1 min." in out
    assert "oip study all --quick" in out


def test_every_study_says_what_it_is():
    for name in studies.STUDIES:
        module = studies.study(name)
        assert name == module.NAME
        assert module.TITLE and module.SOURCE and callable(module.run)
        assert 0 < module.MINUTES <= 10
    with pytest.raises(SettingsError, match="kernels, plane"):
        studies.study("nothing")
