from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from oip.models.datasets import labeled
from oip.network.network import Network
from oip.studies.data import Images
from oip.studies.kernel_redundancy import (
    accuracy_lost,
    alike_finding,
    closest,
    compact_finding,
    extreme_quarters,
    mean_correlation,
    removal_finding,
    response_correlations,
)
from oip.studies.trained import DENSENET, LENET, WIDTHS


@pytest.fixture(scope="module")
def network() -> Network:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    kernel, bias = model.layers[0].get_weights()
    kernel[..., 1] = 2 * kernel[..., 0]  # the same response, twice as strong
    kernel[..., 3], bias[3] = 0, -1  # silent
    model.layers[0].set_weights([kernel, bias])
    return Network(model)


@pytest.fixture(scope="module")
def data() -> Images:
    images = np.random.default_rng(0).normal(size=(90, 12, 12, 1)).astype(np.float32)
    return Images("made up", None, labeled(images, np.arange(90) % 3, tuple("abc"), "made up"))


def test_correlations_are_those_of_block_outputs(network: Network, data: Images) -> None:
    table = response_correlations(network, "conv", data.test.images)
    pooled = keras.Model(network.model.inputs, network.model.layers[1].output)
    columns = pooled.predict(data.test.images, verbose=0).reshape(-1, 4)
    np.testing.assert_allclose(table[:3, :3], np.corrcoef(columns[:, :3].T), atol=1e-6)
    assert table[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.isnan(table[3]).all()
    largest = closest(table)
    assert largest[0] == largest[1] == pytest.approx(1, abs=1e-6)
    assert largest[2] == pytest.approx(max(table[2, 0], table[2, 1]))
    assert np.isnan(largest[3])


def test_accuracy_is_that_of_a_network_whose_kernels_are_zero(
    network: Network, data: Images
) -> None:
    labels = data.test.labels
    expected = []
    for maps in ([2], [0, 1], [3]):
        model = keras.models.clone_model(network.model)
        model.set_weights(network.model.get_weights())
        kernel, bias = model.layers[0].get_weights()
        kernel[..., maps], bias[maps] = 0, 0
        model.layers[0].set_weights([kernel, bias])
        guesses = [m.predict(data.test.images, verbose=0) for m in (network.model, model)]
        right = [np.mean(guess.argmax(axis=1) == labels) for guess in guesses]
        expected.append(100 * (right[0] - right[1]))
    sets = [np.array([2]), np.array([0, 1]), np.array([3])]
    lost = accuracy_lost(network, "conv", sets, data, 90, 0)
    np.testing.assert_allclose(lost, expected, atol=1e-4)
    assert np.abs(lost[:2]).max() > 1 and lost[2] == 0


def test_quarters_are_those_with_the_least_and_the_most() -> None:
    least, most = extreme_quarters(np.array([3.0, 1, 2, 0, 5, 4, 7, 6]))
    assert least.tolist() == [3, 1] and most.tolist() == [7, 6]


def test_mean_correlation_is_the_mean_over_pairs_of_kernels_that_respond() -> None:
    table = np.array([[1, 0.5, -0.3], [0.5, 1, 0.1], [-0.3, 0.1, 1]])
    assert mean_correlation(table).value == pytest.approx(0.3)
    with_silent = np.full((4, 4), np.nan)
    with_silent[:3, :3] = table
    assert mean_correlation(with_silent).value == pytest.approx(0.3)


def tables(size: int, alike: float) -> np.ndarray:
    return np.stack([np.full((size, size), alike) + (1 - alike) * np.eye(size)] * 2)


@pytest.mark.parametrize(("alike", "verdict"), [(0.9, "yes"), (0.5, "no")])
def test_highly_correlated_kernels(alike: float, verdict: str) -> None:
    assert alike_finding("mnist", {"first block correlations": tables(8, alike)}).verdict == verdict


@pytest.mark.parametrize(("dense", "verdict"), [(0.1, "yes"), (0.6, "no"), (0.3, "not tested")])
def test_kernels_that_are_less_alike_are_compact(dense: float, verdict: str) -> None:
    measured = {
        LENET.title: {"second block correlations": tables(8, 0.3)},
        DENSENET.title: {"second block correlations": tables(8, dense)},
    }
    assert compact_finding("mnist", measured).verdict == verdict


@pytest.mark.parametrize(
    ("lowest", "verdict"), [((0.1, 0.2), "yes"), ((0.1, 3.0), "partly"), ((0.4, 0.6), "partly")]
)
def test_kernels_that_are_not_missed(lowest: tuple[float, float], verdict: str) -> None:
    drawn = np.linspace(0.45, 2, 19)
    arrays = {"first block lost": drawn, "second block lost": drawn}
    for value, width in zip(lowest, WIDTHS, strict=True):
        for block in ("first block", "second block"):
            arrays[f"{block} {width} lost"] = np.array([value, 5.0])
    row = removal_finding("mnist", {LENET.title: arrays, DENSENET.title: arrays})
    assert row.verdict == verdict
    assert "19 random quarters" in row.n
    assert "DenseNet, second block: random 1." in row.ours
