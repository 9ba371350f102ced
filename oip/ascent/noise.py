"""Starting images: noise of several wavelengths.

Each octave is uniform noise on a coarse grid, resized bicubically to the image and standardised, so
that its weight alone says how much of that wavelength there is. A grid of g nodes over a side of s
pixels carries wavelengths of 2 s / g pixels and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from oip.core.errors import SettingsError, expected
from oip.core.seeds import generator

_SMALLEST_GRID = 3


@dataclass(frozen=True)
class Noise:
    """Noise for images of one size, under one preset.

    Args:
        shape: (h, w, b).
        preset: see `octave_weights`.
    """

    shape: tuple[int, ...]
    preset: str = "equal"

    def __post_init__(self) -> None:
        octave_weights(self.preset, self.grids, np.random.default_rng(0))

    @property
    def grids(self) -> tuple[int, ...]:
        """Grid nodes of each octave along the longer side, the shortest wavelength first."""
        return octave_grids(max(self.shape[:-1]))

    def images(
        self, seed: int, layer: int, starts: np.ndarray, purpose: str = "start"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The noise of some starts of a layer; the same numbers whatever else is drawn.

        Args:
            seed: the run's seed.
            layer: index of the layer.
            starts: (k,) numbers of the starts.
            purpose: keeps noise for different uses apart.

        Returns:
            Images (k, h, w, b) float32, each of mean 0 and deviation 1, and octave weights (k, o).
        """
        images = np.empty((len(starts), *self.shape), np.float32)
        weights = np.empty((len(starts), len(self.grids)), np.float32)
        for row, start in enumerate(starts):
            random = generator(seed, purpose, layer, int(start))
            weights[row] = octave_weights(self.preset, self.grids, random)
            images[row] = self._one(weights[row], random)
        return images, weights

    def _one(self, weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
        longest = max(self.shape[:-1])
        total = np.zeros(self.shape)
        for grid, weight in zip(self.grids, weights, strict=True):
            nodes = [max(1, round(grid * side / longest)) for side in self.shape[:-1]]
            part = random.random((*nodes, self.shape[-1]))
            if weight == 0:
                continue
            for axis, (side, count) in enumerate(zip(self.shape[:-1], nodes, strict=True)):
                part = np.moveaxis(np.tensordot(_resizing(side, count), part, (1, axis)), 0, axis)
            total += weight * _standardised(part)
        return _standardised(total)


class NoiseCache:
    """The starts of one layer, each drawn once while there is room for it.

    Args:
        noise: of which images.
        seed, layer: as for `Noise.images`.
        budget: bytes of the images that are kept; the least lately used leave first.
    """

    def __init__(self, noise: Noise, seed: int, layer: int, budget: int = 256 << 20):
        room = max(1, budget // (4 * int(np.prod(noise.shape))))

        def draw(start: int) -> tuple[np.ndarray, np.ndarray]:
            images, weights = noise.images(seed, layer, np.array([start]))
            return images[0], weights[0]

        self._noise = noise
        self._drawn = lru_cache(maxsize=room)(draw)

    def images(self, starts: np.ndarray) -> np.ndarray:
        """(k, h, w, b) float32 of starts (k,)."""
        found = np.empty((len(starts), *self._noise.shape), np.float32)
        for row, start in enumerate(starts):
            found[row] = self._drawn(int(start))[0]
        return found

    def weights(self, starts: np.ndarray) -> np.ndarray:
        """(k, o) float32 octave weights of starts (k,)."""
        found = np.empty((len(starts), len(self._noise.grids)), np.float32)
        for row, start in enumerate(starts):
            found[row] = self._drawn(int(start))[1]
        return found


def octave_grids(side: int) -> tuple[int, ...]:
    """Grids for a side of so many pixels: side, side/2, side/4, ... down to 3 nodes, four at most.

    >>> octave_grids(28)
    (28, 14, 7, 3)
    """
    grids = [side]
    while grids[-1] // 2 >= _SMALLEST_GRID and len(grids) < 4:
        grids.append(grids[-1] // 2)
    return tuple(grids)


def octave_weights(preset: str, grids: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Weights (o,) of the octaves, summing to 1.

    Args:
        preset: `equal`; `white` (the shortest wavelength only); `no-white` (all but it);
            `single:GRID`; `tilt:BETA` (weight proportional to wavelength ** BETA);
            `weights:1,0.5,0,0` (one for each octave, the shortest wavelength first); `dirichlet`
            (uniform on the simplex, drawn from `random`).

    Raises:
        SettingsError: an unknown preset or grid, or weights that do not fit the octaves.
    """
    name, _, argument = preset.partition(":")
    if name == "equal" and not argument:
        weights = np.ones(len(grids))
    elif name == "white" and not argument:
        weights = np.eye(len(grids))[0]
    elif name == "no-white" and not argument:
        weights = np.ones(len(grids))
        if len(grids) > 1:
            weights[0] = 0.0
    elif name == "dirichlet" and not argument:
        weights = random.dirichlet(np.ones(len(grids)))
    elif name == "single" and argument.isdecimal() and int(argument) in grids:
        weights = np.array([float(grid == int(argument)) for grid in grids])
    elif name == "tilt" and _is_number(argument):
        weights = (1.0 / np.array(grids, float)) ** float(argument)
    elif name == "weights":
        weights = _explicit(argument, grids)
    else:
        known = "equal, white, no-white, dirichlet, tilt:BETA, weights:W,W,..."
        singles = ", ".join(f"single:{grid}" for grid in grids)
        raise SettingsError(expected("noise", f"{known}, {singles}", f"'{preset}'"))
    return weights / weights.sum()


def _explicit(text: str, grids: tuple[int, ...]) -> np.ndarray:
    """Weights that are written out.

    Raises:
        SettingsError: not one number from 0 for each octave, or nothing but zeros.
    """
    try:
        weights = np.array([float(part) for part in text.split(",")])
    except ValueError:
        weights = np.empty(0)
    fits = len(weights) == len(grids) and bool(np.isfinite(weights).all())
    if not fits or weights.min() < 0 or not weights.max() > 0:
        octaves = ", ".join(map(str, grids))
        wanted = f"{len(grids)} numbers from 0, not all zero, for the grids {octaves}"
        raise SettingsError(expected("noise weights", wanted, f"'{text}'"))
    return weights / weights.max()  # their sum may be too large for a number


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text))) and abs(float(text)) <= 10
    except ValueError:
        return False


def _standardised(image: np.ndarray) -> np.ndarray:
    spread = image.std()
    return (image - image.mean()) / (spread if spread > 0 else 1.0)


@lru_cache(maxsize=64)
def _resizing(side: int, nodes: int) -> np.ndarray:
    """(side, nodes): the matrix that resizes a line of nodes bicubically."""
    from PIL import Image

    identity = Image.fromarray(np.eye(nodes, dtype=np.float32))
    return np.asarray(identity.resize((nodes, side), Image.Resampling.BICUBIC), np.float64)
