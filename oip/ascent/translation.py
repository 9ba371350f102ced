"""Translation: how the OIP of a map moves and changes when the node that it is grown for moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.ascent.localization import captioned, draw_box, node_oips, picture_grid
from oip.ascent.masks import (
    central_node,
    check_receptive_field,
    checked_nodes,
    field_boxes,
    spread_nodes,
)
from oip.ascent.results import WITHOUT_PATTERN, ByMap, Oips, check_memory
from oip.ascent.similarity import LEAST_PEERS, correlation_peak, correlations, peak_near
from oip.core import html, plots
from oip.core.checks import check_whole
from oip.core.images import displayable, enhanced, is_line, plain
from oip.core.progress import Progress, automatic, piece_of
from oip.core.seeds import subset
from oip.core.units import finite_median, finite_or_none
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from pandas import DataFrame

_SLACK = 1
"""Pixels that a shift may be off and still count as the expected one."""
NULL_MAPS = 16
"""Other maps that a null needs."""
_MOST_ROWS = 16
_MEASURES = ("agreement", "unmoved", "aligned", "best", "percentile")


@dataclass(frozen=True, eq=False, repr=False)
class Translations(ByMap):
    """The OIPs of several nodes of some maps, compared with those of one node, the reference.

    Shapes: m maps, p nodes, k starts (best first), a spatial axes, (h, w, b) the model's input.
    Similarity is the normalized cross-correlation (-1 to 1); for a map and a node it is the median
    over all pairs of a start of the node and a start of the reference (of the reference itself: of
    two of its starts).
    """

    PER_MAP = ("maps", "shift", *_MEASURES, "null", "images", "scores")

    nodes: np.ndarray
    """(p, a) int: indices of the nodes."""
    reference: int
    """Row of the node that the rest are compared with."""
    expected: np.ndarray
    """(p, a) pixels: how far each node lies from the reference, times the layer's jump."""
    shift: np.ndarray
    """(m, p, a) pixels: how far the OIP really lies from the reference's, of the two starts that
    are most alike; any shift was allowed. NaN where nothing grew."""
    agreement: np.ndarray
    """(m, p): share of the pairs of starts whose own best shift is within a pixel of `expected`."""
    unmoved: np.ndarray
    """(m, p): similarity without any shift."""
    aligned: np.ndarray
    """(m, p): similarity at the expected shift, give or take one pixel."""
    best: np.ndarray
    """(m, p): similarity at the best shift of each pair."""
    null: np.ndarray
    """(m, q): `aligned` of two different maps at the reference."""
    percentile: np.ndarray
    """(m, p): percentile (0 to 100) of `aligned` in the null; NaN with fewer than 8 other maps."""
    images: np.ndarray
    """(m, p, k, h, w, b) float16: standardized over the node's receptive field, 0 elsewhere."""
    scores: np.ndarray
    """(m, p, k): response of the node."""
    boxes: np.ndarray
    """(p, a, 2): the receptive field of each node."""
    bgr: bool = False
    """The bands are blue, green and red."""

    def to_dict(self) -> dict[str, object]:
        """Return plain values as `oip locate --translation --json` prints them for a layer."""
        return {
            "layer": self.layer,
            "index": self.index,
            "nodes": self.nodes.tolist(),
            "reference": self.nodes[self.reference].tolist(),
            "expected": self.expected.tolist(),
            "maps": [
                {
                    "map": int(map_index),
                    "n_null": int(np.isfinite(self.null[row]).sum()),
                    "nodes": [self._record(row, column) for column in range(len(self.nodes))],
                }
                for row, map_index in enumerate(self.maps)
            ],
        }

    def _record(self, row: int, column: int) -> dict[str, object]:
        return {
            "score": finite_or_none(self.scores[row, column, 0]),
            "shift": [finite_or_none(value) for value in self.shift[row, column]],
            **{name: finite_or_none(getattr(self, name)[row, column]) for name in _MEASURES},
        }

    def to_pandas(self) -> DataFrame:
        """Return a table with a row for each map and node."""
        import pandas

        return pandas.DataFrame(
            {"map": int(map_index), "node": tuple(node), **self._record(row, column)}
            for row, map_index in enumerate(self.maps)
            for column, node in enumerate(self.nodes.tolist())
        )

    def plot(self, most: int = 4) -> Figure:
        """Draw the OIPs of all nodes of up to `most` maps, each with its receptive field."""
        rows, columns = max(1, min(most, len(self))), len(self.nodes)
        drawing, panels = picture_grid(rows, columns)
        for row in range(rows):
            for column in range(columns):
                axes = panels[row, column]
                image = self.images[row, column, 0].astype(np.float32)
                image = plain(image) if is_line(image) else enhanced(image)
                plots.image(axes, displayable(image[..., ::-1] if self.bgr else image))
                axes.set_title(self._title(row, column), fontsize=plots.SMALL, pad=3)
                draw_box(axes, self.boxes[column], image)
        text = "node; similarity to the reference at the expected shift, and without a shift"
        return captioned(drawing, f"{self.layer}: OIPs of several nodes", text)

    def _title(self, row: int, column: int) -> str:
        node = f"{self.maps[row]} @ {','.join(map(str, self.nodes[column]))}"
        aligned, unmoved = (
            f"{value:z.2f}" if np.isfinite(value) else "-"
            for value in (self.aligned[row, column], self.unmoved[row, column])
        )
        if column == self.reference:
            return f"{node}, reference\nstarts {aligned}"
        return f"{node}\n{aligned} ({unmoved})"

    def __repr__(self) -> str:
        sizes = f"{self._counted}, {len(self.nodes)} nodes, {self.scores.shape[-1]} starts"
        return self.described(sizes, self.scores[:, self.reference, 0])

    def _repr_html_(self) -> str:
        title = f"{self.layer}: OIPs of {len(self.nodes)} nodes of {self._counted} (medians)"
        moved = np.arange(len(self.nodes)) != self.reference
        rows = [
            (
                int(self.maps[row]),
                finite_median(self.agreement[row, moved]),
                finite_median(self.unmoved[row, moved]),
                finite_median(self.aligned[row, moved]),
                float(self.aligned[row, self.reference]),
                finite_median(self.null[row]),
            )
            for row in range(min(len(self), _MOST_ROWS))
        ]
        headings = (
            self.noun,
            "pairs at the expected shift",
            "similarity unmoved",
            "moved as expected",
            "starts of one node",
            f"other {self.noun}s",
        )
        table = html.table(headings, rows, len(self) - len(rows))
        return html.block(title, table, html.embedded_figure(self.plot(2), title))


