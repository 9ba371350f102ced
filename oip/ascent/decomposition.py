"""Decomposition: the OIP of a map as a sum of the OIPs of its nodes.

A map's score is the mean of its nodes' responses, so its OIP may be a superposition of what single
nodes react to. Ridge regression says how much of it is. Many smooth copies explain a part of any
image: so the share is of pixels that the weights were not fitted to, and stands beside that of as
many copies of nodes of other maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from oip.ascent.localization import captioned, node_oips, picture_grid, reduced
from oip.ascent.masks import central_node, check_receptive_field, field_boxes, spread_nodes
from oip.ascent.reconstruction import Ascent, grow_oips
from oip.ascent.results import ByMap, check_memory
from oip.ascent.settings import AUTO, of_input, requested_settings
from oip.ascent.targets import MapTargets
from oip.ascent.translation import NULL_MAPS, null_maps, visible_images
from oip.core import html, plots
from oip.core.checks import check_choice, check_whole
from oip.core.errors import SettingsError
from oip.core.formats import DecompositionFile
from oip.core.images import displayable, enhanced, is_line, plain
from oip.core.progress import Progress, automatic, piece_of
from oip.core.seeds import generator
from oip.core.units import finite_list, finite_median, finite_or_none
from oip.network.inputs import check_images
from oip.network.layer_spec import map_numbers
from oip.network.layers import LayerInfo
from oip.network.network import Network

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Copies = Literal["shifted", "grown"]
_NODES: dict[Copies, int] = {"shifted": 256, "grown": 16}
"""Nodes at most, where no number is given."""
_MOST_SIDE = 64
"""Pixels along a side; of larger images several are averaged to one."""
_FOLDS = 8
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of ridge regression, as shares of the mean square of a copy."""
_RESAMPLES = 1000
_MOST_ROWS = 16
_BYTES = 512 << 20
"""Of the copies of a map at a time."""


