"""The run directory."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from oip.core.errors import RunError
from oip.core.formats import CausesFile, RankingSettings, RunSettings, UnitCauses
from oip.network.network import Network
from oip.run.run import Run, run_record


def test_what_was_recorded_in_training_may_lie_in_the_folder_already(small_model, tmp_path):
    network = Network(small_model)
    folder = tmp_path / "run"
    (folder / "record").mkdir(parents=True)
    run = Run.begin(folder, run_record(network, RunSettings(rank=RankingSettings())))
    assert run.path == folder


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


def test_the_folder_of_a_batch_is_no_run(tmp_path):
    (tmp_path / "batch.json").touch()
    with pytest.raises(RunError, match=r"that of a batch.*runs.0000"):
        Run.open(tmp_path)
