"""A run: a directory of files that hold all results.

RUN/run.json                        model, input statistics, settings, seed, versions, layers
RUN/run.copy.json                   the same, for the case that run.json is damaged
RUN/layers/000/shard-0000.npz       OIPs of an aligned block of 64 maps of layer 0
RUN/layers/000/stability.json       similarity of the starts against the null
RUN/layers/000/softmax.npz          the model's probabilities for every map's best image
RUN/layers/000/ranking.json         the layer's ranking, as `oip rank --json` prints it
RUN/layers/000/responses.npz        best data images and response histograms of every map

The fields of these files are in `oip.core.formats` and `oip.core.layer_formats`.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from oip.ascent.settings import (
    AscentSettings,
    current_names,
    nearest_preset,
    stored_settings,
)
from oip.core import files, html
from oip.core.checks import check_path
from oip.core.errors import RunError
from oip.core.formats import (
    DataRecord,
    InputRecord,
    LayerRecord,
    LoadingRecord,
    ModelRecord,
    RunFile,
    RunSettings,
    SidecarFile,
)
from oip.core.layer_formats import RankingFile, ResponsesFile, StabilityFile
from oip.core.records import FileRecord, is_there
from oip.network.inputs import sidecar_path
from oip.network.layers import LayerInfo
from oip.network.network import Network

NAME = "run.json"
_RECORD = "record"
"""Folder of a training record, which may be there before the run is."""


class RunFolder:
    """The paths of a run's files; nothing is read."""

    def __init__(self, path: str | Path):
        self.path = check_path("folder of the run", path)

    def folder(self, index: int) -> Path:
        """Return the folder of a layer's files."""
        return self.path / "layers" / f"{index:03d}"

    def shard(self, index: int, number: int) -> Path:
        """Return the file of a block of 64 maps."""
        return self.folder(index) / f"shard-{number:04d}.npz"

    def shards(self, index: int) -> list[Path]:
        """Return the layer's shard files, in order."""
        return sorted(self.folder(index).glob("shard-[0-9]*.npz"))

    def stability(self, index: int) -> StabilityFile | None:
        """Return the layer's stability, or None where there is no file."""
        return StabilityFile.read_if_there(self.folder(index) / "stability.json")


