import numpy as np
import pytest

import oip
from oip.core.errors import DataError, ModelError, SettingsError


def test_a_smaller_model_is_returned_and_written(small_file, bars, tmp_path):
    images, labels = bars
    out = tmp_path / "smaller.keras"
    options = {"data": images, "labels": labels, "method": "l1", "samples": 40}
    pruned = oip.prune(small_file, out=out, keep=0.5, **options)
    assert {name: len(maps) for name, maps in pruned.kept.items()} == {"first": 3, "second": 35}
    assert list(pruned.stages) == ["pruned", "corrected"]
    assert pruned.quality.parameters < pruned.before.parameters
    assert repr(pruned).startswith("PrunedModel by l1: ")
    assert pruned.to_pandas().index.tolist() == ["before", "pruned", "corrected"]
    assert "images:test" in pruned._repr_html_()
    network = oip.Network(out)
    assert network.digest != oip.Network(small_file).digest
    np.testing.assert_allclose(
        network.model.predict(images[:4], verbose=0),
        pruned.model.predict(images[:4], verbose=0),
        rtol=1e-5,
    )


def test_named_layers_only_and_nothing_is_written(small_model, bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = bars
    pruned = oip.prune(
        small_model, "first", data=images, labels=labels, method="random", correct=False
    )
    assert set(pruned.kept) == {"first"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"out": "smaller.h5"}, SettingsError, ".keras"),
        ({"method": "tailor"}, SettingsError, "taylor"),
        ({"keep": 0.0}, SettingsError, "keep"),
        ({"labels": None}, DataError, "labels"),
        ({"layers": "third"}, ModelError, "first, second"),
    ],
)
def test_bad_input(small_model, bars, options, kind, text):
    images, labels = bars
    with pytest.raises(kind, match=text):
        oip.prune(small_model, **{"data": images, "labels": labels, **options})
