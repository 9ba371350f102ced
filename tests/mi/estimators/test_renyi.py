import math

import numpy as np
import pytest

from oip import mi
from oip.core.errors import DataError, SettingsError
from oip.mi.estimators.renyi import Renyi


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
    one = Renyi(alpha=alpha, sigma=1.3)
    a, b, c = (rbf(side, 1.3) for side in three)

    def s(matrix):
        return by_eigenvalues(matrix, alpha)

    assert one.entropy(x, 0).nats == pytest.approx(s(a))
    assert one.input_information(x, 0).nats == pytest.approx(s(a))
    assert one.information(x, y, 0).nats == pytest.approx(s(a) + s(b) - s(a * b))
    conditional = s(a * c) + s(b * c) - s(c) - s(a * b * c)
    assert one.conditional_information(x, y, z, 0).nats == pytest.approx(conditional)
    columns = [rbf(column[:, None], 1.3) for column in x.T]
    joint = columns[0] * columns[1] * columns[2]
    total = sum(s(column) for column in columns) - s(joint)
    assert one.total_correlation(x, 0).nats == pytest.approx(total)


@pytest.mark.parametrize("alpha", [0.6, 1, 1.01, 2])
def test_labels_have_the_gram_matrix_of_their_equality(three, alpha):
    x = three[0]
    codes = np.random.default_rng(1).permutation(np.arange(40) % 3)
    one = Renyi(alpha=alpha, sigma=1.3)
    a, label = rbf(x, 1.3), (codes[:, None] == codes).astype(float)

    def s(matrix):
        return by_eigenvalues(matrix, alpha)

    found = one.over_maps(x[:, None], codes)
    assert found.raw[0] == pytest.approx(s(a) + s(label) - s(a * label))
    assert found.ceiling[0] == pytest.approx(s(label))
    for code in range(3):
        rest = codes == code
        binary = (rest[:, None] == rest).astype(float)
        value = s(a) + s(binary) - s(a * binary)
        assert found.per_class_raw[0, code] == pytest.approx(value)
    other = np.arange(40) % 4
    second = (other[:, None] == other).astype(float)
    pair = one.discrete_information(codes, other, 0)
    assert pair.nats == pytest.approx(s(label) + s(second) - s(label * second))


def test_null_and_halves_are_the_estimate_on_changed_samples(three):
    x, y, _ = three
    codes = np.arange(40) % 2
    found = Renyi().over_maps(x[:, None], codes, 0, 60, 20)
    rng = np.random.default_rng(0)
    again = [Renyi().over_maps(x[:, None], rng.permutation(codes)).raw[0] for _ in range(60)]
    assert abs(found.null.mean() - np.mean(again)) < 4 * np.std(again) / math.sqrt(30)
    assert found.draws.mean() == pytest.approx(found.raw[0])
    shared = Renyi().information_null(x, y, 60, 0)
    single = [Renyi().information(x, rng.permutation(y), 0).nats for _ in range(60)]
    assert abs(shared.mean() - np.mean(single)) < 4 * np.std(single) / math.sqrt(30)


def test_independent_is_inside_its_null_and_dependent_is_not():
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    responses = rng.normal(size=(60, 40, 2))
    responses[:, 0] += 3 * np.eye(3)[codes][:, :2]
    found = Renyi().over_maps(responses, codes, 0, 30)
    assert found.p_value[0] < 0.01
    assert 0.3 < found.p_value[1:].mean() < 0.7


def test_identical_is_at_the_ceiling(three):
    codes = np.repeat(np.arange(4), 10)
    far = 100.0 * np.eye(4)[codes]
    found = mi.mutual_information(far, codes, "renyi", relative=0.02, draws=0, null=0)
    assert found.nats == pytest.approx(found.ceiling)
    assert found.saturated
    one = Renyi(sigma=1e-3).information(three[0], three[0], 0)
    assert one.nats == pytest.approx(math.log(40), rel=1e-6)
    assert one.ceiling == pytest.approx(math.log(40), rel=1e-6)
    assert "Saturated: S of X is 100.0% of log n" in one.notices[0]


