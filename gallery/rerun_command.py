"""The shell command that makes an OIP again, with every setting that the run was made with."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import numpy as np

from oip.ascent.settings import PRESETS, AscentSettings, current_names
from oip.core.formats import InputRecord, LayerRecord, LoadingRecord, RunFile
from oip.gallery.escape import PageValues, plain_name

_OWN_OPTIONS = ("starts", "steps", "screened", "noise")
"""Settings with an option of their own; the others are given by `--set`."""


def rerun_command(run: RunFile, run_name: str, layer: LayerRecord, number: int) -> str:
    """Return the shell command that grows a map's OIP again, into a folder beside the run.

    Settings are given by the nearest preset and by what differs from it.
    """
    name = plain_name(layer.name)
    if name != layer.name or name.startswith("-"):
        name = f"@{layer.index}"
    settings = current_names(run.settings.reconstruct or {})
    objectives = layer.objectives
    target = ["--objective", plain_name(objectives[number])] if objectives else [f"{name}:{number}"]
    return shlex.join(
        [
            *("oip", "reconstruct", plain_name(run.model.name)),
            *target,
            *_input_arguments(run),
            *_setting_arguments(settings),
            *("--out", f"{plain_name(run_name)}-again"),
            *("--seed", str(settings.get("seed", 0))),
        ]
    )


def _input_arguments(run: RunFile) -> list[str]:
    """Return how the model is loaded and fed where neither it nor the data say so."""
    loading = run.loading or LoadingRecord()
    arguments = []
    for module in loading.imports or ():
        arguments += ["--import", plain_name(module)]
    if run.data is not None and run.data.source:
        arguments += ["--data", plain_name(run.data.source)]
        arguments += ["--resize", plain_name(run.data.resize)] if run.data.resize else []
    if loading.input_size:
        arguments += ["--input-size", ",".join(str(side) for side in loading.input_size)]
    return arguments if run.input is None else arguments + _statistics_arguments(run.input)


def _statistics_arguments(spec: InputRecord) -> list[str]:
    arguments = ["--input", plain_name(spec.name)] if spec.name else []
    prepared, _, kind = spec.source.partition(" ")
    given = spec.source == "told"
    if prepared == "preprocess":
        arguments += ["--preprocess", plain_name(kind)]
    elif given:
        if spec.bgr:
            arguments += ["--preprocess", "caffe"]
        arguments.append(f"--input-mean={_shortest(spec.mean, np.float32)}")
        arguments.append(f"--input-std={_shortest(spec.std, np.float32)}")
    if (given or spec.source == "assumed") and None not in (spec.low, spec.high):
        arguments.append(f"--input-range={_shortest((spec.low, spec.high), np.float64)}")
    return arguments


def _shortest(values: Iterable[float | None], kind: type) -> str:
    """Return numbers with the fewest digits that give the same ones again."""
    return ",".join(str(kind(value)) for value in values)


def _setting_arguments(settings: PageValues) -> list[str]:
    fields = [name for name in AscentSettings.__struct_fields__ if name != "seed"]
    defaults = {name: getattr(AscentSettings(), name) for name in fields}

    def changed(preset: str) -> PageValues:
        values = defaults | PRESETS[preset]
        return {
            name: settings[name]
            for name in values
            if name in settings and settings[name] != values[name]
        }

    nearest = min(PRESETS, key=lambda preset: len(changed(preset)))
    arguments = [] if nearest == "default" else ["--preset", nearest]
    for name, value in changed(nearest).items():
        if name in _OWN_OPTIONS:
            arguments += [f"--{name}", plain_name(value)]
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else plain_name(value)
            arguments += ["--set", f"{name}={text}"]
    return arguments
