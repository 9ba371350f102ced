import json
from dataclasses import replace

import numpy as np
import pytest

from oip.core.progress import silent
from oip.studies import oip, oip_arms
from oip.studies.oip_arms import QUICK, Interval, _Starts, arms, measured, noises
from oip.studies.report import AGREEMENTS, Folder, StudySettings
from oip.studies.runner import run_study

TINY = replace(QUICK, nets=1, seeds=2, screened=16, starts=2, steps=6, maps=5, judged=40)


@pytest.fixture
def network(small_model):
    from oip.network.network import Network

    return Network(small_model)


def test_the_arms_are_those_of_the_study():
    assert noises(28) == ("white", "single:14", "single:7", "single:3", "equal", "tilt:1")
    found = arms(28)
    assert len(found) == len(set(found)) == 9
    assert {objective for noise, objective in found if noise.startswith("single")} == {"post"}


def test_starts_are_the_same_in_pieces(network):
    layer = network.find("second")
    starts = _Starts(network, layer, ("white", "equal"), TINY, 3)
    whole = starts[0 : len(starts)]
    parts = np.concatenate([starts[first : first + 7] for first in range(0, len(starts), 7)])
    np.testing.assert_array_equal(whole, parts)
    assert len(whole) == 2 * 2 * 16
    np.testing.assert_allclose(whole.mean((1, 2, 3)), 40, atol=0.1)
    np.testing.assert_allclose(whole.std((1, 2, 3)), 80, atol=0.1)


def test_what_is_counted_is_what_the_network_does(network, small_images):
    from oip.ascent.noise import Noise

    layer = network.find("second")
    found = measured(network, layer, small_images[0], TINY, 3, True, silent)
    kinds = noises(16)
    images, _ = Noise((16, 16, 1), "equal").images(4, layer.index, np.arange(16))
    values = network.model.layers[1]((images * 80 + 40 - 40) / 80)
    second = network.model.get_layer("second")(network.model.get_layer("pool")(values)).numpy()
    heard = second.mean((1, 2)) > 0
    row = kinds.index("equal")
    assert found["opened"][row, 1].tolist() == heard.sum(0).tolist()
    own = np.arange(70) % 16
    assert found["first"][row, 1].tolist() == heard[own, np.arange(70)].tolist()
    shape = (len(arms(16)), 2, 5, 2)
    assert found["scores"].shape == found["steps"].shape == found["power"].shape == shape
    assert found["excitable"][found["maps"]].all()
    lives = (found["scores"] > 0).mean((1, 2, 3))
    assert lives[arms(16).index(("equal", "warm"))] >= lives[arms(16).index(("white", "post"))]


def test_a_whole_study_on_the_embedded_digits_and_again_from_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(oip, "QUICK", replace(TINY, images=400, epochs=1))
    settings = StudySettings(quick=True, data=("mnist-sample",))
    outcome = run_study("oip", tmp_path / "out", settings, silent)
    assert not outcome.stopped
    assert outcome.page.is_file()
    told = json.loads((tmp_path / "out" / "oip.json").read_text())
    names = {figure["name"] for figure in told["figures"]}
    assert {"starts-0", "arms-0", "evolution", "layer", "starts-of-one-map", "dense"} <= names
    assert {"plain-and-enhanced", "common-points", "responses-0", "classes-of-oips"} <= names
    assert (tmp_path / "out" / "figures" / "evolution.webp").read_bytes()[8:12] == b"WEBP"
    assert len(told["claims"]) == 7
    assert all(claim["agrees"] in AGREEMENTS for claim in told["claims"])
    assert all("nan" not in claim["found"] for claim in told["claims"])
    numbers = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert numbers["starts-0"]["starts"] == [1, 2, 4, 8, 16]

    def never(*_: object) -> None:
        raise RuntimeError("measured again")

    monkeypatch.setattr(oip_arms, "spatial_means", never)
    monkeypatch.setattr(oip.oip_pictures, "draw", lambda *_: None)  # they take the longest
    again = run_study("oip", tmp_path / "out", settings, silent)
    assert not again.stopped
    assert json.loads((again.page.parent / "oip.json").read_text())["claims"] == told["claims"]


def test_models_of_the_user_stand_for_the_trained_ones(
    tmp_path, small_file, small_data, monkeypatch
):
    monkeypatch.setattr(oip, "QUICK", TINY)
    settings = StudySettings(quick=True, data=(str(small_data),), models=str(small_file))
    folder = Folder(tmp_path / "out", "oip", settings)
    oip.run(folder, settings, silent)
    assert not list((tmp_path / "out").rglob("*.keras"))
    assert any("1 networks" in note for note in folder.notes)
    assert any("No common points" in note for note in folder.notes)


def interval(value, low, high):
    return Interval(value, low, high)


@pytest.mark.parametrize(
    ("intervals", "wanted"),
    [
        ([(0.1, 0.05, 0.2), (0.2, 0.1, 0.3)], "yes"),
        ([(-0.1, -0.2, -0.05), (0.0, -0.001, 0.001)], "no"),
        ([(0.1, -0.1, 0.3), (0.1, -0.1, 0.3)], "partly"),
        ([(0.1, 0.05, 0.2), (0.1, -0.1, 0.3)], "partly"),
        ([(np.nan, np.nan, np.nan)], "not tested"),
        ([(np.nan, np.nan, np.nan), (0.2, 0.1, 0.3)], "partly"),
    ],
)
def test_an_interval_that_holds_both_decides_nothing(intervals, wanted):
    assert oip.judged([interval(*one) for one in intervals]) == wanted


def test_one_pattern_is_one_above_the_cut():
    gap = [interval(0.2, 0.15, 0.25)]
    assert oip.steady([interval(0.6, 0.55, 0.65)], gap) == "yes"
    assert oip.steady([interval(0.41, 0.4, 0.43)], gap) == "partly"
    assert oip.steady([interval(0.1, 0.0, 0.2)], [interval(-0.1, -0.2, -0.05)]) == "no"
    nothing = [interval(np.nan, np.nan, np.nan)]
    assert oip.steady(nothing, nothing) == "not tested"
    assert "unknown" in nothing[0].text(100)


def test_parts_are_of_their_models_and_images(tmp_path, small_file, small_data, monkeypatch):
    """Another file under the same name is measured anew."""
    calls = []
    monkeypatch.setattr(oip, "QUICK", TINY)
    monkeypatch.setattr(oip.oip_pictures, "draw", lambda *_: None)
    original = oip.measured

    def counted(network, layer, *rest):
        calls.append(layer.name)
        return original(network, layer, *rest)

    monkeypatch.setattr(oip, "measured", counted)
    path = tmp_path / "net.keras"
    path.write_bytes(small_file.read_bytes())
    settings = StudySettings(quick=True, data=(str(small_data),), models=str(path))

    def run():
        oip.run(Folder(tmp_path / "out", "oip", settings), settings, silent)

    run()
    first = len(calls)
    run()
    assert len(calls) == first > 0
    import keras

    model = keras.models.load_model(path, compile=False)
    model.set_weights([weight + 0.01 for weight in model.get_weights()])
    model.save(path)
    run()
    assert len(calls) == 2 * first


def test_a_pattern_of_no_models_is_named(tmp_path, small_data):
    from oip.core.errors import DataError

    settings = StudySettings(quick=True, data=(str(small_data),), models=str(tmp_path / "*.keras"))
    with pytest.raises(DataError, match="trained networks"):
        oip.run(Folder(tmp_path / "out", "oip", settings), settings, silent)
