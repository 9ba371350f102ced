import numpy as np
import pytest

import oip
from oip.ascent import reconstruction
from oip.ascent.gradient_ascent import GradientAscent
from oip.ascent.noise import Noise
from oip.ascent.objectives import MapTargets
from oip.ascent.reconstruction import images_at_once
from oip.ascent.results import REASONS
from oip.ascent.settings import ascent_settings
from oip.network.network import Network

QUICK = {"steps": 24, "screened": 48}


@pytest.fixture
def traces(monkeypatch):
    """One entry for each time that a step of the ascent is traced."""
    found = []
    own = MapTargets.own

    def counted(*asked):
        found.append(1)
        return own(*asked)

    monkeypatch.setattr(MapTargets, "own", counted)
    return found


def test_a_batch_that_shrinks_is_not_traced_again(small_model, traces):
    network = Network(small_model)
    targets = MapTargets(network, network.find("first"))
    settings = ascent_settings(steps=400, blur=0.0, tolerance=0.01)
    climber = GradientAscent(network, targets, settings, np.ones((16, 16), bool))
    once = len(traces)
    assert once > 0
    noise, _ = Noise((16, 16, 1)).images(0, 0, np.arange(12))
    found = climber.climb(noise, np.arange(12) % 6)
    assert len(np.unique(found.steps)) > 2
    assert (found.reasons == REASONS.index("converged")).any()
    climber.climb(noise[:5], np.arange(5), "peak")
    assert len(traces) == once


def test_a_layer_is_traced_once_whatever_the_number_of_maps(small_model, traces):
    oip.reconstruct(small_model, "second", maps=[3], **QUICK)
    once = len(traces)
    oip.reconstruct(small_model, "second", **QUICK)
    assert len(traces) == 2 * once


def test_a_chunk_has_as_many_images_as_the_budget_holds(small_model, monkeypatch):
    network = Network(small_model)
    targets = MapTargets(network, network.find("second"))
    climber = GradientAscent(network, targets, ascent_settings(), np.ones((16, 16), bool))
    for budget, room in ((1, 1), (5 * climber.bytes_per_image(), 5), (1 << 40, 128)):
        monkeypatch.setattr(reconstruction, "_BUDGET", budget)
        assert images_at_once(climber) == room


def test_one_map_at_a_time_is_what_all_of_them_together_are(small_model, monkeypatch):
    asked = {"maps": range(40, 64), "starts": 2, **QUICK}
    together = oip.reconstruct(small_model, "second", **asked)
    climbs = []
    climb = GradientAscent.climb

    def counted(climber, starts, *others):
        climbs.append(len(starts))
        return climb(climber, starts, *others)

    monkeypatch.setattr(GradientAscent, "climb", counted)
    monkeypatch.setattr(reconstruction, "_BUDGET", 1)
    alone = oip.reconstruct(small_model, "second", **asked)
    assert len(climbs) >= 24
    assert max(climbs) == 2  # the starts of one map stay together
    assert alone.verdicts == together.verdicts
    np.testing.assert_allclose(alone.scores[:, 0], together.scores[:, 0], rtol=0.01)
