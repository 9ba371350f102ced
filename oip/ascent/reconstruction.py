"""Reconstruction: from a model and a layer to the OIPs of its maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from oip.ascent.gradient_ascent import (
    AscentByMap,
    AscentResult,
    Focus,
    GradientAscent,
    Report,
    snapshot_steps,
)
from oip.ascent.noise import Noise, NoiseCache
from oip.ascent.objectives import Objective, parse_objectives
from oip.ascent.parameterization import DataStatistics, bound_of, parameterization_of
from oip.ascent.references import References
from oip.ascent.results import Oips, check_memory, join_oips
from oip.ascent.screening import Screening, choose_starts, screen
from oip.ascent.settings import AUTO, AscentSettings, of_input, requested_settings
from oip.ascent.similarity import shift_reach, start_stability
from oip.ascent.targets import MapTargets, Targets, objective_targets
from oip.ascent.transforms import transform_of
from oip.ascent.verdicts import converged, looks_converged, provably_dead, saturated, verdict_codes
from oip.core.errors import SettingsError
from oip.core.frameworks import keras
from oip.core.progress import Progress, automatic, silent
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers
from oip.network.network import Network

SHARD = 64
"""Maps in an aligned block: the unit of determinism."""
FROM_DATA = -1
"""In place of the number of a screened start: grown from an image of the data, or the user's."""
_MOST_IMAGES = 128
"""Images that climb at once at most: more of them leave the processor's caches."""
_NOISE_ON_DATA = 0.3
_FLOAT16 = 2
"""Bytes of a value in an image that is kept."""
_RESCUES: tuple[Focus, ...] = ("peak", "mean")
"""Further attempts for inactive maps, each from the next best starts."""
ATTEMPTS = 1 + len(_RESCUES)
"""Climbs from noise of a map that stays inactive."""


@runtime_checkable
class LabeledImages(Protocol):
    """Images (n, h, w, b) and names of their classes, as `models.load` gives them."""

    @property
    def images(self) -> np.ndarray: ...
    @property
    def classes(self) -> tuple[str, ...]: ...


def reconstruct(
    model: keras.Model | str | Path | Network,
    layer: str | None = None,
    maps: Iterable[int] | str | int | None = None,
    *,
    objective: str | Objective | Sequence[str | Objective] | None = None,
    starts: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    data: np.ndarray | LabeledImages | None = None,
    classes: Sequence[str] | None = None,
    start: np.ndarray | None = None,
    preset: str = AUTO,
    progress: Progress = automatic,
    **settings: Any,
) -> Oips:
    """Grow the original input pattern of each map: the image to which the map reacts most.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`; beside objectives, the layer of those
            terms that name none.
        maps: numbers of maps, `"0-15"`, or None for all.
        objective: another objective to grow images for, or several: `"class:4 - class:9"`,
            `"node:17@3,2"`; see `oip.objective`.
        starts: images grown for each map; by default 4, of `natural` 2.
        steps: steps of the ascent at most; by default 120, of `natural` 64.
        seed: the same seed gives the same images on the same machine.
        data: images (n, h, w, b), as the model is fed, or a `Dataset` of them, to compare the OIPs
            with; without them no map is called reachable-only.
        classes: names of the classes, for `class:NAME`; those beside the model, else of `data`, if
            None.
        start: an image (h, w, b), as the model is fed, that the ascent begins with in place of
            noise; of several starts, all but the first with noise on it.
        preset: `auto` takes `natural` for color images (h, w, 3), `default` for all others, and
            `accentuate` with `start`; or one of `PRESETS`: `default`, `natural`, `aligned`
            (needs `data`), `accentuate`, `author`, `fourier`, `maco`.
        progress: receives reports of the work; a notebook shows it by itself.
        settings: other fields of `AscentSettings`.

    Returns:
        `Oips`, maps in ascending order, best start first; of objectives, in the order given.

    Raises:
        ModelError, SettingsError, DataError: the arguments do not fit the model, or its images
            would take more than 2 GiB.

    References:
        Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2014 (activation
        maximization); the CNN articles on OIPs for noise of several wavelengths; Hamblin et al.,
        "Feature Accentuation", 2024 (from a photograph).

    Example:
        >>> oips = oip.reconstruct("model.keras", "Conv2D_3", maps=range(8))  # doctest: +SKIP
        >>> oips[3].show()  # doctest: +SKIP
    """
    if objective is not None and maps is not None:
        raise SettingsError("reconstruct", "maps or an objective", "both")
    if objective is None and layer is None:
        raise SettingsError("reconstruct", "the name of a layer, or an objective", "none")
    objectives = None if objective is None else parse_objectives(objective)
    settings |= {"starts": starts, "steps": steps, "seed": seed}
    requested = requested_settings(preset, start is not None, **settings)
    names = classes
    if isinstance(data, LabeledImages):
        data, names = data.images, classes or data.classes
    network = Network.of(model, images=data)
    if names and (classes or network.classes is None):
        network = network.with_classes(names)
    ascent_settings = of_input(requested, network.inputs.shape)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    network.inputs.warn_if_assumed()
    if objectives is not None:
        targets: Targets = objective_targets(network, objectives, layer)
        items = np.arange(len(targets.labels))
    else:
        info = network.find(str(layer))
        targets, items = MapTargets(network, info), map_numbers(info, maps)
    ascent = Ascent(network, targets, ascent_settings, data, progress, start=start)
    return grow_oips(ascent, items, progress)