class Run(RunFolder):
    """One run directory. Open an existing one with `Run.open`, begin one with `Run.begin`."""

    def __init__(self, path: str | Path, record: RunFile):
        super().__init__(path)
        self.record = record
        """The content of run.json."""

    @classmethod
    def open(cls, path: str | Path, tidy: bool = True) -> Run:
        """Open a run.

        Args:
            path: the run's folder.
            tidy: remove what killed builds of a gallery left behind.

        Raises:
            RunError: no such folder, not a run, or a run of another schema.
        """
        path = check_path("folder of the run", path)
        if not is_there(path / NAME):
            received = "no run.json in it" if path.is_dir() else "no such folder"
            hint = "Begin a run with 'oip reconstruct' or 'oip rank'."
            if is_there(path / "batch.json"):
                received = "that of a batch"
                hint = f"Name one of its runs, such as '{path / 'runs' / '0000'}'."
            raise RunError(f"'{path}'", "the folder of a run", received, hint)
        run = cls(path, RunFile.read_either(path / NAME))
        if tidy:
            clear_leftovers(path, with_unfinished=False)
        return run

    @classmethod
    def of(cls, run: str | Path | Run, tidy: bool = True) -> Run:
        """Return a run, or open the one in a folder, as `open` does."""
        return run if isinstance(run, Run) else cls.open(run, tidy)

    @classmethod
    def begin(cls, path: str | Path, record: RunFile, beside: tuple[str, ...] = ()) -> Run:
        """Begin a run, or go on with one of the same model.

        The new record replaces what an earlier command wrote of the same things, but for the input
        that the shards were grown with, and for the data of the ranking. A run of another model
        (SHA-256) is refused and stays as it is.

        Args:
            path: the run's folder; new, empty, or a run.
            record: the content of run.json.
            beside: names that may be in the folder already, such as the model's own.
        """
        cls.check(path, record, beside)
        clear_leftovers(Path(path))
        with files.locked(Path(path)):
            run = cls.check(path, record, beside)
            new_run = cls(path, record if run is None else _merged(run.record, record))
            if not new_run.record.is_at(new_run.path / NAME):
                new_run.save()
        return new_run

    @classmethod
    def check(cls, path: str | Path, record: RunFile, beside: tuple[str, ...] = ()) -> Run | None:
        """Return the run in a folder, None if the folder can take one; a RunError otherwise.

        Args: as for `begin`. Nothing is written.
        """
        path = check_path("folder of the run", path)
        files.check_writable(path)
        if is_there(path / NAME):
            run = cls.open(path, tidy=False)
            check_same_model(path, run.record.model, record.model, "Choose another folder.")
            return run
        if path.is_dir() and any(_is_foreign(entry.name, beside) for entry in path.iterdir()):
            received = "a folder of other files"
            raise RunError(f"'{path}'", "a run directory or an empty folder", received)
        return None

    def save(self) -> None:
        """Write run.json."""
        self.record.write(self.path / NAME)

    def note_made(self, index: int, name: str) -> None:
        """Note in run.json that a command wrote a file of a layer, so that it is missed if lost."""
        key = self.folder(index).name
        with files.locked(self.path):
            record = RunFile.read_either(self.path / NAME)
            files_made = _joined(record.made, {key: [name]})
            record = msgspec.structs.replace(record, made=files_made)
            if not record.is_at(self.path / NAME):  # the copy may be that of a killed process
                self.record = record
                self.save()

    def keep(self, index: int, name: str, record: FileRecord) -> None:
        """Write a file of a layer, and note that it was made."""
        self.change(index, name, lambda _: record)

    def change(self, index: int, name: str, change: Callable[[Path], FileRecord]) -> None:
        """Note that a layer's file is made, and write what `change` returns for its path.

        No other process writes the file meanwhile, so that it can be read and added to. The note
        comes first: a process that is killed in between leaves a file that `verify_run` misses, not
        one that is finished and never missed.
        """
        folder = self.folder(index)
        with files.locked(folder):
            record = change(folder / name)
            self.note_made(index, name)
            record.write(folder / name)

    def check_unit_layer(self, network: Network, name: str) -> None:
        """Raise a RunError unless the run is of a network and shows the units of a layer."""
        given_model = ModelRecord(name=network.name, sha256=network.digest)
        check_same_model(self.path, self.record.model, given_model)
        layers = [self.layer(index) for index in {*self.reconstructed(), *self.ranked()}]
        if name not in [layer.name for layer in layers if not layer.objectives]:
            wording = f"OIPs or a ranking of '{name}'"
            raise RunError(f"'{self.path}'", wording, "none", "Use 'oip reconstruct' first.")

    @property
    def layers(self) -> list[LayerRecord]:
        """Every layer with maps of the model, and other layers that were used, by their index."""
        return self.record.layers

    def layer(self, index: int) -> LayerRecord:
        """Return the layer of an index."""
        return next(layer for layer in self.layers if layer.index == index)

    def reconstructed_layer(self, name: str) -> LayerRecord | None:
        """Return a layer of a name that has OIPs of its maps, None where there is none."""
        layers = (self.layer(index) for index in self.reconstructed())
        return next(
            (layer for layer in layers if layer.name == name and not layer.objectives), None
        )

    def reconstructed(self) -> list[int]:
        """Return the indices of the layers that have OIPs."""
        return [layer.index for layer in self.layers if self.shards(layer.index)]

    def ranked(self) -> list[int]:
        """Return the indices of the layers that have a ranking."""
        indices = [layer.index for layer in self.layers]
        return [index for index in indices if (self.folder(index) / "ranking.json").is_file()]

    def ranking(self, index: int) -> RankingFile | None:
        """Return the layer's ranking, or None where there is no file."""
        return RankingFile.read_if_there(self.folder(index) / "ranking.json")

    def responses(self, index: int) -> ResponsesFile | None:
        """Return the layer's best data images and response histograms, or None without a file."""
        return ResponsesFile.read_if_there(self.folder(index) / "responses.npz")

    def __repr__(self) -> str:
        grown, ranked = (
            ", ".join(f"@{index}" for index in indices) or "no layer"
            for indices in (self.reconstructed(), self.ranked())
        )
        name = self.record.model.name
        return f"<Run '{self.path}' of {name}: OIPs of {grown}; rankings of {ranked}>"

    def _repr_html_(self) -> str:
        ranked = self.ranked()
        rows = [
            (
                f"@{layer.index}",
                layer.name,
                len(self.shards(layer.index)),
                "yes" if layer.index in ranked else "-",
            )
            for layer in self.layers
        ]
        return html.block(
            f"run '{self.path}' of {self.record.model.name}",
            html.table(("index", "layer", "shards of OIPs", "ranked"), rows),
        )


