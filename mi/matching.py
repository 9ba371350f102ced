"""The same feature in two networks: units matched by their responses, layers compared.

The units of two layers are matched one to one so that the sum of the correlations of their
responses to the same images is as large as possible [1]. One half of the images chooses the pairs,
the other half measures their correlations: a pair chosen as the best of many would else look better
than it is. The null are pairs whose measuring images are shuffled, the interval is over these
images.

A map's response is compared place by place on a coarse grid (`aligned`), about the mean that each
place has over the images, so that borders which all images share do not count; or as its mean over
all places (`pooled`).

Layers are compared by their linear centered kernel alignment, see `oip.mi.alignment`.

References:
    [1] Y. Li et al.: Convergent learning: do different neural networks learn the same
    representations? ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from oip.core import html, seeds
from oip.core.checks import check_choice, check_number, check_whole
from oip.core.errors import LOOK_FOR_NAN, DataError, SettingsError, notice
from oip.core.formats import LayerMatchRecord, UnitMatch
from oip.core.progress import Progress, automatic
from oip.core.units import finite_list, finite_or_none, three_best
from oip.mi.alignment import View, layer_alignment
from oip.mi.layer_sample import first_image_of_copies, unlabeled_subset
from oip.mi.permutation_test import adjusted, p_values

if TYPE_CHECKING:
    from pandas import DataFrame

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

By = Literal["aligned", "pooled"]
PARTNER = 0.05
"""Adjusted p-value up to which a unit may have a partner."""
THRESHOLD = 0.5
"""Correlation from which it has one: half of the deviation is shared."""
FEWEST = 24
"""Images: each half needs 12."""
_CELLS = 8
"""Cells of a grid along each axis, at most."""
_BYTE_BUDGET = 512 << 20
"""Of the responses of both networks that are in memory at a time."""
_DRAWS = 200
"""Resampled sets of images for intervals."""
_FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class LayerMatch:
    """The units of one layer and their partners in a layer of another network.

    Arrays are (m,), a row for each unit of the first layer; NaN where there is no number.
    """

    layer: str
    second_layer: str
    maps: np.ndarray
    """int: units of the first layer."""
    partners: np.ndarray
    """int: units of the other layer; -1 where none is left or the unit is constant."""
    correlation: np.ndarray
    """Of the two responses over the measuring images, -1 to 1."""
    low: np.ndarray
    """Lower end of its 95 % interval over these images."""
    high: np.ndarray
    """Upper end of its 95 % interval over these images."""
    p_value: np.ndarray
    """That shuffled images have as large a correlation."""
    p_adjusted: np.ndarray
    """The same, adjusted for the number of units."""
    null: float
    """Correlation that 95 % of the pairs with shuffled images stay under."""
    second_units: int
    """Units of the other layer."""
    by: str
    """`aligned` or `pooled`."""
    grid: tuple[int, ...]
    """Cells that were compared along each axis; `()` for the mean over all places."""
    samples: int
    """Images: one half chose the pairs, the other half measured them."""
    threshold: float = THRESHOLD
    """Correlation from which a unit has a partner."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def has_partner(self) -> np.ndarray:
        """(m,) bool: units whose correlation reaches the threshold, and is not by chance."""
        by_chance = self.p_adjusted > PARTNER  # NaN, without shuffles, is not
        return (self.correlation >= self.threshold) & ~by_chance

    @property
    def share(self) -> float:
        """Share of the units that have a partner; `ceiling` at most."""
        return float(np.mean(self.has_partner))

    @property
    def share_interval(self) -> tuple[float, float]:
        """The 95 % interval of the share, over units (Wilson)."""
        from scipy.stats import binomtest

        interval = binomtest(int(self.has_partner.sum()), len(self)).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def ceiling(self) -> float:
        """The largest share that can be: fewer than 1 if the other layer has fewer units."""
        return min(1.0, self.second_units / len(self))

    @property
    def median(self) -> float:
        """The median correlation of the pairs; NaN without any."""
        return float(np.nanmedian(self.correlation)) if self._measured.any() else np.nan

    @property
    def _measured(self) -> np.ndarray:
        return np.isfinite(self.correlation)

    @property
    def order(self) -> np.ndarray:
        """(m,) int: units, those with the largest correlation first."""
        return self.maps[self._rows]

    @property
    def _rows(self) -> np.ndarray:
        return np.argsort(-np.nan_to_num(self.correlation, nan=-np.inf), kind="stable")

    def to_record(self) -> LayerMatchRecord:
        """Return the content of `match.json` about this pair of layers."""
        names = ("correlation", "low", "high", "p_value", "p_adjusted")
        low, high = self.share_interval
        return LayerMatchRecord(
            layer=self.layer,
            second_layer=self.second_layer,
            by=self.by,
            grid=list(self.grid),
            samples=self.samples,
            second_units=self.second_units,
            share=self.share,
            share_low=low,
            share_high=high,
            ceiling=self.ceiling,
            threshold=self.threshold,
            median=finite_or_none(self.median),
            null=finite_or_none(self.null),
            maps=[
                UnitMatch(
                    map=int(unit),
                    partner=int(self.partners[row]) if self.partners[row] >= 0 else None,
                    has_partner=bool(self.has_partner[row]),
                    **{name: finite_or_none(getattr(self, name)[row]) for name in names},
                )
                for row, unit in enumerate(self.maps)
            ],
        )

    def to_pandas(self) -> DataFrame:
        """Return a row for each unit, those with the largest correlation first."""
        import pandas

        names = ("correlation", "low", "high", "p_value", "p_adjusted", "has_partner")
        columns = {name: getattr(self, name)[self._rows] for name in names}
        partners = self.partners[self._rows]
        head = {
            "layer": self.layer,
            "map": self.order,
            "second_layer": self.second_layer,
            "partner": partners,
        }
        return pandas.DataFrame({**head, **columns})

    def __repr__(self) -> str:
        best = three_best(self.order, self.correlation[self._rows])
        return (
            f"LayerMatch({self.layer} and {self.second_layer}: {int(self.has_partner.sum())} of "
            f"{len(self)} units have a partner, median correlation {self.median:z.2f}; "
            f"best: {best})"
        )

    def _repr_html_(self) -> str:
        headings = {"map": "unit", "partner": "partner", "correlation": "correlation"}
        headings |= {"low": "from", "high": "to, 95 %", "p_adjusted": "p, adjusted"}
        low, high = self.share_interval
        text = (
            f"{self.share:.0%} of the units have a partner (95 %: {low:.0%} to {high:.0%}), "
            f"correlated by {self.threshold:g} or more; with shuffled images one of twenty "
            f"reaches {self.null:z.2f}"
        )
        table = html.frame(self.to_pandas(), headings, 20)
        return html.block(f"{self.layer} and {self.second_layer}", html.paragraph(text), table)


