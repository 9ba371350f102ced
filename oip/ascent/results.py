"""What an ascent leaves: the OIPs of one layer's maps with the evidence for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import cycle
from typing import Any, ClassVar, Self

import numpy as np

from oip.core import html
from oip.core.errors import SettingsError, expected
from oip.core.images import enhanced, plain, png

VERDICTS = ("responsive", "revived", "reachable-only", "dead", "failed")
REASONS = ("budget", "converged", "stalled", "failed")
_SHOWN = 256
"""Maps that a notebook shows."""


@dataclass(frozen=True)
class Oips:
    """The OIPs of some maps of one layer.

    Shapes: m maps, k starts (best first), (h, w, b) the model's input, t steps, s snapshots, o
    octaves. Images are standardised: over the visible pixels each has mean 0 and deviation 1;
    `pixels` gives them in the model's own input units. Scores are spatial means of the response.
    """

    layer: str
    """The layer's name as `oip layers` prints it."""
    index: int
    """The layer's index as `oip layers` prints it."""
    maps: np.ndarray
    """(m,) int: the maps' numbers."""
    images: np.ndarray
    """(m, k, h, w, b) float: standardised images."""
    scores: np.ndarray
    """(m, k): score of each image at the input's mean and deviation; NaN where it failed."""
    pre_scores: np.ndarray
    """(m, k): spatial mean of the pre-activation of the same images."""
    starts: np.ndarray
    """(m, k) int: number of the screened start that each image grew from; -1: a data image, when
    no start was heard by a map that the data excite."""
    amplitudes: np.ndarray
    """(m, k, o): weights of the octaves in that start, longest wavelength last."""
    traces: np.ndarray
    """(m, k, t + 1): score over steps, NaN after an image has retired."""
    steps: np.ndarray
    """(m, k) int: steps done."""
    reasons: np.ndarray
    """(m, k) int: why it stopped, an index into `REASONS`."""
    snapshots: np.ndarray
    """(m, s, h, w, b) float: the best start on its way, its noise first."""
    snapshot_steps: np.ndarray
    """(s,) int: the steps of the snapshots."""
    verdict_codes: np.ndarray
    """(m,) int: an index into `VERDICTS`."""
    converged: np.ndarray
    """(m,) bool: the best start's score rose by less than 1 % over its last `patience` steps (a
    setting of the ascent, 10 by default)."""
    provably_dead: np.ndarray
    """(m,) bool: no input within the declared bounds can open the map."""
    saturated: np.ndarray
    """(m,) bool: the response is at the upper limit of its activation."""
    white_scores: np.ndarray
    """(m,): best score of a screened white start, before any ascent."""
    screened_scores: np.ndarray
    """(m,): best score of a screened start of several wavelengths, before any ascent."""
    data_scores: np.ndarray
    """(m,): best score of a data image at the same mean and deviation; NaN without data."""
    data_active: np.ndarray
    """(m,): share of the data images, as they are, that excite the map; NaN without data."""
    stability: np.ndarray
    """(m,): median similarity of the map's starts; NaN with one start or before it is measured."""
    null_percentile: np.ndarray
    """(m,): percentile (0-100) of `stability` in the null; NaN with fewer than 8 other maps."""
    n_null: np.ndarray
    """(m,) int: similarities in the null."""
    clusters: np.ndarray
    """(m, k) int: pattern that each start ended in, 0 for the one most starts share; -1 before it
    is measured."""
    medoids: np.ndarray
    """(m, k) bool: the start that is most like the others of its pattern."""
    visible: np.ndarray
    """(h, w) bool: input pixels that the layer sees at all; of objectives, that any of them sees.
    The images of each have mean 0 and deviation 1 over its own, the background elsewhere."""
    mean: np.ndarray
    """(b,): the input's mean, in the model's input units."""
    std: np.ndarray
    """(b,): the input's standard deviation, in the model's input units."""
    bgr: bool = False
    """The bands are blue, green and red; pictures are shown the other way round."""
    objectives: tuple[str, ...] = ()
    """The expressions of all objectives, `maps` being their numbers; empty for maps of a layer."""

    def displayed(self, image: np.ndarray, enhance: bool = True) -> np.ndarray:
        """A standardised image (..., h, w, b) as uint8 with its bands in the order of display."""
        rendered = (enhanced if enhance else plain)(image)
        return rendered[..., ::-1] if self.bgr else rendered

    @property
    def unseen_pixels(self) -> int:
        """Input pixels on which nothing here depends; images have the background there."""
        return int(self.visible.size - self.visible.sum())

    @property
    def verdicts(self) -> list[str]:
        """A word from `VERDICTS` for each map."""
        return [VERDICTS[code] for code in self.verdict_codes]

    @property
    def alive(self) -> np.ndarray:
        """(m,) bool: has an image worth comparing: a score above zero, or any of an objective."""
        best = self.scores[:, 0]
        return np.isfinite(best) if len(self.objectives) else best > 0

    @property
    def pixels(self) -> np.ndarray:
        """(m, k, h, w, b) float32: the images in the model's own input units."""
        return (self.images.astype(np.float32) * self.std + self.mean).astype(np.float32)

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[MapOip]:
        return (MapOip(self, row) for row in range(len(self)))

    def __getitem__(self, number: int) -> MapOip:
        """The OIP of map `number` (its number in the layer, not its row here)."""
        rows = np.flatnonzero(self.maps == number)
        if not rows.size:
            have = f"{self.maps.min()}-{self.maps.max()}" if len(self) else "none"
            raise SettingsError(expected(f"layer '{self.layer}'", f"a map of {have}", number))
        return MapOip(self, int(rows[0]))

    def rows(self, rows: np.ndarray) -> Oips:
        """Some of the maps, by their rows here, in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in PER_MAP})

    def with_stability(
        self,
        stability: np.ndarray,
        percentile: np.ndarray,
        n_null: np.ndarray,
        clusters: np.ndarray | None = None,
        medoids: np.ndarray | None = None,
    ) -> Oips:
        """The same OIPs with their stability filled in."""
        return replace(
            self,
            stability=stability,
            null_percentile=percentile,
            n_null=n_null,
            clusters=self.clusters if clusters is None else clusters,
            medoids=self.medoids if medoids is None else medoids,
        )

    def plot(self, columns: int = 16, enhance: bool = True) -> Any:
        """All best images as one matplotlib figure, in the order of `maps`."""
        from oip.core import plots
        from oip.core.images import shown

        columns = min(columns, max(1, len(self)))
        rows = max(1, -(-len(self) // columns))
        size = max(3.0, columns * 0.62), 0.3 + rows * 0.78
        figure, panels = plots.figure(*size, rows=rows, columns=columns)
        for axes, one in zip(panels.flat, self, strict=False):
            picture = shown(self.displayed(one.image, enhance))
            plots.image(axes, picture, str(one.map))
        for axes in panels.ravel()[len(self) :]:
            figure.delaxes(axes)
        title = f"{self.layer}: original input patterns"
        figure.suptitle(plots.printable(title), fontsize=plots.FONT + 1)
        return figure

    def _repr_html_(self) -> str:
        counts = Counter(self.verdicts)
        told = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
        shown = [one._tile() for one in list(self)[:_SHOWN]]
        left_out = len(self) - len(shown)
        more = html.paragraph(f"and {left_out} more") if left_out else ""
        kind = "objectives" if len(self.objectives) else "maps"
        title = f"{self.layer}: {len(self)} {kind}"
        if self.unseen_pixels:
            pixels = self.visible.size
            told += f"; sees {pixels - self.unseen_pixels} of {pixels} pixels"
        return html.block(title, html.paragraph(told), html.row(shown), more)


@dataclass(frozen=True)
class MapOip:
    """One map's OIPs, a view of a row of `Oips`."""

    oips: Oips
    row: int

    @property
    def map(self) -> int:
        """The map's number in its layer."""
        return int(self.oips.maps[self.row])

    @property
    def label(self) -> str:
        """`map 17`, or the objective's expression."""
        return self.oips.objectives[self.map] if len(self.oips.objectives) else f"map {self.map}"

    @property
    def image(self) -> np.ndarray:
        """(h, w, b): the best start's standardised image."""
        return self.oips.images[self.row, 0].astype(np.float32)

    @property
    def images(self) -> np.ndarray:
        """(k, h, w, b): the standardised images, best start first."""
        return self.oips.images[self.row].astype(np.float32)

    @property
    def patterns(self) -> np.ndarray:
        """(p, h, w, b): medoids of the patterns that starts ended in, the commonest first."""
        rows = np.flatnonzero(self.oips.medoids[self.row])
        order = np.argsort(self.oips.clusters[self.row, rows], kind="stable")
        return self.images[rows[order]]

    @property
    def score(self) -> float:
        """Score of the best start."""
        return float(self.oips.scores[self.row, 0])

    @property
    def verdict(self) -> str:
        """A word from `VERDICTS`."""
        return self.oips.verdicts[self.row]

    def evidence(self) -> dict[str, Any]:
        """What the verdict rests on, as plain numbers (None where not measured)."""
        oips, row = self.oips, self.row
        return {
            "map": self.map,
            **({"objective": self.label} if len(oips.objectives) else {}),
            "verdict": self.verdict,
            "converged": bool(oips.converged[row]),
            "provably_dead": bool(oips.provably_dead[row]),
            "saturated": bool(oips.saturated[row]),
            "score": _number(oips.scores[row, 0]),
            "pre_score": _number(oips.pre_scores[row, 0]),
            "data_score": _number(oips.data_scores[row]),
            "data_active": _number(oips.data_active[row]),
            "white_score": _number(oips.white_scores[row]),
            "screened_score": _number(oips.screened_scores[row]),
            "stability": _number(oips.stability[row]),
            "null_percentile": _number(oips.null_percentile[row]),
            "n_null": int(oips.n_null[row]),
            "patterns": int(np.maximum(oips.clusters[row].max() + 1, 0)) or None,
            "medoids": np.flatnonzero(oips.medoids[row]).tolist(),
            "steps": int(oips.steps[row, 0]),
            "reason": REASONS[oips.reasons[row, 0]],
        }

    def show(self, enhance: bool = True) -> Any:
        """The best image as a pillow image."""
        from PIL import Image

        from oip.core.images import shown

        return Image.fromarray(shown(self.oips.displayed(self.image, enhance)))

    def plot(self) -> Any:
        """Plain and enhanced image, its evolution and its score trace, as a matplotlib figure."""
        from oip.core import plots
        from oip.core.images import shown

        oips = self.oips
        stages = oips.snapshots[self.row]
        figure, panels = plots.figure(max(6.0, 0.9 * len(stages)), 3.9)
        figure.delaxes(panels[0, 0])
        top, bottom = figure.add_gridspec(2, 1, height_ratios=(2, 1))
        parts = top.subgridspec(1, 3)
        for place, title in enumerate(("plain", "enhanced")):
            axes = figure.add_subplot(parts[place])
            picture = shown(oips.displayed(self.image, title == "enhanced"))
            plots.image(axes, picture, title)
        axes = figure.add_subplot(parts[2])
        for colour, trace in zip(cycle(plots.PALETTE), oips.traces[self.row], strict=False):
            axes.plot(trace, linewidth=1, color=colour)
        axes.tick_params(labelsize=plots.SMALL)
        axes.set_xlabel("step", fontsize=plots.FONT)
        axes.set_ylabel("score of each start", fontsize=plots.FONT)
        parts = bottom.subgridspec(1, len(stages))
        for place, (stage, step) in enumerate(zip(stages, oips.snapshot_steps, strict=True)):
            axes = figure.add_subplot(parts[place])
            plots.image(axes, shown(oips.displayed(stage)), f"step {step}")
        title = f"{oips.layer}: {self.label} ({self.verdict})"
        figure.suptitle(plots.printable(title), fontsize=plots.FONT + 1)
        return figure

    def _tile(self) -> str:
        text = f"{self.label}: {self.verdict}, score {self.score:.3g}"
        return html.picture(png(self.oips.displayed(self.image), 64), text, str(self.map))

    def _repr_html_(self) -> str:
        pictures = [
            html.picture(png(self.oips.displayed(image), 128), f"start {place + 1}", f"{score:.3g}")
            for place, (image, score) in enumerate(
                zip(self.images, self.oips.scores[self.row], strict=True)
            )
        ]
        rows = [(name.replace("_", " "), value) for name, value in self.evidence().items()]
        evidence = html.table(("evidence", ""), rows)
        title = f"{self.oips.layer}: {self.label} ({self.verdict})"
        return html.block(title, html.row(pictures), evidence)


