import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.gram import Bandwidth, gram, label_gram
from oip.mi.estimators.renyi import (
    Renyi,
    class_entropy,
    hadamard,
    matrix_entropy,
    pairs,
    renyi_label_entropy,
    spectral_entropy,
)

ALPHAS = (0.5, 1, 1.01, 2, 3.7)
alphas = st.sampled_from(ALPHAS)
grams = st.builds(
    lambda seed, d, share: gram(
        np.random.default_rng(seed).normal(size=(12, d)), Bandwidth(relative=share)
    ),
    st.integers(0, 10_000),
    st.integers(1, 4),
    st.sampled_from([0.02, 0.3, 1.0, 10.0]),
)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_known_matrices(alpha):
    assert matrix_entropy(np.ones((9, 9)), alpha) == pytest.approx(0, abs=1e-12)
    assert matrix_entropy(np.eye(9), alpha) == pytest.approx(math.log(9))
    blocks = label_gram(np.arange(64) % 8)
    assert matrix_entropy(blocks, alpha) == pytest.approx(3 * math.log(2))


def test_alpha_near_one_is_von_neumann():
    a = gram(np.random.default_rng(0).normal(size=(40, 3)), Bandwidth())
    shares = np.linalg.eigvalsh(a / 40)
    shares = shares[shares > 1e-13]
    truth = -(shares * np.log(shares)).sum()
    assert matrix_entropy(a, 1) == pytest.approx(truth)
    for alpha in (1 - 1e-6, 1 + 1e-6, 1 + 1e-9):
        assert matrix_entropy(a, alpha) == pytest.approx(truth, rel=1e-5)


@given(grams, alphas, st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_eigenvalues_and_traces_tell_the_same(a, alpha, scale):
    # tr A^k of whole powers needs no eigenvalue; entropies do not see the trace.
    n = len(a)
    for power in (2, 3):
        truth = math.log(np.trace(np.linalg.matrix_power(a / n, power))) / (1 - power)
        assert matrix_entropy(a, power) == pytest.approx(truth, abs=1e-9)
    value = matrix_entropy(a, alpha)
    assert matrix_entropy(scale * a, alpha) == pytest.approx(value, abs=1e-8)
    order = np.random.default_rng(0).permutation(n)
    assert matrix_entropy(a[np.ix_(order, order)], alpha) == pytest.approx(value, abs=1e-8)
    assert 0 <= value <= math.log(n)


@given(grams, grams, grams, alphas)
@settings(max_examples=80, deadline=None)
def test_joint_entropy_is_no_smaller_than_the_largest(a, b, c, alpha):
    # Inequality (4) of Yu et al.
    for matrices in ((a, b), (a, b, c), (a, a)):
        single = [matrix_entropy(matrix, alpha) for matrix in matrices]
        assert max(single) - 1e-8 <= matrix_entropy(hadamard(matrices), alpha)


@given(grams, grams, grams)
@settings(max_examples=80, deadline=None)
def test_joint_entropy_is_no_larger_than_the_sum(a, b, c):
    # Inequality (5): a theorem at alpha 1 (von Neumann's entropy is subadditive), and at the usual
    # 1.01 up to what .01 can change. See the next test for others.
    for matrices in ((a, b), (a, b, c), (a, a)):
        joint = hadamard(matrices)
        for alpha, slack in ((1, 1e-8), (1.01, 0.01)):
            most = sum(matrix_entropy(matrix, alpha) for matrix in matrices)
            assert matrix_entropy(joint, alpha) <= most + slack


def test_at_other_alphas_the_joint_entropy_can_exceed_the_sum():
    narrow, wide = (
        gram(np.random.default_rng(seed).normal(size=(12, 1)), Bandwidth(relative=share))
        for seed, share in ((0, 0.02), (1, 10.0))
    )
    most = matrix_entropy(narrow, 3.7) + matrix_entropy(wide, 3.7)
    assert matrix_entropy(narrow * wide, 3.7) > most + 0.02


@given(grams, alphas, alphas)
@settings(max_examples=40, deadline=None)
def test_entropy_falls_with_alpha(a, first, second):
    low, high = sorted((first, second))
    assert matrix_entropy(a, low) >= matrix_entropy(a, high) - 1e-8


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), grams, alphas)
@settings(max_examples=60, deadline=None)
def test_classes_by_blocks_are_the_whole_matrix(labels, a, alpha):
    codes = np.unique(labels, return_inverse=True)[1]
    whole = matrix_entropy(a * label_gram(codes), alpha)
    assert class_entropy(a, codes, alpha) == pytest.approx(whole, abs=1e-8)
    several = np.stack([a, np.ones_like(a), a])
    alone = class_entropy(a, codes, alpha)
    assert class_entropy(several, codes, alpha)[::2] == pytest.approx([alone] * 2, abs=1e-12)
    assert renyi_label_entropy(codes, alpha) == pytest.approx(
        matrix_entropy(label_gram(codes), alpha), abs=1e-8
    )


