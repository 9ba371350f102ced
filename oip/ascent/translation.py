"""How the OIP of a map moves and changes when the node that it is grown for moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.ascent.localization import boxed, node_oips, picture_grid, short_number
from oip.ascent.masks import central_node, checked_nodes, field_boxes, spread_nodes
from oip.ascent.results import ByMap, Oips, check_memory
from oip.ascent.similarity import correlations, peak, peak_near
from oip.core import html, plots
from oip.core.errors import ModelError, SettingsError, expected
from oip.core.images import enhanced, shown
from oip.core.progress import Progress, automatic
from oip.core.seeds import generator
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SLACK = 1
"""Pixels that a shift may be off and still count as the expected one."""
_NULL_MAPS = 16
_LEAST_OTHERS = 8
_SHOWN = 16
_MEASURES = ("agreement", "unmoved", "aligned", "best", "percentile")


@dataclass(frozen=True, eq=False)
class Translations(ByMap):
    """The OIPs of several nodes of some maps, held against those of one node, the reference.

    Shapes: m maps, p nodes, k starts (best first), a spatial axes, (h, w, b) the model's input.
    Similarity is the normalised cross-correlation (-1 to 1); where it is given for a map and a
    node, it is the median over all pairs of a start here and a start of the reference (of the
    reference itself: of two of its starts).
    """

    PER_MAP = ("maps", "shift", *_MEASURES, "null", "images", "scores")

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: map numbers."""
    nodes: np.ndarray
    """(p, a) int: places of the nodes."""
    reference: int
    """Row of the node that the others are held against."""
    expected: np.ndarray
    """(p, a) pixels: by how far each node lies from the reference, times the layer's jump."""
    shift: np.ndarray
    """(m, p, a) pixels: by how far the OIP really lies from the reference's, of the two starts that
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
    """(m, q): what `aligned` is for two different maps at the reference."""
    percentile: np.ndarray
    """(m, p): place (0 to 100) of `aligned` in the null; NaN with fewer than 8 other maps."""
    images: np.ndarray = field(repr=False)
    """(m, p, k, h, w, b) float16: standardised over the pixels that the node sees, 0 elsewhere."""
    scores: np.ndarray = field(repr=False)
    """(m, p, k): response of the node."""
    boxes: np.ndarray = field(repr=False)
    """(p, a, 2): the receptive field of each node."""
    bgr: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values as `oip locate --translation --json` prints them for a layer."""
        return {
            "layer": self.layer,
            "index": self.index,
            "nodes": self.nodes.tolist(),
            "reference": self.nodes[self.reference].tolist(),
            "expected": self.expected.tolist(),
            "maps": [
                {
                    "map": int(number),
                    "n_null": int(np.isfinite(self.null[row]).sum()),
                    "nodes": [
                        {
                            "score": _number(self.scores[row, place, 0]),
                            "shift": [_number(one) for one in self.shift[row, place]],
                            **{
                                name: _number(getattr(self, name)[row, place]) for name in _MEASURES
                            },
                        }
                        for place in range(len(self.nodes))
                    ],
                }
                for row, number in enumerate(self.maps)
            ],
        }

    def plot(self, most: int = 4) -> Figure:
        """The OIPs of all nodes of up to `most` maps, each with its receptive field."""
        return _plot(self, most)

    def _repr_html_(self) -> str:
        title = f"{self.layer}: OIPs of {len(self.nodes)} nodes of {len(self)} maps (medians)"
        others = np.arange(len(self.nodes)) != self.reference
        rows = []
        for row in range(min(len(self), _SHOWN)):
            rows.append(
                (
                    int(self.maps[row]),
                    _median(self.agreement[row, others]),
                    _median(self.unmoved[row, others]),
                    _median(self.aligned[row, others]),
                    float(self.aligned[row, self.reference]),
                    _median(self.null[row]),
                )
            )
        headings = (
            "map",
            "pairs at the expected shift",
            "similarity unmoved",
            "moved as expected",
            "starts of one node",
            "other maps",
        )
        told = html.table(headings, rows, len(self) - len(rows))
        return html.block(title, told, html.drawn(self.plot(2), title))