@dataclass(frozen=True, eq=False, repr=False)
class Decompositions(ByMap):
    """The OIPs of some maps as sums of copies of their nodes' OIPs.

    Shapes: m maps, k starts (best first), p nodes, t angles, a spatial axes, (h, w, b) the model's
    input. Shares are of the variance over the visible pixels, of pixels that the weights were not
    fitted to; they can fall below 0. NaN where nothing grew.
    """

    PER_MAP = (
        *("maps", "share", "low", "high", "fitted", "null", "p_value", "penalty", "weights"),
        *("images", "node_images", "sums"),
    )

    copies: Copies
    """`shifted`: of the OIP of the central node; `grown`: each node's own OIP."""
    nodes: np.ndarray
    """(p, a) int: the nodes that have a copy."""
    size: tuple[int, ...]
    """Nodes of the layer along each axis."""
    angles: tuple[float, ...]
    """Degrees by which copies are turned about the middle of their field."""
    share: np.ndarray
    """(m, k): share of each start's OIP that the copies explain."""
    low: np.ndarray
    """(m,): lower end of the 95 % interval of the best start's, over blocks of pixels."""
    high: np.ndarray
    """(m,): upper end of the 95 % interval."""
    fitted: np.ndarray
    """(m,): the same share of the pixels that the weights were fitted to, of the best start."""
    null: np.ndarray
    """(m, q): share of the best start's OIP that as many copies of other maps' nodes explain."""
    p_value: np.ndarray
    """(m,): probability of such a share among other maps' nodes."""
    penalty: np.ndarray
    """(m,): of ridge regression, the one of six that predicts best."""
    weights: np.ndarray
    """(m, p, t): of the copies in the sum, of the best start."""
    images: np.ndarray
    """(m, h, w, b) float16: the map's OIP, mean 0 over the visible pixels and 0 elsewhere."""
    node_images: np.ndarray
    """(m, h, w, b) float16: the OIP of the central node, or of the one that weighs most if each
    was grown."""
    sums: np.ndarray
    """(m, h, w, b) float16: the sum of the copies."""
    bgr: bool = False
    """The bands are blue, green and red."""

    @property
    def n_null(self) -> np.ndarray:
        """(m,) int: other maps in the null."""
        return np.isfinite(self.null).sum(1)

    def to_dict(self) -> dict[str, object]:
        """Return plain values as `oip locate --translation --json` prints them for a layer."""
        return {
            "layer": self.layer,
            "index": self.index,
            "copies": self.copies,
            "nodes": self.nodes.tolist(),
            "angles": list(self.angles),
            "maps": [
                {
                    **self._record(row),
                    "weights": [finite_list(weights) for weights in self.weights[row]],
                }
                for row in range(len(self))
            ],
        }

    def _record(self, row: int) -> dict[str, object]:
        return {
            "map": int(self.maps[row]),
            "share": finite_or_none(self.share[row, 0]),
            **{
                name: finite_or_none(getattr(self, name)[row]) for name in ("low", "high", "fitted")
            },
            "null": finite_median(self.null[row]),
            "p_value": finite_or_none(self.p_value[row]),
            "n_null": int(self.n_null[row]),
            "starts": finite_list(self.share[row]),
        }

    def to_file(self, key: str, existing: DecompositionFile | None = None) -> DecompositionFile:
        """Return what a run keeps.

        Args:
            key: of model and settings.
            existing: of other maps, which stay if it has the same key.
        """
        arrays = {
            "share": self.share[:, 0],
            **{name: getattr(self, name) for name in ("low", "high", "p_value")},
            "null": np.array([finite_median(values) for values in self.null], float),
        }
        arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
        arrays |= {name: getattr(self, name) for name in ("images", "node_images", "sums")}
        arrays |= {"maps": self.maps, "n_null": self.n_null}
        if existing is not None and existing.key == key:
            is_other = ~np.isin(existing.maps, self.maps)
            arrays = {
                name: np.concatenate([getattr(existing, name)[is_other], values])
                for name, values in arrays.items()
            }
        order = np.argsort(arrays["maps"])
        return DecompositionFile(
            key=key,
            layer=self.layer,
            index=self.index,
            copies=self.copies,
            nodes=len(self.nodes),
            **{name: values[order] for name, values in arrays.items()},
        )

    def to_pandas(self) -> DataFrame:
        """Return a table with a row for each map."""
        import pandas

        return pandas.DataFrame(self._record(row) for row in range(len(self)))

    def plot(self, most: int = 4) -> Figure:
        """Draw up to `most` maps: the OIP, a node's, the sum, the rest, and weights over nodes."""
        rows = max(1, min(most, len(self)))
        drawing, panels = picture_grid(rows, 5)
        for row in range(rows):
            image, total = (images[row].astype(np.float32) for images in (self.images, self.sums))
            titles = (
                f"{self.noun} {self.maps[row]}",
                "one node",
                f"sum: {_decimal_text(self.share[row, 0])}",
                "rest",
            )
            shown_images = (image, self.node_images[row].astype(np.float32), total, image - total)
            for axes, shown_image, title in zip(panels[row], shown_images, titles, strict=False):
                picture = plain(shown_image) if is_line(shown_image) else enhanced(shown_image)
                plots.image(axes, displayable(picture[..., ::-1] if self.bgr else picture))
                axes.set_title(title, fontsize=plots.SMALL, pad=3)
            self._draw_weights(panels[row, 4], row)
        text = f"share explained, of held-out pixels; {len(self.nodes)} nodes, {self.copies}"
        return captioned(drawing, f"{self.layer}: OIPs as sums of their nodes' OIPs", text)

    def _draw_weights(self, axes: Axes, row: int) -> None:
        """Draw the weights at their nodes, those of all angles together."""
        sides = self.size if len(self.size) == 2 else (1, math.prod(self.size))
        values = np.full(sides, np.nan)
        at = tuple(self.nodes.T) if len(self.size) == 2 else (0, self.nodes[:, 0])
        values[at] = self.weights[row].sum(1)
        largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
        largest = largest or 1.0
        plots.image(axes, values, cmap=plots.DIVERGING, vmin=-largest, vmax=largest)
        axes.set_title(
            f"weights: violet +, orange −, to {largest:.2g}", fontsize=plots.SMALL, pad=3
        )

    def __repr__(self) -> str:
        sizes = f"{self._counted}, {len(self.nodes)} nodes"
        if len(self.angles) > 1:
            sizes += f", {len(self.angles)} angles"
        return self.described(f"{sizes}, {self.copies}", self.share[:, 0])

    def _repr_html_(self) -> str:
        title = f"{self.layer}: OIPs of {self._counted} as sums of their nodes' OIPs"
        records = [self._record(row) for row in range(min(len(self), _MOST_ROWS))]
        headings = {
            "map": self.noun,
            "share": "share explained",
            "low": "from",
            "high": "to, 95 %",
            "null": f"nodes of other {self.noun}s (median)",
            "n_null": f"other {self.noun}s",
            "p_value": "p",
        }
        rows = [[record[name] for name in headings] for record in records]
        table = html.table(list(headings.values()), rows, len(self) - len(rows))
        return html.block(title, table, html.embedded_figure(self.plot(2), title))


