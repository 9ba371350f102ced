"""From a model and a layer to the OIPs of its maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from oip.ascent import similarity
from oip.ascent.gradient_ascent import (
    AscentByMap,
    AscentResult,
    Focus,
    GradientAscent,
    snapshot_steps,
)
from oip.ascent.noise import Noise, NoiseCache
from oip.ascent.objectives import MapTargets, Objective, ObjectiveTargets, Targets, objective
from oip.ascent.parameterization import DataStatistics, parameterization_of
from oip.ascent.results import Oips, check_size, joined
from oip.ascent.screening import Screening, choose_starts, screen
from oip.ascent.settings import AscentSettings, ascent_settings
from oip.ascent.transforms import transform_of
from oip.ascent.verdicts import provably_dead, saturated, settled, verdict_codes
from oip.core.errors import SettingsError, expected
from oip.core.progress import Progress, automatic, silent
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

SHARD = 64
"""Maps in an aligned block: the unit of determinism."""
FROM_DATA = -1
"""In place of the number of a screened start: grown from an image of the data."""
_BUDGET = 1 << 30
"""Bytes that a climb may take for its images."""
_TOGETHER = 128
"""Images that climb at once at most: more of them leave the processor's caches."""
_NOISE_ON_DATA = 0.3
_STATISTICS = 2000
"""Images that the data's spectrum and covariance are taken from, at most."""
_HALF = 2
"""Bytes of a value in an image that is kept."""
_MEMORY = 2 << 30
"""Bytes that the images which `reconstruct` gives back may take; joining them takes twice that."""
_RESCUES: tuple[Focus, ...] = ("peak", "mean")


def reconstruct(
    model: Any,
    layer: str | None = None,
    maps: Iterable[int] | str | int | None = None,
    *,
    objective: str | Objective | Sequence[str | Objective] | None = None,
    starts: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    data: np.ndarray | None = None,
    preset: str = "default",
    progress: Progress = automatic,
    **settings: Any,
) -> Oips:
    """Grows the original input pattern of each map: the image to which the map reacts most.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`; beside objectives, the layer of those
            terms that name none.
        maps: numbers of maps, `"0-15"`, or None for all.
        objective: something else to grow images for, or several: `"class:4 - class:9"`,
            `"node:17@3,2"`; see `oip.objective`.
        starts: images grown for each map (default 4).
        steps: steps of the ascent at most (default 120).
        seed: the same seed gives the same images on the same machine.
        data: images (n, h, w, b), as the model is fed, to hold the OIPs against; without them no
            map is called reachable-only.
        preset: `default`, `author`, `fourier` or `maco`.
        progress: is told what has been done; a notebook shows it by itself.
        settings: other fields of `AscentSettings`.

    Returns:
        `Oips`, maps in ascending order, best start first; of objectives, in the order given.

    Raises:
        ModelError, SettingsError, DataError: what was asked does not fit the model, or its images
            would take more than 2 GiB.

    References:
        Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2014 (activation
        maximisation); the CNN articles on OIPs for noise of several wavelengths.

    Example:
        >>> oips = oip.reconstruct("model.keras", "Conv2D_3", maps=range(8))  # doctest: +SKIP
        >>> oips[3].show()  # doctest: +SKIP
    """
    network = Network.of(model, images=data)
    if objective is not None:
        if maps is not None:
            raise SettingsError(expected("reconstruct", "maps or an objective", "both"))
    elif layer is None:
        raise SettingsError(expected("reconstruct", "the name of a layer, or an objective", "none"))
    chosen = ascent_settings(preset, starts=starts, steps=steps, seed=seed, **settings)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    network.inputs.warn_if_assumed()
    if objective is not None:
        targets = objective_targets(network, objective, layer)
        ascent = Ascent(network, targets, chosen, data, progress)
        wanted = np.arange(len(targets.labels))
    else:
        info = network.find(str(layer))
        ascent = LayerAscent(network, info, chosen, data, progress)
        wanted = map_numbers(info, maps)
    return grow_oips(ascent, wanted, progress)


