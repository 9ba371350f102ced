from __future__ import annotations

import json
import os
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oip import studies
from oip.batch import executors
from oip.cli import study as study_command
from oip.core import plots
from oip.core.errors import SettingsError
from oip.studies import runner
from oip.studies.findings import Finding
from oip.studies.report import MissingData


@pytest.fixture
def small(monkeypatch):
    """Studies in place of the real ones: one works, the others do not."""
    runs: list[str] = []

    def works(folder):
        def compute():
            runs.append("computed")
            folder.progress("counting", 3, 3)
            return {"y": np.arange(3) + folder.settings.seed}

        values = folder.part("counted", compute)["y"]
        drawing, panels = plots.figure(3, 2)
        panels[0, 0].plot(values)
        folder.figure("counted", drawing, "Counted", {"y": values})
        folder.add(Finding("Three", "yes", remark=f"{len(values)}"))

    def without(folder):
        raise MissingData("moon rocks", "'/moon'", "Fetch some.")

    def fails(folder):
        raise SettingsError("cannot be done")

    def lacks(folder):
        folder.missing("It says.", MissingData("the far side", "'/moon'", "Go there."))

    def crashes(folder):
        raise TypeError("a <defect>")

    def add(name, run):
        module = types.ModuleType(f"small_{name}")
        record = {"NAME": name, "TITLE": f"About {name}", "SOURCE": "A paper", "MINUTES": 1}
        record["TAKES"] = ("data", "models") if name == "counts" else ()
        vars(module).update(record, run=run)
        monkeypatch.setitem(sys.modules, f"small_{name}", module)
        return f"small_{name}"

    table = {
        name: add(name, run)
        for name, run in {
            "counts": works,
            "rocks": without,
            "fails": fails,
            "lacks": lacks,
            "crashes": crashes,
        }.items()
    }
    monkeypatch.setattr(studies, "STUDIES", table)
    monkeypatch.setattr(study_command, "STUDIES", table)
    return runs


