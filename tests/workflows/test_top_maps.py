import pytest

import oip
from oip.core.errors import DataError, SettingsError
from oip.workflows.top_maps import parse_by


def test_the_best_maps_by_information_are_those_of_the_ranking(small_model, bars, tmp_path):
    images, labels = bars
    best = oip.top_maps(tmp_path / "run", small_model, "first", data=images, labels=labels, top=3)
    ranking = oip.Run.open(tmp_path / "run").ranking(0)
    (pair,) = best
    assert pair[1] == [row.map for row in ranking.estimators[0].maps[:3]]
    ((layer, numbers),) = best.selections
    assert (layer.name, numbers.tolist()) == ("first", sorted(pair[1]))
    assert best.to_pandas()["rank"].tolist() == [1, 2, 3]
    assert repr(best).startswith("TopMaps by mi; first: 3 maps, best ")
    assert "<table" in best._repr_html_()


def test_labels_are_needed(small_model, bars, tmp_path):
    for by in ("mi", "separates:0,1"):
        with pytest.raises(DataError, match="labels"):
            oip.top_maps(tmp_path / "run", small_model, data=bars[0], by=by)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("top", [0, -1, 1.5, True])
def test_the_number_of_maps_is_whole(small_model, bars, tmp_path, top):
    images, labels = bars
    for find in (oip.top_maps, oip.reconstruct_into):
        with pytest.raises(SettingsError, match="top: expected a whole number"):
            find(tmp_path / "run", small_model, "first", data=images, labels=labels, top=top)
    assert not (tmp_path / "run").exists()


def test_names_of_an_order():
    assert parse_by("mi") is None
    assert parse_by("separates:a b,c") == ("a b", "c")
    for text in ("", "size", "separates", "separates:a", "separates:,b"):
        with pytest.raises(SettingsError, match="separates:CLASS,CLASS"):
            parse_by(text)
