import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.kde import Kde
from oip.mi.validation import label_entropy


def over(x, codes, seed=0, shuffles=20, draws=20, **parameters):
    values = x if x.ndim == 3 else x[:, None, :]
    return Kde(**parameters).over_maps(values, codes, seed, shuffles, draws)


def mixture_entropy(x, variance, bound):
    """Either bound of the entropy, written out."""
    n, d = x.shape
    scale = 2.0 if bound == "upper" else 8.0
    total = 0.0
    for a in x:
        near = sum(math.exp(-float(((a - b) ** 2).sum()) / (scale * variance)) for b in x)
        total -= math.log(near / n) / n
    return total + d / 2 * math.log(2 * math.pi * variance) + d / 2


@pytest.fixture
def few():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [20, 12, 7]))
    return rng.normal(size=(39, 3)) + codes[:, None], codes


@pytest.mark.parametrize("bound", ["upper", "lower"])
def test_entropies_and_informations_are_those_of_double_loops(few, bound):
    x, codes = few
    entropy = mixture_entropy(x, 0.3, bound)
    noise = 1.5 * (math.log(2 * math.pi * 0.3) + 1)
    estimator = Kde(noise=0.3, bound=bound)
    assert math.isclose(estimator.entropy(x, 0).nats, entropy, rel_tol=1e-10)
    assert math.isclose(estimator.input_information(x, 0).nats, entropy - noise, rel_tol=1e-10)
    result = over(x, codes, noise=0.3, bound=bound)
    parts = [mixture_entropy(x[codes == c], 0.3, bound) * (codes == c).mean() for c in range(3)]
    assert math.isclose(result.raw[0], entropy - sum(parts), rel_tol=1e-10)
    for code in range(3):
        inside = codes == code
        rest = mixture_entropy(x[~inside], 0.3, bound) * (~inside).mean()
        assert math.isclose(
            result.per_class_raw[0, code], entropy - parts[code] - rest, rel_tol=1e-9
        )


