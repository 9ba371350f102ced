"""Files that lie outside runs: what is written is read again, with a schema number."""

from __future__ import annotations

import numpy as np
import pytest

from oip.core import files
from oip.core.errors import RunError
from oip.core.output_formats import (
    ExportedImagesFile,
    ModelStateFile,
    NumbersFile,
    StudyTrainingFile,
    TrainingStepFile,
)


def test_numbers_are_tables_by_figure(tmp_path):
    path = tmp_path / "numbers.json"
    figures = {"first": {"bits": [0.5, None], "name": "a"}, "second": {}}
    NumbersFile(figures=figures).write(path)
    assert files.read_json(path) == {"schema": 1, **figures}
    assert NumbersFile.read(path).figures == figures
    files.write_json(path, figures)  # of earlier versions
    assert NumbersFile.read(path).figures == figures
    files.write_json(path, {"first": [1, 2]})
    with pytest.raises(RunError, match="another form"):
        NumbersFile.read(path)


def test_a_state_without_an_optimizer_has_weights_only(tmp_path):
    path = tmp_path / "state.npz"
    weights = {"weight-0": np.ones(3), "weight-1": np.zeros((2, 2))}
    ModelStateFile(named=weights).write(path)
    state = ModelStateFile.read(path)
    assert state.iterations is None
    assert [array.shape for array in state.variables("weight", 2)] == [(3,), (2, 2)]
    with pytest.raises(RunError, match="no 'weight-2'"):
        state.variables("weight", 3)
    ModelStateFile(named=weights | {"optimizer-0": np.ones(1)}, iterations=7).write(path)
    assert ModelStateFile.read(path).iterations == 7


def test_exported_images_and_steps_come_back(tmp_path):
    path = tmp_path / "a.npz"
    images = np.ones((2, 4, 4, 1), np.float32)
    names = np.array(["dead", "revived"])
    ExportedImagesFile(maps=np.arange(2), images=images, scores=np.ones(2), verdicts=names).write(
        path
    )
    assert ExportedImagesFile.read(path).verdicts.tolist() == ["dead", "revived"]
    step = TrainingStepFile(named={"layer-000-label": np.ones(3)}, accuracy=float("nan"))
    step.write(path)
    assert np.isnan(TrainingStepFile.read(path).accuracy)


def test_a_training_of_a_study_keeps_its_settings(tmp_path):
    values = {"schema": 1, "seed": 0, "recorded": 100, "widths": {"silverman": {"width": 1.0}}}
    values |= {"train": ["mnist:train", "0a"], "test": ["mnist:test", "1b"], "recipe": "lenet"}
    values |= {"blocks": ["a"], "dense": [], "options": [["filters", [4, 8]]]}
    values |= {"batch": 64, "learning_rate": 0.001}
    StudyTrainingFile.of(values).write(tmp_path / "training.json")
    assert files.read_json(tmp_path / "training.json") == values
