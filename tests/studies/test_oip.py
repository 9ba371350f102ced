import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from oip.core.errors import DataError
from oip.core.output_formats import NumbersFile
from oip.core.progress import silent
from oip.models.datasets import dataset
from oip.studies import oip, oip_arms, oip_plots
from oip.studies.data import Images
from oip.studies.findings import AGREEMENTS, Finding, Value, judged, place_among_texts, text_file
from oip.studies.oip_arms import QUICK, arms, measure_layer, noises
from oip.studies.report import Folder, StudySettings

TINY = replace(
    QUICK,
    nets=1,
    seeds=2,
    images=400,
    epochs=1,
    screened=16,
    starts=2,
    steps=6,
    maps=5,
    judged=40,
    draws=50,
    decomposed=1,
)


@pytest.fixture
def network(small_model):
    from oip.network.network import Network

    return Network(small_model)


def test_names_of_classes_leave_room_for_the_titles_of_confusions(tmp_path, monkeypatch):
    drawings = []
    monkeypatch.setattr(
        Folder, "figure", lambda self, name, drawing, *more: drawings.append(drawing)
    )
    classes = ("T-shirt/top", "a long name of a class", "Ankle boot")
    test = dataset(np.zeros((30, 4, 4, 1), np.uint8), np.arange(30) % 3, classes, "made up")
    arrays = {kind: np.zeros((1, 30), int) for kind in ("CNN", "MLP", "clusters and MLP")}
    folder = Folder(tmp_path, oip.NAME, StudySettings())
    oip_plots.draw_confusions(folder, "0", Images("made up", test, test), arrays)
    (drawing,) = drawings
    drawing.draw_without_rendering()
    for panel in drawing.axes[:3]:
        assert panel.title.get_window_extent().y1 < drawing.bbox.y1


def test_patterns_are_compared_where_the_response_alone_is_climbed(monkeypatch):
    # As in the articles; the arms with the pre-activation are this project's own.
    used = set()

    def per_map(self, layer, noise, objective, measure):
        used.add((noise, objective))
        return [np.linspace(0.6, 0.7, 20) if measure == "stability" else np.linspace(0.1, 0.2, 20)]

    monkeypatch.setattr(oip_arms.Measured, "per_map", per_map)
    layer = SimpleNamespace(name="last", index=0)
    result = oip_arms.Measured("made up", (layer,), {}, [], 28, TINY, 0)
    values, gap = oip.stable(result)
    assert used == {("equal", "post")} and gap.low > 0.4
    assert oip.steady([values["last"][0]], [gap]) == "yes"


def test_rows_are_in_the_order_of_the_articles():
    names = "four_and_nine", "pretrained", "growth", "stable"
    texts = text_file("findings")[oip.NAME]
    rows = [Finding(f"mnist: {texts[name]['paper']}") for name in names] + [Finding("No data.")]
    in_order = sorted(rows, key=lambda row: place_among_texts(oip.NAME, row))
    assert in_order == [rows[index] for index in (3, 2, 1, 0, 4)]
    assert all("{" not in row["paper"] for row in texts.values())


def test_the_arms_are_those_of_the_study():
    assert noises(28) == ("white", "single:14", "single:7", "single:3", "equal", "tilt:1")
    every = arms(28)
    assert len(every) == len(set(every)) == 11
    assert {objective for noise, objective in every if noise.startswith("single")} == {"post"}