def grow_oips(ascent: Ascent, items: np.ndarray, progress: Progress = silent) -> Oips:
    """The OIPs of some items of a targets in memory, their stability measured.

    Args:
        items: (m,) numbers of the maps, or of the objectives.

    Raises:
        SettingsError: the images would take more than 2 GiB.
    """
    targets, settings, shape = ascent.targets, ascent.settings, ascent.network.inputs.shape
    kept = settings.starts + len(snapshot_steps(settings.steps))
    hint = "Ask for fewer maps at a time, or keep them in a run: 'oip reconstruct', 'oip batch'."
    check_size(f"'{targets.name}'", (len(items), kept), shape, _HALF, _MEMORY, hint)
    done = 0
    parts = []
    for _, numbers in aligned_blocks(items):
        parts.append(ascent.grow(numbers))
        done += len(numbers)
        progress(f"{targets.name}: maps", done, len(items))
    found = joined(parts)
    shift = similarity.shift_reach(targets.jump, shape[:-1])
    told = similarity.start_stability(
        found.images, found.alive, shift, settings.seed, targets.index
    )
    return found.with_stability(
        told.within, told.percentile, told.n_null, told.clusters, told.medoids
    )


def objective_targets(
    network: Network,
    objectives: str | Objective | Sequence[str | Objective],
    layer: str | None = None,
) -> ObjectiveTargets:
    """Objectives of one network, from their expressions.

    Args:
        layer: of the terms that name none.

    Raises:
        SettingsError, ModelError, DataError: no objectives, or not of this network.
    """
    one = isinstance(objectives, (str, Objective))
    several = [objectives] if one else list(objectives)  # type: ignore[arg-type]
    if not several:
        raise SettingsError(expected("objective", "at least one", "none"))
    return ObjectiveTargets(network, [objective(each) for each in several], layer)