def translation(
    model: keras.Model | str | Path | Network,
    layer: str,
    maps: Iterable[int] | str | int | None = None,
    *,
    nodes: Sequence[Sequence[int]] | None = None,
    most: int = 9,
    starts: int = 4,
    seed: int = 0,
    progress: Progress = automatic,
    **settings: Any,
) -> Translations:
    """Grow the OIPs of several nodes of each map and measure how they lie to each other.

    A convolution does the same everywhere, so the OIP of a node that lies n nodes further should
    lie n jumps further on the image; padding and the edges of the image may change it. The null is
    16 other maps of the layer at the reference, the node in the middle.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        nodes: (row, column) of the nodes, the reference first; None for nodes evenly over the
            layer, its corners among them.
        most: nodes that are chosen where none are named.
        starts, seed, settings: of the ascent, see `oip.reconstruct`.
        progress: receives reports of the work.

    Raises:
        ModelError: an unknown layer, or one of unknown geometry.
        SettingsError: maps, nodes or settings that do not fit, or more than 1 GiB of images.

    Example:
        >>> result = oip.translation("model.keras", "Conv2D_3", maps=[17])  # doctest: +SKIP
        >>> result.shift[0] - result.expected  # doctest: +SKIP
    """
    network = Network.of(model)
    info = network.find(layer)
    check_receptive_field(info)
    numbers = map_numbers(info, maps)
    most, starts = check_whole("most", most), check_whole("starts", starts)
    if nodes is None:
        indices = spread_nodes(info, most)
        reference = int(np.flatnonzero((indices == np.array(central_node(info))).all(1))[0])
    else:
        indices, reference = checked_nodes(info, nodes), 0
    shape, count = network.inputs.shape, len(numbers)
    check_memory("translations", (count + NULL_MAPS, len(indices), starts), shape, 2)
    other_maps = null_maps(info, numbers, seed)
    grown: list[Oips] = []
    for column, node in enumerate(indices):
        grown_maps = np.concatenate([numbers, other_maps]) if column == reference else numbers
        node_progress = piece_of(progress, f"{info.name}: nodes", column, len(indices))
        oips = node_oips(
            network, info, grown_maps, node, node_progress, starts=starts, seed=seed, **settings
        )
        grown.append(oips)
    images = [visible_images(oips) for oips in grown]
    shifts = (indices - indices[reference]) * np.array(info.jump)
    arrays = _comparisons([array[:count] for array in images], reference, shifts)
    null = _null(images[reference], count)
    return Translations(
        layer=info.name,
        index=info.index,
        noun=info.noun,
        maps=numbers,
        nodes=indices,
        reference=reference,
        expected=shifts,
        **arrays,
        null=null,
        percentile=_percentiles(arrays["aligned"], null),
        images=np.stack([array[:count] for array in images], 1),
        scores=np.stack([oips.scores[:count] for oips in grown], 1),
        boxes=field_boxes(info, indices, shape[:-1]),
        bgr=network.inputs.bgr,
    )