def check_same_model(
    path: Path, model: ModelRecord, given_model: ModelRecord, hint: str = ""
) -> None:
    """Raise a RunError, with a way out, unless the model of the run at a path is the other one."""
    if model.sha256 != given_model.sha256:
        expected, new = (
            f"'{record.name}' ({record.sha256[:12]})" for record in (model, given_model)
        )
        raise RunError(f"'{path}' is a run of another model", expected, new, hint)


def other_way(run: RunFolder, existing: RunFile | None, requested: RunFile | None) -> RunError:
    """Return the error that a run holds OIPs of other settings, which names them.

    Args:
        run: the run.
        existing: its record, as far as it is known.
        requested: the record of what was asked for.
    """
    subject = f"'{run.path}' holds OIPs made in another way"
    hint = "Choose another folder, or give the same values."
    names = [] if existing is None or requested is None else _differing(existing, requested)
    if existing is None or requested is None or not names:
        expected = "the same model, input, settings, seed and data"
        return RunError(subject, expected, "others", hint)
    values, received = (
        ", ".join(f"{name} {_oip_settings(record).get(name)}" for name in names)
        for record in (existing, requested)
    )
    return RunError(subject, values, received, hint)


def _differing(existing: RunFile, requested: RunFile) -> list[str]:
    """Return the names of settings of OIPs that differ, `data` only where no other does.

    A later ranking may have noted other data, in runs of earlier versions.
    """
    old, new = map(_oip_settings, (existing, requested))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [name for name in names if name != "data"] or names


def _oip_settings(record: RunFile) -> dict[str, object]:
    """Return the settings that OIPs depend on by their names in messages."""
    defaults = msgspec.to_builtins(AscentSettings())
    inputs = {} if record.input is None else record.input.to_dict()
    inputs.pop("source", None)
    return {
        **defaults,
        **(record.settings.reconstruct or {}),
        **{f"input {name}": value for name, value in inputs.items()},
        "start": "none" if record.settings.start is None else record.settings.start[:12],
        "data": grown_on(record).source or "none",
    }


def grown_on(record: RunFile) -> DataRecord:
    """Return the images that the OIPs of a run are compared with; without a source for none."""
    return record.settings.data or record.data or DataRecord(source="")


def _is_foreign(name: str, beside: tuple[str, ...]) -> bool:
    is_ours = name in beside or name == _RECORD
    return not is_ours and not name.startswith(files.UNFINISHED)


def _merged(old: RunFile, new: RunFile) -> RunFile:
    """Return the record of a run after a further command."""
    fields = {
        name: getattr(old if getattr(new, name) is None else new, name)
        for name in RunFile.__struct_fields__
    }
    is_grown_again = new.settings.reconstruct is not None
    is_ranked_again = new.settings.rank is not None
    layers = {layer.index: layer for layer in (*old.layers, *new.layers)}
    fields["layers"] = [layers[index] for index in sorted(layers)]
    if old.settings.reconstruct is not None and not is_grown_again and old.input is not None:
        fields["input"] = old.input  # the one that the shards were grown with
    if old.settings.rank is not None and not is_ranked_again:
        fields["data"], fields["classes"] = old.data or new.data, old.classes or new.classes
    latest = new if is_grown_again else old
    fields["settings"] = msgspec.structs.replace(
        latest.settings,
        rank=(new if is_ranked_again else old).settings.rank,
        data=_own_data_of_oips(latest, fields["data"]),
    )
    fields["made"] = _joined(old.made, new.made)
    return RunFile(**fields)


def _own_data_of_oips(record: RunFile, data: DataRecord | None) -> DataRecord | None:
    """Return the data that OIPs are compared with; None without OIPs, or if it is the run's."""
    if record.settings.reconstruct is None:
        return None
    data_of_oips = grown_on(record)
    return None if data_of_oips == (data or DataRecord(source="")) else data_of_oips


def _joined(*records: dict[str, list[str]] | None) -> dict[str, list[str]] | None:
    """Return the files of layers that any of some records notes, in order; None for none."""
    pairs = sorted(
        {(key, name) for record in records if record for key in record for name in record[key]}
    )
    joined: dict[str, list[str]] = {}
    for key, name in pairs:
        joined.setdefault(key, []).append(name)
    return joined or None