def test_many_matrices_at_once():
    matrices = np.stack(
        [gram(np.random.default_rng(s).normal(size=(15, 2)), Bandwidth()) for s in range(4)]
    )
    for alpha in ALPHAS:
        entropies = matrix_entropy(matrices, alpha)
        assert np.allclose(
            entropies, [matrix_entropy(matrix, alpha) for matrix in matrices], atol=1e-12
        )


def test_negative_rounding_counts_as_zero():
    shares = np.array([0.5, 0.5, -1e-17])
    assert spectral_entropy(shares, 0.5) == pytest.approx(math.log(2))


def test_any_alpha_is_finite():
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    least = spectral_entropy(shares, 1e-100)
    assert least == pytest.approx(math.log(4))
    # Towards infinity it is the logarithm of the largest share.
    for alpha in (1e4, 1e100):
        assert spectral_entropy(shares, alpha) == pytest.approx(math.log(2), rel=1e-3)


def by_eigenvalues(matrix, alpha):
    values = np.linalg.eigvalsh(matrix / np.trace(matrix))
    values = values[values > 1e-14]
    if alpha == 1:
        return -(values * np.log(values)).sum()
    return math.log((values**alpha).sum()) / (1 - alpha)


def rbf(x, sigma):
    return np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=-1) / (2 * sigma**2))


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x[:, :2] + 0.5 * rng.normal(size=(40, 2))
    return x, y, y[:, :1] + rng.normal(size=(40, 1))


@pytest.mark.parametrize("alpha", [0.6, 1, 1.01, 2])
def test_quantities_are_their_definitions(three, alpha):
    x, y, z = three
    estimator = Renyi(alpha=alpha, sigma=1.3)
    a, b, c = (rbf(side, 1.3) for side in three)

    def s(matrix):
        return by_eigenvalues(matrix, alpha)

    assert estimator.entropy(x, 0).nats == pytest.approx(s(a))
    assert estimator.input_information(x, 0).nats == pytest.approx(s(a))
    assert estimator.information(x, y, 0).nats == pytest.approx(s(a) + s(b) - s(a * b))
    conditional = s(a * c) + s(b * c) - s(c) - s(a * b * c)
    assert estimator.conditional_information(x, y, z, 0).nats == pytest.approx(conditional)
    columns = [rbf(column[:, None], 1.3) for column in x.T]
    joint = columns[0] * columns[1] * columns[2]
    total = sum(s(column) for column in columns) - s(joint)
    assert estimator.total_correlation(x, 0).nats == pytest.approx(total)


@pytest.mark.parametrize("alpha", [0.6, 1, 1.01, 2])
def test_labels_have_the_gram_matrix_of_their_equality(three, alpha):
    x = three[0]
    codes = np.random.default_rng(1).permutation(np.arange(40) % 3)
    estimator = Renyi(alpha=alpha, sigma=1.3)
    a, label = rbf(x, 1.3), (codes[:, None] == codes).astype(float)

    def s(matrix):
        return by_eigenvalues(matrix, alpha)

    estimates = estimator.over_maps(x[:, None], codes)
    assert estimates.raw[0] == pytest.approx(s(a) + s(label) - s(a * label))
    assert estimates.ceiling[0] == pytest.approx(s(label))
    for code in range(3):
        rest = codes == code
        binary = (rest[:, None] == rest).astype(float)
        value = s(a) + s(binary) - s(a * binary)
        assert estimates.per_class_raw[0, code] == pytest.approx(value)
    other = np.arange(40) % 4
    second = (other[:, None] == other).astype(float)
    pair = estimator.discrete_information(codes, other, 0)
    assert pair.nats == pytest.approx(s(label) + s(second) - s(label * second))


def test_null_and_halves_are_the_estimate_on_changed_samples(three):
    x, y, _ = three
    codes = np.arange(40) % 2
    estimates = Renyi().over_maps(x[:, None], codes, 0, 60, 20)
    rng = np.random.default_rng(0)
    shuffled = [Renyi().over_maps(x[:, None], rng.permutation(codes)).raw[0] for _ in range(60)]
    assert abs(estimates.null.mean() - np.mean(shuffled)) < 4 * np.std(shuffled) / math.sqrt(30)
    assert estimates.draws.mean() == pytest.approx(estimates.raw[0])
    shared = Renyi().information_null(x, y, 60, 0)
    single = [Renyi().information(x, rng.permutation(y), 0).nats for _ in range(60)]
    assert abs(shared.mean() - np.mean(single)) < 4 * np.std(single) / math.sqrt(30)


