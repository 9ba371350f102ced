import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators import binning
from oip.mi.estimators.binning import Binning, cell_entropy, chance_information, together


def entropy(cells, corrected=False):
    counts = Counter(cells)
    n = len(cells)
    plain = -sum(c / n * math.log(c / n) for c in counts.values())
    return plain + (len(counts) - 1) / (2 * n) * corrected


@pytest.fixture
def few():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    return x, np.round(x[:, :1] + rng.normal(size=(50, 1)), 1), rng.integers(0, 3, 50)


@pytest.mark.parametrize("corrected", [False, True])
def test_informations_are_those_of_counting(few, corrected):
    x, y, codes = few
    estimator = Binning(by="width", width=0.7, corrected=corrected)
    a = [tuple(math.floor(v / 0.7) for v in row) for row in x]
    b = [math.floor(v / 0.7) for v in y[:, 0]]
    c = codes.tolist()
    h = {
        name: entropy(list(zip(*parts, strict=True)), corrected)
        for name, parts in {
            "a": [a],
            "b": [b],
            "c": [c],
            "ab": [a, b],
            "ac": [a, c],
            "bc": [b, c],
            "abc": [a, b, c],
        }.items()
    }
    assert math.isclose(estimator.entropy(x, 0).nats, h["a"])
    assert math.isclose(
        estimator.information(x, y, 0).nats, h["a"] + h["b"] - h["ab"], abs_tol=1e-12
    )
    label = estimator.over_maps(x[:, None], codes)
    assert math.isclose(label.raw[0], h["a"] + h["c"] - h["ac"], abs_tol=1e-12)
    wide = codes[:, None] * 0.7 + 0.1
    conditional = estimator.conditional_information(x, y, wide, 0).nats
    assert math.isclose(conditional, h["ac"] + h["bc"] - h["abc"] - h["c"], abs_tol=1e-12)
    for code in range(3):
        inside = [value == code for value in c]
        joint = entropy(list(zip(a, inside, strict=True)), corrected)
        expected = h["a"] + entropy(inside, corrected) - joint
        assert math.isclose(label.per_class_raw[0, code], expected, abs_tol=1e-12)


def test_kinds_of_bins():
    x = np.array([[-3.0], [-0.99], [-0.0], [0.0], [0.49], [0.5], [0.99], [7.0]])

    def groups(**settings):
        cells = Binning(**settings).cells(x)
        return np.flatnonzero(np.diff(cells, prepend=-9) != 0).tolist()

    assert groups(by="width", width=0.5) == [0, 1, 2, 5, 7]
    # -3 is put where -1 is, 7 where 1 is: ends of the range.
    assert groups(by="range", count=4) == [0, 2, 5]
    assert Binning(by="range").parameters["count"] == 30
    assert groups(by="quantile", count=2) == [0, 4]
    # Ten units from the smallest to the largest, five bins of two.
    assert groups(by="minmax", count=5) == [0, 1, 7]
    assert Binning(by="minmax").parameters == {"by": "minmax", "count": 10, "corrected": True}
    both = np.concatenate([x, np.full((8, 1), 4.0)], axis=1)
    assert np.array_equal(Binning(by="minmax").cells(both), Binning(by="minmax").cells(x))


@pytest.mark.parametrize("step", [0.1, 0.2, 0.3, 0.01])
def test_rounded_values_on_the_edges_have_a_bin_each(step):
    # .3 / .1 is 2.9999999999999996, so that .2 and .3 shared a bin.
    x = np.round(step * np.arange(-10, 11), 2)[:, None]
    assert len(set(Binning(by="width", width=step).cells(x))) == 21
    ends = {"low": float(x[0, 0]), "high": float(x[-1, 0])}
    for bins in (Binning(by="minmax", count=20), Binning(by="range", count=20, **ends)):
        # The upper end is in the last bin.
        assert sorted(np.bincount(bins.cells(x))) == [1] * 19 + [2]


def test_quantile_bins_are_even_and_ties_stay_together():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    counts = np.bincount(Binning(count=8).cells(x))
    assert (counts == 125).all()
    counts = np.bincount(Binning(count=8).cells(np.maximum(x, 0)))
    assert counts.max() == (x <= 0).sum()


def test_rows_are_told_apart_by_every_column():
    x = np.zeros((40, 300))
    x[np.arange(40), np.arange(40) * 7] = 1.0
    assert len(np.unique(Binning(by="width").cells(x))) == 40
    assert mi.input_information(x, "binning", by="width").saturated


