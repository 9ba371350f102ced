"""From a job to the runs it makes, and to what of them is still to be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oip.ascent.reconstruction import aligned_blocks
from oip.ascent.settings import ascent_settings
from oip.batch.job import Job, ModelSource
from oip.batch.keras_applications import application_file, application_name, preprocess_of
from oip.batch.worker import LayerOutlook, Outlook, Subject, Task
from oip.core import files
from oip.core.errors import ModelError, RunError, expected
from oip.core.progress import Progress, silent
from oip.run.run import Run, RunFolder
from oip.run.shards import maps_in_shards, open_blocks, refuse_other_shards
from oip.run.stability import stability_file

SCHEMA = 1
KIND = "oip-batch"
NAME = "batch.json"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a batch."""

    number: int
    folder: Path
    subject: Subject
    outlook: Outlook

    def tasks(self) -> list[Task]:
        """All shards of the run, layer by layer, done or not."""
        return [
            self._task("grow", layer, tuple(maps.tolist()), number)
            for layer in self.outlook.layers
            for number, maps in aligned_blocks(np.array(layer.maps))
        ]

    def after(self, step: Any, layer: LayerOutlook) -> Task:
        """What is done with a layer when its shards are there."""
        return self._task(step, layer, layer.maps)

    def _task(self, step: Any, layer: LayerOutlook, maps: tuple[int, ...], block: int = 0) -> Task:
        return Task(
            step=step,
            subject=self.subject,
            run=str(self.folder),
            key=layer.key,
            digest=self.outlook.digest,
            layer=layer.index,
            name=layer.name,
            maps=maps,
            block=block,
            cost=layer.cost * len(maps) if step == "grow" else 0.0,
        )


def subjects(job: Job, applications: Path, spare: Path | None = None) -> list[Subject]:
    """Every model with every setting.

    Args:
        job: the job.
        applications: folder for the files of keras.applications networks.
        spare: folder for those that are not there yet, if it shall be another one.

    Raises:
        ModelError: a path that is not there, a pattern that fits nothing, no such application.
    """
    settings = [ascent_settings(**table) for table in job.variants()]
    found: dict[Subject, None] = {}
    for source in job.sources():
        preprocess = source.preprocess
        if source.application is not None:
            preprocess = preprocess or preprocess_of(source.application)
        for path in _paths(source, applications, spare or applications):
            for one in settings:
                subject = Subject(
                    path=str(path.absolute()),
                    imports=source.imports,
                    layers=job.layers if source.layers is None else source.layers,
                    objectives=job.objectives,
                    preprocess=preprocess,
                    input_mean=source.input_mean,
                    input_std=source.input_std,
                    input_range=source.input_range,
                    data=_absolute(job.data),
                    data_dir=None if job.data_dir is None else str(Path(job.data_dir).absolute()),
                    settings=one,
                    rank=job.rank,
                    input_size=source.input_size,
                    input_name=source.input,
                )
                found[subject] = None
    return list(found)


def check_folder(out: Path) -> None:
    """Raises a RunError unless a batch is in a folder or could begin there."""
    files.check_writable(out)
    if out.is_dir() and not (out / NAME).exists():
        ours = ("models", "slurm")
        if any(
            not one.name.startswith(files.UNFINISHED) and one.name not in ours
            for one in out.iterdir()
        ):
            raise RunError(
                expected(f"'{out}'", "a batch or an empty folder", "a folder of other files")
            )


def read_batch(out: Path) -> dict[str, Any]:
    """What batch.json says.

    Raises:
        RunError: there is none, or it is of something else.
    """
    told = files.read_json(out / NAME)
    if not isinstance(told, dict) or told.get("kind") != KIND or told.get("schema") != SCHEMA:
        raise RunError(expected(f"'{out / NAME}'", f"a batch of schema {SCHEMA}", "something else"))
    return told


def planned(out: Path, looked: list[tuple[Subject, Outlook]]) -> list[PlannedRun]:
    """Gives every subject its run; writes nothing. Raises as `begin` does."""
    return _numbered(out, looked, _have(out))


def begin(out: Path, looked: list[tuple[Subject, Outlook]]) -> list[PlannedRun]:
    """Gives every subject its run, and writes batch.json and each run.json.

    A run is known again by the key of its shards, whatever the job file says by now.

    Raises:
        RunError: a run's folder holds another model, or shards that were made in another way.
    """
    with files.locked(out):
        have = _have(out)
        found = _numbered(out, looked, have)
        told = {one["run"]: one for one in have}
        told |= {one.folder.name: _told(one) for one in found}
        runs = [told[name] for name in sorted(told)]
        if runs != have:
            files.write_json(out / NAME, {"schema": SCHEMA, "kind": KIND, "runs": runs})
    for one in found:
        Run.begin(one.folder, one.outlook.record)
    return found