def test_independent_is_inside_its_null_and_dependent_is_not():
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    responses = rng.normal(size=(60, 40, 2))
    responses[:, 0] += 3 * np.eye(3)[codes][:, :2]
    estimates = Renyi().over_maps(responses, codes, 0, 30)
    assert estimates.p_value[0] < 0.01
    assert 0.3 < estimates.p_value[1:].mean() < 0.7


def test_identical_is_at_the_ceiling(three):
    codes = np.repeat(np.arange(4), 10)
    far = 100.0 * np.eye(4)[codes]
    estimate = mi.mutual_information(far, codes, "renyi", relative=0.02, draws=0, null=0)
    assert estimate.nats == pytest.approx(estimate.ceiling)
    assert estimate.saturated
    information = Renyi(sigma=1e-3).information(three[0], three[0], 0)
    assert information.nats == pytest.approx(math.log(40), rel=1e-6)
    assert information.ceiling == pytest.approx(math.log(40), rel=1e-6)
    assert "Saturated: S of X is 100.0% of log n" in information.notices[0]


@pytest.mark.parametrize("group", ["plain", "tempered", "tensor"])
def test_groups_of_maps(group):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(30, 5, 4))
    estimator = Renyi(sigma=1.5, group=group)
    grams = [rbf(maps[:, index], 1.5) for index in range(5)]
    joint = {
        "plain": np.prod(grams, axis=0),
        "tempered": np.prod(grams, axis=0) ** 0.2,
        "tensor": rbf(maps.reshape(30, 20), 1.5),
    }[group]
    assert estimator.group_entropy(maps).nats == pytest.approx(by_eigenvalues(joint, 1.01))
    codes = np.arange(30) % 3
    label = (codes[:, None] == codes).astype(float)
    inside = [by_eigenvalues(m, 1.01) for m in (joint, label, joint * label)]
    value = estimator.group_information(maps, codes).nats
    assert value == pytest.approx(inside[0] + inside[1] - inside[2])
    x = rng.normal(size=(30, 6))
    other = rbf(x, 1.5)
    inside = [by_eigenvalues(m, 1.01) for m in (joint, other, joint * other)]
    value = estimator.group_information(maps, x).nats
    assert value == pytest.approx(inside[0] + inside[1] - inside[2])


def test_the_product_over_many_maps_saturates_and_the_others_do_not():
    maps = np.random.default_rng(0).normal(size=(128, 64, 9))
    entropies = [Renyi().group_entropy(maps[:, :count]) for count in (1, 4, 16, 64)]
    values = [entropy.nats for entropy in entropies]
    assert values == sorted(values)
    assert values[-1] > 0.999 * math.log(128)
    assert not entropies[0].notices
    assert entropies[-1].notices[0].startswith("Saturated: S of the maps together")
    for group in ("tempered", "tensor"):
        assert not Renyi(group=group).group_entropy(maps).notices


def test_scale_order_and_offset_do_not_matter(three):
    x, y, _ = three
    value = Renyi().information(x, y, 0).nats
    order = np.random.default_rng(0).permutation(40)
    assert Renyi().information(x[order], y[order], 0).nats == pytest.approx(value)
    assert Renyi().information(1e5 * x + 7, 1e-5 * y, 0).nats == pytest.approx(value, rel=1e-6)
    assert Renyi().information(y, x, 0).nats == pytest.approx(value)


def test_constants_know_nothing(three):
    x = three[0]
    assert Renyi().information(x, np.ones((40, 2)), 0).nats == pytest.approx(0, abs=1e-12)
    assert Renyi().entropy(np.ones((40, 2)), 0).nats == 0.0
    estimates = Renyi().over_maps(np.full((40, 1, 3), 0.7), np.arange(40) % 2, 0, 5, 5)
    assert estimates.raw[0] == 0.0
    assert (estimates.p_value == 1).all()


def test_the_information_bottleneck_of_a_chain():
    # What follows from x by adding noise knows less of it; n and width are the same.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    chain = [x + scale * rng.normal(size=(200, 2)) for scale in (0.1, 0.5, 2.0)]
    values = [Renyi().information(x, step, 0).nats for step in chain]
    assert values == sorted(values, reverse=True)


def test_conditioning_on_what_is_known_leaves_little(three):
    x, y, _ = three
    estimator = Renyi(sigma=1.0)
    free = estimator.information(x, y, 0).nats
    assert estimator.conditional_information(x, y, x, 0).nats < 0.5 * free
    assert "log n" in estimator.conditional_information(100 * x, y, 100 * y, 0).notices[0]