@dataclass(frozen=True, eq=False)
class NetworkMatch:
    """Two networks: how alike their layers are, and the units of some of them matched."""

    names: tuple[str, str]
    layers: tuple[str, ...]
    """Layers of the first network, the rows of the arrays."""
    second_layers: tuple[str, ...]
    """Layers of the second network, the columns."""
    cka: np.ndarray
    """(layers, second_layers): linear centered kernel alignment, debiased, 1 at most."""
    cka_low: np.ndarray
    """Lower end of the 95 % interval over batches of images; NaN with fewer than two."""
    cka_high: np.ndarray
    """Upper end of the 95 % interval over batches of images; NaN with fewer than two."""
    cka_null: np.ndarray
    """What 95 % of the shuffles of the images within the batches stay under."""
    matches: tuple[LayerMatch, ...]
    paired_by: str
    """How layers were paired: `name`, `cka` or `given`."""

    def __getitem__(self, layer: str) -> LayerMatch:
        """Return the match of a layer of the first network."""
        for match in self.matches:
            if match.layer == layer:
                return match
        names = ", ".join(match.layer for match in self.matches)
        raise SettingsError("layer", f"one of {names}", repr(layer))

    def cka_tables(self) -> dict[str, list[list[float | None]]]:
        """Return `cka` and its interval and null, as `match.json` holds them."""
        names = ("cka", "cka_low", "cka_high", "cka_null")
        return {name: [finite_list(row) for row in getattr(self, name)] for name in names}

    def to_pandas(self) -> DataFrame:
        """Return the rows of all matches, one for each unit."""
        import pandas

        return pandas.concat([match.to_pandas() for match in self.matches], ignore_index=True)

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{match.layer} {int(match.has_partner.sum())} of {len(match)}"
            for match in self.matches
        )
        return f"<NetworkMatch of {' and '.join(self.names)}; units with a partner: {counts}>"

    def _repr_html_(self) -> str:
        rows = [(name, *row.round(3)) for name, row in zip(self.layers, self.cka, strict=True)]
        table = html.table(("linear CKA", *self.second_layers), rows)
        return html.block(" and ".join(self.names), table) + "".join(
            match._repr_html_() for match in self.matches
        )


