"""The work of a batch: models are inspected, shards grown, layers finished and ranked.

A process keeps what the next piece of work needs, see `WorkerCache`.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from oip.ascent.noise import Noise
from oip.ascent.reconstruction import Ascent
from oip.ascent.settings import AscentSettings, AutoSettings, of_input
from oip.ascent.targets import MapTargets, objective_targets
from oip.batch.job import RankSettings
from oip.core.errors import DataError, ModelError, OipError
from oip.core.files import WriteError
from oip.core.formats import RunFile
from oip.core.frameworks import import_quietly
from oip.core.images import preprocess_of
from oip.mi.estimators.base import label_estimator
from oip.network.inputs import check_images
from oip.network.layer_spec import parse_selections
from oip.network.network import Network
from oip.run.class_probabilities import ClassProbabilities, finish_layer
from oip.run.run import Run, RunFolder, run_record, run_settings
from oip.run.shards import ascent_key, grow_block
from oip.workflows.directions import with_directions_of
from oip.workflows.inputs import ModelInput, ModelSize, load_data, open_network
from oip.workflows.rank import RankingOptions, rank_layers

if TYPE_CHECKING:
    from oip.models import Dataset
    from oip.models.datasets import ModelShape

_COST_OF_AN_OUTPUT = 20
"""Operations that an output of a layer is worth beside its multiplications."""

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class ModelJob:
    """A model, its input, and the work on it; small, and the same for any process."""

    path: str
    input: ModelInput
    layers: tuple[str, ...]
    objectives: tuple[str, ...]
    data: str | None
    data_dir: str | None
    requested: AscentSettings | AutoSettings
    rank: RankSettings | None
    resize: str | None = None
    directions: str | None = None
    """A run of the model whose directions are layers, too."""
    call: str = ""
    """Differs from call to call of `oip.batch.run`, between which files may change."""

    @property
    def settings(self) -> AscentSettings:
        """Settings of the ascent; of `auto`, they are known once the model was inspected."""
        if isinstance(self.requested, AutoSettings):
            raise TypeError("the settings of a model that was not yet inspected")
        return self.requested

    @property
    def network_key(self) -> Hashable:
        """All that the network and its input depend on."""
        source = self.data, self.data_dir, self.resize
        return self.call, self.path, self.input, *source, self.directions

    @property
    def data_of_model(self) -> bool:
        """Whether the data are image files or others that get the size of the model's input."""
        from oip.models.sources import holds_pictures

        return self.data is not None and (self.resize is not None or holds_pictures(self.data))


@dataclass(frozen=True)
class LayerInspection:
    """A layer that is to be done, or the objectives, which come after the last layer."""

    index: int
    name: str
    maps: tuple[int, ...]
    key: str
    """Of its shards."""
    cost: float
    """Operations of one forward pass up to the layer, roughly."""
    objectives: bool = False


@dataclass(frozen=True)
class ModelInspection:
    """Facts about a model's job that are known before any work on it."""

    name: str
    """The model's file name."""
    digest: str
    """SHA-256 of the model."""
    key: str
    """Of all shards of maps: model, input, settings and data."""
    record: RunFile
    """For run.json."""
    layers: tuple[LayerInspection, ...]
    objectives_index: int
    """The index of objectives in a run."""
    assumed: bool
    """The input's mean and deviation are not known; 0 and 1 are taken."""
    application: str | None = None
    """The network of keras.applications that names of the model say, where they are assumed."""

    @property
    def preprocess_hint(self) -> str:
        """How the job can say the preparation of images, as a sentence; empty where not known."""
        kind = preprocess_of(self.application)
        if kind is None:
            return ""
        return f'For {self.application} of keras.applications: preprocess = "{kind}".'