def aligned_blocks(maps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Aligned blocks of 64 maps: (number of the block, maps in it)."""
    for number in np.unique(maps // SHARD):
        yield int(number), maps[maps // SHARD == number]


def images_at_once(climber: GradientAscent) -> int:
    """Images that fit the byte budget of a climb, and the processor's caches."""
    return max(1, min(_BUDGET // climber.bytes_per_image(), _TOGETHER))


class Ascent:
    """The ascent for one targets; screens once, traces once, then grows any of its items."""

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        data: np.ndarray | None = None,
        progress: Progress = silent,
    ):
        self.network = network
        self.targets = targets
        self.settings = settings
        self._data = data
        self._progress = progress
        self._noise = Noise(network.inputs.shape, settings.noise)
        self._kept = NoiseCache(self._noise, settings.seed, targets.index)
        transform_of(settings, network.inputs.shape, settings.seed)
        parameterization_of(settings, network.inputs.shape, self._statistics)

    @cached_property
    def screening(self) -> Screening:
        """Reactions of all items before any ascent."""
        return screen(self.network, self.targets, self.settings, self._data, self._progress)

    @cached_property
    def _climber(self) -> GradientAscent:
        seen = self.screening.seen
        return GradientAscent(self.network, self.targets, self.settings, seen, self._statistics)

    @cached_property
    def _statistics(self) -> DataStatistics | None:
        wants = self.settings.parameterisation == "phase" or self.settings.decorrelate
        if self._data is None or not wants:
            return None
        rows = np.linspace(0, len(self._data) - 1, min(len(self._data), _STATISTICS)).astype(int)
        return DataStatistics.of(self.network.inputs.standardised(self._data[rows]))

    def proved_dead(self) -> np.ndarray:
        """(items,) bool: no input within the declared bounds can open the item."""
        return np.zeros(len(self.targets.silent), bool)

    def at_limit(self, scores: np.ndarray) -> np.ndarray:
        """(m,) bool: scores at the upper limit of the activation."""
        return np.zeros(len(scores), bool)

    def grow(self, maps: np.ndarray) -> Oips:
        """OIPs of some items, all of one aligned block, stability not yet measured."""
        room = max(1, images_at_once(self._climber) // self.settings.starts)
        return joined([self._chunk(maps[i : i + room]) for i in range(0, len(maps), room)])

    def _chunk(self, maps: np.ndarray) -> Oips:
        starts = [self._starts(number, 0) for number in maps]
        silent = self.targets.silent[maps]
        found = AscentByMap.of(starts, self._climb(maps, starts, "mean"), silent)
        found.fail(self.screening.broken[maps])
        for attempt, focus in enumerate(_RESCUES, 1):
            rows = np.flatnonzero(found.silent)
            if not (rows.size and self.settings.climb_silent):
                break
            others = [self._starts(maps[row], attempt * self.settings.starts) for row in rows]
            if any(len(some) < self.settings.starts for some in others):
                break
            grown = self._climb(maps[rows], others, focus)
            found.replace(rows, AscentByMap.of(others, grown, silent[rows]))
        excited = self.screening.data_active[maps] > 0
        rows = np.flatnonzero(found.silent & excited)
        if rows.size and self.settings.climb_silent:
            found.replace(rows, self._from_data(maps[rows]))
        found.order()
        return self._result(maps, found)

    def _starts(self, number: int, skip: int) -> np.ndarray:
        ranked = self.screening.ranked_starts(int(number))[skip:]
        near = ranked[: 8 * self.settings.starts]
        return near[choose_starts(self._kept.images(near), self.settings.starts)]

    def _climb(self, maps: np.ndarray, starts: list[np.ndarray], focus: Focus) -> AscentResult:
        flat = np.concatenate(starts)
        owners = np.repeat(maps, [len(some) for some in starts])
        return self._climber.climb(self._kept.images(flat), owners, focus)

    def _from_data(self, maps: np.ndarray) -> AscentByMap:
        """From the data image that excites each map most, each start with other noise on it."""
        count = self.settings.starts
        data = self._data if self._data is not None else np.zeros((0, *self._noise.shape))
        images = self.network.inputs.standardised(data[self.screening.data_best[maps]])
        noise, _ = self._noise.images(
            self.settings.seed, self.targets.index, np.arange(count), "beside data"
        )
        begun = (images[:, None] + _NOISE_ON_DATA * noise).reshape(-1, *self._noise.shape)
        climbed = self._climber.climb(begun, np.repeat(maps, count), "mean")
        origins = [np.full(count, FROM_DATA)] * len(maps)
        return AscentByMap.of(origins, climbed, self.targets.silent[maps])

    def _seen(self, maps: np.ndarray) -> np.ndarray:
        """(m, h, w) bool: the pixels that each item sees."""
        seen = self.screening.seen
        return np.broadcast_to(seen, (len(self.targets.silent), *seen.shape[1:]))[maps]

    def _amplitudes(self, starts: np.ndarray) -> np.ndarray:
        """(m, k, o) octave weights of screened starts; zero for those that grew from data."""
        found = np.zeros((*starts.shape, len(self._noise.grids)), np.float32)
        screened = starts != FROM_DATA
        found[screened] = self._kept.weights(starts[screened])
        return found

    def _result(self, maps: np.ndarray, found: AscentByMap) -> Oips:
        spec, screening = self.network.inputs, self.screening
        images, snapshots = found.images, found.snapshots
        for seen, *rows in zip(self._seen(maps), images, snapshots, strict=True):
            for pictures in rows:
                pictures[..., ~seen, :] = spec.background
        best = found.scores[:, 0]
        nothing = np.full(len(maps), np.nan)
        return Oips(
            layer=self.targets.name,
            index=self.targets.index,
            maps=np.asarray(maps, np.int64),
            images=images.astype(np.float16),
            scores=found.scores,
            pre_scores=found.pre_scores,
            starts=found.starts,
            amplitudes=self._amplitudes(found.starts),
            traces=found.traces,
            steps=found.steps,
            reasons=found.reasons,
            snapshots=snapshots,
            snapshot_steps=np.array(snapshot_steps(self.settings.steps)),
            verdict_codes=verdict_codes(
                maps, best, found.reasons[:, 0], screening, self.targets.silent
            ),
            converged=settled(
                found.traces[:, 0],
                found.steps[:, 0],
                self.settings.patience,
                self.targets.silent[maps],
            ),
            provably_dead=self.proved_dead()[maps] & ~(best > 0),
            saturated=self.at_limit(best),
            white_scores=screening.white[maps],
            screened_scores=screening.post[:, maps].max(0),
            data_scores=screening.data_scores[maps],
            data_active=screening.data_active[maps],
            stability=nothing,
            null_percentile=nothing.copy(),
            n_null=np.zeros(len(maps), np.int64),
            clusters=np.full(found.scores.shape, -1),
            medoids=np.zeros(found.scores.shape, bool),
            visible=screening.visible,
            mean=spec.mean,
            std=spec.std,
            bgr=spec.bgr,
            objectives=self.targets.labels,
        )


class LayerAscent(Ascent):
    """The ascent for the maps of one layer."""

    def __init__(
        self,
        network: Network,
        layer: LayerInfo,
        settings: AscentSettings,
        data: np.ndarray | None = None,
        progress: Progress = silent,
    ):
        super().__init__(network, MapTargets(network, layer), settings, data, progress)
        self.layer = layer

    @cached_property
    def _provably_dead(self) -> np.ndarray:
        return provably_dead(self.network, self.layer)

    def proved_dead(self) -> np.ndarray:
        """From the weights alone; see `provably_dead`."""
        return self._provably_dead

    def at_limit(self, scores: np.ndarray) -> np.ndarray:
        """Of a sigmoid or its like."""
        return saturated(self.layer, scores)
