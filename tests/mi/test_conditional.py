import numpy as np
import pytest

from oip import mi
from oip.mi.information import local_orders
from oip.mi.validation import check_side


@pytest.fixture
def samples():
    """Numbers z (300,), x = z + noise, and a label of x alone or of z alone."""
    rng = np.random.default_rng(0)
    z, a, b = rng.normal(size=(3, 300))
    return z, z + 0.5 * a, z + 0.5 * b


def plain(x, y, given, estimator, **settings):
    return mi.conditional_mutual_information(
        x, y, given, estimator, null=0, draws=0, **settings
    ).nats


@pytest.mark.parametrize("name", ["ksg", "gaussian", "vme", "binning"])
def test_within_classes_it_is_the_mean_of_the_classes(samples, name):
    _, x, y = samples
    given = np.repeat([0, 1, 2], [150, 100, 50])
    wanted = sum(
        (given == c).mean()
        * mi.mutual_information(x[given == c], y[given == c], name, null=0, draws=0).nats
        for c in range(3)
    )
    assert plain(x, y, given, name) == pytest.approx(wanted, rel=1e-9)
    assert plain(x, y, np.array(["u", "v", "w"])[given], name) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", ["kde", "ksg", "decoder", "binning"])
def test_labels_on_either_side_within_classes(samples, name):
    z, x, _ = samples
    label, given = z > 0, np.arange(300) % 2
    one = mi.conditional_mutual_information(x, label, given, name, null=19)
    assert one.p_value == 0.05
    assert one.nats > 0.15
    assert one.ceiling == pytest.approx(np.log(2), abs=0.02)
    assert one.interval[0] <= one.bits <= one.interval[1]
    assert plain(label, x, given, name, discrete_x=True) == pytest.approx(one.raw or one.nats)


@pytest.mark.parametrize("name", ["kde", "gaussian", "vme", "decoder"])
def test_a_label_given_numbers_follows_the_chain(samples, name):
    z, x, y = samples
    label = (y > 0).astype(int)
    both = mi.mutual_information(np.stack([x, z], axis=1), label, name, null=0, draws=0)
    alone = mi.mutual_information(z, label, name, null=0, draws=0)
    one = mi.conditional_mutual_information(x, label, z, name, null=19, draws=20)
    wanted = (both.raw or both.nats) - (alone.raw or alone.nats)
    assert (one.raw if one.raw is not None else one.nats) == pytest.approx(wanted, abs=1e-9)
    # z explains the label but for its own noise: x adds nothing.
    assert one.nats < 0.05
    assert one.p_value > 0.05
    # Given noise in place of z, x tells what it tells.
    noise = np.random.default_rng(9).normal(size=300)
    assert plain(x, label, noise, name) > 0.15


def test_two_labels_given_a_label():
    rng = np.random.default_rng(0)
    given = rng.integers(0, 2, 2000)
    x, y = (np.where(rng.uniform(size=2000) < 0.8, given, 1 - given) for _ in range(2))
    alone = mi.mutual_information(x, y, discrete_x=True)
    assert alone.nats > 0.05
    one = mi.conditional_mutual_information(x, y, given, discrete_x=True)
    assert one.estimator == "binning"
    assert one.nats < 0.005
    assert one.p_value > 0.01


@pytest.mark.parametrize("name", ["ksg", "gaussian", "binning"])
def test_the_null_keeps_what_z_explains(samples, name):
    # A free permutation of x would call this common cause an influence.
    z, x, y = samples
    one = mi.conditional_mutual_information(x, y, z, name, null=39, draws=0)
    assert one.p_value > 0.05
    more = mi.conditional_mutual_information(x, y + 0.5 * (x - z), z, "gaussian", null=39, draws=0)
    assert more.p_value == 1 / 40


def test_orders_stay_within_classes_and_near_numbers():
    given = check_side("given", np.arange(60) % 3, None, True)
    orders = local_orders(given, 5, 0)
    assert (np.sort(orders, axis=1) == np.arange(60)).all()
    assert (given.values[orders] == given.values).all()
    assert (orders != np.arange(60)).any()
    z = np.random.default_rng(0).normal(size=(200, 1))
    orders = local_orders(check_side("given", z, None, True), 4, 0)
    assert (np.abs(z[orders] - z)[:, :, 0] <= np.sort(np.abs(z - z.T), axis=1)[:, 5]).all()
    # Nearly a permutation: few samples are taken twice.
    assert min(len(set(order.tolist())) for order in orders) > 150
    assert (orders == np.arange(200)).mean() < 0.5


def test_given_nothing_it_is_the_information(samples):
    _, x, y = samples
    same = np.zeros(300, int)
    for name in ("ksg", "gaussian", "vme", "binning"):
        wanted = mi.mutual_information(x, y, name, null=0, draws=0).nats
        assert plain(x, y, same, name) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("alpha", [1.01, 1, 2])
@pytest.mark.parametrize("given_label", [False, True])
def test_renyi_of_a_label_given_numbers_is_that_of_joint_matrices(samples, alpha, given_label):
    z, x, y = (side[:60] for side in samples)
    label = (y > 0).astype(int)
    left = (x > 0.2).astype(int) if given_label else x

    def gram(values):
        squares = (values[:, None] - values[None]) ** 2
        return np.exp(-squares / np.median(squares[np.triu_indices(60, 1)]))

    def entropy(*matrices):
        shares = np.linalg.eigvalsh(np.prod(matrices, axis=0) / 60)
        shares = shares[shares > 1e-12]
        if alpha == 1:
            return -(shares * np.log(shares)).sum()
        return np.log((shares**alpha).sum()) / (1 - alpha)

    a = 1.0 * (left[:, None] == left) if given_label else gram(x)
    b, c = 1.0 * (label[:, None] == label), gram(z)
    wanted = entropy(a, c) + entropy(b, c) - entropy(c) - entropy(a, b, c)
    one = mi.conditional_mutual_information(
        left, label, z, "renyi", alpha=alpha, null=9, draws=9, discrete_x=given_label
    )
    assert one.nats == pytest.approx(wanted, abs=1e-8)
    assert one.ceiling == pytest.approx(min(entropy(a, c), entropy(b, c)) - entropy(c), abs=1e-8)
    assert one.p_value is not None
    assert one.interval is not None


def test_what_is_told_of_the_parts_is_told_of_the_whole(samples):
    z, x, y = samples
    label = y > 0
    wide = np.random.default_rng(0).normal(size=(300, 40))
    one = mi.conditional_mutual_information(x, label, wide, "ksg", null=0, draws=0)
    assert any("41 dimensions" in told for told in one.notices)
    assert any("40 dimensions" in told for told in one.notices)
    settings = {"sigma": 0.01, "null": 0, "draws": 0}
    narrow = mi.conditional_mutual_information(x, label, z, "renyi", **settings)
    assert any("S of X and Z" in told for told in narrow.notices)