def decompose(
    model: keras.Model | str | Path | Network,
    layer: str,
    maps: Iterable[int] | str | int | None = None,
    *,
    copies: Copies = "shifted",
    most: int | None = None,
    angles: Sequence[float] | None = None,
    starts: int = 4,
    seed: int = 0,
    data: np.ndarray | None = None,
    preset: str = AUTO,
    progress: Progress = automatic,
    **settings: Any,
) -> Decompositions:
    """Measure how much of each map's OIP is a sum of its nodes' OIPs.

    The map's OIP and the nodes' are grown by the same ascent. A convolution does the same
    everywhere, so that by default one node's OIP, shifted to every node, stands for all of them:
    it is grown once, and no copy can adapt to the map. `copies="grown"` takes each node's own OIP,
    which is right at edges and padding, at the price of an ascent for each node and map.

    The weights are those of ridge regression, its penalty the one of six that predicts best; the
    pixels are left out in eight parts, made of blocks half as wide as the receptive field. The null
    are the same copies of at least 16 other maps (8 if grown), fitted alike.

    Args:
        model: a Keras model, the path of one, or a `Network`. It is not changed.
        layer: name of a convolutional layer, or `@index`.
        maps: numbers of maps, `"0-15"`, or None for all.
        copies: `shifted` or `grown`.
        most: nodes with a copy, evenly over the layer if it has more; 256 by default, 16 if grown.
        angles: degrees that copies are turned by; by default none, and the largest rotation of the
            ascent to both sides where it has one.
        starts, seed, data, preset, settings: of the ascent, see `oip.reconstruct`.
        progress: receives reports of the work.

    Raises:
        ModelError: an unknown layer, or one of unknown geometry.
        SettingsError: maps or settings that do not fit, or more than 1 GiB of images.

    References:
        A. E. Hoerl, R. W. Kennard: Ridge regression. Technometrics 12 (1970) 55.

    Example:
        >>> result = oip.decompose("model.keras", "Conv2D_3", maps=[17])  # doctest: +SKIP
        >>> result.share[0, 0], result.null[0].mean()  # doctest: +SKIP
    """
    check_choice("copies", copies, tuple(_NODES))
    network = Network.of(model, images=data)
    info = network.find(layer)
    check_receptive_field(info)
    numbers, shape = map_numbers(info, maps), network.inputs.shape
    most = _NODES[copies] if most is None else check_whole("most", most)
    settings |= {"starts": check_whole("starts", starts), "seed": seed}
    ascent_settings = of_input(requested_settings(preset, **settings), shape)
    turns = turn_angles(angles, ascent_settings.rotation, len(shape) - 1)
    nodes = spread_nodes(info, most)
    other_maps = null_maps(
        info, numbers, seed, NULL_MAPS if copies == "shifted" else NULL_MAPS // 2
    )
    sources = np.concatenate([numbers, other_maps])
    grown_nodes = np.array([central_node(info)]) if copies == "shifted" else nodes
    check_memory("decompositions", (len(sources), starts * len(grown_nodes)), shape, 2)
    if data is not None:
        data = check_images(network.inputs, data, "data")
    steps = len(grown_nodes) + 1
    ascent = Ascent(network, MapTargets(network, info), ascent_settings, data)
    label = f"{info.name}: OIPs of maps and nodes"
    oips = grow_oips(ascent, numbers, piece_of(progress, label, 0, steps))
    grown = []
    for number, node in enumerate(grown_nodes, 1):
        node_progress = piece_of(progress, label, number, steps)
        node_result = node_oips(
            network, info, sources, node, node_progress, data=data, preset=preset, **settings
        )
        grown.append(visible_images(node_result)[:, 0])
    node_images = np.stack(grown, 1)
    pixels = _Pixels(info, oips.visible, shape, seed)
    images = visible_images(oips)
    sums = _sums_of_copies(info, pixels, images, node_images, nodes, turns, progress)
    return _decompositions(
        info,
        numbers,
        nodes,
        sums,
        seed,
        copies=copies,
        angles=turns,
        images=images[:, 0],
        bgr=network.inputs.bgr,
    )