def test_as_people_ask_for_it(three):
    x, y, z = three
    assert mi.entropy(x, "renyi").ceiling == pytest.approx(math.log(40))
    estimate = mi.mutual_information(x, y, "renyi", null=19, draws=5)
    assert estimate.p_value == pytest.approx(0.05)
    assert estimate.low <= estimate.nats <= estimate.high
    assert mi.conditional_mutual_information(x, y, z, "renyi", null=5, draws=5).nats >= 0
    assert mi.total_correlation(x, "renyi", null=5, draws=5).nats >= 0
    estimate = mi.mutual_information(
        1000 * x, np.arange(40) % 2, "renyi", sigma=1.0, null=5, draws=0
    )
    assert "Saturated: S of X" in estimate.notices[0]
    assert estimate.parameters == {"alpha": 1.01, "sigma": 1.0, "group": "plain"}
    assert Renyi(silverman=5.0).parameters["silverman"] == 5.0


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0}, {"alpha": -1.0}, {"alpha": math.inf}, {"relative": 0}, {"group": "all"}],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(SettingsError, match=rf"renyi: {next(iter(settings))}"):
        Renyi(**settings)


def test_groups_that_cannot_be_used():
    maps = np.zeros((10, 2, 3))
    with pytest.raises(DataError, match=r"^y: expected 10 samples"):
        Renyi().group_information(maps, np.arange(9) % 2)
    with pytest.raises(DataError, match=r"^responses: "):
        Renyi().group_entropy(maps[0])


def test_groups_are_whole_estimates():
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 2
    maps = rng.normal(size=(60, 3, 2)) + codes[:, None, None]
    estimator = Renyi(alpha=2)
    entropy = estimator.group_entropy(maps)
    assert (entropy.estimator, entropy.n, entropy.d) == ("renyi", 60, 6)
    assert entropy.ceiling == pytest.approx(math.log(60))
    estimate = estimator.group_information(maps, codes, null=19, draws=10, seed=3)
    assert estimate.p_value == 0.05
    assert estimate.low <= estimate.nats <= estimate.high
    assert estimate == estimator.group_information(maps, codes, null=19, draws=10, seed=3)
    assert estimate.parameters["alpha"] == 2
    plain = estimator.group_information(maps, codes)
    assert (plain.nats, plain.interval, plain.p_value) == (estimate.nats, None, None)
    with pytest.raises(SettingsError, match="seed: expected a whole number"):
        estimator.group_information(maps, codes, seed=-1)


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    codes = np.arange(48) % 3
    responses = rng.normal(size=(48, 5, 4))
    responses[:, 0] += np.eye(3, 4)[codes]
    responses[:, 1] = responses[:, 0]
    responses[:, 4] = 0.2
    return responses, codes


@pytest.mark.parametrize("alpha", [1.01, 2])
@pytest.mark.parametrize("width", [{}, {"silverman": 3.0}, {"sigma": 1.0}])
def test_pairs_are_groups_of_two(layer, alpha, width):
    responses, codes = layer
    estimator = Renyi(alpha=alpha, **width)
    pairs = estimator.pairs(responses, codes)
    assert np.allclose(pairs.single, estimator.over_maps(responses, codes).raw, atol=1e-9)
    for first in range(5):
        for second in range(5):
            group = estimator.group_information(responses[:, [first, second]], codes).nats
            assert pairs.joint[first, second] == pytest.approx(group, abs=1e-9)


@pytest.mark.parametrize(
    ("alpha", "budget"),
    [
        (2, 16 * 48 * 6 * 7),
        (1.01, 8 * 48 * 48),
        (1.01, 8 * 48 * 48 * 2),
        (1.01, 8 * 48 * 48 * 3),
    ],
)
def test_rows_and_gram_matrices_at_a_time_are_the_same(layer, alpha, budget):
    whole = pairs(*layer, alpha, Bandwidth())
    parts = pairs(*layer, alpha, Bandwidth(), byte_budget=budget)
    assert np.allclose(whole.joint, parts.joint, atol=1e-12)
    assert np.allclose(whole.single, parts.single, atol=1e-12)


def test_a_short_repr(layer):
    assert repr(Renyi(alpha=2).pairs(*layer)).startswith("<Pairs: 5 maps; best alone: 0 (")


def test_redundancy_and_what_is_not_redundant(layer):
    pairs = Renyi(alpha=2).pairs(*layer)
    i, j = pairs.single[0], pairs.single[2]
    assert pairs.redundancy[0, 2] == pytest.approx(i + j - pairs.joint[0, 2])
    assert pairs.non_redundant[0, 2] == pytest.approx(2 * pairs.joint[0, 2] - i - j)
    # A copy is redundant, a constant adds nothing.
    assert pairs.redundancy[0, 1] > pairs.redundancy[0, 2]
    assert pairs.joint[0, 4] == pytest.approx(pairs.single[0])
    share = pairs.share(pairs.redundancy)
    assert share[0, 1] == pytest.approx(pairs.redundancy[0, 1] / pairs.joint[0, 1])
    assert pairs.joint[4, 4] == pytest.approx(0, abs=1e-12)
    assert np.isfinite(share).all()
