"""From a model and a layer to the OIPs of its maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from oip.ascent import similarity
from oip.ascent.loop import Climbed, Climber, Focus, snapshot_steps
from oip.ascent.noise import Noise
from oip.ascent.results import REASONS, Oips, joined
from oip.ascent.screening import Screening, choose_starts, screen
from oip.ascent.settings import AscentSettings, ascent_settings
from oip.ascent.verdicts import provably_dead, saturated, verdict_codes
from oip.core.progress import Progress, silent
from oip.network.inputs import check_images
from oip.network.layers import LayerInfo
from oip.network.selection import map_numbers
from oip.network.view import Network

SHARD = 64
"""Maps in an aligned block: the unit of determinism."""
FROM_DATA = -1
"""In place of the number of a screened start: grown from an image of the data."""
_BUDGET = 384 << 20
_TOGETHER = 128
"""Images that climb at once at most: more of them leave the processor's caches."""
_SETTLED = 0.01
_NOISE_ON_DATA = 0.3
_RESCUES: tuple[Focus, ...] = ("peak", "mean")


def reconstruct(
    model: Any,
    layer: str,
    maps: Iterable[int] | str | int | None = None,
    *,
    starts: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    data: np.ndarray | None = None,
    preset: str = "default",
    progress: Progress = silent,
    **settings: Any,
) -> Oips:
    """Grows the original input pattern of each map: the image to which the map reacts most.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        starts: images grown for each map (default 4).
        steps: steps of the ascent at most (default 120).
        seed: the same seed gives the same images on the same machine.
        data: images (n, h, w, b), as the model is fed, to hold the OIPs against; without them no
            map is called reachable-only.
        preset: `default` or `author`.
        progress: is told what has been done.
        settings: other fields of `AscentSettings`.

    Returns:
        `Oips`, maps in ascending order, best start first.

    Raises:
        ModelError, SettingsError, DataError: what was asked does not fit the model.

    References:
        Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2014 (activation
        maximisation); the CNN articles on OIPs for noise of several wavelengths.

    Example:
        >>> oips = oip.reconstruct("model.keras", "Conv2D_3", maps=range(8))  # doctest: +SKIP
        >>> oips[3].show()  # doctest: +SKIP
    """
    network = Network.of(model)
    info = network.find(layer)
    wanted = map_numbers(info, maps)
    chosen = ascent_settings(preset, starts=starts, steps=steps, seed=seed, **settings)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    ascent = LayerAscent(network, info, chosen, data, progress)
    done = 0
    parts = []
    for _, numbers in shards(wanted):
        parts.append(ascent.grow(numbers))
        done += len(numbers)
        progress(f"{info.name}: maps", done, len(wanted))
    return with_stability(joined(parts), info, chosen.seed)


