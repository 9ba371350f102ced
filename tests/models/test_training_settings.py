from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from oip.core.errors import SettingsError
from oip.models import TrainSettings
from oip.models.training_settings import keras_optimizer


@pytest.mark.parametrize(
    "record",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch": 0},
        {"batch": 10**20},
        {"epochs": 10**20},
        {"optimizer": "adagrad"},
        {"schedule": "linear"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0, "optimizer": "sgd"},
        {"momentum": 0.5, "optimizer": "adam"},
        {"l2": -1.0},
        {"l2": float("nan")},
        {"seed": -1},
    ],
)
def test_values_outside_are_refused(record: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        TrainSettings(**{"epochs": 1, **record})


def test_numbers_of_numpy_become_those_of_python() -> None:
    rate: Any = np.float32(0.5)
    settings = TrainSettings(epochs=np.int64(3), learning_rate=rate, seed=np.uint8(7))
    assert (
        json.loads(json.dumps(settings.to_dict()))
        == TrainSettings(3, learning_rate=0.5, seed=7).to_dict()
    )


@pytest.mark.parametrize(
    ("schedule", "half", "end"),
    [
        ("constant", 1.0, 1.0),
        ("exponential", 0.1, 0.01),
        ("cosine", 0.5, 0.0),
        ("steps", 0.1, 0.01),
    ],
)
def test_the_learning_rate_over_the_training(schedule: str, half: float, end: float) -> None:
    import keras

    settings = TrainSettings(
        epochs=1, optimizer="sgd", learning_rate=0.2, momentum=0.9, schedule=schedule
    )
    optimizer = keras_optimizer(settings, 100)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert optimizer.momentum == 0.9
    for step, factor in ((0, 1.0), (51, half), (100, end)):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(0.2 * factor, rel=0.06, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", "Adam"), ("rmsprop", "RMSprop"), ("sgd", "SGD")]
)
def test_each_optimizer(name: str, kind: str) -> None:
    optimizer = keras_optimizer(TrainSettings(epochs=1, optimizer=name), 1)
    assert type(optimizer).__name__ == kind