def test_one_study_writes_its_report_and_goes_on_with_what_is_there(small, call, tmp_path):
    status, out, _ = call("study", "counts", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (0, str(tmp_path / "report.html"))
    assert "About counts" in (tmp_path / "report.html").read_text()
    status, out, _ = call("study", "counts", "--out", tmp_path, "--json", "--quiet")
    record = json.loads(out)
    took = record.pop("took")["counts"]
    assert took == json.loads((tmp_path / "study.json").read_text())["took"]
    assert took["calls"] == 2 and took["seconds"] >= 0 and took["peak_bytes"] > 1 << 20
    assert record == {
        "page": str(tmp_path / "report.html"),
        "studies": ["counts"],
        "stopped": {},
        "lacking": {},
    }
    assert small == ["computed"]


def test_all_studies_are_linked_and_one_that_stops_does_not_stop_the_others(small, call, tmp_path):
    status, out, err = call("study", "all", "--quick", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (1, str(tmp_path / "index.html"))
    assert "moon rocks" in err and "cannot be done" in err
    text = (tmp_path / "index.html").read_text()
    assert "counts/report.html" in text and "rocks/report.html" in text
    assert "fails/report.html" not in text and "cannot be done" in text
    assert "not tested" in (tmp_path / "rocks" / "report.html").read_text()


class ThreadPool:
    """A pool of processes, as threads."""

    def __init__(self, devices, threads):
        self.made = devices, threads
        self._threads = ThreadPoolExecutor(len(devices))

    def submit(self, function, *arguments):
        return self._threads.submit(function, *arguments)

    def close(self):
        self._threads.shutdown()


def test_workers_share_a_study_and_one_of_them_reports(small, call, tmp_path, monkeypatch):
    pools = []
    monkeypatch.setattr(
        executors, "Pool", lambda *given: pools.append(ThreadPool(*given)) or pools[-1]
    )
    monkeypatch.setattr(runner, "usable_cores", lambda: 8)
    monkeypatch.delenv("OIP_THREADS", raising=False)
    status, out, _ = call("study", "counts", "--workers", 3, "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (0, str(tmp_path / "report.html"))
    assert pools[0].made == ([None, None], 2)
    assert small == ["computed"] and "OIP_THREADS" not in os.environ
    assert [path.name for path in (tmp_path / "figures").iterdir()]
    status, _, err = call("study", "fails", "--workers", 2, "--out", tmp_path / "fails")
    assert status == 2 and err.strip().splitlines()[-1] == "oip: cannot be done"
    status, _, err = call("study", "crashes", "rocks", "--workers", 2, "--out", tmp_path / "two")
    assert status == 1 and "a <defect>" in err and "moon rocks" in err


def test_a_worker_that_is_lost_does_not_stop_the_study(small, call, tmp_path, monkeypatch):
    class Lost(ThreadPool):
        def submit(self, function, *arguments):
            def die():
                raise executors.WorkerLost("the worker process ended")

            return self._threads.submit(die)

    monkeypatch.setattr(executors, "Pool", Lost)
    status, _, err = call("study", "counts", "--workers", 2, "--out", tmp_path)
    assert status == 0 and "counts: the worker process ended; the study was done without it" in err
    monkeypatch.setattr(runner.files, "HAS_LOCKS", False)
    status, _, err = call("study", "counts", "--workers", 2, "--out", tmp_path)
    assert status == 2 and "expected 1, as this system has no file locks" in err


def test_missing_data_leave_a_report_and_status_1(small, call, tmp_path):
    status, out, err = call("study", "rocks", "--out", tmp_path, "--quiet")
    assert (status, out.strip()) == (1, str(tmp_path / "report.html"))
    assert "moon rocks" in err
    record = json.loads((tmp_path / "study.json").read_text())
    assert record["claims"][0]["agrees"] == "not tested"
    assert "/moon" in record["claims"][0]["found"]


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
    assert "counts, rocks, fails, lacks, crashes, all" in err
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


def test_what_was_done_without_is_told_and_leaves_with_1(small, call, tmp_path):
    status, out, err = call("study", "lacks", "--out", tmp_path, "--json", "--quiet")
    assert status == 1
    assert "lacks: done without: " in err and "far side" in err
    record = json.loads(out)
    assert not record["stopped"] and "far side" in record["lacking"]["lacks"][0]


def test_a_defect_in_one_study_does_not_stop_the_others(small, call, tmp_path):
    status, _, err = call("study", "crashes", "counts", "--out", tmp_path, "--quiet")
    assert status == 1
    assert "TypeError: a <defect>" in err
    log = (tmp_path / "crashes" / "crash.txt").read_text()
    assert "Traceback" in log and "in crashes" in log
    text = (tmp_path / "index.html").read_text()
    assert "counts/report.html" in text and "a &lt;defect&gt;" in text


def test_the_page_names_no_folder(small, call, tmp_path):
    assert call("study", "counts", "--seed", 4, "--out", tmp_path / "counts", "--quiet")[0] == 0
    _, _, err = call("study", "counts", "rocks", "--out", tmp_path, "--quiet")
    assert f"'{tmp_path / 'counts'}'" in err
    text = (tmp_path / "index.html").read_text()
    assert "seed 4" in text and str(tmp_path.parent) not in text


def test_the_page_links_reports_of_earlier_calls_too(small, call, tmp_path):
    assert call("study", "counts", "--out", tmp_path / "counts", "--quiet")[0] == 0
    call("study", "rocks", "fails", "--out", tmp_path, "--quiet")
    text = (tmp_path / "index.html").read_text()
    assert "counts/report.html" in text and "rocks/report.html" in text


def test_damaged_results_of_an_earlier_call_do_not_stop_the_others(small, call, tmp_path):
    (tmp_path / "fails").mkdir()
    (tmp_path / "fails" / "study.json").write_text("{")
    status, _, err = call("study", "counts", "lacks", "--out", tmp_path, "--quiet")
    assert status == 1 and "far side" in err
    text = (tmp_path / "index.html").read_text()
    assert "counts/report.html" in text and "lacks/report.html" in text
    assert "fails/study.json is damaged: do this study again." in text


def test_the_cost_is_told_and_shown(small, call, tmp_path):
    _, _, err = call("study", "counts", "--out", tmp_path)
    assert re.search(r"counts: took \d+ s, \d\.\d GiB\n", err)
    assert "; took " in (tmp_path / "report.html").read_text()
    _, _, err = call("study", "counts", "--out", tmp_path, "--quiet")
    assert "took" not in err
    assert "GiB in 2 calls" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--data", "mnist"), ("--models", "*.keras"), ("--iterations", "3")),
        *(("--input-size", "9,9"), ("--resize", "fit")),
    ],
)
def test_an_option_that_a_study_does_not_use_is_refused(small, call, tmp_path, option, value):
    status, _, err = call("study", "lacks", option, value, "--out", tmp_path / "out")
    assert status == 2
    name = option.removeprefix("--").removeprefix("input-")
    assert f"option '{name}': expected a study that uses it" in err
    assert not (tmp_path / "out").exists()


def test_of_several_studies_each_uses_what_it_can(small, call, tmp_path):
    record = ("study", "counts", "lacks", "--data", "mnist-sample", "--out", tmp_path)
    _, _, err = call(*record)
    assert "lacks: this study does not use the option 'data'" in err
    assert "counts: the option" not in err
    shown = {row: json.loads((tmp_path / row / "study.json").read_text()) for row in record[1:3]}
    assert shown["counts"]["settings"]["data"] == ["mnist-sample"]
    assert shown["lacks"]["settings"]["data"] == []
    assert "This study does not use the option 'data'" in shown["lacks"]["notes"][0]


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        (["mnist-sample:test"], "both parts"),
        (["mnist-sample", "mnist-sample"], "different names"),
        (["a/same.npz", "b/same.npz"], "different names"),
        (["a/my one.npz", "b/my#one.npz"], "different names"),
        (["nowhere/nope.npz"], "nope.npz"),
        (["mnits"], "Did you mean 'mnist'"),
        (["PIPE.npz"], "a FIFO"),
    ],
)
def test_sources_that_cannot_be_told_apart_or_are_not_there(small, call, tmp_path, sources, text):
    os.mkfifo(tmp_path / "PIPE.npz")
    sources = [str(tmp_path / name) if name == "PIPE.npz" else name for name in sources]
    named = [word for source in sources for word in ("--data", source)]
    status, _, err = call("study", "counts", *named, "--out", tmp_path / "out")
    assert status == 2
    assert text in err
    assert not (tmp_path / "out").exists()
