"""The shell command that makes an OIP again, with every setting that the run was made with."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from oip.ascent.settings import PRESETS, AscentSettings, current_names
from oip.gallery.escape import plain_name

_OWN_OPTIONS = ("starts", "steps", "screened", "noise")
"""Settings with an option of their own; the others are said by `--set`."""


def command(info: dict[str, Any], run_name: str, layer: dict[str, Any], number: int) -> str:
    """The shell command that grows a map's OIP again, into a folder beside the run.

    Settings are told by the preset that they are nearest to and by what differs from it.

    Args:
        info: what run.json says.
        run_name: name of the run's folder.
        layer: the layer's entry in run.json.
        number: the map.
    """
    name = plain_name(layer["layer"])
    if name != str(layer["layer"]) or name.startswith("-"):
        name = f"@{layer['index']}"
    told = (info.get("settings") or {}).get("reconstruct") or {}
    words = ["oip", "reconstruct", plain_name(info["model"]["name"])]
    objectives = layer.get("objectives")
    words += ["--objective", plain_name(objectives[number])] if objectives else [f"{name}:{number}"]
    words += _fed(info)
    words += _settings(told)
    words += ["--out", f"{plain_name(run_name)}-again", "--seed", str(told.get("seed", 0))]
    return shlex.join(words)


def _fed(info: dict[str, Any]) -> list[str]:
    """How the model is loaded, and what it is fed where neither it nor the data say so."""
    words = []
    for module in (info.get("loading") or {}).get("imports") or ():
        words += ["--import", plain_name(module)]
    source = (info.get("data") or {}).get("source")
    if source:
        words += ["--data", plain_name(source)]
    size = (info.get("loading") or {}).get("input_size")
    if size:
        words += ["--input-size", ",".join(plain_name(side) for side in size)]
    spec = info.get("input") or {}
    if spec.get("name"):
        words += ["--input", plain_name(spec["name"])]
    origin = str(spec.get("source") or "")
    prepared, _, kind = origin.partition(" ")
    if prepared == "preprocess":
        words += ["--preprocess", plain_name(kind)]
    elif origin == "told":
        if spec.get("bgr"):
            words += ["--preprocess", "caffe"]
        for option, key in (("--input-mean", "mean"), ("--input-std", "std")):
            words.append(f"{option}={_numbers(spec.get(key) or ())}")
    ends = (spec.get("low"), spec.get("high"))
    if origin in ("told", "assumed") and None not in ends:
        words.append(f"--input-range={_numbers(ends, np.float64)}")
    return words


def _numbers(values: Any, kind: type = np.float32) -> str:
    """Numbers with the fewest digits that give the same ones again."""
    return ",".join(str(kind(value)) for value in values)


def _settings(told: dict[str, Any]) -> list[str]:
    told = current_names(told)
    usual = {
        name: getattr(AscentSettings(), name)
        for name in AscentSettings.__struct_fields__
        if name != "seed"
    }

    def changed(preset: str) -> dict[str, Any]:
        known = usual | PRESETS[preset]
        return {name: told[name] for name in known if name in told and told[name] != known[name]}

    nearest = min(PRESETS, key=lambda preset: len(changed(preset)))
    words = [] if nearest == "default" else ["--preset", nearest]
    for name, value in changed(nearest).items():
        if name in _OWN_OPTIONS:
            words += [f"--{name}", plain_name(value)]
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else plain_name(value)
            words += ["--set", f"{name}={text}"]
    return words
