import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oip.mi.estimators.gram import Bandwidth, gram, label_gram
from oip.mi.estimators.renyi_entropy import (
    class_entropy,
    hadamard,
    matrix_entropy,
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
        single = [matrix_entropy(one, alpha) for one in matrices]
        assert max(single) - 1e-8 <= matrix_entropy(hadamard(matrices), alpha)


@given(grams, grams, grams)
@settings(max_examples=80, deadline=None)
def test_joint_entropy_is_no_larger_than_the_sum(a, b, c):
    # Inequality (5): a theorem at alpha 1 (von Neumann's entropy is subadditive), and at the usual
    # 1.01 up to what .01 can change. See the next test for others.
    for matrices in ((a, b), (a, b, c), (a, a)):
        joint = hadamard(matrices)
        for alpha, slack in ((1, 1e-8), (1.01, 0.01)):
            most = sum(matrix_entropy(one, alpha) for one in matrices)
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
    assert renyi_label_entropy(codes, alpha) == pytest.approx(
        matrix_entropy(label_gram(codes), alpha), abs=1e-8
    )


def test_many_matrices_at_once():
    many = np.stack(
        [gram(np.random.default_rng(s).normal(size=(15, 2)), Bandwidth()) for s in range(4)]
    )
    for alpha in ALPHAS:
        found = matrix_entropy(many, alpha)
        assert np.allclose(found, [matrix_entropy(one, alpha) for one in many], atol=1e-12)


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