def visible_images(oips: Oips) -> np.ndarray:
    """Return (m, k, h, w, b) float16 images: 0 outside the visible pixels, and where none grew."""
    images = oips.images * oips.visible[..., None].astype(np.float16)
    images[~np.isfinite(oips.scores)] = 0.0
    images[[verdict in WITHOUT_PATTERN for verdict in oips.verdicts]] = 0.0
    return images


def null_maps(layer: LayerInfo, maps: np.ndarray, seed: int, count: int = NULL_MAPS) -> np.ndarray:
    """Return maps for a null of `count` beside those that are measured, as many as it needs."""
    other_maps = np.setdiff1d(np.arange(layer.maps), maps)
    needed = max(0, count + 1 - len(maps))
    return subset(other_maps, needed, seed, "other maps", layer.index)


class _Comparison(NamedTuple):
    """Medians over the pairs of starts of two nodes; see `Translations`."""

    shift: np.ndarray
    agreement: float = np.nan
    unmoved: float = np.nan
    aligned: float = np.nan
    best: float = np.nan


def _compared(
    reference: np.ndarray, images: np.ndarray, are_same: bool, expected_shift: np.ndarray
) -> _Comparison:
    """Compare all pairs of starts (k, h, w, b) of the reference and of a node."""
    shifts, tops, unmoved, aligned = [], [], [], []
    for row, own_image in enumerate(reference):
        for column, right in enumerate(images):
            if (are_same and column <= row) or not (own_image.any() and right.any()):
                continue
            surface = correlations(own_image, right)
            top, shift = correlation_peak(surface)
            shifts.append(shift)
            tops.append(top)
            unmoved.append(peak_near(surface, np.zeros(len(expected_shift)), 0))
            aligned.append(peak_near(surface, expected_shift, _SLACK))
    if not tops:
        return _Comparison(np.full(len(expected_shift), np.nan))
    is_close = np.abs(np.stack(shifts) - expected_shift).max(1) <= _SLACK
    return _Comparison(
        shift=shifts[int(np.argmax(tops))].astype(float),
        agreement=float(is_close.mean()),
        unmoved=float(np.median(unmoved)),
        aligned=float(np.median(aligned)),
        best=float(np.median(tops)),
    )


def _comparisons(
    images: Sequence[np.ndarray], reference: int, shifts: np.ndarray
) -> dict[str, np.ndarray]:
    """Compare the images (m, k, h, w, b) of each node with those of the reference: (m, p, ...)."""
    pairs = [
        [
            _compared(images[reference][row], node_images[row], column == reference, shifts[column])
            for column, node_images in enumerate(images)
        ]
        for row in range(len(images[reference]))
    ]
    return {
        name: np.array([[getattr(pair, name) for pair in row] for row in pairs], float)
        for name in _Comparison._fields
    }


def _null(images: np.ndarray, count: int) -> np.ndarray:
    """Return (count, q): `aligned` of each map and other maps, of images (m, k, h, w, b)."""
    no_shift = np.zeros(images.ndim - 3)
    size = min(NULL_MAPS, len(images) - 1)
    null = np.full((count, size), np.nan)
    for row in range(count):
        peers = [peer for peer in range(len(images)) if peer != row]
        for column, peer in enumerate(peers[len(peers) - size :]):
            null[row, column] = _compared(images[row], images[peer], False, no_shift).aligned
    return null


def _percentiles(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    percentiles = np.full(values.shape, np.nan)
    for row, similarities in enumerate(null):
        finite = similarities[np.isfinite(similarities)]
        if len(finite) >= LEAST_PEERS:
            shares = np.array([100.0 * np.mean(finite < value) for value in values[row]])
            percentiles[row] = np.where(np.isfinite(values[row]), shares, np.nan)
    return percentiles
