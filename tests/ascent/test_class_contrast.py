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
def apart(small_model, small_images):
    images, labels = small_images
    return mi.separating(small_model, images, labels, "second", 0, 3, shuffles=50)


def test_the_most_separating_maps_have_their_oips_in_that_order(small_model, small_images, apart):
    found = oip.separating_oips(small_model, apart, 5, data=small_images[0], **QUICK)
    assert np.array_equal(found.maps, apart.maps[:5])
    assert np.array_equal(found.oips.maps, found.maps)
    assert np.array_equal(found.nodes, apart.nodes[:5])
    plain = oip.reconstruct(small_model, "second", maps=np.sort(found.maps), **QUICK)
    for row, number in enumerate(found.maps):
        assert found.oips.scores[row, 0] == pytest.approx(plain[number].score, rel=0.01)
    first, second = apart.first, apart.second
    assert found.favored == [first if value > 0 else second for value in found.effect]


def test_node_images_are_those_of_the_separating_node(small_model, apart):
    found = oip.separating_oips(small_model, apart, 3, **QUICK)
    for row, number in enumerate(found.maps):
        text = f"node:{number}@" + ",".join(map(str, found.nodes[row]))
        alone = oip.reconstruct(small_model, "second", objective=text, **QUICK)
        assert found.node_scores[row, 0] == pytest.approx(alone.scores[0, 0], rel=0.05)
        (top, bottom), (left, right) = found.boxes[row].astype(int)
        inside = np.zeros((16, 16), bool)
        inside[top:bottom, left:right] = True
        assert not found.node_images[row][:, ~inside].any()


def test_results_show_themselves_and_names_stay_text(small_model, apart):
    found = oip.separating_oips(small_model, apart, 2, **QUICK)
    page = replace(found, first=HOSTILE, second=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    drawing = found.plot()
    assert len(drawing.axes) == 4
    drawing.draw_without_rendering()
    told = next(one for one in drawing.texts if one.get_text() == drawing.get_suptitle())
    assert "effect" in told.get_text()
    assert told.get_window_extent().x0 >= 0
    assert found.to_dict()["maps"][0]["map"] == int(apart.maps[0])


def test_bad_input_is_named(small_model, apart):
    with pytest.raises(SettingsError, match="at the response"):
        oip.separating_oips(small_model, replace(apart, at="block"), 2, **QUICK)
    with pytest.raises(SettingsError, match="count"):
        oip.separating_oips(small_model, apart, 0, **QUICK)
    nothing = SimpleNamespace(
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
        oip.separating_oips(small_model, nothing, 2, **QUICK)


def test_separating_oips_have_a_short_representation_and_a_table(small_model, apart):
    result = oip.separating_oips(small_model, apart, 2, **QUICK)
    assert repr(result).startswith("SeparatingOips('second': 2 maps that separate ")
    assert result.to_pandas()["map"].tolist() == result.maps.tolist()
