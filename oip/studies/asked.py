"""What was asked of studies: refused before anything is computed where it cannot be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oip import studies
from oip.core.errors import DataError, SettingsError, expected
from oip.studies.data import is_known
from oip.studies.frame import OPTIONS, StudySettings, base_name, slug
from oip.studies.networks import whole


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
