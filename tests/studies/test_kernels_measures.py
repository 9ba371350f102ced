from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from oip.mi.ranking_result import spearman
from oip.studies.kernels import alike, with_spread


def test_alike_is_the_mean_of_all_rank_correlations() -> None:
    table = np.random.default_rng(0).normal(size=(24, 6)).round(1)
    pairs = combinations(range(6), 2)
    wanted = np.mean([spearman(table[:, a], table[:, b]) for a, b in pairs])
    assert alike(table) == pytest.approx(wanted)
    ranked = np.repeat(np.arange(9.0)[:, None], 4, axis=1)
    assert alike(ranked) == pytest.approx(1.0)
    # Classes in which all kernels are equal have no order.
    assert alike(np.column_stack([ranked[:, :2], np.ones(9)])) == pytest.approx(1.0)
    assert np.isnan(alike(np.ones((9, 4))))
    several = np.random.default_rng(3).normal(size=(5, 24, 6)).round(1)
    assert alike(several) == pytest.approx([float(alike(one)) for one in several])


def test_the_spread_over_kernels_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    mean, spread = with_spread(lambda some: values[some].mean(axis=-1), 400)
    assert mean == pytest.approx(values.mean())
    assert spread == pytest.approx(values.std() / 20, rel=0.15)
    again = with_spread(lambda some: values[some].mean(axis=-1), 400)
    assert again == (mean, spread)


def test_of_what_is_unknown_the_spread_is_too() -> None:
    assert np.isnan(with_spread(lambda some: np.full(some.shape[:-1], np.nan), 5)).all()
