"""Runs studies, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oip.core.errors import OipError
from oip.core.progress import Progress
from oip.studies import study
from oip.studies.frame import Folder, MissingData, StudySettings
from oip.studies.report import write_overview

_SHARED = "shared"


def run_study(
    name: str, out: Path, settings: StudySettings, progress: Progress, shared: Path | None = None
) -> tuple[Path, dict[str, str]]:
    """Runs one study and writes its report.

    Args:
        name: one of `oip.studies.STUDIES`.
        out: its folder.
        settings: what the user said.
        progress: told what is done.
        shared: see `Folder`.

    Returns:
        The report, and the name of the study with the reason where nothing could be done for want
        of data; the report says so too.

    Raises:
        OipError: what stopped the study.
    """
    module = study(name)
    folder = Folder(out, name, settings, getattr(module, "SCHEMA", 1), shared)
    failures = {}
    try:
        module.run(folder, settings, progress)
    except MissingData as error:
        folder.missing("Everything that this study measures.", error)
        failures[name] = str(error)
    return folder.finish(module.TITLE, module.SOURCE), failures


def run_several(
    names: Sequence[str], out: Path, settings: StudySettings, progress: Progress
) -> tuple[Path, dict[str, str]]:
    """Runs studies in OUT/NAME, and writes a page that links their reports.

    Trainings that several need are kept in OUT/shared. One that fails does not stop the others.

    Returns:
        The page, and the reason by name of those that were stopped.
    """
    failures: dict[str, str] = {}
    for name in names:
        try:
            _, stopped = run_study(name, out / name, settings, progress, out / _SHARED)
            failures |= stopped
        except OipError as error:
            failures[name] = str(error)
        page = write_overview(out, list(names), failures)
    return page, failures
