"""Images for the studies; what cannot be had is told, and the study goes on without it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import DataError
from oip.studies.frame import MissingData, StudySettings, base_name


def study_data(
    source: str | Path,
    settings: StudySettings,
    part: str | None = None,
    size: tuple[int, int] | None = None,
    bands: int | None = None,
) -> Any:
    """A `models.Dataset`; the arguments are those of `models.load`.

    Raises:
        MissingData: the source is not there, cannot be downloaded, or is damaged.
    """

    from oip import models

    try:
        return models.load(source, settings.data_dir, part, size, bands)
    except DataError as error:
        needs = f"the data '{base_name(source)}'"
        raise MissingData(needs, _looked(source, settings), str(error)) from error


def digest(data: Any) -> str:
    """SHA-256 of the images and labels of a `models.Dataset`, in hexadecimal."""
    told = hashlib.sha256(np.ascontiguousarray(data.images).tobytes())
    if data.labels is not None:
        told.update(data.labels.tobytes())
    return told.hexdigest()


def is_known(source: str) -> bool:
    """Whether a source is a name that `models` knows, and not a path."""

    from oip import models

    name = models.split_source(source)[0]
    from models.known import NAMES

    return name in NAMES


def _looked(source: str | Path, settings: StudySettings) -> str:
    """Where a source was looked for: a path in its own place, a name in the folder of the data."""
    if not is_known(str(source)):
        return f"'{Path(source).absolute()}'"
    folder = settings.data_dir or os.environ.get("OIP_DATA")
    own = f"'{folder}'" if folder else "a folder (none was named with --data-dir or OIP_DATA)"
    return f"{own}, then what Keras can download"
