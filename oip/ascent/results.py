"""Results of an ascent: the OIPs of one layer's maps with the evidence for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import cycle
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from oip.core import html, plots
from oip.core.errors import SettingsError
from oip.core.images import displayable, enhanced, faded, plain, png, true_colors
from oip.core.records import Number, Part
from oip.core.units import finite_or_none, of_noun, percent, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from PIL.Image import Image

VERDICT_MEANINGS = {
    "responsive": "The map responds even to white noise.",
    "revived": (
        "The map does not respond to white noise, but to coarser noise or to its OIP, which the "
        "ascent found."
    ),
    "reachable-only": "The map responds to its OIP, but to no image of the data.",
    "dead": (
        "The response is zero for everything that was tried, also after an ascent of the "
        "pre-activation; or it is the same for every input."
    ),
    "failed": "The response is not a finite number, most often because weights are NaN or "
    "infinite.",
    "not reached": (
        "The map responded to no start. That does not make it dead: its pre-activation was not "
        "climbed, or it responds to images of the data."
    ),
    "never silent": (
        "The response is not zero for any input, so that it does not show whether the map "
        "responds. Compare the score with those of other images."
    ),
}
"""Verdict -> its meaning, for readers."""
VERDICTS = tuple(VERDICT_MEANINGS)
"""In the order of their codes in files."""
WITHOUT_PATTERN = ("dead", "failed", "not reached")
"""Verdicts of maps that nothing was found for."""
_SHOWN = {"reachable-only": "not seen in data"}
REASONS = ("budget", "converged", "stalled", "failed", "schedule")
"""Why an ascent ended, in the order of their codes in files: `schedule` is the last step where the
rate falls until then and no image stops early (`keep=last`), `budget` that of any other."""
_MOST_TILES = 256
"""Maps that a notebook shows."""
_TILE, _PORTRAIT, _START, _STAGE = 88, 280, 112, 56
"""Pixels of the longer side of pictures in a notebook: of many maps, of one, of its other starts,
and of its growth."""
_EVIDENCE = {
    "score": "score of this image",
    "data_score": "score of the best image of the data",
    "data_active": "share of the data images that excite it",
    "white_score": "score of the best white noise",
    "screened_score": "score of the best noise of all kinds",
    "stability": "similarity of the starts (stability)",
    "null_percentile": "percentile among pairs of other maps",
    "patterns": "distinct patterns of the starts",
    "converged": "converged",
    "steps": "steps",
    "saturated": "at the upper limit of its activation",
    "provably_dead": "proved dead by its weights",
}
"""Field of `MapOip.evidence` -> its name in a notebook."""
_SHARES = {"data_active": 1.0, "null_percentile": 100.0}
"""Those that are shares of a whole -> the whole."""


def shown_verdict(verdict: str) -> str:
    """Return a verdict as readers see it; files and JSON have its key."""
    return _SHOWN.get(verdict, verdict)


class MapEvidence(Part, frozen=True, kw_only=True):
    """The grounds of a map's verdict; a number that was not measured is None."""

    map: int
    objective: str | UnsetType = UNSET
    """The expression that was climbed, where it is not a map's response."""
    verdict: str
    converged: bool = False
    provably_dead: bool = False
    saturated: bool = False
    """The response is at the upper limit of its activation."""
    score: Number = None
    """Of the best start."""
    pre_score: Number = None
    """The same before the activation."""
    data_score: Number = None
    """Of the best image of the data."""
    data_active: Number = None
    """Share of the data with a response."""
    white_score: Number = None
    screened_score: Number = None
    """Of the best white noise, and of the best noise of all kinds."""
    stability: Number = None
    """Similarity of the starts, -1 to 1."""
    null_percentile: Number = None
    """Of that among other maps, 0 to 100."""
    n_null: int = 0
    patterns: int | None = None
    """Distinct patterns of the starts."""
    medoids: list[int] = msgspec.field(default_factory=list)
    """Starts that show them; 0 is the best."""
    steps: int = 0
    reason: str = ""
    """Why the ascent ended, a word from `REASONS`."""

    @property
    def is_excitable(self) -> bool:
        """Whether images of the data excite the map."""
        return bool(self.data_active) and self.data_score is not None