def test_counts_are_those_of_the_network(network, small_images):
    from oip.ascent.noise import Noise

    layer = network.find("second")
    measured = measure_layer(network, layer, small_images[0], TINY, 3, True, silent)
    images, _ = Noise((16, 16, 1), "equal").images(4, layer.index, np.arange(16))
    first = network.model.layers[1]((images * 80 + 40 - 40) / 80)
    second = network.model.get_layer("second")(network.model.get_layer("pool")(first)).numpy()
    active = second.mean((1, 2)) > 0
    row = noises(16).index("equal")
    assert measured["opened"][row, 1].tolist() == active.sum(0).tolist()
    own = np.arange(70) % 16
    assert measured["first"][row, 1].tolist() == active[own, np.arange(70)].tolist()
    shape = (len(arms(16)), 2, 5, 2)
    assert measured["scores"].shape == measured["steps"].shape == measured["power"].shape == shape
    assert measured["excitable"][measured["maps"]].all()
    lives = (measured["scores"] > 0).mean((1, 2, 3))
    assert lives[arms(16).index(("equal", "warm"))] >= lives[arms(16).index(("white", "post"))]
    power = np.nanmean(measured["power"], axis=(1, 2, 3))
    for noise in ("white", "equal"):  # less of the small scales where the image is smoothed
        assert power[arms(16).index((noise, "smoothed"))] < power[arms(16).index((noise, "post"))]


def test_noise_is_judged_with_the_response_alone_climbed(network):
    layer = network.find("second")
    scores = np.ones((len(arms(16)), 2, 5, 2))
    scores[arms(16).index(("white", "post"))] = 0.0
    none = np.zeros(0)
    starts = oip_arms.LayerStarts(none, none, none, np.arange(5), scores)
    result = oip_arms.Measured("digits", (layer,), {layer.index: [starts]}, [0.9], 16, TINY, 0)
    values, decisive = oip.warm_up(result)
    assert decisive.low == 1.0
    assert values["second"][1].text() == "white warm 100.0 (100.0 to 100.0)"


def test_features_of_two_trainings_are_matched(network, small_images, tmp_path):
    from oip.models.datasets import from_arrays

    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1)).astype(np.float32)
    test = from_arrays(images, np.arange(60) % 4)
    arrays = oip_arms.match_networks([network, network], test, TINY, 0)
    assert {name: len(rows) for name, rows in arrays.items()} == {
        **{"first": 1, "second": 1, "first untrained": 2, "second untrained": 2}
    }
    own, untrained = arrays["second"].mean(), arrays["second untrained"].mean()
    assert own > 0.7 > untrained
    folder = Folder(tmp_path / "out", "oip", StudySettings())
    result = oip_arms.Measured("digits", (), {}, [0.9, 0.9], 16, TINY, 0)
    oip.add_matches(folder, [(result, arrays)])
    (row,) = folder.findings
    assert row.verdict in ("yes", "partly")
    assert row.values


@pytest.fixture
def pair(monkeypatch):
    """Two small networks of other input sizes with the layers of the pretrained ones."""
    import keras
    from keras import layers

    from oip.network.network import Network

    def network(side):
        keras.utils.set_random_seed(3)
        stack = [layers.Input((side, side, 3)), layers.Rescaling(1 / 255)]
        for number, name in enumerate(oip_arms.PRETRAINED_LAYERS):
            conv = layers.Conv2D(4, 3, 1 + number % 2, "same", activation="relu", name=name)
            stack.append(conv)
        return Network(keras.Sequential(stack))

    monkeypatch.setattr(oip_arms, "pretrained_networks", lambda: [network(24), network(32)])


def photographs_in(folder, count):
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((40, 36)).save(folder / f"{number:03}.png")
    return folder


def test_two_pretrained_networks_are_matched(pair, tmp_path):
    source = photographs_in(tmp_path / "photographs", 40)
    folder = Folder(tmp_path / "out", "oip", StudySettings(data=(str(source),)))
    oip.add_pretrained(folder, 30)
    (row,) = folder.findings
    assert row.verdict in ("yes", "partly") and row.n == "30 photographs"
    assert set(row.values) == set(oip_arms.PRETRAINED_LAYERS)
    assert "stem: with a partner" in row.ours and "linear CKA" in row.ours
    assert not folder.lacking
    second = Folder(tmp_path / "out", "oip", StudySettings(data=(str(source),)))
    oip.add_pretrained(second, 30)
    assert [own.ours for own in second.findings] == [row.ours]


