import numpy as np
import pytest

from oip.mi.estimators.results import LabelledResponses
from oip.mi.resampling import (
    Prepared,
    class_halves,
    halves,
    over_prepared,
    paired_draws,
    shuffled,
)


def test_halves_are_pairs_without_a_sample_in_common():
    parts = halves(31, 0, 5)
    assert len(parts) == 6
    for first, second in zip(parts[::2], parts[1::2], strict=True):
        assert sorted([*first, *second]) == list(range(31))
        assert len(first) == 15
        assert (np.diff(first) > 0).all() and (np.diff(second) > 0).all()
    assert not np.array_equal(halves(31, 0, 1)[0], halves(31, 1, 1)[0])
    assert halves(1, 0, 1)[0].tolist() == [0]


def test_shares_of_classes_vary_in_halves_as_in_new_samples():
    codes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [60, 37, 2, 1]))
    parts = class_halves(codes, 0, 400)
    counts = np.array([np.bincount(codes[part], minlength=4) for part in parts])
    assert counts.min() == 1  # none is missing
    assert (counts[:, 2:] == 1).all()
    assert (counts[::2, :3] + counts[1::2, :3] == [60, 37, 2]).all()
    # A share of .6 of 100 new samples has a deviation of .049.
    assert abs((counts[:, 0] / 50).std() - 0.049) < 0.007


@pytest.mark.parametrize(
    ("statistic", "ratio"),
    [
        (np.mean, 1.0),
        (lambda x: x.mean() ** 2 - x.var() / len(x), 2**0.5),  # of pairs of samples alone
        (lambda x: np.log(np.diff(np.sort(x))).mean() + 20 / len(x), 1.0),  # of neighbors, biased
    ],
    ids=["mean", "pairs", "neighbors"],
)
def test_pairs_of_halves_spread_as_new_samples_do(statistic, ratio):
    random = np.random.default_rng(0)
    values, variances = [], []
    for seed in range(400):
        x = random.normal(size=80)
        draws = paired_draws(statistic(x), np.array([statistic(x[h]) for h in halves(80, seed, 8)]))
        assert draws.mean() == pytest.approx(statistic(x))
        values.append(statistic(x))
        variances.append(((draws - values[-1]) ** 2).mean())
    assert np.sqrt(np.mean(variances)) / np.std(values) == pytest.approx(ratio, rel=0.12)


def test_shuffles_keep_the_counts():
    codes = np.repeat([0, 1, 2], [20, 11, 2])
    mixed = shuffled(codes, 0, 30)
    assert (np.sort(mixed, axis=1) == codes).all()
    assert len({row.tobytes() for row in mixed}) == 30


def test_draws_are_about_the_estimate():
    assert paired_draws(3.0, np.array([1.0, 2.0])).tolist() == [2.5, 3.5]
    assert paired_draws(3.0, np.empty(0)).size == 0


@pytest.mark.parametrize(("shuffles", "draws"), [(0, 0), (4, 4)])
def test_what_is_prepared_once_is_asked_for_everything(shuffles, draws):
    codes = np.repeat([0, 1, 2], 6)
    responses = np.random.default_rng(0).normal(size=(18, 3, 1))
    responses[:, 1] = 0.0
    made = []

    def prepare(x):
        made.append(x)
        x = x[:, 0]

        def information(labels, rows):
            assert len(labels) == (18 if rows is None else len(rows))
            return float((labels * (x if rows is None else x[rows])).mean())

        return Prepared(information, (f"mean {x.mean():.3f}",))

    result = over_prepared(prepare, LabelledResponses(responses, codes, 0, shuffles, draws, True))
    assert len(made) == 2  # a constant map is not prepared
    assert (result.null.shape, result.draws.shape) == ((shuffles, 3), (draws, 3))
    for index in (0, 2):
        x = responses[:, index, 0]
        assert result.raw[index] == pytest.approx((codes * x).mean())
        for code in range(3):
            assert result.per_class_raw[index, code] == pytest.approx(((codes == code) * x).mean())
        for row, mixed in enumerate(shuffled(codes, 0, shuffles)):
            assert result.null[row, index] == pytest.approx((mixed * x).mean())
        parts = class_halves(codes, 0, draws)
        drawn = np.array([(codes[part] * x[part]).mean() for part in parts])
        assert np.allclose(result.draws[:, index], paired_draws(result.raw[index], drawn))
    assert result.raw[1] == 0
    assert not result.null[:, 1].any()
    assert result.notices[1] == ()
    assert result.notices[2] == (f"mean {responses[:, 2].mean():.3f}",)
    made.clear()
    less = over_prepared(prepare, LabelledResponses(responses, codes, 0, shuffles, draws, False))
    assert np.isnan(less.per_class_raw).all()
    assert np.isnan(less.per_class).all()
    for field in ("raw", "null", "draws"):
        assert (getattr(less, field) == getattr(result, field)).all()