@dataclass(frozen=True, eq=False, repr=False)
class MapResult:
    """Base of results with arrays by map: `len`, rows, and a short representation."""

    PER_MAP: ClassVar[tuple[str, ...]]
    """Fields with a row for each map: arrays, results with `rows` of their own, or None."""

    layer: str
    """The layer's name as `oip layers` prints it."""
    index: int
    """The layer's index as `oip layers` prints it."""
    maps: np.ndarray
    """(m,) int: the maps' numbers."""
    noun: str = field(default="map", kw_only=True)
    """A unit of the layer: `map`, `unit`, `token channel`, `head` or `direction`."""

    def __len__(self) -> int:
        return len(self.maps)

    def row_of(self, number: int) -> int:
        """Return the row of map `number`; raise a SettingsError if it is not among these maps."""
        rows = np.flatnonzero(self.maps == number)
        if not rows.size:
            span = f" from {self.maps.min()} to {self.maps.max()}" if len(self) else ""
            maps = f"one of {len(self)}{span}"
            raise SettingsError(f"map of '{self.layer}'", maps, number)
        return int(rows[0])

    @property
    def _counted(self) -> str:
        """Number and kind of the units, such as `32 maps`."""
        return plural(len(self), self.noun)

    def rows(self, rows: np.ndarray) -> Self:
        """Return some of the maps, by their rows here, in that order."""
        values = {name: getattr(self, name) for name in self.PER_MAP}
        return replace(
            self,
            **{
                name: value.rows(rows) if isinstance(value, MapResult) else value[rows]
                for name, value in values.items()
                if value is not None
            },
        )

    def described(self, sizes: str, scores: np.ndarray) -> str:
        """Return the type of result, its sizes, and the three maps with the largest scores (m,)."""
        return f"{type(self).__name__}('{self.layer}': {sizes}{best_three(self.maps, scores)})"


class ByMap(MapResult):
    """Base of results of which `result[17]`, and iteration, give each map as a result."""

    def __iter__(self) -> Iterator[Self]:
        return (self.rows(np.array([row])) for row in range(len(self)))

    def __getitem__(self, number: int) -> Self:
        return self.rows(np.array([self.row_of(number)]))


def best_three(maps: Sequence[int] | np.ndarray, scores: np.ndarray) -> str:
    """Return `; best: 17 (2.3), ...` for a representation, empty without finite scores."""
    order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")[:3]
    best = [f"{maps[row]} ({scores[row]:z.3g})" for row in order if np.isfinite(scores[row])]
    return f"; best: {', '.join(best)}" if best else ""


