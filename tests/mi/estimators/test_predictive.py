import math

import numpy as np
import pytest

from oip.core.errors import SettingsError
from oip.mi.estimators import batch_classifiers
from oip.mi.estimators.components import principal_components
from oip.mi.estimators.held_out import (
    FOLDS,
    NEIGHBOURS,
    WIDTHS,
    Decoder,
    Predictive,
    _untrained,
    folds_of,
    mixture,
)
from oip.mi.validation import label_entropy


def over(x, codes, seed=0, shuffles=100, draws=100):
    values = x if x.ndim == 3 else x[:, None, :]
    return Predictive().over_maps(values, codes, seed, shuffles, draws)


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians_from_below(two_gaussians, mu, truth):
    # Weights and members are learned from 640 samples: some hundredths of a nat are lost. The mean
    # of 6 values with a deviation of .03 is known to .012.
    values = np.stack([two_gaussians(mu, 800, seed)[0] for seed in range(6)], axis=1)
    result = over(values, two_gaussians(mu, 800)[1])
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
    assert over(*rings).mi[0] > 0.85 * math.log(2)


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
    assert 0.35 * truth < over(*far_or_near).raw[0] < truth
    silent = np.log(np.full((2, 10, 800), 0.5, np.float32))
    monkeypatch.setattr(batch_classifiers, "log_probabilities", lambda *_: silent)
    assert over(*far_or_near).raw[0] < 0.15 * truth


def test_the_network_is_told_of():
    told = Predictive().parameters
    assert told["network_units"] == batch_classifiers.UNITS
    assert told["network_prior_variance"] == batch_classifiers.PRIOR


def test_kernel_and_neighbour_members_are_those_of_loops():
    rng = np.random.default_rng(0)
    codes, folds = np.arange(40) % 3, rng.permutation(np.arange(40) % FOLDS)
    x = principal_components(rng.normal(size=(40, 2)) + codes[:, None], 60, rng)
    found = _untrained(x, codes, folds)
    squares = ((x[:, None].astype(float) - x) ** 2).sum(axis=2)
    middle = np.median(squares[np.triu_indices(40, 1)])
    counted = [k for k in NEIGHBOURS if k < 39]
    for fold in range(FOLDS):
        for i in range(40):
            order = [j for j in np.argsort(squares[i]) if j != i]
            seen = [j for j in order if folds[j] not in (fold, folds[i])]
            shares = np.array([sum(codes[j] == c for j in seen) + 0.5 for c in range(3)])
            shares /= shares.sum()
            members = [[1.0 * (j in order[:k]) for j in seen] for k in counted]
            members += [
                [np.exp((squares[i, order[0]] - squares[i, j]) / (2 * w * middle)) for j in seen]
                for w in WIDTHS
            ]
            for place, weights in enumerate(members):
                own = shares + [
                    sum(w for w, j in zip(weights, seen, strict=True) if codes[j] == c)
                    for c in range(3)
                ]
                told = np.exp(found[fold, place, :, i])
                assert np.allclose(told, own / own.sum(), atol=1e-4)


def test_the_order_of_samples_matters_by_the_folds_alone(rings):
    x, codes = rings[0][:200].astype(np.float32), rings[1][:200]
    folds = folds_of(codes, 0)
    order = np.random.default_rng(1).permutation(200)
    one = Predictive()
    before = one._predictions(x, codes, folds, 0)
    after = one._predictions(x[order], codes[order], folds[order], 0)
    assert np.allclose(before.odds[:, order], after.odds, atol=0.02)
    assert np.allclose(before.without, after.without, atol=5e-3)


def test_estimates_without_a_fold_are_those_of_the_other_samples(rings):
    # Alone, each sample's fit lacks one more fold for most of what is averaged.
    x, codes = rings
    folds = folds_of(codes, 0)
    whole = Predictive()._predictions(x, codes, folds, 0)
    assert whole.without is not None
    kept = folds != 2
    alone = Predictive()._predictions(x[kept], codes[kept], folds[kept], 0)
    told = alone.odds[codes[kept], np.arange(kept.sum())].mean()
    assert whole.without[2] == pytest.approx(told, abs=0.03)


def test_wide_noise_is_not_taken_for_knowledge():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    result = over(rng.normal(size=(200, 8, 300)), codes)
    assert result.raw.mean() < 0.01
    assert (result.mi < 0.08).all()
    assert (result.raw > -0.08).all()


def test_null_p_values_are_not_too_small():
    rng = np.random.default_rng(3)
    codes = np.arange(100) % 2
    p = over(rng.normal(size=(100, 80, 2)), codes, shuffles=1000).p_value
    assert (p <= 0.05).mean() <= 0.13
    assert (p <= 0.2).mean() <= 0.33


def test_nobody_sees_the_label_that_is_predicted(two_gaussians):
    x, codes = two_gaussians(1.0, 120)
    folds = folds_of(codes, 0)
    before = Predictive()._held_out(x, codes, folds, 0)
    for fold in range(FOLDS):
        turned = np.where(folds == fold, 1 - codes, codes)
        after = Predictive()._held_out(x, turned, folds, 0)
        assert np.allclose(after[:, folds == fold], before[:, folds == fold], atol=1e-4)
        assert np.abs(after - before)[:, folds != fold].max() > 0.1


def test_predictions_are_probabilities(layer_like):
    responses, codes = layer_like
    folds = folds_of(codes, 0)
    for place in (0, 4, 5):
        odds = Predictive()._held_out(responses[:, place], codes, folds, 0)
        assert np.allclose(np.exp(odds).sum(axis=0), 1.0)
        assert odds.min() > -12


def test_constants_far_clusters_blocks_and_scale(layer_like):
    responses, codes = layer_like
    whole = over(responses, codes)
    assert abs(whole.raw[5]) < 1e-12
    assert whole.raw[0] == whole.raw[1] > whole.raw[2] > whole.raw[3]
    part = over(responses[:, 2:4] * 64.0, codes)
    assert np.allclose(whole.raw[2:4], part.raw, atol=1e-4)
    assert np.allclose(whole.null[:, 2:4], part.null, atol=1e-3)
    four = np.arange(200) % 4
    far = over(1000.0 * np.eye(4)[four] + np.random.default_rng(0).normal(size=(200, 4)), four)
    assert 0.97 * math.log(4) < far.mi[0] <= label_entropy(four)


def test_few_samples_and_rare_classes_do_not_break_it():
    rng = np.random.default_rng(0)
    for codes in (np.repeat([0, 1], 2), np.repeat([0, 1, 2], [14, 4, 2])):
        result = over(rng.normal(size=(len(codes), 2, 50)), codes)
        assert np.isfinite(result.raw).all()
        assert (result.raw > -0.7).all()


def test_weights_of_a_mixture_are_those_of_a_search():
    rng = np.random.default_rng(0)
    told = rng.uniform(0.05, 1, (2, 400))
    told[1, :150] *= 0.2
    shares = np.linspace(0, 1, 1001)
    likely = [np.log(s * told[0] + (1 - s) * told[1]).sum() for s in shares]
    # The prior is half a sample of 400.
    assert abs(mixture(told)[0] - shares[np.argmax(likely)]) < 0.02
    assert mixture(told).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("components", [0, 2.5, True, "all"])
def test_settings_that_make_no_sense(components):
    with pytest.raises(SettingsError, match="components"):
        Predictive(components=components)