def test_photographs_beside_the_data_sets_are_found(pair, tmp_path, monkeypatch):
    monkeypatch.delenv("OIP_DATA", raising=False)
    folder = Folder(tmp_path / "out", "oip", StudySettings(data_dir=tmp_path))
    oip.add_pretrained(folder, 30)
    assert "imagenet-sample" in folder.lacking[0] and folder.findings[0].verdict == "not tested"
    photographs_in(tmp_path / "imagenet-sample", 10)
    few = Folder(tmp_path / "few", "oip", StudySettings(data_dir=tmp_path))
    oip.add_pretrained(few, 30)
    assert "24 photographs" in few.lacking[0]


def test_networks_that_are_not_installed_are_missing_data(tmp_path, monkeypatch):
    from oip import models

    def missing(name):
        raise DataError(f"the weights of {name}", "the package", "none", "Install it.")

    monkeypatch.setattr(models, "pretrained", missing)
    folder = Folder(tmp_path / "out", "oip", StudySettings())
    oip.add_pretrained(folder, 30)
    assert "Install it" in folder.lacking[0]
    assert "efficientnet-lite1" in folder.findings[0].paper


def test_photographs_are_no_data_to_learn_from(tmp_path):
    from oip.studies.data import is_photographs

    source = photographs_in(tmp_path / "photographs", 2)
    assert is_photographs(str(source)) and not is_photographs("mnist")
    (source / "class").mkdir()
    assert not is_photographs(str(source)) and not is_photographs(str(tmp_path / "none"))


SHARES = np.linspace(0.5, 0.9, 9)
PATTERNS = {
    **{"second maps": np.arange(40) < 10, "second points": np.arange(40) < 30},
    **{"third maps": np.arange(40) < 28, "third points": np.arange(40) < 32},
    **{"units": np.array([0.5, 0.1]), "units p": np.array([0.01, 0.02])},
}


@pytest.fixture
def made_up_parts(monkeypatch):
    """Classifiers, patterns and nodes of which nothing is computed."""

    def classify(networks, part, test, epochs, seeds):
        return dict.fromkeys(("MLP", "clusters and MLP"), test.required_labels()[None])

    monkeypatch.setattr(oip_arms, "classify", classify)
    monkeypatch.setattr(oip_arms, "measure_patterns", lambda *_: PATTERNS)
    monkeypatch.setattr(oip_arms, "measure_nodes", lambda *_: {"share": SHARES, "null": SHARES / 2})


def some_images(count, classes):
    from oip.models.datasets import dataset
    from oip.studies.data import Images

    labels = np.arange(count) % len(classes)
    test = dataset(np.zeros((count, 4, 4, 1), np.uint8), labels, classes, "digits")
    return Images("digits", test, test)


def test_active_maps_beside_active_nodes():
    data = some_images(40, ("Shirt", "Coat", "Bag"))
    rows = oip.pattern_findings(data, [PATTERNS], 40)
    assert [row.verdict for row in rows] == ["yes", "yes"]
    assert (
        "second, active nodes 75.0" in rows[0].ours and "best unit, bits of 1 0.50" in rows[1].ours
    )
    assert rows[1].quantity.endswith("about being Shirt or Coat")
    digits = some_images(40, ("4", "7", "9"))
    assert "being 4 or 9" in oip.pattern_findings(digits, [PATTERNS], 40)[1].quantity
    turned = {
        name.replace("second", "x").replace("third", "second"): v for name, v in PATTERNS.items()
    }
    turned = {name.replace("x", "third"): rows for name, rows in turned.items()}
    first = dict(sorted(turned.items(), key=lambda item: not item[0].startswith("second")))
    assert oip.pattern_findings(data, [first], 40)[0].verdict == "partly"


def test_classifiers_and_the_pair_that_is_confused():
    data = some_images(300, ("4", "7", "9"))
    labels = data.test.required_labels()
    predicted, worst = labels.copy(), labels.copy()
    predicted[:90:3] = 2  # thirty of hundred 4s are taken for 9s
    worst[:150:3] = 2
    arrays = {"CNN": labels[None], "MLP": predicted[None], "clusters and MLP": worst[None]}
    *better, confused = oip.classifier_findings(data, arrays)
    assert [row.verdict for row in better] == ["yes", "yes", "no"] and confused.verdict == "yes"
    assert "MLP less clusters" not in better[2].ours
    assert "clusters and MLP less MLP, points -6.7" in better[2].ours
    assert "MLP, of the 4s and 9s 15.00" in confused.ours
    assert "among 3 of the MLP 1" in confused.ours
    fewer = {"MLP": labels[None], "clusters and MLP": predicted[None]}
    verdicts = [row.verdict for row in oip.classifier_findings(data, fewer)[:3]]
    assert verdicts == ["not tested", "not tested", "no"]


