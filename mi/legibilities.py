"""Legibility: how often a judge, shown a unit's OIPs, picks the image that excites it more.

The judge is asked of pairs of images: one from the 1 % that excite the unit most, one from the
lower half. It takes the one that is more like the OIPs, by the cosine of its features about their
mean over the images, averaged over the OIPs. All such pairs are asked; chance is one half. The
upper reference is the same choice with the best data images in place of OIPs, up to nine, without
the image that is asked about. More images tell more, so there is a second reference with as many
of them as the unit has OIPs. The control is the choice with OIPs of other units.

The interval is over images: pairs that share one are not independent. It is Wilson's, with the
number of images that would have the variance which the images show, shrunk as if two more images
showed that of exponential responses (Hanley and McNeil). Simulated with 2, 5 and 10 images at the
top it covers 90 to 100 % where it should cover 95 %; the percentiles of resampled images cover 81
to 92 %, and nothing where the judge is always right.

References:
    R. S. Zimmermann, D. Klindt, W. Brendel: Measuring per-unit interpretability at scale without
    humans. NeurIPS 2024. J. Borowski et al.: Exemplary natural images explain CNN activations
    better than state-of-the-art feature visualization. ICLR 2021. J. A. Hanley, B. J. McNeil: The
    meaning and use of the area under a receiver operating characteristic curve. Radiology 1982.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from oip.core.errors import DataError, SettingsError
from oip.core.layer_formats import LegibilityFile, MapLegibility
from oip.core.progress import Progress, automatic, silent
from oip.core.units import finite_or_none, three_best
from oip.mi.judges import PIXELS, Judge, PictureScale, feature_directions, judge_of
from oip.mi.layer_sample import BYTE_BUDGET, LayerResult, LayerSample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame

    from oip.core.files import Json
    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo

TOP = 100
"""Images for each one at the top."""
FEWEST = 2 * TOP
"""Images that are needed: two at the top."""
MORE_IMAGES = "Give more images, such as SOURCE:all."
REFERENCES = 9
"""Best data images that stand for the OIPs in the upper reference, at the most."""
CONTROLS = 16
"""Other units whose OIPs are shown in the control, at the most."""
NO_OIP, NOT_FINITE, NO_QUESTION = "no OIP", "not finite", "silent"
"""Why a unit has no legibility; silent: no two images excite it more than half of them do."""


@runtime_checkable
class DisplayedOips(Protocol):
    """OIPs as `oip.reconstruct` returns them."""

    @property
    def maps(self) -> np.ndarray: ...
    @property
    def images(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def alive(self) -> np.ndarray: ...
    def displayed(self, image: np.ndarray, enhance: bool | None = None) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class JudgedUnits:
    """The answers of a judge about units."""

    share: np.ndarray
    """(m,): share of right choices; chance is 0.5."""
    low: np.ndarray
    """(m,): lower end of the 95 % interval."""
    high: np.ndarray
    """(m,): upper end of the 95 % interval."""
    reference: np.ndarray
    """(m,): with the best data images, up to nine, in place of the OIPs."""
    reference_same_count: np.ndarray
    """(m,): with as many of the best data images as the unit has OIPs."""
    control: np.ndarray
    """(m,): with OIPs of other units; NaN for a single unit."""
    pairs: np.ndarray
    """(m,) int: pairs of images."""
    reasons: tuple[str, ...]
    """(m,): why a unit has no legibility; empty where it has one."""


@dataclass(frozen=True, eq=False)
class Legibility(JudgedUnits, LayerResult):
    """Legibility of the units of a layer, from 0 to 1; NaN for units without image pairs."""

    judge: str
    """`pixels`, or the name of a model."""
    judge_layer: str
    """The layer whose features were compared; empty for the penultimate ones."""
    samples: int
    """Images that pairs are taken from."""
    split: str = ""
    judge_digest: str = ""

    @classmethod
    def of(
        cls,
        answers: JudgedUnits,
        layer: str,
        index: int,
        maps: np.ndarray,
        judge: Judge,
        samples: int,
        split: str,
    ) -> Legibility:
        """Return the result about the units of a layer."""
        return cls(
            layer=layer,
            index=index,
            maps=np.asarray(maps),
            judge=judge.name,
            judge_layer=judge.layer,
            judge_digest=judge.digest,
            samples=samples,
            split=split,
            **vars(answers),
        )

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the most legible first; those without one last."""
        return self.maps[self._rows]

    @property
    def _rows(self) -> np.ndarray:
        return np.argsort(-self.share, kind="stable")

    def __repr__(self) -> str:
        best = three_best(self.order, self.share[self._rows])
        return (
            f"Legibility({self.layer}: {len(self)} units, judge {self.judge}, "
            f"{self.samples} images; best: {best})"
        )

    def to_file(self, key: str = "") -> LegibilityFile:
        """Return the content of `legibility.json`."""
        names = ("share", "low", "high", "reference", "reference_same_count", "control")
        rows = [
            MapLegibility(
                map=int(map_index),
                **{name: finite_or_none(getattr(self, name)[row]) for name in names},
                pairs=int(self.pairs[row]),
                reason=self.reasons[row],
            )
            for row, map_index in enumerate(self.maps)
        ]
        return LegibilityFile(
            key=key,
            layer=self.layer,
            index=self.index,
            judge=self.judge,
            judge_layer=self.judge_layer,
            judge_sha256=self.judge_digest,
            samples=self.samples,
            split=self.split,
            maps=rows,
        )

    def to_dict(self) -> dict[str, Json]:
        """Return plain values, as `legibility.json` holds them."""
        return {"schema": LegibilityFile.SCHEMA, **self.to_file().public_dict()}

    def to_pandas(self) -> DataFrame:
        """Return a row for each unit, the most legible first."""
        import pandas

        names = ("share", "low", "high", "reference", "reference_same_count", "control", "pairs")
        columns = {name: getattr(self, name)[self._rows] for name in names}
        reasons = [self.reasons[row] for row in self._rows]
        return pandas.DataFrame(
            {"layer": self.layer, "map": self.order, **columns, "reason": reasons}
        )

    def _repr_html_(self) -> str:
        headings = {"map": "map", "share": "right choices", "low": "from", "high": "to, 95 %"}
        headings |= {"reference": "with the best images, up to nine"}
        headings |= {"reference_same_count": "with as many of them as OIPs"}
        headings |= {"control": "with OIPs of other units"}
        text = f"judge {self.judge}, {self.samples} images; chance is 0.5"
        return self._block(f"{self.layer}: legibility of {len(self)} units", [text], headings)


