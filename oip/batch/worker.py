"""What one run of a batch is about, and what a process that does its work keeps ready for it."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.ascent.settings import AscentSettings
from oip.batch.job import RankSettings
from oip.core.errors import DataError, ModelError, OipError, expected
from oip.core.files import WriteError
from oip.core.formats import RunFile, RunSettings

if TYPE_CHECKING:
    from oip.ascent.reconstruction import Ascent
    from oip.network.network import Network
    from oip.run.class_probabilities import ClassProbabilities

_COST_OF_AN_OUTPUT = 20
"""Operations that an output of a layer is worth beside its multiplications."""


@dataclass(frozen=True)
class Subject:
    """A model, what it is fed, and what is asked of it; small, and the same for any process."""

    path: str
    imports: tuple[str, ...]
    layers: tuple[str, ...]
    objectives: tuple[str, ...]
    preprocess: str | None
    input_mean: tuple[float, ...] | None
    input_std: tuple[float, ...] | None
    input_range: tuple[float, float] | None
    data: str | None
    data_dir: str | None
    settings: AscentSettings
    rank: RankSettings | None
    input_size: tuple[int, int] | None = None
    input_name: str | None = None

    @property
    def _of_network(self) -> tuple[Any, ...]:
        """All that the network and its input depend on."""
        return (
            self.path,
            self.imports,
            self.preprocess,
            self.input_mean,
            self.input_std,
            self.input_range,
            self.input_size,
            self.input_name,
            self.data,
            self.data_dir,
        )


@dataclass(frozen=True)
class LayerOutlook:
    """A layer that is asked for, or the objectives, which come after the last layer."""

    index: int
    name: str
    maps: tuple[int, ...]
    key: str
    """Of its shards."""
    objectives: bool
    cost: float
    """Operations of one forward pass up to the layer, roughly."""


@dataclass(frozen=True)
class Outlook:
    """What is known of a subject before any work on it."""

    name: str
    """The model's file name."""
    digest: str
    """SHA-256 of the model."""
    key: str
    """Of all shards of maps: model, input, settings and data."""
    record: RunFile
    """For run.json."""
    layers: tuple[LayerOutlook, ...]
    maps_layers: int
    """How many layers with maps the model has."""
    assumed: bool
    """The input's mean and deviation are not known; 0 and 1 are taken."""


