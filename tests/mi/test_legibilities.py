import numpy as np
import pytest

import oip
from oip import mi
from oip.core.errors import DataError, ModelError, SettingsError
from oip.mi.judges import PictureScale, shared_weights
from oip.mi.legibilities import Answers, Question, judged_units


def network(seed: int, name: str = "net", bands: int = 1, **first: object):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            layers.Input((16, 16, bands)),
            layers.Rescaling(1 / 255.0),
            layers.Conv2D(6, 3, activation="relu", name="maps", **first),
            layers.Flatten(),
            layers.Dense(12, activation="relu", name="units"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name=name,
    )


@pytest.fixture(scope="module")
def model():
    return network(1)


@pytest.fixture(scope="module")
def judge():
    return network(2, "judge")


@pytest.fixture(scope="module")
def planted():
    """Images with four templates in random shares, the shares, and pictures of the templates."""
    random = np.random.default_rng(0)
    templates = np.zeros((4, 16, 16, 1))
    templates[0, 2:4] = templates[1, :, 12:14] = templates[3, 6:10, 6:10] = 1
    templates[2] = np.eye(16)[..., None]
    shares = random.random((400, 4)) ** 3
    noise = random.normal(40, 20, (400, 16, 16, 1))
    images = noise + np.einsum("nk,khwb->nhwb", shares, templates) * 200
    images = np.clip(images, 0, 255).astype(np.uint8)
    return images, shares, (30 + 200 * templates).astype(np.uint8)


def judged(model, planted, judge, order=slice(None), **more):
    images, shares, pictures = planted
    return mi.legibility(
        model, images, pictures[order], "templates", responses=shares, judge=judge, **more
    )


def test_a_template_is_as_legible_as_the_best_images(model, judge, planted):
    assert judged(model, planted, judge).share.mean() > 0.8  # of random weights
    result = judged(model, planted, "pixels")
    assert (result.share > 0.95).all()
    assert (np.abs(result.share - result.reference) < 0.06).all()
    assert (result.low < result.share).all() and (result.high >= result.share).all()
    assert (result.control < 0.6).all()
    assert result.pairs.tolist() == [4 * 200] * 4
    assert "judge pixels, 400 images" in repr(result) and "<tr>" in result._repr_html_()
    assert result.to_pandas()["share"].is_monotonic_decreasing


def test_other_pictures_than_the_units_own_say_nothing_of_it(model, judge, planted):
    random = np.random.default_rng(1)
    shuffled = (planted[0], random.permuted(planted[1], axis=0), planted[2])
    result = judged(model, shuffled, judge)
    assert (result.low < 0.5).all() and (result.high > 0.5).all()
    exchanged = judged(model, planted, judge, order=[1, 2, 3, 0])
    assert exchanged.share.mean() < 0.65


def test_pictures_in_input_units_and_several_of_a_unit(model, judge, planted):
    images, shares, pictures = planted
    whole = judged(model, planted, judge)
    floats = judged(model, (images, shares, pictures.astype(np.float32)[:, None]), judge)
    assert floats.share.tolist() == whole.share.tolist()
    black = np.zeros_like(pictures)
    both = np.stack([pictures, black], 1)  # of a flat picture nothing is learned
    assert judged(model, (images, shares, both), judge).share.tolist() == whole.share.tolist()


def test_units_without_a_question(model, judge, planted):
    images, shares, pictures = planted
    shares = shares.copy()
    shares[:, 0], shares[7, 1] = 0, np.nan
    shares[:, 2] = np.where(np.arange(400) == 5, 1.0, 0.0)
    pictures = pictures.copy()
    pictures[3] = 0
    result = judged(model, (images, shares, pictures), judge)
    assert result.reasons == ("silent", "not finite", "silent", "no OIP")
    assert np.isnan([result.share, result.reference, result.control]).all()
    assert not result.pairs.any()
    assert result.to_dict()["maps"][0]["share"] is None