def test_sums_of_nodes_and_common_points():
    sums = oip_arms.NodeSums(SHARES, SHARES - 0.3)
    (row,) = oip.node_findings("digits", [sums], 0)
    assert row.verdict == "yes"
    (row,) = oip.node_findings("digits", [oip_arms.NodeSums(SHARES / 4, SHARES / 5)], 0)
    assert row.verdict == "partly"
    silenced = {"points": 3, "together": np.array([0.3, 0.2, 0.4]), "random": 0.1}
    silenced |= {"together_p": 0.01, "alone": np.array([0.01, 0.02]), "label": "4"}
    _, row = oip.node_findings("digits", [sums._replace(**silenced)], 0)
    assert row.verdict == "yes" and "all 3 points +0.30 (+0.20 to +0.40" in row.ours


@pytest.fixture(scope="module")
def whole(tmp_path_factory, figures_as_svg):
    """The study on the embedded digits, of networks that it trains itself."""
    path = tmp_path_factory.mktemp("study") / "out"
    settings = StudySettings(quick=True, data=("mnist-sample",))
    folder = Folder(path, "oip", settings)
    oip.run_sized(folder, TINY)
    folder.finish(oip.TITLE, oip.SOURCE)
    return path


def test_a_whole_study_has_its_figures_and_findings(whole):
    record = json.loads((whole / "study.json").read_text())
    names = {figure["name"] for figure in record["figures"]}
    assert {"starts-0", "arms-0", "evolution", "layer", "starts-of-one-map", "dense"} <= names
    assert {"plain-and-enhanced", "common-points", "responses-0", "classes-of-oips"} <= names
    assert {"confusions-0", "beside-1-block-viridis", "beside-2-response-jet"} <= names
    assert (whole / "figures" / "evolution.webp").read_bytes()[8:12] == b"WEBP"
    assert len(record["claims"]) in (9 + 7, 9 + 8)  # a class may have no common points of its own
    assert all(claim["agrees"] in AGREEMENTS for claim in record["claims"])
    assert all("nan" not in claim["found"] for claim in record["claims"])
    assert all(claim["values"] and claim["n"] for claim in record["claims"])
    texts = " ".join(claim["found"] for claim in record["claims"])
    assert "clusters and MLP" in texts and "nodes less maps, points" in texts
    numbers = NumbersFile.read(whole / "numbers.json").figures
    assert numbers["starts-0"]["starts"] == [1, 2, 4, 8, 16]


