"""What is told of single classes: intervals that hold, p-values of what is there and not."""

from __future__ import annotations

import numpy as np
import pytest

from oip import mi
from oip.mi.estimators.kde import Kde, KernelPlan
from oip.mi.estimators.results import LabelledResponses
from oip.mi.resampling import class_halves, paired_draws, shuffled


def planted(n, maps, seed):
    """Maps (n, maps, 1) that tell class 0 from the others, and nothing else, of 4 classes."""
    codes = np.arange(n) % 4
    x = np.random.default_rng(seed).normal(size=(n, maps, 1))
    x[:, :, 0] += 1.5 * (codes == 0)[:, None]
    return x, codes


FAMILIES = {
    "kde": {},
    "ksg": {},
    "gaussian": {},
    "vme": {},
    "binning": {"count": 3},
    "renyi": {},
    "dsmi": {"relative": 0.2},
    "rbig": {"permutations": 1},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_planted_class_is_found_with_its_value(name):
    count = 2 if name == "rbig" else 6
    estimator = mi.estimator(name, **FAMILIES[name])
    x, codes = planted(120, count, 0)
    noise = np.random.default_rng(2).normal(size=(120, count, 1))
    estimates = estimator.over_maps(np.concatenate([x, noise], axis=1), codes, 0, 20, 20)
    more = estimator.over_maps(*planted(1200, 1, 1)).per_class_raw[0, 0]
    low, high = estimates.per_class_ends[:count, 0].T
    assert ((low <= more) & (more <= high)).mean() >= 0.8
    assert (estimates.per_class_p[:count, 0] < 0.05).all()
    assert np.median(estimates.per_class_p[count:]) > 0.2
    assert (estimates.per_class_p[count:] < 0.05).mean() <= 0.25
    bare = estimator.over_maps(x, codes)
    assert np.isnan(bare.per_class_ends).all() and np.isnan(bare.per_class_p).all()
    assert estimator.over_maps(x, codes, one_vs_rest=False).per_class_low is None


@pytest.mark.parametrize("budget", [64 << 20, 8 * 600])
def test_kernel_sums_give_what_changed_samples_give(budget):
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [40, 31, 20]))
    x = rng.normal(size=(91, 1, 3)) + codes[:, None, None]
    estimator = Kde(noise=0.5)
    plan = KernelPlan.of(LabelledResponses(x, codes, 3, 5, 6), budget)
    sums = estimator.kernel_sums(x[:, 0], plan)
    for row, mixed in enumerate(shuffled(codes, 3, 5)):
        alone = [estimator.over_maps(x, mixed == code).raw[0] for code in range(3)]
        assert np.allclose(sums.class_null[row], alone, atol=1e-5)
    parts = class_halves(codes, 3, 6)
    drawn = np.array([estimator.over_maps(x[part], codes[part]).per_class_raw[0] for part in parts])
    assert np.allclose(sums.class_draws, paired_draws(sums.per_class, drawn), atol=1e-5)


def test_a_map_by_itself_has_more_shuffles():
    x, codes = planted(80, 1, 0)
    estimates = mi.estimator("gaussian").over_maps(x, codes, 0, 100, 50)
    assert estimates.per_class_p[0, 0] == pytest.approx(1 / 40)


def test_small_classes_have_intervals_as_wide_as_new_samples_ask_for():
    values, widths = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        codes = rng.choice(2, size=200, p=[0.9, 0.1])
        x = rng.normal(size=(200, 1, 1)) + 0.8 * codes[:, None, None]
        estimates = mi.estimator("decoder").over_maps(x, codes, 0, 0, 200)
        low, high = estimates.per_class_ends[0, 1]
        values.append(estimates.per_class_raw[0, 1])
        widths.append(high - low)
    # 3.0 where draws vary with the number of samples of the class, but its entropy does not.
    assert 0.7 < np.mean(widths) / (3.92 * np.std(values)) < 1.4
