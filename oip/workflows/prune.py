"""Pruning: a model without its least important maps, and its quality."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from oip.core import files, html, seeds
from oip.core.checks import check_path
from oip.core.errors import LOOK_FOR_NAN, DataError, ModelError, SettingsError
from oip.core.formats import SidecarFile, SidecarInput
from oip.core.frameworks import Tensor, tf
from oip.core.progress import Progress, automatic, silent
from oip.mi.selection import (
    DEFAULT_METHOD,
    METHODS,
    Selection,
    check_method,
    check_share,
    kept_count,
    select,
)
from oip.network import layer_types
from oip.network.channel_graph import Channels
from oip.network.forward import compiled_for_images, image_batches, run_to
from oip.network.inputs import check_images, sidecar_path
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.network.surgery import corrected, removed_channels, without
from oip.network.tracing import call_model, without_noise
from oip.workflows.inputs import opened_with_parts

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from oip.models import Dataset
    from oip.workflows.inputs import Images, Model

ENDING = ".keras"
_BATCH = 256
"""Images of a forward pass, timed or not."""
_TIMED_PASSES = 7
_LEARNING_RATE = 5e-4
_TRAINING_BATCH = 128
"""Images of a batch in fine-tuning."""


@dataclass(frozen=True)
class ModelQuality:
    """Accuracy, size and speed of a model, on images that had no part in making it."""

    accuracy: float
    """Share of the images whose class is predicted."""
    parameters: int
    milliseconds: float
    """Time of a forward pass of 256 images: the median of 7."""

    def to_dict(self) -> dict[str, object]:
        """Return the quality as `oip prune --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class PruningPlan:
    """Settings of one pruning."""

    method: str
    keep: float
    """Share of each layer's maps that stay."""
    correct: bool = False
    """Fit the next layers again by least squares."""
    epochs: int = 0
    """Epochs of fine-tuning."""
    samples: int = 500
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PrunedModel:
    """A smaller model, and its quality at every stage."""

    model: keras.Model = field(repr=False)
    plan: PruningPlan
    kept: dict[str, list[int]]
    """Layer -> maps that stay."""
    before: ModelQuality
    """Quality of the whole model."""
    stages: dict[str, ModelQuality]
    """Quality when `pruned`, then `corrected` and `fine-tuned` where that was done."""
    notices: tuple[str, ...]
    split: str
    """The images that the quality was measured on, such as `mnist:test`."""

    @property
    def quality(self) -> ModelQuality:
        """The present quality of the smaller model."""
        return list(self.stages.values())[-1]

    def to_dict(self) -> dict[str, object]:
        """Return one entry of `methods` in the output of `oip prune --json`."""
        return {
            "method": self.plan.method,
            "keep": self.plan.keep,
            "kept": self.kept,
            "stages": {name: quality.to_dict() for name, quality in self.stages.items()},
            "notices": list(self.notices),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return accuracy, parameters and milliseconds, a row for each stage."""
        import pandas as pd

        stages = {"before": self.before, **self.stages}
        return pd.DataFrame({name: quality.to_dict() for name, quality in stages.items()}).T

    def __repr__(self) -> str:
        maps = ", ".join(f"{name}: {len(numbers)}" for name, numbers in list(self.kept.items())[:3])
        return (
            f"PrunedModel by {self.plan.method}: {self.before.parameters:,} to "
            f"{self.quality.parameters:,} parameters, accuracy {self.before.accuracy:.4f} to "
            f"{self.quality.accuracy:.4f}; maps kept: {maps}"
        )

    def _repr_html_(self) -> str:
        stages = {"before": self.before, **self.stages}
        rows = [
            (name, f"{quality.accuracy:.4f}", quality.parameters, f"{quality.milliseconds:.1f}")
            for name, quality in stages.items()
        ]
        title = f"pruned by {self.plan.method}, measured on {self.split}"
        return html.block(title, html.table(("", "accuracy", "parameters", "ms for 256"), rows))


def prune(
    model: Model,
    layers: Sequence[str] | str | None = None,
    *,
    data: Images,
    labels: np.ndarray | None = None,
    resize: str | None = None,
    out: str | Path | None = None,
    keep: float = 0.5,
    method: str | None = None,
    correct: bool = True,
    epochs: int = 0,
    samples: int = 500,
    seed: int = 0,
    progress: Progress = automatic,
) -> PrunedModel:
    """Remove the least important maps of a model and return a smaller model.

    Args:
        model: a file, a Keras model or a `Network`; it stays as it is.
        layers: names of the layers to prune; all whose maps can be removed if None.
        data: a source without a part, or images (n, h, w, bands), a fifth of which is held out.
            Maps are judged on the train part, the models on the test part.
        labels: (n,), for images that are an array.
        resize: how images get the model's size, `crop`, `fit` or `stretch`; image files are cropped
            if None, and others have to fit.
        out: a file to write, ending in `.keras`; nothing is written if None.
        keep: share of each layer's maps that stay, above 0 and at most 1.
        method: one of `mi.selection.METHODS`; `elimination` if None.
        correct: fit the next layers again by least squares, which needs no labels.
        epochs: of fine-tuning on the train part.
        samples: images that maps are judged on.
        seed: of the samples and the fine-tuning, which sets the global seed of TensorFlow.
        progress: called with the progress of each step.

    Raises:
        ModelError: no layer can be pruned, or a named one cannot.
        DataError: no labels, or labels that are not the model's classes.
        SettingsError: a setting outside its range.

    >>> oip.prune("model.keras", data="mnist-sample", keep=0.5)  # doctest: +SKIP
    PrunedModel by elimination: 161,642 to 43,386 parameters, accuracy 0.9670 to 0.9650; ...
    """
    (plan,) = plans(
        method or DEFAULT_METHOD, keep, correct=correct, epochs=epochs, samples=samples, seed=seed
    )
    target = None if out is None else check_target(out, model)
    network, train, test = opened_with_parts(model, data, labels, resize=resize)
    names = [layers] if isinstance(layers, str) else layers
    pruned_layers = None if names is None else [network.find(name) for name in names]
    pruned = Pruner(network, pruned_layers, train, test, progress).prune(plan)
    if target is not None:
        write_pruned(pruned, target, network)
    return pruned


class _Orders(NamedTuple):
    orders: dict[str, Selection]
    unordered: dict[str, str]
    """Layer -> why its maps have no order."""


class Pruner:
    """Prunes one model in any number of ways; each method orders the maps only once.

    Args:
        network: the model, its input statistics set; it is never changed.
        layers: layers to remove maps from; all where that is possible if None.
        train, test: images and labels. Maps are judged on `train`, models on `test`.
        progress: called with the progress of each step.

    Raises:
        ModelError: a named layer whose maps have to stay, no layer with maps that can go, or
            weights that are not finite.
        DataError: no labels, or labels that are not the model's classes.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[LayerInfo] | None,
        train: Dataset,
        test: Dataset,
        progress: Progress = silent,
    ):
        if network.spoiled:  # layers that are fused can lose NaN, and the logits look sound
            raise ModelError(f"weights of '{network.name}'", "finite numbers", "NaN or infinity")
        self.network, self.train, self.test = network, train, test
        self.progress = progress
        self.head = network.class_layer()
        checked = []
        for data in (train, test):
            checked.append(check_images(network.inputs, data.images))
            _check_labels(data, max(self.head.maps, 2))
        self._train_images, self._test_images = checked
        self.channels = Channels.of(network)
        self._are_named = layers is not None
        self._not_pruned: dict[str, str] = {}  # layer -> why its maps stay
        self.layers = self._prunable(layers)
        self._orders: dict[tuple[str, int, int], _Orders] = {}

    @cached_property
    def before(self) -> ModelQuality:
        """The quality of the whole model."""
        return self.measure(self.network.model)

    def measure(self, model: keras.Model) -> ModelQuality:
        """Return accuracy on the test images, size and speed of a model.

        Raises:
            ModelError: its logits are not finite.
        """
        images, labels = self._test_images, self.test.required_labels()
        logits = _logits(model, self.network)
        batches = image_batches(images, 1, max_images=_BATCH)
        values = np.concatenate([logits(tf.constant(batch)) for _, batch in batches])
        if not np.isfinite(values).all():
            received = "NaN or infinity"
            raise ModelError("logits of the classes", "finite numbers", received, LOOK_FOR_NAN)
        predicted = (values[:, 0] > 0).astype(int) if values.shape[1] == 1 else values.argmax(1)
        predict = _forward(model, self.network)
        batch = tf.constant(np.resize(images, (_BATCH, *images.shape[1:])), tf.float32)
        times = []
        for _ in range(_TIMED_PASSES):
            started = time.perf_counter()
            predict(batch)
            times.append(1000 * (time.perf_counter() - started))
        return ModelQuality(
            accuracy=float((predicted == labels).mean()),
            parameters=int(model.count_params()),
            milliseconds=float(np.median(times)),
        )

    def prune(self, plan: PruningPlan) -> PrunedModel:
        """Return the model made smaller as planned, measured at every stage."""
        quality = self.before
        orders, unordered = self._map_orders(plan)
        notices = [f"{name}: {text}" for name, order in orders.items() for text in order.notices]
        if not_pruned := self._not_pruned | unordered:
            notices.insert(0, f"layers that are not pruned: {_listed(not_pruned)}.")
        removed = self._removed(orders, plan.keep)
        dropped = removed_channels(self.network, removed, self.channels)
        model = without(self.network, removed, self.channels)
        stages = {"pruned": self.measure(model)}
        if plan.correct:
            skipped = corrected(
                self.network, model, self.channels, dropped, self._train_images, self.progress
            )
            stages["corrected"] = self.measure(model)
            if skipped:
                notices.append(
                    f"not corrected, because they have no plain kernel: {', '.join(skipped)}."
                )
        if plan.epochs:
            with _seeded(plan.seed):
                self._fine_tune(model, plan)
            stages["fine-tuned"] = self.measure(model)
        kept_maps = {
            layer.name: np.setdiff1d(np.arange(layer.maps), removed[layer.name]).tolist()
            for layer in self.layers
            if layer.name in orders
        }
        return PrunedModel(
            model, plan, kept_maps, quality, stages, tuple(notices), self.test.source
        )

    def _prunable(self, layers: Sequence[LayerInfo] | None) -> list[LayerInfo]:
        prunable, reasons = [], {}
        reached = self.network.reached(self.network.default_layers)
        for layer in reached if layers is None else layers:
            reason = self.channels.why_whole(self.network, layer)
            if reason is None:
                prunable.append(layer)
            else:
                reasons[layer.name] = reason
        if layers is not None or not prunable:
            self._refuse(reasons)
        self._not_pruned |= reasons
        return prunable

    def _refuse(self, reasons: dict[str, str]) -> None:
        if reasons:
            raise ModelError(
                "layers to prune", "layers whose maps can be removed", _listed(reasons)
            )

    def _map_orders(self, plan: PruningPlan) -> _Orders:
        """Return for each layer the order of its maps by the plan's method.

        A layer whose maps the method cannot order is an error only where all are, or it was named.
        """
        key = (plan.method, plan.samples, plan.seed)
        if key not in self._orders:
            label = f"{plan.method}: maps"
            self.progress(label, 0, len(self.layers))
            orders, unordered = {}, {}
            images, labels = self._train_images, self.train.labels
            for count, layer in enumerate(self.layers, 1):
                try:
                    orders[layer.name] = select(
                        self.network,
                        images,
                        labels,
                        layer,
                        method=plan.method,
                        samples=plan.samples,
                        seed=plan.seed,
                    )
                except ModelError as error:
                    if self._are_named:
                        raise
                    unordered[layer.name] = str(error).rstrip(".")
                self.progress(label, count, len(self.layers))
            if not orders:
                self._refuse(unordered)
            self._orders[key] = _Orders(orders, unordered)
        return self._orders[key]

    def _removed(self, orders: dict[str, Selection], keep: float) -> dict[str, list[int]]:
        """Return for each layer the maps to remove.

        Maps that can only be removed together are a group, which counts by its mean rank in its
        layers. Groups are removed as long as each of their layers keeps its share.
        """
        groups = {layer.name: self.channels.of_layer(self.network, layer) for layer in self.layers}
        fixed = {group for name in groups if name not in orders for group in groups[name].tolist()}
        groups = {name: of_maps for name, of_maps in groups.items() if name in orders}
        importance: defaultdict[int, list[float]] = defaultdict(list)
        layers_of: defaultdict[int, list[str]] = defaultdict(list)
        for name, of_maps in groups.items():
            ranks = np.argsort(orders[name].order)
            for map_index, group in enumerate(of_maps.tolist()):
                importance[group].append(1.0 - ranks[map_index] / len(of_maps))
                layers_of[group].append(name)
        removable = {layer.name: layer.maps - kept_count(layer.maps, keep) for layer in self.layers}
        removed = set()
        for group in sorted(importance, key=lambda group: float(np.mean(importance[group]))):
            names = layers_of[group]
            fits = all(removable[name] >= names.count(name) for name in names)
            if group not in fixed and fits:
                removed.add(group)
                for name in names:
                    removable[name] -= 1
        return {
            name: [
                map_index for map_index, group in enumerate(of_maps.tolist()) if group in removed
            ]
            for name, of_maps in groups.items()
        }

    def _fine_tune(self, model: keras.Model, plan: PruningPlan) -> None:
        """Train with Adam, down a cosine from 5e-4, in batches of 128.

        Outputs besides the classes, which have no labels, are trained to be those of the whole
        model, by their squared error in units of its variance.
        """
        import keras

        images, labels = self._train_images, self.train.required_labels()
        steps = plan.epochs * -(-len(images) // _TRAINING_BATCH)
        schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, decay_steps=steps)
        optimizer = keras.optimizers.Adam(schedule)  # type: ignore[arg-type]
        network = self.network
        several = len(network.specs) > 1 or len(network.recording.outputs) > 1
        if several or network.bands_first or network.lacks_bands:
            step = self._training_step(model, optimizer)
            draw = seeds.generator(plan.seed, "fine-tuning")
        else:
            step = draw = None
            model.compile(optimizer=optimizer, loss=self._loss(), jit_compile=False)  # type: ignore[arg-type]
            optimizer.build(model.trainable_variables)  # else Keras traces a step twice
        self.progress("fine-tuning", 0, plan.epochs)
        for epoch in range(plan.epochs):
            if step is None or draw is None:
                model.fit(images, labels, batch_size=_TRAINING_BATCH, verbose=0)  # type: ignore[arg-type]
            else:
                order = draw.permutation(len(images))
                for begin in range(0, len(order), _TRAINING_BATCH):
                    rows = np.sort(order[begin : begin + _TRAINING_BATCH])
                    step(tf.constant(images[rows], tf.float32), tf.constant(labels[rows]))
            self.progress("fine-tuning", epoch + 1, plan.epochs)

    def _training_step(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer
    ) -> Callable[[Tensor, Tensor], None]:
        """Return a step of a model of any inputs and outputs on images (n, h, w, b) and labels."""
        import keras

        network, loss, head = self.network, self._loss(), self._class_output()

        @tf.function(autograph=False, reduce_retracing=True)
        def step(images: Tensor, labels: Tensor) -> None:
            inputs = network.feed(images)
            with without_noise(network.model):
                outputs_of_model = keras.tree.flatten(call_model(network.model, inputs))
            with tf.GradientTape() as tape:
                outputs = keras.tree.flatten(call_model(model, inputs, training=True))
                of_classes: Any = loss(labels, outputs[head])
                total = tf.cast(of_classes, tf.float32)
                total += sum(tf.cast(penalty, tf.float32) for penalty in model.losses)
                for index, (output, target) in enumerate(
                    zip(outputs, outputs_of_model, strict=True)
                ):
                    if index != head and output.dtype.is_floating:
                        target = tf.cast(target, tf.float32)
                        error = tf.reduce_mean((tf.cast(output, tf.float32) - target) ** 2)
                        total += error / (tf.math.reduce_variance(target) + 1e-6)
            variables = [variable.value for variable in model.trainable_variables]
            gradients = tape.gradient(
                total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            optimizer.apply(gradients, model.trainable_variables)

        optimizer.build(model.trainable_variables)
        return step

    def _class_output(self) -> int:
        """Return the number of the output that gives the classes."""
        return next(
            index
            for index, output in enumerate(self.network.recording.outputs)
            if output.calls == (self.head.last_call,) and len(output.shape) == 2
        )

    def _loss(self) -> keras.losses.Loss:
        import keras

        activations = self.network.recording.outputs[self._class_output()].changed_by
        layer = self.head.response.layer
        if self.head.maps == 1:
            is_share = "Sigmoid" in activations or self._has_activation("sigmoid")
            return keras.losses.BinaryCrossentropy(from_logits=not is_share)
        softmax = "Softmax" in activations or layer_types.is_softmax(layer)
        softmax = softmax or self._has_activation("softmax")
        return keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)

    def _has_activation(self, activation: str) -> bool:
        return layer_types.activation_name(self.head.response.layer) == activation


def plans(
    method: str, keep: float, *, correct: bool, epochs: int, samples: int, seed: int
) -> list[PruningPlan]:
    """Return one plan; for the method `compare` one plan for every method."""
    check_share(keep)
    if method != "compare":
        check_method(method)
    plan = PruningPlan(method, keep, correct, epochs, samples, seed)
    return [replace(plan, method=name) for name in METHODS] if method == "compare" else [plan]


def check_target(out: str | Path, model: Model) -> Path:
    """Return the path of a smaller model that can be written.

    Raises:
        SettingsError: a name that does not end in `.keras`, or the model's own file.
        RunError: a folder, or a file that cannot be written.
    """
    out = check_path("out", out, f"a name ending in {ENDING}")
    if out.suffix != ENDING:
        raise SettingsError("out", f"a name ending in {ENDING}", out.name)
    files.check_replaceable(out)
    model_path = Path(model) if isinstance(model, str | Path) else getattr(model, "path", None)
    if model_path is not None and out.exists() and model_path.exists() and out.samefile(model_path):
        raise SettingsError("out", "another file than the model's own", out.name)
    files.check_writable(out.parent)
    return out


def write_pruned(pruned: PrunedModel, out: Path, network: Network) -> None:
    """Write the smaller model, with the sidecar of the whole model brought up to date."""
    spec = msgspec.convert(network.inputs.to_dict(), SidecarInput)
    with files.replacing(out, ENDING) as temporary:
        pruned.model.save(temporary)
        sidecar = msgspec.structs.replace(
            network.sidecar or SidecarFile(input=spec),
            model=out.name,
            sha256=files.sha256(temporary),
            accuracy=pruned.quality.accuracy,
            confusion=None,  # as losses and seconds, of the whole model
            losses=None,
            seconds=None,
            pruned={
                "from": {"name": network.name, "sha256": network.digest, **pruned.before.to_dict()},
                "judged_by": pruned.split,
                "method": pruned.plan.method,
                "keep": pruned.plan.keep,
                "samples": pruned.plan.samples,
                "seed": pruned.plan.seed,
                "corrected": pruned.plan.correct,
                "fine_tuned_epochs": pruned.plan.epochs,
                "kept": pruned.kept,
            },
        )
        # Written before the model replaces `out`: a sidecar that fits no model is not used.
        sidecar.write(sidecar_path(out))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set the global seeds within a block; Python's and NumPy's go on after it as if without it."""
    import keras

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _check_labels(data: Dataset, classes: int) -> None:
    labels = data.required_labels()
    if labels.min() < 0 or labels.max() >= classes:
        classes_text = f"classes 0 to {classes - 1}, those of the model"
        raise DataError(f"labels of '{data.source}'", classes_text, int(labels.max()))


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())


def _forward(model: keras.Model, network: Network) -> Callable[[Tensor], object]:
    """Return the whole model as a function of images; inputs that are not the image get zeros."""

    def run(images: Tensor) -> object:
        with without_noise(model):
            return call_model(model, network.feed(images))

    return compiled_for_images(network, run)


def _logits(model: keras.Model, network: Network) -> Callable[[Tensor], Tensor]:
    """Return the logits (n, classes), or (n, 1), of a model as a function of images."""
    tested = network if model is network.model else Network(model, input_shape=network.inputs.shape)
    output = tested.class_layer().response

    def run(images: Tensor) -> Tensor:
        return run_to(model, network.feed(images), output).pre_activation

    return compiled_for_images(network, run)
