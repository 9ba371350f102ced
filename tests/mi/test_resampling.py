import numpy as np
import pytest

from oip.mi.estimators.results import LabelledResponses
from oip.mi.resampling import Prepared, centered, class_halves, halves, over_prepared, shuffled


def test_halves_are_halves_without_repetition():
    for part in halves(31, 0, 5):
        assert len(set(part.tolist())) == len(part) == 15
        assert (np.diff(part) > 0).all()
    assert not np.array_equal(halves(31, 0, 1), halves(31, 1, 1))
    assert halves(1, 0, 1)[0].tolist() == [0]


def test_shares_of_classes_vary_in_halves_as_in_new_samples():
    codes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 38, 2]))
    parts = class_halves(codes, 0, 400)
    counts = np.array([np.bincount(codes[part], minlength=3) for part in parts])
    assert counts.min() == 1  # none is missing
    assert set(counts.sum(axis=1)) == {50, 51}
    assert all((np.diff(part) > 0).all() for part in parts)
    # A share of .6 of 100 new samples has a deviation of .049.
    assert abs((counts[:, 0] / 50).std() - 0.049) < 0.007


def test_shuffles_keep_the_counts():
    codes = np.repeat([0, 1, 2], [20, 11, 2])
    mixed = shuffled(codes, 0, 30)
    assert (np.sort(mixed, axis=1) == codes).all()
    assert len({row.tobytes() for row in mixed}) == 30


def test_draws_are_moved_to_the_estimate():
    assert centered(3.0, np.array([1.0, 2.0])).tolist() == [2.5, 3.5]
    assert centered(3.0, np.empty(0)).size == 0


@pytest.mark.parametrize(("shuffles", "draws"), [(0, 0), (4, 3)])
def test_what_is_prepared_once_is_asked_for_everything(shuffles, draws):
    codes = np.repeat([0, 1, 2], 6)
    responses = np.random.default_rng(0).normal(size=(18, 3, 1))
    responses[:, 1] = 0.0
    made = []

    def prepare(x):
        made.append(x)
        x = x[:, 0]

        def information(labels, places):
            assert len(labels) == (18 if places is None else len(places))
            return float((labels * (x if places is None else x[places])).mean())

        return Prepared(information, (f"mean {x.mean():.3f}",))

    result = over_prepared(prepare, LabelledResponses(responses, codes, 0, shuffles, draws, True))
    assert len(made) == 2  # a constant map is not prepared
    assert (result.null.shape, result.draws.shape) == ((shuffles, 3), (draws, 3))
    for place in (0, 2):
        x = responses[:, place, 0]
        assert result.raw[place] == pytest.approx((codes * x).mean())
        for code in range(3):
            assert result.per_class_raw[place, code] == pytest.approx(((codes == code) * x).mean())
        for row, mixed in enumerate(shuffled(codes, 0, shuffles)):
            assert result.null[row, place] == pytest.approx((mixed * x).mean())
        parts = class_halves(codes, 0, draws)
        drawn = np.array([(codes[part] * x[part]).mean() for part in parts])
        assert np.allclose(result.draws[:, place], centered(result.raw[place], drawn))
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