def shards(maps: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Aligned blocks of 64 maps: (number of the block, maps in it)."""
    for number in np.unique(maps // SHARD):
        yield int(number), maps[maps // SHARD == number]


def with_stability(oips: Oips, layer: LayerInfo, seed: int) -> Oips:
    """The same OIPs with the similarity of their starts, against all maps that are there."""
    found = layer_stability(oips, layer, seed)
    return oips.with_stability(found.within, found.percentile, found.n_null)


def layer_stability(oips: Oips, layer: LayerInfo, seed: int) -> similarity.Stability:
    """Similarity of starts within maps, and between maps."""
    sides = oips.images.shape[2:-1]
    jump = layer.jump or (1.0,) * len(sides)
    reach = tuple(
        min(max(1, round(step)), side - 1) for step, side in zip(jump, sides, strict=True)
    )
    return similarity.stability(oips.images, oips.scores[:, 0] > 0, reach, seed, oips.index)


class LayerAscent:
    """The ascent for the maps of one layer; screens once, traces once, then grows any maps."""

    def __init__(
        self,
        network: Network,
        layer: LayerInfo,
        settings: AscentSettings,
        data: np.ndarray | None = None,
        progress: Progress = silent,
    ):
        self.network = network
        self.layer = layer
        self.settings = settings
        self._data = data
        self._progress = progress

    @cached_property
    def screening(self) -> Screening:
        """Reactions of all maps before any ascent."""
        return screen(self.network, self.layer, self.settings, self._data, self._progress)

    @cached_property
    def _climber(self) -> Climber:
        return Climber(self.network, self.layer, self.settings, self.screening.visible)

    @cached_property
    def _provably_dead(self) -> np.ndarray:
        return provably_dead(self.network, self.layer)

    @cached_property
    def _noise(self) -> Noise:
        return Noise(self.network.inputs.shape, self.settings.noise)

    def grow(self, maps: np.ndarray) -> Oips:
        """OIPs of some maps, all of one aligned block, stability not yet measured."""
        together = min(_BUDGET // self._climber.bytes_per_image(), _TOGETHER)
        room = max(1, together // self.settings.starts)
        return joined([self._chunk(maps[i : i + room]) for i in range(0, len(maps), room)])

    def _chunk(self, maps: np.ndarray) -> Oips:
        starts = [self._starts(number, 0) for number in maps]
        found = _Grown.of(starts, self._climb(maps, starts, "mean"))
        found.fail(self.screening.broken[maps])
        for attempt, focus in enumerate(_RESCUES, 1):
            rows = np.flatnonzero(found.silent)
            if not (rows.size and self.layer.silent_possible and self.settings.climb_silent):
                break
            others = [self._starts(maps[row], attempt * self.settings.starts) for row in rows]
            if any(len(some) < self.settings.starts for some in others):
                break
            found.replace(rows, _Grown.of(others, self._climb(maps[rows], others, focus)))
        excited = self.screening.data_active[maps] > 0
        rows = np.flatnonzero(found.silent & excited)
        if rows.size and self.settings.climb_silent:
            found.replace(rows, self._from_data(maps[rows]))
        found.order()
        return self._result(maps, found)

    def _starts(self, number: int, skip: int) -> np.ndarray:
        ranked = self.screening.ranked_starts(int(number))[skip:]
        near = ranked[: 8 * self.settings.starts]
        images, _ = self._noise.images(self.settings.seed, self.layer.index, near)
        kept = choose_starts(images, self.settings.starts)
        return near[kept]

    def _climb(self, maps: np.ndarray, starts: list[np.ndarray], focus: Focus) -> Climbed:
        flat = np.concatenate(starts)
        images, _ = self._noise.images(self.settings.seed, self.layer.index, flat)
        owners = np.repeat(maps, [len(some) for some in starts])
        return self._climber.climb(images, owners, focus)

    def _from_data(self, maps: np.ndarray) -> _Grown:
        """From the data image that excites each map most, each start with other noise on it."""
        count = self.settings.starts
        data = self._data if self._data is not None else np.zeros((0, *self._noise.shape))
        images = self.network.inputs.standardised(data[self.screening.data_best[maps]])
        noise, _ = self._noise.images(
            self.settings.seed, self.layer.index, np.arange(count), "beside data"
        )
        begun = (images[:, None] + _NOISE_ON_DATA * noise).reshape(-1, *self._noise.shape)
        climbed = self._climber.climb(begun, np.repeat(maps, count), "mean")
        return _Grown.of([np.full(count, FROM_DATA)] * len(maps), climbed)

    def _amplitudes(self, starts: np.ndarray) -> np.ndarray:
        """(m, k, o) octave weights of screened starts; zero for those that grew from data."""
        found = np.zeros((*starts.shape, len(self._noise.grids)), np.float32)
        screened = starts != FROM_DATA
        _, found[screened] = self._noise.images(
            self.settings.seed, self.layer.index, starts[screened]
        )
        return found

    def _result(self, maps: np.ndarray, found: _Grown) -> Oips:
        spec, screening = self.network.inputs, self.screening
        unseen = ~screening.visible
        images, snapshots = found.images, found.snapshots
        images[..., unseen, :] = spec.background
        snapshots[..., unseen, :] = spec.background
        best = found.scores[:, 0]
        nothing = np.full(len(maps), np.nan)
        return Oips(
            layer=self.layer.name,
            index=self.layer.index,
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
            verdict_codes=verdict_codes(maps, best, screening, self.layer.silent_possible),
            converged=settled(found.traces[:, 0], found.steps[:, 0], self.settings.patience),
            provably_dead=self._provably_dead[maps] & ~(best > 0),
            saturated=saturated(self.layer, best),
            white_scores=screening.white[maps],
            screened_scores=screening.post[:, maps].max(0),
            data_scores=screening.data_scores[maps],
            data_active=screening.data_active[maps],
            stability=nothing,
            null_percentile=nothing.copy(),
            n_null=np.zeros(len(maps), np.int64),
            visible=screening.visible,
            mean=spec.mean,
            std=spec.std,
            bgr=spec.bgr,
        )


def settled(traces: np.ndarray, steps: np.ndarray, patience: int) -> np.ndarray:
    """(m,) bool: the best score rose by less than 1 % over the last `patience` steps.

    Args:
        traces: (m, t + 1) scores over steps, NaN after the end.
        steps: (m,) steps done.
    """
    best = np.fmax.accumulate(traces, axis=1)
    rows = np.arange(len(traces))
    last = best[rows, np.minimum(steps, traces.shape[1] - 1)]
    early = best[rows, np.maximum(steps - patience, 0)]
    with np.errstate(invalid="ignore"):
        rose = last - early <= _SETTLED * np.abs(last)
    return np.asarray(rose & (last > 0) & (steps >= patience))


class _Grown:
    """Climbed images by map and start: every array (m, k, ...)."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = arrays

    def __getattr__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @classmethod
    def of(cls, starts: list[np.ndarray], climbed: Climbed) -> _Grown:
        shape = (len(starts), len(starts[0]))
        arrays = {
            name: value.reshape(*shape, *value.shape[1:]) for name, value in vars(climbed).items()
        }
        return cls({**arrays, "starts": np.stack(starts)})

    @property
    def silent(self) -> np.ndarray:
        """(m,) bool: no start found a response above zero."""
        with np.errstate(invalid="ignore"):
            return np.all(~(self.scores > 0), axis=1) & np.isfinite(self.scores).any(1)

    def fail(self, rows: np.ndarray) -> None:
        """Maps (m,) bool whose own response is not finite."""
        self.scores[rows] = np.nan
        self.reasons[rows] = REASONS.index("failed")

    def replace(self, rows: np.ndarray, other: _Grown) -> None:
        """Takes the other's maps where they came further."""
        better = _rank_keys(other).max(1) > _rank_keys(self).max(1)[rows]
        for name, value in self._arrays.items():
            value[rows[better]] = getattr(other, name)[better]

    def order(self) -> None:
        """Best start first; of the snapshots only those of the best start are kept."""
        order = np.argsort(-_rank_keys(self), axis=1, kind="stable")
        rows = np.arange(len(order))[:, None]
        self._arrays = {name: value[rows, order] for name, value in self._arrays.items()}
        self._arrays["snapshots"] = self._arrays["snapshots"][:, 0]


def _rank_keys(grown: _Grown) -> np.ndarray:
    keys = np.where(grown.scores > 0, grown.scores, grown.pre_scores)
    keys = np.where(np.isfinite(grown.scores), keys, -np.inf)
    return np.nan_to_num(keys, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
