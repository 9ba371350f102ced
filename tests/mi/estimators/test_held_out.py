import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.batch_classifiers import FOLDS
from oip.mi.estimators.gram import principal_components
from oip.mi.estimators.held_out import (
    NEIGHBORS,
    Decoder,
    OneVsRest,
    Predictions,
    Predictive,
    label_members,
    label_sums,
    mixtures,
    neighbor_members,
)
from oip.mi.estimators.results import join_blocks
from oip.mi.validation import class_entropies, label_entropy


def folds_of(codes):
    """Folds over which every class is spread evenly."""
    folds = np.empty(len(codes), int)
    folds[np.argsort(codes, kind="stable")] = np.arange(len(codes)) % FOLDS
    return folds


def over(estimator, x, codes, seed=0, shuffles=200, draws=200):
    values = x if x.ndim == 3 else x[:, None, :]
    return estimator.over_maps(values, codes, seed, shuffles, draws)


@pytest.mark.parametrize(("kind", "n"), [(Decoder, 200), (Predictive, 120)])
def test_no_prediction_depends_on_the_label_of_its_sample(two_gaussians, kind, n):
    # Turning the labels of one fold around leaves the predictions for that fold as they are, but
    # for rounding, which grows along the steps of the network.
    x, codes = two_gaussians(1.0, n)
    folds = folds_of(codes)
    before = kind().predict(x, codes, folds, 0).odds
    for fold in range(FOLDS):
        turned = np.where(folds == fold, 1 - codes, codes)
        after = kind().predict(x, turned, folds, 0).odds
        assert np.allclose(after[:, folds == fold], before[:, folds == fold], atol=2e-2)
        assert np.abs(after - before)[:, folds != fold].max() > 0.1


@pytest.mark.parametrize(("kind", "maps"), [(Decoder, range(6)), (Predictive, (0, 4, 5))])
def test_predictions_are_probabilities(layer_like, kind, maps):
    responses, codes = layer_like
    folds = folds_of(codes)
    for index in maps:
        odds = kind().predict(responses[:, index], codes, folds, 0).odds
        assert np.allclose(np.exp(odds).sum(axis=0), 1.0)
        assert odds.min() > -12


@pytest.mark.parametrize("kind", [Decoder, Predictive])
@pytest.mark.parametrize("components", [0, 2.5, True, "all"])
def test_settings_that_make_no_sense(kind, components):
    with pytest.raises(SettingsError, match="components"):
        kind(components=components)


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians_from_below(two_gaussians, mu, truth):
    # The best predictor of two Gaussians of one variance is logistic: the bound is nearly tight.
    values = np.stack([two_gaussians(mu, 2000, seed)[0] for seed in range(8)], axis=1)
    result = over(Decoder(), values, two_gaussians(mu, 2000)[1], shuffles=20)
    assert truth - 0.02 < result.mi.mean() < truth + 0.01
    inside = (result.low - 0.01 < truth) & (truth < result.high + 0.01)
    assert inside.sum() >= 6


def test_it_stays_under_what_there_is_to_know():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    x = 1000.0 * np.eye(4)[codes] + rng.normal(size=(200, 4))
    result = over(Decoder(), x, codes)
    assert 0.98 * math.log(4) < result.mi[0] <= label_entropy(codes)
    assert (result.per_class <= result.class_ceiling).all()
    assert result.saturated[0]


def test_wide_noise_is_not_taken_for_information():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    result = over(Decoder(), rng.normal(size=(200, 10, 400)), codes)
    assert result.raw.mean() < 0.01
    assert (result.mi < 0.08).all()
    assert (result.mi >= 0).all()


def test_null_p_values_are_not_too_small():
    rng = np.random.default_rng(3)
    codes = np.arange(120) % 3
    p = over(Decoder(), rng.normal(size=(120, 200, 3)), codes, shuffles=1000).p_value
    assert (p <= 0.05).mean() <= 0.09
    assert (p <= 0.2).mean() <= 0.26


def test_null_p_values_of_sparse_maps_and_a_rare_class_are_not_too_small():
    # The kind that needs a null 1.05 times as wide: 8,000 maps have p <= .01 in .0175 without.
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1], [90, 10])
    x = np.maximum(0.0, rng.normal(size=(100, 400, 5)) - 1.0)
    p = over(Decoder(), x, codes, shuffles=500, draws=0).p_value
    # Shares of 400 maps are known to .011 and .005.
    assert 0.005 < (p <= 0.05).mean() < 0.075
    assert (p <= 0.01).mean() < 0.026