def test_null_and_draws_are_the_estimate_itself_on_changed_samples(few):
    x, codes = few
    result = over(x, codes, noise=0.3, shuffles=200, draws=100)
    rng = np.random.default_rng(5)
    shuffled = [over(x, rng.permutation(codes), noise=0.3).raw[0] for _ in range(200)]
    assert abs(result.null.mean() - np.mean(shuffled)) < 4 * np.std(shuffled) / math.sqrt(100)
    assert 0.7 < result.null.std() / np.std(shuffled) < 1.4
    halves = []
    while len(halves) < 100:
        part = rng.permutation(len(codes))[: len(codes) // 2]
        if np.bincount(codes[part]).min() < 2:
            continue
        halves.append(over(x[part], codes[part], noise=0.3).raw[0])
    assert 0.7 < result.draws.std() / np.std(halves) < 1.4
    assert math.isclose(result.draws.mean(), result.raw[0], abs_tol=1e-12)


def test_intervals_have_the_width_of_new_samples(two_gaussians):
    results = [
        over(x[part], codes[part], draws=100)
        for seed in range(40)
        for x, codes in [two_gaussians(1.0, 600, seed)]
        for part in [np.random.default_rng(seed).permutation(600)[:300]]
    ]
    varies = np.std([result.raw[0] for result in results])
    mean_width = np.mean([result.draws.std() for result in results])
    assert 0.75 < mean_width / varies < 1.35


def test_upper_is_not_under_lower(few):
    x, _ = few
    for noise in (0.01, 0.1, 1.0, 10.0):
        upper, lower = Kde(noise=noise), Kde(noise=noise, bound="lower")
        assert upper.entropy(x, 0).nats >= lower.entropy(x, 0).nats
        informations = [estimator.input_information(x, 0).nats for estimator in (upper, lower)]
        assert math.log(len(x)) >= informations[0] >= informations[1] >= 0


def test_entropy_of_a_gaussian_lies_between_the_bounds():
    # For X ~ N(0, 1) the mean over pairs is a Gaussian integral in closed form.
    x = np.random.default_rng(0).normal(size=(1500, 1))
    truth = 0.5 * math.log(2 * math.pi * math.e * 1.05)
    values = []
    for bound, width in (("lower", 0.2), ("upper", 0.05)):
        gap = 0.5 * math.log((1 + width) / width) + 0.5 / (1 + width)
        expected = 0.5 * math.log(2 * math.pi * 0.05) + 0.5 + gap
        values.append(Kde(noise=0.05, bound=bound).entropy(x, 0).nats)
        assert abs(values[-1] - expected) < 0.03
    assert values[0] < truth < values[1]


def test_samples_nodes_offsets_and_scale_do_not_matter(few):
    x, codes = few
    value = over(x, codes).raw[0]
    order = np.random.default_rng(0).permutation(len(x))
    assert math.isclose(over(x[order], codes[order]).raw[0], value, rel_tol=1e-9)
    assert math.isclose(over(x[:, ::-1], codes).raw[0], value, rel_tol=1e-9)
    assert math.isclose(over(x + 1000.0, codes).raw[0], value, rel_tol=1e-6)
    for scale in (1e-6, 1e6):
        assert math.isclose(over(x * scale, codes).raw[0], value, rel_tol=1e-6)
    assert not math.isclose(
        over(x * 5, codes, noise=0.1).raw[0], over(x, codes, noise=0.1).raw[0], rel_tol=1e-2
    )


def test_far_clusters_know_the_label(few):
    _, codes = few
    x = codes[:, None] * 1000.0 + np.random.default_rng(0).normal(size=(39, 2)) * 0.01
    result = over(x, codes, noise=0.1)
    assert math.isclose(result.mi[0], label_entropy(codes), rel_tol=1e-9)
    assert result.saturated[0]
    assert np.allclose(result.per_class[0], result.class_ceiling)


def test_constant_maps_have_exactly_nothing(few):
    _, codes = few
    for value in (0.0, 0.1, 1e6):
        for parameters in ({}, {"noise": 0.1}):
            result = over(np.full((39, 5), value), codes, **parameters)
            assert result.mi[0] == 0.0
            assert (result.per_class == 0).all()
            assert result.low[0] == result.high[0] == 0.0
            assert result.p_value[0] == 1.0
            assert not result.saturated[0]


@pytest.mark.parametrize(
    ("mu", "truth"), [(0.5, 0.11142), (1, 0.33683), (2, 0.63272), (4, 0.69305)]
)
def test_two_gaussians(two_gaussians, mu, truth):
    # The relative noise blurs the classes (too little) and a point sees itself (too much).
    result = over(*two_gaussians(mu, 1500))
    assert abs(result.mi[0] - truth) < 0.03
    assert result.mi[0] <= math.log(2)


def test_independent_maps_are_inside_their_null():
    rng = np.random.default_rng(0)
    codes = np.arange(120) % 3
    result = over(rng.normal(size=(120, 150, 4)), codes, shuffles=40)
    p = result.p_value
    for level in (0.1, 0.5):
        assert abs((p <= level).mean() - level) < 0.12
    assert (result.raw < result.null.max(axis=0) + 0.1).all()


def test_blocks_of_maps_do_not_matter(layer_like):
    responses, codes = layer_like
    whole = over(responses, codes)
    part = over(responses[:, 2:4], codes)
    for name in ("raw", "per_class_raw"):
        assert (getattr(whole, name)[2:4] == getattr(part, name)).all()
    assert (whole.draws[:, 2:4] == part.draws).all()
    assert (whole.null[:, 2:4] == part.null).all()
    assert (whole.draws[:, 0] == whole.draws[:, 1]).all()


def test_a_null_in_parts_is_the_same(few):
    x, codes = few
    parts = over(x, codes, byte_budget=2 * 8 * 39 * 3 * 7).null
    assert np.allclose(parts, over(x, codes).null, rtol=1e-5)


def test_blocks_of_rows_do_not_matter(few):
    x, codes = few
    values = np.stack([x, np.zeros_like(x), x**3], axis=1)
    ways = ({"noise": 0.3}, {"relative": 0.1}, {"relative": 0.1, "bound": "lower"})

    def all_values(kde):
        estimates = kde.over_maps(values, codes, 0, 20, 20)
        return [
            estimates.raw,
            estimates.per_class_raw,
            estimates.draws,
            estimates.null,
            kde.over_variances(values, codes, relative=(0.1, 1), noise=(0.3,)),
            np.array([kde.entropy(x, 0).nats, kde.input_information(x, 0).nats]),
        ]

    for way in ways:
        in_blocks = all_values(Kde(**way, byte_budget=8 * 39 * 5))
        for whole, blocks in zip(all_values(Kde(**way)), in_blocks, strict=True):
            assert np.allclose(blocks, whole, rtol=1e-5, atol=1e-6)


def test_memory_is_that_of_blocks():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(3000, 1, 2))
    tracemalloc.start()
    estimates = Kde(byte_budget=2 << 20).over_maps(x, np.arange(3000) % 3, 0, 20, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One matrix would be 69 MiB; the null's labels alone are some 10.
    assert peak < 30 << 20
    assert abs(estimates.raw[0]) < 0.02


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise": 0},
        {"noise": -1.0},
        {"noise": math.nan},
        {"noise": "0.1"},
        {"relative": 0.0},
        {"relative": None},
        {"bound": "middle"},
        {"byte_budget": 0},
    ],
)
def test_settings_that_make_no_sense(parameters):
    with pytest.raises(SettingsError, match="kde"):
        Kde(**parameters)


