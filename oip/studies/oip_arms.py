"""Numbers that the study of the noise's spectrum rests on: shares, pairs, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oip.ascent.gradient_ascent import GradientAscent
from oip.ascent.noise import Noise, octave_grids
from oip.ascent.objectives import MapTargets
from oip.ascent.screening import screen
from oip.ascent.settings import ascent_settings
from oip.ascent.similarity import image_similarity, shift_reach
from oip.core.progress import Progress
from oip.core.seeds import generator
from oip.network.forward import spatial_means
from oip.network.layers import LayerInfo
from oip.network.network import Network

DRAWS = 2000
LEVEL = 0.95
ALIKE = 0.5
"""Similarity from which images are one pattern; clusters of starts are cut there, too."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, scale: float = 1.0, unit: str = "", digits: int = 1) -> str:
        """`3.1 (2.0 to 4.2) %`; in words where there was nothing to measure."""
        if not np.isfinite(self.value):
            return "unknown (nothing to measure)"
        value, low, high = (
            f"{scale * one:.{digits}f}" for one in (self.value, self.low, self.high)
        )
        return f"{value} ({low} to {high}){unit}"


def share_found(opened: np.ndarray, tried: int, starts: int) -> np.ndarray:
    """Probability that at least one of some starts opens a map.

    The starts are drawn without replacement from those that were tried: 1 less the hypergeometric
    probability that none of them is among the `opened`.

    Args:
        opened: (...,) int: how many of the tried starts open the map.
        tried: starts in all.
        starts: how many are drawn, up to `tried`.

    >>> share_found(np.array([0, 1, 2]), 2, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    opened = np.asarray(opened, float)
    closed = tried - opened
    none = np.ones(opened.shape)
    for place in range(starts):
        none *= np.clip(closed - place, 0, None) / (tried - place)
    return 1.0 - none


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Exact McNemar test of two paired outcomes.

    Args:
        first, second: (n,) bool.

    Returns:
        Pairs of which only the first is true, pairs of which only the second is, two-sided p.

    References:
        McNemar, Psychometrika 12 (1947) 153; the exact form is a binomial test of the discordant.
    """
    from scipy.stats import binomtest

    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(~first & second))
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return only_first, only_second, p


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, by Holm's step-down rule.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    largest = 0.0
    for place, row in enumerate(order):
        largest = max(largest, (len(values) - place) * values[row])
        found[row] = min(1.0, largest)
    return [round(float(one), 12) for one in found]


def bootstrap(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float],
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """A statistic of all rows with its percentile interval, rows drawn within their groups.

    Args:
        groups: one array a network, (maps, ...): a row belongs to one map, whatever was repeated
            with it, so that repetitions do not pass for independent maps.
        statistic: of the joined rows; may be NaN where nothing is left.
        seed: of the draws.
        draws: that are made.
    """
    groups = [group for group in groups if len(group)]
    if not groups:
        return Interval(float("nan"), float("nan"), float("nan"))
    random = generator(seed, "bootstrap")
    found = np.array(
        [
            statistic(
                np.concatenate([one[random.integers(len(one), size=len(one))] for one in groups])
            )
            for _ in range(draws)
        ]
    )
    found = found[np.isfinite(found)]
    value = float(statistic(np.concatenate(groups)))
    if not len(found):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def high_power(images: np.ndarray, above: float = 0.25) -> np.ndarray:
    """Share of an image's power at spatial frequencies above a limit; its mean is left out.

    Args:
        images: (..., h, w, b).
        above: cycles a pixel, along the diagonal of both frequencies (radius).

    Returns:
        (...,): 0 to 1; NaN for an image without any variation.
    """
    height, width = images.shape[-3:-1]
    spectrum = np.abs(np.fft.fft2(np.asarray(images, np.float64), axes=(-3, -2))) ** 2
    spectrum = spectrum.sum(-1)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum[..., 0, 0] = 0.0
    total = spectrum.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (spectrum * (radius > above)).sum((-2, -1)) / total, np.nan)


def steps_to(traces: np.ndarray, share: float = 0.95) -> np.ndarray:
    """Step at which the best score so far first reaches a share of the final one.

    Args:
        traces: (n, t + 1): score over steps, NaN after the end.
        share: of the best score of all.

    Returns:
        (n,) float; NaN where no score is above zero.
    """
    best = np.fmax.accumulate(np.where(np.isfinite(traces), traces, -np.inf), axis=1)
    final = best[:, -1:]
    reached = (best >= share * final).argmax(1).astype(float)
    return np.where(final[:, 0] > 0, reached, np.nan)


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
    steps = shift_reach(layer.jump, network.inputs.shape[:-1])
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


def climber(
    network: Network, layer: LayerInfo, objective: str, steps: int, seed: int
) -> GradientAscent:
    """The ascent of an arm: without any blur, so that what the noise leaves can be seen."""
    changes: dict[str, Any] = {"steps": steps, "seed": seed, "blur": 0.0}
    if objective == POST:
        changes |= {"warmup": 0, "climb_inactive": False}
    settings = ascent_settings(**changes)
    targets = MapTargets(network, layer)
    probe = ascent_settings(screened=4, starts=1, seed=seed)
    visible = screen(network, targets, probe).visible
    return GradientAscent(network, targets, settings, visible)


def grown(
    climber: GradientAscent, starts: np.ndarray, maps: np.ndarray
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
    mutual = image_similarity(peers, peers, steps) if len(peers) else np.zeros((0, 0))
    for place, (row, _) in enumerate(firsts):
        others = np.delete(mutual[place], place)
        beside[row] = np.median(others) if len(others) else np.nan
        if len(lively[row]) > 1:
            alike = image_similarity(lively[row], lively[row], steps)
            within[row] = np.median(alike[np.triu_indices(len(alike), 1)])
    return within, beside