def test_oips_of_maps_and_the_question_about_them(model, judge, planted):
    images = planted[0]
    oips = oip.reconstruct(model, "maps", [0, 2, 5], data=images, starts=1, steps=3, screened=4)
    result = mi.legibility(model, images, oips, "maps", judge=judge, judge_layer="units")
    assert result.maps.tolist() == [0, 2, 5] and result.layer == "maps" and result.index == 0
    assert result.judge_layer == "units"
    means = oip.responses(model, images, "maps").values.mean((2, 3))
    for row, number in enumerate(result.maps):
        question = Question.of(means[:, number])
        assert result.pairs[row] == len(question.top) * len(question.lower)
        assert set(question.top[:4]) == set(np.argsort(-means[:, number])[:4])


def test_pictures_are_of_the_maps_that_are_named_in_their_order(model, judge, planted):
    images, _, pictures = planted
    falling, rising = (
        mi.legibility(model, images, pictures[rows], "maps", maps=maps, judge=judge)
        for rows, maps in (([0, 1], [5, 2]), ([1, 0], [2, 5]))
    )
    assert falling.maps.tolist() == rising.maps.tolist() == [2, 5]
    np.testing.assert_array_equal(falling.share, rising.share)
    assert len(set(rising.share)) == 2


def test_oips_are_of_their_own_maps(model, judge, planted):
    images = planted[0]
    oips = oip.reconstruct(model, "maps", [0, 2], starts=1, steps=1, screened=1, data=images)
    shares = [
        mi.legibility(model, images, oips, "maps", maps=maps, judge=judge).share.tolist()
        for maps in (None, [2, 0], "0,2")
    ]
    assert shares[0] == shares[1] == shares[2]
    for maps in ([1, 3], "1,3", 0):
        with pytest.raises(SettingsError, match=r"maps: expected those of the OIPs, \[0, 2\]"):
            mi.legibility(model, images, oips, "maps", maps=maps, judge=judge)


