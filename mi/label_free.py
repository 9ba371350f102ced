"""Rankings without labels: targets made of the images or of numbers, and orders by the response.

About the input: the images are reduced to principal components, and each component becomes a tag,
above its median or not. A map's bits about the tags are added up. The whole input has no such
number: a response without noise knows infinitely much about it. Principal components are the
directions along which images differ most, they are uncorrelated, and a split at the median has one
bit, so that all components count alike.

About a direction: a number for each image becomes one of several ranges that are equally frequent.
The bits about the range are a lower bound of those about the number.

About nothing: the entropy of a map's mean response, cut into steps of one width for the whole
layer; and its excess kurtosis, which is large for a map that responds strongly to few images. Both
say how a response is distributed, not what it knows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from oip.core import seeds
from oip.core.checks import check_choice
from oip.core.errors import DataError, SettingsError
from oip.core.progress import Progress, automatic, silent
from oip.mi.layer_sample import (
    BYTE_BUDGET,
    At,
    LayerSample,
    ResponseSummaries,
)
from oip.mi.ranking import EstimatorRanking, Ranking, rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

About = Literal["input", "direction", "none"]
ABOUT: tuple[About, ...] = ("input", "direction", "none")
COMPONENTS, RANGES = 8, 8
"""Principal components of the input; ranges of a number."""
STEPS = 4
"""Steps of the response in one standard deviation, that of the layer's median map."""
_SIDE = 32
"""Pixels along a side of the images whose components are computed."""
_FITTED = 2000
"""Images that the components are computed from."""
_FEWEST_IMAGES = 10
"""A tag needs five images on each side of its median."""
_DRAWS = 200
_LEVEL = 0.95


class RankingTarget(NamedTuple):
    """A target that a ranking is about, in place of labels."""

    values: np.ndarray
    """(n,) int: the range of each image; or (n, k) zeros and ones: a tag for each component."""
    names: tuple[str, ...]
    """Of the ranges or the tags."""
    notice: str
    """What the bits are about."""


def check_about(about: str, has_target: bool) -> About:
    """Return what a ranking is about, checked.

    Raises:
        SettingsError: another word, a direction without numbers, or numbers without it.
    """
    check_choice("about", about, ABOUT)
    choice = cast(About, about)
    if choice == "direction" and not has_target:
        numbers = "a target: one number per image, or an array of an image's shape"
        raise SettingsError("about direction", numbers, "none", "Give it as target (--target).")
    if choice != "direction" and has_target:
        raise SettingsError("about", "'direction', beside a target", f"'{about}'")
    return choice


