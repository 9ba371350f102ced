"""The arms of the study: what is put in at the start, and what is climbed while a map is silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.loop import Climber
from oip.ascent.noise import Noise, octave_grids
from oip.ascent.readouts import MapReadout
from oip.ascent.screening import screen
from oip.ascent.settings import ascent_settings
from oip.ascent.similarity import reach, similarity
from oip.core.progress import Progress
from oip.core.seeds import generator
from oip.network.layers import LayerInfo
from oip.network.responses import spatial_means
from oip.network.view import Network
from oip.studies.oip_statistics import high_power, steps_to

WHITE, EQUAL, RED = "white", "equal", "tilt:1"
POST, WARM = "post", "warm"
_TOGETHER = 128
"""Images that climb at once."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    nets: int
    seeds: int
    images: int
    """That a network learns from."""
    epochs: int
    screened: int
    starts: int
    """That are climbed for each map."""
    steps: int
    maps: int
    """That are climbed in a layer, at most."""
    judged: int
    """Test images that tell which maps are excitable."""


REQUIRED = Sizes(3, 5, 20_000, 4, 256, 4, 120, 48, 10_000)
QUICK = Sizes(3, 2, 6_000, 3, 256, 4, 60, 16, 2_000)


def noises(side: int) -> tuple[str, ...]:
    """Kinds of noise for images of so many pixels: white, single octaves, all alike, red.

    >>> noises(28)
    ('white', 'single:14', 'single:7', 'single:3', 'equal', 'tilt:1')
    """
    return (WHITE, *(f"single:{grid}" for grid in octave_grids(side)[1:]), EQUAL, RED)


def arms(side: int) -> tuple[tuple[str, str], ...]:
    """(noise, objective) of what is climbed: every noise as the articles climb it, and the three
    broad ones with the pre-activation where a map is silent."""
    plain = tuple((noise, POST) for noise in noises(side))
    return (*plain, *((noise, WARM) for noise in (WHITE, EQUAL, RED)))


