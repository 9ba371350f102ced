"""Runs studies, one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oip import studies
from oip.core import files
from oip.core.errors import DataError, OipError, SettingsError, expected
from oip.core.progress import Progress
from oip.studies.report import (
    OPTIONS,
    Folder,
    MissingData,
    StudySettings,
    base_name,
    measured,
    slug,
    write_overview,
)
from oip.studies.trained import is_known, whole


def check(names: Sequence[str], settings: StudySettings) -> None:
    """Refuses what no study could do.

    Args:
        names: of studies.
        settings: what the user said.

    Raises:
        SettingsError: an option that none of the studies heeds.
        DataError: a source of one part, two sources of one name, or not one that is there.
    """
    unheeded = [set(ignored(studies.study(name), settings)) for name in names]
    for option in OPTIONS:
        if names and all(option in one for one in unheeded):
            wanted = ", ".join(_heeding(option)) or "no study"
            raise SettingsError(
                expected(f"--{option}", f"a study that heeds it ({wanted})", " ".join(names))
            )
    _check_sources(settings.data)


def ignored(module: Any, settings: StudySettings) -> tuple[str, ...]:
    """Of the options that were said, those that a study does not heed."""
    takes = getattr(module, "TAKES", ())
    return tuple(name for name in OPTIONS if getattr(settings, name) and name not in takes)


def heeded(module: Any, settings: StudySettings) -> StudySettings:
    """The settings without those that a study does not heed."""
    nothing = StudySettings()
    left = {name: getattr(nothing, name) for name in ignored(module, settings)}
    return replace(settings, **left)


def _heeding(option: str) -> list[str]:
    return [name for name in studies.STUDIES if option in getattr(studies.study(name), "TAKES", ())]


def _check_sources(sources: Sequence[str]) -> None:
    from oip import models

    seen: dict[str, str] = {}
    for source in sources:
        whole(source)
        name = slug(base_name(source))
        if name in seen:
            both = f"'{seen[name]}' and '{source}'"
            hint = "Results are told apart by the last part of the path."
            raise DataError(expected("--data", "sources of different names", both, hint))
        seen[name] = source
    if sources and not any(is_known(one) or Path(one).exists() for one in sources):
        models.load(sources[0])  # says what there is, and what was perhaps meant


_SHARED = "shared"
CRASHED = "crash.txt"
"""In a study's folder: where the program failed, for those who mend it."""


@dataclass
class Outcome:
    """What studies left."""

    page: Path
    """The report, or the page that links several."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Study -> why it was not finished."""
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """Study -> what was asked for and could not be had, where the study went on without it."""
    took: dict[str, dict[str, float | int | None]] = field(default_factory=dict)
    """Study -> `seconds`, `peak_bytes` and `calls`, as in its study.json."""

    @property
    def whole(self) -> bool:
        """Whether everything was done that was asked for."""
        return not self.stopped and not self.lacking


def run_study(
    name: str,
    out: Path,
    settings: StudySettings,
    progress: Progress,
    shared: Path | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Outcome:
    """Runs one study and writes its report.

    Args:
        name: one of `oip.studies.STUDIES`.
        out: its folder.
        settings: what the user said.
        progress: told what is done.
        shared: see `Folder`.
        say: told, in a line, what the study took.

    Returns:
        What it left. Where nothing could be done for want of data it was stopped, and the report
        says so too.

    Raises:
        OipError: what stopped the study, or an option that it does not heed.
    """
    check([name], settings)
    return _run(name, out, settings, progress, shared, say)


def run_several(
    names: Sequence[str],
    out: Path,
    settings: StudySettings,
    progress: Progress,
    say: Callable[[str], object] = lambda text: None,
) -> Outcome:
    """Runs studies in OUT/NAME, and writes a page that links the reports of all that are there.

    Trainings that several need are kept in OUT/shared. One that fails does not stop the others,
    even where the program is at fault: then OUT/NAME/crash.txt says where.

    Raises:
        OipError: what was asked can be done by none of them.
    """
    check(names, settings)
    whole = Outcome(out / "index.html")
    for name in names:
        own = heeded(studies.study(name), settings)
        (out / name / CRASHED).unlink(missing_ok=True)
        try:
            one = _run(name, out / name, own, progress, out / _SHARED, say, settings)
            whole.stopped |= one.stopped
            whole.lacking |= one.lacking
            whole.took |= one.took
        except OipError as error:
            whole.stopped[name] = str(error)
        except Exception as error:
            files.write_text(out / name / CRASHED, traceback.format_exc())
            whole.stopped[name] = (
                f"The program failed ({type(error).__name__}: {error}); {name}/{CRASHED} says "
                f"where. Please report it."
            )
        reasons = {one: settings.without_folders(text, out) for one, text in whole.stopped.items()}
        write_overview(out, list(dict.fromkeys((*studies.STUDIES, *names))), reasons)
    return whole


def _run(
    name: str,
    out: Path,
    settings: StudySettings,
    progress: Progress,
    shared: Path | None,
    say: Callable[[str], object],
    said: StudySettings | None = None,
) -> Outcome:
    """See `run_study`; `said` holds the options of all studies, if there are several."""
    module = studies.study(name)
    outcome = Outcome(out / "report.html")
    folder = Folder(out, name, settings, getattr(module, "SCHEMA", 1), shared)
    for option in ignored(module, said or settings):
        folder.note(f"--{option} is not for this study, which has nothing of the kind.")
        say(f"{name}: --{option} is not for this study; it is run without.")
    with measured(folder.file("took.json")) as cost:
        try:
            module.run(folder, settings, progress)
        except MissingData as error:
            folder.missing("Everything that this study measures.", error)
            outcome.stopped[name] = str(error)
    lacking = [text for text in folder.lacking if text != outcome.stopped.get(name)]
    if lacking:
        outcome.lacking[name] = lacking
    folder.cost = cost
    outcome.took[name] = cost.told()
    folder.finish(module.TITLE, module.SOURCE)
    say(f"{name}: took {cost.text()}")
    return outcome
