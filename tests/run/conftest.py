"""Runs of the small model that tests read and harm."""

from __future__ import annotations

import shutil

import pytest

from oip.ascent.settings import ascent_settings
from oip.network.layer_spec import parse_selections
from oip.network.network import Network
from oip.run.reconstruct import reconstruct_layers


@pytest.fixture(scope="session")
def make_run(small_file):
    """A function that grows the OIPs of some maps into a run."""
    network = Network(small_file)

    def make(out, *texts, seed=0, **settings):
        values = {"starts": 2, "steps": 8, "screened": 16, "seed": seed, **settings}
        selections = parse_selections(network, texts)
        return reconstruct_layers(out, network, selections, ascent_settings(**values))

    return make


@pytest.fixture(scope="session")
def grown(make_run, tmp_path_factory):
    """Both layers: shards of 6, 64 and 6 maps. Not to be changed."""
    return make_run(tmp_path_factory.mktemp("grown") / "run")


@pytest.fixture
def copied(grown, tmp_path):
    """The same, to be harmed."""
    path = tmp_path / "copied"
    shutil.copytree(grown.path, path)
    return type(grown).open(path)
