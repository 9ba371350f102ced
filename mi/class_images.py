"""Images of a class and of others: found by the class's name, drawn, and judged by the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import seeds
from oip.core.errors import DataError, ModelError, SettingsError, expected
from oip.mi import validation

if TYPE_CHECKING:
    from oip.network.network import Network


@dataclass(frozen=True, eq=False)
class ClassImages:
    """A sample of labelled images in which some are of one class."""

    pixels: np.ndarray
    """(n, h, w, b)"""
    places: np.ndarray
    """(n,) int: the images' places in what was given."""
    labels: np.ndarray
    """(n,) str: names of their classes."""
    first: str
    """Name of the class in question."""
    second: str | None
    """Name of the one that it is held against; None for all others."""
    outputs: np.ndarray | None
    """(n,) int: place of each image's class in the model's output; None where that is unknown."""
    names: tuple[str, ...]
    """Name of every place of the model's output that is known; empty with `outputs` None."""
    notices: tuple[str, ...]

    @property
    def members(self) -> np.ndarray:
        """(n,) bool: of the class in question."""
        return self.labels == self.first


def class_images(
    network: Network,
    images: Any,
    labels: Any,
    first: Any,
    second: Any,
    *,
    samples: int,
    seed: int,
    classes: Sequence[str] | None,
) -> ClassImages:
    """Checks everything and draws the sample.

    Args:
        network: the model.
        images: (n, h, w, b).
        labels: (n,) whole numbers, booleans or strings, or one-hot rows.
        first: the class in question, by name or number.
        second: another one, or None for all others.
        samples: most images: of one class against all others up to half of the class and the rest
            of the others in their shares, of two classes in their shares.
        seed: of the sample.
        classes: names; label k is shown as `classes[k]`.

    Raises:
        DataError: images or labels that cannot be used, a class that is not there.
        SettingsError: too few samples.
    """
    from oip.network.inputs import check_images

    pixels = check_images(network.inputs, images)
    known = validation.check_labels(labels, len(pixels), classes)
    names = np.array(known.classes)[known.codes]
    one = class_name(first, known.classes, classes)
    other = None if second is None else class_name(second, known.classes, classes)
    if one == other:
        raise DataError(expected("classes", "two different ones", f"'{one}' twice"))
    rows = _drawn(names, one, other, samples, seed)
    places = known.kept[rows]
    outputs, shown = _outputs(network, labels, names, known.kept, classes)
    return ClassImages(
        pixels=pixels[places],
        places=places,
        labels=names[rows],
        first=one,
        second=other,
        outputs=None if outputs is None else outputs[rows],
        names=shown,
        notices=known.notices,
    )


