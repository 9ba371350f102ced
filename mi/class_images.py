"""Images of a class and of others: found by the class's name, drawn, and judged by the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mi import labels as labelling
from oip.core import seeds
from oip.core.errors import DataError, ModelError, SettingsError, expected

if TYPE_CHECKING:
    from oip.network.view import Network


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
    known = labelling.check_labels(labels, len(pixels), classes)
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
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < labelling.FEWEST:
        wanted = f"a whole number from {labelling.FEWEST}"
        raise SettingsError(expected("samples", wanted, samples))
    if other is not None:
        rows = np.flatnonzero((names == one) | (names == other))
        codes = (names[rows] == other).astype(int)
        return rows[labelling.stratified(codes, samples, seed)]
    mine, rest = np.flatnonzero(names == one), np.flatnonzero(names != one)
    codes = np.unique(names[rest], return_inverse=True)[1]
    least = min(len(rest), max(labelling.FEWEST, 2 * len(np.unique(codes))))
    room = min(max(samples // 2, samples - len(rest)), samples - least)
    if room < 2:
        raise SettingsError(expected("samples", f"at least {least + 2}", samples))
    mine = seeds.generator(seed, "class samples").permutation(mine)[:room]
    rest = rest[labelling.stratified(codes, samples - len(mine), seed)]
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

    from oip.network import kinds
    from oip.network.heads import classes
    from oip.network.responses import batch_size, chosen_maps

    if found.outputs is None:
        return None
    head = classes(network)
    forward = chosen_maps(network, head.place, False)
    batch = batch_size(network)
    parts = [
        forward(found.pixels[first : first + batch], np.arange(head.units))[..., 0]
        for first in range(0, len(found.pixels), batch)
    ]
    values = np.concatenate(parts).astype(np.float64)
    layer = head.place.layer
    if head.units == 1:
        if kinds.activation_name(layer) != "sigmoid":
            values = expit(values)
        values = np.concatenate([1.0 - values, values], axis=1)
    elif kinds.activation_name(layer) == "linear" and not kinds.is_softmax(layer):
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
    from oip.network.heads import classes as class_head

    try:
        count = max(2, class_head(network).units)
    except ModelError:
        return None, ()
    told = classes if classes is not None else (network.sidecar or {}).get("classes")
    if told is not None and len(told) != count:
        return None, ()
    values = labelling.one_column("labels", labelling.plain("labels", labels), False)[kept]
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
