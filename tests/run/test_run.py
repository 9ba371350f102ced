"""The run directory."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from oip.core.errors import RunError
from oip.core.formats import CausesFile, RankingSettings, RunSettings, UnitCauses
from oip.network.network import Network
from oip.run.check import verify_run
from oip.run.citations import citations
from oip.run.compare import compare_runs
from oip.run.run import Run, grown_on, run_record
from oip.run.shards import layer_oips


def test_what_was_recorded_in_training_may_lie_in_the_folder_already(small_model, tmp_path):
    network = Network(small_model)
    folder = tmp_path / "run"
    (folder / "record").mkdir(parents=True)
    run = Run.begin(folder, run_record(network, RunSettings(rank=RankingSettings())))
    assert run.path == folder


def test_the_data_of_the_oips_are_kept_beside_those_of_a_later_ranking(small_model, tmp_path):
    network = Network(small_model)
    own, other = (
        SimpleNamespace(images=np.zeros((3, 9, 9, 1)), classes=(), source=name) for name in "ab"
    )
    grown, ranked = RunSettings(reconstruct={"seed": 0}), RunSettings(rank=RankingSettings())
    for number, (commands, source) in enumerate(
        (
            ([(grown, own), (ranked, own)], None),
            ([(grown, own), (ranked, other)], "a"),
            ([(grown, None), (ranked, other)], ""),
            ([(ranked, other), (grown, None)], ""),
            ([(grown, own), (ranked, other), (grown, own), (ranked, other)], "a"),
            ([(grown, own), (ranked, other), (ranked, own)], None),
            ([(ranked, own), (ranked, other)], None),
        )
    ):
        for settings, data in commands:
            run = Run.begin(tmp_path / f"{number}", run_record(network, settings, data))
        kept = Run.open(tmp_path / f"{number}").record
        assert kept == run.record
        assert (kept.settings.data and kept.settings.data.source) == source
        assert grown_on(kept).source == (commands[-1][1].source if source is None else source)


def test_a_run_is_one_line(grown):
    assert (
        repr(grown) == f"<Run '{grown.path}' of small.keras: OIPs of @0, @1; rankings of no layer>"
    )
    assert "small.keras" in grown._repr_html_()


def test_two_that_add_to_a_file_at_once_lose_nothing(grown, tmp_path):
    run = Run.open(shutil.copytree(grown.path, tmp_path / "run"))

    def add(unit):
        def added(path):
            existing = CausesFile.read_if_whole(path)
            time.sleep(0.02)
            units = [] if existing is None else existing.units
            own = {key: [] for key in ("units", "share", "low", "high", "outputs", "classes")}
            own |= {key: [] for key in ("logit_effect", "logit_low", "logit_high")}
            causes = UnitCauses(
                unit=unit,
                response=1.0,
                source="a",
                source_index=0,
                samples=1,
                silenced_to="zero",
                **own,
            )
            return CausesFile(layer="first", index=0, units=[*units, causes])

        run.change(0, "causes.json", added)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    kept = CausesFile.read(run.folder(0) / "causes.json")
    assert sorted(unit.unit for unit in kept.units) == [0, 1, 2, 3]


def test_a_file_that_a_killed_process_did_not_write_is_missed(grown, tmp_path):
    shutil.copytree(grown.path, tmp_path / "run")

    def killed(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run.open(tmp_path / "run").keep(0, "causes.json", SimpleNamespace(write=killed))
    problems = {file.file: file.problem for file in verify_run(tmp_path / "run") if file.problem}
    assert problems == {"layers/000/causes.json": "missing"}
    shutil.copy(
        grown.path / "run.copy.json", tmp_path / "run"
    )  # killed before the copy was written
    Run.open(tmp_path / "run").note_made(0, "causes.json")
    copies = [(tmp_path / "run" / name).read_bytes() for name in ("run.json", "run.copy.json")]
    assert copies[0] == copies[1]


def test_the_folder_of_a_batch_is_no_run(tmp_path):
    (tmp_path / "batch.json").touch()
    with pytest.raises(RunError, match=r"that of a batch.*runs.0000"):
        Run.open(tmp_path)


def test_functions_of_a_run_take_its_folder_too(grown, tmp_path):
    run = Run.open(grown.path)
    for folder in (run.path, str(run.path)):
        assert citations(folder) == citations(run)
        assert (layer_oips(folder, 0).scores == layer_oips(run, 0).scores).all()
        assert compare_runs(folder, run).layers == compare_runs(run, run).layers
