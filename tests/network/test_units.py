"""Units of any layer: dense units, token channels, attention heads, normalized maps."""

import numpy as np
import pytest

import oip
from oip import models
from oip.core.errors import ModelError, SettingsError
from oip.network.network import Network

OPTIONS = {"patch": 4, "width": 8, "heads": 2, "blocks": 1}


@pytest.fixture(scope="module", params=["vit", "vit-pooled"])
def transformer(request):
    import keras

    keras.utils.set_random_seed(1)
    return Network(models.build(request.param, (8, 12, 1), 3, **OPTIONS))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (3, 8, 12, 1)).astype(np.float32)


def test_every_layer_with_channels_is_listed_with_what_these_are(transformer):
    layers = {layer.name: layer for layer in transformer.other_layers}
    has_class = "Class_token" in layers
    tokens = (7,) if has_class else (2, 3)
    kinds = {name: (layer.kind, layer.maps, layer.size) for name, layer in layers.items()}
    assert kinds["Tokens"] == ("tokens", 8, (2, 3))
    assert kinds["Attention_1"] == ("tokens", 8, tokens)
    assert kinds["Attention_1/heads"] == ("heads", 2, tokens)
    assert kinds["Add_1b"] == ("tokens", 8, tokens)
    assert kinds["Dense_1a"] == ("tokens", 16, tokens)
    assert kinds["classes"] == ("units", 3, ())
    assert layers["Dense_1a"].activation == "gelu"
    assert layers["Add_1b"].patches == ((2, 3) if has_class else ())
    assert not any("softmax" in name or "query" in name for name in layers)
    assert (layers["Tokens"].receptive_field, layers["Tokens"].jump) == ((4, 4), (4.0, 4.0))
    assert layers["Positions"].receptive_field == (4, 4)
    for name in ("Attention_1", "Attention_1/heads", "Add_1a", "Dense_1a", "classes"):
        assert layers[name].receptive_field is None


def test_indices_go_on_after_those_of_maps_and_objectives(transformer):
    assert [layer.index for layer in transformer.layers] == [0]
    assert transformer.objectives_index == 1
    indices = [layer.index for layer in transformer.other_layers]
    assert indices == list(range(2, 2 + len(indices)))
    for layer in transformer.other_layers:
        assert transformer.find(f"@{layer.index}") == transformer.find(layer.name) == layer
    assert transformer.find("Attention_1/attention_output") == transformer.find("Attention_1")
    with pytest.raises(ModelError, match="@0 to @0, or of other layers @2 to"):
        transformer.find("@1")


def test_what_has_no_channels_is_named_with_its_shape(transformer):
    with pytest.raises(ModelError, match=r"query. .*channels last.*shape \(n, \d, 2, 4\)"):
        transformer.find("Attention_1/query")
    with pytest.raises(ModelError, match="Did you mean 'Dense_1a'"):
        transformer.find("Dens_1a")
    with pytest.raises(SettingsError, match="heads of layer 'Attention_1/heads': expected 0 to 1"):
        oip.responses(transformer, np.zeros((1, 8, 12, 1)), "Attention_1/heads", maps=[2])
    with pytest.raises(SettingsError, match="a layer with kernels"):
        transformer.find_output("Dense_1a", "block")


def test_a_head_responds_with_the_length_of_its_vector(transformer, images):
    from oip.network.tracing import shadowed

    received = []

    def watch(_, call):
        def watched(values, *args, **kwargs):
            received.append(np.asarray(values))
            return call(values, *args, **kwargs)

        return watched

    projection = transformer.find("Attention_1").response.layer
    with shadowed([projection], watch):
        transformer.model(images)
    heads = oip.responses(transformer, images, "Attention_1/heads")
    expected = np.moveaxis(np.linalg.norm(received[0], axis=-1), 2, 1)
    values = heads.values.reshape(expected.shape)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert heads.nouns == "heads" and heads.to_dict()["kind"] == "heads"


