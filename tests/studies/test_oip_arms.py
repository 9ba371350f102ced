from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oip.core.progress import silent
from oip.studies.oip_arms import (
    Sizes,
    bootstrap,
    high_power,
    holm,
    mcnemar,
    measure_nodes,
    share_found,
    steps_to,
)


@given(st.integers(0, 7), st.integers(1, 7))
def test_shares_are_those_of_all_draws(opened, starts):
    active = np.arange(7) < opened
    draws = [any(active[start] for start in draw) for draw in combinations(range(7), starts)]
    assert share_found(np.array(opened), 7, starts) == pytest.approx(np.mean(draws))


def test_mcnemar_counts_the_discordant_and_is_a_coin_toss():
    first = np.array([True] * 6 + [False] * 2 + [True] * 5)
    second = np.array([False] * 6 + [True] * 2 + [True] * 5)
    only_first, only_second, p = mcnemar(first, second)
    assert (only_first, only_second) == (6, 2)
    tails = sum(28 if k in (2, 6) else 8 if k in (1, 7) else 1 for k in (0, 1, 2, 6, 7, 8))
    assert p == pytest.approx(tails / 2**8)
    assert mcnemar(first, first)[2] == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(values):
    adjusted = np.array(holm(values))
    assert (adjusted >= np.round(values, 12)).all()
    assert (adjusted <= 1).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_intervals_hold_the_value_and_know_their_groups():
    random = np.random.default_rng(0)
    groups = [random.normal(3.0, 1.0, 200), random.normal(3.0, 1.0, 100)]
    interval = bootstrap(groups, lambda values: float(values.mean()), 0, 2000)
    assert interval.low < interval.value < interval.high
    assert interval.low < 3.0 < interval.high
    assert 0.1 < interval.high - interval.low < 0.5
    assert interval.low > 0
    spread = 2 * 1.96 / np.sqrt(300)
    assert interval.high - interval.low == pytest.approx(spread, rel=0.3)
    second = bootstrap(groups, lambda values: float(values.mean()), 0, 2000)
    assert interval == second
    # Groups far apart: rows drawn within them, so that their distance is not in the interval.
    distant = [np.zeros(50), np.full(50, 10.0)]
    assert bootstrap(distant, lambda values: float(values.mean()), 0, 200).low == 5.0
    assert np.isnan(bootstrap([], lambda values: 0.0, 0, 10).value)


def test_power_is_where_the_wave_is():
    columns = np.arange(32)
    slow = np.tile(np.sin(2 * np.pi * columns / 16), (32, 1))[..., None]
    fast = np.tile(np.sin(2 * np.pi * columns * 12 / 32), (32, 1))[..., None]
    power = high_power(np.stack([slow, fast, slow + fast, slow + 7.0, np.ones_like(slow)]))
    assert power[:4] == pytest.approx([0.0, 1.0, 0.5, 0.0], abs=1e-9)
    assert np.isnan(power[4])
    white = np.random.default_rng(0).normal(size=(200, 28, 28, 1))
    assert high_power(white).mean() == pytest.approx(1 - np.pi / 16, abs=0.02)


def test_steps_to_a_share_of_the_best_score():
    traces = np.array(
        [
            [0.0, 5.0, 9.0, 9.6, 10.0, 8.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [10.0, 1.0, 1.0, 1.0, np.nan, np.nan],
        ]
    )
    steps = steps_to(traces)
    assert steps[[0, 2]].tolist() == [3.0, 0.0]
    assert np.isnan(steps[1])


def test_images_in_the_order_of_their_classes_silence_nothing(
    small_network, small_images, monkeypatch
):
    from types import SimpleNamespace

    from oip.ascent import decomposition
    from oip.models.datasets import dataset

    grown = SimpleNamespace(share=np.ones((2, 1)), null=np.ones((2, 3)))
    monkeypatch.setattr(decomposition, "decompose", lambda *_, **__: grown)
    images, labels = small_images
    order = np.argsort(labels, kind="stable")
    test = dataset(images[order], labels[order], ("a", "b", "c", "d"), "bars")
    sizes = Sizes(decomposed=2)
    arrays = measure_nodes(small_network, test, sizes, 0, silent)
    assert set(arrays) == {"share", "null"}
