import math
import tracemalloc

import numpy as np
import pytest

from oip import mi
from oip.core.errors import SettingsError
from oip.mi.estimators.diffusion import Dse, Dsmi, diffusion_entropy, grouped


def rbf(x, sigma):
    return np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=-1) / (2 * sigma**2))


def entropy_of(values):
    p = np.abs(values) / np.abs(values).sum()
    p = p[p > 1e-14]
    return -(p * np.log(p)).sum()


@pytest.fixture
def few():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [14, 12, 10]))
    return rng.normal(size=(36, 3)) + codes[:, None], codes


@pytest.fixture
def clusters():
    rng = np.random.default_rng(0)
    codes = np.arange(150) % 3
    return 5 * np.eye(3, 4)[codes] + 0.05 * rng.normal(size=(150, 4)), codes


@pytest.mark.parametrize("time", [0.5, 1, 3])
def test_spectra_are_those_of_the_matrices_as_written(few, time):
    g = rbf(few[0], 1.2)
    k = g / np.sqrt(np.outer(g.sum(axis=1), g.sum(axis=1)))
    row = k / k.sum(axis=1, keepdims=True)
    for matrix, name in ((k, "symmetric"), (row, "row")):
        truth = entropy_of(np.abs(np.linalg.eigvals(matrix)) ** time)
        assert diffusion_entropy(g, time, name) == pytest.approx(truth, abs=1e-8)


def test_the_two_matrices_differ_and_the_first_has_the_spectrum_of_the_walk(few):
    g = rbf(few[0], 1.2)
    walk = np.linalg.eigvals(g / g.sum(axis=1, keepdims=True)).real
    assert diffusion_entropy(g, 1, "symmetric") == pytest.approx(entropy_of(walk), abs=1e-8)
    difference = diffusion_entropy(g, 1, "symmetric") - diffusion_entropy(g, 1, "row")
    assert abs(difference) > 1e-3


@pytest.mark.parametrize("normalization", ["symmetric", "row"])
@pytest.mark.parametrize("time", [20, 50])
def test_three_clusters_have_the_entropy_of_three(clusters, normalization, time):
    estimator = Dse(time=time, normalization=normalization)
    assert estimator.entropy(clusters[0], 0).nats == pytest.approx(math.log(3), abs=1e-3)
    label = Dsmi(time=time, normalization=normalization)
    assert label.over_maps(clusters[0][:, None], clusters[1]).raw[0] == pytest.approx(
        math.log(3), abs=0.01
    )


@pytest.mark.parametrize("dimensions", [3, 20, 500])
@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_the_default_width_finds_clusters_of_any_number_and_scale(count, dimensions):
    # By a fifth of the median of all distances, 10 clusters had 0 to .2 bits at t = 100.
    rng = np.random.default_rng(0)
    centers = 10 * np.arange(count)[:, None] * np.eye(1, dimensions)
    x = centers[np.arange(240) % count] + rng.normal(size=(240, dimensions)) / dimensions**0.5
    values = [Dse(time=100).entropy(scale * x, 0).nats for scale in (1, 1e-3)]
    assert values[0] == pytest.approx(math.log(count), abs=0.05)
    assert values[1] == pytest.approx(values[0], abs=1e-6)


def test_limits():
    assert Dse().entropy(np.ones((20, 3)), 0).nats == pytest.approx(0, abs=1e-12)
    strangers = 1e3 * np.arange(20.0)[:, None]
    assert Dse(sigma=1.0).entropy(strangers, 0).nats == pytest.approx(math.log(20))
    assert Dse().entropy(np.array([[0.0], [1.0]]), 0).nats <= math.log(2)


def test_one_width_goes_with_the_scale_and_the_other_does_not():
    x = np.random.default_rng(0).normal(size=(120, 5))
    reference = [Dse(reference=True).entropy(s * x, 0).nats for s in (0.01, 1, 100)]
    assert reference[0] < 0.01 < reference[1] < reference[2]
    assert reference == [Dse(sigma=10.0).entropy(s * x, 0).nats for s in (0.01, 1, 100)]
    free = [Dse().entropy(s * x, 0).nats for s in (0.01, 1, 100)]
    assert free == pytest.approx([free[1]] * 3)


