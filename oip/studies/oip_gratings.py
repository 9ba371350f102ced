"""Wavelengths that maps prefer: responses to gratings, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from oip.core import plots
from oip.core.files import sha256
from oip.network.forward import means_of_layers
from oip.network.layers import LayerInfo
from oip.network.network import Network
from oip.studies import panels
from oip.studies.data import Images
from oip.studies.findings import Finding, Value, agreement, finding
from oip.studies.report import Arrays, Folder

STUDY = "oip"
_ORIENTATIONS, _PHASES = 8, 4
_SHORTEST = 2.0  # pixels; shorter waves look like longer ones
_AN_OCTAVE = 2  # wavelengths an octave
_ROUGHLY = math.sqrt(2)
"""A factor by which a wavelength may differ from the one that is expected."""


def wavelengths(side: int) -> np.ndarray:
    """Return wavelengths in pixels, half an octave apart, up to the side of the images.

    >>> wavelengths(8).round(1).tolist()
    [2.0, 2.8, 4.0, 5.7, 8.0]
    """
    steps = math.floor(_AN_OCTAVE * math.log2(side / _SHORTEST)) + 1
    return _SHORTEST * 2 ** (np.arange(steps) / _AN_OCTAVE)


def gratings(shape: tuple[int, ...], wavelength: float) -> np.ndarray:
    """Return plane waves (orientations * phases, h, w, b), each of mean 0 and deviation 1.

    All bands are alike.
    """
    height, width, bands = shape
    y, x = np.mgrid[:height, :width]
    angles = np.pi * np.arange(_ORIENTATIONS) / _ORIENTATIONS
    phases = 2 * np.pi * np.arange(_PHASES) / _PHASES
    along = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    waves = np.cos(2 * np.pi * along[:, None] / wavelength + phases[:, None, None])
    waves = waves.reshape(-1, height, width)
    waves -= waves.mean(axis=(1, 2), keepdims=True)
    waves /= np.maximum(waves.std(axis=(1, 2), keepdims=True), np.finfo(np.float32).eps)
    return np.repeat(waves[..., None], bands, axis=-1)


def grating_responses(network: Network, layers: Sequence[LayerInfo]) -> Arrays:
    """Return the largest response of every map to a grating of each wavelength, by layer.

    The gratings have the mean and the deviation of the network's input. The response (wavelengths,
    maps) is the mean over the nodes, of the orientation and the phase where it is largest.
    """
    inputs = network.inputs
    rows: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
    for wavelength in wavelengths(max(inputs.shape[:-1])):
        waves = gratings(inputs.shape, wavelength)
        images = (waves * inputs.std + inputs.mean).astype(np.float32)
        means = means_of_layers(network, images, layers)
        for layer, responses in zip(layers, means, strict=True):
            rows[layer.name].append(responses.max(axis=0))
    return {name: np.array(values) for name, values in rows.items()}


def preferred(responses: np.ndarray, side: int) -> np.ndarray:
    """Return log2 of the wavelength to which each map that responds at all responds most.

    Of `grating_responses` (wavelengths, maps).
    """
    live = responses.max(axis=0) > 0
    return np.log2(wavelengths(side))[responses[:, live].argmax(axis=0)]


def common_layers(measured: Sequence[Arrays]) -> list[str]:
    """Return the layers that all networks have, in the order of the first one."""
    return [name for name in measured[0] if all(name in arrays for arrays in measured)]


def add_gratings(
    folder: Folder, source: int, data: Images, networks: Mapping[Path, Network]
) -> None:
    """Measure which wavelengths the maps of each convolutional layer prefer, draw, and judge."""
    measured = []
    for index, (path, network) in enumerate(networks.items()):
        name, digest = f"source-{source}/gratings-{index}", f"{data.digest} {sha256(path)}"
        compute = partial(grating_responses, network, network.convolutional)
        measured.append(folder.part(name, compute, digest))
    first = next(iter(networks.values()))
    side = max(first.inputs.shape[:-1])
    draw_gratings(folder, str(source), data.name, measured, side)
    jumps = {
        layer.name: math.sqrt(math.prod(layer.jump)) for layer in first.convolutional if layer.jump
    }
    folder.add(wavelength_finding(data.name, measured, jumps, side))


def wavelength_finding(
    source: str, measured: Sequence[Arrays], jumps: Mapping[str, float], side: int
) -> Finding:
    """Return whether the preferred wavelength grows with the pixels between neighboring nodes.

    Args:
        measured: `grating_responses` of each network.
        jumps: layer -> pixels from a node to the next.
        side: the larger one of the images.
    """
    logarithms = {
        name: np.concatenate([preferred(arrays[name], side) for arrays in measured])
        for name in common_layers(measured)
        if name in jumps
    }
    means = {name: Value.mean_of(values) for name, values in logarithms.items() if len(values) > 1}
    values, outcomes = [], []
    longest = np.log2(wavelengths(side)[-1])
    for name, mean in means.items():
        remark = f"{100 * (logarithms[name] == longest).mean():.0f} % at the longest"
        values.append(_power_of_two(mean, f"{name}, pixels", ".1f", remark))
    for first, second in pairwise(means):
        factor = jumps[second] / jumps[first]
        if factor < _ROUGHLY:
            continue
        difference = means[second].value - means[first].value
        spread = math.hypot(means[first].spread, means[second].spread)
        growth = _power_of_two(Value.within(difference, spread), f"{second} over {first}, times")
        values.append(growth)
        close = factor / _ROUGHLY <= growth.value <= factor * _ROUGHLY
        outcomes.append(growth.above(1.0) and close)
    verdict = agreement(outcomes)
    return finding(STUDY, "doubled_wavelength", verdict, values, source, networks=len(measured))


def _power_of_two(logarithm: Value, name: str, form: str = ".2f", remark: str = "") -> Value:
    """Return 2 to the power of a value and of the ends of its interval."""
    value, low, high = (2**number for number in (logarithm.value, logarithm.low, logarithm.high))
    return Value(name, value, low, high, form, remark)


def draw_gratings(
    folder: Folder, name: str, source: str, measured: Sequence[Arrays], side: int
) -> None:
    """Draw the share of the maps of each layer that prefer each wavelength."""
    drawing, ((axes,),) = plots.figure(3.6, 2.8)
    waves = wavelengths(side)
    numbers: dict[str, np.ndarray] = {"wavelengths": waves}
    for index, layer in enumerate(common_layers(measured)):
        shares = []
        for arrays in measured:
            indices = np.searchsorted(np.log2(waves), preferred(arrays[layer], side))
            shares.append(np.bincount(indices, minlength=len(waves)) / max(1, len(indices)))
        numbers[layer] = np.array(shares)
        panels.runs(axes, waves, numbers[layer], index, plots.printable(layer))
    axes.set_xscale("log", base=2)
    axes.set_xticks(waves[::_AN_OCTAVE], [f"{wave:g}" for wave in waves[::_AN_OCTAVE]])
    axes.set(xlabel="wavelength (pixels)", ylabel="share of the maps")
    axes.legend(frameon=False)
    caption = folder.text("gratings", source=source, networks=len(measured))
    folder.figure(f"gratings-{name}", drawing, caption, numbers)