class Bench:
    """What a process keeps from one piece of work to the next: a network, data, a layer's ascent.

    One of each, so that memory does not grow with the number of models and layers.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def network(self, subject: Subject) -> Network:
        """The subject's model with its input settled."""
        return self._keep("network", subject._of_network, lambda: self._loaded(subject))

    def data(self, subject: Subject) -> Any:
        """The subject's data, None without any."""
        from oip.workflows.inputs import load_data

        if subject.data is None:
            return None
        source, folder = subject.data, subject.data_dir
        return self._keep("data", (source, folder), lambda: load_data(source, data_dir=folder))

    def images(self, subject: Subject) -> np.ndarray | None:
        """The data's images, checked for the subject's model."""
        from oip.network.inputs import check_images

        data = self.data(subject)
        if data is None:
            return None
        return check_images(self.network(subject).inputs, data.images, "data")

    def ascent(self, subject: Subject, index: int) -> Ascent:
        """The ascent of one layer, or of the objectives; screened and traced once."""
        network = self.network(subject)
        return self._keep(
            "ascent",
            (subject._of_network, subject.objectives, subject.settings, index),
            lambda: ascent_of(network, subject, index, subject.settings, self.images(subject)),
        )

    def outputs(self, subject: Subject) -> ClassProbabilities:
        """The probabilities that the subject's model ends in; traced once."""
        from oip.run.class_probabilities import ClassProbabilities

        network = self.network(subject)
        return self._keep("outputs", subject._of_network, lambda: ClassProbabilities(network))

    def forget_models(self) -> None:
        """Gives back what belongs to a model."""
        for name in ("ascent", "outputs", "network"):
            self._kept.pop(name, None)
        gc.collect()

    def _loaded(self, subject: Subject) -> Network:
        from oip.workflows.inputs import open_network, set_input

        self.forget_models()
        data = self.data(subject)
        network = open_network(
            subject.path, subject.imports, data, subject.input_size, subject.input_name
        )
        set_input(
            network,
            data,
            mean=subject.input_mean,
            std=subject.input_std,
            value_range=subject.input_range,
            preprocess=subject.preprocess,
        )
        return network

    def _keep(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        kept = self._kept.get(name)
        if kept is None or kept[0] != key:
            kept = None
            if self._kept.pop(name, None) is not None:  # not both at once
                gc.collect()  # compiled graphs hold each other in circles
            self._kept[name] = kept = (key, make())
        return kept[1]


def ascent_of(
    network: Network,
    subject: Subject,
    index: int,
    settings: AscentSettings,
    images: np.ndarray | None,
) -> Ascent:
    """The ascent of one of a network's layers, or of the subject's objectives."""
    from oip.ascent.objectives import MapTargets, objective_targets
    from oip.ascent.reconstruction import Ascent

    if index < len(network.layers):
        targets = MapTargets(network, network.layers[index])
        return Ascent(network, targets, settings, images)
    return Ascent(network, objective_targets(network, subject.objectives), settings, images)


def outlook(bench: Bench, subject: Subject) -> Outlook:
    """Looks at a subject: everything that can be wrong with it is found here.

    Raises:
        OipError: the model, its layers, the data, the settings or the estimators do not fit.
    """
    import msgspec

    from oip.ascent.noise import Noise
    from oip.ascent.objectives import objective_targets
    from oip.mi.estimators.registry import label_estimator
    from oip.network.layer_spec import parse_selections
    from oip.run.run import run_record
    from oip.run.shards import ascent_key

    network, data = bench.network(subject), bench.data(subject)
    told = objective_targets(network, subject.objectives) if subject.objectives else None
    chosen = parse_selections(network, subject.layers) if subject.layers or not told else []
    Noise(network.inputs.shape, subject.settings.noise)
    if subject.rank is not None:
        if data is None or data.labels is None:
            hint = "Information is about a label: name a source that has labels."
            raise DataError(expected(f"data '{subject.data}'", "labels", "none", hint))
        for name in subject.rank.estimators:
            label_estimator(name)
    settings, images = msgspec.to_builtins(subject.settings), bench.images(subject)
    key = ascent_key(network, subject.settings, images)
    layers = [
        LayerOutlook(
            index=layer.index,
            name=layer.name,
            maps=tuple(int(number) for number in maps),
            key=key,
            objectives=False,
            cost=_cost(network, layer.last_call),
        )
        for layer, maps in chosen
    ]
    if told is not None:
        layers.append(
            LayerOutlook(
                index=told.index,
                name=told.name,
                maps=tuple(range(len(told.labels))),
                key=ascent_key(network, subject.settings, images, told.identity),
                objectives=True,
                cost=_cost(network, len(network.calls) - 1),
            )
        )
    return Outlook(
        name=network.name,
        digest=network.digest,
        key=key,
        record=run_record(
            network,
            RunSettings(reconstruct=settings),
            data,
            told.labels if told is not None else (),
        ),
        layers=tuple(layers),
        maps_layers=len(network.layers),
        assumed=not network.inputs.is_known,
    )


def check_model(network: Network, digest: str) -> None:
    """Raises a ModelError where a model is not the one that the batch was planned with."""
    if network.digest != digest:
        raise ModelError(
            expected(
                f"'{network.name}' has changed since the batch began",
                digest[:12],
                network.digest[:12],
                "The same command makes a run for the model as it is now.",
            )
        )


def _cost(network: Network, last_call: int) -> float:
    total = 0.0
    for call in network.calls[: last_call + 1]:
        sides = call.output_shape[1:]
        first = getattr(call.layer, "data_format", "channels_last") == "channels_first"
        nodes = float(np.prod([side or 1 for side in (sides[1:] if first else sides[:-1])]))
        outputs = float(np.prod([side or 1 for side in sides]))
        total += 2.0 * call.layer.count_params() * nodes + _COST_OF_AN_OUTPUT * outputs
    return total


Step = Literal["grow", "stability", "rank"]
Ending = Literal["done", "there", "again", "failed", "storage"]


@dataclass(frozen=True)
class Task:
    """One piece of work. Its result is a file of the run, never what it gives back."""

    step: Step
    subject: Subject
    run: str
    """The run's folder."""
    key: str
    digest: str
    layer: int
    name: str
    """The layer's name."""
    maps: tuple[int, ...]
    block: int = 0
    """Number of the shard."""
    cost: float = 0.0
    """Of all its maps, in any unit, for the time that is left."""

    @property
    def file(self) -> str:
        """Name of the file that it writes."""
        names = {"stability": "stability.json", "rank": "ranking.json"}
        return names.get(self.step, f"shard-{self.block:04d}.npz")


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended."""

    ending: Ending
    """`done`; `there`: it was there already; `again`: an error that may not come again; `failed`:
    one that will; `storage`: nothing can be written."""
    seconds: float
    worker: str
    error: str = ""
    verdicts: dict[str, int] = field(default_factory=dict)


_BENCH = Bench()
_ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads does one piece after the other: each uses them all."""


def look(subject: Subject) -> Outlook:
    """What is known of a subject before any work on it; see `outlook`."""
    with _ONE_AT_A_TIME:
        return outlook(_BENCH, subject)


def work(tasks: Sequence[Task], threads: int | None = None) -> list[Outcome]:
    """Does some tasks, one after the other, and tells how each ended.

    Args:
        tasks: what to do; nothing is done of those after one that could not be written.
        threads: of TensorFlow, where it has not run in this process yet; its own choice if None.
    """
    found = []
    with _ONE_AT_A_TIME:
        _share_cores(threads)
        for task in tasks:
            found.append(_outcome(task))
            if found[-1].ending == "storage":
                break
    return found


def _outcome(task: Task) -> Outcome:
    began = time.monotonic()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    ending: Ending = "done"
    verdicts: dict[str, int] = {}
    error = ""
    try:
        verdicts = _STEPS[task.step](task) or {}
        ending = "done" if verdicts or task.step != "grow" else "there"
    except WriteError as wrong:
        ending, error = "storage", str(wrong)
    except OipError as wrong:
        ending, error = "failed", str(wrong)
    except Exception as wrong:  # a shard may fail in any way, and the others go on
        ending, error = "again", f"{type(wrong).__name__}: {wrong}"
        _BENCH.forget_models()
    return Outcome(ending, round(time.monotonic() - began, 3), worker, error, verdicts)


def _grow(task: Task) -> dict[str, int]:
    from oip.run.run import RunFolder
    from oip.run.shards import grow_block

    check_model(_BENCH.network(task.subject), task.digest)
    ascent = _BENCH.ascent(task.subject, task.layer)
    run = RunFolder(task.run)
    grown = grow_block(run, task.layer, ascent, task.block, np.array(task.maps), task.key)
    return {} if grown is None else dict(Counter(grown.verdicts))


def _stability(task: Task) -> None:
    """What is known of a layer's OIPs together; stability, which says that all is done, is last."""
    from oip.run.run import Run
    from oip.run.stability import measure_stability

    run = Run.open(task.run)
    network = _BENCH.network(task.subject)
    check_model(network, task.digest)
    _BENCH.outputs(task.subject).write(run, task.layer)
    measure_stability(run, task.layer, task.subject.settings.seed)


def _rank(task: Task) -> None:
    from oip.workflows.rank import RankingOptions, rank_layers

    asked = task.subject.rank
    if asked is None:
        return
    network = _BENCH.network(task.subject)
    check_model(network, task.digest)
    options = RankingOptions(asked.estimators, asked.samples, asked.at, asked.seed)
    layer = (network.convolutional[task.layer], np.array(task.maps))
    for result in rank_layers(task.run, network, [layer], _BENCH.data(task.subject), options):
        if isinstance(result, OipError):
            raise result


_STEPS = {"grow": _grow, "stability": _stability, "rank": _rank}


def _share_cores(threads: int | None) -> None:
    if threads is None:
        return
    from oip.core.warnings import import_quietly

    import_quietly("tensorflow")
    import tensorflow as tf

    with suppress(RuntimeError):  # it runs already, with the threads it has
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
