"""Ablation of nodes: the loss without some nodes of a layer's maps, such as common points.

Nodes that respond to all images of a class need not be what the network decides by. So they are
silenced, and the loss and the logit of the class are compared with those without as many random
nodes of the same maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import html, plots
from oip.core.checks import check_choice, check_whole
from oip.core.errors import DataError, ModelError, SettingsError
from oip.core.progress import Progress, automatic
from oip.core.seeds import generator
from oip.core.units import bits, finite_list
from oip.mi.ablation import one_class_layer, run_changed
from oip.mi.class_images import class_name
from oip.mi.layer_sample import BYTE_BUDGET, ImageSubset, LayerSample, output_subset, output_units

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

_BATCH = 256
_Z = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


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
        names = ("layer", "index", "to", "loss", "loss_increase", "loss_low", "loss_high")
        more = ("loss_p", "logit", "logit_fall", "logit_low", "logit_high", "logit_p")
        last = ("accuracy", "accuracy_drop", "samples", "split")
        return {
            "class": self.class_name,
            "nodes": [{"map": int(row[0]), "node": row[1:].tolist()} for row in self.nodes],
            **{name: getattr(self, name) for name in (*names, *more, *last)},
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
        return html.block(self._title, html.paragraph(text), table, html.drawn(self.plot(), text))


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
    import tensorflow as tf

    from oip.network.forward import batch_size, image_batches, layer_graph

    check_choice("to", to, ("mean", "zero"))
    samples, draws = check_whole("samples", samples), check_whole("draws", draws, 19)
    sample = LayerSample.of(model_or_path, images, layer, seed=seed)
    network, info = sample.network, sample.layer
    chosen = _checked_nodes(info, nodes)
    head = one_class_layer(network)
    units = output_units(network, labels, len(sample))
    names = classes if classes is not None else network.classes
    if names is None or len(names) != max(2, head.maps):
        names = tuple(map(str, range(max(2, head.maps))))
    name, of_class = "", sample
    if of is not None:
        present = tuple(str(names[unit]) for unit in np.unique(units))
        name = class_name(of, present, names)
        rows = np.flatnonzero(units == list(map(str, names)).index(name))
        drawn = generator(seed, "class samples").permutation(rows)[:samples]
        if len(drawn) < 2:
            raise DataError(f"images of class '{name}'", "two or more", len(drawn))
        of_class = sample.take(ImageSubset(np.sort(drawn), units[np.sort(drawn)]))
    sample = sample.take(output_subset(network, labels, len(sample), samples, seed))
    of_class = sample if of is None else of_class
    size = network.activation_bytes()
    fill = np.zeros((*info.size, info.maps))
    if to == "mean":
        graph = layer_graph(network, info.response)
        for _, part in image_batches(sample.images, size, byte_budget, _BATCH):
            fill += graph(tf.constant(part))[0].response.numpy().sum(
                axis=0, dtype=np.float64
            ) / len(sample)
    sets = _random_nodes(info, chosen, draws, seed)
    batch = batch_size(size, byte_budget, _BATCH)
    room = max(1, byte_budget // (size * min(batch, len(of_class))))
    run = _NetworkWithoutNodes(network, info, fill)
    label, done = f"{info.name}: nodes", 0
    total = len(sets) * -(-len(of_class) // batch)
    progress(label, done, total)
    sums = np.zeros((3, len(sets)))
    own: list[np.ndarray] = []
    whole: list[np.ndarray] = []
    for rows, part in image_batches(of_class.images, size, byte_budget, _BATCH):
        before = run(part, of_class.codes[rows], [chosen[:0]])
        whole.append(before[:, 0])
        for start in range(0, len(sets), room):
            block = sets[start : start + room]
            change = run(part, of_class.codes[rows], block) - before  # (3, k, n)
            sums[:, start : start + len(block)] += change.sum(axis=2)
            if start == 0:
                own.append(change[:, 0])
            done += len(block)
            progress(label, done, total)
    changes = np.concatenate(own, axis=1)
    mean_loss, mean_logit, accuracy = np.concatenate(whole, axis=1).mean(axis=1)
    if not np.isfinite(mean_loss):
        hint = "Look for NaN in the model's weights."
        raise DataError("the model's loss", "a finite number", mean_loss, hint)
    means = sums / len(of_class)
    losses, falls = bits(means[0]), -means[1]
    loss, logit = (
        _ends(bits(changes[0])),
        _ends(-changes[1]),
    )
    return NodeAblation(
        layer=info.name,
        index=info.index,
        class_name=name,
        nodes=chosen,
        size=tuple(info.size),
        to=to,
        loss=float(bits(mean_loss)),
        loss_increase=float(losses[0]),
        loss_low=loss[0],
        loss_high=loss[1],
        loss_null=losses[1:],
        loss_p=_tail(losses),
        logit=float(mean_logit),
        logit_fall=float(falls[0]),
        logit_low=logit[0],
        logit_high=logit[1],
        logit_null=falls[1:],
        logit_p=_tail(falls),
        accuracy=float(accuracy),
        accuracy_drop=float(-means[2, 0]),
        samples=len(of_class),
        split=split,
    )


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a mean of values (n,)."""
    half = _Z * values.std() / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _tail(values: np.ndarray) -> float:
    """Return the share of all values that are at least as large as the first."""
    return float(np.mean(values >= values[0] - 1e-9))


