"""What no estimator can use: an error names the argument, the expected and the received."""

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.base import able

GOOD = np.random.default_rng(0).normal(size=(40, 2))
LABEL = np.arange(40) % 2
RAGGED = [[1.0], [1.0, 2.0]] * 20
NO_NUMBERS = [
    (np.full((40, 2), np.nan), "NaN or infinity"),
    (np.full((40, 2), np.inf), "NaN or infinity"),
    (np.zeros((0, 2)), "at least 2 samples; received 0"),
    (np.zeros((1, 2)), "at least 2 samples; received 1"),
    (np.zeros((40, 0)), r"d 1 or more; received \(40, 0\)"),
    (np.zeros((40, 2, 2)), r"shape \(n,\) or \(n, d\)"),
    (np.array(3.0), "shape"),
    (np.zeros((40, 2), complex), "dtype complex128"),
    (np.array([None] * 40), "dtype object"),
    (np.array([[1, "a"]] * 40, object), "dtype object"),
    (np.array([["a", "b"]] * 40), "dtype <U1"),
    (RAGGED, "different lengths"),
    (GOOD * 1e200, "numbers up to 1e.100; received"),
    (GOOD * 1e-200, "vary by 1e-100 or more"),
    (np.ma.masked_greater(GOOD, 1.0), "masked values"),
]