def match(
    first: ModelLike,
    second: ModelLike,
    images: np.ndarray | tuple[np.ndarray, np.ndarray],
    layers: str | Sequence[str] | Mapping[str, str] | None = None,
    *,
    by: By = "aligned",
    threshold: float = THRESHOLD,
    samples: int = 1000,
    shuffles: int = 100,
    seed: int = 0,
    progress: Progress = automatic,
) -> NetworkMatch:
    """Match the units of two networks one to one, and compare their layers.

    Args:
        first, second: Keras models, their paths, or `oip.Network`.
        images: (n, h, w, bands) that both take; or two arrays of the same n images in the same
            order, as each of the networks takes them.
        layers: names of layers of the first network, or pairs `{"layer": "layer of the second"}`;
            every convolutional layer if None. Layers without a given partner are paired by name
            where the second network has a layer of each name, else with the layer of the largest
            CKA.
        by: `aligned`: place by place on a grid of at most 8 cells along each axis; `pooled`: by the
            mean over all places. Where the two layers have another number of axes, always pooled.
        threshold: correlation from which a unit has a partner, 0 to 1. A correlation of .1 is
            hardly ever by chance with hundreds of images, but means little.
        samples: images that are used; one half chooses pairs, the other measures them.
        shuffles: of the images for the nulls; 0 for none.
        seed: of the images drawn, their halves and their shuffles.
        progress: called with the progress of each step.

    Returns:
        CKA of every layer of the first with every layer of the second network, and the matched
        units of each layer.

    Raises:
        ModelError: models that cannot be opened, or a layer that is not there.
        DataError: fewer than 24 different images, images that do not fit, or two arrays of another
            number of images.
        SettingsError: other arguments out of range.

    References:
        See the module.

    >>> mi.match("a.keras", "b.keras", images)["Conv2D_3"].share  # doctest: +SKIP
    """
    from oip.network.inputs import check_images
    from oip.network.network import Network

    check_choice("by", by, ("aligned", "pooled"))
    samples = check_whole("samples", samples, FEWEST)
    shuffles = check_whole("shuffles", shuffles, 0)
    check_number("threshold", threshold, -1.0, 1.0)
    image_pair = images if isinstance(images, tuple) else (images, images)
    networks = [
        Network.of(model, images=pictures)
        for model, pictures in zip((first, second), image_pair, strict=True)
    ]
    pixels = [
        check_images(network.inputs, pictures)
        for network, pictures in zip(networks, image_pair, strict=True)
    ]
    image_indices = _used_images(pixels, samples, seed)
    rows, columns, pairs = _chosen_layers(networks[0], networks[1], layers)
    views = [
        View(network, pictures[image_indices], layer_list)
        for network, pictures, layer_list in zip(networks, pixels, (rows, columns), strict=True)
    ]
    alignment = layer_alignment(views[0], views[1], shuffles, seed, progress)
    paired_by = "given"
    if not pairs:
        paired_by, pairs = _paired_layers(rows, columns, alignment.value)
    halves = _Halves.of(len(image_indices), seed, shuffles)
    matches = tuple(
        _matched(pair, x, y, by, halves, threshold)
        for pair, x, y in _paired_responses(views, pairs, by, progress)
    )
    return NetworkMatch(
        names=(networks[0].name, networks[1].name),
        layers=tuple(layer.name for layer in rows),
        second_layers=tuple(layer.name for layer in columns),
        cka=alignment.value,
        cka_low=alignment.low,
        cka_high=alignment.high,
        cka_null=alignment.null,
        matches=matches,
        paired_by=paired_by,
    )


def _used_images(pixels: Sequence[np.ndarray], samples: int, seed: int) -> np.ndarray:
    """Return the rows of images to use, without copies and in a random order, for both networks."""
    first, second = pixels
    if len(first) != len(second):
        expected = f"as many as for the first network, {len(first)}"
        raise DataError("images of the second network", expected, len(second))
    indices = first_image_of_copies(first, unlabeled_subset(len(first), len(first), seed))
    indices = indices[unlabeled_subset(len(indices), samples, seed).indices]
    if len(indices) < FEWEST:
        raise DataError("images", f"{FEWEST} or more that differ", len(indices))
    return seeds.generator(seed, "order").permutation(indices)  # no batch of one class alone


