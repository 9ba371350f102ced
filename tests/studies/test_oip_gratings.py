"""Gratings, the wavelengths that maps prefer, and how these are judged."""

import keras
import numpy as np
import pytest
from keras import layers

from oip.network.network import Network
from oip.studies import oip_gratings
from oip.studies.oip_gratings import gratings, preferred, wavelengths


def test_gratings_are_waves_of_their_wavelength():
    waves = gratings((32, 32, 3), 8.0)
    assert waves.shape == (32, 32, 32, 3)
    assert waves.mean(axis=(1, 2, 3)) == pytest.approx(np.zeros(32), abs=1e-6)
    assert waves.std(axis=(1, 2, 3)) == pytest.approx(np.ones(32), abs=1e-6)
    assert np.array_equal(waves[..., 0], waves[..., 2])
    spectrum = np.abs(np.fft.fft(waves[0, 0, :, 0]))  # the first one runs along x
    assert spectrum[:17].argmax() == 32 // 8


def test_wavelengths_end_at_the_side():
    assert wavelengths(28)[0] == 2.0 and 20 < wavelengths(28)[-1] <= 28
    assert wavelengths(2).tolist() == [2.0]


@pytest.fixture
def network():
    """A map that blurs, one of differences of neighbors, and one that is never active."""
    inputs = keras.Input((16, 16, 1))
    outputs = layers.Conv2D(3, 3, activation="relu", name="planted")(inputs)
    model = keras.Model(inputs, outputs)
    kernel = np.zeros((3, 3, 1, 3))
    kernel[..., 0, 0] = 1.0
    kernel[1, :2, 0, 1] = 1.0, -1.0
    model.layers[1].set_weights([kernel, np.array([0.0, 0.0, -1.0])])
    return Network(model)


def test_a_map_of_differences_prefers_the_shortest_wave(network):
    responses = oip_gratings.grating_responses(network, network.convolutional)["planted"]
    assert responses.shape == (len(wavelengths(16)), 3)
    assert responses[:, 2].max() == 0.0
    longest, shortest = preferred(responses, 16)
    assert shortest == 1.0 and longest > 2.0


def planted(*logarithms: float):
    """Responses of 40 maps of each layer that prefer a wavelength, some of them the next one."""
    indices = np.log2(wavelengths(32))
    arrays = {}
    for number, logarithm in enumerate(logarithms):
        largest = np.full(40, np.abs(indices - logarithm).argmin())
        largest[::8] += 1
        arrays[f"Conv2D_{number + 1}"] = np.eye(len(indices))[:, largest]
    return arrays


@pytest.mark.parametrize(
    ("octaves", "verdict"),
    [((1, 2, 3), "yes"), ((1, 2, 2), "partly"), ((2, 2, 2), "not tested"), ((3, 2, 1), "no")],
)
def test_waves_that_double_with_the_distance_of_the_nodes(octaves, verdict):
    jumps = {"Conv2D_1": 1.0, "Conv2D_2": 2.0, "Conv2D_3": 4.0}
    measured = [planted(*octaves)] * 2
    finding = oip_gratings.wavelength_finding("mnist", measured, jumps, 32)
    assert finding.verdict == verdict
    assert "Conv2D_3 over Conv2D_2, times" in finding.ours
    assert "Conv2D_1, pixels" in finding.ours and "0 % at the longest" in finding.ours


def test_layers_without_a_pooling_between_them_are_no_step():
    jumps = {"Conv2D_1": 1.0, "Conv2D_2": 1.0, "Conv2D_3": 2.0}
    finding = oip_gratings.wavelength_finding("mnist", [planted(1, 1, 2)], jumps, 32)
    assert finding.verdict == "yes" and "Conv2D_2 over" not in finding.ours


def test_networks_of_other_layers_are_compared_in_what_they_share():
    arrays = planted(1, 2)
    assert oip_gratings.common_layers([arrays, {"other": 0, "Conv2D_2": 0}]) == ["Conv2D_2"]
