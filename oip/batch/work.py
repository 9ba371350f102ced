"""What is done of a batch in one piece: a shard, a layer's stability, a layer's ranking."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from oip.batch.subjects import Bench, Outlook, Subject, check_model, outlook
from oip.core.errors import OipError
from oip.core.files import WriteError

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
    from oip.run.directory import Run
    from oip.run.growing import grow_block

    check_model(_BENCH.network(task.subject), task.digest)
    ascent = _BENCH.ascent(task.subject, task.layer)
    run = Run(Path(task.run), {})
    grown = grow_block(run, task.layer, ascent, task.block, np.array(task.maps), task.key)
    return {} if grown is None else dict(Counter(grown.verdicts))


def _stability(task: Task) -> None:
    """What is known of a layer's OIPs together; stability, which says that all is done, is last."""
    from oip.run.directory import Run
    from oip.run.stability import measure_stability

    run = Run.open(task.run)
    network = _BENCH.network(task.subject)
    check_model(network, task.digest)
    _BENCH.outputs(task.subject).write(run, task.layer)
    measure_stability(run, task.layer, task.subject.settings.seed)


def _rank(task: Task) -> None:
    from mi.estimators.choice import label_estimator
    from oip.cli.ranking import rank_into

    asked = task.subject.rank
    if asked is None:
        return
    network = _BENCH.network(task.subject)
    check_model(network, task.digest)
    chosen = [label_estimator(name) for name in asked.estimators] or None
    layer = (network.convolutional[task.layer], np.array(task.maps))
    for _, told in rank_into(
        task.run,
        network,
        [layer],
        _BENCH.data(task.subject),
        estimators=chosen,
        samples=asked.samples,
        at=asked.at,
        seed=asked.seed,
    ):
        if isinstance(told, OipError):
            raise told


_STEPS = {"grow": _grow, "stability": _stability, "rank": _rank}


def _share_cores(threads: int | None) -> None:
    if threads is None:
        return
    from oip.core.quiet import import_quietly

    import_quietly("tensorflow")
    import tensorflow as tf

    with suppress(RuntimeError):  # it runs already, with the threads it has
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