class WorkerCache:
    """The network, the data and the ascent that a process keeps for its next piece of work.

    One of each, so that memory does not grow with the number of models and layers. It serves one
    call of `oip.batch.run`: before the next one, files may be others of the same name.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Hashable, object]] = {}

    def network(self, job: ModelJob) -> Network:
        """Return the job's model, its input settled."""
        entry = self._entries.get("network")
        if entry is not None and entry[0] != job.network_key:
            self.forget_models()  # with all that holds it, before the next one is opened
        return self._cached("network", job.network_key, lambda: self._loaded(job))

    def data(self, job: ModelJob) -> Dataset | None:
        """Return the job's data, None without any."""
        if job.data is None:
            return None
        if job.data_of_model:
            network = self.network(job)
            return self._data(job, lambda image_shape: network.inputs.shape)
        return self._data(job, None)

    def _data(self, job: ModelJob, model_shape: ModelShape | None) -> Dataset:
        source, folder = job.data or "", job.data_dir
        key = (job.call, source, folder) if model_shape is None else job.network_key
        return self._cached(
            "data",
            key,
            lambda: load_data(source, data_dir=folder, resize=job.resize, model_shape=model_shape),
        )

    def images(self, job: ModelJob) -> np.ndarray | None:
        """Return the data's images (n, h, w, b), checked for the job's model."""
        data = self.data(job)
        if data is None:
            return None
        return check_images(self.network(job).inputs, data.images, "data")

    def ascent(self, job: ModelJob, index: int) -> Ascent:
        """Return the ascent of one layer, or of the objectives; screened and traced once."""
        network = self.network(job)
        return self._cached(
            "ascent",
            (job.network_key, job.objectives, job.settings, index),
            lambda: ascent_of(network, job, index, job.settings, self.images(job)),
        )

    def class_probabilities(self, job: ModelJob) -> ClassProbabilities:
        """Return the probabilities that the job's model ends in; traced once."""
        network = self.network(job)
        return self._cached("outputs", job.network_key, lambda: ClassProbabilities(network))

    def forget_models(self) -> None:
        """Give back what belongs to a model."""
        names = {"ascent", "outputs", "network"} & self._entries.keys()
        for name in names:
            del self._entries[name]
        if names:
            gc.collect()

    def _loaded(self, job: ModelJob) -> Network:
        if not job.data_of_model:
            network = open_network(job.path, self.data(job), job.input)
        else:
            size = ModelSize(job.path, job.input)
            network = open_network(size.model, self._data(job, size), job.input)
        return network if job.directions is None else with_directions_of(network, job.directions)

    def _cached(self, name: str, key: Hashable, make: Callable[[], Kept]) -> Kept:
        entry = self._entries.get(name)
        if entry is None or entry[0] != key:
            entry = None
            is_replaced = self._entries.pop(name, None) is not None  # not both at once
            if is_replaced and name != "data":
                gc.collect()  # compiled graphs hold each other in circles
            self._entries[name] = entry = (key, make())
        return entry[1]  # type: ignore[return-value]


def ascent_of(
    network: Network,
    job: ModelJob,
    index: int,
    settings: AscentSettings,
    images: np.ndarray | None,
) -> Ascent:
    """Return the ascent of one of a network's layers, or of the job's objectives."""
    if index == network.objectives_index:
        targets = objective_targets(network, job.objectives)
    else:
        targets = MapTargets(network, network.layer_at(index))
    return Ascent(network, targets, settings, images)


def inspect_model(cache: WorkerCache, job: ModelJob) -> ModelInspection:
    """Inspect a model's job, so that whatever is wrong with it is known before any work.

    Raises:
        OipError: the model, its layers, the data, the settings or the estimators do not fit.
    """
    network, data = cache.network(job), cache.data(job)
    targets = objective_targets(network, job.objectives) if job.objectives else None
    selections = parse_selections(network, job.layers) if job.layers or not targets else []
    ascent_settings = of_input(job.requested, network.inputs.shape)
    Noise(network.inputs.shape, ascent_settings.noise)  # noise that does not fit is refused here
    if job.rank is not None:
        if data is None or data.targets is None:
            hint = "Information is about a label: name a source that has labels."
            raise DataError(f"data '{job.data}'", "labels", "none", hint)
        for name in job.rank.estimators:
            label_estimator(name)
    images = cache.images(job)
    key = ascent_key(network, ascent_settings, images)
    layers = [
        LayerInspection(
            layer.index, layer.name, tuple(maps.tolist()), key, _cost(network, layer.last_call)
        )
        for layer, maps in selections
    ]
    if targets is not None:
        maps = tuple(range(len(targets.labels)))
        own_key = ascent_key(network, ascent_settings, images, targets.identity)
        cost = _cost(network, len(network.calls) - 1)
        layers.append(LayerInspection(targets.index, targets.name, maps, own_key, cost, True))
    record = run_record(
        network,
        run_settings(ascent_settings),
        data,
        targets.labels if targets is not None else (),
        [layer for layer, _ in selections],
    )
    return ModelInspection(
        name=network.name,
        digest=network.digest,
        key=key,
        record=record,
        layers=tuple(layers),
        objectives_index=network.objectives_index,
        assumed=not network.inputs.is_known,
        application=network.inputs.application,
    )


