from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import oip
from oip import mi
from oip.core.errors import SettingsError

QUICK = {"steps": 16, "screened": 32, "starts": 2}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def separation(small_model, small_images):
    images, labels = small_images
    return mi.separating(small_model, images, labels, "second", 0, 3, shuffles=50)


def test_the_most_separating_maps_have_their_oips_in_that_order(
    small_model, small_images, separation, small_network
):
    outcome = oip.separating_oips(small_model, separation, 5, data=small_images[0], **QUICK)
    assert np.array_equal(outcome.maps, separation.maps[:5])
    assert np.array_equal(outcome.oips.maps, outcome.maps)
    assert np.array_equal(outcome.nodes, separation.nodes[:5])
    plain = oip.reconstruct(small_network, "second", maps=np.sort(outcome.maps), **QUICK)
    for row, number in enumerate(outcome.maps):
        assert outcome.oips.scores[row, 0] == pytest.approx(plain[number].score, rel=0.01)
    first, second = separation.first, separation.second
    assert outcome.favored == [first if value > 0 else second for value in outcome.effect]


def test_node_images_are_those_of_the_separating_node(small_network, separation):
    outcome = oip.separating_oips(small_network, separation, 3, **QUICK)
    for row, number in enumerate(outcome.maps):
        text = f"node:{number}@" + ",".join(map(str, outcome.nodes[row]))
        alone = oip.reconstruct(small_network, "second", objective=text, **QUICK)
        assert outcome.node_scores[row, 0] == pytest.approx(alone.scores[0, 0], rel=0.05)
        (top, bottom), (left, right) = outcome.boxes[row].astype(int)
        inside = np.zeros((16, 16), bool)
        inside[top:bottom, left:right] = True
        assert not outcome.node_images[row][:, ~inside].any()


def test_results_show_themselves_and_names_stay_text(small_network, separation):
    outcome = oip.separating_oips(small_network, separation, 2, **QUICK)
    page = replace(outcome, first=HOSTILE, second=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    drawing = outcome.plot()
    assert len(drawing.axes) == 4
    drawing.draw_without_rendering()
    record = next(item for item in drawing.texts if item.get_text() == drawing.get_suptitle())
    assert "effect" in record.get_text()
    assert record.get_window_extent().x0 >= 0
    assert outcome.to_dict()["maps"][0]["map"] == int(separation.maps[0])


def test_bad_input_is_named(small_network, separation):
    with pytest.raises(SettingsError, match="at the response"):
        oip.separating_oips(small_network, replace(separation, at="block"), 2, **QUICK)
    with pytest.raises(SettingsError, match="count"):
        oip.separating_oips(small_network, separation, 0, **QUICK)
    empty_separation = SimpleNamespace(
        layer="second",
        at="response",
        first="a",
        second="b",
        maps=np.array([1]),
        effect=np.array([np.nan]),
        p_adjusted=np.array([1.0]),
        nodes=np.array([[0, 0]]),
    )
    with pytest.raises(SettingsError, match="finite effect"):
        oip.separating_oips(small_network, empty_separation, 2, **QUICK)


def test_separating_oips_have_a_short_representation_and_a_table(small_network, separation):
    result = oip.separating_oips(small_network, separation, 2, **QUICK)
    assert repr(result).startswith("SeparatingOips('second': 2 maps that separate ")
    assert result.to_pandas()["map"].tolist() == result.maps.tolist()