def test_information_is_the_entropy_less_that_of_the_classes(few):
    x, codes = few
    g = rbf(x, 1.2)

    def s(rows):
        return diffusion_entropy(g[np.ix_(rows, rows)], 1, "symmetric")

    inside = [np.flatnonzero(codes == code) for code in range(3)]
    truth = s(np.arange(36)) - sum(len(rows) / 36 * s(rows) for rows in inside)
    estimates = Dsmi(sigma=1.2).over_maps(x[:, None], codes, 0, 40, 20)
    assert estimates.raw[0] == pytest.approx(truth)
    rest = codes != 1
    truth = s(np.arange(36)) - (~rest).mean() * s(inside[1])
    truth -= rest.mean() * s(np.flatnonzero(rest))
    assert estimates.per_class_raw[0, 1] == pytest.approx(truth)
    rng = np.random.default_rng(1)
    shuffled = [
        Dsmi(sigma=1.2).over_maps(x[:, None], rng.permutation(codes)).raw[0] for _ in range(40)
    ]
    assert abs(estimates.null.mean() - np.mean(shuffled)) < 4 * np.std(shuffled) / math.sqrt(20)


def test_the_reference_takes_out_what_any_label_has():
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=(200, 1, 10)), np.arange(200) % 10
    plain = Dsmi().over_maps(x, codes, 0, 15)
    same = Dsmi(reference=True, sigma=3.0).over_maps(x, codes, 0, 15)
    assert plain.raw[0] > 0.5
    assert abs(same.raw[0]) < 0.1
    assert plain.null.min() < plain.raw[0] < plain.null.max() + 0.05
    assert Dsmi(reference=True).parameters["sigma"] == 10.0
    assert Dsmi(reference=True, sigma=3.0).parameters["sigma"] == 3.0
    centres = 4 * rng.normal(size=(10, 1, 10))
    estimates = Dsmi(reference=True, sigma=3.0).over_maps(x + centres[codes], codes, 0, 15)
    assert estimates.raw[0] > 0.5
    assert estimates.raw[0] > estimates.null.max()


def test_p_values_of_nothing_are_even():
    rng = np.random.default_rng(0)
    p = []
    for classes in (2, 3):
        x, codes = rng.normal(size=(30, 150, 3)), np.arange(30) % classes
        p.append(Dsmi().over_maps(x, codes, 0, 19, 0, one_vs_rest=False).p_value)
    # Of 300 maps a share of .05 is known to .013, that of .5 to .03; maps of two layers share
    # their shuffles.
    p = np.concatenate(p)
    assert (p <= 0.05).mean() < 0.095
    assert 0.38 < (p <= 0.5).mean() < 0.62


