import math

import numpy as np
import pytest

from oip.core.errors import SettingsError
from oip.mi.estimators.held_out import FOLDS, Decoder, folds_of
from oip.mi.validation import label_entropy


def over(x, codes, seed=0, shuffles=200, draws=200):
    values = x if x.ndim == 3 else x[:, None, :]
    return Decoder().over_maps(values, codes, seed, shuffles, draws)


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians_from_below(two_gaussians, mu, truth):
    # The best predictor of two Gaussians of one variance is logistic: the bound is nearly tight.
    values = np.stack([two_gaussians(mu, 2000, seed)[0] for seed in range(8)], axis=1)
    result = over(values, two_gaussians(mu, 2000)[1], shuffles=20)
    assert truth - 0.02 < result.mi.mean() < truth + 0.01
    inside = (result.low - 0.01 < truth) & (truth < result.high + 0.01)
    assert inside.sum() >= 6


def test_it_stays_under_what_there_is_to_know():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    x = 1000.0 * np.eye(4)[codes] + rng.normal(size=(200, 4))
    result = over(x, codes)
    assert 0.98 * math.log(4) < result.mi[0] <= label_entropy(codes)
    assert (result.per_class <= result.class_ceiling).all()
    assert result.saturated[0]


def test_wide_noise_is_not_taken_for_knowledge():
    rng = np.random.default_rng(0)
    codes = np.arange(200) % 4
    result = over(rng.normal(size=(200, 10, 400)), codes)
    assert result.raw.mean() < 0.01
    assert (result.mi < 0.08).all()
    assert (result.mi >= 0).all()


def test_null_p_values_are_not_too_small():
    rng = np.random.default_rng(3)
    codes = np.arange(120) % 3
    p = over(rng.normal(size=(120, 200, 3)), codes, shuffles=1000).p_value
    assert (p <= 0.05).mean() <= 0.09
    assert (p <= 0.2).mean() <= 0.26


def test_what_is_there_is_found(layer_like):
    responses, codes = layer_like
    result = over(responses, codes, shuffles=1000)
    assert (result.p_value[:4] < 0.01).all()
    assert result.raw[0] == result.raw[1] > result.raw[2] > result.raw[3] > result.raw[4]
    assert result.p_value[5] == 1.0


def test_constant_maps_have_exactly_nothing(layer_like):
    responses, codes = layer_like
    result = over(responses[:, 5:], codes)
    assert np.allclose(result.raw, 0.0, atol=1e-15)
    assert np.allclose(result.per_class, 0.0, atol=1e-15)
    assert np.allclose(result.high, 0.0, atol=1e-15)


def test_per_class_is_the_gain_of_the_class_probability(layer_like, monkeypatch):
    _, codes = layer_like
    odds = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=len(codes)).T)
    monkeypatch.setattr(Decoder, "_held_out", lambda *_: odds)
    result = over(np.zeros((150, 1, 2)), codes)
    gain = np.mean([odds[c, i] - np.log(1 / 3) for i, c in enumerate(codes)])
    assert math.isclose(result.raw[0], gain, rel_tol=1e-12)
    for code in range(3):
        p = np.exp(odds[code])
        cross = -np.log(np.where(codes == code, p, 1 - p)).mean()
        entropy = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
        assert math.isclose(result.per_class_raw[0, code], entropy - cross, rel_tol=1e-9)


def test_nobody_sees_the_label_that_is_predicted(two_gaussians):
    # Turning the labels of one fold around leaves the predictions for that fold as they are, but
    # for the order in which a product of many columns is summed.
    x, codes = two_gaussians(1.0, 200)
    folds = folds_of(codes, 0)
    before = Decoder()._held_out(x, codes, folds, 0)
    for fold in range(FOLDS):
        turned = np.where(folds == fold, 1 - codes, codes)
        after = Decoder()._held_out(x, turned, folds, 0)
        assert np.allclose(after[:, folds == fold], before[:, folds == fold], atol=1e-4)
        assert np.abs(after - before)[:, folds != fold].max() > 0.1


def test_the_order_of_samples_matters_by_the_folds_alone(two_gaussians):
    x, codes = two_gaussians(1.0, 200)
    folds = folds_of(codes, 0)
    order = np.random.default_rng(1).permutation(200)
    before = Decoder()._held_out(x, codes, folds, 0)
    after = Decoder()._held_out(x[order], codes[order], folds[order], 0)
    assert np.allclose(before[:, order], after, atol=1e-4)


def test_predictions_are_probabilities(layer_like):
    responses, codes = layer_like
    folds = folds_of(codes, 0)
    for place in range(6):
        odds = Decoder()._held_out(responses[:, place], codes, folds, 0)
        assert np.allclose(np.exp(odds).sum(axis=0), 1.0)
        assert odds.min() > -12


def test_folds_are_even_in_every_class():
    codes = np.repeat([0, 1, 2], [53, 31, 2])
    folds = folds_of(codes, 0)
    for code in range(3):
        counts = np.bincount(folds[codes == code], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= 1


def test_intervals_have_the_width_of_new_samples(two_gaussians):
    values = np.stack([two_gaussians(1.0, 400, seed)[0] for seed in range(60)], axis=1)
    result = over(values, two_gaussians(1.0, 400)[1], shuffles=20)
    assert 0.75 < result.draws.std(axis=0).mean() / result.raw.std() < 1.3


def test_blocks_and_scale_do_not_matter(layer_like):
    responses, codes = layer_like
    whole = over(responses, codes)
    part = over(responses[:, 2:4] * 64.0, codes)
    assert np.allclose(whole.raw[2:4], part.raw, atol=1e-5)
    assert np.allclose(whole.draws[:, 2:4], part.draws, atol=1e-5)
    assert (over(responses, codes, seed=1).raw[:4] != whole.raw[:4]).any()


def test_rare_classes_and_few_samples_do_not_break_it():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [14, 4, 2])
    result = over(rng.normal(size=(20, 3, 50)), codes)
    assert np.isfinite(result.raw).all()
    assert (result.raw > -0.5).all()


@pytest.mark.parametrize("components", [0, 2.5, True, "all"])
def test_settings_that_make_no_sense(components):
    with pytest.raises(SettingsError, match="components"):
        Decoder(components=components)
