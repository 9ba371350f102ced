import numpy as np
import pytest

from oip import mi
from oip.core import seeds
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.batch_classifiers import FOLDS, Arrangement, drawn_in
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
    log_probabilities = batch_classifiers.logistic_log_probabilities(features, weights)
    for index, (part, variance) in enumerate(zip(used, variances, strict=True)):
        model = LogisticRegression(C=variance, tol=1e-8, max_iter=2000)
        model.fit(features[part].astype(float), codes[part])
        expected = model.predict_log_proba(features.astype(float)).T
        assert np.abs(log_probabilities[index, 0] - expected).max() < 5e-4


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
    networks = batch_classifiers.Networks(features, onehot, used, seed, **settings)
    fits, rows = np.arange(len(used)), np.arange(len(codes))
    return np.log(batch_classifiers.softmax(networks.log_odds(fits, rows)))


def test_probabilities_of_what_is_not_linear(products):
    features, codes = products
    used = np.arange(200)[None] < 160
    odds = fitted(features, codes, used)
    assert odds.shape == (1, 2, 200)
    assert np.allclose(np.exp(odds).sum(axis=1), 1, atol=1e-5)
    new = odds[0, codes[160:], np.arange(160, 200)].mean()
    assert new > -0.55 * np.log(2)


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


def test_folds_are_even_in_every_class():
    codes = np.repeat([0, 1, 2], [53, 31, 2])
    arrangement = Arrangement.of(np.random.default_rng(0).normal(size=(86, 2)), codes, 0)
    assert (np.sort(arrangement.order) == np.arange(86)).all()
    assert arrangement.classes.tolist() == [2, 1, 0]
    assert (arrangement.classes[arrangement.codes] == codes[arrangement.order]).all()
    for code in range(3):
        counts = np.bincount(arrangement.folds[codes == code], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(arrangement.folds)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("name", ["decoder", "predictive"])
def test_orders_of_samples_and_names_of_classes_change_nothing(name):
    rng = np.random.default_rng(0)
    codes = np.arange(90) % 3
    x = np.maximum(0.0, rng.normal(size=(90, 4)) + np.eye(4)[codes])
    order = rng.permutation(90)
    given = mi.mutual_information(x, codes, name, null=99)
    turned = mi.mutual_information(x[order], np.array(["b", "a", "c"])[codes[order]], name, null=99)
    assert turned.nats == given.nats > 0.1
    assert turned.p_value == given.p_value
    maps = mi.estimator(name).over_maps(x[:, None], codes)
    renamed = mi.estimator(name).over_maps(x[order][:, None], 2 - codes[order])
    assert (renamed.per_class_raw == maps.per_class_raw[:, ::-1]).all()


@pytest.mark.parametrize("factor", [1e4, 1e12])
@pytest.mark.parametrize("name", ["decoder", "predictive"])
def test_a_few_samples_far_away_hide_nothing(name, factor):
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    x = 5 * np.eye(4)[codes] + rng.normal(size=(200, 4))
    given = mi.mutual_information(x, codes, name, null=0, draws=0).nats
    x[:3] *= factor
    assert mi.mutual_information(x, codes, name, null=0, draws=0).nats > 0.85 * given


def test_samples_that_are_not_far_stay_as_they_are():
    rng = np.random.default_rng(0)
    sparse = np.maximum(0.0, rng.normal(size=(300, 5)) - 2)
    for x in (rng.normal(size=(300, 3)), sparse, np.zeros((9, 2)), np.full((9, 2), 0.3)):
        assert drawn_in(x) is x
    x = rng.normal(size=(300, 2))
    x[7] = 3e100, -4e100
    drawn = drawn_in(x)
    assert np.corrcoef(np.delete(drawn, 7, 0)[:, 0], np.delete(x, 7, 0)[:, 0])[0, 1] > 0.999
    assert drawn[7] / np.linalg.norm(drawn[7]) == pytest.approx([0.6, -0.8])


def test_discriminants_are_those_of_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    random = np.random.default_rng(0)
    codes, folds = np.arange(400) % 4, random.permutation(np.arange(400) % 5)
    x = random.normal(size=(400, 6)) + 2 * random.normal(size=(4, 6))[codes]
    features = principal_components(x, 60, random)
    used = np.arange(5) != np.arange(5)[:, None]
    weights = batch_classifiers.fit_discriminants(features, codes, folds, used)
    for fold, of_fold in enumerate(weights):
        inside = folds != fold
        for shrinkage, (*slopes, last) in zip(
            batch_classifiers.SHRINKAGES, of_fold.transpose(0, 2, 1), strict=True
        ):
            odds = features @ np.array(slopes) + last
            model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
            expected = model.fit(features[inside], codes[inside]).predict_proba(features)
            # Means are drawn in by a sample, shares by half of one; variances are over n - 4.
            assert np.abs(batch_classifiers.softmax(odds.T.copy()).T - expected).max() < 0.04


def test_labels_of_other_folds_have_no_part_in_discriminants():
    random = np.random.default_rng(0)
    codes, folds = np.arange(60) % 3, np.arange(60) // 3 % 5
    features = random.normal(size=(60, 4)).astype(np.float32)
    used = np.arange(5)[None] < 3
    before = batch_classifiers.fit_discriminants(features, codes, folds, used)
    turned = np.where(folds < 3, codes, (codes + 1) % 3)
    after = batch_classifiers.fit_discriminants(features, turned, folds, used)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_neighbors_are_those_of_loops_ties_included(d):
    random = np.random.default_rng(d)
    x = np.round(2 * random.normal(size=(50, d))).astype(np.float32)
    x[:20] = 0
    label = random.integers(0, 2, (50, 3)).astype(np.float32)
    sums = batch_classifiers.neighbor_sums(x, label, (4, 12))
    squares = ((x[:, None] - x) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    for member, k in enumerate((4, 12)):
        inside = squares <= np.sort(squares, axis=1)[:, [k - 1]]
        assert np.allclose(sums[member], inside @ label, atol=1e-4)