@pytest.mark.parametrize("numbers", [False, True])
def test_intervals_have_the_width_of_new_samples_of_a_label_and_of_numbers(numbers):
    values, widths, inside = [], [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        x, b = rng.normal(size=(2, 60))
        y = 0.75 * x + math.sqrt(1 - 0.75**2) * b
        estimate = mi.mutual_information(x, y if numbers else y > 0, "dsmi", null=0)
        values.append(estimate.nats)
        inside.append((estimate.low, estimate.high))
        widths.append(estimate.high - estimate.low)
    # 2 x 2.23 deviations by Student's t; that of 80 values is known to 8 %. Were draws those of an
    # error that falls as 1 / sqrt(n), a sixth less.
    assert 0.8 < np.mean(widths) / (2 * 2.23 * np.std(values)) < 1.3
    low, high = np.transpose(inside)
    assert ((low <= np.mean(values)) & (np.mean(values) <= high)).mean() >= 0.92


def test_blocks_of_maps_order_and_scale_do_not_matter(layer_like):
    responses, codes = layer_like
    whole = Dsmi().over_maps(responses, codes, 0, 3, 3)
    part = Dsmi().over_maps(100 * responses[:, 2:4], codes, 0, 3, 3)
    for name in ("raw", "per_class_raw"):
        assert np.allclose(getattr(whole, name)[2:4], getattr(part, name), rtol=1e-5)
    assert np.allclose(whole.draws[:, 2:4], part.draws, rtol=1e-5)
    assert (whole.raw[5], whole.mi[5]) == (0.0, 0.0)
    order = np.random.default_rng(0).permutation(len(codes))
    assert np.allclose(Dsmi().over_maps(responses[order], codes[order]).raw, whole.raw)


def test_numbers_are_cut_into_equal_bins():
    y = np.array([0.0, 0.05, 0.11, 0.95, 1.0, 0.5])[:, None]
    assert grouped(y, 10, 0).tolist() == [0, 0, 1, 3, 3, 2]
    tenths = np.round(np.arange(11) / 10, 1)[:, None]
    assert sorted(np.bincount(grouped(tenths, 10, 0))) == [1] * 9 + [2]
    assert not grouped(np.ones((6, 2)), 10, 0).any()


def test_vectors_are_clustered(clusters):
    x, codes = clusters
    groups = grouped(x, 3, 0)
    assert len(set(zip(groups, codes, strict=True))) == 3
    value = Dsmi(groups=3).information(x, x, 0)
    assert value.nats == pytest.approx(Dsmi().over_maps(x[:, None], codes).raw[0])
    null = Dsmi(groups=3).information_null(x, x, 5, 0)
    assert value.nats > null.max()
    assert Dsmi().information(x, np.zeros((150, 2)), 0).nats == 0.0
    assert (Dsmi().information_null(x, np.zeros((150, 2)), 4, 0) == 0).all()


def test_of_a_large_y_that_was_clustered_nothing_is_kept():
    y = np.random.default_rng(0).normal(size=(40, 20_000))
    grouped(y, 2, 0)
    tracemalloc.start()
    first = grouped(y, 3, 0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < y.nbytes / 10
    assert np.array_equal(grouped(y, 3, 0), first)


def test_clusters_of_the_reference_are_those_of_the_published_code():
    from sklearn.cluster import SpectralClustering

    x = np.random.default_rng(0).normal(size=(120, 6))
    rule = SpectralClustering(
        10, affinity="nearest_neighbors", assign_labels="cluster_qr", random_state=0
    )
    truth = rule.fit_predict(x)
    reference, own = grouped(x, 10, 0, reference=True), grouped(x, 10, 0)
    pairs = truth[:, None] == truth
    assert np.array_equal(reference[:, None] == reference, pairs)
    assert not np.array_equal(own[:, None] == own, pairs)
    assert len(np.unique(grouped(np.eye(3), 10, 0, reference=True))) <= 3


def test_as_people_ask_for_it(few):
    x, codes = few
    estimate = mi.mutual_information(x, codes, "dsmi", null=9, draws=5)
    assert 0 <= estimate.nats <= estimate.ceiling
    assert estimate.low <= estimate.nats <= estimate.high
    assert mi.mutual_information(x, x[:, :1] ** 2, "dsmi", null=9, draws=3).p_value <= 1
    assert mi.entropy(x, "dse", draws=3).ceiling == pytest.approx(math.log(36))
    assert mi.input_information(x, "dse").nats == mi.entropy(x, "dse", draws=0).nats
    wide = np.random.default_rng(0).normal(size=(60, 300))
    estimate = mi.mutual_information(wide, np.arange(60) % 3, "dsmi", relative=0.1, null=0, draws=0)
    assert "Saturated: S of X" in estimate.notices[0]


@pytest.mark.parametrize("kind", [Dse, Dsmi])
@pytest.mark.parametrize(
    "settings",
    [{"time": 0}, {"sigma": -1.0}, {"relative": 0}, {"normalization": "none"}, {"reference": 1}],
)
def test_settings_that_make_no_sense(kind, settings):
    with pytest.raises(SettingsError, match=rf"{kind.name}: {next(iter(settings))}"):
        kind(**settings)


def test_groups_that_make_no_sense():
    with pytest.raises(SettingsError, match=r"dsmi: groups.*2 or more"):
        Dsmi(groups=1)


def test_any_time_is_finite():
    x = np.random.default_rng(0).normal(size=(40, 2))
    for normalization in ("symmetric", "row"):
        late = mi.entropy(x, "dse", time=1e100, normalization=normalization, draws=0)
        assert late.nats == pytest.approx(0.0, abs=1e-12)
        early = mi.entropy(x, "dse", time=1e-100, normalization=normalization, draws=0)
        assert 1 < early.nats <= math.log(40)
