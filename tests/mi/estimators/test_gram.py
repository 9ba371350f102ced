import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.gram import (
    Bandwidth,
    Distances,
    gram,
    median_squared_distance,
    principal_components,
    squared_distances,
)
from oip.mi.estimators.kde import Kde


def brute_force(x):
    return np.array([[np.sum((a - b) ** 2) for b in x] for a in x])


def test_distances_are_those_of_a_double_loop():
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert np.allclose(squared_distances(x), brute_force(x), atol=1e-12)


def test_distances_are_symmetric_not_negative_and_zero_between_equal_rows():
    x = np.random.default_rng(0).normal(size=(30, 400)).astype(np.float32) * 1e3
    x[7] = x[21]
    distances = squared_distances(x)
    assert (distances == distances.T).all()
    assert (distances >= 0).all()
    assert (np.diagonal(distances) == 0).all()
    assert distances[7, 21] == 0
    assert (distances > 0).sum() == 30 * 29 - 2


def test_a_large_offset_costs_no_precision():
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert np.allclose(squared_distances(x + 1e6), brute_force(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("far", [1e6, 1e9, 1e15])
def test_one_far_sample_leaves_the_distances_of_the_others_alone(far):
    x = np.random.default_rng(0).normal(size=(40, 3))
    expected = brute_force(x[1:])
    x[0] = far
    distances = squared_distances(x)
    assert np.allclose(distances[1:, 1:], expected, atol=1e-12)
    assert np.allclose(distances[0, 1:], 3 * far**2, rtol=1e-4)


@pytest.mark.parametrize("name", ["kde", "renyi", "vme", "dsmi"])
def test_one_far_sample_costs_its_own_information_only(name):
    y = np.arange(400) % 2
    x = np.random.default_rng(0).normal(size=400) + 2 * y
    value = mi.mutual_information(x, y, name, null=0, draws=0).nats
    for far in (1e6, 1e9, 1e15):
        x[7] = far
        estimate = mi.mutual_information(x, y, name, null=0, draws=0)
        assert estimate.nats == pytest.approx(value, abs=0.02)
    responses = np.stack([x, x[::-1]], axis=1)[:, :, None]
    x[7] = 100.0
    near = np.stack([x, x[::-1]], axis=1)[:, :, None]
    if name == "renyi":
        renyi = mi.estimator("renyi", alpha=2)
        pairs = [renyi.pairs(values, y).joint for values in (responses, near)]
        assert np.allclose(*pairs, atol=1e-6)


def test_columns_at_a_time_give_the_same():
    x = np.random.default_rng(0).normal(size=(20, 50))
    parts = Distances(x, column_budget=8 * 20 * 7).between(slice(0, 20))
    assert np.allclose(parts, squared_distances(x), rtol=1e-13, atol=1e-12)


def test_the_median_leaves_out_the_diagonal_and_is_zero_for_constants_only():
    x = np.array([[0.0], [1.0], [3.0]])
    assert median_squared_distance(brute_force(x)) == 4.0
    mostly_silent = np.zeros((20, 1))
    mostly_silent[0] = 3.0
    assert median_squared_distance(brute_force(mostly_silent)) == 9.0
    assert median_squared_distance(np.zeros((5, 5))) == 0.0


@pytest.mark.parametrize("rows", [1, 7, 30, 100])
def test_blocks_of_rows_are_the_matrix(rows):
    x = np.random.default_rng(0).normal(size=(30, 40)) + 5
    x[7] = x[21]
    whole = squared_distances(x)
    distances = Distances(x, byte_budget=8 * 30 * rows)
    assert distances.whole == (rows >= 30)
    for _ in range(2):  # also after the median kept a block for the next reader
        blocks = list(distances.blocks())
        assert [block.shape[0] for _, block in blocks][:-1] == [min(rows, 30)] * (len(blocks) - 1)
        joined = np.concatenate([block for _, block in blocks])
        assert np.allclose(joined, whole, rtol=1e-12, atol=1e-11)
        assert (joined == 0).sum() == 30 + 2
        assert distances.median == pytest.approx(median_squared_distance(whole), rel=0.02)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=(201, 3)),
        np.random.default_rng(0).normal(size=(201, 3)) * 1e-40,
        np.maximum(np.random.default_rng(0).normal(size=(201, 1)) - 1, 0),
        np.arange(201.0)[:, None] ** 9,
    ],
)
def test_the_median_of_blocks_is_the_median(x):
    # To a part in a million, but for the gap in the middle of an even number of pairs.
    order = np.sort(brute_force(x)[np.triu_indices(201, 1)])
    order = order[order > 0] if np.median(order) == 0 else order
    near = order[len(order) // 2 - 1 : len(order) // 2 + 1]
    in_blocks = Distances(x, byte_budget=8 * 201 * 50).median
    assert near[0] * (1 - 1e-6) <= in_blocks <= near[1] * (1 + 1e-6)
    assert near[0] * (1 - 1e-9) <= Distances(x).median <= near[1] * (1 + 1e-9)


def test_constants_are_known_without_a_matrix(monkeypatch):
    monkeypatch.setattr(Distances, "between", None)
    same = Distances(np.full((50, 3), 0.1))
    assert same.constant
    assert same.median == 0.0
    assert not Distances(np.eye(50)).constant


def test_too_many_samples_are_refused_where_all_distances_are_needed():
    x = np.random.default_rng(0).normal(size=(12_000, 1))
    for name in ("renyi", "dse"):
        with pytest.raises(SettingsError, match=r"at most 11585 samples; received 12000.*matrix"):
            mi.entropy(x, name)
    with pytest.raises(SettingsError, match="at most 40 samples; received 90"):
        squared_distances(x[:90], byte_budget=8 * 40 * 40)
    few = Kde(byte_budget=8 * 40 * 40).over_maps(x[:90, None], np.arange(90) % 2, 0, 3, 3)
    assert few.raw.shape == (1,)


def test_what_differs_too_little_for_squares_is_constant():
    x = np.random.default_rng(0).normal(size=(20, 3))
    for scale in (1e-142, 1e-170, 1e-300):
        assert Distances(x * scale).constant
        assert (squared_distances(x * scale) == 0).all()
        assert Kde().over_maps(x[:, None] * scale, np.arange(20) % 2).raw[0] == 0.0


@pytest.mark.parametrize("shape", [(60, 5), (60, 300), (200, 150)])
def test_components_keep_distances_on_one_scale(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) @ np.diag(0.9 ** np.arange(shape[1]))
    features = principal_components(x, 100, rng).astype(float)
    assert features.shape == (shape[0], min(*shape, 100))
    assert abs((features**2).sum(axis=1).mean() - 1) < 1e-3
    centred = x - x.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    assert np.abs(features @ features.T - centred @ centred.T).max() < 1e-3
    inner = features.T @ features
    assert np.abs(inner - np.diag(np.diagonal(inner))).max() < 1e-3
    assert (np.diff(np.diagonal(inner)) < 1e-5).all()


def test_offset_and_scale_do_not_matter_and_constants_are_zero():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    features = np.abs(principal_components(x, 100, rng))
    for changed in (x * 1e-12, x * 1e12, x + 100):
        assert np.allclose(np.abs(principal_components(changed, 100, rng)), features, atol=1e-5)
    wide = rng.normal(size=(50, 300))
    features = [
        principal_components(wide * 10.0**power, 9, np.random.default_rng(1)) for power in (0, 90)
    ]
    assert np.allclose(np.abs(features[1]), np.abs(features[0]), atol=1e-4)
    for count in (9, 100):  # of a random projection, and exact
        parts = [
            principal_components(wide + offset, count, np.random.default_rng(1))
            for offset in (0.0, 1e9)
        ]
        squares = [(part.astype(float) ** 2).sum(axis=0) for part in parts]
        assert np.allclose(*squares, rtol=1e-3)
        assert np.allclose(np.abs(parts[1]), np.abs(parts[0]), atol=1e-3)
    assert (principal_components(np.full((50, 4), 0.1), 100, rng) == 0).all()
    assert (principal_components(np.full((50, 400), 0.1, np.float32), 100, rng) == 0).all()


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(25, 4))