@pytest.mark.parametrize("group", ["plain", "tempered", "tensor"])
def test_groups_of_maps(group):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(30, 5, 4))
    one = Renyi(sigma=1.5, group=group)
    grams = [rbf(maps[:, place], 1.5) for place in range(5)]
    joint = {
        "plain": np.prod(grams, axis=0),
        "tempered": np.prod(grams, axis=0) ** 0.2,
        "tensor": rbf(maps.reshape(30, 20), 1.5),
    }[group]
    assert one.group_entropy(maps).nats == pytest.approx(by_eigenvalues(joint, 1.01))
    codes = np.arange(30) % 3
    label = (codes[:, None] == codes).astype(float)
    inside = [by_eigenvalues(m, 1.01) for m in (joint, label, joint * label)]
    value = one.group_information(maps, codes).nats
    assert value == pytest.approx(inside[0] + inside[1] - inside[2])
    x = rng.normal(size=(30, 6))
    other = rbf(x, 1.5)
    inside = [by_eigenvalues(m, 1.01) for m in (joint, other, joint * other)]
    value = one.group_information(maps, x).nats
    assert value == pytest.approx(inside[0] + inside[1] - inside[2])


def test_the_product_over_many_maps_saturates_and_the_others_do_not():
    maps = np.random.default_rng(0).normal(size=(128, 64, 9))
    found = [Renyi().group_entropy(maps[:, :count]) for count in (1, 4, 16, 64)]
    values = [one.nats for one in found]
    assert values == sorted(values)
    assert values[-1] > 0.999 * math.log(128)
    assert not found[0].notices
    assert found[-1].notices[0].startswith("Saturated: S of the maps together")
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
    found = Renyi().over_maps(np.full((40, 1, 3), 0.7), np.arange(40) % 2, 0, 5, 5)
    assert found.raw[0] == 0.0
    assert (found.p_value == 1).all()


def test_the_information_bottleneck_of_a_chain():
    # What follows from x by adding noise knows less of it; n and width are the same.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    chain = [x + scale * rng.normal(size=(200, 2)) for scale in (0.1, 0.5, 2.0)]
    values = [Renyi().information(x, step, 0).nats for step in chain]
    assert values == sorted(values, reverse=True)


def test_conditioning_on_what_is_known_leaves_little(three):
    x, y, _ = three
    one = Renyi(sigma=1.0)
    free = one.information(x, y, 0).nats
    assert one.conditional_information(x, y, x, 0).nats < 0.5 * free
    assert "log n" in one.conditional_information(100 * x, y, 100 * y, 0).notices[0]


def test_as_people_ask_for_it(three):
    x, y, z = three
    assert mi.entropy(x, "renyi").ceiling == pytest.approx(math.log(40))
    one = mi.mutual_information(x, y, "renyi", null=19, draws=5)
    assert one.p_value == pytest.approx(0.05)
    assert one.low <= one.nats <= one.high
    assert mi.conditional_mutual_information(x, y, z, "renyi", null=5, draws=5).nats >= 0
    assert mi.total_correlation(x, "renyi", null=5, draws=5).nats >= 0
    told = mi.mutual_information(1000 * x, np.arange(40) % 2, "renyi", sigma=1.0, null=5, draws=0)
    assert "Saturated: S of X" in told.notices[0]
    assert told.parameters == {"alpha": 1.01, "sigma": 1.0, "group": "plain"}
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
    one = Renyi(alpha=2)
    entropy = one.group_entropy(maps)
    assert (entropy.estimator, entropy.n, entropy.d) == ("renyi", 60, 6)
    assert entropy.ceiling == pytest.approx(math.log(60))
    found = one.group_information(maps, codes, null=19, draws=10, seed=3)
    assert found.p_value == 0.05
    assert found.low <= found.nats <= found.high
    assert found == one.group_information(maps, codes, null=19, draws=10, seed=3)
    assert found.parameters["alpha"] == 2
    plain = one.group_information(maps, codes)
    assert (plain.nats, plain.interval, plain.p_value) == (found.nats, None, None)
    with pytest.raises(SettingsError, match="seed: expected a whole number"):
        one.group_information(maps, codes, seed=-1)
