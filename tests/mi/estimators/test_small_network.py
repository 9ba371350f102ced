import numpy as np
import pytest

from oip.core import seeds
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.components import principal_components


@pytest.fixture
def samples():
    """Features (200, 3) and a label of two classes that is the sign of a product."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    return principal_components(x, 60, rng), (x[:, 0] * x[:, 1] > 0).astype(int)


def fitted(features, codes, used, seed=0):
    onehot = codes == np.arange(codes.max() + 1)[:, None]
    return batch_classifiers.log_probabilities_small_network(features, onehot, used, seed)


def test_probabilities_of_what_is_not_linear(samples):
    features, codes = samples
    used = np.arange(200)[None] < 160
    odds = fitted(features, codes, used)
    assert odds.shape == (2, 1, 200)
    assert np.allclose(np.exp(odds).sum(axis=0), 1, atol=1e-5)
    new = odds[codes[160:], 0, np.arange(160, 200)].mean()
    assert new > -0.5 * np.log(2)


def test_steps_are_those_of_plain_loops(samples, monkeypatch):
    features, codes = samples[0][:20, :2], samples[1][:20]
    monkeypatch.setattr(batch_classifiers, "STEPS", 12)
    monkeypatch.setattr(batch_classifiers, "UNITS", 3)
    odds = fitted(features, codes, np.ones((1, 20), bool))[:, 0]

    x = features.astype(float) * np.where((features.astype(float) ** 3).sum(axis=0) < 0, -1, 1)
    weights = np.zeros((3, 3 + 2 + 1))  # of a unit: two inputs, its threshold, two classes
    weights[:, :3] = 1.5 * seeds.generator(0, "small network").normal(size=(3, 3))
    weights = np.concatenate([weights[:, :5].ravel(), np.zeros(2)])

    def odds_of(flat):
        own, last = flat[:15].reshape(3, 5), flat[15:]
        hidden = np.tanh(x @ own[:, :2].T + own[:, 2])
        values = hidden @ own[:, 3:] + last
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    def loss(flat):
        return -odds_of(flat)[np.arange(20), codes].mean() + (flat[:15] ** 2).sum() / (2 * 20)

    mean, square = np.zeros(17), np.zeros(17)
    for step in range(12):
        apart = 1e-5 * np.eye(17)
        slope = np.array([(loss(weights + e) - loss(weights - e)) / 2e-5 for e in apart])
        mean, square = 0.9 * mean + 0.1 * slope, 0.98 * square + 0.02 * slope**2
        size = np.sqrt(square / (1 - 0.98 ** (step + 1)))
        rate = 0.08 * (1 - step / 12)
        weights -= rate * mean / (1 - 0.9 ** (step + 1)) / (size + 1e-7)
    assert np.allclose(odds.T, odds_of(weights), atol=1e-3)


def test_many_fits_at_once_are_fits_alone(samples, monkeypatch):
    features, codes = samples
    used = np.random.default_rng(1).uniform(size=(4, 200)) < 0.7
    whole = fitted(features, codes, used)
    for place in range(4):
        assert np.allclose(whole[:, [place]], fitted(features, codes, used[[place]]), atol=1e-3)
    monkeypatch.setattr(batch_classifiers, "_BUDGET", 1)
    assert np.allclose(whole, fitted(features, codes, used), atol=1e-3)


def test_labels_that_are_not_used_have_no_part(samples):
    features, codes = samples
    used = np.arange(200)[None] < 150
    turned = np.where(used[0], codes, 1 - codes)
    assert np.array_equal(fitted(features, codes, used), fitted(features, turned, used))


def test_neither_signs_nor_the_order_of_samples_matter_but_the_seed(samples):
    features, codes = samples
    used = np.ones((1, 200), bool)
    odds = fitted(features, codes, used)
    assert np.allclose(odds, fitted(features * np.float32([-1, 1, -1]), codes, used), atol=1e-3)
    order = np.random.default_rng(2).permutation(200)
    assert np.allclose(odds[..., order], fitted(features[order], codes[order], used), atol=1e-3)
    assert np.abs(odds - fitted(features, codes, used, seed=1)).max() > 0.01