class _CopySums(NamedTuple):
    """OIPs of m maps fitted by copies of nodes' OIPs of several sources, the maps first."""

    shares: np.ndarray
    """(sources, m, k): share of each start's OIP that the copies of a source explain."""
    fits: list[_Fit]
    """(m,): of the best start by the map's own copies."""
    weights: np.ndarray
    """(m, p, t)"""
    sums: np.ndarray
    """(m, h, w, b) float16"""
    node_images: np.ndarray
    """(m, h, w, b) float16: of the node that weighs most."""


def _sums_of_copies(
    layer: LayerInfo,
    pixels: _Pixels,
    images: np.ndarray,
    node_images: np.ndarray,
    nodes: np.ndarray,
    angles: Sequence[float],
    progress: Progress,
) -> _CopySums:
    """Fit OIPs (m, k, h, w, b) by copies of node_images (sources, 1 or p, h, w, b)."""
    (maps, starts, *shape), count = images.shape, len(node_images)
    targets = pixels.columns(images.reshape(-1, *shape))
    limit = _BYTES // (8 * len(targets))
    if len(nodes) * len(angles) > limit:
        form = f"at most {limit // len(angles)} for images of this size"
        raise SettingsError("nodes", form, len(nodes), "Choose fewer nodes (most).")
    shares = np.full((count, maps, starts), np.nan)
    fits: list[_Fit] = []
    weights = np.zeros((maps, len(nodes), len(angles)))
    sums, shown_nodes = np.zeros((2, maps, *shape), np.float16)
    for row, own_images in enumerate(node_images):
        copies = node_copies(layer, own_images, nodes, angles)
        design = np.concatenate([pixels.columns(copy[None]) for copy in copies], axis=1)
        fit = pixels.fit(design, targets)
        shares[row] = fit.share.reshape(maps, starts)
        progress(f"{layer.name}: sums", row + 1, count)
        if row < maps:
            fits.append(fit.of(row * starts))
            weights[row] = fits[-1].weights.reshape(weights.shape[1:])
            copies = node_copies(layer, own_images, nodes, angles)
            sums[row] = pixels.centered(_weighted_sum(copies, weights[row]))
            heaviest = int(np.abs(np.nan_to_num(weights[row])).sum(1).argmax())
            shown_nodes[row] = own_images[heaviest if len(own_images) > 1 else 0]
    return _CopySums(shares, fits, weights, sums, shown_nodes)


def turn_angles(angles: Sequence[float] | None, rotation: float, axes: int) -> tuple[float, ...]:
    """Return the angles of copies in degrees, 0 first.

    Raises:
        SettingsError: they are no numbers, or the images have one spatial axis.
    """
    if angles is None:
        angles = (rotation, -rotation) if rotation > 0 else ()
    try:
        values = [float(angle) for angle in angles]
    except (TypeError, ValueError):
        raise SettingsError("angles", "numbers of degrees", angles) from None
    if not np.isfinite(values).all():
        raise SettingsError("angles", "finite numbers of degrees", angles)
    if any(values) and axes < 2:
        raise SettingsError("angles", "none for images with one spatial axis", angles)
    return tuple(dict.fromkeys((0.0, *values)))


def node_copies(
    layer: LayerInfo, images: np.ndarray, nodes: np.ndarray, angles: Sequence[float]
) -> Iterator[np.ndarray]:
    """Yield (h, w, b) float32 copies, those of one node after another.

    Args:
        images: (1, h, w, b) of the central node, which is shifted to each node; or (p, h, w, b).
    """
    sides = images.shape[1:-1]
    center = np.array(central_node(layer))
    for row, node in enumerate(nodes):
        image = images[row if len(images) > 1 else 0].astype(np.float32)
        source_node = node if len(images) > 1 else center
        middle = field_boxes(layer, source_node, sides).mean(-1) - 0.5
        shift = np.round((node - source_node) * np.array(layer.jump)).astype(int)
        for angle in angles:
            yield shifted(turned(image, angle, middle) if angle else image, shift)