@dataclass(frozen=True, eq=False, repr=False)
class Oips(MapResult):
    """The OIPs of some maps of one layer.

    Shapes: m maps, k starts (best first), (h, w, b) the model's input, t steps, s snapshots, o
    octaves. Images are standardized: over the visible pixels each has mean 0 and deviation 1;
    `pixels` gives them in the model's own input units. Scores are spatial means of the response.
    """

    images: np.ndarray
    """(m, k, h, w, b) float: standardized images."""
    scores: np.ndarray
    """(m, k): score of each image at the input's mean and deviation; NaN where it failed."""
    pre_scores: np.ndarray
    """(m, k): spatial mean of the pre-activation of the same images."""
    starts: np.ndarray
    """(m, k) int: number of the screened start that each image grew from; -1: an image of the
    user's, or of the data, when no start excited a map that the data excite."""
    amplitudes: np.ndarray
    """(m, k, o): weights of the octaves in that start, longest wavelength last."""
    traces: np.ndarray
    """(m, k, t + 1): score over steps, NaN after an image has stopped."""
    steps: np.ndarray
    """(m, k) int: steps done."""
    reasons: np.ndarray
    """(m, k) int: why the ascent stopped, an index into `REASONS`."""
    snapshots: np.ndarray
    """(m, s, h, w, b) float: the best start on its way, its noise first; of large images that were
    read from a run, the first s - 1 have the losses of pictures of 128 pixels."""
    snapshot_steps: np.ndarray
    """(s,) int: the steps of the snapshots."""
    verdict_codes: np.ndarray
    """(m,) int: an index into `VERDICTS`."""
    converged: np.ndarray
    """(m,) bool: the best start's score rose by less than 1 % over its last `patience` steps (a
    setting of the ascent, 10 by default)."""
    provably_dead: np.ndarray
    """(m,) bool: no input within the declared bounds can excite the map."""
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
    """(m, k) bool: the start that is most like the rest of its pattern."""
    visible: np.ndarray
    """(h, w) bool: input pixels with influence on the layer; of objectives, on any of them. The
    images of each have mean 0 and deviation 1 over its own pixels, the background elsewhere."""
    mean: np.ndarray
    """(b,): the input's mean, in the model's input units."""
    std: np.ndarray
    """(b,): the input's standard deviation, in the model's input units."""
    bgr: bool = False
    """The bands are blue, green and red; pictures are shown the other way round."""
    objectives: tuple[str, ...] = ()
    """The expressions of all objectives, `maps` being their numbers; empty for maps of a layer."""
    alpha: np.ndarray | None = None
    """(m, k, h, w) uint8: the gradient's size at each pixel over the ascent, 255 for the largest:
    what counts in the image; None where it was not kept (the setting `alpha`)."""

    def displayed(self, image: np.ndarray, enhance: bool | None = None) -> np.ndarray:
        """Return a standardized image (..., h, w, b) as uint8, bands in the order of display.

        Args:
            enhance: stretch the contrast, or not; if None, only that of images that are not inside
                the range of color pictures. Those that are have their true colors. Lines are drawn
                as they are.
        """
        if len(self.images.shape[2:]) == 2 or self.images.shape[2] == 1:
            return plain(image)
        true = None if enhance else true_colors(image, self.mean, self.std, self.bgr)
        rendered = true if true is not None else (plain if enhance is False else enhanced)(image)
        return rendered[..., ::-1] if self.bgr else rendered

    @property
    def unseen_pixels(self) -> int:
        """Input pixels without any influence; images have the background there."""
        return int(self.visible.size - self.visible.sum())

    @property
    def verdicts(self) -> list[str]:
        """A word from `VERDICTS` for each map."""
        return [VERDICTS[code] for code in self.verdict_codes]

    @property
    def alive(self) -> np.ndarray:
        """(m,) bool: the map has an image worth comparing.

        That is one with a score above zero; of an objective, or of a unit that is never silent
        (such as the negative side of a direction), any image.
        """
        best = self.scores[:, 0]
        is_signed = self.verdict_codes == VERDICTS.index("never silent")
        return np.isfinite(best) & ((best > 0) | is_signed | bool(self.objectives))

    @property
    def pixels(self) -> np.ndarray:
        """(m, k, h, w, b) float32: the images in the model's own input units."""
        return (self.images.astype(np.float32) * self.std + self.mean).astype(np.float32)

    def __iter__(self) -> Iterator[MapOip]:
        return (MapOip(self, row) for row in range(len(self)))

    def __getitem__(self, number: int) -> MapOip:
        """Return the OIP of map `number` (its number in the layer, not its row here)."""
        return MapOip(self, self.row_of(number))

    def with_stability(
        self,
        within: np.ndarray,
        percentile: np.ndarray,
        n_null: np.ndarray,
        clusters: np.ndarray,
        medoids: np.ndarray,
    ) -> Oips:
        """Return the same OIPs with their stability; see `start_stability` for the arrays."""
        values = {"stability": within, "null_percentile": percentile, "n_null": n_null}
        return replace(self, **values, clusters=clusters, medoids=medoids)

    def to_pandas(self) -> DataFrame:
        """Return a table with a row for each map: its verdict and the evidence for it."""
        import pandas

        return pandas.DataFrame([oip.evidence() for oip in self])

    def plot(self, columns: int = 16, enhance: bool | None = None) -> Figure:
        """Draw all best images, in the order of `maps`."""
        columns = min(columns, max(1, len(self)))
        rows = max(1, -(-len(self) // columns))
        size = max(3.0, columns * 0.62), 0.3 + rows * 0.78
        figure, panels = plots.figure(*size, rows=rows, columns=columns)
        for axes, oip in zip(panels.flat, self, strict=False):
            plots.image(axes, displayable(self.displayed(oip.image, enhance)), str(oip.map))
        for axes in panels.ravel()[len(self) :]:
            figure.delaxes(axes)
        title = f"{self.layer}: original input patterns"
        figure.suptitle(plots.printable(title), fontsize=plots.FONT + 1)
        return figure

    @property
    def _summary(self) -> tuple[str, str]:
        """Number of maps or objectives, and of each verdict."""
        counts = Counter(self.verdicts)
        verdicts = [f"{counts[key]} {shown_verdict(key)}" for key in VERDICTS if counts[key]]
        noun = "objective" if len(self.objectives) else self.noun
        return plural(len(self), noun), ", ".join(verdicts)

    def __repr__(self) -> str:
        count, verdicts = self._summary
        size = " x ".join(map(str, self.images.shape[2:]))
        sizes = f"{count}, {self.images.shape[1]} starts of {size}; {verdicts}"
        return self.described(sizes, self.scores[:, 0])

    def _repr_html_(self) -> str:
        count, verdicts = self._summary
        texts = [] if len(self.objectives) else [verdicts]
        tiles = [oip.tile() for oip in list(self)[:_MOST_TILES]]
        left_out = len(self) - len(tiles)
        left_out_note = html.paragraph(f"and {left_out} more") if left_out else ""
        if self.unseen_pixels:
            pixels = self.visible.size
            texts.append(f"sees {pixels - self.unseen_pixels} of {pixels} pixels")
        text = html.paragraph("; ".join(texts))
        return html.block(f"{self.layer}: {count}", text, html.row(tiles), left_out_note)


SHARED = ("layer", "index", "snapshot_steps", "visible", "mean", "std", "bgr", "objectives")
"""Fields that all maps of a layer share."""
PER_MAP = tuple(field.name for field in fields(Oips) if field.name not in (*SHARED, "noun"))
"""Fields with a row for each map."""
Oips.PER_MAP = PER_MAP


@dataclass(frozen=True, eq=False, repr=False)
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
        of_objective = len(self.oips.objectives)
        return self.oips.objectives[self.map] if of_objective else f"{self.oips.noun} {self.map}"

    @property
    def image(self) -> np.ndarray:
        """(h, w, b): the best start's standardized image."""
        return self.oips.images[self.row, 0].astype(np.float32)

    @property
    def images(self) -> np.ndarray:
        """(k, h, w, b): the standardized images, best start first."""
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

    def to_pandas(self) -> DataFrame:
        """Return a row for each start, the best first: its score and the pattern it ended in."""
        import pandas

        columns = {"score": self.oips.scores[self.row], "pattern": self.oips.clusters[self.row]}
        return pandas.DataFrame({"map": self.map, "verdict": self.verdict, **columns})

    def evidence(self) -> dict[str, object]:
        """Return the grounds of the verdict as plain numbers (None where not measured)."""
        return self.grounds.to_dict()

    @property
    def grounds(self) -> MapEvidence:
        """The grounds of the verdict."""
        oips, row = self.oips, self.row
        return MapEvidence(
            map=self.map,
            objective=self.label if len(oips.objectives) else UNSET,
            verdict=self.verdict,
            converged=bool(oips.converged[row]),
            provably_dead=bool(oips.provably_dead[row]),
            saturated=bool(oips.saturated[row]),
            score=finite_or_none(oips.scores[row, 0]),
            pre_score=finite_or_none(oips.pre_scores[row, 0]),
            data_score=finite_or_none(oips.data_scores[row]),
            data_active=finite_or_none(oips.data_active[row]),
            white_score=finite_or_none(oips.white_scores[row]),
            screened_score=finite_or_none(oips.screened_scores[row]),
            stability=finite_or_none(oips.stability[row]),
            null_percentile=finite_or_none(oips.null_percentile[row]),
            n_null=int(oips.n_null[row]),
            patterns=int(np.maximum(oips.clusters[row].max() + 1, 0)) or None,
            medoids=np.flatnonzero(oips.medoids[row]).tolist(),
            steps=int(oips.steps[row, 0]),
            reason=REASONS[oips.reasons[row, 0]],
        )

    def show(self, enhance: bool | None = None, mask: bool = False) -> Image:
        """Return the best image as a pillow image.

        Args:
            enhance: as for `Oips.displayed`.
            mask: make gray what counts little, where the run has `alpha`.
        """
        from PIL import Image

        picture = self.oips.displayed(self.image, enhance)
        if mask and self.oips.alpha is not None:
            picture = faded(picture, self.oips.alpha[self.row, 0])
        return Image.fromarray(displayable(picture))

    @property
    def stages(self) -> list[tuple[int, np.ndarray]]:
        """Steps and snapshots of the best start, its noise first, up to its last step."""
        oips, last = self.oips, int(self.oips.steps[self.row, 0])
        count = int(np.searchsorted(oips.snapshot_steps, last)) + 1
        steps = np.minimum(oips.snapshot_steps[:count], last).tolist()
        return list(zip(steps, oips.snapshots[self.row][:count], strict=True))

    def plot(self) -> Figure:
        """Draw the plain and the enhanced image, its evolution and its score trace."""
        oips = self.oips
        stages = self.stages
        figure, panels = plots.figure(max(6.0, 0.9 * len(stages)), 3.9)
        figure.delaxes(panels[0, 0])
        top, bottom = figure.add_gridspec(2, 1, height_ratios=(2, 1 if len(stages) else 1e-6))
        cells = top.subgridspec(1, 3)
        for column, title in enumerate(("plain", "enhanced")):
            picture = displayable(oips.displayed(self.image, title == "enhanced"))
            plots.image(figure.add_subplot(cells[column]), picture, title)
        axes = figure.add_subplot(cells[2])
        for color, trace in zip(cycle(plots.PALETTE), oips.traces[self.row], strict=False):
            axes.plot(trace, linewidth=1, color=color)
        axes.tick_params(labelsize=plots.SMALL)
        axes.set_xlabel("step", fontsize=plots.FONT)
        axes.set_ylabel("score of each start", fontsize=plots.FONT)
        cells = bottom.subgridspec(1, max(1, len(stages)))
        for column, (step, stage) in enumerate(stages):
            picture = displayable(oips.displayed(stage))
            plots.image(figure.add_subplot(cells[column]), picture, f"step {step}")
        title = f"{oips.layer}: {self.label} ({self.verdict})"
        figure.suptitle(plots.printable(title), fontsize=plots.FONT + 1)
        return figure

    def tile(self) -> str:
        """Return the best image as a small figure of HTML."""
        captions = [self.label, f"score {self.score:z.3g}"]
        if self.verdict != "responsive" and not len(self.oips.objectives):
            captions.append(shown_verdict(self.verdict))
        return self._picture(self.image, _TILE, ", ".join(captions), *captions)

    def __repr__(self) -> str:
        starts = f"{len(self.oips.images[self.row])} starts"
        name = f"'{self.oips.layer}': {self.label}"
        return f"MapOip({name}, {shown_verdict(self.verdict)}, score {self.score:z.3g}, {starts})"

    def _repr_html_(self) -> str:
        oips, values = self.oips, self.evidence()
        starts = [
            self._picture(
                image, _START, f"start {number}", f"start {number}", f"score {score:z.3g}"
            )
            for number, (image, score) in enumerate(
                zip(self.images[1:], oips.scores[self.row, 1:], strict=True), 2
            )
        ]
        stages = [
            self._picture(stage, _STAGE, f"step {step}", f"step {step}")
            for step, stage in self.stages
        ]
        rows = [
            (name, _evidence_text(field, values[field]))
            for field, name in _EVIDENCE.items()
            if values[field] is not None
        ]
        portrait = self._picture(self.image, _PORTRAIT, self.label, f"score {self.score:z.3g}")
        beside = [html.table(("evidence", ""), rows)] if len(rows) else []
        of_map = not len(oips.objectives)
        return html.block(
            f"{oips.layer}: {self.label}" + (f", {shown_verdict(self.verdict)}" if of_map else ""),
            html.paragraph(of_noun(VERDICT_MEANINGS[self.verdict], oips.noun) if of_map else ""),
            html.row([portrait, *beside]),
            html.row(starts),
            html.row(stages),
        )

    def _picture(self, image: np.ndarray, side: int, text: str, *captions: str) -> str:
        return html.picture(png(self.oips.displayed(image), side), text, *captions, side=side)


def _evidence_text(field: str, value: object) -> object:
    """Return a value of `MapOip.evidence` as a notebook shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in _SHARES and isinstance(value, float):
        return percent(value / _SHARES[field])
    return value


def join_oips(blocks: Sequence[Oips]) -> Oips:
    """Return parts of one layer as one, ordered by map.

    Where only some parts have masks, every pixel counts in the images of the others.
    """
    if len({oips.alpha is None for oips in blocks}) > 1:
        blocks = [oips if oips.alpha is not None else _unmasked(oips) for oips in blocks]
    order = np.argsort(np.concatenate([oips.maps for oips in blocks]), kind="stable")
    arrays = {
        name: np.concatenate([getattr(oips, name) for oips in blocks])[order]
        for name in PER_MAP
        if getattr(blocks[0], name) is not None
    }
    return replace(blocks[0], **arrays)


def _unmasked(oips: Oips) -> Oips:
    return replace(oips, alpha=np.full(oips.images.shape[:-1], 255, np.uint8))


def check_memory(
    result: str,
    counts: Sequence[int],
    shape: Sequence[int],
    size: int,
    limit: int = 1 << 30,
    hint: str = "Choose fewer maps at a time.",
) -> None:
    """Refuse a result whose images would take more than 1 GiB, or another limit.

    Args:
        counts: maps, and images of each.

    Raises:
        SettingsError: more than that.
    """
    needed = size * int(np.prod(counts)) * int(np.prod(shape))
    if needed > limit:
        expected = f"at most {limit >> 20} MiB"
        raise SettingsError(f"images of {result}", expected, f"{needed >> 20} MiB", hint)
