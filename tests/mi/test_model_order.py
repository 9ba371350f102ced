import keras
import numpy as np
import pytest
from keras import layers

from oip import mi
from oip.core.errors import DataError

LABELS = np.arange(90) % 3
IMAGES = np.zeros((90, 4, 4, 1), np.float32)
IMAGES[np.arange(90), LABELS, 0, 0] = 30.0
IMAGES += np.random.default_rng(0).normal(size=IMAGES.shape).astype(np.float32)


def network(name, share):
    """A classifier whose last layer receives the pixels, those of the label shrunk."""
    keras.utils.set_random_seed(0)
    scales = np.ones(16)
    scales[[0, 4, 8]] = share
    before = layers.EinsumDense("ij,j->ij", output_shape=(16,), name="scaled")
    model = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.Flatten(), before, layers.Dense(3, "softmax")], name=name
    )
    before.set_weights([scales])
    return model


def test_models_that_know_more_come_first(tmp_path):
    path = tmp_path / "best.keras"
    network("best", 1.0).save(path)
    without_head = keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 3)], name="maps")
    given = [network("nothing", 0.0), path, without_head, network("some", 0.1)]
    result = mi.order_models(given, IMAGES, LABELS, samples=60, draws=4)
    assert result.names == ("best.keras", "some", "nothing") and result.order.tolist() == [1, 3, 0]
    assert list(result.left_out) == ["maps"] and result.samples == 60
    assert result.bits[0] == pytest.approx(np.log2(3), abs=0.2)
    table = result.to_pandas()
    assert table["model"].tolist() == list(result.names)
    assert (table["low"] <= table["high"]).all()
    assert "3 models, 60 images; best.keras" in repr(result)
    page = result._repr_html_()
    assert all(f"<td>{name}</td>" in page for name in result.names) and "maps" in page


def test_models_that_are_not_finite_are_left_out_each_by_its_name():
    broken = [network("broken", np.nan), network("broken", np.nan)]
    result = mi.order_models([*broken, network("best", 1.0)], IMAGES, LABELS, samples=60, draws=4)
    assert result.names == ("best",) and result.order.tolist() == [2]
    assert list(result.left_out) == ["broken", "broken (1)"]
    assert all("finite" in reason for reason in result.left_out.values())


def test_no_model_can_be_measured():
    model = keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(DataError, match="at least one"):
        mi.order_models([model], IMAGES, LABELS, samples=60)
