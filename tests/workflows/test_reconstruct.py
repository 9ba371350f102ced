import numpy as np
import pytest

import oip
from oip.core.errors import SettingsError

QUICK = {"starts": 2, "steps": 6, "screened": 8}


def test_maps_of_a_layer_are_reconstructed_into_a_run(small_file, bars, tmp_path):
    images = bars[0]
    run = oip.reconstruct_into(tmp_path / "run", small_file, "second:3,5", data=images, **QUICK)
    oips = oip.layer_oips(run, 1)
    assert oips.maps.tolist() == [3, 5]
    assert np.isfinite(oips.data_scores).all()
    direct = oip.reconstruct(small_file, "second", maps=[3, 5], data=images, **QUICK)
    np.testing.assert_array_equal(direct.verdicts, oips.verdicts)
    np.testing.assert_allclose(direct.scores, oips.scores, rtol=0.01)


def test_objectives_in_place_of_maps(small_model, tmp_path):
    run = oip.reconstruct_into(
        tmp_path / "run", small_model, "second", objectives=["map:3 + map:5", "class:1"], **QUICK
    )
    assert len(oip.layer_oips(run, 2)) == 2


def test_only_the_best_maps(small_model, bars, tmp_path):
    images, labels = bars
    out = tmp_path / "run"
    options = {"data": images, "labels": labels, "top": 2, "by": "separates:0,3"}
    run = oip.reconstruct_into(out, small_model, **options, **QUICK)
    for layer, maps in oip.top_maps(out, small_model, **options):
        assert oip.layer_oips(run, layer.index).maps.tolist() == sorted(maps)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"by": "mi"}, "top"),
        ({"top": 2}, "labels"),
        ({"top": 2, "objectives": ["class:1"], "data": "x.npz"}, "objectives"),
        ({"top": 2, "by": "size", "data": "x.npz"}, "separates:CLASS,CLASS"),
        ({"layers": ["first", "second"], "objectives": ["class:1"]}, "one layer"),
        ({"starts": 0}, "starts"),
    ],
)
def test_settings_that_do_not_go_together(small_model, tmp_path, options, text):
    with pytest.raises(SettingsError, match=text) as caught:
        oip.reconstruct_into(tmp_path / "run", small_model, **options)
    assert "--" not in str(caught.value), "a library does not name options"
    assert not (tmp_path / "run").exists()