def joined(parts: list[Oips]) -> Oips:
    """Parts of one layer as one, ordered by map."""
    order = np.argsort(np.concatenate([part.maps for part in parts]), kind="stable")
    values: dict[str, Any] = {}
    for field in fields(Oips):
        first = getattr(parts[0], field.name)
        if field.name in PER_MAP:
            values[field.name] = np.concatenate([getattr(part, field.name) for part in parts])[
                order
            ]
        else:
            values[field.name] = first
    return Oips(**values)


SHARED = ("layer", "index", "snapshot_steps", "visible", "mean", "std", "bgr", "objectives")
"""Fields that all maps of a layer share."""
PER_MAP = tuple(field.name for field in fields(Oips) if field.name not in SHARED)
"""Fields with a row for each map."""


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


class ByMap:
    """What `len`, iteration and `[number]` are for a frozen dataclass of arrays."""

    PER_MAP: ClassVar[tuple[str, ...]]
    """Fields with a row for each map: arrays, what has `rows` of its own, or None."""
    layer: str
    maps: np.ndarray

    def __len__(self) -> int:
        return len(self.maps)

    def __iter__(self) -> Iterator[Self]:
        return (self.rows(np.array([row])) for row in range(len(self)))

    def __getitem__(self, number: int) -> Self:
        """What there is of map `number` alone.

        Raises:
            SettingsError: it is not among these maps.
        """
        rows = np.flatnonzero(self.maps == number)
        if not rows.size:
            have = f"one of {len(self)} from {self.maps.min()} to {self.maps.max()}"
            raise SettingsError(expected(f"map of '{self.layer}'", have, number))
        return self.rows(rows[:1])

    def rows(self, rows: np.ndarray) -> Self:
        """Some of the maps, by their rows here, in that order."""
        changed = {name: _rows(getattr(self, name), rows) for name in self.PER_MAP}
        this: Any = self
        return replace(this, **changed)


def _rows(value: Any, rows: np.ndarray) -> Any:
    if value is None:
        return None
    return value.rows(rows) if hasattr(value, "rows") else value[rows]


_BYTES = 1 << 30


def check_memory(
    what: str,
    counts: Sequence[int],
    shape: Sequence[int],
    size: int,
    limit: int | None = None,
    hint: str = "Ask for fewer maps at a time.",
) -> None:
    """Refuses a result whose images would take more than 1 GiB, or another limit.

    Args:
        what: the result, for the message.
        counts: maps, and images of each.
        shape: of an image.
        size: bytes of a pixel.
        limit: in bytes; 1 GiB if None.
        hint: what to do instead.

    Raises:
        SettingsError: more than that.
    """
    limit = _BYTES if limit is None else limit
    wanted = size * int(np.prod(counts)) * int(np.prod(shape))
    if wanted > limit:
        most = f"at most {limit >> 20} MiB"
        raise SettingsError(expected(f"images of {what}", most, f"{wanted >> 20} MiB", hint))
