import json
import math
from typing import get_args

import numpy as np
import pytest

from oip.core.errors import Notice, SettingsError
from oip.mi.estimators.base import (
    NAMES,
    TABLE,
    Abilities,
    Estimator,
    LabelEstimator,
    Quantity,
    able,
    estimator,
    estimator_class,
)
from oip.mi.estimators.binning import Binning
from oip.mi.estimators.kde import Kde
from oip.mi.estimators.results import Estimate, join_blocks

NAT = 1 / math.log(2)


def test_an_estimate_is_in_bits_where_it_is_shown():
    estimate = Estimate(
        "I(X;Y)", "kde", {"noise": 0.1}, 0.5, 100, 3, ceiling=1.0, low=0.4, high=0.6, p_value=0.01
    )
    assert math.isclose(estimate.bits, 0.5 * NAT)
    assert np.allclose(estimate.interval, (0.4 * NAT, 0.6 * NAT))
    record = estimate.to_dict()
    names = "quantity estimator value unit low high p_value ceiling saturated n"
    assert set(names.split()) <= set(record)
    assert record["unit"] == "bits"
    assert math.isclose(record["ceiling"], NAT)
    json.dumps(record, allow_nan=False)
    assert "0.7213 bits" in str(estimate)


def test_saturation_begins_two_percent_under_the_ceiling():
    def at(nats):
        return Estimate("I(X;Y)", "kde", {}, nats, 10, 1, ceiling=1.0)

    assert at(0.981).saturated
    assert not at(0.979).saturated
    assert "saturated" in str(at(1.0))
    assert not Estimate("H(X)", "kde", {}, 5.0, 10, 1).saturated


def test_nothing_is_silent_and_names_are_text():
    estimate = Estimate("I(X;Y)", "<b>", {}, 0.0, 10, 1, raw=-0.1)
    assert "clipped from -0.1443 bits" in str(estimate)
    assert "<b>" not in estimate._repr_html_()
    assert estimate.interval is None
    assert estimate.to_dict()["low"] is None
    row = estimate.to_pandas().iloc[0]
    assert (row["quantity"], row["value"], row["n"]) == ("I(X;Y)", 0.0, 10)


def test_blocks_join_and_unusable_maps_are_nan(layer_like):
    responses, codes = layer_like
    estimator = Kde()
    whole = estimator.over_maps(responses, codes, 0, 10, 10)
    parts = [
        estimator.over_maps(responses[:, part], codes, 0, 10, 10) for part in ([0, 1], [2, 3, 4, 5])
    ]
    assert (join_blocks(parts).raw == whole.raw).all()
    assert (join_blocks(parts).null == whole.null).all()
    usable = np.array([True, False, True, True, True, True, True])
    wider = whole.spread(usable)
    assert np.isnan(wider.mi[1])
    assert np.isnan([wider.low[1], wider.high[1], wider.p_value[1]]).all()
    assert (wider.mi[usable] == whole.mi).all()
    assert (wider.p_value[usable] == whole.p_value).all()
    assert not wider.saturated[1]


def test_notices_stay_with_their_maps(layer_like):
    responses, codes = layer_like
    silent = np.maximum(responses, 0)
    estimator = estimator_class("ksg")()
    parts = [
        estimator.over_maps(values, codes) for values in (responses[:, 2:3], silent[:, [3, 5]])
    ]
    notices = join_blocks(parts).spread(np.array([True, False, True, True])).notices
    assert [len(notice) for notice in notices] == [0, 0, 1, 0]
    assert "ties" in notices[2][0]


def test_every_interval_holds_its_estimate(layer_like):
    responses, codes = layer_like
    # Those that are trained have no halves.
    for name in (name for name in able("label_information") if estimator_class(name).map_draws):
        result = estimator(name).over_maps(responses, codes, 0, 2, 12, one_vs_rest=False)
        assert (result.low <= result.mi).all()
        assert (result.mi <= result.high).all()
        assert (result.low >= 0).all()
        assert (result.high <= result.ceiling + 1e-12).all()


def test_single_classes_can_be_left_out(layer_like):
    responses, codes = (values[:90] for values in layer_like)
    for name in (name for name in able("label_information") if estimator_class(name).map_draws):
        whole, less = (
            estimator(name).over_maps(responses[:, 1:3], codes, one_vs_rest=one_vs_rest)
            for one_vs_rest in (True, False)
        )
        assert np.isfinite(whole.per_class).all()
        assert np.isnan(less.per_class).all()
        assert (whole.raw == less.raw).all()