def grow_oips(
    ascent: Ascent, items: np.ndarray, progress: Progress = silent, byte_limit: int = 2 << 30
) -> Oips:
    """Grow the OIPs of some items in memory, and compute their stability.

    Args:
        items: (m,) numbers of the maps, or of the objectives.
        byte_limit: of all images; to join them takes twice as much for a moment.

    Raises:
        SettingsError: the images would take more than the limit.
    """
    targets, settings, shape = ascent.targets, ascent.settings, ascent.network.inputs.shape
    images = settings.starts + len(snapshot_steps(settings.steps, settings.snapshots))
    hint = "Choose fewer maps at a time, or keep them in a run: 'oip reconstruct', 'oip batch'."
    check_memory(f"'{targets.name}'", (len(items), images), shape, _FLOAT16, byte_limit, hint)

    def report(grown: float) -> None:
        progress(f"{targets.name}: maps", grown, len(items))

    report(0)
    oips = ascent.grow(items, report)
    reach = shift_reach(targets.jump, shape[:-1])
    stability = start_stability(
        oips.images,
        oips.alive,
        reach,
        settings.seed,
        targets.index,
        partial(progress, f"{targets.name}: stability"),
    )
    return oips.with_stability(**vars(stability))


def aligned_blocks(maps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield aligned blocks of 64 maps: (number of the block, maps in it)."""
    for block_index in np.unique(maps // SHARD):
        yield int(block_index), maps[maps // SHARD == block_index]


def images_at_once(ascent: GradientAscent, byte_budget: int = 1 << 30) -> int:
    """Return the number of images that fit the byte budget, and the processor's caches."""
    return max(1, min(byte_budget // ascent.bytes_per_image(), _MOST_IMAGES))


class Ascent:
    """The ascent for some targets; screens once, traces once, then grows any of its items.

    Args:
        data: images (n, h, w, b) in input units, already checked; or None.
        byte_budget: for the images that climb at once.
        start: (h, w, b) in input units: begin with it in place of noise.
        attempts: climbs from noise of an item that stays inactive, at most.

    Raises:
        DataError: a start that does not fit the model.
        SettingsError: settings that the model's images do not take.
    """

    def __init__(
        self,
        network: Network,
        targets: Targets,
        settings: AscentSettings,
        data: np.ndarray | None = None,
        progress: Progress = silent,
        byte_budget: int = 1 << 30,
        start: np.ndarray | None = None,
        attempts: int = ATTEMPTS,
    ):
        self.network = network
        self.targets = targets
        self.settings = settings
        self._rescues = _RESCUES[: attempts - 1]
        self._data = data
        self._progress = progress
        self._byte_budget = byte_budget
        self._noise = Noise(network.inputs.shape, settings.noise)
        self._starts = NoiseCache(self._noise, settings.seed, targets.index)
        self._start = None if start is None else self._standardized_start(start)
        if settings.reference_terms and data is None:
            name, expected = settings.reference_terms[0], "images of the data, whose features count"
            raise SettingsError(name, expected, "none", "Give data=... for them.")
        if settings.fidelity > 0 and start is None:
            raise SettingsError("fidelity", "an image to begin with", "none")
        # Settings that the images do not take are refused here, not after the screening.
        transform_of(settings, network.inputs.shape, settings.seed)
        parameterization_of(settings, network.inputs.shape, self._statistics)

    @cached_property
    def screening(self) -> Screening:
        """Reactions of all items before any ascent."""
        return screen(
            self.network, self.targets, self.settings, self._data, self._progress, self._starts
        )

    @property
    def picture_ends(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Black and white of the input, each (b,) in its units; None where they are not known."""
        return self.network.inputs.picture_ends

    @cached_property
    def _gradient_ascent(self) -> GradientAscent:
        masks = self.screening.masks
        references = None
        terms = self.settings.reference_terms
        if terms and self._data is not None:
            best = self.screening.data_best
            references = References(self.network, self.targets, self._data, best, terms)
        return GradientAscent(
            self.network,
            self.targets,
            self.settings,
            masks,
            self._statistics,
            references,
            self._start,
        )

    @cached_property
    def _statistics(self) -> DataStatistics | None:
        needed = self.settings.parameterization == "phase" or self.settings.decorrelate
        if not needed:
            return None
        return DataStatistics.for_input(self.network.inputs, self._data)

    @cached_property
    def _provably_dead(self) -> np.ndarray:
        """(items,) bool: no input within the declared bounds can excite the item."""
        if isinstance(self.targets, MapTargets):
            return provably_dead(self.network, self.targets.layer)
        return np.zeros(len(self.targets.can_be_inactive), bool)

    def grow(self, maps: np.ndarray, report: Report = lambda done: None) -> Oips:
        """Grow OIPs of some items; their stability is not computed.

        `report` receives how many are grown, every second or step; a fraction is work on the next.
        """
        images = images_at_once(self._gradient_ascent, self._byte_budget)
        room = max(1, images // self.settings.starts)
        chunks = []
        for begin in range(0, len(maps), room):
            chunk = maps[begin : begin + room]

            def report_share(share: float, begin: int = begin, count: int = len(chunk)) -> None:
                report(begin + share * count)

            chunks.append(self._grow_chunk(chunk, report_share))
            report_share(1.0)
        return join_oips(chunks)

    def _grow_chunk(self, maps: np.ndarray, report: Report) -> Oips:
        """Grow some items together; `report` receives the share of the work that is done."""

        def attempts(attempt: int) -> Report:
            """Return the reports of a climb: each takes four fifths of what the last one left."""
            return lambda share: report(1 - 0.2**attempt * (1 - 0.8 * share))

        can_be_inactive = self.targets.can_be_inactive[maps]
        if self._start is not None:
            images = np.broadcast_to(self._start, (len(maps), *self._start.shape))
            grown = self._climb_from_images(maps, images, report, first_as_it_is=True)
        else:
            starts = [self._best_starts(map_index, 0) for map_index in maps]
            climbed = self._climb(maps, starts, "mean", attempts(0))
            grown = AscentByMap.of(starts, climbed, can_be_inactive)
        grown.fail(self.screening.broken[maps])
        if self._start is not None:
            grown.order()
            return self._oips(maps, grown)
        for attempt, focus in enumerate(self._rescues, 1):
            rows = np.flatnonzero(grown.inactive)
            if not (rows.size and self.settings.climb_inactive):
                break
            starts_by_map = [
                self._best_starts(maps[row], attempt * self.settings.starts) for row in rows
            ]
            if any(len(start_indices) < self.settings.starts for start_indices in starts_by_map):
                break
            climbed = self._climb(maps[rows], starts_by_map, focus, attempts(attempt))
            grown.replace(rows, AscentByMap.of(starts_by_map, climbed, can_be_inactive[rows]))
        rows = np.flatnonzero(grown.inactive & (self.screening.data_active[maps] > 0))
        if rows.size and self.settings.climb_inactive and self._data is not None:
            images = self._data[self.screening.data_best[maps[rows], 0]]
            images = self.network.inputs.standardized(images)
            report_last = attempts(ATTEMPTS)
            grown.replace(rows, self._climb_from_images(maps[rows], images, report_last))
        grown.order()
        return self._oips(maps, grown)

    def _best_starts(self, map_index: int, skip: int) -> np.ndarray:
        ranked = self.screening.ranked_starts(int(map_index))[skip:]
        best = ranked[: 8 * self.settings.starts]
        return best[choose_starts(self._starts.images(best), self.settings.starts)]

    def _climb(
        self, maps: np.ndarray, starts: list[np.ndarray], focus: Focus, report: Report
    ) -> AscentResult:
        owners = np.repeat(maps, [len(start_indices) for start_indices in starts])
        images = self._starts.images(np.concatenate(starts))
        return self._gradient_ascent.climb(images, owners, focus, report)

    def _standardized_start(self, start: np.ndarray) -> np.ndarray:
        """Return the standardized image (h, w, b) that the ascent begins with."""
        spec = self.network.inputs
        image = spec.standardized(check_images(spec, np.asarray(start)[None], "start"))
        bound = bound_of(self.settings, spec)
        return (image if bound is None else bound.undone(image))[0]

    def _climb_from_images(
        self, maps: np.ndarray, images: np.ndarray, report: Report, first_as_it_is: bool = False
    ) -> AscentByMap:
        """Climb from one standardized image (h, w, b) for each map, each start with other noise."""
        count = self.settings.starts
        noise, _ = self._noise.images(
            self.settings.seed, self.targets.index, np.arange(count), "beside data"
        )
        if first_as_it_is:
            noise[0] = 0.0
        noise = np.tile(_NOISE_ON_DATA * noise, (len(maps), *[1] * len(self._noise.shape)))
        starts, items = np.repeat(images, count, axis=0) + noise, np.repeat(maps, count)
        climbed = self._gradient_ascent.climb(starts, items, "mean", report, noise)
        origins = [np.full(count, FROM_DATA)] * len(maps)
        return AscentByMap.of(origins, climbed, self.targets.can_be_inactive[maps])

    def _amplitudes(self, starts: np.ndarray) -> np.ndarray:
        """Return (m, k, o) octave weights of starts; zero for those that grew from data."""
        amplitudes = np.zeros((*starts.shape, len(self._noise.grids)), np.float32)
        screened = starts != FROM_DATA
        amplitudes[screened] = self._starts.weights(starts[screened])
        return amplitudes

    def _oips(self, maps: np.ndarray, grown: AscentByMap) -> Oips:
        spec, screening = self.network.inputs, self.screening
        can_be_inactive = self.targets.can_be_inactive
        count = len(can_be_inactive)
        masks = np.broadcast_to(screening.masks, (count, *screening.masks.shape[1:]))[maps]
        for mask, images, snapshots in zip(masks, grown.images, grown.snapshots, strict=True):
            images[..., ~mask, :] = spec.background
            snapshots[..., ~mask, :] = spec.background
        best, traces, steps = grown.scores[:, 0], grown.traces[:, 0], grown.steps[:, 0]
        has_converged = looks_converged if self.settings.keep == "last" else converged
        unknown = np.full(len(maps), np.nan)
        return Oips(
            layer=self.targets.name,
            index=self.targets.index,
            noun=self.targets.noun,
            maps=np.asarray(maps, np.int64),
            images=grown.images.astype(np.float16),
            scores=grown.scores,
            pre_scores=grown.pre_scores,
            starts=grown.starts,
            amplitudes=self._amplitudes(grown.starts),
            traces=grown.traces,
            steps=grown.steps,
            reasons=grown.reasons,
            snapshots=grown.snapshots,
            snapshot_steps=np.array(
                snapshot_steps(self.settings.steps, self.settings.snapshots), int
            ),
            verdict_codes=verdict_codes(
                maps,
                best,
                grown.reasons[:, 0],
                screening,
                can_be_inactive,
                self.settings.climb_inactive,
            ),
            converged=has_converged(traces, steps, self.settings.patience, can_be_inactive[maps]),
            provably_dead=self._provably_dead[maps] & ~(best > 0),
            saturated=saturated(self.targets.upper_limit[maps], best),
            white_scores=screening.white[maps],
            screened_scores=screening.post[:, maps].max(0),
            data_scores=screening.data_scores[maps],
            data_active=screening.data_active[maps],
            stability=unknown,
            null_percentile=unknown.copy(),
            n_null=np.zeros(len(maps), np.int64),
            clusters=np.full(grown.scores.shape, -1),
            medoids=np.zeros(grown.scores.shape, bool),
            visible=screening.visible,
            mean=spec.mean,
            std=spec.std,
            bgr=spec.bgr,
            objectives=self.targets.labels,
            alpha=grown.alpha if self.settings.alpha else None,
        )
