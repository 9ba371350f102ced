"""The run directory."""

from __future__ import annotations

from oip.core.formats import RankingSettings, RunSettings
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