def _drawn(names: np.ndarray, one: str, other: str | None, samples: int, seed: int) -> np.ndarray:
    """Sorted rows of the sample."""
    if (
        isinstance(samples, bool)
        or not isinstance(samples, int)
        or samples < validation.FEWEST_LABELS
    ):
        wanted = f"a whole number from {validation.FEWEST_LABELS}"
        raise SettingsError(expected("samples", wanted, samples))
    if other is not None:
        rows = np.flatnonzero((names == one) | (names == other))
        codes = (names[rows] == other).astype(int)
        return rows[validation.stratified(codes, samples, seed)]
    mine, rest = np.flatnonzero(names == one), np.flatnonzero(names != one)
    codes = np.unique(names[rest], return_inverse=True)[1]
    least = min(len(rest), max(validation.FEWEST_LABELS, 2 * len(np.unique(codes))))
    room = min(max(samples // 2, samples - len(rest)), samples - least)
    if room < 2:
        raise SettingsError(expected("samples", f"at least {least + 2}", samples))
    mine = seeds.generator(seed, "class samples").permutation(mine)[:room]
    rest = rest[validation.stratified(codes, samples - len(mine), seed)]
    return np.sort(np.concatenate([mine, rest]))


def class_name(wanted: Any, known: Sequence[str], classes: Sequence[str] | None = None) -> str:
    """The name of a class that is there.

    Args:
        wanted: its name, or its number, which is looked up in `classes` if no class is named so.
        known: names of the classes that have images.
        classes: names by number.

    Raises:
        DataError: it is not there.
    """
    name = str(wanted)
    if name in known:
        return name
    if classes is not None and name.isdecimal() and int(name) < len(classes):
        named = str(classes[int(name)])
        if named in known:
            return named
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    raise DataError(expected("class", f"one of {listed}", f"'{name}'"))


def judged(network: Network, found: ClassImages) -> tuple[np.ndarray, np.ndarray] | None:
    """What the network makes of the images: (n, classes) probabilities, (n,) str predictions.

    None where its output does not tell the labelled classes apart. Images of more classes than
    labels are known for are predicted as `output 7`; where a probability is NaN nothing is
    predicted, and the text is empty.
    """
    from scipy.special import expit

    from oip.network import layer_types
    from oip.network.forward import run_in_batches, selected_maps
    from oip.network.outputs import classes

    if found.outputs is None:
        return None
    head = classes(network)
    graph = selected_maps(network, head.place, False)
    size, every = network.activation_bytes(), np.arange(head.units, dtype=np.int32)
    parts = [part[..., 0] for _, part in run_in_batches(graph, found.pixels, size, every)]
    values = np.concatenate(parts).astype(np.float64)
    layer = head.place.layer
    if head.units == 1:
        if layer_types.activation_name(layer) != "sigmoid":
            values = expit(values)
        values = np.concatenate([1.0 - values, values], axis=1)
    elif layer_types.activation_name(layer) == "linear" and not layer_types.is_softmax(layer):
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        values = raised / raised.sum(axis=1, keepdims=True)
    names = np.array(
        [*found.names, *(f"output {k}" for k in range(len(found.names), values.shape[1]))]
    )
    return values, np.where(np.isnan(values).any(axis=1), "", names[values.argmax(axis=1)])


def _outputs(
    network: Network,
    labels: Any,
    names: np.ndarray,
    kept: np.ndarray,
    classes: Sequence[str] | None,
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Places of the kept images' classes in the model's output, and the names of the places.

    Whole numbers are places; names are looked up in what the model was saved with.
    """
    from oip.network.outputs import classes as class_head

    try:
        count = max(2, class_head(network).units)
    except ModelError:
        return None, ()
    told = classes if classes is not None else (network.sidecar or {}).get("classes")
    if told is not None and len(told) != count:
        return None, ()
    values = validation.one_column("labels", validation.plain("labels", labels), False)[kept]
    if values.dtype.kind == "U":
        place = {str(name): number for number, name in enumerate(told or ())}
        if any(name not in place for name in np.unique(names)):
            return None, ()
        return np.array([place[name] for name in names]), tuple(str(name) for name in told or ())
    if values.min() < 0 or values.max() >= count:
        return None, ()
    shown = [f"output {number}" for number in range(count)] if told is None else list(told)
    for number in np.unique(values):
        shown[int(number)] = str(names[values == number][0])
    return values.astype(np.int64), tuple(str(name) for name in shown)


EXAMPLES = 3
"""Plain examples of a class."""
HARD = 3
"""Hard cases of a class, at the most."""
_SURE = 0.9
"""From this probability of its own class on an image is no hard case."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Images with the responses of a layer to them; k of them."""

    places: np.ndarray
    """(k,) int: their places in what was given."""
    labels: np.ndarray
    """(k,) str: names of their classes."""
    hard: np.ndarray
    """(k,) bool: a hard case: the network takes it for another class, or nearly does."""
    predicted: np.ndarray
    """(k,) str: name of the class that the network takes it for; empty where it has no say."""
    own: np.ndarray
    """(k,): the network's probability of the image's own class; NaN where it has no say."""
    images: np.ndarray = field(repr=False)
    """(k, h, w, b): as the model is fed with them."""
    values: np.ndarray = field(repr=False)
    """(k, m, *nodes) float32: responses, the maps in the order of the result."""
    bgr: bool = False
    """The bands are blue, green and red; pictures show them the other way round."""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def titles(self) -> list[str]:
        """What is written over each image: class, place, and what the network says if it errs."""
        return [
            f"{label} (image {place})"
            + (f"\nseen as {seen}, p({label}) {own:.2g}" if hard and seen != label else "")
            + (f"\np({label}) {own:.2g}" if hard and seen == label else "")
            for label, place, hard, seen, own in zip(
                self.labels, self.places, self.hard, self.predicted, self.own, strict=True
            )
        ]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain values, without pixels and responses."""
        return [
            {
                "image": int(self.places[row]),
                "class": str(self.labels[row]),
                "hard": bool(self.hard[row]),
                "predicted": str(self.predicted[row]) or None,
                "p_own": float(self.own[row]) if np.isfinite(self.own[row]) else None,
            }
            for row in range(len(self))
        ]


def chosen_cases(
    found: ClassImages,
    judgement: tuple[np.ndarray, np.ndarray] | None,
    of: Sequence[str],
    examples: int = EXAMPLES,
    hard: int = HARD,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the images to show, and which of them are hard cases.

    Args:
        found: the sample.
        judgement: see `oip.mi.class_images.judged`; without one there are no hard cases.
        of: names of the classes whose images are wanted. Of one class the hard cases are the images
            with the smallest probability of their own class; of two, with the smallest probability
            of their own class against the other.
        examples: of each class: the first ones that the network knows.
        hard: of each class at the most, the hardest first; from 0.9 on it is no hard case.

    Returns:
        (k,) int and (k,) bool: examples of each class, then hard cases of each.
    """
    plain_rows: list[int] = []
    hard_rows: list[int] = []
    for name in of:
        rows = np.flatnonzero(found.labels == name)
        if judgement is not None and found.outputs is not None:
            share = own_share(found, judgement[0], rows, of)
            order = np.argsort(share, kind="stable")
            difficult = rows[order[share[order] < _SURE]][:hard]
            hard_rows += difficult.tolist()
            known = judgement[1][rows] == name
            rows = rows[known] if known.any() else rows
            rows = rows[~np.isin(rows, difficult)] if len(rows) > len(difficult) else rows
        plain_rows += rows[:examples].tolist()
    flags = np.repeat([False, True], [len(plain_rows), len(hard_rows)])
    return np.array([*plain_rows, *hard_rows], np.int64), flags


def own_share(
    found: ClassImages, probabilities: np.ndarray, rows: np.ndarray, of: Sequence[str]
) -> np.ndarray:
    """(k,): probability of each image's own class, as a share of that of the classes `of` if these
    are two."""
    own = probabilities[rows, found.outputs[rows]]  # type: ignore[index]
    if len(of) == 1:
        return own
    places = [found.outputs[found.labels == name][0] for name in of]  # type: ignore[index]
    return own / np.maximum(probabilities[rows][:, places].sum(axis=1), 1e-30)