def rank_without_labels(
    model_or_path: ModelLike,
    images: np.ndarray,
    layer: str | LayerInfo,
    about: About = "input",
    *,
    target: np.ndarray | None = None,
    maps: str | Iterable[int] | int | None = None,
    samples: int = 2000,
    at: At = "response",
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = BYTE_BUDGET,
    legibility: Mapping[int, tuple[float, float, float]] | None = None,
    **options: Any,
) -> Ranking:
    """Order the maps of a layer by something else than their information about a label.

    Args:
        model_or_path, images, layer, maps, samples, at, seed, split, progress, byte_budget: as for
            `mi.rank`.
        about: `input`, up to 8 principal components of the images, each a tag: above its median or
            not; bits are added up over them. `direction`, the range of a number that each image
            has, of up to 8. `none`: entropy and excess kurtosis of the mean response.
        target: of `direction`: (n,) numbers, or a direction in input space, of the shape of an
            image, whose inner product with each image is the number.
        legibility: of `none`, an order more: by map, the share of right choices of a judge and the
            ends of its interval.
        options: further ones of `mi.rank`, such as `estimators`; `none` takes none.

    Returns:
        The ranking. About a direction its classes are ranges, about the input its tags are
        components. Orders about nothing are in the unit that each names.

    Raises:
        ModelError, SettingsError, DataError, NoFiniteResponses: as for `mi.rank`; a target that
            does not fit.

    Example:
        >>> ranking = mi.rank_without_labels("model.keras", images, "Dense_1")  # doctest: +SKIP
        >>> ranking.order[:5]  # doctest: +SKIP
    """
    from oip.network.inputs import check_images
    from oip.network.network import Network

    choice = check_about(about, target is not None)
    settings: dict[str, Any] = {"maps": maps, "at": at, "seed": seed}
    reading: dict[str, Any] = {"split": split, "progress": progress, "byte_budget": byte_budget}
    if choice == "none":
        if options:
            expected = "no estimators and the like: orders by the response alone"
            raise SettingsError("about none", expected, ", ".join(options))
        sample = LayerSample.of(model_or_path, images, layer, **settings)
        sample = sample.draw(None, samples, label_free=True)
        return rank_by_response(sample, legibility=legibility, **reading)
    network = Network.of(model_or_path, images=images)
    pixels = check_images(network.inputs, images)
    goal = input_target(pixels, seed) if target is None else direction_target(pixels, target)
    ranking = rank(
        network,
        pixels,
        goal.values,
        layer,
        samples=samples,
        classes=goal.names,
        **settings,
        **reading,
        **options,
    )
    no_classes = ranking.responses["histogram"][:, :0]  # histograms are by class of the data
    return replace(
        ranking,
        about=choice,
        notices=(goal.notice, *ranking.notices),
        responses={**ranking.responses, "histogram": no_classes},
    )


def input_target(images: np.ndarray, seed: int = 0) -> RankingTarget:
    """Return a tag for each of the first principal components of images: above its median or not.

    Args:
        images: (n, h, w, b); pixels are averaged to at most 32 along a side.
        seed: of the images, at most 2,000, that the components are computed from.

    Raises:
        DataError: fewer than 10 images, or images that are all alike.
    """
    from sklearn.decomposition import PCA

    reduced = _reduced(np.asarray(images))
    if len(reduced) < _FEWEST_IMAGES:
        raise DataError("images", f"{_FEWEST_IMAGES} or more", len(reduced))
    if not np.ptp(reduced, axis=0).any():
        raise DataError("images", "images that differ", "copies of one")
    order = seeds.generator(seed, "components").permutation(len(reduced))[:_FITTED]
    count = min(COMPONENTS, reduced.shape[1], len(order))
    components = PCA(count, svd_solver="full" if reduced.shape[1] < 512 else "randomized")
    components = components.set_params(random_state=seed).fit(reduced[np.sort(order)])
    scores = components.transform(reduced)
    tags = (scores > np.median(scores, axis=0)).astype(np.uint8)
    shares = components.explained_variance_ratio_
    rows = [
        row for row in range(count) if 0 < tags[:, row].sum() < len(tags) and shares[row] > 1e-9
    ]
    if not rows:
        text = "images of which at least five are on each side of a component's median"
        raise DataError("images", text, "copies of one, and too few others")
    names = tuple(f"component {row + 1} ({shares[row]:.0%} of variance)" for row in rows)
    if len(rows) == 1:  # one tag is a label of two classes
        (name,), codes = names, tags[:, rows[0]].astype(np.int64)
        notice = f"About the input: bits are about {name} of the images, above its median or not."
        return RankingTarget(codes, (f"{name}, to its median", f"{name}, above"), notice)
    notice = (
        f"About the input: bits about {len(rows)} principal components of the images, each above "
        f"its median or not, are added up ({shares[rows].sum():.0%} of the variance)."
    )
    return RankingTarget(tags[:, rows], names, notice)