def own_files(path: str | Path, model: Path | None) -> tuple[str, ...]:
    """Return the names of a model's file and its sidecar, if they are in the run's own folder."""
    folder = check_path("folder of the run", path)
    if model is None or model.resolve().parent != folder.resolve():
        return ()
    return (model.name, sidecar_path(model).name)


class Data(Protocol):
    """Images (n, h, w, b), names of their classes and their source, as `models.load` gives them."""

    @property
    def images(self) -> np.ndarray: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...


def run_settings(settings: AscentSettings, start: str | None = None) -> RunSettings:
    """Return the settings of a run that begins with a reconstruction.

    Args:
        start: the digest of the image that it begins with.
    """
    stored = stored_settings(settings)
    preset, _ = nearest_preset(current_names(stored))
    return RunSettings(reconstruct=stored, preset=preset, start=start)


def run_record(
    network: Network,
    settings: RunSettings,
    data: Data | None = None,
    objectives: Sequence[str] = (),
    layers: Iterable[LayerInfo] = (),
) -> RunFile:
    """Return the record of a run that begins with one command.

    All layers with maps are listed, and of all other layers those that were used. Objectives, which
    images were grown for besides, are listed as one more layer.
    """
    infos = {layer.index: layer for layer in (*network.layers, *layers)}
    records = [msgspec.convert(infos[index].to_dict(), LayerRecord) for index in sorted(infos)]
    if objectives:
        records.append(_objectives_layer(network.objectives_index, objectives))
    sidecar = network.sidecar or SidecarFile()
    classes = (data.classes if data is not None else None) or sidecar.classes
    loading = LoadingRecord(
        imports=list(network.imports) if network.imports else None,
        input_size=list(network.inputs.shape[:-1]) if network.free else None,
    )
    return RunFile(
        model=ModelRecord(name=network.name, sha256=network.digest),
        input=msgspec.convert(network.inputs.to_dict(), InputRecord),
        layers=sorted(records, key=lambda record: record.index),
        settings=settings,
        versions=versions(),
        loading=loading if loading != LoadingRecord() else None,
        classes=[str(name) for name in classes] if classes else None,
        data=None
        if data is None
        else DataRecord(
            source=data.source, images=len(data.images), resize=getattr(data, "resize", None)
        ),
        accuracy=sidecar.accuracy,
    )


def _objectives_layer(index: int, objectives: Sequence[str]) -> LayerRecord:
    return LayerRecord(
        index=index,
        name="objectives",
        layer_class="Objective",
        maps=len(objectives),
        size=[],
        receptive_field=None,
        jump=None,
        offset=None,
        activation="linear",
        objectives=list(objectives),
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that make the numbers."""
    numbers = {"python": platform.python_version()}
    for name in ("oip", "keras", "tensorflow", "numpy", "scikit-learn"):
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers


UNFINISHED_GALLERY = ".gallery-"
"""How the names of folders begin in which a gallery is built."""
OLD_GALLERY = "-old"
"""The end of the name of a gallery that is being replaced."""
_STALE_SECONDS = 3600


def leftovers(folder: Path) -> list[Path]:
    """Return the files and folders in a run that no living process will finish."""
    paths = []
    for path in folder.rglob(f"{files.UNFINISHED}*"):
        with suppress(OSError):  # another process has just finished it
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                paths.append(path)
    return paths + _builds(folder)


def clear_leftovers(folder: Path, with_unfinished: bool = True) -> list[Path]:
    """Remove the leftovers in a run; a gallery that a build had moved away comes back.

    Args:
        folder: of the run; not locked by this process.
        with_unfinished: also unfinished files, for which all folders are looked through.

    Returns:
        The paths that were removed or moved back.
    """
    if not (leftovers(folder) if with_unfinished else _builds(folder)):
        return []
    cleared = []
    with suppress(OSError, files.WriteError), files.locked(folder):  # a run that may only be read
        for path in leftovers(folder) if with_unfinished else _builds(folder):
            if path.name.endswith(OLD_GALLERY) and not (folder / "gallery").exists():
                path.rename(folder / "gallery")
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            cleared.append(path)
    return cleared


def _builds(folder: Path) -> list[Path]:
    """Return the folders of galleries whose build was killed."""
    paths = sorted(path for path in folder.glob(f"{UNFINISHED_GALLERY}*") if path.is_dir())
    return [
        path
        for path in paths
        if not files.is_locked(path.with_name(path.name.removesuffix(OLD_GALLERY)))
    ]