@pytest.mark.parametrize(("x", "word"), NO_NUMBERS)
def test_numbers_that_cannot_be_used(x, word):
    for name in able("entropy"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.entropy(x, name, discrete=False)
    for name in able("total_correlation"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.total_correlation(x, name)
    for name in able("input_information"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.input_information(x, name)
    for name in able("divergence"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.kl_divergence(x, GOOD, name)
        with pytest.raises(DataError, match=f"^y: .*{word}"):
            mi.kl_divergence(GOOD, x, name)
    for name in able("information"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.mutual_information(x, GOOD, name, discrete_x=False)
        with pytest.raises(DataError, match=f"^y: .*{word}"):
            mi.mutual_information(GOOD, x, name, discrete=False)
    for name in able("label_information"):
        with pytest.raises(DataError, match=f"^x: .*{word}"):
            mi.mutual_information(x, LABEL, name, discrete_x=False)
    for name in able("conditional_information"):
        with pytest.raises(DataError, match=f"^given: .*{word}"):
            mi.conditional_mutual_information(GOOD, GOOD, x, name, discrete_given=False)


@pytest.mark.parametrize(
    ("label", "word"),
    [
        (None, "none"),
        (np.where(LABEL == 1, np.nan, 1.0), "NaN"),
        (np.zeros((40, 5, 5), int), "shape"),
        ((np.eye(4) + np.roll(np.eye(4), 1, 1))[np.arange(40) % 4], "several labels"),
        (np.full((40, 3), 0.3), "not one-hot"),
        ([[1], [1, 2]] * 20, "different lengths"),
        ([None, "a"] * 20, "NoneType"),
        (LABEL + 1j, "complex"),
        (np.ma.masked_equal(LABEL, 1), "masked values"),
        (LABEL[:-1], "40 samples, as many as the others have; received 39"),
        (np.zeros(0, int), "2 samples"),
        (np.where(np.arange(40) == 7, 5, LABEL), "1 seen once .*sample 7"),
        (np.arange(40), "40 seen once"),
    ],
)
def test_labels_that_cannot_be_used(label, word):
    for name in able("label_information"):
        with pytest.raises(DataError, match=f"^y: .*{word}"):
            mi.mutual_information(GOOD, label, name, discrete=True)


@pytest.mark.parametrize(
    ("responses", "word"),
    [
        (GOOD, r"shape \(n, maps, d\)"),
        (GOOD[:, None, :0], "shape"),
        (GOOD[:, None, :] * np.nan, "NaN"),
        (np.zeros((1, 3, 2)), "at least 2"),
        (np.array([[["a"]]] * 40), "dtype"),
        (RAGGED, "different lengths"),
        (GOOD[:, None] * 1e200, "up to"),
    ],
)
def test_responses_that_cannot_be_used(responses, word):
    for name in able("label_information"):
        with pytest.raises(DataError, match=f"^responses: .*{word}"):
            mi.estimator(name).over_maps(responses, LABEL)


def test_labels_of_responses_that_cannot_be_used():
    for name in able("label_information"):
        with pytest.raises(DataError, match=r"^labels: .*39"):
            mi.estimator(name).over_maps(GOOD[:, None], LABEL[:-1])
        with pytest.raises(DataError, match=r"^labels: .*floats"):
            mi.estimator(name).over_maps(GOOD[:, None], LABEL / 2)
        with pytest.raises(DataError, match=r"^labels: .*once"):
            mi.estimator(name).over_maps(GOOD[:, None], np.arange(40))


def test_lengths_and_columns_that_differ():
    with pytest.raises(DataError, match=r"^y: expected 40 samples.*received 39"):
        mi.mutual_information(GOOD, GOOD[:-1])
    with pytest.raises(DataError, match=r"^given: expected 40 samples.*received 20"):
        mi.conditional_mutual_information(GOOD, GOOD, GOOD[:20])
    with pytest.raises(DataError, match=r"^y: expected 2 columns.*received 1"):
        mi.kl_divergence(GOOD, GOOD[:, :1])
    with pytest.raises(DataError, match=r"^x: expected two columns or more"):
        mi.total_correlation(GOOD[:, 0])


def test_classes_that_are_too_small_within_the_given_ones():
    label = np.where(np.arange(40) < 38, LABEL, [*[0] * 38, 1, 0])
    given = (np.arange(40) >= 38).astype(int)
    with pytest.raises(DataError, match=r"y within the classes of given.*once"):
        mi.conditional_mutual_information(GOOD, label, given)
    with pytest.raises(DataError, match=r"^given: expected 4 samples a class.*received 2"):
        mi.conditional_mutual_information(GOOD, GOOD, given, "ksg")


def test_neighbours_that_are_not_there():
    for call in (
        lambda estimator: mi.entropy(GOOD, estimator),
        lambda estimator: mi.total_correlation(GOOD, estimator),
        lambda estimator: mi.mutual_information(GOOD, GOOD, estimator),
        lambda estimator: mi.mutual_information(GOOD, LABEL, estimator),
        lambda estimator: mi.kl_divergence(GOOD, GOOD, estimator),
        lambda estimator: mi.conditional_mutual_information(GOOD, GOOD, GOOD, estimator),
    ):
        with pytest.raises(SettingsError, match=r"ksg: k: expected under .* 40; received 40"):
            call(mi.estimator("ksg", k=40))


def test_quantities_that_an_estimator_does_not_have_name_those_that_do():
    with pytest.raises(
        SettingsError, match=r"total correlation: expected .*ksg.*received 'decoder'"
    ):
        mi.total_correlation(GOOD, "decoder")
    with pytest.raises(SettingsError, match=r"KL divergence: expected .*gaussian.*received 'kde'"):
        mi.kl_divergence(GOOD, GOOD, "kde")
    with pytest.raises(SettingsError, match=r"input: expected kde.*received 'ksg'"):
        mi.input_information(GOOD, "ksg")
    with pytest.raises(SettingsError, match=r"two labels: expected .*binning.*received 'ksg'"):
        mi.mutual_information(LABEL, LABEL, "ksg", discrete_x=True)
    with pytest.raises(SettingsError, match=r"of numbers: expected .*ksg.*received 'decoder'"):
        mi.conditional_mutual_information(GOOD, GOOD, GOOD, "decoder")
    with pytest.raises(SettingsError, match="discrete: expected True, False or None"):
        mi.mutual_information(GOOD, LABEL, discrete="yes")


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("ksg", {"k": 0}, "1 or more; received 0"),
        ("ksg", {"k": 2.5}, "whole number.*2.5"),
        ("ksg", {"algorithm": 3}, "1 or 2"),
        ("ksg", {"standardize": 1}, "True or False"),
        ("ksg", {"clip": "no"}, "True or False"),
        ("ksg", {"components": 0}, "components"),
        ("binning", {"by": "hand"}, "quantile or width or range"),
        ("binning", {"count": 1}, "2 or more"),
        ("binning", {"by": "width", "count": 3}, "none by width"),
        ("binning", {"width": 0}, "width"),
        ("binning", {"width": np.nan}, "width"),
        ("binning", {"low": 1.0, "high": 1.0}, "above 1"),
        ("binning", {"corrected": None}, "True or False"),
        ("gaussian", {"components": 0}, "components"),
        *(
            ("renyi", {"alpha": alpha}, "alpha: .*above 0; received")
            for alpha in (0, -1, np.nan, "1")
        ),
        ("rbig", {"components": 2.5}, "whole number"),
        ("rbig", {"stopping": "soon"}, "fixed or paper"),
        ("dse", {"time": 0}, "time"),
        ("dsmi", {"groups": 1}, "2 or more"),
        ("kde", {"noise": 0}, "noise"),
        ("decoder", {"components": 0}, "components"),
        ("predictive", {"components": 0}, "components"),
        ("infonce", {"batch": 1}, "2 or more"),
        ("vme", {"bandwidth": 0}, "bandwidth"),
        ("vme", {"bandwidth": "wide"}, "'wide'"),
        ("vme", {"bandwidth": True}, "bandwidth"),
    ],
)
def test_settings_that_make_no_sense(name, settings, word):
    with pytest.raises(SettingsError, match=f"^{name}: .*{word}"):
        mi.estimator(name, **settings)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True, [1], np.array([1, 2])])
def test_seeds_that_make_no_sense(seed):
    for call in (
        lambda: mi.mutual_information(GOOD, LABEL, seed=seed),
        lambda: mi.conditional_mutual_information(GOOD, LABEL, LABEL, seed=seed),
        lambda: mi.total_correlation(GOOD, seed=seed),
        lambda: mi.kl_divergence(GOOD, GOOD, seed=seed),
        lambda: mi.entropy(GOOD, seed=seed),
        lambda: mi.negentropy(GOOD, seed=seed),
        lambda: mi.input_information(GOOD, seed=seed),
        lambda: mi.estimator("kde").over_maps(GOOD[:, None], LABEL, seed=seed),
    ):
        with pytest.raises(SettingsError, match=r"^seed: expected a whole number, 0 or more"):
            call()


@pytest.mark.parametrize("count", [-1, 1.5, "a", 10**12])
def test_numbers_of_shuffles_and_draws_that_make_no_sense(count):
    over_maps = mi.estimator("kde").over_maps
    expected = "expected (at most .* for|a whole number, 0 or more; received)"
    for name in ("null", "draws"):
        with pytest.raises(SettingsError, match=f"^{name}: {expected}"):
            mi.mutual_information(GOOD, LABEL, **{name: count})
        with pytest.raises(SettingsError, match=f"^{name}: {expected}"):
            mi.kl_divergence(GOOD, GOOD + 1, **{name: count})
    for name in ("shuffles", "draws"):
        for label in (LABEL, np.zeros(40, int)):
            with pytest.raises(SettingsError, match=f"^{name}: {expected}"):
                over_maps(GOOD[:, None], label, **{name: count})


@pytest.mark.parametrize("name", [["kde"], 5, {"kde": 1}, np.array(["kde", "ksg"])])
def test_estimators_that_are_none(name):
    with pytest.raises(SettingsError, match=r"^estimator: expected decoder or"):
        mi.entropy(GOOD, name)
    with pytest.raises(SettingsError, match=r"^binning: by: expected"):
        mi.entropy(GOOD, "binning", by=["width"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("kde", {"noise": 1e-100}),
        ("kde", {"noise": 1e100}),
        ("renyi", {"sigma": 1e-100}),
        ("renyi", {"sigma": 1e100}),
        ("renyi", {"alpha": 1e100}),
        ("renyi", {"alpha": 1e-100}),
        ("dse", {"sigma": 1e-100}),
        ("dse", {"sigma": 1e100}),
        ("vme", {"bandwidth": 1e-100}),
        ("vme", {"bandwidth": 1e100}),
    ],
)
def test_extreme_settings_give_numbers(name, settings):
    for x in (GOOD, GOOD * 1e90, GOOD * 1e-90):
        estimate = mi.entropy(x, name, draws=3, **settings)
        assert np.isfinite([estimate.nats, estimate.low, estimate.high]).all()
        assert estimate.saturated in (True, False)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("kde", {"noise": 1e308}),
        ("kde", {"noise": 1e-320}),
        ("kde", {"noise": 10**400}),
        ("renyi", {"sigma": 1e-200}),
        ("renyi", {"alpha": 1e308}),
        ("dse", {"sigma": 1e200}),
        ("vme", {"bandwidth": 1e-200}),
        ("binning", {"by": "width", "width": 1e-310}),
        ("binning", {"by": "range", "low": -1e308, "high": 1e308}),
    ],
)
def test_settings_that_overflow(name, settings):
    with pytest.raises(SettingsError, match=r"from 1e-100 to 1e\+100"):
        mi.estimator(name, **settings)