def test_the_choice_is_that_of_brute_force():
    random = np.random.default_rng(0)
    responses = random.normal(size=(300, 3))
    images = random.normal(size=(300, 5)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    shown = random.normal(size=(3, 5)).astype(np.float32)
    result = judged_units(responses, images, shown, np.array([1, 2, 3]))
    for unit in range(3):
        order = np.argsort(-responses[:, unit])
        top, lower = order[:3], order[150:]
        own = images @ shown[unit]
        assert result.share[unit] == pytest.approx(
            np.mean([own[first] > own[second] for first in top for second in lower])
        )
        right = []
        for first in top:
            references = images[top[top != first]]
            right += [
                (references @ images[first]).mean() > (references @ images[second]).mean()
                for second in lower
            ]
        assert result.reference[unit] == pytest.approx(np.mean(right))
        fewer = []
        for first in top:
            references = images[top[top != first][: unit + 1]]
            fewer += [
                (references @ images[first]).mean() > (references @ images[second]).mean()
                for second in lower
            ]
        assert result.reference_same_count[unit] == pytest.approx(np.mean(fewer))
        rest = [
            np.mean([(images @ shown[n])[a] > (images @ shown[n])[b] for a in top for b in lower])
            for n in range(3)
            if n != unit
        ]
        assert result.control[unit] == pytest.approx(np.mean(rest))
    blocks = judged_units(responses, images, shown, np.array([1, 2, 3]), byte_budget=1)
    assert blocks.share.tolist() == result.share.tolist()
    assert blocks.control == pytest.approx(result.control)


def test_ties_are_half_right_and_images_tied_with_the_top_belong_to_it():
    question = Question.of(np.r_[np.full(7, 2.0), np.full(293, 0.0)])
    assert len(question.top) == 7 and len(question.lower) == 293
    assert question.answers(np.zeros(300)).share == 0.5


@pytest.mark.parametrize(("true", "deviation"), [(0.5, 2.0), (0.9, 1.0), (0.97, 2.0)])
def test_the_interval_covers_the_share_of_new_images(true, deviation):
    from scipy.stats import norm

    random = np.random.default_rng(3)
    gap = norm.ppf(true) * np.sqrt(1 + deviation**2)
    covered = widths = 0.0
    for _ in range(300):
        values = np.r_[gap + deviation * random.normal(size=10), random.normal(size=300)]
        answers = Question(np.arange(10), np.arange(10, 310)).answers(values)
        _, low, high = answers.interval()
        covered += low <= true <= high
        widths += high - low
    assert covered / 300 > 0.92
    assert widths / 300 < 0.5


def test_the_interval_of_a_judge_that_is_always_right():
    _, low, high = Answers(np.ones(10), np.ones(500)).interval()
    assert 0.9 < low < 0.97 and high == pytest.approx(1)


@pytest.mark.parametrize("kind", ["itself", "copy", "head", "half"])
def test_the_model_is_no_judge_of_itself(model, planted, kind, tmp_path):
    import keras

    other = network(5, "renamed")
    other.set_weights(model.get_weights())
    if kind == "copy":
        other.save(tmp_path / "copy.h5")
    elif kind == "head":
        inputs = keras.Input((16, 16, 1))
        other = keras.Sequential([inputs, *other.layers[:-1], keras.layers.Dense(7)])
    elif kind == "half":
        other.set_weights([values.astype(np.float16) for values in model.get_weights()])
    by = {"itself": model, "copy": tmp_path / "copy.h5"}.get(kind, other)
    with pytest.raises(ModelError, match="other weights than the judged one"):
        judged(model, planted, by)


def test_shared_weights(model, judge):
    assert shared_weights(model, judge) == 0
    assert shared_weights(model, model) == 1


def test_bad_input_is_refused(model, judge, planted):
    images, shares, pictures = planted
    with pytest.raises(DataError, match="at least 200: two at the top 1 %"):
        judged(model, (images[:199], shares[:199], pictures), judge)
    with pytest.raises(DataError, match="responses: expected \\(400, units\\)"):
        judged(model, (images, shares[:300], pictures), judge)
    with pytest.raises(DataError, match="pictures of OIPs: expected shape"):
        judged(model, (images, shares, pictures[:3]), judge)
    with pytest.raises(SettingsError, match="a model as the judge"):
        judged(model, planted, "pixels", judge_layer="units")
    with pytest.raises(ModelError, match="expected one of maps"):
        judged(model, planted, judge, judge_layer="none")
    with pytest.raises(DataError, match=r"images for judge 'four': .* received \(16, 16, 1\)"):
        judged(model, planted, network(4, "four", 4))


def test_judges_of_other_sizes_bands_and_ranges(model, planted):
    import keras
    from keras import layers

    by = keras.Sequential(
        [
            layers.Input((24, 20, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Dense(3),
            layers.GlobalAveragePooling2D(),
            layers.Softmax(),
        ],
        name="other",
    )
    assert np.isfinite(judged(model, planted, by).share).all()
    gray = network(2, "judge")
    colors = tuple(np.repeat(part, 3, -1) for part in (planted[0], planted[2]))
    in_color = judged(network(7, bands=3), (colors[0], planted[1], colors[1]), gray)
    plain = judged(model, planted, gray)
    assert in_color.share == pytest.approx(plain.share, abs=0.01)


def test_of_color_images_pixels_says_that_it_sees_little(planted):
    colors = tuple(np.repeat(part, 3, -1) for part in (planted[0], planted[2]))
    with pytest.warns(UserWarning, match="too little for photographs"):
        judged(network(7, bands=3), (colors[0], planted[1], colors[1]), "pixels")


def test_pictures_are_in_the_order_of_display():
    spec = oip.Network(network(1, bands=3)).inputs.with_statistics(preprocess="caffe")
    scale = PictureScale.of(spec, np.zeros((1, 2, 2, 3)))
    images = np.full((1, 2, 2, 3), [151.061, -116.779, -123.68])  # blue
    assert scale.pictures(images)[0, 0, 0].tolist() == [0, 0, 255]
    assert scale.images(scale.pictures(images)) == pytest.approx(images)