def legibility(
    model_or_path: ModelLike,
    images: np.ndarray,
    oips: DisplayedOips | np.ndarray,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    responses: ArrayLike | None = None,
    judge: str | ModelLike | Judge = PIXELS,
    judge_layer: str | None = None,
    split: str = "",
    progress: Progress = automatic,
) -> Legibility:
    """Measure how often a judge, shown a unit's OIPs, picks the image that excites the unit more.

    Args:
        model_or_path, images, layer, split, progress: as for `mi.rank`; a layer, or with
            `responses` any name.
        oips: of the units, as `oip.reconstruct` returns them; or pictures of them (m, k, h, w,
            bands) or (m, h, w, bands): uint8 as a viewer sees them, others in the units of the
            model's input.
        maps: numbers of the maps that pictures are of, in their order; all of the layer if None.
            OIPs have theirs.
        responses: (n, m) numbers by which each image excites each unit, for units that are no maps,
            such as nodes and classes.
        judge: another Keras model, its path, or `pixels`: histograms of oriented gradients of small
            gray images.
        judge_layer: of a model, whose output is compared (maps by their spatial means); the
            penultimate features if None.

    Returns:
        Share right, interval, references and control of each unit.

    Raises:
        ModelError: an unknown layer, or a judge that is the model itself.
        SettingsError: an unknown map, or others than those of the OIPs.
        DataError: fewer than 200 images, or images that do not fit the model or the judge.

    Example:
        >>> oips = oip.reconstruct(model, "Conv2D_3", data=images)  # doctest: +SKIP
        >>> mi.legibility(model, images, oips, "Conv2D_3", judge="other.keras")  # doctest: +SKIP
    """
    from oip.network.forward import means_of_layers
    from oip.network.inputs import check_images
    from oip.network.network import Network

    numbers = maps if maps is None or isinstance(maps, (str, int)) else np.asarray([*maps])
    oip_maps = oips.maps if isinstance(oips, DisplayedOips) else None
    numbers = oip_maps if numbers is None else numbers
    rows: np.ndarray | slice = slice(None)
    if responses is None:
        sample = LayerSample.of(model_or_path, images, layer, maps=numbers)
        if oip_maps is not None and not np.array_equal(np.sort(oip_maps), sample.maps):
            raise SettingsError("maps", f"those of the OIPs, {oip_maps.tolist()}", maps)
        oip_numbers = numbers if oip_maps is None else oip_maps
        if isinstance(oip_numbers, np.ndarray):  # the sample's maps rise
            rows = np.argsort(oip_numbers, kind="stable")
        network, pixels, numbers = sample.network, sample.images, sample.maps
        name, index = sample.layer.name, sample.layer.index
    else:
        network = Network.of(model_or_path, images=images)
        pixels = check_images(network.inputs, images)
        name, index = str(layer), -1
        values = np.asarray(responses, np.float64)
        if values.ndim != 2 or len(values) != len(pixels):
            raise DataError("responses", f"({len(pixels)}, units)", values.shape)
        numbers = np.arange(values.shape[1]) if numbers is None else np.asarray(numbers)
    check_count(len(pixels))
    scale = PictureScale.of(network.inputs, pixels)
    opened = judge_of(judge, judge_layer, network, pixels, scale)
    pictures = oip_pictures(oips, scale)
    usable = _usable(oips, pictures)
    if len(pictures) != len(numbers) or pictures.shape[2:] != pixels.shape[1:]:
        shape = f"({len(numbers)}, k, " + ", ".join(map(str, pixels.shape[1:])) + ")"
        raise DataError("pictures of OIPs", f"shape {shape}", pictures.shape)
    if responses is None:
        label = f"{name}: responses"
        (means,) = means_of_layers(network, pixels, [sample.layer], progress, label)
        values = means[:, sample.maps]
    looks = opened.features(scale.pictures(pixels), progress, f"images seen by {opened.name}")
    mean = looks.mean(0)
    pictures, usable = pictures[rows], usable[rows]
    unit_features = shown_features(opened, pictures, usable, mean)
    directions = feature_directions(looks, mean)
    answers = judged_units(values, directions, unit_features, usable.sum(1), progress, name)
    return Legibility.of(answers, name, index, numbers, opened, len(pixels), split)


