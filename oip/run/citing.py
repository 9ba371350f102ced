"""BibTeX of the methods that made a run, from the settings it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oip.core.errors import RunError
from oip.run.directory import Run
from oip.run.references import REFERENCES

Settings = dict[str, Any]

_ASCENT: tuple[tuple[str, Callable[[Settings], bool]], ...] = (
    ("moenchmeyer-oip", lambda _: True),
    ("erhan2009visualizing", lambda _: True),
    ("simonyan2014deep", lambda _: True),
    (
        "yosinski2015understanding",
        lambda told: any(told.get(name) or 0 for name in ("blur", "blur_end")),
    ),
    ("mordvintsev2015inceptionism", lambda told: bool(told.get("jitter"))),
    (
        "olah2017feature",
        lambda told: (
            told.get("parameterisation") == "fourier"
            or any(told.get(name) for name in ("decorrelate", "diversity", "scale", "rotation"))
        ),
    ),
    ("fel2023unlocking", lambda told: told.get("parameterisation") == "phase"),
    (
        "mahendran2015understanding",
        lambda told: any(told.get(name) for name in ("total_variation", "norm")),
    ),
)
"""What a reconstruction rests on, by its settings."""

_ESTIMATORS = {
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
"""What the estimators of a ranking rest on."""


def citations(run: Run) -> dict[str, str]:
    """BibTeX entries by key, in the order in which they are of use: methods, then software.

    Methods are those that the run's own settings and rankings name; stability and its null are ours
    and are cited with the program.
    """
    settings = run.info.get("settings", {})
    keys: list[str] = []
    if run.reconstructed():
        told = settings.get("reconstruct", {})
        keys += [key for key, used in _ASCENT if used(told)]
    estimators = _estimators(run, settings)
    for name in estimators:
        keys += _ESTIMATORS.get(name, ())
    if estimators:
        keys.append("benjamini1995controlling")
    keys += ["oip", "chollet2015keras", "abadi2016tensorflow"]
    entries = {key: REFERENCES[key] for key in dict.fromkeys(keys)}
    version = run.info.get("versions", {}).get("oip", "")
    entries["oip"] = entries["oip"].replace("VERSION", str(version))
    return entries


def _estimators(run: Run, settings: dict[str, Any]) -> list[str]:
    """Names of the estimators of all rankings of a run, the first one's first."""
    found: dict[str, None] = {}
    for index in run.ranked():
        try:
            told = run.ranking(index) or {}
        except RunError:
            continue
        for one in told.get("estimators", ()):
            found[str(one.get("estimator"))] = None
    if not found:
        found = dict.fromkeys(settings.get("rank", {}).get("estimators", {}))
    return list(found)
