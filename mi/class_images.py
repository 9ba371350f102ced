"""Images of one class and of others: drawn by class, judged by the network, picked as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from oip.core import seeds
from oip.core.checks import check_whole
from oip.core.errors import DataError, ModelError, SettingsError
from oip.core.units import finite_or_none
from oip.mi import validation
from oip.mi.layer_sample import ImageSubset, LayerSample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from oip.network.network import Network

EXAMPLES = 3
"""Plain examples of a class."""
HARD = 3
"""Hard cases of a class, at the most."""
_SURE = 0.9
"""From this probability of its own class on an image is no hard case."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassSubset(ImageSubset):
    """A sample of labeled images in which some are of one class."""

    labels: np.ndarray
    """(n,) str: names of the images' classes."""
    first: str
    """Name of the class in question."""
    second: str | None
    """Name of the class that it is compared with; None for all other classes."""
    outputs: np.ndarray | None
    """(n,) int: unit of the model's output for each image's class; None where that is unknown."""
    output_names: tuple[str, ...]
    """Names of the units of the model's output; empty with `outputs` None."""

    @property
    def members(self) -> np.ndarray:
        """(n,) bool: images of the class in question."""
        return self.labels == self.first


class ClassPredictions(NamedTuple):
    """Classes that a network gives to images."""

    probabilities: np.ndarray
    """(n, classes)"""
    names: np.ndarray
    """(n,) str: the predicted class; empty where a probability is NaN."""


def class_subset(
    sample: LayerSample,
    labels: ArrayLike,
    first: str | int,
    second: str | int | None,
    *,
    samples: int,
    classes: Sequence[str] | None,
) -> ClassSubset:
    """Draw images of a class, and of another one or of all others, from all images given.

    At most `samples` images. Of one class against all others: up to half of them of the class and
    the rest of the others in their shares. Of two classes: in their shares. Label k is shown as
    `classes[k]`.

    Raises:
        DataError: labels that cannot be used, a class without images.
        SettingsError: too few samples.
    """
    checked = validation.check_labels(labels, len(sample), classes)
    names = np.array(checked.classes)[checked.codes]
    name = class_name(first, checked.classes, classes)
    second_name = None if second is None else class_name(second, checked.classes, classes)
    if name == second_name:
        raise DataError("classes", "two different ones", f"'{name}' twice")
    rows = _drawn_rows(names, name, second_name, samples, sample.seed)
    outputs, output_names = _outputs(sample.network, labels, names, checked.indices, classes)
    return ClassSubset(
        indices=checked.indices[rows],
        codes=checked.codes[rows],
        classes=checked.classes,
        notices=checked.notices,
        labels=names[rows],
        first=name,
        second=second_name,
        outputs=None if outputs is None else outputs[rows],
        output_names=output_names,
    )


