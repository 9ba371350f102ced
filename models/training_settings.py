"""Settings of a training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from oip.core.checks import check_choice, check_number, check_whole, python_number
from oip.core.errors import SettingsError
from oip.core.frameworks import keras

OPTIMIZERS = ("sgd", "rmsprop", "adam")
SCHEDULES = ("constant", "exponential", "cosine", "steps")
LEARNING_RATES = {"sgd": 0.01, "rmsprop": 0.001, "adam": 0.001}
"""The rate that each optimizer begins with when none is named."""
_LARGEST = 2**31 - 1
"""Of whole numbers that TensorFlow takes."""
_LAST_SHARE = 0.01
_STEPS = (0.5, 0.75)
_STEP_FACTOR = 0.1


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training.

    Schedules of the learning rate, over the whole training: `constant`; `exponential`, down to a
    hundredth; `cosine`, down to 0; `steps`, to a tenth at one half and again at three quarters.

    Raises:
        SettingsError: a value outside what it may be.
    """

    epochs: int
    batch: int = 128
    optimizer: str = "adam"
    learning_rate: float = LEARNING_RATES["adam"]
    momentum: float = 0.0
    """Of `sgd` and `rmsprop`; Adam has its own."""
    schedule: str = "cosine"
    l2: float = 0.0
    """Weight of the squared kernels in the loss, as `keras.regularizers.L2` takes it."""
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in fields(self):  # the sidecar holds numbers of Python
            value = python_number(getattr(self, setting.name))
            object.__setattr__(self, setting.name, value)
        for name in ("epochs", "batch"):
            if check_whole(name, getattr(self, name)) > _LARGEST:
                raise SettingsError(name, f"a whole number to {_LARGEST}", getattr(self, name))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_number("learning rate", self.learning_rate)
        if not 0.0 <= self.momentum < 1.0:
            raise SettingsError("momentum", "0 to below 1", self.momentum)
        if self.momentum and self.optimizer == "adam":
            hint = "Use the optimizer sgd, or leave the momentum out."
            raise SettingsError("momentum", "0, as adam has its own", self.momentum, hint)
        if not 0.0 <= self.l2 < math.inf:
            raise SettingsError("l2", "0 or a number above", self.l2)
        if not 0 <= self.seed <= _LARGEST:
            raise SettingsError("seed", f"0 to {_LARGEST}", self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as the model's sidecar holds them."""
        return asdict(self)


def keras_optimizer(settings: TrainSettings, steps: int) -> keras.Optimizer:
    """Return the Keras optimizer with its schedule, for a training of `steps` batches."""
    rate: Any = _learning_rate(settings, steps)  # Keras takes schedules; its hint says float
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=settings.momentum)
    if settings.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, momentum=settings.momentum)
    return keras.optimizers.Adam(rate)


def _learning_rate(
    settings: TrainSettings, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules, initial = keras.optimizers.schedules, settings.learning_rate
    if settings.schedule == "exponential":
        return schedules.ExponentialDecay(initial, decay_steps=steps, decay_rate=_LAST_SHARE)
    if settings.schedule == "cosine":
        return schedules.CosineDecay(initial, decay_steps=steps)
    if settings.schedule == "steps":
        bounds = [max(1, round(share * steps)) for share in _STEPS]
        values = [initial * _STEP_FACTOR**power for power in range(len(bounds) + 1)]
        return schedules.PiecewiseConstantDecay(bounds, values)
    return initial