def test_what_is_there_is_found(layer_like):
    responses, codes = layer_like
    result = over(Decoder(), responses, codes, shuffles=1000)
    assert (result.p_value[:4] < 0.01).all()
    assert result.raw[0] == result.raw[1] > result.raw[2] > result.raw[3] > result.raw[4]
    assert result.p_value[5] == 1.0


def test_constant_maps_have_exactly_nothing(layer_like):
    responses, codes = layer_like
    result = over(Decoder(), responses[:, 5:], codes)
    assert np.allclose(result.raw, 0.0, atol=1e-15)
    assert np.allclose(result.per_class, 0.0, atol=1e-15)
    assert np.allclose(result.high, 0.0, atol=1e-15)


def test_per_class_is_the_gain_of_the_class_probability(layer_like, monkeypatch):
    _, codes = layer_like
    odds = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=len(codes)).T)
    monkeypatch.setattr(
        Decoder,
        "arranged",
        lambda _self, _x, own, *_: Predictions(odds[own.classes[:, None], own.order]),
    )
    result = over(Decoder(), np.zeros((150, 1, 2)), codes)
    gain = np.mean([odds[c, i] - np.log(1 / 3) for i, c in enumerate(codes)])
    assert math.isclose(result.raw[0], gain, rel_tol=1e-12)
    for code in range(3):
        p = np.exp(odds[code])
        cross = -np.log(np.where(codes == code, p, 1 - p)).mean()
        entropy = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
        assert math.isclose(result.per_class_raw[0, code], entropy - cross, rel_tol=1e-9)


def test_the_order_of_samples_matters_by_the_folds_alone(two_gaussians):
    x, codes = two_gaussians(1.0, 200)
    folds = folds_of(codes)
    order = np.random.default_rng(1).permutation(200)
    before = Decoder().predict(x, codes, folds, 0).odds
    after = Decoder().predict(x[order], codes[order], folds[order], 0).odds
    assert np.allclose(before[:, order], after, atol=1e-4)


def test_intervals_have_the_width_of_new_samples(two_gaussians):
    values = np.stack([two_gaussians(1.0, 400, seed)[0] for seed in range(60)], axis=1)
    result = over(Decoder(), values, two_gaussians(1.0, 400)[1], shuffles=20)
    assert 0.75 < result.draws.std(axis=0).mean() / result.raw.std() < 1.3


def test_blocks_and_scale_do_not_matter(layer_like):
    responses, codes = layer_like
    whole = over(Decoder(), responses, codes)
    part = over(Decoder(), responses[:, 2:4] * 64.0, codes)
    assert np.allclose(whole.raw[2:4], part.raw, atol=1e-5)
    assert np.allclose(whole.draws[:, 2:4], part.draws, atol=1e-5)
    assert (over(Decoder(), responses, codes, seed=1).raw[:4] != whole.raw[:4]).any()


def test_rare_classes_and_few_samples_do_not_break_it():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [14, 4, 2])
    result = over(Decoder(), rng.normal(size=(20, 3, 50)), codes)
    assert np.isfinite(result.raw).all()
    assert (result.raw > -0.5).all()


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians_from_below_by_a_mixture(two_gaussians, mu, truth):
    # Weights and members are learned from 640 samples: some hundredths of a nat are lost. The mean
    # of 6 values with a deviation of .03 is known to .012.
    values = np.stack([two_gaussians(mu, 800, seed)[0] for seed in range(6)], axis=1)
    result = over(Predictive(), values, two_gaussians(mu, 800)[1])
    assert truth - 0.035 < result.mi.mean() < truth + 0.02


@pytest.fixture
def rings():
    """Two classes at one mean that differ by their distance from it."""
    rng = np.random.default_rng(0)
    codes = np.arange(400) % 2
    angle = rng.uniform(0, 2 * np.pi, 400)
    radius = 1 + codes + rng.normal(size=400) / 10
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), codes


def test_what_is_not_linear_is_found(rings):
    assert Decoder().over_maps(rings[0][:, None], rings[1]).mi[0] < 0.02
    assert over(Predictive(), *rings).mi[0] > 0.85 * math.log(2)