def test_every_estimator_is_registered_with_its_abilities():
    for name in NAMES:
        assert estimator_class(name).name == name
        assert estimator(name) == estimator_class(name)()
        assert estimator_class(name).name_shown
        json.dumps(estimator(name).parameters, allow_nan=False)
    assert estimator("kde", noise=0.5) == Kde(noise=0.5)
    assert estimator(Kde(noise=0.5)) == Kde(noise=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_lists_the_methods_that_an_estimator_defines(name):
    methods = {"label_information": "over_maps"}
    for quantity in get_args(Quantity):
        method = methods.get(quantity, quantity)
        default = getattr(Estimator, method, None)
        defined = getattr(estimator_class(name), method, None) is not default
        assert (name in able(quantity)) == estimator(name).can(quantity) == defined


def test_a_quantity_that_an_estimator_cannot_estimate_is_refused():
    with pytest.raises(NotImplementedError, match="'decoder' cannot estimate the entropy"):
        estimator("decoder").entropy(np.zeros((4, 1)), 0)


@pytest.mark.parametrize(
    ("name", "parameters", "word"),
    [
        ("decodr", {}, "Did you mean 'decoder'"),
        ("knn", {}, "decoder or predictive or kde"),
        ("kde", {"sigma": 1}, "noise"),
        (Kde(), {"noise": 1.0}, "both"),
    ],
)
def test_unknown_names_and_parameters(name, parameters, word):
    with pytest.raises(SettingsError, match=word):
        estimator(name, **parameters)


def test_former_names_of_parameters_are_accepted_with_a_notice():
    with pytest.warns(Notice, match="'standardise' is now called 'standardize'"):
        assert estimator("ksg", standardise=False) == estimator("ksg", standardize=False)
    with pytest.warns(Notice, match="normalization"):
        assert estimator("dse", normalisation="row") == estimator("dse", normalization="row")


def test_byte_budgets_are_no_parameters_of_the_value():
    assert estimator("kde", byte_budget=1000).parameters == estimator("kde").parameters
    assert estimator("vme", byte_budget=1000).parameters == {"bandwidth": 1.0}


def test_a_new_estimator_needs_every_member():
    class Half(LabelEstimator):
        name = "half"

    with pytest.raises(TypeError):
        Half()


def test_abilities_of_an_estimator_of_the_users_are_kept():
    class Own(Binning):
        name = "kde"
        abilities = Abilities(frozenset({"entropy"}))

    assert Own.abilities.quantities == {"entropy"}
    assert Kde.abilities is TABLE["kde"].abilities


def test_estimates_of_maps_say_what_they_are(layer_like):
    responses, codes = layer_like
    for labels in (codes, np.zeros(150, int)):
        estimates = Kde(noise=0.5).over_maps(responses, labels, np.int64(7), np.int32(3), 4)
        assert (estimates.estimator, estimates.n, estimates.d, estimates.seed) == ("kde", 150, 8, 7)
        assert estimates.parameters == {"noise": 0.5, "bound": "upper"}
        assert estimates.unit == "bits"
        assert np.allclose(estimates.bits, estimates.mi * NAT)
        assert join_blocks([estimates, estimates]).parameters == estimates.parameters
        assert estimates.spread(np.array([True] * 6 + [False])).estimator == "kde"


def test_nats_are_told_beside_bits():
    record = Estimate("I(X;Y)", "kde", {}, 0.5, 10, 1).to_dict()
    assert (record["nats"], record["value"]) == (0.5, pytest.approx(0.5 * NAT))


def test_saturation_is_counted_from_what_there_is_without_information():
    estimate = Estimate("H(X)", "kde", {}, -3.05, 10, 1, ceiling=-3.0, least=-5.0)
    assert estimate.share == pytest.approx(0.975)
    assert not estimate.saturated
    assert Estimate("H(X)", "kde", {}, -3.01, 10, 1, ceiling=-3.0, least=-5.0).saturated


def test_numbers_of_numpy_are_numbers():
    for name, settings, plain in (
        ("ksg", {"k": np.int64(5)}, {"k": 5}),
        ("kde", {"relative": np.float32(0.5)}, {"relative": 0.5}),
        ("ksg", {"clip": np.bool_(True)}, {"clip": True}),
    ):
        assert estimator(name, **settings) == estimator(name, **plain)
        parameters = estimator(name, **settings).parameters
        assert json.dumps(parameters) == json.dumps(estimator(name, **plain).parameters)


def test_results_have_a_short_repr_and_a_table(layer_like):
    estimate = Estimate("I(X;Y)", "kde", {"noise": 0.1}, 0.5, 100, 3, low=0.4, high=0.6)
    assert (
        repr(estimate) == "<Estimate: I(X;Y) = 0.7213 bits (95 %: 0.5771 to 0.8656), kde, n = 100>"
    )
    responses, codes = layer_like
    estimates = Kde().over_maps(responses, codes, 0, 10, 10)
    assert repr(estimates).startswith("<MapEstimates: 6 maps by kde, n = 150; 0 (")
    assert len(repr(estimates)) < 120
    table = estimates.to_pandas()
    assert np.allclose(table["mi"], estimates.bits)
    assert len(table) == 6
    assert "saturated" in estimates._repr_html_()
