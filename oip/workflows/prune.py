"""A model without its least important maps, and how good it is: what `oip prune` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.errors import DataError, ModelError, OipError, expected
from oip.core.progress import Progress, silent
from oip.network.forward import compiled_for_images, image_batches

if TYPE_CHECKING:
    from oip.network.channel_graph import Channels
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

_AT_ONCE = 256
_TIMED = 7
_RATE = 5e-4


@dataclass(frozen=True)
class Judged:
    """How good a model is on images that had no part in making it."""

    accuracy: float
    """Share of the images whose class is predicted."""
    parameters: int
    milliseconds: float
    """Of a forward pass of 256 images: the median of 7."""

    def to_dict(self) -> dict[str, Any]:
        """As `oip prune --json` prints it."""
        return {
            "accuracy": self.accuracy,
            "parameters": self.parameters,
            "milliseconds": self.milliseconds,
        }


@dataclass(frozen=True)
class Plan:
    """What is to be done to a model."""

    method: str
    keep: float
    """Share of each layer's maps."""
    correct: bool = False
    epochs: int = 0
    """Of fine-tuning."""
    samples: int = 500
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Pruned:
    """A smaller model."""

    model: Any = field(repr=False)
    plan: Plan
    kept: dict[str, list[int]]
    """Layer -> maps that stay."""
    stages: dict[str, Judged]
    """`pruned`, then `corrected` and `fine-tuned` where they were asked for."""
    notices: tuple[str, ...]

    @property
    def last(self) -> Judged:
        """The model as it is now."""
        return list(self.stages.values())[-1]