def check_count(count: int) -> None:
    """Raise a DataError for fewer images than the choice needs."""
    if count < FEWEST:
        expected = f"at least {FEWEST}: two at the top 1 % of each unit"
        raise DataError("images", expected, count, MORE_IMAGES)


def oip_pictures(oips: DisplayedOips | np.ndarray, scale: PictureScale) -> np.ndarray:
    """Return OIPs as a viewer sees them: (m, k, h, w, bands) uint8."""
    if isinstance(oips, DisplayedOips):
        flat = oips.images.reshape(-1, *oips.images.shape[2:])
        pictures = np.empty(flat.shape, np.uint8)
        for row, image in enumerate(flat):  # each has its own contrast
            pictures[row] = oips.displayed(image.astype(np.float32))
        return pictures.reshape(oips.images.shape)
    values = np.asarray(oips)
    if values.ndim == len(scale.black.shape) + 3:
        values = values[:, None]
    if values.dtype != np.uint8:
        values = scale.pictures(np.nan_to_num(values))
    return values


def _usable(oips: DisplayedOips | np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Return (m, k) bool: pictures that show something."""
    if isinstance(oips, DisplayedOips):
        return usable_oips(oips)
    values = np.asarray(oips)
    axes = tuple(range(2, pictures.ndim))
    finite = np.isfinite(values.reshape(pictures.shape)).all(axis=axes)
    return finite & (np.ptp(pictures, axis=axes) > 0)


def usable_oips(oips: DisplayedOips) -> np.ndarray:
    """Return (m, k) bool: images of units that a pattern was found for."""
    return np.isfinite(oips.scores) & oips.alive[:, None]


def shown_features(
    judge: Judge,
    pictures: np.ndarray,
    usable: np.ndarray,
    mean: np.ndarray,
    progress: Progress = silent,
    label: str = "OIPs",
) -> np.ndarray:
    """Return the mean direction of each unit's pictures, (m, d); NaN for units without any.

    Args:
        pictures: (m, k, h, w, bands) uint8.
        usable: (m, k) bool: pictures that are shown to the judge.
        mean: (d,) features of all images.
    """
    rows, columns = np.nonzero(usable)
    if not rows.size:
        return np.full((len(pictures), len(mean)), np.nan, np.float32)
    values = feature_directions(judge.features(pictures[rows, columns], progress, label), mean)
    sums = np.zeros((len(pictures), values.shape[1]), np.float32)
    np.add.at(sums, rows, values)
    with np.errstate(invalid="ignore"):
        return sums / np.where(usable.any(1), usable.sum(1), np.nan)[:, None]


def judged_units(
    responses: np.ndarray,
    images: np.ndarray,
    oip_features: np.ndarray,
    oip_counts: np.ndarray,
    progress: Progress = silent,
    name: str = "units",
    byte_budget: int = BYTE_BUDGET,
) -> JudgedUnits:
    """Let a judge choose images for each unit.

    Args:
        responses: (n, m) numbers by which each image excites each unit.
        images: (n, d) directions of the images' features.
        oip_features: (m, d) mean direction of each unit's OIPs; NaN where there are none.
        oip_counts: (m,) OIPs of each unit.
        progress: called with the number of units done.
        name: of what is judged, for the progress.
        byte_budget: of similarities that are in memory at a time.
    """
    count = responses.shape[1]
    names = ("share", "low", "high", "reference", "reference_same_count", "control")
    shares = {field: np.full(count, np.nan) for field in names}
    pairs, reasons = np.zeros(count, np.int64), [""] * count
    has_oip = np.asarray(np.isfinite(oip_features).all(1))
    room = max(1, byte_budget // (4 * len(responses) * (1 + CONTROLS)))
    label = f"{name}: judged"
    progress(label, 0, count)
    for begin in range(0, count, room):
        block = range(begin, min(begin + room, count))
        controls = {unit: _other_units(unit, has_oip) for unit in block if has_oip[unit]}
        similarities = _similarities(images, oip_features, controls)
        for unit in block:
            question = Question.of(responses[:, unit])
            if isinstance(question, str):
                reasons[unit] = question
                continue
            if unit not in controls:
                reasons[unit] = NO_OIP
                continue
            pairs[unit] = len(question.top) * len(question.lower)
            share, low, high = question.answers(similarities[unit]).interval()
            shares["share"][unit], shares["low"][unit], shares["high"][unit] = share, low, high
            shares["reference"][unit] = question.reference(images)
            same_count = question.reference(images, int(oip_counts[unit]))
            shares["reference_same_count"][unit] = same_count
            if controls[unit]:
                shares["control"][unit] = np.mean(
                    [question.answers(similarities[control]).share for control in controls[unit]]
                )
        progress(label, block.stop, count)
    return JudgedUnits(**shares, pairs=pairs, reasons=tuple(reasons))


def _similarities(
    images: np.ndarray, oip_features: np.ndarray, controls: Mapping[int, Sequence[int]]
) -> dict[int, np.ndarray]:
    """Return the similarity (n,) of each image to the OIPs of units and of their controls.

    Args:
        images: (n, d) directions of the images' features.
        oip_features: (m, d) mean direction of each unit's OIPs.
        controls: unit -> other units.
    """
    units = sorted(
        {*controls, *(control for others_of in controls.values() for control in others_of)}
    )
    if not units:
        return {}
    table = images @ oip_features[units].T
    return {unit: table[:, column] for column, unit in enumerate(units)}


def _other_units(unit: int, has_oip: np.ndarray) -> list[int]:
    """Return other units with OIPs, evenly spread over the layer."""
    units = np.flatnonzero(has_oip)
    units = np.roll(units, -int(np.searchsorted(units, unit)))[1:]
    count = min(CONTROLS, len(units))
    return units[(np.arange(count) * len(units)) // max(count, 1)].tolist()


class Answers(NamedTuple):
    """Right choices of all pairs of images, by the images; a tie is half a right choice."""

    top: np.ndarray
    """(t,): share of the lower images that each image of the top is chosen before."""
    lower: np.ndarray
    """(l,): share of the top that is chosen before each lower image."""

    @property
    def share(self) -> float:
        """Share of right choices."""
        return float(self.top.mean())

    def interval(self) -> tuple[float, float, float]:
        """Return the share with the ends of its 95 % interval over images."""
        from scipy.stats import t as student

        share, top, lower = self.share, len(self.top), len(self.lower)
        middle = (share * top + 0.5) / (top + 1)
        of_groups = sum(float(np.var(side, ddof=1)) / len(side) for side in self if len(side) > 1)
        variance = ((top - 1) * of_groups + 2 * _exponential_variance(middle, top, lower)) / (
            top + 1
        )
        images = middle * (1 - middle) / variance
        spread = student.ppf(0.975, top + 1)
        scale = 1 + spread**2 / images
        center = (share + spread**2 / (2 * images)) / scale
        half = spread / scale * np.sqrt(share * (1 - share) / images + (spread / images / 2) ** 2)
        return share, max(0.0, float(center - half)), min(1.0, float(center + half))


def _exponential_variance(share: float, top: int, lower: int) -> float:
    """Return the variance of the share of right choices, of exponential similarities."""
    both_lower, both_top = share / (2 - share), 2 * share**2 / (1 + share)
    return (
        share * (1 - share)
        + (top - 1) * (both_lower - share**2)
        + (lower - 1) * (both_top - share**2)
    ) / (top * lower)


class Question(NamedTuple):
    """The images that a judge chooses between."""

    top: np.ndarray
    """(t,) int: rows of the images that excite the unit most, the best first."""
    lower: np.ndarray
    """(l,) int: rows of the lower half."""

    @classmethod
    def of(cls, responses: np.ndarray) -> Question | str:
        """Return the question of a unit's responses (n,), or why there is none.

        Images that are tied with the last of the top belong to it, unless they are no better than
        the lower half.
        """
        if not np.isfinite(responses).all():
            return NOT_FINITE
        half = np.median(responses)
        order = np.argsort(-responses, kind="stable")
        last = responses[order[len(responses) // TOP - 1]]
        top = order[(responses[order] >= last) & (responses[order] > half)]
        return cls(top, np.flatnonzero(responses <= half)) if len(top) > 1 else NO_QUESTION

    def answers(self, similarity: np.ndarray) -> Answers:
        """Return the choices by a similarity (n,) of all images to the shown OIPs."""
        return _answers(similarity[self.top], similarity[self.lower])

    def reference(self, images: np.ndarray, count: int = REFERENCES) -> float:
        """Return the share right when the best data images are shown, without the one in question.

        Args:
            images: (n, d) directions of all images' features.
            count: data images that are shown, at the most.
        """
        pool = self.top[: count + 1]
        top, lower = (images[rows] @ images[pool].T for rows in (self.top, self.lower))
        indices = np.arange(len(self.top))
        shares = np.empty(len(self.top))
        for left_out in range(len(pool)):
            rows = indices == left_out if left_out < count else indices >= left_out
            other_images = np.delete(np.arange(len(pool)), left_out)
            shares[rows] = _answers(
                top[rows][:, other_images].mean(1), lower[:, other_images].mean(1)
            ).top
        return float(shares.mean())


def _answers(top: np.ndarray, lower: np.ndarray) -> Answers:
    """Return the choices between images of the top and of the lower half by their similarities."""

    def share_below(values: np.ndarray, line: np.ndarray) -> np.ndarray:
        """Return the share of a line that is below each value, ties as half."""
        line = np.sort(line)
        before, through = (np.searchsorted(line, values, side) for side in ("left", "right"))
        return (before + through) / (2 * len(line))

    return Answers(share_below(top, lower), 1 - share_below(lower, top))