def test_entropy_of_a_constant_needs_a_variance():
    with pytest.raises(DataError, match=r"noise=0\.1"):
        Kde().entropy(np.ones((30, 2)), 0)
    # A half of the samples may be constant where the whole is not.
    estimate = mi.entropy(np.eye(30)[0], "kde")
    assert math.isfinite(estimate.nats)
    assert estimate.interval is None
    assert math.isclose(
        Kde(noise=0.1).entropy(np.ones((30, 2)), 0).nats, math.log(2 * math.pi * 0.1) + 1
    )


def test_many_variances_are_those_of_one_at_a_time(few):
    x, codes = few
    values = np.stack([x, np.zeros_like(x), x**3], axis=1)
    for bound in ("upper", "lower"):
        swept = Kde(bound=bound).over_variances(values, codes, relative=(0.1, 1), noise=(0.01, 5))
        assert swept.shape == (4, 3)
        ones = [
            Kde(bound=bound, **variance).over_maps(values, codes).raw
            for variance in ({}, {"relative": 1.0}, {"noise": 0.01}, {"noise": 5.0})
        ]
        assert np.allclose(swept, ones, rtol=1e-12)
    assert Kde().over_variances(values, codes).shape == (0, 3)
    alone = Kde().over_variances(values, np.zeros(39, int), noise=(1.0,))
    assert np.allclose(alone, 0, atol=1e-12)
    with pytest.raises(SettingsError, match="noise"):
        Kde().over_variances(values, codes, noise=(1.0, 0.0))


@given(
    x=arrays(np.float64, (12, 2), elements=st.floats(-5, 5)),
    noise=st.floats(0.01, 100),
)
@settings(max_examples=60, deadline=None)
def test_bounds_and_ceilings_hold_for_any_samples(x, noise):
    upper, lower = (Kde(noise=noise, bound=bound) for bound in ("upper", "lower"))
    informations = [estimator.input_information(x, 0).nats for estimator in (lower, upper)]
    assert -1e-9 <= informations[0] <= informations[1] + 1e-9
    assert informations[1] <= math.log(12) + 1e-9
    codes = np.arange(12) % 3
    assert upper.over_maps(x[:, None], codes).raw[0] <= math.log(3) + 1e-9