class Pruner:
    """Prunes one model in any number of ways; orders of maps are made once a method.

    Args:
        network: the model, its input settled; never changed.
        layers: those to take maps out of; all where that is possible if None.
        train, test: images and labels, as `models.load` gives them.

    Raises:
        ModelError: a named layer whose maps have to stay, or no layer with maps that can go.
        DataError: no labels, or labels that are not the model's classes.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[LayerInfo] | None,
        train: Any,
        test: Any,
        progress: Progress = silent,
    ):
        from oip.network.channel_graph import of_network
        from oip.network.inputs import check_images
        from oip.network.outputs import classes

        self.network, self.train, self.test = network, train, test
        self.progress = progress
        self.head = classes(network)
        for data in (train, test):
            check_images(network.inputs, data.images)
            _check_labels(data, max(self.head.units, 2))
        self.channels: Channels = of_network(network)
        self.notices: list[str] = []
        self.layers = self._prunable(layers)
        self._orders: dict[tuple[str, int, int], dict[str, Any]] = {}

    def judged(self, model: Any) -> Judged:
        """Accuracy on the test images, size and speed of a model."""
        predict = _forward(model, self.network)
        images, labels = self.test.images, np.asarray(self.test.labels)
        outputs = [predict(part) for _, part in image_batches(images, 1, most=_AT_ONCE)]
        predicted = self._classes(np.concatenate(outputs))
        batch = np.resize(images, (_AT_ONCE, *images.shape[1:]))
        times = []
        for _ in range(_TIMED):
            began = time.perf_counter()
            predict(batch)
            times.append(1000 * (time.perf_counter() - began))
        return Judged(
            accuracy=float((predicted == labels).mean()),
            parameters=int(model.count_params()),
            milliseconds=float(np.median(times)),
        )

    def pruned(self, plan: Plan) -> Pruned:
        """The model made smaller as planned, and judged at every stage."""
        from oip.network.surgery import corrected, removed_channels, without

        orders, notices = self._ordered(plan)
        removed = self._removed(orders, plan.keep)
        gone = removed_channels(self.network, removed, self.channels)
        model = without(self.network, removed, self.channels)
        stages = {"pruned": self.judged(model)}
        if plan.correct:
            left = corrected(
                self.network, model, self.channels, gone, self.train.images, self.progress
            )
            stages["corrected"] = self.judged(model)
            if left:
                notices.append(f"not corrected, no plain kernel: {', '.join(left)}.")
        if plan.epochs:
            self._fine_tune(model, plan)
            stages["fine-tuned"] = self.judged(model)
        kept = {
            info.name: [
                int(number) for number in range(info.maps) if number not in removed[info.name]
            ]
            for info in self.layers
        }
        return Pruned(model, plan, kept, stages, (*self.notices, *notices))

    def compared(self, plans: Sequence[Plan]) -> Iterator[tuple[Plan, Pruned | OipError]]:
        """Every plan in turn; a method that cannot be used on this model gives its error."""
        for plan in plans:
            try:
                yield plan, self.pruned(plan)
            except OipError as error:
                yield plan, error

    def _prunable(self, wanted: Sequence[LayerInfo] | None) -> list[LayerInfo]:
        found, reasons = [], {}
        for info in self.network.convolutional if wanted is None else wanted:
            try:
                why = self.channels.why_locked(self.channels.of_layer(self.network, info))
            except ModelError:
                why = "its maps are those of the layer before it"
            if why is None:
                found.append(info)
            else:
                reasons[info.name] = why
        told = "; ".join(f"'{name}': {why}" for name, why in reasons.items())
        if reasons and (wanted is not None or not found):
            raise ModelError(expected("layers to prune", "layers whose maps can be removed", told))
        if reasons:
            self.notices.append(f"layers that stay whole: {told}.")
        return found

    def _ordered(self, plan: Plan) -> tuple[dict[str, Any], list[str]]:
        """The layers' selections."""
        from oip import mi

        key = (plan.method, plan.samples, plan.seed)
        if key not in self._orders:
            label = f"{plan.method}: maps"
            self.progress(label, 0, len(self.layers))
            made = {}
            for done, info in enumerate(self.layers, 1):
                made[info.name] = mi.select(
                    self.network,
                    self.train.images,
                    self.train.labels,
                    info,
                    method=plan.method,
                    samples=plan.samples,
                    seed=plan.seed,
                )
                self.progress(label, done, len(self.layers))
            self._orders[key] = made
        found = self._orders[key]
        notices = [f"{name}: {text}" for name, one in found.items() for text in one.notices]
        return found, notices

    def _removed(self, orders: dict[str, Any], keep: float) -> dict[str, list[int]]:
        """Layer -> maps to take out.

        Maps that only go together count by their mean place in their layers; one goes as long as
        each of its layers has more than its share left.
        """
        from oip.mi.selection import kept_of

        worth: dict[int, list[float]] = {}
        members: dict[int, list[str]] = {}
        roots = {info.name: self.channels.of_layer(self.network, info) for info in self.layers}
        for name, mine in roots.items():
            places = np.argsort(orders[name].order)
            for number, root in enumerate(mine.tolist()):
                worth.setdefault(root, []).append(1.0 - places[number] / len(mine))
                members.setdefault(root, []).append(name)
        spare = {info.name: info.maps - kept_of(info.maps, keep) for info in self.layers}
        gone = set()
        for root in sorted(worth, key=lambda root: float(np.mean(worth[root]))):
            names = members[root]
            if all(spare[name] >= names.count(name) for name in names):
                gone.add(root)
                for name in names:
                    spare[name] -= 1
        return {
            name: [number for number, root in enumerate(mine.tolist()) if root in gone]
            for name, mine in roots.items()
        }

    def _fine_tune(self, model: Any, plan: Plan) -> None:
        """Adam, down a cosine from 5e-4, in batches of 128."""
        import keras

        if len(self.network.specs) > 1 or self.network.channels_first:
            what = "a model of one input with the channels last"
            raise ModelError(expected("--fine-tune", what, "another one"))
        steps = plan.epochs * -(-len(self.train.images) // 128)
        keras.utils.set_random_seed(plan.seed)
        schedule: Any = keras.optimizers.schedules.CosineDecay(_RATE, decay_steps=steps)
        model.compile(
            optimizer=keras.optimizers.Adam(schedule), loss=self._loss(), jit_compile=False
        )
        self.progress("fine-tuning", 0, plan.epochs)
        for epoch in range(plan.epochs):
            labels = np.asarray(self.train.labels)
            model.fit(self.train.images, labels, batch_size=128, verbose=0)
            self.progress("fine-tuning", epoch + 1, plan.epochs)

    def _loss(self) -> Any:
        import keras

        from oip.network import layer_types

        layer = self.head.place.layer
        if self.head.units == 1:
            sigmoid = layer_types.activation_name(layer) == "sigmoid"
            return keras.losses.BinaryCrossentropy(from_logits=not sigmoid)
        softmax = layer_types.is_softmax(layer) or layer_types.activation_name(layer) == "softmax"
        return keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)

    def _classes(self, outputs: np.ndarray) -> np.ndarray:
        """(n,) int: the classes that outputs (n, classes) stand for."""
        from oip.network import layer_types

        if self.head.units > 1:
            return outputs.argmax(axis=1)
        sigmoid = layer_types.activation_name(self.head.place.layer) == "sigmoid"
        return (outputs[:, 0] > (0.5 if sigmoid else 0.0)).astype(int)


def plans(method: str, keep: float, **settings: Any) -> list[Plan]:
    """One plan, or for `compare` one for every method."""
    from oip.mi.selection import METHODS, check_method, check_share

    check_share(keep)
    if method != "compare":
        check_method(method)
    base = Plan(method, keep, **settings)
    return [replace(base, method=name) for name in METHODS] if method == "compare" else [base]


def _check_labels(data: Any, classes: int) -> None:
    if data.labels is None:
        hint = "Name a source that has labels."
        raise DataError(expected(f"data '{data.source}'", "images with labels", "no labels", hint))
    labels = np.asarray(data.labels)
    if labels.min() < 0 or labels.max() >= classes:
        wanted = f"classes 0 to {classes - 1}, those of the model"
        raise DataError(expected(f"labels of '{data.source}'", wanted, int(labels.max())))


def _forward(model: Any, network: Network) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function of images; inputs that are no image are fed zeros."""
    import tensorflow as tf

    def run(images: Any) -> Any:
        fed = network.feed(images)
        return model(fed if len(fed) > 1 else fed[0], training=False)

    graph = compiled_for_images(network, run)
    return lambda images: np.asarray(graph(tf.constant(np.asarray(images, np.float32))))