def shifted(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return an image (*sides, b) moved by whole pixels, 0 where nothing was."""
    moved = np.zeros_like(image)
    target, source = [], []
    for step, side in zip(shift.tolist(), image.shape[:-1], strict=True):
        step = max(-side, min(side, step))
        target.append(slice(max(0, step), side + min(0, step)))
        source.append(slice(max(0, -step), side + min(0, -step)))
    moved[tuple(target)] = image[tuple(source)]
    return moved


def turned(image: np.ndarray, angle: float, middle: np.ndarray) -> np.ndarray:
    """Return an image (h, w, b) turned about a pixel by degrees."""
    from scipy.ndimage import affine_transform

    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    offset: Any = middle - matrix @ middle
    bands = [affine_transform(band, matrix, offset, order=1) for band in np.moveaxis(image, -1, 0)]
    return np.stack(bands, -1)


def _weighted_sum(copies: Iterator[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return (h, w, b) float32: the sum of copies with weights (p, t)."""
    flat = np.nan_to_num(weights.ravel()).astype(np.float32)
    return np.sum([weight * copy for weight, copy in zip(flat, copies, strict=True)], axis=0)


class _Fit(NamedTuple):
    """Ridge regression of c images on P copies."""

    share: np.ndarray
    """(c,)"""
    fitted: np.ndarray
    """(c,)"""
    penalty: np.ndarray
    """(c,)"""
    weights: np.ndarray
    """(P, c)"""
    errors: np.ndarray
    """(blocks, c): squared errors of pixels that were left out, summed over each block."""
    squares: np.ndarray
    """(blocks, c): squares of the images themselves."""

    def of(self, column: int) -> _Fit:
        """Return the fit of one image."""
        return _Fit(*(values[..., column] for values in self))


class _Pixels:
    """The visible pixels of images, in blocks that are left out by turns.

    Args:
        layer: its receptive field gives the size of the blocks.
        visible: (h, w) bool.
        shape: of an image.
        seed: of the draw of the blocks that are left out together.
    """

    def __init__(self, layer: LayerInfo, visible: np.ndarray, shape: Sequence[int], seed: int):
        self._visible = np.broadcast_to(visible[..., None], tuple(shape))
        self._factor = max(1, -(-max(shape[:-1]) // _MOST_SIDE))
        small = self._reduced(self._visible[None].astype(np.float32))[0]
        self._is_visible = small >= 0.5
        field = layer.receptive_field or (1,) * (len(shape) - 1)
        blocks = np.zeros(small.shape[:-1], int)
        for axis, (side, extent) in enumerate(zip(small.shape[:-1], field, strict=True)):
            width = min(max(2, math.ceil(extent / self._factor / 2)), max(1, side // 3))
            block_index = np.arange(side) // width
            along = block_index.reshape(
                [-1 if dimension == axis else 1 for dimension in range(blocks.ndim)]
            )
            blocks = blocks * (block_index[-1] + 1) + along
        block_of_value = np.broadcast_to(blocks[..., None], small.shape)[self._is_visible]
        _, self.blocks = np.unique(block_of_value, return_inverse=True)
        count = int(self.blocks.max()) + 1
        order = generator(seed, "blocks", layer.index).permutation(count)
        self._fold = (order % min(_FOLDS, count))[self.blocks]

    def _reduced(self, images: np.ndarray) -> np.ndarray:
        return reduced(np.asarray(images, np.float32), self._factor)

    def centered(self, image: np.ndarray) -> np.ndarray:
        """Return an image (h, w, b) with mean 0 over the visible pixels, 0 elsewhere."""
        mean = image[self._visible].mean(dtype=np.float64)
        return np.where(self._visible, image - mean, 0.0)

    def columns(self, images: np.ndarray) -> np.ndarray:
        """Return (pixels, n) float64 of images (n, h, w, b), each with mean 0."""
        values = self._reduced(images)[:, self._is_visible].T.astype(np.float64)
        return values - values.mean(0)

    def fit(self, design: np.ndarray, targets: np.ndarray) -> _Fit:
        """Fit images (pixels, c) by copies (pixels, P); NaN where one side is empty."""
        squares = self._block_sums(targets**2)
        scale = float(np.square(design).sum()) / design.shape[1]
        gram, cross = design.T @ design, design.T @ targets
        penalties = scale * np.array(_PENALTIES)
        errors = np.zeros((len(penalties), *squares.shape))
        for fold in np.unique(self._fold) if scale > 0 else ():
            rows = np.flatnonzero(self._fold == fold)
            inputs, left_out = design[rows], targets[rows]
            solved = _ridge(gram - inputs.T @ inputs, cross - inputs.T @ left_out, penalties)
            for penalty_index, weights in enumerate(solved):
                errors[penalty_index] += self._block_sums((left_out - inputs @ weights) ** 2, rows)
        best = errors.sum(1).argmin(0)
        columns = np.arange(targets.shape[1])
        weights = np.full((design.shape[1], targets.shape[1]), np.nan)
        if scale > 0:
            for penalty_index in np.unique(best):
                is_best = best == penalty_index
                weights[:, is_best] = _ridge(gram, cross[:, is_best], penalties[[penalty_index]])[0]
        residuals = errors[best, :, columns].T
        total = squares.sum(0)
        total = np.where(total > 0, total, np.nan) if scale > 0 else np.full(len(total), np.nan)
        return _Fit(
            share=1.0 - residuals.sum(0) / total,
            fitted=1.0 - np.square(targets - design @ weights).sum(0) / total,
            penalty=np.where(np.isfinite(total), np.array(_PENALTIES)[best], np.nan),
            weights=np.where(np.isfinite(total), weights, np.nan),
            errors=residuals,
            squares=squares,
        )

    def _block_sums(self, values: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return sums (blocks, c) of values (pixels, c) of some pixels, or of all."""
        sums = np.zeros((int(self.blocks.max()) + 1, values.shape[1]))
        np.add.at(sums, self.blocks[rows], values)
        return sums


def _ridge(gram: np.ndarray, cross: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Return weights (penalties, P, c) from (P, P) and (P, c)."""
    values, vectors = np.linalg.eigh(gram)
    in_axes = vectors.T @ cross
    damped = np.maximum(values, 0.0)[None] + penalties[:, None]
    return vectors @ (in_axes[None] / damped[..., None])


def _decompositions(
    layer: LayerInfo,
    maps: np.ndarray,
    nodes: np.ndarray,
    copy_sums: _CopySums,
    seed: int,
    **arrays: Any,
) -> Decompositions:
    """Return the result, with intervals and the comparison with other maps' copies."""
    shares, fits = copy_sums.shares, copy_sums.fits
    count, map_indices = len(maps), np.arange(len(maps))
    is_other = np.ones((count, len(shares)), bool)
    is_other[map_indices, map_indices] = False
    null = np.stack([shares[is_other[row], row, 0] for row in map_indices])
    share = shares[map_indices, map_indices]
    count_above = (null >= share[:, :1]).sum(1)
    p_value = (1 + count_above) / (1 + np.isfinite(null).sum(1))
    usable = np.isfinite(share[:, 0]) & np.isfinite(null).any(1)
    low, high = np.array([explained_interval(fit, seed, layer.index) for fit in fits]).T
    return Decompositions(
        layer=layer.name,
        index=layer.index,
        noun=layer.noun,
        maps=maps,
        nodes=nodes,
        size=tuple(layer.size),
        share=share,
        low=low,
        high=high,
        fitted=np.array([fit.fitted for fit in fits]),
        penalty=np.array([fit.penalty for fit in fits]),
        null=null,
        p_value=np.where(usable, p_value, np.nan),
        weights=copy_sums.weights,
        node_images=copy_sums.node_images,
        sums=copy_sums.sums,
        **arrays,
    )


def explained_interval(fit: _Fit, seed: int, layer: int) -> np.ndarray:
    """Return the ends (2,) of a 95 % interval of the share of one image, over blocks of pixels."""
    if not np.isfinite(fit.share):
        return np.full(2, np.nan)
    count = len(fit.errors)
    draws = generator(seed, "resampled blocks", layer).multinomial(
        count, np.full(count, 1.0 / count), _RESAMPLES
    )
    squares = draws @ fit.squares
    varies = squares > 0
    return np.percentile(1.0 - (draws @ fit.errors)[varies] / squares[varies], (2.5, 97.5))


def _decimal_text(value: float) -> str:
    return f"{value:z.2f}" if np.isfinite(value) else "-"