def _checked_nodes(layer: LayerInfo, nodes: ArrayLike) -> np.ndarray:
    """Return nodes (q, 1 + axes) int, each once; raise if they cannot be silenced."""
    if not layer.size:
        form = "a layer with nodes, such as a convolution"
        hint = "mi.ablate silences whole units."
        raise ModelError(f"nodes of '{layer.name}'", form, "one value a unit", hint)
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
    limits = np.array([layer.maps, *layer.size])
    fits = values.ndim == 2 and values.shape[1] == columns and values.dtype.kind in "iu"
    outside = (
        ((values < 0) | (values >= limits)).any(axis=1) if fits else np.ones(len(values), bool)
    )
    if outside.any():
        raise SettingsError(f"nodes of '{layer.name}'", form, values[outside][0].tolist())
    values = np.unique(values.astype(np.int64), axis=0)
    every = int(np.prod(layer.size))
    if (np.unique(values[:, 0], return_counts=True)[1] == every).all():
        form, hint = f"fewer than all {every} of each map", "mi.ablate silences whole maps."
        raise SettingsError(f"nodes of '{layer.name}'", form, "all: random ones are the same", hint)
    return values


def _random_nodes(layer: LayerInfo, nodes: np.ndarray, draws: int, seed: int) -> list[np.ndarray]:
    """Return the nodes (q, 1 + axes), and `draws` sets of as many random nodes of each map."""
    every = int(np.prod(layer.size))
    numbers, counts = np.unique(nodes[:, 0], return_counts=True)
    sets = [nodes]
    for draw in range(draws):
        random = generator(seed, "random nodes", layer.index, draw)
        flat = np.concatenate([random.permutation(every)[:count] for count in counts])
        at = np.stack(np.unravel_index(flat, layer.size), axis=1)
        sets.append(np.column_stack([np.repeat(numbers, counts), at]))
    return sets


class _NetworkWithoutNodes:
    """A network that runs with one set of nodes after another silenced.

    Args:
        fill: (*size, maps): the values that silenced nodes take.
    """

    def __init__(self, network: Network, layer: LayerInfo, fill: np.ndarray):
        import tensorflow as tf

        from oip.network.forward import compiled_for_images, layer_graph

        head = one_class_layer(network)
        self._shape = (*layer.size, layer.maps)
        new = tf.constant(fill, tf.float32)

        def outcomes(
            images: Tensor, values: Tensor, codes: Tensor, masks: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            """Return losses, logits and hits (k, n) of masks (k, *size, maps)."""
            count = tf.shape(masks)[0]

            def changed(own: Tensor) -> Tensor:
                return tf.reshape(tf.where(masks[:, None], new, values[None]), tf.shape(own))

            logits, _ = run_changed(network, layer, images, count, changed, head.response)
            if head.maps == 1:
                logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
            true = tf.tile(codes, count[None])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
            own = tf.gather(logits, true, batch_dims=1)
            rest = tf.reduce_sum(logits, -1) - own
            hits = tf.argmax(logits, axis=-1, output_type=tf.int64) == true
            outcomes = losses, own - rest / float(max(2, head.maps) - 1), tf.cast(hits, tf.float32)
            return tuple(tf.reshape(part, [count, -1]) for part in outcomes)  # pyright: ignore

        self._graph = layer_graph(network, layer.response)
        self._outcomes = compiled_for_images(
            network,
            outcomes,
            tf.TensorSpec((None, *self._shape), tf.float32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None, *self._shape), tf.bool),
        )

    def __call__(
        self, images: np.ndarray, codes: np.ndarray, sets: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Return losses in nats, logits and hits, (3, k, n), without k sets of nodes.

        Args:
            images: (n, h, w, bands) float32.
            codes: (n,) units of the output.
            sets: arrays (q, 1 + axes).
        """
        import tensorflow as tf

        masks = np.zeros((len(sets), *self._shape), bool)
        for mask, nodes in zip(masks, sets, strict=True):
            mask[(*nodes[:, 1:].T, nodes[:, 0])] = True
        batch = tf.constant(images)
        values = self._graph(batch)[0].response
        parts = self._outcomes(batch, values, tf.constant(codes, tf.int64), tf.constant(masks))
        return np.stack([part.numpy() for part in parts]).astype(np.float64)