def test_tokens_stand_where_their_patches_are(transformer, images):
    tokens = oip.responses(transformer, images, "Tokens")
    patches = oip.responses(transformer, images, "Patches")
    np.testing.assert_allclose(tokens.values, patches.values, rtol=1e-5)
    stream = oip.responses(transformer, images, "Add_1b")
    if stream.patches:  # the class token stands above the patches
        assert stream.planes.shape == (3, 8, 3, 3)
        assert np.isnan(stream.planes[:, :, 0, 1:]).all()
        np.testing.assert_array_equal(stream.planes[:, :, 0, 0], stream.values[:, :, 0])
        np.testing.assert_array_equal(
            stream.planes[:, :, 1:].reshape(3, 8, 6), stream.values[:, :, 1:]
        )
    else:
        assert stream.planes.shape == (3, 8, 2, 3)
    assert stream.plot() is not None


def test_softmax_is_shown_as_it_is_and_grown_by_its_logits(transformer, images):
    from oip.network.responses import output_values

    shown = oip.responses(transformer, images, "classes").values
    np.testing.assert_allclose(shown.sum(axis=1), 1.0, rtol=1e-5)
    layer = transformer.find("classes")
    logits = output_values(transformer, images, layer, np.arange(3))
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), shown, atol=1e-5)


def test_a_network_without_maps_has_its_dense_layers_by_default():
    from oip.network.layer_spec import parse_selections

    network = Network(models.build("relu-mlp", (4, 4, 1), 3, units=(6, 5)))
    assert [layer.name for layer in network.default_layers] == ["Dense_1", "Dense_2", "classes"]
    assert [(layer.name, len(maps)) for layer, maps in parse_selections(network, [])] == [
        ("Dense_1", 6),
        ("Dense_2", 5),
        ("classes", 3),
    ]


def test_values_at_rest_are_passed_on_by_what_pools_and_moves_them():
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 1))
    values = layers.Conv2D(3, 3, use_bias=False, name="conv")(inputs)
    values = layers.BatchNormalization(name="norm")(values)
    values = layers.ReLU(name="relu")(values)
    values = layers.MaxPooling2D(name="pool")(values)
    values = layers.GlobalAveragePooling2D(name="global")(values)
    network = Network(keras.Model(inputs, layers.LayerNormalization(name="last")(values)))
    silent = {layer.name: layer.can_be_inactive for layer in network.other_layers}
    expected = {"norm": False, "relu": True, "pool": True, "global": True, "last": False}
    assert silent == expected
    assert network.find("relu").response.pre_activation == "input"
    kinds = {layer.name: layer.kind for layer in network.other_layers}
    assert kinds == {**dict.fromkeys(("norm", "relu", "pool"), "maps"), "global": "units"} | {
        "last": "units"
    }


def test_positions_of_a_line_that_attention_mixed_are_tokens():
    import keras
    from keras import layers

    inputs = keras.Input((16, 2))
    values = layers.Conv1D(4, 4, 4, name="patches")(inputs)
    mixed = layers.MultiHeadAttention(2, 2, name="attention")(values, values)
    outputs = layers.Dense(3, name="dense")(layers.Add(name="sum")([values, mixed]))
    network = Network(keras.Model(inputs, outputs))
    kinds = {layer.name: (layer.kind, layer.size) for layer in network.other_layers}
    assert kinds["sum"] == kinds["dense"] == ("tokens", (4,))
    assert network.find("sum").receptive_field is None
    assert network.find("patches").receptive_field == (4,)


@pytest.mark.parametrize("kind", ["ConvNeXt", "MobileNetV3"])
def test_networks_of_keras_applications_are_read_from_their_files(kind, tmp_path):
    import keras

    keras.utils.set_random_seed(2)
    if kind == "ConvNeXt":
        from keras.src.applications.convnext import ConvNeXt

        model = ConvNeXt(
            (1, 1, 1, 1),
            (4, 4, 8, 8),
            name="tiny",
            weights=None,
            input_shape=(32, 32, 3),
            classes=2,
        )
        names = {}
    else:
        model = keras.applications.MobileNetV3Small(
            (32, 32, 3), alpha=0.35, minimalistic=True, weights=None, classes=2
        )
        names = {"expanded_conv_2_add": "maps"}
    model.save(tmp_path / "model.keras")
    network = Network(tmp_path / "model.keras")
    layers = {layer.name: layer for layer in network.other_layers}
    if kind == "ConvNeXt":  # a dense layer at each node makes maps
        names[next(name for name in layers if layers[name].layer_class == "Dense")] = "maps"
    names[list(layers)[-1]] = "units"
    for name, expected in names.items():
        assert layers[name].kind == expected
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    for name in names:
        assert np.isfinite(oip.responses(network, images, name).values).all()
