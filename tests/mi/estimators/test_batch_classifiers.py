import numpy as np
import pytest

from oip.core import seeds
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.gram import principal_components


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    codes = np.arange(240) % 4
    x = rng.normal(size=(240, 12)) + 2 * rng.normal(size=(4, 12))[codes]
    return principal_components(x, 100, rng), codes


def test_many_fits_at_once_are_those_of_scikit_learn(samples):
    from sklearn.linear_model import LogisticRegression

    features, codes = samples
    rng = np.random.default_rng(1)
    used = rng.uniform(size=(6, 240)) < 0.7
    variances = np.array([0.5, 1.0, 4.0, 16.0, 64.0, 4.0])
    onehot = codes == np.arange(4)[:, None]
    weights = batch_classifiers.fit_logistic(
        features.astype(float), onehot, used, 1 / variances[:, None], tolerance=1e-12, steps=500
    )
    mine = batch_classifiers.logistic_log_probabilities(features, weights)
    for index, (part, variance) in enumerate(zip(used, variances, strict=True)):
        model = LogisticRegression(C=variance, tol=1e-8, max_iter=2000)
        model.fit(features[part].astype(float), codes[part])
        expected = model.predict_log_proba(features.astype(float)).T
        assert np.abs(mine[index, 0] - expected).max() < 5e-4


def test_the_usual_tolerance_and_single_precision_cost_little(samples):
    features, codes = samples
    onehot = codes == np.arange(4)[:, None]
    used = np.ones((1, 240), bool)
    for variance in (1.0, 16.0):
        penalty = np.array([[1 / variance]])
        quick = batch_classifiers.fit_logistic(features, onehot, used, penalty)
        exact = batch_classifiers.fit_logistic(
            features.astype(float), onehot, used, penalty, tolerance=1e-12, steps=500
        )
        loss = [
            -batch_classifiers.logistic_log_probabilities(features, w)[
                0, 0, codes, np.arange(240)
            ].mean()
            for w in (quick, exact)
        ]
        assert abs(loss[0] - loss[1]) < 4e-3


def test_fits_in_groups_are_the_same(samples):
    features, codes = samples
    onehot = codes == np.arange(4)[:, None]
    used = np.random.default_rng(0).uniform(size=(5, 240)) < 0.8
    penalties = np.array([1.0, 0.1, 0.3, 1.0, 0.5])[:, None]
    whole = batch_classifiers.fit_logistic(features.astype(float), onehot, used, penalties, 1e-12)
    parts = batch_classifiers.fit_logistic(
        features.astype(float), onehot, used, penalties, 1e-12, byte_budget=2 * 240 * 17 * 8
    )
    assert np.allclose(whole, parts, atol=1e-4)


def test_falling_penalties_one_after_the_other_are_fits_alone(samples):
    features, codes = samples
    onehot = codes == np.arange(4)[:, None]
    used = np.random.default_rng(0).uniform(size=(2, 240)) < 0.8
    path = np.tile([1.0, 1 / 8, 1 / 64], (2, 1))
    settings = {"tolerance": 1e-12, "steps": 500}
    together = batch_classifiers.fit_logistic(
        features.astype(float), onehot, used, path, **settings
    )
    for index in range(3):
        alone = batch_classifiers.fit_logistic(
            features.astype(float), onehot, used, path[:, [index]], **settings
        )
        assert np.allclose(together[:, index], alone[:, 0], atol=1e-3)


def test_without_features_the_shares_are_predicted():
    codes = np.repeat([0, 1], [30, 10])
    features = np.zeros((40, 3))
    weights = batch_classifiers.fit_logistic(
        features, codes == np.arange(2)[:, None], np.ones((1, 40), bool), np.ones((1, 1)), 1e-12
    )
    shares = np.exp(batch_classifiers.logistic_log_probabilities(features, weights))[0, 0, :, 0]
    assert np.allclose(shares, [0.75, 0.25], atol=1e-4)


@pytest.fixture
def products():
    """Features (200, 3) and a label of two classes that is the sign of a product."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    return principal_components(x, 60, rng), (x[:, 0] * x[:, 1] > 0).astype(int)


def fitted(features, codes, used, seed=0, **settings):
    onehot = codes == np.arange(codes.max() + 1)[:, None]
    return batch_classifiers.network_log_probabilities(features, onehot, used, seed, **settings)


def test_probabilities_of_what_is_not_linear(products):
    features, codes = products
    used = np.arange(200)[None] < 160
    odds = fitted(features, codes, used)
    assert odds.shape == (1, 2, 200)
    assert np.allclose(np.exp(odds).sum(axis=1), 1, atol=1e-5)
    new = odds[0, codes[160:], np.arange(160, 200)].mean()
    assert new > -0.5 * np.log(2)


def test_the_end_of_many_steps_is_that_of_scipy(products):
    from scipy.optimize import minimize

    features, codes = products[0][:20, :2], products[1][:20]
    odds = fitted(features, codes, np.ones((1, 20), bool), units=3, steps=400)[0]

    x = features.astype(float) * np.where((features.astype(float) ** 3).sum(axis=0) < 0, -1, 1)

    def odds_of(flat):
        own, last = flat[:9].reshape(3, 3), flat[9:].reshape(2, 4)
        hidden = np.tanh(x @ own[:, :2].T + own[:, 2])
        values = hidden @ last[:, :3].T + last[:, 3]
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    def loss(flat):
        pulled = np.delete(flat, [12, 16])  # all but the thresholds of the classes
        return -odds_of(flat)[np.arange(20), codes].mean() + (pulled**2).sum() / (2 * 20)

    start = np.zeros(17)
    start[:9] = 1.5 * seeds.generator(0, "small network").normal(size=(3, 3)).ravel()
    end = minimize(loss, start, method="BFGS", options={"gtol": 1e-8}).x
    assert np.allclose(odds.T, odds_of(end), atol=5e-3)


def test_many_fits_at_once_are_fits_alone(products):
    features, codes = products
    used = np.random.default_rng(1).uniform(size=(4, 200)) < 0.7
    whole = fitted(features, codes, used, steps=12)
    for index in range(4):
        assert np.allclose(
            whole[[index]], fitted(features, codes, used[[index]], steps=12), atol=1e-3
        )
    assert np.allclose(whole, fitted(features, codes, used, steps=12, byte_budget=1), atol=1e-3)


def test_labels_that_are_not_used_have_no_part(products):
    features, codes = products
    used = np.arange(200)[None] < 150
    turned = np.where(used[0], codes, 1 - codes)
    assert np.array_equal(fitted(features, codes, used), fitted(features, turned, used))


def test_neither_signs_nor_the_order_of_samples_matter_but_the_seed(products):
    features, codes = products
    used = np.ones((1, 200), bool)
    odds = fitted(features, codes, used, steps=12)
    turned = features * np.float32([-1, 1, -1])
    assert np.allclose(odds, fitted(turned, codes, used, steps=12), atol=1e-3)
    order = np.random.default_rng(2).permutation(200)
    other = fitted(features[order], codes[order], used, steps=12)
    assert np.allclose(odds[..., order], other, atol=1e-3)
    assert np.abs(odds - fitted(features, codes, used, seed=1, steps=12)).max() > 0.01
