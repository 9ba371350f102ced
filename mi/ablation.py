"""Ablations: the loss that a trained network gains when maps or nodes of a layer are silenced.

Nodes that respond to all images of a class, such as common points, need not be what the network
decides by. So they are silenced, and the loss and the logit of the class are compared with those
without as many random nodes of the same maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import html, plots
from oip.core.checks import check_choice, check_whole, described
from oip.core.errors import LOOK_FOR_NAN, DataError, ModelError, SettingsError
from oip.core.layer_formats import AblationFile, MapAblation
from oip.core.progress import Progress, automatic
from oip.core.seeds import generator, subset
from oip.core.units import bits, finite_list, three_best
from oip.mi.class_images import class_name
from oip.mi.layer_sample import (
    BYTE_BUDGET,
    ImageSubset,
    LayerResult,
    LayerSample,
    output_subset,
    output_units,
)
from oip.mi.silencing import (
    ImageNumbers,
    SilencedMaps,
    SilencedNodeSets,
    fill_values,
    silencing_effects,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.core.files import Json
    from oip.mi.layer_sample import ModelLike
    from oip.network.forward import LayerActivations
    from oip.network.layers import LayerInfo
    from oip.network.network import Network


@dataclass(frozen=True, eq=False)
class Ablation(LayerResult):
    """The loss without each map of a layer; information in bits.

    `loss` and `accuracy` are those of the whole network. Maps whose loss is not finite are NaN.
    """

    to: str
    """The value of a silenced map, `zero` or `mean`."""
    loss: float
    accuracy: float
    loss_increase: np.ndarray
    """(m,): mean over the images of loss without the map less loss with it; under 0 is a gain."""
    low: np.ndarray
    """(m,): lower end of the 95 % interval."""
    high: np.ndarray
    """(m,): upper end of the 95 % interval."""
    accuracy_drop: np.ndarray
    """(m,): share of the images."""
    samples: int
    split: str

    def __repr__(self) -> str:
        best = three_best(self.order, self.loss_increase[self._rows], "bits")
        return (
            f"Ablation({self.layer}: {self._counted}, {self.samples} images; "
            f"largest increase of the loss: {self.noun} {best})"
        )

    @property
    def _rows(self) -> np.ndarray:
        return np.argsort(-self.loss_increase, kind="stable")

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the largest increase of the loss first; NaN last."""
        return self.maps[self._rows]

    def to_file(self, key: str = "") -> AblationFile:
        """Return the content of `ablation.json`, without maps that are NaN."""
        names = ("loss_increase", "low", "high", "accuracy_drop")
        return AblationFile(
            key=key,
            samples=self.samples,
            split=self.split,
            silenced_to=self.to,
            loss=self.loss,
            accuracy=self.accuracy,
            maps=[
                MapAblation(
                    map=int(self.maps[row]), **{n: float(getattr(self, n)[row]) for n in names}
                )
                for row in np.flatnonzero(np.isfinite(self.loss_increase))
            ],
        )

    def to_dict(self) -> dict[str, Json]:
        """Return plain values, as `ablation.json` holds them; without maps that are NaN."""
        return {"schema": AblationFile.SCHEMA, **self.to_file().public_dict()}

    def to_pandas(self) -> DataFrame:
        """Return a row for each map, the largest increase of the loss first; bits and shares."""
        import pandas

        names = ("maps", "loss_increase", "low", "high", "accuracy_drop")
        columns = {name: getattr(self, name)[self._rows] for name in names}
        return pandas.DataFrame({"layer": self.layer, "map": columns.pop("maps"), **columns})

    def _repr_html_(self) -> str:
        headings = {"map": self.noun, "loss_increase": "increase of the loss, bits"}
        headings |= {"low": "from", "high": "to, 95 %", "accuracy_drop": "accuracy falls by"}
        split = f", {self.split}" if self.split else ""
        text = (
            f"silenced to {self.to}; {self.samples} images{split}; "
            f"the whole network: loss {self.loss:.4f} bits, accuracy {self.accuracy:.2%}"
        )
        title = f"{self.layer}: loss of the network without each of {self._counted}"
        return self._block(title, [text], headings)


