"""Starting images: noise of several wavelengths.

Each octave is uniform noise on a coarse grid, resized bicubically to the image and standardized, so
that its weight alone says how much of that wavelength there is. A grid of g nodes over a side of s
pixels carries wavelengths of 2 s / g pixels and more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from oip.core.errors import SettingsError
from oip.core.seeds import generator

_SMALLEST_GRID = 3
_VALUES_AT_ONCE = 1 << 18
"""Values of images that are drawn together."""


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
        """Return the noise of some starts of a layer; the same numbers whatever else is drawn.

        Args:
            seed: the run's seed.
            starts: (k,) numbers of the starts.
            purpose: a word that gives different uses different noise.

        Returns:
            Images (k, h, w, b) float32, each of mean 0 and deviation 1, and octave weights (k, o).
        """
        images = np.empty((len(starts), *self.shape), np.float32)
        weights = np.empty((len(starts), len(self.grids)), np.float32)
        room = max(1, _VALUES_AT_ONCE // int(np.prod(self.shape)))
        for begin in range(0, len(starts), room):
            rows = slice(begin, begin + room)
            draws = [generator(seed, purpose, layer, int(start)) for start in starts[rows]]
            images[rows], weights[rows] = self._draw_images(draws)
        return images, weights

    def _draw_images(self, draws: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Return images (k, h, w, b) and octave weights (k, o), each from its own generator."""
        weights = np.array([octave_weights(self.preset, self.grids, random) for random in draws])
        weights = weights.astype(np.float32)
        *sides, bands = self.shape
        total = np.zeros((len(draws), *self.shape))  # (k, h, w, b)
        for grid, share in zip(self.grids, weights.T, strict=True):  # share: (k,)
            nodes = [max(1, round(grid * side / max(sides))) for side in sides]
            octave = np.array(
                [random.random((*nodes, bands)) for random in draws]
            )  # (k, *nodes, b)
            if not share.any():
                continue
            for axis, (side, count) in enumerate(zip(sides, nodes, strict=True), 1):
                leading, trailing = octave.shape[:axis], octave.shape[axis + 1 :]
                lines = octave.reshape(
                    int(np.prod(leading)), count, -1
                )  # (leading, nodes, trailing)
                octave = np.matmul(_resizing(side, count), lines)  # (before, side, after)
                octave = octave.reshape(*leading, side, *trailing)
            total += share.reshape(-1, *[1] * len(self.shape)) * _standardized(octave)
        return _standardized(total), weights


class NoiseCache:
    """The starts of one layer, each drawn once while there is room for it.

    Args:
        noise: the noise to draw from.
        seed, layer: as for `Noise.images`.
        byte_budget: bytes of the images that are kept; the least recently used leave first.
    """

    def __init__(self, noise: Noise, seed: int, layer: int, byte_budget: int = 256 << 20):
        self._noise, self._seed, self._layer = noise, seed, layer
        self._room = max(1, byte_budget // (4 * int(np.prod(noise.shape))))
        self._starts: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def images(self, starts: np.ndarray) -> np.ndarray:
        """Return (k, h, w, b) float32 images of starts (k,)."""
        images = [image for image, _ in self._pairs_of_starts(starts)]
        return np.array(images, np.float32).reshape(-1, *self._noise.shape)

    def weights(self, starts: np.ndarray) -> np.ndarray:
        """Return (k, o) float32 octave weights of starts (k,)."""
        weights = [weights for _, weights in self._pairs_of_starts(starts)]
        return np.array(weights, np.float32).reshape(-1, len(self._noise.grids))

    def _pairs_of_starts(self, starts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the image (h, w, b) and the octave weights (o,) of each start, float32."""
        numbers = [int(start) for start in starts]
        missing = np.array([n for n in dict.fromkeys(numbers) if n not in self._starts], np.int64)
        images, weights = self._noise.images(self._seed, self._layer, missing)
        for row, start_index in enumerate(missing.tolist()):
            self._starts[start_index] = images[row].copy(), weights[row].copy()
        pairs = [self._starts[start_index] for start_index in numbers]
        for start_index in numbers:
            self._starts.move_to_end(start_index)
        while len(self._starts) > self._room:
            self._starts.popitem(last=False)
        return pairs


def octave_grids(side: int) -> tuple[int, ...]:
    """Return the grids for a side: side, side/2, side/4, ... down to 3 nodes, at most four.

    >>> octave_grids(28)
    (28, 14, 7, 3)
    """
    grids = [side]
    while grids[-1] // 2 >= _SMALLEST_GRID and len(grids) < 4:
        grids.append(grids[-1] // 2)
    return tuple(grids)


def octave_weights(preset: str, grids: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Return the weights (o,) of the octaves, summing to 1.

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
    elif name == "tilt" and _is_exponent(argument):
        weights = (1.0 / np.array(grids, float)) ** float(argument)
    elif name == "weights":
        weights = _explicit_weights(argument, grids)
    else:
        presets = "equal, white, no-white, dirichlet, tilt:BETA, weights:W,W,..."
        singles = ", ".join(f"single:{grid}" for grid in grids)
        raise SettingsError("noise", f"{presets}, {singles}", f"'{preset}'")
    return weights / weights.sum()


def _explicit_weights(text: str, grids: tuple[int, ...]) -> np.ndarray:
    """Return weights (o,) that are written out, the largest being 1."""
    try:
        weights = np.array([float(weight) for weight in text.split(",")])
    except ValueError:
        weights = np.empty(0)
    fits = len(weights) == len(grids) and bool(np.isfinite(weights).all())
    if not fits or weights.min() < 0 or not weights.max() > 0:
        octaves = ", ".join(map(str, grids))
        form = f"{len(grids)} numbers from 0, not all zero, for the grids {octaves}"
        raise SettingsError("noise weights", form, f"'{text}'")
    return weights / weights.max()  # the sum of large weights may overflow


def _is_exponent(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text))) and abs(float(text)) <= 10
    except ValueError:
        return False


def _standardized(images: np.ndarray) -> np.ndarray:
    """Return images (k, ...), each at mean 0 and deviation 1."""
    flat = images.reshape(len(images), -1)  # (k, values of an image)
    flat = flat - flat.mean(1, keepdims=True)
    deviation = flat.std(1, keepdims=True)  # (k, 1)
    return (flat / np.where(deviation > 0, deviation, 1.0)).reshape(images.shape)


@lru_cache(maxsize=64)
def _resizing(side: int, nodes: int) -> np.ndarray:
    """Return the matrix (side, nodes) that resizes a line of nodes bicubically."""
    from PIL import Image

    identity = Image.fromarray(np.eye(nodes, dtype=np.float32))
    return np.asarray(identity.resize((nodes, side), Image.Resampling.BICUBIC), np.float64)