@pytest.fixture
def far_or_near():
    """Twenty coordinates, of which the size of one tells the label, but for one in ten."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 20))
    label = np.abs(x[:, 0]) > 0.6745
    return x, np.where(rng.uniform(size=800) < 0.1, ~label, label).astype(int)


def test_what_only_the_network_finds(far_or_near, monkeypatch):
    # Even in the coordinate, so that no linear member sees it, and lost among 20 to neighbours.
    truth = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    assert 0.35 * truth < over(Predictive(), *far_or_near).raw[0] < truth
    monkeypatch.setattr(
        batch_classifiers.Networks,
        "log_odds",
        lambda _, fits, rows: np.zeros((len(fits), 2, len(rows)), np.float32),
    )
    assert over(Predictive(), *far_or_near).raw[0] < 0.15 * truth


def test_the_network_is_told_of():
    parameters = Predictive().parameters
    assert parameters["network_units"] == batch_classifiers.UNITS
    assert parameters["network_prior_variance"] == batch_classifiers.PRIOR


def test_classes_that_take_turns_along_the_leading_component_are_found():
    # Four classes, three times each along a line, among seven nodes of noise and turned.
    rng = np.random.default_rng(0)
    codes = np.arange(500) % 4
    line = codes + 4 * rng.integers(0, 3, 500) + 0.15 * rng.normal(size=500)
    x = np.concatenate([line[:, None], rng.normal(size=(500, 7))], axis=1)
    x = x @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    # Nearly all of ln 4; without the neighbors along it, half.
    assert over(Predictive(), x, codes, shuffles=0, draws=0).raw[0] > 0.8 * math.log(4)


def test_neighbor_members_are_those_of_loops():
    rng = np.random.default_rng(0)
    codes, folds = np.arange(40) % 3, rng.permutation(np.arange(40) % FOLDS)
    x = principal_components(rng.normal(size=(40, 2)) + codes[:, None], 60, rng)
    computed = neighbor_members(x, codes, folds)
    squares = ((x[:, None].astype(float) - x) ** 2).sum(axis=2)
    counted = [k for k in NEIGHBORS if k < 39]
    for fold in range(FOLDS):
        for i in range(40):
            order = [j for j in np.argsort(squares[i]) if j != i]
            neighbors = [j for j in order if folds[j] not in (fold, folds[i])]
            shares = np.array([sum(codes[j] == c for j in neighbors) + 0.5 for c in range(3)])
            shares /= shares.sum()
            members = [[1.0 * (j in order[:k]) for j in neighbors] for k in counted]
            for index, weights in enumerate(members):
                own = shares + [
                    sum(w for w, j in zip(weights, neighbors, strict=True) if codes[j] == c)
                    for c in range(3)
                ]
                own /= own.sum()
                if fold == folds[i]:
                    assert np.allclose(computed.all_classes[index, :, i], own, atol=1e-4)
                else:
                    assert computed.own_class[fold, index, i] == pytest.approx(
                        own[codes[i]], abs=1e-4
                    )


def test_the_order_matters_to_a_mixture_by_the_folds_alone(rings):
    x, codes = rings[0][:200].astype(np.float32), rings[1][:200]
    folds = folds_of(codes)
    order = np.random.default_rng(1).permutation(200)
    estimator = Predictive()
    before = estimator.predict(x, codes, folds, 0)
    after = estimator.predict(x[order], codes[order], folds[order], 0)
    # Rounding grows along the steps of the network.
    assert np.allclose(before.odds[:, order], after.odds, atol=0.1)
    assert np.median(np.abs(before.odds[:, order] - after.odds)) < 0.02
    assert np.allclose(before.without, after.without, atol=5e-3)


def test_estimates_without_a_fold_are_those_of_the_other_samples(rings):
    # Alone, each sample's fit lacks one more fold for most of what is averaged.
    x, codes = rings
    folds = folds_of(codes)
    whole = Predictive().predict(x, codes, folds, 0)
    assert whole.without is not None
    kept = folds != 2
    alone = Predictive().predict(x[kept], codes[kept], folds[kept], 0)
    mean_odds = alone.odds[codes[kept], np.arange(kept.sum())].mean()
    assert whole.without[2] == pytest.approx(mean_odds, abs=0.03)


def test_a_mixture_does_not_take_wide_noise_for_information():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    result = over(Predictive(), rng.normal(size=(200, 8, 300)), codes)
    assert result.raw.mean() < 0.01
    assert (result.mi < 0.08).all()
    assert (result.raw > -0.08).all()


def test_null_p_values_of_a_mixture_are_not_too_small():
    rng = np.random.default_rng(3)
    codes = np.arange(100) % 2
    p = over(Predictive(), rng.normal(size=(100, 80, 2)), codes, shuffles=1000).p_value
    assert (p <= 0.05).mean() <= 0.13
    assert (p <= 0.2).mean() <= 0.33


def test_constants_far_clusters_blocks_and_scale(layer_like):
    responses, codes = layer_like
    whole = over(Predictive(), responses, codes)
    assert abs(whole.raw[5]) < 1e-12
    assert whole.raw[0] == whole.raw[1] > whole.raw[2] > whole.raw[3]
    part = over(Predictive(), responses[:, 2:4] * 64.0, codes)
    assert np.allclose(whole.raw[2:4], part.raw, atol=1e-4)
    assert np.allclose(whole.null[:, 2:4], part.null, atol=1e-3)
    four = np.arange(200) % 4
    far = over(
        Predictive(),
        1000.0 * np.eye(4)[four] + np.random.default_rng(0).normal(size=(200, 4)),
        four,
    )
    assert 0.96 * math.log(4) < far.mi[0] <= label_entropy(four)


def test_few_samples_and_rare_classes_do_not_break_it():
    rng = np.random.default_rng(0)
    for codes in (np.repeat([0, 1], 2), np.repeat([0, 1, 2], [14, 4, 2])):
        result = over(Predictive(), rng.normal(size=(len(codes), 2, 50)), codes)
        assert np.isfinite(result.raw).all()
        assert (result.raw > -0.7).all()


def test_weights_of_a_mixture_are_those_of_a_search():
    rng = np.random.default_rng(0)
    predictions = rng.uniform(0.05, 1, (2, 400))
    predictions[1, :150] *= 0.2
    shares = np.linspace(0, 1, 1001)
    likely = [np.log(s * predictions[0] + (1 - s) * predictions[1]).sum() for s in shares]
    # The prior is half a sample of 400.
    used = np.ones((2, 400), bool)
    used[1, 200:] = False  # the others do not count
    predictions = np.stack([predictions, np.where(used[1], predictions, 0.5)])
    first, second = mixtures(predictions, used)
    assert abs(first[0] - shares[np.argmax(likely)]) < 0.02
    assert np.allclose(second, mixtures(predictions[1:, :, :200], used[1:, :200]))
    assert first.sum() == pytest.approx(1.0)


@pytest.fixture
def predicted():
    """Log-probabilities of three classes that know a little of 60 labels."""
    random = np.random.default_rng(0)
    codes = np.sort(random.integers(0, 3, 60))
    odds = random.normal(size=(3, 60))
    odds[0] += 1.5 * (codes == 0)
    odds -= np.log(np.exp(odds).sum(axis=0))
    return odds, codes


def _value(odds, codes, labels, chosen):
    """Bits about class `chosen`, its probability being p or 1 - p."""
    p = np.exp(odds[chosen])
    return class_entropies(codes)[chosen] + np.log(np.where(labels == chosen, p, 1 - p)).mean()


def test_values_and_p_values_against_brute_force(predicted):
    odds, codes = predicted
    random = np.random.default_rng(1)
    mixed = np.array([random.permutation(codes) for _ in range(300)])
    scores = OneVsRest(odds, codes, np.zeros(60, int), np.ones((1, 60)))
    for part in np.array_split(mixed, 4):
        scores.add(label_sums(label_members(part, 3), [scores.contributions])[..., 0])
    for chosen in range(3):
        value = _value(odds, codes, codes, chosen)
        assert scores.raw[chosen] == pytest.approx(value)
        null = np.array([_value(odds, codes, labels, chosen) for labels in mixed])
        assert scores.p_value[chosen] == pytest.approx((1 + (null >= value).sum()) / 301)
    assert scores.p_value[0] < 0.05 < scores.p_value[1:].max()


def test_a_wider_null_is_wider_around_its_own_mean(predicted):
    odds, codes = predicted
    folds = np.arange(60) % FOLDS
    random = np.random.default_rng(1)
    mixed = np.tile(codes, (2000, 1))
    for fold in range(FOLDS):
        mixed[:, folds == fold] = random.permuted(mixed[:, folds == fold], axis=1)
    scores = OneVsRest(odds, codes, folds, np.ones((1, 60)), null_width=1.3)
    scores.add(label_sums(label_members(mixed, 3), [scores.contributions])[..., 0])
    for chosen in range(3):
        null = np.array([_value(odds, codes, labels, chosen) for labels in mixed])
        wider = null.mean() + 1.3 * (null - null.mean())
        expected = (1 + (wider >= _value(odds, codes, codes, chosen)).sum()) / 2001
        assert scores.p_value[chosen] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", ["decoder", "predictive"])
def test_p_values_of_noise_are_not_too_small(name):
    random = np.random.default_rng(11)
    codes = random.permutation(np.arange(60) % 2)
    estimates = mi.estimator(name).over_maps(random.normal(size=(60, 200, 5)), codes, 0, 1000, 0)
    # Shuffles against fixed predictions gave .08 and .02 by `predictive`.
    assert (estimates.p_value <= 0.05).mean() <= 0.06
    assert (estimates.p_value <= 0.01).mean() <= 0.015
    assert (estimates.per_class_p <= 0.05).mean() <= 0.06


def test_ends_are_those_of_the_draws(predicted):
    odds, codes = predicted
    random = np.random.default_rng(2)
    rows = random.integers(0, 60, (200, 60))
    weights = np.array([np.bincount(row, minlength=60) for row in rows])
    ends = OneVsRest(odds, codes, np.zeros(60, int), weights).ends
    p = np.exp(odds[1])
    share = (codes == 1).mean()
    gains = np.log(np.where(codes == 1, p / share, (1 - p) / (1 - share)))
    assert gains.mean() == pytest.approx(OneVsRest(odds, codes, np.zeros(60, int), weights).raw[1])
    expected = np.quantile(gains[rows].mean(axis=1), [0.025, 0.975])
    assert ends[1] == pytest.approx(expected)


def test_without_shuffles_or_draws_nothing_is_said(predicted):
    scores = OneVsRest(*predicted, np.zeros(60, int), np.empty((0, 60)))
    assert np.isnan(scores.p_value).all() and np.isnan(scores.ends).all()


def test_a_constant_map_is_never_above_its_null():
    codes = np.arange(40) % 4
    odds = np.log(np.full((4, 40), 0.25))
    scores = OneVsRest(odds, codes, np.zeros(40, int), np.ones((1, 40)))
    mixed = np.array([np.random.default_rng(s).permutation(codes) for s in range(50)])
    scores.add(label_sums(label_members(mixed, 4), [scores.contributions])[..., 0])
    assert (scores.p_value == 1).all() and scores.raw == pytest.approx(np.zeros(4))


@pytest.fixture(scope="module")
def estimates():
    """Maps of which one knows the label, one knows class 0 only, and one nothing."""
    random = np.random.default_rng(3)
    codes = np.arange(240) % 3
    x = random.normal(size=(240, 3, 2))
    x[:, 0] += 4 * np.eye(3)[codes][:, :2]
    x[:, 1] += 4 * (codes == 0)[:, None]
    return mi.estimator("decoder").over_maps(x, codes, shuffles=200, draws=100)


def test_estimates_carry_them(estimates):
    low, high, p = estimates.per_class_low, estimates.per_class_high, estimates.per_class_p
    assert low.shape == high.shape == p.shape == (3, 3)
    assert (low <= estimates.per_class).all() and (estimates.per_class <= high).all()
    assert (p[0] < 0.01).all() and p[1, 0] < 0.01 and (p[2] > 0.01).all()
    assert low[0].min() > 0


def test_blocks_are_joined_and_spread_with_them(estimates):
    both = join_blocks([estimates, estimates]).spread(np.array([True, False, *[True] * 5]))
    assert both.per_class_p.shape == (7, 3) and both.per_class_ends.shape == (7, 3, 2)
    assert np.isnan(both.per_class_p[1]).all() and np.isnan(both.per_class_low[1]).all()
    assert np.array_equal(both.per_class_p[4:], estimates.per_class_p)
    bare = mi.estimator("kde").over_maps(
        np.random.default_rng(0).normal(size=(60, 2, 2)), np.arange(60) % 2, one_vs_rest=False
    )
    assert join_blocks([bare, bare]).per_class_low is bare.per_class_low