def by_loop(x, sigma):
    return np.array([[math.exp(-((a - b) ** 2).sum() / (2 * sigma**2)) for b in x] for a in x])


def test_sigma_is_that_of_the_gaussian(x):
    assert np.allclose(gram(x, Bandwidth(sigma=1.7)), by_loop(x, 1.7))


def test_silverman_has_h_n_and_d(x):
    assert np.allclose(gram(x, Bandwidth(silverman=5.0)), by_loop(x, 5.0 * 25 ** (-1 / 8)))


def test_relative_is_a_share_of_the_median_squared_distance(x):
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(x) for b in x[i + 1 :]]
    sigma = math.sqrt(0.3 * np.median(pairs) / 2)
    assert np.allclose(gram(x, Bandwidth(relative=0.3)), by_loop(x, sigma))
    assert np.allclose(gram(1e4 * x, Bandwidth(relative=0.3)), by_loop(x, sigma))


def test_sigma_goes_before_silverman_before_relative(x):
    both = gram(x, Bandwidth(relative=9.0, silverman=2.0, sigma=0.5))
    assert np.allclose(both, gram(x, Bandwidth(sigma=0.5)))
    assert np.allclose(
        gram(x, Bandwidth(relative=9.0, silverman=2.0)), gram(x, Bandwidth(silverman=2.0))
    )


def test_constants_are_all_alike():
    for width in (Bandwidth(), Bandwidth(sigma=1e-3)):
        assert (gram(np.full((5, 2), 0.3), width) == 1).all()


@pytest.mark.parametrize("name", ["relative", "silverman", "sigma"])
def test_widths_that_make_no_sense(name):
    for value in (0, -1.0, math.nan, "wide", True):
        with pytest.raises(SettingsError, match=rf"owner: {name}"):
            Bandwidth(**{name: value}).check("owner")
