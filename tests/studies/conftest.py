"""A folder of tiny data, and trainings of a few iterations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oip.core import plots


@pytest.fixture(scope="session")
def bars(tmp_path_factory):
    """An .npz of 150 images of 12 x 12 with a bar, in three classes of places."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (150, 12, 12)).astype(np.uint8)
    labels = np.arange(150) % 3
    for image, label in zip(images, labels, strict=True):
        image[1 + 4 * label : 4 + 4 * label, 2:10] = 230
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["high", "middle", "low"]))
    return path


@pytest.fixture(scope="session")
def net():
    """A small network of 12 x 12 pixels and three classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture
def unsaved_figures(monkeypatch):
    """Figures that are made, and neither laid out nor written."""
    monkeypatch.setattr(plots, "save", lambda drawing, path: Path(path))


@pytest.fixture(scope="module")
def figures_as_svg():
    """Figures that are written as SVG, parts as they fall, and of which the PNG is empty."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    save = plots.save

    def save_svg(drawing, path):
        if Path(path).suffix == ".png":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
            return Path(path)
        return save(drawing, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", save_svg)
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
        yield


@pytest.fixture
def drawn_figures(monkeypatch, figures_as_they_fall):
    """Figures that are drawn, but neither laid out nor written as pixels and paths."""

    def save(drawing, path):
        if Path(path).suffix == ".png":
            drawing.draw_without_rendering()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        return Path(path)

    monkeypatch.setattr(plots, "save", save)


STEPS = np.array([0, 10, 100, 1000, 2500, 5000, 7500, 8000, 9000, 10_000])
CLASSES = tuple("abcde")


def made_up_record(steps, layers, classes=CLASSES, accuracy=None):
    """A training record of given layers over given steps."""
    from oip.core.formats import TrainingRecordFile
    from oip.mi.training.record import TrainingRecord

    file = TrainingRecordFile(
        estimator="kde",
        name_shown="kde",
        samples=512,
        split="",
        label_ceiling=float(np.log2(len(classes))),
        input_ceiling=9.0,
        layers=[],
        steps=steps.tolist(),
        class_ceilings=[1.0] * len(classes),
    )
    return TrainingRecord(steps, tuple(layers), tuple(classes), accuracy, file)


@pytest.fixture(scope="session")
def planted():
    """A function that makes up a training of which nothing was computed."""
    from oip.mi.training.record import RecordedLayer
    from oip.studies.trained import WIDTHS, RecordedTraining

    def layer(name, values, kernels, whole):
        """Kernels that spread evenly about `values` (t,), in one order for all classes."""
        label = values[:, None] + np.linspace(-0.1, 0.1, kernels)
        per_class = np.repeat(0.1 * label[..., None], len(CLASSES), axis=2)
        return RecordedLayer(name, 0, label, per_class, whole, 3 + whole[::-1])

    def training(network, first, second, last, accuracy=0.99):
        """Medians of the blocks, and information of the last layer, are given, (t,)."""
        rows = [
            np.broadcast_to(np.asarray(values, float), STEPS.shape)
            for values in (first, second, last)
        ]
        blocks = [
            layer(name, row, 12, row) for name, row in zip(network.blocks[:2], rows, strict=False)
        ]
        end = RecordedLayer("classes", 1, np.zeros((10, 0)), np.zeros((10, 0, 5)), rows[2], rows[2])
        record = made_up_record(STEPS, [*blocks, end])
        return RecordedTraining(
            path=Path("unused"),
            network=network,
            iterations=10_000,
            records=dict.fromkeys(WIDTHS, record),
            saved_iterations=(0, 5000, 10_000),
            accuracy=accuracy,
            data=None,
        )

    return training


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """A function in place of `study_training`: random records, and weights at the start."""
    from oip.mi.training.record import RecordedLayer
    from oip.models.training import save_state
    from oip.studies.trained import DENSENET, LENET, WIDTHS, RecordedTraining, weights_file

    steps, kernels = np.array([0, 1, 2, 3]), {"Conv2D_1": 24, "Conv2D_2": 48}
    path = tmp_path_factory.mktemp("trainings")

    def study_training(folder, network, data):
        random = np.random.default_rng(len(network.name))
        own = path / network.name
        if network in (LENET, DENSENET) and not own.exists():
            for step in (0, 3):
                save_state(weights_file(own, step), network.build(data.train), with_optimizer=False)
        classes = data.test.classes

        def recorded(name):
            maps = kernels.get(name, 12) if name in network.blocks else 0
            label = random.uniform(0, 1.5, (4, maps)).round(1)
            per_class = random.uniform(0, 1, (4, maps, len(classes))).round(1)
            whole = random.uniform(0, 1.5, (2, 4))
            return RecordedLayer(name, 0, label, per_class, *whole)

        layers = [recorded(name) for name in (*network.blocks, *network.dense)]
        record = made_up_record(steps, layers, classes, np.linspace(0.3, 0.9, 4))
        records = dict.fromkeys(WIDTHS, record)
        return RecordedTraining(own, network, 3, records, (0, 1, 3), 0.9, data.train)

    return study_training