def unfinished(
    runs: list[PlannedRun], part: tuple[int, int] = (0, 1), progress: Progress = silent
) -> list[Task]:
    """Shards that are not there as valid files, and so are to be done.

    Args:
        runs: of the batch.
        part: (k, n): only every n-th shard of the whole plan, from the k-th on.
        progress: is told how many shards have been looked at.
    """
    mine = [task for one in runs for task in one.tasks()][part[0] :: part[1]]
    found = []
    for done, task in enumerate(mine, 1):
        run = RunFolder(task.run)
        if not run.shard(task.layer, task.block).exists():
            found.append(task)
            continue
        if open_blocks(run, task.layer, np.array(task.maps), task.key):
            found.append(task)
        progress("shards checked", done, len(mine))
    return found


def there(run: PlannedRun, layer: LayerOutlook) -> list[int]:
    """Numbers of the maps that a layer's shards hold; none where one of them is damaged."""
    try:
        return maps_in_shards(RunFolder(run.folder), layer.index).tolist()
    except RunError:
        return []


def stable(run: PlannedRun, layer: LayerOutlook) -> bool:
    """The layer's stability is known for the maps that are there."""
    return (
        bool(there(run, layer)) and stability_file(RunFolder(run.folder), layer.index) is not None
    )


def looked_at(
    found: list[Subject], look: Callable[[Subject], Outlook], progress: Progress = silent
) -> list[tuple[Subject, Outlook]]:
    """Every subject with what is known of it."""
    looked = []
    for done, subject in enumerate(found, 1):
        looked.append((subject, look(subject)))
        progress("models read", done, len(found))
    return looked


def map_text(maps: tuple[int, ...]) -> str:
    """Map numbers as the command line takes them: `0-15,20`."""
    parts: list[list[int]] = []
    for number in maps:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _have(out: Path) -> list[dict[str, Any]]:
    return read_batch(out)["runs"] if (out / NAME).exists() else []


def _numbered(
    out: Path, looked: list[tuple[Subject, Outlook]], have: list[dict[str, Any]]
) -> list[PlannedRun]:
    numbers = {one["key"]: int(one["run"]) for one in have}
    free = max(numbers.values(), default=-1) + 1
    found: dict[str, PlannedRun] = {}
    for subject, outlook in looked:
        if outlook.key in found:
            continue  # the same model under two names
        if outlook.key not in numbers:
            numbers[outlook.key] = free
            free += 1
        number = numbers[outlook.key]
        folder = out / "runs" / f"{number:04d}"
        Run.check(folder, outlook.record)
        keys = {layer.index: layer.key for layer in outlook.layers}
        refuse_other_shards(RunFolder(folder), outlook.key, keys, outlook.maps_layers)
        found[outlook.key] = PlannedRun(number, folder, subject, outlook)
    return list(found.values())


def _told(run: PlannedRun) -> dict[str, Any]:
    """A run as batch.json holds it: no paths, only names."""
    return {
        "run": run.folder.name,
        "model": run.outlook.name,
        "sha256": run.outlook.digest,
        "key": run.outlook.key,
        "settings": msgspec.to_builtins(run.subject.settings),
        "layers": [
            {"index": layer.index, "layer": layer.name, "maps": map_text(layer.maps)}
            for layer in run.outlook.layers
        ],
        "ranked": run.subject.rank is not None,
    }


def _paths(source: ModelSource, applications: Path, spare: Path) -> list[Path]:
    if source.application is not None:
        path = applications / application_name(source)
        return [path if path.is_file() else application_file(source, spare)]
    text = source.path or ""
    path = Path(text)
    if path.exists():
        return [path]
    if not any(sign in text for sign in "*?["):
        raise ModelError(expected(f"model '{text}'", "a .keras or .h5 file", "no such file"))
    found = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    if not found:
        raise ModelError(expected(f"models '{text}'", "files that fit the pattern", "none"))
    return found


def _absolute(source: str | None) -> str | None:
    """A source of data as any process of any folder understands it."""
    if source is None:
        return None
    stem, colon, part = source.rpartition(":")
    name, part = (stem, colon + part) if part in ("train", "test") and stem else (source, "")
    return str(Path(name).absolute()) + part if Path(name).exists() else source
