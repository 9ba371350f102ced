"""Images for the studies; what cannot be had is told, and the study goes on without it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oip.core.errors import DataError
from oip.studies.frame import MissingData, StudySettings


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
    from oip.cli.options import our_models

    try:
        return our_models().load(source, settings.data_dir, part, size, bands)
    except DataError as error:
        name = source if isinstance(source, str) else source.name
        folder = os.environ.get("OIP_DATA") or "no folder was named with --data-dir or OIP_DATA"
        looked = str(folder if settings.data_dir is None else settings.data_dir)
        raise MissingData(f"the data '{name}'", looked, str(error)) from error