def ablate(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = BYTE_BUDGET,
) -> Ablation:
    """Measure how much the loss of a network increases without each map of a layer.

    The loss is the cross-entropy of the network's classes, in bits. The layers before the map run
    once for every batch of images; those after it run for many silenced maps at once. The model is
    not changed.

    Args:
        model_or_path, images, layer, maps, samples, seed, split, progress, byte_budget: as for
            `mi.rank`.
        labels: (n,) whole numbers, the units of the model's output for the classes, or one-hot.
        to: `zero`, as if the map had been cut out; `mean`, its mean over images and nodes: its
            information is lost, while the level that the next layer was trained with stays.

    Returns:
        The ablation; intervals are of the mean over images (paired, normal).

    Raises:
        ModelError, SettingsError: an unknown layer or map, a model without classes, another `to`.
        DataError: images or labels that cannot be used, or a loss that is not finite.

    Example:
        >>> mi.ablate("model.keras", images, labels, "Conv2D_3").order[:5]  # doctest: +SKIP
    """
    check_choice("to", to, ("zero", "mean"))
    samples = check_whole("samples", samples)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, seed=seed)
    network, info = sample.network, sample.layer
    sample = sample.take(output_subset(network, labels, len(sample), samples, seed))
    numbers = class_numbers(one_class_layer(network))
    silenced = SilencedMaps(info, sample.maps, fill_values(sample, info, to, byte_budget))
    label = f"{info.name}: ablation"
    effects = silencing_effects(sample, silenced, numbers, label, progress, byte_budget)
    loss, _, accuracy = effects.whole
    check_loss(loss)
    increase, margin = bits(effects.mean[:, 0]), bits(effects.margin[:, 0])
    return Ablation(
        layer=info.name,
        index=info.index,
        noun=info.noun,
        maps=sample.maps,
        to=to,
        loss=float(bits(loss)),
        accuracy=float(accuracy),
        loss_increase=increase,
        low=increase - margin,
        high=increase + margin,
        accuracy_drop=0.0 - effects.mean[:, 2],
        samples=len(sample),
        split=split,
    )


def one_class_layer(network: Network) -> LayerInfo:
    """Return the layer that gives one class per image, whose loss is a cross-entropy.

    Raises:
        ModelError: the network does not end in classes.
        DataError: it gives several an image.
    """
    from oip.network import layer_types

    head = network.class_layer()
    if head.maps > 1 and layer_types.activation_name(head.response.layer) == "sigmoid":
        text = "one class per image (softmax, logits, or a single sigmoid)"
        hint = "The loss of several labels per image is not one cross-entropy."
        raise DataError("the model's output", text, f"{head.maps} sigmoids", hint)
    return head


def class_numbers(head: LayerInfo) -> ImageNumbers:
    """Return loss in nats, logit and hit of each image, (n, 3), at the layer that gives its class.

    The logit is that of the image's class less the mean of the other classes'; a hit is 1 where the
    class is predicted correctly, else 0.
    """

    def numbers(activations: LayerActivations, codes: Tensor) -> Tensor:
        import tensorflow as tf

        logits = activations.pre_activation
        if head.maps == 1:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(codes, logits)
        class_logits = tf.gather(logits, codes, batch_dims=1)
        other_logits = tf.reduce_sum(logits, -1) - class_logits
        hits = tf.argmax(logits, axis=-1, output_type=tf.int64) == codes
        lead = class_logits - other_logits / float(max(2, head.maps) - 1)
        return tf.stack([losses, lead, tf.cast(hits, tf.float32)], axis=-1)

    return ImageNumbers(head.response, numbers)


def check_loss(loss: float) -> None:
    """Raise a DataError for a mean loss of the whole network that is not finite."""
    if not np.isfinite(loss):
        raise DataError("the model's loss", "a finite number", loss, LOOK_FOR_NAN)