def _paired_layers(
    rows: Sequence[LayerInfo], columns: Sequence[LayerInfo], alignment: np.ndarray
) -> tuple[str, list[tuple[LayerInfo, LayerInfo]]]:
    """Return how layers are paired, and the pairs, from the alignment (rows, columns)."""
    names = {layer.name: layer for layer in columns}
    if all(layer.name in names for layer in rows):
        return "name", [(layer, names[layer.name]) for layer in rows]
    best = np.argmax(np.nan_to_num(alignment, nan=-2.0), axis=1)
    return "cka", [(layer, columns[column]) for layer, column in zip(rows, best, strict=True)]


def _chosen_layers(
    first: Network, second: Network, layers: str | Sequence[str] | Mapping[str, str] | None
) -> tuple[list[LayerInfo], list[LayerInfo], list[tuple[LayerInfo, LayerInfo]]]:
    """Return the layers of both networks, and pairs of them where they are given."""
    if isinstance(layers, Mapping):
        pairs = [(first.find_output(a), second.find_output(b)) for a, b in layers.items()]
        if not pairs:
            raise SettingsError("layers", "one pair or more", "none")
        columns = {other.name: other for _, other in pairs}
        return [layer for layer, _ in pairs], list(columns.values()), pairs
    if layers is None:
        return first.reached(first.convolutional), second.reached(second.convolutional), []
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise SettingsError("layers", "one or more", "none")
    rows = [first.find_output(name) for name in names]
    second_names = {call.name for call in second.calls}
    if all(layer.name in second_names for layer in rows):
        return rows, [second.find_output(layer.name) for layer in rows], []
    return rows, second.reached(second.convolutional), []


# Units.


class _Halves(NamedTuple):
    """Images that choose pairs and images that measure them; how often these are drawn again."""

    choosing: np.ndarray
    measuring: np.ndarray
    weights: np.ndarray
    """(draws, measuring): how often each image is in each resampled set."""
    orders: np.ndarray
    """(shuffles, measuring): the measuring images in other orders."""

    @classmethod
    def of(cls, count: int, seed: int, shuffles: int) -> _Halves:
        order = seeds.generator(seed, "halves").permutation(count)
        choosing, measuring = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
        n = len(measuring)
        random = seeds.generator(seed, "shuffled images of units")
        weights = random.multinomial(n, np.full(n, 1 / n), _DRAWS).astype(np.float64)
        orders = [random.permutation(n) for _ in range(shuffles)]
        return cls(choosing, measuring, weights, np.array(orders, int).reshape(shuffles, n))


def _paired_responses(
    views: Sequence[View],
    pairs: list[tuple[LayerInfo, LayerInfo]],
    by: By,
    progress: Progress,
) -> Iterator[tuple[tuple[LayerInfo, LayerInfo], np.ndarray, np.ndarray]]:
    """Yield the responses (n, cells, units) of each pair of layers, on one grid.

    As many pairs as the budget allows are computed in one pass over the images.
    """
    from oip.network.forward import grid_responses

    count = len(views[0].images)
    open_pairs = list(pairs)
    while open_pairs:
        group, grids, room = [], [], _BYTE_BUDGET
        for layer, other in open_pairs:
            grid = _grid(layer, other, by, count)
            size = 4 * count * int(np.prod(grid)) * (layer.maps + other.maps)
            if group and size > room:
                break
            group.append((layer, other))
            grids.append(grid)
            room -= size
        label = "responses of " + ", ".join(layer.name for layer, _ in group[:2])
        label += f" and {len(group) - 2} more" if len(group) > 2 else ""
        values = []
        for side, view in enumerate(views):
            layers = [pair[side] for pair in group]
            arrays = [
                np.empty((count, int(np.prod(grid)), layer.maps), np.float32)
                for layer, grid in zip(layers, grids, strict=True)
            ]
            progress(label, side * count, 2 * count)
            for rows, batch in grid_responses(view.network, view.images, layers, grids):
                for array, responses in zip(arrays, batch, strict=True):
                    array[rows] = responses
                progress(label, side * count + rows.stop, 2 * count)
            values.append(arrays)
        yield from zip(group, *values, strict=True)
        open_pairs = open_pairs[len(group) :]


