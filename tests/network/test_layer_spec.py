"""Layers and maps as people type them."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip import mi
from oip.core.errors import ModelError, Notice, SettingsError
from oip.network.layer_spec import map_numbers, map_text, parse_selections
from oip.network.network import Network


def test_selections_are_parsed_as_documented(small_model):
    network = Network(small_model)
    chosen = parse_selections(network, ["second:0-2,7", "@0:all", "second:69"])
    assert [layer.name for layer, _ in chosen] == ["first", "second"]
    assert chosen[1][1].tolist() == [0, 1, 2, 7, 69]
    assert [len(maps) for _, maps in parse_selections(network, [])] == [6, 70]
    assert map_numbers(network.find("first"), range(2)).tolist() == [0, 1]
    for text, word in (
        ("first:6", "0 to 5"),
        ("first:3-1", "low to high"),
        ("first:x", "0-15"),
        ("frst", "Did you mean"),
    ):
        with pytest.raises((SettingsError, ModelError), match=word):
            parse_selections(network, [text])
    for numbers in ([-1], [], ["a"], 99):
        with pytest.raises(SettingsError):
            map_numbers(network.find("first"), numbers)


def test_a_layer_may_be_called_as_a_map_is():
    import keras

    layers = [keras.layers.Conv2D(2, 3, name=name) for name in ("first", "second:1", "first:1")]
    network = Network(keras.Sequential([keras.Input((9, 9, 1)), *layers]))
    for text, name, maps in (
        ("second:1", "second:1", [0, 1]),
        ("second:1:0", "second:1", [0]),
        ("first:1", "first", [1]),  # map 1 of a layer goes before
    ):
        ((layer, chosen),) = parse_selections(network, [text])
        assert (layer.name, chosen.tolist()) == (name, maps)
    with pytest.raises(ModelError, match="Give it as an objective: --objective 'class:dogs'"):
        parse_selections(network, ["class:dogs"])


def test_layers_of_another_input_are_left_out_with_a_notice(two_inputs):
    network = Network(two_inputs())
    with pytest.warns(Notice, match=r"'right'.*input='b'"):
        chosen = parse_selections(network, [])
    assert [layer.name for layer, _ in chosen] == ["left"]
    for choose in (lambda: parse_selections(network, ["right"]), lambda: network.find("right")):
        with pytest.raises(ModelError, match=r"expected one that depends on .*input='b'"):
            choose()
    images = np.random.default_rng(0).normal(size=(40, *network.inputs.shape))
    with pytest.raises(ModelError, match=r"input='b'"):  # its responses are those to zeros
        mi.rank(network, images, np.arange(40) % 2, "right", estimators=["kde"])
    assert "right" not in {layer.name for layer in network.shown_layers()}
    assert mi.match(network, network, images).layers == ("left",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [layer.name for layer, _ in parse_selections(network, ["left:0"])] == ["left"]


@pytest.mark.parametrize("maps", [range(10**12), range(-(10**12), 2)])
def test_a_range_without_end_is_refused_at_once(small_model, maps):
    with pytest.raises(SettingsError, match="0 to 5"):
        map_numbers(Network(small_model).find("first"), maps)


@pytest.mark.parametrize("maps", [[False, False, True], np.array([True, False]), True])
def test_a_mask_is_not_taken_for_the_numbers_0_and_1(small_model, maps):
    with pytest.raises(SettingsError, match="flatnonzero"):
        map_numbers(Network(small_model).find("first"), maps)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_map_numbers_come_back_from_their_text(maps):
    numbers = []
    for part in map_text(tuple(sorted(maps))).split(","):
        low, _, high = part.partition("-")
        numbers += range(int(low), int(high or low) + 1)
    assert numbers == sorted(maps)