@dataclass(frozen=True, eq=False)
class NodeAblation:
    """The loss without some nodes of a layer's maps, beside as many random nodes of these maps.

    Losses are in bits; a logit is that of the image's class less the mean of the other classes'.
    """

    layer: str
    index: int
    class_name: str
    """The class whose images are used; empty for all."""
    nodes: np.ndarray
    """(q, 1 + axes) int: map and node of each that is silenced."""
    size: tuple[int, ...]
    """Nodes of a map along each axis."""
    to: str
    """The value of a silenced node, `mean` or `zero`."""
    loss: float
    """Of the whole network."""
    loss_increase: float
    """Mean loss without the nodes less that with them."""
    loss_low: float
    """Lower end of the 95 % interval over images."""
    loss_high: float
    """Upper end of the 95 % interval."""
    loss_null: np.ndarray
    """(draws,): the increase without random nodes."""
    loss_p: float
    """Probability of such an increase, or a larger one, without random nodes."""
    logit: float
    """Of the whole network."""
    logit_fall: float
    """Mean logit less that without the nodes."""
    logit_low: float
    """Lower end of the 95 % interval over images."""
    logit_high: float
    """Upper end of the 95 % interval."""
    logit_null: np.ndarray
    """(draws,): the fall without random nodes."""
    logit_p: float
    """Probability of such a fall, or a larger one, without random nodes."""
    accuracy: float
    """Of the whole network."""
    accuracy_drop: float
    """Share of the images."""
    samples: int
    split: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip patterns --silence --json` prints them."""
        names = ("layer", "index", "to", "loss", "loss_increase", "loss_low", "loss_high", "loss_p")
        logit_names = ("logit", "logit_fall", "logit_low", "logit_high", "logit_p")
        last = ("accuracy", "accuracy_drop", "samples", "split")
        return {
            "class": self.class_name,
            "nodes": [{"map": int(row[0]), "node": row[1:].tolist()} for row in self.nodes],
            **{name: getattr(self, name) for name in (*names, *logit_names, *last)},
            "loss_null": finite_list(self.loss_null),
            "logit_null": finite_list(self.logit_null),
        }

    def to_pandas(self) -> DataFrame:
        """Return a row for the loss in bits and one for the logit, beside random nodes."""
        import pandas

        return pandas.DataFrame(
            {
                "quantity": quantity,
                "change": change,
                "low": low,
                "high": high,
                "random nodes": float(null.mean()),
                "p_value": p_value,
            }
            for quantity, change, low, high, null, p_value in self._rows
        )

    @property
    def _rows(self) -> tuple[tuple[str, float, float, float, np.ndarray, float], ...]:
        loss = (self.loss_increase, self.loss_low, self.loss_high, self.loss_null, self.loss_p)
        logit = (self.logit_fall, self.logit_low, self.logit_high, self.logit_null, self.logit_p)
        return ("increase of the loss, bits", *loss), ("fall of the logit", *logit)

    @property
    def _title(self) -> str:
        images = f"images of {self.class_name}" if self.class_name else "images"
        return f"{self.layer}: {len(self.nodes)} nodes silenced, {self.samples} {images}"

    def plot(self) -> Figure:
        """Draw the nodes, and both changes on the histograms of random nodes."""
        drawing, panels = plots.figure(7.0, 2.5, columns=3, width_ratios=(1, 1.6, 1.6))
        sides = self.size if len(self.size) == 2 else (1, int(np.prod(self.size)))
        counts = np.zeros(sides, int)
        at = (*(0,) * (2 - len(self.size)), *self.nodes[:, 1:].T)
        np.add.at(counts, at, 1)
        plots.image(panels[0, 0], counts, cmap=plots.SEQUENTIAL, vmin=0)
        panels[0, 0].set_title(f"nodes silenced, to {counts.max()}")
        for axes, row in zip(panels[0, 1:], self._rows, strict=True):
            quantity, change, low, high, null, p_value = row
            axes.hist(null, bins=20, color=plots.PALETTE[5], label="random nodes")
            axes.axvspan(low, high, color=plots.PALETTE[1], alpha=0.25, linewidth=0)
            axes.axvline(change, color=plots.PALETTE[1], label=f"these (p {p_value:.2g})")
            axes.set_xlabel(quantity)
            axes.set_ylabel("draws")
            axes.set_ylim(0, 1.4 * axes.get_ylim()[1])
            axes.legend(frameon=False)
        plots.titled(drawing, self._title)
        return drawing

    def __repr__(self) -> str:
        loss = f"loss {self.loss_increase:+z.3g} bits (p {self.loss_p:z.2g})"
        logit = f"logit {-self.logit_fall:+z.3g} (p {self.logit_p:z.2g})"
        return f"NodeAblation({self._title}; {loss}, {logit})"

    def _repr_html_(self) -> str:
        headings = {"quantity": "", "change": "these nodes", "low": "from", "high": "to, 95 %"}
        headings |= {"random nodes": "as many random nodes of the maps", "p_value": "p"}
        text = (
            f"silenced to {self.to}; accuracy {self.accuracy:z.2%}, less {self.accuracy_drop:z.2%}"
        )
        table = html.frame(self.to_pandas(), headings, 2)
        return html.block(
            self._title, html.paragraph(text), table, html.embedded_figure(self.plot(), text)
        )


def ablate_nodes(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
    layer: str | LayerInfo,
    nodes: ArrayLike,
    *,
    of: str | int | None = None,
    to: Literal["mean", "zero"] = "mean",
    samples: int = 500,
    draws: int = 199,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = BYTE_BUDGET,
) -> NodeAblation:
    """Measure how decisive some nodes of a layer's maps are, such as the common points of a class.

    All of them are silenced at once, and the loss and the logit of the images' class are measured
    again; so they are with as many random nodes of each of the same maps. Nodes that were chosen
    by their responses need other images here than those that they were chosen on.

    Args:
        model_or_path, images, labels, layer, seed, split, progress, byte_budget: as for
            `mi.ablate`.
        nodes: (q, 1 + axes) int: map, row and column of each node.
        of: the class, by name or number, whose images are used; those of all if None.
        to: `mean`, the node's own mean over images of all classes; or `zero`.
        samples: images that are used at most, and for the mean.
        draws: of random nodes, 19 or more.
        classes: names of the classes; those of the network if None.

    Returns:
        The changes, with intervals over the images (paired, normal) and p-values.

    Raises:
        ModelError: an unknown layer, one without nodes, or a network that does not end in classes.
        SettingsError: nodes that are not of this layer, none, or all of every map.
        DataError: images or labels that cannot be used, a class of fewer than two images.

    Example:
        >>> common = mi.common_patterns("m.keras", *first, "Conv2D_3", 4)  # doctest: +SKIP
        >>> points = common.node_numbers("own")  # doctest: +SKIP
        >>> mi.ablate_nodes("m.keras", *second, "Conv2D_3", points, of=4)  # doctest: +SKIP
    """
    check_choice("to", to, ("mean", "zero"))
    samples, draws = check_whole("samples", samples), check_whole("draws", draws, 19)
    sample = LayerSample.of(model_or_path, images, layer, seed=seed)
    network, info = sample.network, sample.layer
    checked_nodes = _checked_nodes(info, nodes)
    head = one_class_layer(network)
    whole_sample = sample.take(output_subset(network, labels, len(sample), samples, seed))
    name, of_class = "", whole_sample
    if of is not None:
        names = network.classes if classes is None else classes
        name, of_class = _class_sample(sample, labels, of, names, samples)
    fill = fill_values(whole_sample, info, to, byte_budget)
    silenced = SilencedNodeSets(info, _random_nodes(info, checked_nodes, draws, seed), fill)
    label = f"{info.name}: nodes"
    numbers = class_numbers(head)
    effects = silencing_effects(of_class, silenced, numbers, label, progress, byte_budget)
    mean_loss, mean_logit, accuracy = map(float, effects.whole)
    check_loss(mean_loss)
    losses, loss_margin = bits(effects.mean[:, 0]), bits(effects.margin[0, 0])
    falls, fall_margin = -effects.mean[:, 1], effects.margin[0, 1]
    return NodeAblation(
        layer=info.name,
        index=info.index,
        class_name=name,
        nodes=checked_nodes,
        size=tuple(info.size),
        to=to,
        loss=float(bits(mean_loss)),
        loss_increase=float(losses[0]),
        loss_low=float(losses[0] - loss_margin),
        loss_high=float(losses[0] + loss_margin),
        loss_null=losses[1:],
        loss_p=_tail(losses),
        logit=mean_logit,
        logit_fall=float(falls[0]),
        logit_low=float(falls[0] - fall_margin),
        logit_high=float(falls[0] + fall_margin),
        logit_null=falls[1:],
        logit_p=_tail(falls),
        accuracy=accuracy,
        accuracy_drop=float(-effects.mean[0, 2]),
        samples=len(of_class),
        split=split,
    )


def _class_sample(
    sample: LayerSample,
    labels: ArrayLike | None,
    target_class: str | int,
    classes: Sequence[str] | None,
    samples: int,
) -> tuple[str, LayerSample]:
    """Return the name of a class, and a random sample of its images.

    Names that are not as many as the network's classes are left aside for numbers.

    Raises:
        DataError: fewer than two images.
    """
    network = sample.network
    count = max(2, network.class_layer().maps)
    units = output_units(network, labels, len(sample))
    names = list(map(str, classes if classes and len(classes) == count else range(count)))
    name = class_name(target_class, tuple(names[unit] for unit in np.unique(units)), names)
    rows = np.flatnonzero(units == names.index(name))
    rows_of_sample = subset(rows, samples, sample.seed, "class samples")
    if len(rows_of_sample) < 2:
        raise DataError(f"images of class '{name}'", "two or more", len(rows_of_sample))
    return name, sample.take(ImageSubset(rows_of_sample, units[rows_of_sample]))


def _tail(values: np.ndarray) -> float:
    """Return the share of all values that are at least as large as the first."""
    return float(np.mean(values >= values[0] - 1e-9))


def _checked_nodes(layer: LayerInfo, nodes: ArrayLike) -> np.ndarray:
    """Return nodes (q, 1 + axes) int, each once; raise if they cannot be silenced."""
    if not layer.size:
        form = "a layer with nodes, such as a convolution"
        hint = "mi.ablate silences whole units."
        raise ModelError(f"nodes of '{layer.name}'", form, "one value per unit", hint)
    if layer.response.projection is not None:
        form = "maps of a layer of the network"
        raise ModelError(f"nodes of '{layer.name}'", form, "directions")
    size = " x ".join(map(str, layer.size))
    form = f"rows of a map (0 to {layer.maps - 1}) and a node of its {size}"
    try:
        values = np.atleast_1d(np.asarray(nodes))
    except ValueError:
        raise SettingsError(f"nodes of '{layer.name}'", form, "rows of several lengths") from None
    columns = 1 + len(layer.size)
    if not values.size:
        raise SettingsError(f"nodes of '{layer.name}'", "one or more", "none")
    if values.dtype.kind not in "iu":
        raise SettingsError(f"nodes of '{layer.name}'", form, described(nodes))
    limits = np.array([layer.maps, *layer.size])
    fits = values.ndim == 2 and values.shape[1] == columns and values.dtype.kind in "iu"
    is_outside = (
        ((values < 0) | (values >= limits)).any(axis=1) if fits else np.ones(len(values), bool)
    )
    if is_outside.any():
        raise SettingsError(f"nodes of '{layer.name}'", form, values[is_outside][0].tolist())
    values = np.unique(values.astype(np.int64), axis=0)
    node_count = int(np.prod(layer.size))
    if (np.unique(values[:, 0], return_counts=True)[1] == node_count).all():
        form, hint = f"fewer than all {node_count} of each map", "mi.ablate silences whole maps."
        raise SettingsError(f"nodes of '{layer.name}'", form, "all: random ones are the same", hint)
    return values


def _random_nodes(layer: LayerInfo, nodes: np.ndarray, draws: int, seed: int) -> list[np.ndarray]:
    """Return the nodes (q, 1 + axes), and `draws` sets of as many random nodes of each map."""
    node_count = int(np.prod(layer.size))
    numbers, counts = np.unique(nodes[:, 0], return_counts=True)
    sets = [nodes]
    for draw in range(draws):
        random = generator(seed, "random nodes", layer.index, draw)
        flat = np.concatenate([random.permutation(node_count)[:count] for count in counts])
        at = np.stack(np.unravel_index(flat, layer.size), axis=1)
        sets.append(np.column_stack([np.repeat(numbers, counts), at]))
    return sets