@given(
    x=arrays(np.int64, 30, elements=st.integers(0, 5)),
    y=arrays(np.int64, 30, elements=st.integers(0, 3)),
    z=arrays(np.int64, 30, elements=st.integers(0, 2)),
)
@settings(max_examples=60, deadline=None)
def test_shannon_inequalities_hold_for_any_cells(x, y, z):
    estimator = Binning(by="width", width=1.0, corrected=False)
    xy, x_of_y, y_of_x = (
        estimator.discrete_information(a, b, 0) for a, b in ((x, y), (x, x), (y, x))
    )
    assert -1e-9 <= xy.nats <= xy.ceiling + 1e-9
    assert math.isclose(xy.nats, y_of_x.nats, abs_tol=1e-9)
    assert math.isclose(x_of_y.nats, cell_entropy(x), abs_tol=1e-9)
    a, b, c = (side[:, None].astype(float) for side in (x, y, z))
    given_z = estimator.conditional_information(a, b, c, 0)
    assert -1e-9 <= given_z.nats <= given_z.ceiling + 1e-9
    # The chain rule: I(X;Y,Z) = I(X;Z) + I(X;Y|Z).
    both = estimator.information(a, np.concatenate([b, c], axis=1), 0).nats
    assert math.isclose(both, estimator.information(a, c, 0).nats + given_z.nats, abs_tol=1e-9)
    total = estimator.total_correlation(np.concatenate([a, b, c], axis=1), 0)
    assert -1e-9 <= total.nats <= total.ceiling + 1e-9


def test_miller_and_madow_is_less_biased():
    rng = np.random.default_rng(0)
    truth = math.log(20)
    plain, corrected = [], []
    for _ in range(200):
        cells = rng.integers(0, 20, 60)
        plain.append(cell_entropy(cells))
        corrected.append(cell_entropy(cells, True))
    # (K - 1) / 2n is .158; what is left is of second order.
    assert np.mean(plain) < truth - 0.12
    assert abs(np.mean(corrected) - truth) < 0.03


def test_pairs_of_cells():
    x, y = np.array([0, 0, 1, 1, 2]), np.array([5, 5, 5, 0, 5])
    cells = together(x, y)
    assert cells[0] == cells[1]
    assert len(set(cells.tolist())) == 4
    assert cells.max() < 5


def test_labels_of_labels():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, 4000)
    y = np.where(rng.uniform(size=4000) < 0.5, x, rng.integers(0, 4, 4000))
    # y = x with probability .625, each other with .125.
    truth = math.log(4) + 0.625 * math.log(0.625) + 0.375 * math.log(0.125)
    estimate = mi.mutual_information(np.array(list("abcd"))[x], y)
    assert (estimate.estimator, estimate.p_value) == ("binning", 1 / 1001)
    assert abs(estimate.nats - truth) < 0.04
    same = mi.mutual_information(x, x, discrete_x=True)
    assert same.saturated
    assert same.nats == pytest.approx(entropy(x.tolist()))


def test_entropy_of_a_label_is_that_of_its_shares():
    names = np.array(list("aaabbc") * 20)
    estimate = mi.entropy(names, corrected=False)
    assert estimate.estimator == "binning"
    assert estimate.nats == pytest.approx(entropy(names.tolist()))
    assert mi.entropy(names).nats == pytest.approx(entropy(names.tolist()) + 2 / 240)
    numbers = np.unique(names, return_inverse=True)[1] * 7
    assert mi.entropy(numbers, discrete=True) == mi.entropy(names)
    assert mi.entropy(numbers).estimator == "kde"
    assert mi.entropy(np.arange(40) % 2, discrete=True).bits == 1.0
    assert (estimate.ceiling, estimate.saturated, estimate.notices) == (None, False, ())
    two = mi.entropy(names, "renyi", alpha=2)
    assert two.nats == pytest.approx(-math.log((9 + 4 + 1) / 36))
    with pytest.raises(SettingsError, match="entropy of a label: expected binning, renyi"):
        mi.entropy(names, "ksg")


def test_classes_that_are_hardly_seen_are_said():
    rng = np.random.default_rng(0)
    estimates = [mi.entropy(rng.integers(0, 20, 60), discrete=True, draws=0) for _ in range(50)]
    assert abs(np.mean([estimate.nats for estimate in estimates]) - math.log(20)) < 0.05
    assert all("classes in 60 samples" in estimate.notices[0] for estimate in estimates)


