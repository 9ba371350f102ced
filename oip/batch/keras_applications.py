"""Networks of keras.applications as files of a batch, each built once, in a process of its own.

A process of its own, because unnamed layers are numbered through a whole process, and because the
seed of random weights is one for all of Keras. The file then is the model: the same for every
worker, and for the same command when it goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from oip.batch.job import ModelSource
from oip.core.errors import ModelError, OipError, did_you_mean

_MARK = "oip: "


def application_name(source: ModelSource) -> str:
    """Return the name of the file of an application."""
    height, width = source.size
    weights = f"seed-{source.seed}" if source.weights == "none" else source.weights
    top = "-top" if source.top else ""
    return f"{source.application}-{height}x{width}-{weights}{top}.keras"


def application_file(source: ModelSource, folder: Path) -> Path:
    """Return the file of an application, after building it if it is missing.

    Args:
        source: with an application.
        folder: where such files are.

    Raises:
        ModelError: there is none of that name, or it cannot be built (its weights cannot be
            downloaded, it cannot be so small).
    """
    path = folder / application_name(source)
    if path.is_file():
        return path
    answer = subprocess.run(
        build_command(source, path),
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if answer.returncode:
        lines = [line for line in answer.stderr.splitlines() if line.startswith(_MARK)]
        raise ModelError(
            lines[-1].removeprefix(_MARK) if lines else f"cannot build '{source.application}'"
        )
    return path


def build_command(source: ModelSource, path: Path) -> list[str]:
    """Return the command of a process that builds an application.

    The process searches for modules where this one does, in the same order: nothing is added that
    could hide a module of the user, or that the working directory could hide.
    """
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from oip.batch.keras_applications import main; main(*sys.argv[2:])"
    )
    request = msgspec.json.encode(source).decode()
    return [sys.executable, "-P", "-c", code, json.dumps(sys.path), request, str(path.absolute())]


def build_application(source: ModelSource, path: Path) -> None:
    """Build an application and write it, unless another process was quicker.

    Each build is another file, whose SHA-256 would make runs of its own.
    """
    import keras

    from oip.core import files
    from oip.core.errors import reason_of

    name = source.application or ""
    maker = _maker(keras.applications, name)
    keras.utils.set_random_seed(source.seed)
    keras.config.set_image_data_format("channels_last")  # whatever keras.json says
    weights = None if source.weights == "none" else source.weights
    try:
        model = maker(include_top=source.top, weights=weights, input_shape=(*source.size, 3))
    except Exception as error:  # Keras raises a plain Exception when it cannot download
        hint = "" if weights is None else 'weights = "none" needs no download.'
        raise ModelError(
            f"cannot build '{name}'", "a network of that size", reason_of(error), hint
        ) from error
    with files.locked(path.parent):
        if not path.is_file():
            with files.replacing(path) as temporary:
                model.save(temporary)


def _maker(applications: ModuleType, name: str) -> Any:
    names = [name for name in vars(applications) if name[:1].isupper()]
    if name in names:
        return getattr(applications, name)
    choices = "a file, or a name in keras.applications"
    hint = did_you_mean(name, names)
    raise ModelError(f"model '{name}'", choices, f"'{name}'", hint)


def main(request: str, path: str) -> None:
    """Build an application in a process of its own; an error is its last line on stderr."""
    try:
        build_application(msgspec.json.decode(request, type=ModelSource), Path(path))
    except OipError as error:
        sys.exit(f"{_MARK}{error}")
