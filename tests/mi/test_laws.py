"""Laws that every estimator of this list obeys, whatever its way."""

import math

import numpy as np
import pytest

from oip import mi
from oip.mi.estimators.base import able, estimator_class

LABEL = ("decoder", "predictive", "kde", "binning", "ksg", "gaussian", "vme")
MATRIX = ("rbig", "renyi", "dsmi")
PAIR = ("binning", "ksg", "gaussian", "vme")


def plain(quantity, *arrays, **settings):
    return quantity(*arrays, null=0, draws=0, **settings).nats


@pytest.fixture
def labelled():
    """Two coordinates (120, 2), of which the first knows something of a label of 3 classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(120) % 3)
    x = rng.normal(size=(120, 2))
    x[:, 0] += y
    return x, y


@pytest.fixture
def joined():
    """x (150, 2) and y (150,) that share something."""
    x = np.random.default_rng(1).normal(size=(150, 2))
    return x, x[:, 0] + np.random.default_rng(2).normal(size=150)


@pytest.mark.parametrize(
    "name", [*(n for n in LABEL if n not in ("decoder", "predictive")), *MATRIX]
)
def test_the_order_of_samples_does_not_matter_for_a_label(labelled, name):
    x, y = labelled
    order = np.random.default_rng(5).permutation(120)
    value = plain(mi.mutual_information, x, y, estimator=name)
    estimate = plain(mi.mutual_information, x[order], y[order], estimator=name)
    assert estimate == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", LABEL + MATRIX)
def test_names_of_classes_do_not_matter(labelled, name):
    x, y = labelled
    value = plain(mi.mutual_information, x, y, estimator=name)
    for label in (np.array(["b", "c", "d"])[y], y * 10 - 3, np.eye(3)[y]):
        assert plain(mi.mutual_information, x, label, estimator=name) == value
    # Folds are made class by class, so that other orders of the classes have other folds.
    if name not in ("decoder", "predictive"):
        turned = plain(mi.mutual_information, x, 2 - y, estimator=name)
        assert turned == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", LABEL + MATRIX)
def test_scale_and_offset_do_not_matter(labelled, name):
    x, y = labelled
    value = plain(mi.mutual_information, x, y, estimator=name)
    for changed in (x * 1e-5, x * 1e5, x + 100.0):
        estimate = plain(mi.mutual_information, changed, y, estimator=name)
        assert estimate == pytest.approx(value, abs=2e-4)


@pytest.mark.parametrize("name", PAIR)
def test_sides_samples_scales_and_coordinates_do_not_matter(joined, name):
    x, y = joined
    value = plain(mi.mutual_information, x, y, estimator=name)
    order = np.random.default_rng(5).permutation(150)
    for left, right in (
        (y, x),
        (x[order], y[order]),
        (x[:, ::-1], y),
        (x * [1e-4, 1e4] + 3, -7 * y),
    ):
        estimate = plain(mi.mutual_information, left, right, estimator=name)
        assert estimate == pytest.approx(value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ("kde", "vme", "renyi", "dsmi"))
def test_kernels_see_distances_alone(labelled, name):
    x, y = labelled
    value = plain(mi.mutual_information, x, y, estimator=name)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(2, 2)))[0]
    for other in (x @ turn, np.concatenate([x, np.full((120, 3), 0.4)], axis=1), -x):
        if name == "vme" and other.shape[1] > 2:
            continue  # its width knows the number of coordinates
        estimate = plain(mi.mutual_information, other, y, estimator=name)
        assert estimate == pytest.approx(value, rel=1e-6)
    # A coordinate that is independent adds to the distances: nothing only while it is small.
    little = np.random.default_rng(4).normal(size=(120, 1)) * 1e-4
    more = np.concatenate([x, little], axis=1)
    estimate = plain(mi.mutual_information, more, y, estimator=name)
    assert estimate == pytest.approx(value, abs=0.12 if name == "vme" else 1e-4)
    wide = np.concatenate([x, 3 * np.random.default_rng(4).normal(size=(120, 20))], axis=1)
    assert abs(plain(mi.mutual_information, wide, y, estimator=name) - value) > 0.05


@pytest.mark.parametrize("name", ("kde", "renyi", "dsmi"))
def test_renamed_and_reordered_samples_are_the_same_map(labelled, name):
    # Samples may be put in any order, labels be renamed by any bijection, both at once.
    x, y = labelled
    order = np.random.default_rng(6).permutation(120)
    names = np.array(["zebra", "ant", "mole"])
    whole = mi.mutual_information(x, y, name, null=0, draws=0)
    estimate = mi.mutual_information(x[order], names[y[order]], name, null=0, draws=0)
    assert estimate.nats == pytest.approx(whole.nats, rel=1e-6)
    assert estimate.ceiling == pytest.approx(whole.ceiling)


def test_samples_offsets_and_a_common_scale_do_not_matter_to_a_gram_matrix(joined):
    x, y = joined
    value = plain(mi.mutual_information, x, y, estimator="renyi")
    order = np.random.default_rng(5).permutation(150)
    for left, right in ((y, x), (x[order], y[order]), (x[:, ::-1], y), (1e4 * x + 3, -7 * y)):
        estimate = plain(mi.mutual_information, left, right, estimator="renyi")
        assert estimate == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", MATRIX)
def test_far_classes_are_at_the_ceiling(name):
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = 50.0 * np.eye(4)[y][:, :3] + rng.normal(size=(400, 3))
    estimate = mi.mutual_information(x, y, name, null=0, draws=0)
    assert 0.9 * estimate.ceiling < estimate.nats <= estimate.ceiling <= math.log(4) + 1e-12


def test_quantile_bins_do_not_see_monotone_transformations(joined, labelled):
    x, y = joined
    value = plain(mi.mutual_information, x, y, estimator="binning")
    assert plain(mi.mutual_information, np.exp(x), y**3, estimator="binning") == value
    x, y = labelled
    value = plain(mi.mutual_information, x, y, estimator="binning")
    assert plain(mi.mutual_information, np.exp(3 * x), y, estimator="binning") == value


@pytest.mark.parametrize(("name", "most"), [("ksg", 0.08), ("gaussian", 0.01), ("vme", 0.08)])
def test_an_independent_coordinate_adds_nothing(name, most):
    # Two more dimensions blur neighbours and kernels: at n = 1500 by a few hundredths of a nat.
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    y = 0.75 * x + math.sqrt(1 - 0.75**2) * rng.normal(size=1500)
    more = np.stack([x, rng.normal(size=1500)], axis=1)
    value = plain(mi.mutual_information, x, y, estimator=name)
    assert abs(plain(mi.mutual_information, more, y, estimator=name) - value) < most


@pytest.mark.parametrize("name", (*LABEL, "renyi", "dsmi"))
def test_independent_is_inside_the_null(name):
    rng = np.random.default_rng(0)
    responses = rng.normal(size=(90, 40, 2))
    result = mi.estimator(name).over_maps(
        responses, np.arange(90) % 3, shuffles=60, one_vs_rest=False
    )
    # 40 even p-values have a mean of .5 +- .046 and 4 +- 1.9 under .1.
    assert 0.3 < result.p_value.mean() < 0.75
    assert (result.p_value <= 0.1).mean() < 0.27


@pytest.mark.parametrize("name", PAIR)
def test_independent_numbers_are_inside_the_null(name):
    rng = np.random.default_rng(0)
    p = [
        mi.mutual_information(*rng.normal(size=(2, 60)), name, null=19, draws=0).p_value
        for _ in range(30)
    ]
    assert 0.35 < np.mean(p) < 0.7


@pytest.mark.parametrize(
    "name", [n for n in able("label_information") if estimator_class(n).map_draws]
)
def test_constants_and_single_classes_have_exactly_nothing(name):
    y = np.arange(40) % 2
    for x in (np.zeros(40), np.full((40, 3), 0.7)):
        estimate = mi.mutual_information(x, y, name, null=0, draws=0)
        assert estimate.nats == pytest.approx(0.0, abs=1e-12)
        assert not estimate.saturated
    noise = np.random.default_rng(0).normal(size=(40, 2))
    estimate = mi.mutual_information(noise, np.full(40, 3), name, null=9, draws=9)
    one_class = mi.estimator(name).over_maps(noise[:, None], np.full(40, 3))
    assert not one_class.saturated.any()
    assert (estimate.nats, estimate.ceiling, estimate.p_value, estimate.saturated) == (
        0.0,
        0.0,
        1.0,
        False,
    )


@pytest.mark.parametrize("name", PAIR + MATRIX)
def test_constants_tell_numbers_nothing(name):
    x = np.random.default_rng(0).normal(size=60)
    for left, right in ((x, np.zeros(60)), (np.full((60, 2), 0.1), x), (np.ones(60), np.ones(60))):
        estimate = mi.mutual_information(left, right, name, null=0, draws=0)
        assert estimate.nats == pytest.approx(0.0, abs=1e-9)
        assert not estimate.saturated


@pytest.mark.parametrize("name", ["kde", "binning", "decoder", "predictive", "vme", *MATRIX])
def test_two_and_four_samples(name):
    assert mi.mutual_information([0.0, 1.0], [1, 1], name).nats == 0.0
    estimate = mi.mutual_information([0.0, 0.1, 5.0, 5.1], [0, 0, 1, 1], name)
    assert 0 <= estimate.nats <= math.log(2) + 1e-12
    assert estimate.n == 4


def test_two_samples_of_numbers():
    assert mi.entropy([0.0, 1.0], "kde", noise=0.1).n == 2
    assert mi.entropy([0.0, 1.0], "binning").nats <= math.log(2)
    assert math.isfinite(mi.entropy([0.0, 1.0], "ksg", k=1).nats)
    assert math.isfinite(mi.entropy([0.0, 1.0], "vme").nats)
    assert math.isfinite(mi.mutual_information([0.0, 1.0], [0.0, 2.0], "ksg", k=1).nats)


@pytest.mark.parametrize("name", LABEL)
def test_what_is_fully_known_is_at_the_ceiling(name):
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = 50.0 * np.eye(4)[y][:, :3] + rng.normal(size=(400, 3))
    settings = {"by": "width", "width": 25.0} if name == "binning" else {}
    estimate = mi.mutual_information(x, y, name, **settings)
    assert estimate.nats > 0.97 * math.log(4)
    assert estimate.ceiling == pytest.approx(math.log(4))
    # Ross's estimate is signed and may pass H(Y) by its own error.
    assert estimate.nats <= math.log(4) + (0.05 if name == "ksg" else 1e-12)


@pytest.mark.parametrize("name", ["binning", "gaussian"])
def test_identical_numbers_are_at_the_ceiling(name):
    x = np.random.default_rng(0).normal(size=(200, 1))
    estimate = mi.mutual_information(x, x, name)
    assert estimate.saturated
    assert estimate.nats <= estimate.ceiling


@pytest.mark.parametrize("name", LABEL + MATRIX)
def test_a_map_that_one_image_excites_is_told_by_numbers(name, layer_like):
    # In most halves of the samples it is constant.
    responses, codes = (values[:60] for values in layer_like)
    responses = responses[:, :2].copy()
    responses[:, 0] = 0.0
    responses[17, 0, 2] = 1.0
    settings = {"permutations": 1, "class_layers": 2} if name == "rbig" else {}
    estimates = mi.estimator(name, **settings).over_maps(responses, codes, 0, 6, 12)
    for values in (
        estimates.raw,
        estimates.draws,
        estimates.null,
        estimates.per_class_raw,
        estimates.low,
        estimates.high,
    ):
        assert np.isfinite(values).all()
    # dsmi's width is that of the one distance; its p-value says what it is worth.
    assert estimates.p_value[0] > 0.05
    assert estimates.mi[0] < 0.5 * estimates.ceiling[0]


@pytest.mark.parametrize("name", LABEL + MATRIX)
def test_maps_at_once_are_maps_alone(name, layer_like):
    responses, codes = layer_like
    settings = {"permutations": 2, "class_layers": 3} if name == "rbig" else {}
    estimator = mi.estimator(name, **settings)
    whole = estimator.over_maps(responses, codes, 0, 6, 6)
    for index in (0, 3):
        alone = estimator.over_maps(responses[:, [index]], codes, 0, 6, 6)
        for field in ("raw", "ceiling", "per_class_raw"):
            assert np.allclose(getattr(whole, field)[index], getattr(alone, field)[0], atol=1e-4)
        for field in ("draws", "null"):
            assert np.allclose(
                getattr(whole, field)[:, index], getattr(alone, field)[:, 0], atol=1e-3
            )
    assert (whole.per_class <= whole.class_ceiling + 1e-12).all()