def test_a_finished_study_is_read_from_its_parts(whole, unsaved_figures, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("measured a second time")

    monkeypatch.setattr(oip_arms, "measure_layer", fail)
    settings = StudySettings(quick=True, data=("mnist-sample",))
    folder = Folder(whole, "oip", settings)
    oip.run_sized(folder, TINY, pictures=False)
    record = json.loads((whole / "study.json").read_text())
    assert [finding.to_dict() for finding in folder.findings] == record["claims"]


def test_models_of_the_user_replace_the_trained_ones(
    unsaved_figures, made_up_parts, tmp_path, small_file, small_data, monkeypatch
):
    settings = StudySettings(quick=True, data=(str(small_data),), models=str(small_file))
    folder = Folder(tmp_path / "out", "oip", settings)
    arrays = measured_arrays()
    monkeypatch.setattr(oip_arms, "measure_layer", lambda network, layer, *_: arrays[layer.name])
    oip.run_sized(folder, TINY, pictures=False)
    assert not list((tmp_path / "out").rglob("*.keras"))
    assert any("1 networks" in note for note in folder.notes)


def test_too_few_images_have_no_common_points(network, tmp_path, small_data, unsaved_figures):
    from oip import models

    folder = Folder(tmp_path, "oip", StudySettings())
    test = models.load(f"{small_data}:test")
    oip_plots.draw_common_points(folder, network, network.find("second"), test)
    names = {figure.name for figure in folder.figures}
    assert {"responses-0", "responses-1"} < names and "common-points" not in names
    assert len(folder.notes) == 1 and "No common points" in folder.notes[0]


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ([(0.1, 0.05, 0.2), (0.2, 0.1, 0.3)], "yes"),
        ([(-0.1, -0.2, -0.05), (0.0, -0.001, 0.001)], "no"),
        ([(0.1, -0.1, 0.3), (0.1, -0.1, 0.3)], "partly"),
        ([(0.1, 0.05, 0.2), (0.1, -0.1, 0.3)], "partly"),
        ([(np.nan, np.nan, np.nan)], "not tested"),
        ([(np.nan, np.nan, np.nan), (0.2, 0.1, 0.3)], "partly"),
    ],
)
def test_an_interval_that_holds_both_decides_nothing(effects, verdict):
    assert judged([Value("", *effect) for effect in effects]) == verdict


def test_one_pattern_is_one_above_the_cut():
    gap = [Value("", 0.2, 0.15, 0.25)]
    assert oip.steady([Value("", 0.6, 0.55, 0.65)], gap) == "yes"
    assert oip.steady([Value("", 0.41, 0.4, 0.43)], gap) == "partly"
    assert oip.steady([Value("", 0.1, 0.0, 0.2)], [Value("", -0.1, -0.2, -0.05)]) == "no"
    unknown = [Value("", np.nan)]
    assert oip.steady(unknown, unknown) == "not tested"


def test_parts_are_of_their_models_and_images(
    unsaved_figures, made_up_parts, tmp_path, small_file, small_data, monkeypatch
):
    """Another file under the same name is measured anew."""
    calls = []
    arrays = measured_arrays()

    def counted(network, layer, *_):
        calls.append(layer.name)
        return arrays[layer.name]

    monkeypatch.setattr(oip_arms, "measure_layer", counted)
    path = tmp_path / "net.keras"
    path.write_bytes(small_file.read_bytes())
    settings = StudySettings(quick=True, data=(str(small_data),), models=str(path))

    def run():
        folder = Folder(tmp_path / "out", "oip", settings)
        oip.run_sized(folder, TINY, pictures=False)

    run()
    first = len(calls)
    run()
    assert len(calls) == first > 0
    import keras

    model = keras.models.load_model(path, compile=False)
    model.set_weights([weight + 0.01 for weight in model.get_weights()])
    model.save(path)
    run()
    assert len(calls) == 2 * first


def measured_arrays():
    """Made-up measurements of the small model's layers, as `measure_layer` returns them."""
    random = np.random.default_rng(0)
    every, kinds = len(arms(16)), len(noises(16))
    result = {}
    for name, maps in (("first", 6), ("second", 70)):
        own = np.arange(min(maps, 5))
        shape = (every, 2, len(own), 2)
        result[name] = {
            "excitable": np.ones(maps, bool),
            "opened": random.integers(0, 17, (kinds, 2, maps)),
            "first": random.random((kinds, 2, maps)) < 0.5,
            "maps": own,
            **{key: random.random(shape) for key in ("scores", "steps", "power")},
            **{key: random.random(shape[:-1]) for key in ("stability", "null")},
        }
    return result


def test_a_pattern_of_no_models_is_named(tmp_path, small_data):
    settings = StudySettings(quick=True, data=(str(small_data),), models=str(tmp_path / "*.keras"))
    with pytest.raises(DataError, match="trained networks"):
        oip.run(Folder(tmp_path / "out", "oip", settings))


def test_names_of_noises_in_figures():
    assert oip_plots.name_of("white", 28) == "white"
    assert oip_plots.name_of("single:7", 28) == "8 px and more"
    assert oip_plots.counts_of(8) == [1, 2, 4, 8]
