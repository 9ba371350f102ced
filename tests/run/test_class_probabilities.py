import numpy as np

from oip import gallery
from oip.ascent.settings import ascent_settings
from oip.core import files
from oip.core.layer_formats import ClassProbabilitiesFile
from oip.network.layer_spec import parse_selections
from oip.network.network import Network
from oip.run.class_probabilities import merge_class_probabilities
from oip.run.reconstruct import reconstruct_layers
from oip.run.shards import layer_oips

QUICK = ascent_settings(steps=6, screened=8, starts=2)


def test_probabilities_are_those_of_the_best_images(small_model, tmp_path):
    network = Network(small_model)
    chosen = parse_selections(network, ["second:0-5,68"])
    run = reconstruct_layers(tmp_path / "run", network, chosen, QUICK)
    arrays = files.read_arrays(run.folder(1) / "softmax.npz")
    oips = layer_oips(run, 1)
    assert arrays["maps"].tolist() == oips.maps.tolist() == [0, 1, 2, 3, 4, 5, 68]
    np.testing.assert_allclose(
        arrays["probabilities"], small_model(oips.pixels[:, 0]).numpy(), atol=1e-4
    )
    assert gallery.build(run.path).exists()


def test_merged_runs_have_no_classes_where_one_has_none(tmp_path):
    widths = {"first": 0, "second": 4}
    for number, (name, width) in enumerate(widths.items()):
        (tmp_path / name).mkdir()
        probabilities = np.full((2, width), 0.25, np.float32)
        maps = np.arange(2) + 2 * number
        record = ClassProbabilitiesFile(maps=maps, probabilities=probabilities)
        record.write(tmp_path / name / "softmax.npz")
    merge_class_probabilities([tmp_path / name for name in widths], tmp_path)
    arrays = files.read_arrays(tmp_path / "softmax.npz")
    assert arrays["maps"].tolist() == [0, 1, 2, 3] and arrays["probabilities"].shape == (4, 0)


def test_models_that_end_in_something_else_have_no_classes(tmp_path):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = [layers.Input((9, 9, 1)), layers.Conv2D(3, 3, activation="relu", name="conv")]
    for index, tail in enumerate(([], [layers.Flatten(), layers.Dense(4)])):
        network = Network(keras.Sequential([*inputs, *tail]))
        out = tmp_path / str(index)
        run = reconstruct_layers(out, network, parse_selections(network, []), QUICK)
        arrays = files.read_arrays(run.folder(0) / "softmax.npz")
        assert arrays["maps"].tolist() == [0, 1, 2] and arrays["probabilities"].shape == (3, 0)
        assert gallery.build(run.path).exists()
