from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import oip
from oip.ascent import decomposition
from oip.core.errors import ModelError, SettingsError

QUICK = {"steps": 30, "screened": 32, "starts": 2}
HOSTILE = "<img src=x onerror=alert(1)>"


def network(strides: int, side: int = 20, kernels=None):
    """12 random 4 x 4 patterns, or others."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    if kernels is None:
        kernels = np.random.default_rng(0).normal(size=(4, 4, 1, 12))
        kernels -= kernels.mean((0, 1))
    made = keras.Sequential(
        [
            layers.Input((side, side, 1)),
            layers.Conv2D(
                kernels.shape[-1], kernels.shape[0], strides, activation="relu", name="maps"
            ),
        ]
    )
    made.get_layer("maps").set_weights([kernels, np.zeros(kernels.shape[-1])])
    return made


@pytest.fixture(scope="module")
def tiled():
    """Nodes that do not overlap: the OIP of a map is that of a node, side by side."""
    return oip.decompose(network(4), "maps", maps=[3, 7], **QUICK)


def test_an_oip_of_shifted_copies_is_explained_by_equal_weights(tiled):
    assert tiled.nodes.shape == (25, 2)
    assert tiled.share.shape == (2, 2)
    assert tiled.share.min() > 0.95
    assert tiled.fitted.min() >= tiled.share[:, 0].min()
    assert (tiled.low <= tiled.share[:, 0]).all()
    assert (tiled.share[:, 0] <= tiled.high).all()
    weights = tiled.weights[:, :, 0]
    assert weights.std(1).max() < 0.1 * weights.mean(1).min()
    assert np.isfinite(tiled.null).sum(1).tolist() == [11, 11]
    assert tiled.null.max() < 0.5
    assert tiled.p_value.tolist() == [1 / 12, 1 / 12]
    assert tiled.penalty.max() <= 0.1
    rest = tiled.images.astype(float) - tiled.sums
    assert np.square(rest).mean() < 0.05


def test_nodes_that_are_grown_by_themselves_explain_as_much():
    result = oip.decompose(network(4, 8), "maps", maps=[3], copies="grown", **QUICK)
    assert result.nodes.shape == (4, 2)
    assert result.share[0, 0] > 0.95
    assert np.isfinite(result.null).sum() == 8
    assert result.p_value[0] == 1 / 9
    assert "grown" in repr(result)


@pytest.fixture
def pixels():
    layer = SimpleNamespace(receptive_field=(8, 8), index=0)
    return decomposition._Pixels(layer, np.ones((28, 28), bool), (28, 28, 1), 0)


def smooth(count: int, seed: int) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    images = np.random.default_rng(seed).normal(size=(count, 28, 28))
    return gaussian_filter(images, (0, 2, 2))[..., None]


def test_weights_of_a_planted_sum_are_found(pixels):
    copies = smooth(30, 0)
    truth = np.random.default_rng(1).normal(size=(30, 1))
    fit = pixels.fit(pixels.columns(copies), pixels.columns(copies) @ truth)
    assert fit.share[0] > 0.99
    assert np.allclose(fit.weights, truth, atol=0.05)


def test_noise_is_explained_as_by_the_copies_of_other_maps(pixels):
    """Of few copies not at all; of many smooth ones in part, by whichever copies it be."""
    noise = pixels.columns(smooth(8, 1))
    few = pixels.fit(pixels.columns(smooth(9, 0)), noise)
    assert np.median(few.share) < 0.15
    shares = np.array(
        [pixels.fit(pixels.columns(smooth(60, 9 + index)), noise).share for index in range(10)]
    )
    assert (shares < [pixels.fit(pixels.columns(smooth(60, 0)), noise).fitted]).mean() > 0.9
    ranks = (shares[1:] < shares[0]).mean(0)
    assert 0.2 < ranks.mean() < 0.8


def test_an_interval_holds_the_share_of_noisy_sums(pixels):
    copies, noise = smooth(9, 0), smooth(40, 5)
    planted = pixels.columns(copies).sum(1, keepdims=True)
    noise = pixels.columns(noise)
    noise *= np.linalg.norm(planted) / np.linalg.norm(noise, axis=0)
    fit = pixels.fit(pixels.columns(copies), planted + noise)
    ends = np.array([decomposition.explained_interval(fit.of(index), 0, 0) for index in range(40)])
    assert np.median(fit.share) == pytest.approx(0.45, abs=0.1)
    assert (ends[:, 0] < 0.5).mean() > 0.85


def test_blocks_are_left_out_whole(pixels):
    for block in range(pixels.blocks.max() + 1):
        assert np.ptp(pixels._fold[pixels.blocks == block]) == 0
    assert len(np.unique(pixels._fold)) == 8
    assert np.bincount(pixels.blocks).max() == 16


def test_copies_are_moved_and_turned():
    image = np.zeros((9, 9, 1), np.float32)
    image[4, 6] = 1.0
    moved = decomposition.shifted(image, np.array([-2, 1]))
    assert np.argwhere(moved[..., 0]).tolist() == [[2, 7]]
    assert not decomposition.shifted(image, np.array([0, 9])).any()
    turned = decomposition.turned(image, 90, np.array([4.0, 4.0]))
    assert np.argwhere(turned[..., 0] > 0.5).tolist() in ([[2, 4]], [[6, 4]])
    unturned = decomposition.turned(turned, -90, np.array([4.0, 4.0]))
    assert np.allclose(unturned, image, atol=1e-5)


def test_turned_copies_explain_a_turned_pattern(pixels, monkeypatch):
    layer = SimpleNamespace(
        size=(2, 2), jump=(14, 14), offset=(6.5, 6.5), receptive_field=(14, 14), index=0
    )
    node = np.zeros((1, 28, 28, 1), np.float32)
    node[0, 2:12, 6:8] = 1.0
    nodes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    copies = list(decomposition.node_copies(layer, node, nodes, (0.0, 30.0)))
    assert len(copies) == 8
    target = pixels.columns((copies[1] + copies[4])[None])
    shares = [
        pixels.fit(np.concatenate([pixels.columns(copy[None]) for copy in chosen], 1), target).share
        for chosen in (copies, copies[::2])
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.8


def test_copies_are_turned_by_the_rotation_of_the_ascent():
    assert decomposition.turn_angles(None, 0.0, 2) == (0.0,)
    assert decomposition.turn_angles(None, 10.0, 2) == (0.0, 10.0, -10.0)
    assert decomposition.turn_angles([45], 10.0, 2) == (0.0, 45.0)
    result = oip.decompose(network(4, 8), "maps", maps=[3], rotation=5.0, **QUICK)
    assert result.angles == (0.0, 5.0, -5.0)
    assert result.weights.shape == (1, 4, 3)


def test_large_images_are_compared_with_averaged_pixels():
    layer = SimpleNamespace(receptive_field=(40, 40), index=0)
    large = decomposition._Pixels(layer, np.ones((130, 130), bool), (130, 130, 3), 0)
    columns = large.columns(np.zeros((2, 130, 130, 3)))
    assert columns.shape == (43 * 43 * 3, 2)


def test_a_dead_map_has_no_share():
    import keras

    model = network(4, 8)
    dead = keras.models.clone_model(model)
    kernel, bias = model.get_layer("maps").get_weights()
    kernel[..., 1], bias[1] = 0.0, -1.0
    dead.get_layer("maps").set_weights([kernel, bias])
    result = oip.decompose(dead, "maps", maps=[1, 2], **QUICK)
    assert np.isnan(result.share[0]).all()
    assert np.isfinite(result.share[1]).all()
    assert np.isnan([result.low[0], result.p_value[0], result.fitted[0]]).all()
    assert result.n_null.tolist() == [0, 10]
    assert result.to_dict()["maps"][0]["share"] is None
    assert result.plot().axes[0].get_title() == "map 1"


def test_lines_are_decomposed():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [layers.Input((32, 2)), layers.Conv1D(10, 4, 4, activation="relu", name="maps")]
    )
    result = oip.decompose(made, "maps", maps=[0], **QUICK)
    assert result.nodes.shape == (8, 1)
    assert result.share[0, 0] > max(0.8, result.null.max() + 0.3)
    assert len(result.plot().axes) == 5
    with pytest.raises(SettingsError, match="one spatial axis"):
        oip.decompose(made, "maps", maps=[0], angles=[10], **QUICK)


def test_results_show_themselves_and_names_stay_text(tiled):
    assert repr(tiled).startswith("Decompositions('maps': 2 maps, 25 nodes, shifted; best: ")
    page = replace(tiled, layer=HOSTILE)._repr_html_()
    assert HOSTILE not in page
    assert "&lt;img" in page
    record = tiled.to_dict()
    assert np.shape(record["maps"][1]["weights"]) == (25, 1)
    assert record["maps"][1]["n_null"] == 11
    assert tiled.to_pandas()["share"].tolist() == pytest.approx(tiled.share[:, 0].tolist())
    assert [part.maps[0] for part in tiled] == [3, 7]
    assert len(tiled[7].plot().axes) == 5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": "none"}, ModelError, "one of"),
        ({"maps": [12]}, SettingsError, "0 to 11"),
        ({"copies": "both"}, SettingsError, "shifted"),
        ({"most": 0}, SettingsError, "most"),
        ({"angles": ["x"]}, SettingsError, "degrees"),
        ({"angles": [np.inf]}, SettingsError, "finite"),
        ({"stepz": 3}, SettingsError, "Did you mean"),
    ],
)
def test_bad_input_is_named(change, error, message):
    arguments = {"layer": "maps", "maps": [0], **QUICK, **change}
    with pytest.raises(error, match=message):
        oip.decompose(network(4, 8), arguments.pop("layer"), **arguments)


def test_a_layer_of_units_has_no_nodes_to_shift():
    import keras
    from keras import layers

    made = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ModelError, match="receptive field"):
        oip.decompose(made, made.layers[-1].name, **QUICK)