def test_divergence_is_that_of_shared_cells():
    x, y = np.repeat([0.1, 1.1, 2.1], [6, 3, 1]), np.repeat([0.2, 1.2], [4, 8])
    divergence = Binning(by="width", width=1.0, corrected=False).divergence(
        x[:, None], y[:, None], 0
    )
    p, q = np.array([6.5, 3.5, 1.5]) / 11.5, np.array([4.5, 8.5, 0.5]) / 13.5
    assert divergence.nats == pytest.approx((p * np.log(p / q)).sum())
    assert divergence.notices[0].startswith("10% of x lies in cells without y")
    assert divergence.notices[0].endswith("Use more samples of y.")


@pytest.mark.parametrize(
    ("mu", "least", "most"), [(0, -0.01, 0.01), (0.5, 0.1, 0.14), (1, 0.4, 0.52)]
)
def test_divergence_of_gaussians_is_found_from_below(mu, least, most):
    # mu^2 / 2, less what cells lose; one value has an error of .06 at the most, the mean .014.
    rng = np.random.default_rng(0)
    samples = [(rng.normal(mu, size=1000), rng.normal(size=500)) for _ in range(20)]
    values = [mi.kl_divergence(x, y, "binning", draws=0, null=0).nats for x, y in samples]
    assert least < np.mean(values) < most


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("n", "m"), [(60, 40), (150, 100), (2000, 200), (200, 2000)])
def test_divergence_of_few_samples_is_not_subtracted_away(n, m, d):
    # The half samples hold cells near each other, so that less of the bias is there to subtract:
    # at d = 3, n = 2,000 and m = 200 the mean was -1.08, of 0 and of .5.
    rng = np.random.default_rng(0)
    means = []
    for mu in (0.0, 1.0):
        shift = mu * np.eye(d)[0]
        samples = [(rng.normal(size=(n, d)) + shift, rng.normal(size=(m, d))) for _ in range(30)]
        means.append(np.mean([Binning().divergence(*pair, 0).nats for pair in samples]))
    assert abs(means[0]) < 0.03
    assert 0.22 < means[1] < 0.52


def test_two_bins_keep_the_zeros_of_a_relu_apart():
    # 84 % zeros: the median is 0, and what is above it is not with it.
    rng = np.random.default_rng(0)
    codes = np.arange(1000) % 2
    x = np.maximum(0.0, rng.normal(size=(1000, 5)) - 1.0 + 0.8 * codes[:, None])
    estimate = mi.mutual_information(x, codes, "binning", null=0, draws=0)
    # By integration over the five nodes .203; two bins keep a part of it.
    assert 0.1 < estimate.nats < 0.203


@pytest.mark.parametrize("cells", [3, 40])
def test_chance_is_the_mean_over_all_orders(cells):
    rng = np.random.default_rng(0)
    x = np.unique(rng.integers(0, cells, 60), return_inverse=True)[1]
    y = np.repeat([0, 1, 2], [40, 15, 5])
    sides = cell_entropy(x) + cell_entropy(y)
    values = [sides - cell_entropy(together(x, rng.permutation(y))) for _ in range(2000)]
    error = np.std(values) / math.sqrt(2000)
    assert abs(chance_information(x, y) - np.mean(values)) < 4 * error
    assert chance_information(np.zeros(60, int), y) == pytest.approx(0.0, abs=1e-12)
    assert chance_information(np.arange(60), y) == pytest.approx(cell_entropy(y))


def test_chance_of_large_cells_of_many_sizes_takes_little_memory(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = (np.minimum(rng.zipf(1.5, 20_000), 800) for _ in range(2))
    x, y = (np.unique(cells, return_inverse=True)[1] for cells in (x, y))
    tracemalloc.start()
    value = chance_information(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    monkeypatch.setattr(binning, "ELEMENTS", 1000)
    assert chance_information(x, y) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("informed", "noise", "shift"), [(5, 5, 0.6), (1, 8, 2.0), (0, 10, 0.0)])
def test_many_columns_are_not_too_large(informed, noise, shift):
    """Two bins a column leave 1,000 samples nearly a cell each; plainly counted it is .4 nats."""
    truth = {0.6: 0.186, 2.0: 0.336, 0.0: 0.0}[shift]
    values = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 2, 1000)
        x = rng.normal(size=(1000, informed + noise))
        x[:, :informed] += shift * codes[:, None]
        values.append(mi.mutual_information(x, codes, "binning", null=0, draws=0))
    nats = np.array([value.nats if value.raw is None else value.raw for value in values])
    assert abs(nats.mean() - truth) < 0.06
    assert "cell to themselves" in values[0].notices[0]
    alone = mi.mutual_information(
        np.random.default_rng(0).normal(size=(200, 60)), codes[:200], "binning", null=0
    )
    assert (alone.nats, alone.saturated) == (0.0, False)