def measured(
    network: Network,
    layer: LayerInfo,
    images: np.ndarray,
    sizes: Sizes,
    seed: int,
    climbed: bool,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Everything that is measured of one layer of one network.

    Args:
        network: the model, its input settled.
        layer: of which.
        images: of the data: a map that one of them excites is excitable.
        sizes: how much.
        seed: of all noise.
        climbed: images are grown, too; otherwise starts are only screened.
        progress: told arms.

    Returns:
        `excitable` (c,) bool. `opened` (noises, seeds, c) int: starts of `sizes.screened` that
        excite the map. `first` (noises, seeds, c) bool: whether one start does, another one for
        every map. With `climbed`, for a arms, s seeds, m maps and k starts: `maps` (m,) int,
        `scores`, `steps`, `power` (a, s, m, k); `stability` and `null` (a, s, m): the median
        similarity of a map's live starts, and of one of them to the other maps'.
    """
    side = max(network.inputs.shape[:-1])
    kinds = noises(side)
    active = np.zeros(layer.maps, bool)
    for means in spatial_means(network, images, layer):
        active |= (means > 0).any(0)
    opened = np.zeros((len(kinds), sizes.seeds, layer.maps), np.int64)
    first = np.zeros((len(kinds), sizes.seeds, layer.maps), bool)
    own = np.arange(layer.maps) % sizes.screened
    starts: Any = _Starts(network, layer, kinds, sizes, seed)
    before = 0
    for means in spatial_means(network, starts, layer):
        for place, heard in enumerate(means > 0, before):
            row, number, start = np.unravel_index(place, starts.shape)
            opened[row, number] += heard
            first[row, number][own == start] = heard[own == start]
        before += len(means)
        progress(f"{layer.name}: screening", before, len(starts))
    told: dict[str, np.ndarray] = {"excitable": active, "opened": opened, "first": first}
    if climbed:
        told |= _climbed(network, layer, np.flatnonzero(active), sizes, seed, progress)
    return told


class _Starts:
    """Starts of all kinds of noise and all seeds in one row, drawn when they are looked at."""

    def __init__(
        self, network: Network, layer: LayerInfo, kinds: tuple[str, ...], sizes: Sizes, seed: int
    ):
        self.shape = (len(kinds), sizes.seeds, sizes.screened)
        self._noises = [Noise(network.inputs.shape, kind) for kind in kinds]
        self._spec, self._index, self._seed = network.inputs, layer.index, seed

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, part: slice) -> np.ndarray:
        places = np.arange(len(self))[part]
        kinds, seeds, starts = np.unravel_index(places, self.shape)
        pixels = np.empty((len(places), *self._spec.shape), np.float32)
        for kind, seed in set(zip(kinds.tolist(), seeds.tolist(), strict=True)):
            rows = (kinds == kind) & (seeds == seed)
            pixels[rows] = self._noises[kind].images(self._seed + seed, self._index, starts[rows])[
                0
            ]
        return (pixels * self._spec.std + self._spec.mean).astype(np.float32)


def _climbed(
    network: Network,
    layer: LayerInfo,
    excitable: np.ndarray,
    sizes: Sizes,
    seed: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    drawn = generator(seed, "study maps", layer.index).permutation(excitable)
    maps = np.sort(drawn[: sizes.maps])
    chosen = arms(max(network.inputs.shape[:-1]))
    shape = (len(chosen), sizes.seeds, len(maps), sizes.starts)
    found = {name: np.full(shape, np.nan, np.float32) for name in ("scores", "steps", "power")}
    stable = np.full(shape[:-1], np.nan, np.float32)
    null = np.full((len(chosen), sizes.seeds, len(maps)), np.nan, np.float32)
    climbers = {kind: climber(network, layer, kind, sizes.steps, seed) for kind in (POST, WARM)}
    steps = reach(layer.jump, network.inputs.shape[:-1])
    for row, (kind, objective) in enumerate(chosen):
        noise = Noise(network.inputs.shape, kind)
        visible = climbers[objective].visible
        for number in range(sizes.seeds):
            starts, _ = noise.images(seed + number, layer.index, np.arange(sizes.starts))
            images, scores, traces = grown(climbers[objective], starts, maps)
            found["scores"][row, number] = scores
            flat = traces.reshape(-1, traces.shape[-1])
            found["steps"][row, number] = steps_to(flat).reshape(scores.shape)
            power = high_power(_cut(images, visible))
            found["power"][row, number] = np.where(scores > 0, power, np.nan)
            stable[row, number], null[row, number] = _stability(images, scores > 0, steps)
        progress(f"{layer.name}: arms", row + 1, len(chosen))
    return {"maps": maps, **found, "stability": stable, "null": null}


def climber(network: Network, layer: LayerInfo, objective: str, steps: int, seed: int) -> Climber:
    """The ascent of an arm: without any blur, so that what the noise leaves can be seen."""
    changes: dict[str, Any] = {"steps": steps, "seed": seed, "blur": 0.0}
    if objective == POST:
        changes |= {"warmup": 0, "climb_silent": False}
    settings = ascent_settings(**changes)
    readout = MapReadout(network, layer)
    probe = ascent_settings(screened=4, starts=1, seed=seed)
    visible = screen(network, readout, probe).visible
    return Climber(network, readout, settings, visible)


def grown(
    climber: Climber, starts: np.ndarray, maps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same starts climbed for every map.

    Args:
        climber: of the layer and arm.
        starts: (k, h, w, b).
        maps: (m,).

    Returns:
        Images (m, k, h, w, b), scores (m, k), traces (m, k, t + 1).
    """
    count = len(starts)
    items = np.repeat(maps, count)
    which = np.tile(np.arange(count), len(maps))
    parts = [
        climber.climb(starts[which[first : first + _TOGETHER]], items[first : first + _TOGETHER])
        for first in range(0, len(items), _TOGETHER)
    ]
    arrays = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("images", "scores", "traces")
    ]
    images, scores, traces = (one.reshape(len(maps), count, *one.shape[1:]) for one in arrays)
    return images, scores, traces


def _cut(images: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The part of images (..., h, w, b) that holds all visible pixels."""
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return images[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, :]


def _stability(
    images: np.ndarray, alive: np.ndarray, steps: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Median similarity of a map's live starts, and of its first one to those of other maps."""
    within = np.full(len(images), np.nan)
    beside = np.full(len(images), np.nan)
    lively = [images[row][alive[row]] for row in range(len(images))]
    firsts = [(row, one[0]) for row, one in enumerate(lively) if len(one)]
    peers = np.stack([one for _, one in firsts]) if firsts else images[:0, 0]
    mutual = similarity(peers, peers, steps) if len(peers) else np.zeros((0, 0))
    for place, (row, _) in enumerate(firsts):
        others = np.delete(mutual[place], place)
        beside[row] = np.median(others) if len(others) else np.nan
        if len(lively[row]) > 1:
            alike = similarity(lively[row], lively[row], steps)
            within[row] = np.median(alike[np.triu_indices(len(alike), 1)])
    return within, beside