def _drawn_rows(
    names: np.ndarray, first: str, second: str | None, samples: int, seed: int
) -> np.ndarray:
    """Return the sorted rows of the sample."""
    samples = check_whole("samples", samples, validation.FEWEST_LABELS)
    if second is not None:
        rows = np.flatnonzero((names == first) | (names == second))
        codes = (names[rows] == second).astype(int)
        return rows[validation.stratified(codes, samples, seed)]
    own_rows, other_rows = np.flatnonzero(names == first), np.flatnonzero(names != first)
    codes = np.unique(names[other_rows], return_inverse=True)[1]
    fewest = min(len(other_rows), max(validation.FEWEST_LABELS, 2 * len(np.unique(codes))))
    room = min(max(samples // 2, samples - len(other_rows)), samples - fewest)
    if room < 2:
        raise SettingsError("samples", f"at least {fewest + 2}", samples)
    own_rows = seeds.generator(seed, "class samples").permutation(own_rows)[:room]
    other_rows = other_rows[validation.stratified(codes, samples - len(own_rows), seed)]
    return np.sort(np.concatenate([own_rows, other_rows]))


def class_name(
    requested: str | int, names: Sequence[str], classes: Sequence[str] | None = None
) -> str:
    """Return the name of a class that has images, from its name or its number.

    A number is looked up in `classes` if no class is named so; a DataError says that there is none.
    """
    name = str(requested)
    if name in names:
        return name
    if classes is not None and name.isdecimal() and len(name) < 10 and int(name) < len(classes):
        text = str(classes[int(name)])
        if text in names:
            return text
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise DataError("class", f"one of {listed}", f"'{name}'")


def _outputs(
    network: Network,
    labels: ArrayLike,
    names: np.ndarray,
    indices: np.ndarray,
    classes: Sequence[str] | None,
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the units of the model's output for the images' classes, and the units' names.

    Whole numbers are units; names are looked up among those that the model was saved with. None
    where the units are unknown.
    """
    try:
        count = max(2, network.class_layer().maps)
    except ModelError:
        return None, ()
    unit_names = classes if classes is not None else network.sidecar and network.sidecar.classes
    if unit_names is not None and len(unit_names) != count:
        return None, ()
    values = validation.label_column("labels", labels)[indices]
    if values.dtype.kind == "U":
        units = {str(name): unit for unit, name in enumerate(unit_names or ())}
        if any(name not in units for name in np.unique(names)):
            return None, ()
        return np.array([units[name] for name in names]), tuple(map(str, unit_names or ()))
    if values.min() < 0 or values.max() >= count:
        return None, ()
    output_names = list(unit_names or (f"output {unit}" for unit in range(count)))
    for unit in np.unique(values):
        output_names[int(unit)] = str(names[values == unit][0])
    return values.astype(np.int64), tuple(str(name) for name in output_names)


def class_predictions(
    network: Network, images: np.ndarray, subset: ClassSubset
) -> ClassPredictions | None:
    """Return the network's predictions for images (n, h, w, bands) of a sample.

    Units of the output without a label are named such as `output 7`. None where the model's output
    does not tell the labeled classes apart.
    """
    from scipy.special import expit

    from oip.network import layer_types
    from oip.network.forward import run_in_batches, selected_maps

    if subset.outputs is None:
        return None
    head = network.class_layer()
    graph = selected_maps(network, head.response)
    units, size = np.arange(head.maps, dtype=np.int32), network.activation_bytes()
    batches = [outputs[..., 0] for _, outputs in run_in_batches(graph, images, size, units)]
    values = np.concatenate(batches).astype(np.float64)
    layer = head.response.layer
    if head.maps == 1:
        if layer_types.activation_name(layer) != "sigmoid":
            values = expit(values)
        values = np.concatenate([1.0 - values, values], axis=1)
    elif layer_types.activation_name(layer) == "linear" and not layer_types.is_softmax(layer):
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        values = raised / raised.sum(axis=1, keepdims=True)
    labeled = len(subset.output_names)
    unlabeled = (f"output {unit}" for unit in range(labeled, values.shape[1]))
    names = np.array([*subset.output_names, *unlabeled])
    undefined = np.isnan(values).any(axis=1)
    return ClassPredictions(values, np.where(undefined, "", names[values.argmax(axis=1)]))


@dataclass(frozen=True, eq=False)
class Cases:
    """Images with the responses of a layer to them; k of them."""

    indices: np.ndarray
    """(k,) int: indices into the images given."""
    labels: np.ndarray
    """(k,) str: names of their classes."""
    hard: np.ndarray
    """(k,) bool: a hard case: the network takes it for another class, or nearly does."""
    predicted: np.ndarray
    """(k,) str: class that the network predicts; empty where it predicts none."""
    own: np.ndarray
    """(k,): the network's probability of the image's own class; NaN where it has none."""
    images: np.ndarray = field(repr=False)
    """(k, h, w, bands): as the model is fed with them."""
    values: np.ndarray = field(repr=False)
    """(k, m, *nodes) float32: responses, the maps in the order of the result."""
    bgr: bool = False
    """The bands are blue, green and red; pictures show them the other way round."""
    patches: tuple[int, ...] = ()
    """Rows and columns of the patches that all tokens but the first are; else empty."""

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Cases({len(self)} images, {int(self.hard.sum())} of them hard)"

    @property
    def titles(self) -> list[str]:
        """The titles of the images: class, index, and the prediction for hard cases."""
        titles = []
        for row, (label, predicted) in enumerate(zip(self.labels, self.predicted, strict=True)):
            title = f"{label} (image {self.indices[row]})"
            if self.hard[row]:
                seen_as = f"seen as {predicted}, " if predicted != label else ""
                title += f"\n{seen_as}p({label}) {self.own[row]:.2g}"
            titles.append(title)
        return titles

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return plain values, without pixels and responses."""
        return [
            {
                "image": int(self.indices[row]),
                "class": str(self.labels[row]),
                "hard": bool(self.hard[row]),
                "predicted": str(self.predicted[row]) or None,
                "p_own": finite_or_none(self.own[row]),
            }
            for row in range(len(self))
        ]


def case_rows(
    subset: ClassSubset, predictions: ClassPredictions | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (k,) of the images to show, and which of them (k,) bool are hard cases.

    First `EXAMPLES` of each class, the first ones that the network predicts correctly, then at
    most `HARD` hard cases of each, the hardest first. Of one class these are the images with the
    smallest probability of their own class; of two, with the smallest one against the other; from
    0.9 on an image is no hard case. Without predictions there are none.
    """
    names = [subset.first] + ([subset.second] if subset.second else [])
    plain_rows: list[int] = []
    hard_rows: list[int] = []
    for name in names:
        rows = np.flatnonzero(subset.labels == name)
        if predictions is not None and subset.outputs is not None:
            share = _own_share(subset, subset.outputs, predictions.probabilities, rows, names)
            order = np.argsort(share, kind="stable")
            difficult = rows[order[share[order] < _SURE]][:HARD]
            hard_rows += difficult.tolist()
            correct = predictions.names[rows] == name
            rows = rows[correct] if correct.any() else rows
            rows = rows[~np.isin(rows, difficult)] if len(rows) > len(difficult) else rows
        plain_rows += rows[:EXAMPLES].tolist()
    flags = np.repeat([False, True], [len(plain_rows), len(hard_rows)])
    return np.array([*plain_rows, *hard_rows], np.int64), flags


def _own_share(
    subset: ClassSubset,
    outputs: np.ndarray,
    probabilities: np.ndarray,
    rows: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """Return (k,) probabilities of the images' own class, of two classes as a share of both."""
    class_probabilities = probabilities[rows, outputs[rows]]
    if len(names) == 1:
        return class_probabilities
    units = [outputs[subset.labels == name][0] for name in names]
    return class_probabilities / np.maximum(probabilities[rows][:, units].sum(axis=1), 1e-30)
