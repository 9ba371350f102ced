import numpy as np
import pytest

from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.components import principal_components


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    codes = np.arange(240) % 4
    x = rng.normal(size=(240, 12)) + 2 * rng.normal(size=(4, 12))[codes]
    return principal_components(x, 100, rng), codes


def test_many_fits_at_once_are_those_of_scikit_learn(samples, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    features, codes = samples
    rng = np.random.default_rng(1)
    used = rng.uniform(size=(6, 240)) < 0.7
    variances = np.array([0.5, 1.0, 4.0, 16.0, 64.0, 4.0])
    onehot = codes == np.arange(4)[:, None]
    monkeypatch.setattr(batch_classifiers, "_STEPS", 5000)
    weights = batch_classifiers.fit(
        features.astype(float), onehot, used, 1 / variances, tolerance=1e-15
    )
    mine = batch_classifiers.log_probabilities(features, weights)
    for place, (part, variance) in enumerate(zip(used, variances, strict=True)):
        model = LogisticRegression(C=variance, tol=1e-8, max_iter=2000)
        model.fit(features[part].astype(float), codes[part])
        wanted = model.predict_log_proba(features.astype(float)).T
        assert np.abs(mine[:, place] - wanted).max() < 5e-4


def test_the_usual_tolerance_and_single_precision_cost_little(samples):
    features, codes = samples
    onehot = codes == np.arange(4)[:, None]
    used = np.ones((1, 240), bool)
    for variance in (1.0, 16.0):
        penalty = np.array([1 / variance])
        quick = batch_classifiers.fit(features, onehot, used, penalty)
        exact = batch_classifiers.fit(
            features.astype(float), onehot, used, penalty, tolerance=1e-12
        )
        loss = [
            -batch_classifiers.log_probabilities(features, w)[codes, 0, np.arange(240)].mean()
            for w in (quick, exact)
        ]
        assert abs(loss[0] - loss[1]) < 4e-3


def test_fits_in_groups_are_the_same(samples, monkeypatch):
    features, codes = samples
    onehot = codes == np.arange(4)[:, None]
    used = np.random.default_rng(0).uniform(size=(5, 240)) < 0.8
    penalties = np.array([1.0, 0.1, 0.3, 1.0, 0.5])
    whole = batch_classifiers.fit(features.astype(float), onehot, used, penalties, 1e-12)
    monkeypatch.setattr(batch_classifiers, "_BUDGET", 2 * onehot.size * 8)
    parts = batch_classifiers.fit(features.astype(float), onehot, used, penalties, 1e-12)
    assert np.allclose(whole, parts, atol=1e-4)


def test_without_features_the_shares_are_predicted():
    codes = np.repeat([0, 1], [30, 10])
    features = np.zeros((40, 3))
    weights = batch_classifiers.fit(
        features, codes == np.arange(2)[:, None], np.ones((1, 40), bool), np.ones(1), 1e-12
    )
    shares = np.exp(batch_classifiers.log_probabilities(features, weights))[:, 0, 0]
    assert np.allclose(shares, [0.75, 0.25], atol=1e-4)
