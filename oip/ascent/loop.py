"""Gradient ascent on many images at once, each for its own item, in one compiled loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oip.ascent.climbing import Focus, Segment
from oip.ascent.parameterisation import DataStatistics
from oip.ascent.readouts import Readout
from oip.ascent.results import REASONS
from oip.ascent.settings import AscentSettings
from oip.network.view import Network

_RUNNING = -1
_BUDGET, _CONVERGED, _STALLED, _FAILED = (
    REASONS.index(word) for word in ("budget", "converged", "stalled", "failed")
)
_CHECKS = 5
"""Steps from one look at what has converged to the next, at least."""


@dataclass(frozen=True)
class Climbed:
    """What the ascent of n images left. Fields as in `Oips`, with one row an image."""

    images: np.ndarray
    scores: np.ndarray
    pre_scores: np.ndarray
    traces: np.ndarray
    steps: np.ndarray
    reasons: np.ndarray
    snapshots: np.ndarray


class Climber:
    """The ascent for one readout: traced once, for any items and any number of images.

    Images are standardised (mean 0, deviation 1 over all bands of the visible pixels); the model is
    fed `image * std + mean`, so the same network fed in other units climbs the same way.

    Args:
        visible: bool, (h, w) or (1, h, w) for all items, or (items, h, w).
    """

    def __init__(
        self,
        network: Network,
        readout: Readout,
        settings: AscentSettings,
        visible: np.ndarray,
        data: DataStatistics | None = None,
    ):
        self.network = network
        self.readout = readout
        self.settings = settings
        self.visible = visible
        self._segment = Segment(network, readout, settings, visible, data)

    def bytes_per_image(self) -> int:
        """Memory that one image takes while it climbs: forward, backward and its snapshots."""
        own = int(np.prod(self.network.inputs.shape))
        return 2 * self.readout.bytes_per_image + own * (
            16 + 2 * len(snapshot_steps(self.settings.steps))
        )

    def climb(self, starts: np.ndarray, items: np.ndarray, focus: Focus = "mean") -> Climbed:
        """Grows n images.

        Args:
            starts: (n, h, w, b): standardised starting images.
            items: (n,): the item of the readout that each image is for; where diversity is asked
                for, all starts of an item climb together.
            focus: what a silent map climbs: the mean of its pre-activation, or its peak.
        """
        settings, count = self.settings, len(starts)
        wanted = snapshot_steps(settings.steps)
        state = self._begun(starts, items)
        done = _State(**{name: value.copy() for name, value in vars(state).items()})
        snapshots = np.zeros((count, len(wanted), *starts.shape[1:]), np.float16)
        snapshots[:, 0] = state.best
        traces = np.full((count, settings.steps + 1), np.nan, np.float32)
        keys = np.full((count, settings.steps + 1), -np.inf, np.float32)
        reasons = np.full(count, _RUNNING)
        steps = np.zeros(count, np.int64)
        alive = np.arange(count)
        first = 0
        for last in _boundaries(settings, wanted):
            evaluations = last - first + (last == settings.steps)
            state, trace, stuck = self._run(state, items[alive], first, evaluations, focus)
            traces[alive, first : first + evaluations] = trace
            keys[alive, last] = state.keys
            steps[alive] = last
            done.put(alive, state)
            first = last
            if last in wanted:
                snapshots[alive, wanted.index(last)] = state.shown
            over = np.full(len(alive), _RUNNING)
            before = last - settings.patience
            if before >= settings.warmup:
                over[self._settled(keys[alive, before], state, items[alive])] = _CONVERGED
            if last == settings.steps:
                over[over == _RUNNING] = _BUDGET
            over[stuck] = _STALLED
            over[~np.isfinite(state.keys) | ~np.isfinite(trace[:, -1])] = _FAILED
            if settings.diversity > 0:
                over = _together(over, items[alive])
            reasons[alive] = over
            keep = over == _RUNNING
            alive, state = alive[keep], state.rows(keep)
            if not alive.size:
                break
        for place, step in enumerate(wanted):
            late = steps < step
            snapshots[late, place] = done.best[late]
        snapshots[:, -1] = done.best
        return Climbed(
            images=done.best,
            scores=np.where(reasons == _FAILED, np.nan, done.scores).astype(np.float32),
            pre_scores=done.pres.astype(np.float32),
            traces=traces,
            steps=steps,
            reasons=reasons,
            snapshots=snapshots,
        )

    def _settled(self, before: np.ndarray, state: _State, items: np.ndarray) -> np.ndarray:
        """(n,) bool: gained too little since the keys were `before`."""
        with np.errstate(invalid="ignore"):
            little = state.keys - before < self.settings.tolerance * np.abs(state.keys)
        return little & ((state.scores > 0) | ~self.readout.silent[items])

    def _begun(self, starts: np.ndarray, items: np.ndarray) -> _State:
        images, shown = self._segment.begun(starts, items)
        low = np.full(len(starts), -np.inf, np.float32)
        return _State(
            images=images,
            shown=shown,
            best=shown.copy(),
            keys=low,
            scores=low.copy(),
            pres=low.copy(),
            rates=np.full(len(starts), self.settings.rate, np.float32),
            posts=low.copy(),
            fronts=low.copy(),
        )

    def _run(
        self, state: _State, items: np.ndarray, first: int, evaluations: int, focus: Focus
    ) -> tuple[_State, np.ndarray, np.ndarray]:
        images, shown, best, kept, pace, stuck, trace = self._segment.run(
            state.images,
            state.best,
            np.stack([state.keys, state.scores, state.pres]),
            np.stack([state.rates, state.posts, state.fronts]),
            items,
            first,
            evaluations,
            focus,
        )
        return _State(images, shown, best, *kept, *pace), trace.T, stuck


@dataclass
class _State:
    """Images on their way, with the best that each has been."""

    images: np.ndarray
    shown: np.ndarray
    """The images as they are scored, standardised over what the layer sees."""
    best: np.ndarray
    keys: np.ndarray
    """Score where it is above zero, else the pre-activation: what `best` is judged by."""
    scores: np.ndarray
    pres: np.ndarray
    rates: np.ndarray
    posts: np.ndarray
    """Value at the last step, and `fronts`, its pre-activation."""
    fronts: np.ndarray

    def put(self, rows: np.ndarray, other: _State) -> None:
        for name, value in vars(other).items():
            getattr(self, name)[rows] = value

    def rows(self, keep: np.ndarray) -> _State:
        return _State(**{name: value[keep] for name, value in vars(self).items()})


def snapshot_steps(steps: int) -> list[int]:
    """Steps at which an image is kept on its way: 0, log-spaced, the last.

    >>> snapshot_steps(120)
    [0, 2, 4, 8, 15, 30, 60, 120]
    """
    found = {0, steps}
    late = steps
    while late > 3 and len(found) < 8:
        late = -(-late // 2)
        found.add(late)
    return sorted(found)


def _boundaries(settings: AscentSettings, wanted: list[int]) -> list[int]:
    """Steps at which the compiled loop is left: to look who has converged, and for snapshots.

    Every look has another one `patience` steps before it.
    """
    parts = max(1, settings.patience // _CHECKS)
    stride = settings.patience // parts if settings.patience % parts == 0 else settings.patience
    checks = set(range(stride, settings.steps, stride))
    return sorted((checks | set(wanted)) - {0})


def _together(over: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Images of one item go on until all of them are over; failed ones leave at once."""
    going = np.unique(items[over == _RUNNING])
    return np.where(np.isin(items, going) & (over != _FAILED), _RUNNING, over)
