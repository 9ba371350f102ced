"""Commands whose work is done: their result is read from the run, without opening the model.

`RUN/finished.json` holds, for each command, its arguments the last time, its result, and the
SHA-256 of every file of its layers. The result is used only if nothing has changed since: the
model's file and its sidecar, the data, each option, the version, each file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from oip.core import files
from oip.core.errors import LOG, OipError
from oip.core.formats import FinishedCommand, FinishedFile
from oip.core.records import Part
from oip.network.inputs import sidecar_path
from oip.run.check import ERROR
from oip.run.run import Run, RunFolder, versions
from oip.run.shards import data_digest, key_of

if TYPE_CHECKING:
    from oip.models import Dataset

Result = TypeVar("Result", bound=Part)

NAME = "finished.json"
_SHOWN = {"rank": "legibility.json"}
"""Files of a layer that a command does not make, but shows if they exist."""


class Request:
    """The arguments of a command, as a key of its work.

    Args:
        command: its name.
        out: the run's folder.
        model: the model's file.
        source, data_dir, resize: of the data, as for `models.load`; None for no data.
        choices: all other options, as plain values or records.
    """

    def __init__(
        self,
        command: str,
        out: Path,
        model: Path,
        source: str | None,
        data_dir: Path | None,
        resize: str | None,
        choices: Mapping[str, object],
    ):
        self.command = command
        self._out, self._model = Path(out), Path(model)
        self._data = (source, data_dir, resize)
        self._choices = choices

    def finished_result(self, kind: type[Result]) -> Result | None:
        """Return the result of the same command if all its files are as it left them, else None.

        Args:
            kind: the record that the result is read as.
        """
        try:
            record = FinishedFile.read_if_whole(self._out / NAME)
            stored = record.commands.get(self.command) if record is not None else None
            if stored is None or stored.arguments != key_of(self._arguments()):
                return None
            if stored.request != self._key(self._images):
                return None
            is_same = all(
                files.is_plain_path(name) and _digest(self._out / name) == digest
                for name, digest in stored.files.items()
            )
            if is_same:
                LOG.info("done before, by %s", self._out / NAME)
            return msgspec.convert(stored.result, kind) if is_same else None
        except (OipError, OSError, msgspec.ValidationError):
            return None  # the command itself says what is wrong

    def save_result(
        self, run: RunFolder, layers: Iterable[int], images: Dataset | None, result: Part
    ) -> None:
        """Save the result of a command that has done all of its work on some layers."""
        layers = list(layers)
        paths = sorted(path for index in layers for path in run.folder(index).iterdir())
        paths = [path for path in paths if _is_result(path)]
        if self.command in _SHOWN:
            paths += [run.folder(index) / _SHOWN[self.command] for index in layers]
        names = sorted({path.relative_to(run.path).as_posix() for path in paths})
        command = FinishedCommand(
            request=self._key(images),
            arguments=key_of(self._arguments()),
            result=result.to_dict(),
            files={name: _digest(run.path / name) for name in names},
        )
        with files.locked(run.path):
            earlier = FinishedFile.read_if_whole(run.path / NAME)
            commands = dict(earlier.commands) if earlier is not None else {}
            FinishedFile(commands=commands | {self.command: command}).write(run.path / NAME)

    @cached_property
    def _images(self) -> Dataset | None:
        """The data in the size of the run's input."""
        source, data_dir, resize = self._data
        if source is None:
            return None
        from oip import models

        spec = Run.open(self._out, tidy=False).record.input
        model_shape = None if spec is None else lambda image_shape: tuple(spec.shape)
        return models.load(source, data_dir, "test", resize=resize, model_shape=model_shape)

    def _key(self, images: Dataset | None) -> str:
        data = None
        if images is not None:
            labels = None if images.targets is None else data_digest(images.targets)
            data = [data_digest(images.images), labels, list(images.classes), images.source]
        return key_of({**self._arguments(), "data": data})

    def _arguments(self) -> dict[str, object]:
        """Return the arguments of the command, without its data."""
        sidecar = sidecar_path(self._model)
        return {
            "versions": versions(),
            "model": files.sha256(self._model),
            "name": self._model.name,
            "sidecar": files.sha256(sidecar) if sidecar.is_file() else None,
            "resize": self._data[2],
            "choices": {name: _plain(value) for name, value in self._choices.items()},
        }


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {name: _plain(field_value) for name, field_value in vars(value).items()}
    return msgspec.to_builtins(value, enc_hook=str)


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, empty where there is none."""
    return files.sha256(path) if path.is_file() else ""


def _is_result(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and not path.name.endswith(ERROR)