def _grid(layer: LayerInfo, other: LayerInfo, by: By, count: int) -> tuple[int, ...]:
    """Return the cells along each axis that the budget allows; () for the mean over all places."""
    if by == "pooled" or len(layer.size) != len(other.size):
        return ()
    grid = tuple(min(_CELLS, *sides) for sides in zip(layer.size, other.size, strict=True))
    cell = 4 * count * (layer.maps + other.maps)
    while int(np.prod(grid)) > 1 and int(np.prod(grid)) * cell > _BYTE_BUDGET:
        grid = tuple(max(1, side - 1) for side in grid)
    return grid


def _finite(layer: LayerInfo, values: np.ndarray) -> np.ndarray:
    """Return responses (n, cells, units) as float32, 0 for units with any NaN or infinity."""
    finite = np.isfinite(values).all(axis=(0, 1))
    if not finite.all():
        notice(
            f"'{layer.name}': {np.sum(~finite)} of {layer.maps} {layer.noun}s have responses that "
            f"are not finite, and no partner. {LOOK_FOR_NAN}"
        )
    return np.where(finite, values, 0.0).astype(np.float32)


def _matched(
    pair: tuple[LayerInfo, LayerInfo],
    x: np.ndarray,
    y: np.ndarray,
    by: By,
    halves: _Halves,
    threshold: float,
) -> LayerMatch:
    """Match the units of two layers by their responses (n, cells, units)."""
    from scipy.optimize import linear_sum_assignment

    layer, other = pair
    # NaN and infinity make a unit constant: it has no partner.
    x, y = (_finite(info, values) for info, values in zip(pair, (x, y), strict=True))
    a, b = (_standardized(values[halves.choosing]) for values in (x, y))
    table = a.reshape(-1, a.shape[2]).T @ b.reshape(-1, b.shape[2])
    rows, columns = linear_sum_assignment(table, maximize=True)
    moving = (np.abs(a).sum(axis=(0, 1)) > 0)[rows] & (np.abs(b).sum(axis=(0, 1)) > 0)[columns]
    rows, columns = rows[moving], columns[moving]
    left, right = (
        _standardized(values[halves.measuring][:, :, units])
        for values, units in ((x, rows), (y, columns))
    )
    partners = np.full(layer.maps, -1)
    partners[rows] = columns
    products, left_squares, right_squares = (
        np.einsum("ncm,ncm->nm", u, v, dtype=np.float64)
        for u, v in ((left, right), (left, left), (right, right))
    )
    alive = (left_squares.sum(0) > _FLAT) & (right_squares.sum(0) > _FLAT)
    results = {name: np.full(layer.maps, np.nan) for name in ("correlation", "low", "high", "p")}
    results["correlation"][rows] = np.where(alive, np.clip(products.sum(0), -1.0, 1.0), np.nan)
    sums = [halves.weights @ array for array in (products, left_squares, right_squares)]
    draws = sums[0] / np.maximum(np.sqrt(sums[1] * sums[2]), _FLAT)
    intervals = np.percentile(draws, (2.5, 97.5), axis=0)
    for name, end in zip(("low", "high"), intervals, strict=True):
        results[name][rows] = np.where(alive, np.clip(end, -1.0, 1.0), np.nan)
    null = np.nan
    if len(halves.orders) and len(rows):
        nulls = np.stack([np.einsum("ncm,ncm->m", left[order], right) for order in halves.orders])
        results["p"][rows] = p_values(np.where(alive, products.sum(0), np.nan), nulls)
        null = float(np.percentile(nulls[:, alive], 95)) if alive.any() else np.nan
    return LayerMatch(
        layer=layer.name,
        second_layer=other.name,
        maps=np.arange(layer.maps),
        partners=partners,
        correlation=results["correlation"],
        low=results["low"],
        high=results["high"],
        p_value=results["p"],
        p_adjusted=adjusted(results["p"]),
        null=null,
        second_units=other.maps,
        by=by,
        grid=_grid(layer, other, by, len(x)),
        samples=len(x),
        threshold=threshold,
    )


def _standardized(values: np.ndarray) -> np.ndarray:
    """Return (n, cells, m) about each cell's mean, with squares that sum to 1; 0 if constant."""
    centered = values - values.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ncm,ncm->m", centered, centered)
    level = np.square(values, dtype=np.float64).sum(axis=(0, 1))
    moving = squares > _FLAT * np.maximum(level, 1e-30)
    scale = np.where(moving, 1.0 / np.sqrt(np.where(moving, squares, 1.0)), 0.0)
    return (centered * scale).astype(np.float32)
