import io
import json

import numpy as np
import pytest

from oip import mi
from oip.core.errors import ModelError, SettingsError


def bands_model(settings=None):
    """A map of three bands with equal weights; further maps are random."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((7, 6, 3)),
            layers.Conv2D(4, (3, 2), activation="relu", name="bands", **(settings or {})),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    kernel, bias = model.get_layer("bands").get_weights()
    kernel[..., 1] = 0.2
    model.get_layer("bands").set_weights([kernel, bias + 0.1])
    return model


@pytest.fixture(scope="module")
def images():
    """Band 1 tells the label, band 0 a little of it, band 2 is loud noise."""
    draw = np.random.default_rng(0)
    labels = np.arange(160) % 2
    pixels = draw.normal(size=(160, 7, 6, 3)).astype(np.float32)
    pixels[..., 1] += 2.0 * labels[:, None, None]
    pixels[..., 0] += 0.2 * labels[:, None, None]
    pixels[..., 2] *= 6
    return pixels, labels


@pytest.mark.parametrize("estimator", ["decoder", "kde"])
def test_kernels_of_bands_that_know_the_label_come_first(images, estimator):
    kernels = mi.rank_kernels(bands_model(), *images, "bands", 1, estimator=estimator, split="x:y")
    assert kernels.order.tolist() == [1, 0, 2]
    assert kernels.ranking.mi[1] > 0.9
    assert kernels.ranking.mi[2] < 0.4 * kernels.ranking.mi[1]
    # The loud band makes the map's response.
    assert kernels.with_map.argmax() == 2
    record = kernels.to_dict()
    json.dumps(record, allow_nan=False)
    assert (record["map"], record["of"]) == (1, 3)
    assert [kernel["input"] for kernel in record["kernels"]] == [1, 0, 2]
    np.testing.assert_allclose(record["kernels"][0]["weights"], np.full((3, 2), 0.2), rtol=1e-6)


@pytest.mark.parametrize(
    "settings", [{}, {"strides": (2, 1), "padding": "same"}, {"dilation_rate": 2}], ids=str
)
def test_partial_responses_add_up_to_the_pre_activation(images, settings):
    from oip.mi.kernel_ranking import partial_responses
    from oip.network.channel_graph import kernel_call
    from oip.network.network import Network

    model = bands_model(settings)
    network = Network(model)
    call = kernel_call(network, network.find("bands"))
    parts = partial_responses(network, call, images[0], 2)
    layer = model.get_layer("bands")
    whole = layer.convolution_op(images[0], layer.kernel).numpy()[..., 2]
    np.testing.assert_allclose(parts.sum(axis=1), whole.reshape(160, -1), atol=1e-4)
    assert parts.shape[1] == 3


def test_a_map_of_one_kernel_shares_all_with_it():
    import keras
    from keras import layers

    draw = np.random.default_rng(1)
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(2, 3, name="only")])
    pixels = draw.normal(size=(60, 6, 6, 1)).astype(np.float32)
    kernels = mi.rank_kernels(model, pixels, np.arange(60) % 2, "only", 0)
    response = model(pixels).numpy()[..., 0].reshape(60, -1).astype(float)
    own = mi.estimator("renyi", alpha=2).information(response, response, 0).nats / np.log(2)
    assert kernels.with_map == pytest.approx([own], abs=1e-4)


def test_convolutions_of_one_axis_have_kernels_of_one_row():
    import keras
    from keras import layers

    draw = np.random.default_rng(1)
    model = keras.Sequential([layers.Input((20, 2)), layers.Conv1D(3, 5, name="line")])
    pixels = draw.normal(size=(60, 20, 2)).astype(np.float32)
    kernels = mi.rank_kernels(model, pixels, np.arange(60) % 2, "line", 2)
    assert kernels.weights.shape == (2, 1, 5)
    kernel = model.get_layer("line").get_weights()[0]
    np.testing.assert_array_equal(kernels.weights[1, 0], kernel[:, 1, 2])


def test_they_are_drawn_in_their_order(images):
    kernels = mi.rank_kernels(bands_model(), *images, "bands", 1)
    figure = kernels.plot()
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title.split(":")[0] for title in titles] == [str(row) for row in kernels.order]
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert sum(bool(axes.get_title()) for axes in kernels.plot(most=2).axes) == 2
    assert "bands" in kernels._repr_html_()


def test_bad_input(images):
    import keras
    from keras import layers

    with pytest.raises(SettingsError, match="0 to 3"):
        mi.rank_kernels(bands_model(), *images, "bands", 4)
    with pytest.raises(SettingsError, match="estimator"):
        mi.rank_kernels(bands_model(), *images, "bands", 0, estimator="kdee")
    model = keras.Sequential([layers.Input((7, 6, 3)), layers.DepthwiseConv2D(3, name="deep")])
    with pytest.raises(ModelError, match="plain convolution"):
        mi.rank_kernels(model, *images, "deep", 0)


def test_short_form_and_table(images):
    result = mi.rank_kernels(bands_model(), *images, "bands", 1)
    assert repr(result).startswith("KernelRanking(bands:1, 3 kernels, 160 images; best: input 1 (")
    table = result.to_pandas()
    assert table["input"].tolist() == result.order.tolist()
    assert table["mi"][0] == result.ranking.mi[1]
