"""Networks that are measured while they are trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mi.estimators.threads import each
from oip.core.errors import SettingsError
from oip.core.progress import Progress
from oip.studies.frame import base_name, slug
from oip.studies.renyi_measures import KERNELS, Batch, batches, measure
from oip.studies.renyi_probe import Probe


@dataclass(frozen=True)
class Plan:
    """A network and its training."""

    source: str
    recipe: str
    filters: tuple[int, ...]
    """None told: the recipe's own."""
    activation: str
    rate: float | None
    """Of SGD with a momentum of 0.95; the recipe's own training if None."""
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """For files, without anything of a path."""
        widths = "-".join(str(count) for count in self.filters) or "own"
        source = slug(base_name(self.source))
        return f"{source}-{self.recipe}-{widths}-{self.activation}-seed{self.seed}"


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    batches: int
    pairs: int
    steps: int
    """Records of a training, about."""


def trained(
    plan: Plan, data: tuple[Any, Any], amount: Amount, out: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Trains a network, keeps it as a file, and measures it on the way.

    Args:
        plan: what is trained.
        data: images and labels to learn from, and those to measure and judge by.
        amount: how much is measured.
        out: the model's file.
        progress: told the training's batches.

    Returns:
        `accuracy`, NaN if the training diverged; `steps` (t,) batches that were learned from;
        `epoch`, batches an epoch; `names` and `maps` (layers,); and of each kernel K and measure
        M, `K M` (t, batches, layers).
    """
    import models
    from models.training import train

    options: dict[str, Any] = {"filters": plan.filters} if plan.filters else {}
    if plan.recipe != "vgg16-cifar":
        options["activation"] = plan.activation
    recipe = models.recipe(plan.recipe).configured(**options)
    data_train, data_test = data
    told: dict[str, Any] = {"epochs": plan.epochs, "batch": 128, "seed": plan.seed}
    if plan.rate is not None:
        told |= {"optimizer": "sgd", "learning_rate": plan.rate, "momentum": 0.95}
        told["schedule"] = "constant"
    settings = recipe.settings(len(data_train), **told)
    an_epoch = math.ceil(len(data_train) / settings.batch)
    some = batches(data_test.images, data_test.labels, data_test.high, amount.batches, plan.seed)
    steps = recorded_steps(an_epoch, settings.epochs * an_epoch, amount.steps)
    watcher: Any = watching(some, steps, amount.pairs, plan.seed)
    accuracy = np.nan
    try:
        accuracy = train(
            recipe, data_train, data_test, settings, out, progress, record=watcher
        ).accuracy
    except SettingsError as error:
        if "diverged" not in str(error):
            raise
    return {
        "accuracy": np.array(accuracy),
        "epoch": np.array(an_epoch),
        "tested": np.array(len(data_test)),
        **watcher.found(),
    }


def recorded_steps(an_epoch: int, total: int, count: int) -> list[int]:
    """0, the end of the first epoch, the end, and steps between that grow in even ratios."""
    between = np.rint(np.geomspace(1, total, max(2, count - 2))).astype(int)
    return sorted({0, min(an_epoch, total), total, *between.tolist()})


def watching(some: list[Batch], steps: Iterable[int], pairs: int, seed: int) -> Any:
    """A Keras callback that measures batches of images at some steps of a training."""
    import keras

    wanted = set(steps)

    class Watching(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self._step = 0
            self._done: list[int] = []
            self._values: dict[str, list[np.ndarray]] = {}

        def on_train_begin(self, logs: Any = None) -> None:
            self._probe = Probe(self.model)
            self._measure()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._step += 1
            if self._step in wanted:
                self._measure()

        def found(self) -> dict[str, np.ndarray]:
            """See `trained`."""
            return {
                "steps": np.array(self._done),
                "names": np.array(self._probe.names),
                "maps": np.array(self._probe.maps),
                **{name: np.array(values) for name, values in self._values.items()},
            }

        def _measure(self) -> None:
            model: Any = self.model
            if not all(np.isfinite(weight).all() for weight in model.get_weights()):
                return
            readings = [self._probe.read(one.images, one.codes) for one in some]
            work = [
                (kernel, one, reading)
                for kernel in KERNELS
                for one, reading in zip(some, readings, strict=True)
            ]
            parts = each(lambda item: measure(item[1], item[2], item[0], pairs, seed), work)
            for number, kernel in enumerate(KERNELS):
                own = parts[number * len(some) : (number + 1) * len(some)]
                for name in own[0]:
                    values = np.array([part[name] for part in own])
                    self._values.setdefault(f"{kernel.name} {name}", []).append(values)
            self._done.append(self._step)

    return Watching()