def _reduced(images: np.ndarray) -> np.ndarray:
    """Return images as (n, d) float32, with neighboring pixels averaged to at most 32 a side."""
    for axis in range(1, images.ndim - 1):
        step = -(-images.shape[axis] // _SIDE)
        if step > 1:
            starts = np.arange(0, images.shape[axis], step)
            sums = np.add.reduceat(images, starts, axis=axis, dtype=np.float32)
            counts = np.diff(np.append(starts, images.shape[axis])).astype(np.float32)
            sides = [-1 if axis_index == axis else 1 for axis_index in range(images.ndim)]
            images = sums / counts.reshape(sides)
    return images.reshape(len(images), -1).astype(np.float32)


def direction_target(images: np.ndarray, target: np.ndarray) -> RankingTarget:
    """Return the range in which a number of each image is, of up to 8 equally frequent ones.

    Args:
        images: (n, h, w, b).
        target: (n,) numbers; or a direction in input space, an array of the shape of an image: the
            number is its inner product with each image.

    Raises:
        DataError: numbers that do not fit the images, are not finite, or are all the same.
    """
    values = np.asarray(target)
    shapes = f"({len(images)},), one number per image, or {images.shape[1:]}, a direction"
    if values.dtype.kind not in "buif":
        raise DataError("target", f"numbers of shape {shapes}", f"dtype {values.dtype}")
    values = values.astype(np.float64)
    if values.ndim == 2 and values.shape == (len(images), 1):
        values = values[:, 0]
    is_direction = values.ndim > 1 and values.size == images[0].size
    if is_direction and values.squeeze().shape == images[0].squeeze().shape:
        flat = images.reshape(len(images), -1)
        values = flat.astype(np.float32) @ values.ravel().astype(np.float32)
    if values.shape != (len(images),):
        raise DataError("target", f"shape {shapes}", f"shape {np.shape(target)}")
    if not np.isfinite(values).all():
        raise DataError("target", "finite numbers", "NaN or infinity")
    edges = np.unique(np.quantile(values, np.linspace(0, 1, RANGES + 1)[1:-1]))
    codes = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
    count = int(codes.max()) + 1
    if count < 2:
        raise DataError("target", "numbers that differ", f"{values[0]:z.4g} for every image")
    ranges = [(values[codes == code].min(), values[codes == code].max()) for code in range(count)]
    names = _range_names(ranges)
    kind = "inner product with a direction" if is_direction else "number"
    notice = (
        f"About the {kind}: bits are about which of {count} ranges it is in, which are equally "
        "frequent unless values are equal; a lower bound of the bits about the number itself."
    )
    return RankingTarget(codes, names, notice)


def _range_names(ranges: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """Return ranges as text, with 4 digits or as many more as tell their ends apart."""
    values = np.unique(ranges)
    digits = 4
    while digits < 17 and len({f"{value:z.{digits}g}" for value in values}) < len(values):
        digits += 1
    texts = [(f"{low:z.{digits}g}", f"{high:z.{digits}g}") for low, high in ranges]
    return tuple(low if low == high else f"{low} to {high}" for low, high in texts)


def read_target(path: str | Path) -> np.ndarray:
    """Return the numbers of a file: an `.npy`, an `.npz` with one array, or a column of a CSV.

    Args:
        path: of the file; `FILE:NAME` names an array of an `.npz` or a column of a CSV.

    Raises:
        DataError: no such file, or no numbers in it.
    """
    import csv
    import zipfile

    from oip.core.files import check_regular

    file, name = Path(path), ""
    if not file.is_file() and ":" in str(path):
        head, _, name = str(path).rpartition(":")
        file = Path(head)
    forms = "an .npy, an .npz or a .csv of numbers"
    try:
        check_regular(file)
        if file.suffix == ".csv":
            return _csv_column(file, name)
        arrays = np.load(file, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            return arrays
        with arrays:
            names = [name] if name else list(arrays)
            if len(names) != 1 or names[0] not in arrays:
                listed = ", ".join(arrays)
                form = f"one array, FILE:NAME of {listed}"
                raise DataError(f"target '{file.name}'", form, name or "no name")
            return arrays[names[0]]
    except (OSError, ValueError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        raise DataError(f"target '{path}'", forms, reason) from error


def _csv_column(file: Path, name: str) -> np.ndarray:
    """Return a column of numbers: the one of a name, or the only one; a first row may be names."""
    import csv

    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if not rows:
        raise DataError(f"target '{file.name}'", "a column of numbers", "an empty file")
    names = rows[0]
    column = names.index(name) if name in names else 0
    if (name and name not in names) or (not name and len(names) > 1):
        listed = ", ".join(names[:8])
        raise DataError(f"target '{file.name}'", f"a column, FILE:NAME of {listed}", name or "none")
    try:
        float(names[column])
    except ValueError:
        rows = rows[1:]
    short = next((number for number, row in enumerate(rows, 1) if len(row) <= column), None)
    if short is not None:
        row_name = f"target '{file.name}': row {short} of the data"
        raise DataError(row_name, f"{column + 1} columns and more", len(rows[short - 1]))
    return np.array([float(row[column]) for row in rows])


def rank_by_response(
    sample: LayerSample,
    split: str = "",
    progress: Progress = silent,
    byte_budget: int = BYTE_BUDGET,
    legibility: Mapping[int, tuple[float, float, float]] | None = None,
) -> Ranking:
    """Order the maps of a sample by their responses alone.

    Args:
        sample: drawn images, without classes.
        split, progress, byte_budget: as for `mi.rank`.
        legibility: by map, the share of right choices of a judge and the ends of its interval.

    Raises:
        NoFiniteResponses: no map has finite responses.
    """
    summaries = ResponseSummaries(sample, len(sample))
    for _ in summaries.blocks(byte_budget, progress, "ranking"):
        pass
    judged = None
    if legibility is not None:
        unknown = (np.nan, np.nan, np.nan)
        judged = np.array([legibility.get(int(map_index), unknown) for map_index in sample.maps]).T
    orders = response_orders(summaries.means, sample.seed, judged)
    text = "Orders by the response alone: by its distribution, not by information about anything."
    return Ranking(
        layer=sample.layer.name,
        index=sample.layer.index,
        noun=sample.layer.noun,
        maps=sample.maps,
        classes=(),
        estimators=tuple(orders),
        samples=len(sample),
        split=split,
        at=sample.at,
        seed=sample.seed,
        responses=summaries.arrays(),
        notices=(text, *_constant(orders), *summaries.unusable_notices),
        about="none",
    )


def response_orders(
    means: np.ndarray, seed: int = 0, legibility: np.ndarray | None = None
) -> list[EstimatorRanking]:
    """Return the orders of maps by the distribution of their responses alone.

    Args:
        means: (n, m): the mean response of each map to each image; NaN for maps without numbers.
        seed: of the random halves that intervals come from.
        legibility: (3, m): share of right choices of a judge, and the ends of its interval; NaN for
            maps that it did not judge.

    Returns:
        By entropy in bits, by excess kurtosis, and by legibility where it is given.
    """
    values = np.asarray(means, np.float64)
    finite = np.isfinite(values).all(axis=0)
    safe = np.where(finite, values, 0.0)
    spread = safe.std(axis=0)
    varying = spread[finite & (spread > 0)]
    width = float(np.median(varying)) / STEPS if varying.size else 1.0
    draw = seeds.generator(seed, "halves")
    halves = [np.sort(draw.permutation(len(safe))[: len(safe) // 2]) for _ in range(_DRAWS)]
    text = f"width {width:.3g}"
    entropy = np.where(finite, _entropies(safe, width), np.nan)
    draws = np.stack([_entropies(safe[rows], width) for rows in halves])
    name = f"entropy of the mean response, {text}"
    orders = [_order("entropy", name, {"width": width}, "bits", entropy, draws)]
    kurtosis = np.where(finite, _kurtoses(safe), np.nan)
    draws = np.stack([_kurtoses(safe[rows]) for rows in halves])
    name = "excess kurtosis of the mean response"
    orders.append(_order("kurtosis", name, {}, "", kurtosis, draws))
    if legibility is not None:
        share, low, high = legibility
        judged = _order("legibility", "share of right choices of a judge", {}, "share", share, None)
        orders.append(replace(judged, low=low, high=high))
    return orders


def _entropies(values: np.ndarray, width: float) -> np.ndarray:
    """Return (m,) bits of values (n, m) in steps of a width, by the shares of the steps."""
    steps = np.floor(values / width).astype(np.int64)
    result = np.empty(values.shape[1])
    for column in range(values.shape[1]):
        shares = np.unique(steps[:, column], return_counts=True)[1] / len(values)
        result[column] = max(0.0, float(-(shares * np.log2(shares)).sum()))
    return result


def _kurtoses(values: np.ndarray) -> np.ndarray:
    """Return (m,) excess kurtoses of values (n, m), 0 of a normal one; NaN if constant."""
    centered = values - values.mean(axis=0)
    variance = (centered**2).mean(axis=0)
    floor = 1e-12 * np.maximum(np.abs(values).max(axis=0), 1e-12) ** 2
    varies = variance > floor
    fourth = (centered**4).mean(axis=0)
    return np.where(varies, fourth / np.where(varies, variance, 1.0) ** 2 - 3.0, np.nan)


def _order(
    name: str,
    name_shown: str,
    parameters: dict[str, float],
    unit: str,
    values: np.ndarray,
    draws: np.ndarray | None,
) -> EstimatorRanking:
    """Return maps by a value (m,), the largest first, with intervals from draws (k, m)."""
    ranks = _falling_ranks(values)
    low = high = np.full(len(values), np.nan)
    rank_low, rank_high = np.ones_like(ranks), np.full_like(ranks, len(ranks))
    if draws is not None:
        levels = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
        # Halves drawn without replacement vary around the whole as wholes vary around the truth.
        deviations = draws - draws.mean(axis=0)
        low, high = (values + np.quantile(deviations, end, axis=0) for end in levels)
        rank_draws = np.stack([_falling_ranks(draw) for draw in draws])
        rank_low = np.minimum(np.quantile(rank_draws, levels[0], axis=0, method="lower"), ranks)
        rank_high = np.maximum(np.quantile(rank_draws, levels[1], axis=0, method="higher"), ranks)
    unknown = np.full(len(values), np.nan)
    return EstimatorRanking(
        estimator=name,
        name_shown=name_shown,
        parameters=dict(parameters),
        held_out=False,
        mi=values,
        raw=unknown,  # nothing is shown as 0
        low=low,
        high=high,
        p_value=unknown,
        p_adjusted=unknown,
        chance=unknown,
        saturated=np.zeros(len(values), bool),
        per_class=np.zeros((len(values), 0)),
        per_class_low=None,
        per_class_high=None,
        per_class_p=None,
        class_ceiling=np.zeros(0),
        ceiling=float("nan"),
        ordered=True,
        rank=ranks,
        rank_low=rank_low.astype(int),
        rank_high=rank_high.astype(int),
        unit=unit,
    )


def _falling_ranks(values: np.ndarray) -> np.ndarray:
    """Return (m,) int ranks: 1 for the largest value, NaN last; equal values share a rank."""
    falling = np.where(np.isfinite(values), -values, np.inf)
    return np.searchsorted(np.sort(falling), falling, side="left") + 1


def _constant(orders: Sequence[EstimatorRanking]) -> list[str]:
    """Return the remark on units that always respond alike, which have no kurtosis."""
    entropy, kurtosis = orders[0].mi, orders[1].mi
    count = int((np.isfinite(entropy) & ~np.isfinite(kurtosis)).sum())
    return [f"{count} units always respond alike; they have no kurtosis."] if count else []