@pytest.mark.parametrize(("n", "error"), [(100, 0.35), (1000, 0.09), (3000, 0.07)])
def test_two_numbers_have_bins_by_samples(n, error):
    values, independent = [], []
    for seed in range(5):
        a, b = np.random.default_rng(seed).normal(size=(2, n, 1))
        values.append(Binning().information(a, 0.9 * a + math.sqrt(0.19) * b, 0).nats)
        independent.append(Binning().information(a, b, 0).nats)
    # Ten bins are .09 under it, whatever n.
    assert np.mean(values) == pytest.approx(-0.5 * math.log(0.19), abs=error)
    assert abs(np.mean(independent)) < 0.05


@pytest.mark.parametrize(
    ("n", "noise", "least"), [(300, 1, 0.28), (300, 3, 0.22), (1000, 1, 0.33), (1000, 3, 0.26)]
)
def test_more_columns_keep_as_many_bins_as_chance_allows(n, noise, least):
    # Of .413; with five samples a cell .25, .18, .32 and .15.
    values, independent = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, n, 1))
        x = np.concatenate([a, rng.normal(size=(n, noise))], axis=1)
        values.append(Binning().information(x, 0.75 * a + math.sqrt(1 - 0.75**2) * b, 0))
        independent.append(Binning().information(x, b, 0).nats)
    assert least < np.mean([value.nats for value in values]) < 0.42
    assert abs(np.mean(independent)) < 0.03
    assert any("3 bins each" in notice for notice in values[0].notices) == ((n, noise) == (300, 3))


def test_two_bins_a_column_are_told():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 9)), rng.normal(size=1000)
    for label in (y, y > 0):
        estimate = mi.mutual_information(x, label, "binning", null=0, draws=0)
        assert any("2 bins each" in notice for notice in estimate.notices)
    given = mi.mutual_information(x, y, "binning", count=2, null=0, draws=0)
    assert not any("bins each" in notice for notice in given.notices)


def test_intervals_are_from_halves_with_the_bins_of_the_whole():
    # Of 150 samples three bins a column; halves by themselves have two, which vary less.
    a, b, c = np.random.default_rng(0).normal(size=(3, 150))
    x = np.stack([a, a + b, a + c], axis=1)
    for function, sides in (
        (mi.total_correlation, (x,)),
        (mi.conditional_mutual_information, (x[:, 0], x[:, 1], x[:, 2])),
        (mi.kl_divergence, (x, x[::-1] + 0.1)),
    ):
        own, given = (
            function(*sides, estimator="binning", null=0, count=count) for count in (None, 3)
        )
        assert (own.nats, own.low, own.high) == (given.nats, given.low, given.high)
        few = any("3 bins each" in notice for notice in own.notices)
        assert few == (function is not mi.kl_divergence)


def test_intervals_within_classes_are_from_halves_with_the_bins_of_the_whole(monkeypatch):
    a, b, c = np.random.default_rng(0).normal(size=(3, 300))
    counts = set()
    cells = Binning.cells
    monkeypatch.setattr(Binning, "cells", lambda self, x: counts.add(self.count) or cells(self, x))
    mi.conditional_mutual_information(a, a + b, c > 0, "binning", null=0)
    assert counts == {int(math.sqrt(n / 3)) for n in np.bincount(c > 0)}


def test_total_correlation_of_two_columns_is_their_information():
    values = []
    for seed in range(8):
        x = np.random.default_rng(seed).normal(size=(150, 2))
        values.append(Binning().total_correlation(x, 0).nats)
        assert values[-1] == Binning().information(x[:, :1], x[:, 1:], 0).nats
    assert abs(np.mean(values)) < 0.04  # ten bins a column gave .12