def translation(
    model: Any,
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
    """Grows the OIPs of several nodes of each map and tells how they lie to each other.

    A convolution does the same everywhere, so the OIP of a node that lies n nodes further should
    lie n jumps further on the image; padding and the edges of the image may change it. The null is
    16 other maps of the layer at the reference, the node in the middle.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        nodes: places (row, column) of the nodes, the reference first; None for nodes evenly over
            the layer, its corners among them.
        most: nodes that are chosen where none are named.
        starts, seed, settings: of the ascent, see `oip.reconstruct`.
        progress: is told what has been done.

    Raises:
        ModelError: an unknown layer, or one whose places cannot be told.
        SettingsError: maps, nodes or settings that do not fit, or more than 1 GiB of images.

    Example:
        >>> found = oip.translation("model.keras", "Conv2D_3", maps=[17])  # doctest: +SKIP
        >>> found.shift[0] - found.expected  # doctest: +SKIP
    """
    network = Network.of(model)
    info = network.find(layer)
    if info.jump is None:
        wanted = "a layer whose receptive field is known"
        raise ModelError(expected(f"layer '{info.name}'", wanted, "one that mixes all places"))
    numbers = map_numbers(info, maps)
    if not isinstance(most, (int, np.integer)) or most < 1:
        raise SettingsError(expected("most", "a whole number from 1", most))
    if nodes is None:
        places = spread_nodes(info, int(most))
        reference = int(np.flatnonzero((places == np.array(central_node(info))).all(1))[0])
    else:
        places, reference = checked_nodes(info, nodes), 0
    if not isinstance(starts, (int, np.integer)) or starts < 1:
        raise SettingsError(expected("starts", "a whole number from 1", starts))
    shape = network.inputs.shape
    check_memory("translations", (len(numbers) + _NULL_MAPS, len(places), starts), shape, 2)
    others = _others(info, numbers, seed)
    grown: list[Oips] = []
    for place, node in enumerate(places):
        wanted = np.concatenate([numbers, others]) if place == reference else numbers
        grown.append(node_oips(network, info, wanted, node, starts=starts, seed=seed, **settings))
        progress(f"{info.name}: nodes", place + 1, len(places))
    seen = [_seen(one) for one in grown]
    count = len(numbers)
    expected_ = (places - places[reference]) * np.array(info.jump)
    measured = [
        [
            _compared(seen[reference][row], seen[place][row], place == reference, shift)
            for place, shift in enumerate(expected_)
        ]
        for row in range(count)
    ]
    null = _null(seen[reference], count)
    arrays = {name: _stacked(measured, name) for name in ("shift", *_MEASURES[:4])}
    return Translations(
        layer=info.name,
        index=info.index,
        maps=numbers,
        nodes=places,
        reference=reference,
        expected=expected_,
        **arrays,
        null=null,
        percentile=_percentiles(arrays["aligned"], null),
        images=np.stack([one[:count] for one in seen], 1),
        scores=np.stack([one.scores[:count] for one in grown], 1),
        boxes=field_boxes(info, places, shape[:-1]),
        bgr=network.inputs.bgr,
    )


def _others(layer: LayerInfo, maps: np.ndarray, seed: int) -> np.ndarray:
    """Maps for the null beside those that are asked for, as many as are wanting."""
    rest = np.setdiff1d(np.arange(layer.maps), maps)
    wanted = max(0, _NULL_MAPS + 1 - len(maps))
    drawn = generator(seed, "other maps", layer.index).permutation(rest)
    return np.sort(drawn[:wanted])


def _seen(grown: Oips) -> np.ndarray:
    """(m, k, h, w, b) float16: 0 where the node does not see, all 0 where no image was found."""
    images = grown.images * grown.visible[..., None].astype(np.float16)
    images[~np.isfinite(grown.scores)] = 0.0
    images[[verdict == "dead" for verdict in grown.verdicts]] = 0.0
    return images


def _compared(
    reference: np.ndarray, images: np.ndarray, same: bool, wanted: np.ndarray
) -> dict[str, Any]:
    """All pairs of starts (k, h, w, b) of the reference and of a node."""
    nothing = np.full(len(wanted), np.nan)
    found: list[tuple[float, float, float, np.ndarray]] = []
    for row, left in enumerate(reference):
        for column, right in enumerate(images):
            if (same and column <= row) or not (left.any() and right.any()):
                continue
            surface = correlations(left, right)
            top, shift = peak(surface)
            unmoved = peak_near(surface, np.zeros(len(wanted)), 0)
            found.append((unmoved, peak_near(surface, wanted, _SLACK), top, shift))
    if not found:
        return {"shift": nothing, **dict.fromkeys(_MEASURES[:4], np.nan)}
    shifts = np.stack([one[3] for one in found])
    tops = np.array([one[2] for one in found])
    return {
        "shift": shifts[tops.argmax()].astype(float),
        "agreement": float((np.abs(shifts - wanted).max(1) <= _SLACK).mean()),
        "unmoved": float(np.median([one[0] for one in found])),
        "aligned": float(np.median([one[1] for one in found])),
        "best": float(np.median(tops)),
    }


def _null(images: np.ndarray, count: int) -> np.ndarray:
    """(count, q): `aligned` of each map and of others, at the node of (m, k, h, w, b) images."""
    still = np.zeros(images.ndim - 3)
    found = np.full((count, min(_NULL_MAPS, len(images) - 1)), np.nan)
    for row in range(count):
        others = [other for other in range(len(images)) if other != row]
        for place, other in enumerate(others[-found.shape[1] :] if found.shape[1] else []):
            told = _compared(images[row], images[other], False, still)
            found[row, place] = told["aligned"]
    return found


def _percentiles(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    found = np.full(values.shape, np.nan)
    for row, others in enumerate(null):
        known = others[np.isfinite(others)]
        if len(known) >= _LEAST_OTHERS:
            share = np.array([100.0 * np.mean(known < value) for value in values[row]])
            found[row] = np.where(np.isfinite(values[row]), share, np.nan)
    return found


def _stacked(measured: list[list[dict[str, Any]]], name: str) -> np.ndarray:
    return np.array([[one[name] for one in row] for row in measured], float)


def _median(values: np.ndarray) -> float | None:
    """Of those that are known; None where none is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plot(found: Translations, most: int) -> Figure:
    """See `Translations.plot`."""
    rows, columns = max(1, min(most, len(found))), len(found.nodes)
    drawing, panels = picture_grid(rows, columns)
    for row in range(rows):
        for place, node in enumerate(found.nodes):
            axes = panels[row, place]
            image = enhanced(found.images[row, place, 0].astype(np.float32))
            plots.image(axes, shown(image[..., ::-1] if found.bgr else image))
            axes.set_title(_moved_title(found, row, place, node), fontsize=plots.SMALL, pad=3)
            boxed(axes, found.boxes[place])
    text = "node; similarity to the reference at the expected shift, and without a shift"
    title = plots.printable(f"{found.layer}: OIPs of several nodes")
    drawing.suptitle(f"{title}\n{text}", fontsize=plots.FONT)
    return drawing


def _moved_title(found: Translations, row: int, place: int, node: np.ndarray) -> str:
    first = f"{found.maps[row]} @ {','.join(map(str, node))}"
    if place == found.reference:
        return f"{first}, reference\nstarts {short_number(found.aligned[row, place])}"
    aligned, unmoved = found.aligned[row, place], found.unmoved[row, place]
    return f"{first}\n{short_number(aligned)} ({short_number(unmoved)})"