def check_model(network: Network, digest: str) -> None:
    """Raise a ModelError where a model is not the one that the batch was planned with."""
    if network.digest != digest:
        raise ModelError(
            f"'{network.name}' has changed since the batch began",
            digest[:12],
            network.digest[:12],
            "The same command makes a run for the model as it is now.",
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
    """One piece of work. Its result is a file of the run, never a returned value."""

    step: Step
    job: ModelJob
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
    """The end of a piece of work."""

    ending: Ending
    """`done`; `there`: it was there already; `again`: an error that may not come a second time;
    `failed`: one that will; `storage`: nothing can be written."""
    seconds: float
    worker: str
    error: str = ""
    verdicts: dict[str, int] = field(default_factory=dict)


CACHE = WorkerCache()
"""Of this process."""
_ONE_AT_A_TIME = threading.Lock()
"""A worker with several threads does one piece after the other: each uses them all."""


def inspect(job: ModelJob) -> ModelInspection:
    """Inspect a model's job with this process's cache; see `inspect_model`."""
    with _ONE_AT_A_TIME:
        return inspect_model(CACHE, job)


def work(tasks: Sequence[Task], threads: int | None = None) -> list[Outcome]:
    """Do some tasks, one after the other, and return how each ended.

    Args:
        tasks: the work; tasks after one that could not be written are left.
        threads: of TensorFlow, where it has not run in this process yet; its own choice if None.
    """
    outcomes = []
    with _ONE_AT_A_TIME:
        _share_cores(threads)
        for task in tasks:
            outcomes.append(_outcome(task))
            if outcomes[-1].ending == "storage":
                break
    return outcomes


def _outcome(task: Task) -> Outcome:
    started = time.monotonic()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    ending: Ending = "done"
    verdicts: dict[str, int] = {}
    message = ""
    try:
        verdicts = STEPS[task.step](task)
        ending = "done" if verdicts or task.step != "grow" else "there"
    except WriteError as error:
        ending, message = "storage", str(error)
    except OipError as error:
        ending, message = "failed", str(error)
    except Exception as error:  # a shard may fail in any way, and the others go on
        ending, message = "again", f"{type(error).__name__}: {error}"
        CACHE.forget_models()
    return Outcome(ending, round(time.monotonic() - started, 3), worker, message, verdicts)


def _grow(task: Task) -> dict[str, int]:
    check_model(CACHE.network(task.job), task.digest)
    ascent = CACHE.ascent(task.job, task.layer)
    run = RunFolder(task.run)
    oips = grow_block(run, task.layer, ascent, task.block, np.array(task.maps), task.key)
    return {} if oips is None else dict(Counter(oips.verdicts))


def _finish_layer(task: Task) -> dict[str, int]:
    """Make class probabilities and stability if they are missing."""
    check_model(CACHE.network(task.job), task.digest)
    seed = task.job.settings.seed
    finish_layer(Run.open(task.run), task.layer, seed, lambda: CACHE.class_probabilities(task.job))
    return {}


def _rank(task: Task) -> dict[str, int]:
    rank, data = task.job.rank, CACHE.data(task.job)
    if rank is None or data is None:
        return {}
    network = CACHE.network(task.job)
    check_model(network, task.digest)
    options = RankingOptions(rank.estimators, rank.samples, rank.at, rank.seed)
    layer = (network.layer_at(task.layer), np.array(task.maps))
    list(rank_layers(task.run, network, [layer], data, options))
    return {}


STEPS: dict[Step, Callable[[Task], dict[str, int]]] = {
    "grow": _grow,
    "stability": _finish_layer,
    "rank": _rank,
}
"""The work of each step; growing returns how many maps have each verdict."""


def _share_cores(threads: int | None) -> None:
    if threads is None:
        return
    tf = import_quietly("tensorflow")
    with suppress(RuntimeError):  # it runs already, with the threads it has
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
