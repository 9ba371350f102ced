"""BibTeX of the methods that made a run, from the settings it was made with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path

import msgspec

from oip.ascent.settings import PRESETS, AscentSettings, ascent_settings
from oip.core.errors import RunError, SettingsError, notice
from oip.run.run import Run, versions

ASCENT: tuple[tuple[str, Callable[[AscentSettings], object]], ...] = (
    ("moenchmeyer-oip", lambda _: True),
    ("erhan2009visualizing", lambda _: True),
    ("simonyan2014deep", lambda _: True),
    ("yosinski2015understanding", lambda settings: settings.blur or settings.blur_end),
    ("mordvintsev2015inceptionism", lambda settings: settings.jitter),
    (
        "olah2017feature",
        lambda settings: (
            settings.parameterization == "fourier"
            or settings.decorrelate
            or settings.diversity
            or settings.scale
            or settings.rotation
        ),
    ),
    ("fel2023unlocking", lambda settings: settings.parameterization == "phase"),
    ("gorgun2025vital", lambda settings: settings.align or settings.context),
    ("hamblin2024feature", lambda settings: settings.fidelity),
    ("huang2016deep", lambda settings: settings.drop_path),
    ("li2020learning", lambda settings: settings.drop_path),
    ("wu2020skip", lambda settings: settings.branch_gradient < 1),
    ("mahendran2015understanding", lambda settings: settings.total_variation or settings.norm),
)
"""References of a reconstruction, and the settings that use them."""

ESTIMATORS = {
    "decoder": ("xu2020usable", "barber2003im"),
    "predictive": ("xu2020usable", "wolpert1992stacked", "vanderlaan2007super"),
    "kde": ("kolchinsky2017estimating",),
    "binning": ("miller1955note", "saxe2018information"),
    "ksg": ("kozachenko1987sample", "kraskov2004estimating", "ross2014mutual"),
    "gaussian": ("ahmed1989entropy",),
    "vme": ("kandasamy2015nonparametric",),
    "rbig": ("laparra2011iterative", "johnson2019information"),
    "renyi": ("sanchezgiraldo2015measures", "yu2021understanding"),
    "dse": ("liao2023assessing",),
    "dsmi": ("liao2023assessing",),
    "mine": ("belghazi2018mine",),
    "smile": ("song2020understanding",),
    "infonce": ("oord2018representation",),
    "nwj": ("nguyen2010estimating",),
}
"""References of the estimators of a ranking."""

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,]+),\n.*?^\}", re.DOTALL | re.MULTILINE)


@cache
def references() -> dict[str, str]:
    """Return the BibTeX entries of `references.bib` by their keys."""
    text = package_files("oip.run").joinpath("references.bib").read_text(encoding="utf-8")
    return {entry["key"]: entry.group() for entry in _ENTRY.finditer(text)}


def estimator_citations(names: Iterable[str]) -> dict[str, str]:
    """Return BibTeX entries by key of estimators that were used without a run, and of the program.

    Raises:
        SettingsError: an unknown estimator.
    """
    keys: list[str] = []
    for name in names:
        if name not in ESTIMATORS:
            raise SettingsError("estimator", ", ".join(ESTIMATORS), name)
        keys += ESTIMATORS[name]
    return _entries([*keys, "oip"], versions()["oip"])


def citations(run: str | Path | Run) -> dict[str, str]:
    """Return BibTeX entries by key, in the order in which they are of use: methods, then software.

    Methods are those that the run's own settings and rankings name; stability and its null are ours
    and are cited with the program.

    Args:
        run: a run, or its folder.

    Raises:
        RunError: no such run.
    """
    run = Run.of(run)
    keys: list[str] = []
    if run.reconstructed():
        grown_with = [_ascent_settings(run), *_compared_presets(run)]
        keys += [key for key, is_used in ASCENT if any(map(is_used, grown_with))]
    estimators = _estimators(run)
    for name in estimators:
        keys += ESTIMATORS.get(name, ())
    if estimators:
        keys.append("benjamini1995controlling")
    keys += ["oip", "chollet2015keras", "abadi2016tensorflow"]
    return _entries(keys, run.record.versions.get("oip", ""))


def _entries(keys: Iterable[str], version: str) -> dict[str, str]:
    entries = {key: references()[key] for key in dict.fromkeys(keys)}
    entries["oip"] = entries["oip"].replace("VERSION", version)
    return entries


def _ascent_settings(run: Run) -> AscentSettings:
    """Return the settings of the run; a blur that it does not name is none."""
    names = {field.encode_name for field in msgspec.structs.fields(AscentSettings)}
    values = run.record.settings.reconstruct or {}
    values = {"blur": 0.0, **{name: values[name] for name in names & set(values)}}
    try:
        return msgspec.convert(values, AscentSettings)
    except msgspec.ValidationError as error:
        raise RunError(f"'{run.path}': settings of the reconstruction: {error}") from error


def _compared_presets(run: Run) -> list[AscentSettings]:
    """Return the presets of which the most legible one was kept for each unit, if several were."""
    best, _, names = (run.record.settings.preset or "").partition(":")
    presets = [name for name in names.split(",") if name in PRESETS]
    return [ascent_settings(name) for name in presets] if best == "best" else []


def _estimators(run: Run) -> list[str]:
    """Return the names of the estimators of all rankings of a run, the first one's first."""
    names: dict[str, None] = {}
    for index in run.ranked():
        try:
            ranking = run.ranking(index)
        except RunError as error:
            notice(f"{error} Methods that only this ranking names are not cited.")
            continue
        if ranking is not None:
            names |= dict.fromkeys(table.estimator for table in ranking.estimators)
    if not names and run.record.settings.rank is not None:
        names = dict.fromkeys(run.record.settings.rank.estimators)
    return list(names)
