"""The networks that a user has, compared on images (figure 10)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oip.core.errors import OipError
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.studies import diffusion_claims, diffusion_figures
from oip.studies.data import digest, study_data
from oip.studies.diffusion_networks import file_network
from oip.studies.frame import Folder, MissingData, StudySettings, base_name, slug
from oip.studies.networks import DIGITS

_SMALL = (32, 32)
"""Size and 3 bands in which the images are looked at to tell whether they are still the same."""


def of_files(
    folder: Folder, settings: StudySettings, count: int, paths: list[Path], progress: Progress
) -> None:
    """Each of the models on each of the sources, in the size that the model takes.

    Args:
        folder: for what is computed and drawn.
        settings: the sources; MNIST without any.
        count: of images that are measured.
        paths: of the models.
        progress: told models.
    """
    for source in settings.data or (DIGITS,):
        try:
            _on_source(folder, source, settings, count, paths, progress)
        except MissingData as error:
            folder.missing(
                f"I(Z;Y) is strongly correlated with accuracy over networks ({base_name(source)}).",
                error,
            )


def _on_source(
    folder: Folder,
    source: str,
    settings: StudySettings,
    count: int,
    paths: list[Path],
    progress: Progress,
) -> None:
    key = base_name(source)

    @lru_cache(maxsize=1)
    def load(shape: tuple[int, int], bands: int) -> Any:
        data = study_data(source, settings, "test", shape, bands)
        if data.labels is None:
            hint = "Put the images into one folder for each class."
            raise MissingData(f"labels of the data '{key}'", f"'{source}'", hint)
        return data

    seen = digest(load(_SMALL, 3))
    found: dict[str, dict[str, np.ndarray]] = {}
    left_out = []
    progress(f"models on {key}", 0, len(paths))
    for done, path in enumerate(paths, 1):
        own = sha256(path)
        try:
            found[f"{path.name} {own[:12]}"] = folder.part(
                f"models/{slug(key)}-{own[:12]}",
                lambda path=path: file_network(path, load, count, settings.seed),
                of=f"{seen} {own} {_sidecar(path)}",
            )
        except MissingData:
            raise
        except OipError as error:
            left_out.append(str(error))
        progress(f"models on {key}", done, len(paths))
    if left_out:
        text = f"{len(left_out)} of {len(paths)} models were left out on {key}."
        folder.lacks(text)
        folder.note(f"{text} {' '.join(left_out)}")
    told = f"{len(found)} models on {key}"
    if len(found) < 3:
        folder.claim(
            "I(Z;Y) is strongly correlated with accuracy over networks, p < 0.001 (fig. 10).",
            f"{told}: too few.",
            "not tested",
            "no data",
        )
        return
    folder.figure(*diffusion_figures.networks(f"networks-{key}", found, told, settings.seed))
    diffusion_claims.networks(folder, found, told, settings.seed)


def _sidecar(path: Path) -> str:
    """Digest of the file beside a model that may tell its accuracy."""
    from oip.network.inputs import sidecar_path

    beside = sidecar_path(path)
    return sha256(beside) if beside.is_file() else "none"
