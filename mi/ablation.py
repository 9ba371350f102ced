"""Ablations: the loss that a trained network gains when one map of a layer is silenced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from oip.core.checks import check_choice, check_whole
from oip.core.errors import DataError, ModelError
from oip.core.layer_formats import AblationFile, MapAblation
from oip.core.progress import Progress, automatic
from oip.core.units import bits, three_best
from oip.mi.layer_sample import BYTE_BUDGET, LayerResult, LayerSample, output_subset

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.core.files import Json
    from oip.mi.layer_sample import ModelLike
    from oip.network.forward import LayerActivations
    from oip.network.layers import LayerInfo, LayerOutput
    from oip.network.network import Network

_BATCH = 256
_Z = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


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
    from oip.network.forward import batch_size, image_batches, spatial_means

    check_choice("to", to, ("zero", "mean"))
    samples = check_whole("samples", samples)
    sample = LayerSample.of(model_or_path, images, layer, maps=maps, seed=seed)
    network, info, numbers = sample.network, sample.layer, sample.maps
    sample = sample.take(output_subset(network, labels, len(sample), samples, seed))
    pixels, codes, count = sample.images, sample.codes, len(sample)

    fill = np.zeros(info.maps)
    if to == "mean":
        for means in spatial_means(network, pixels, info):
            fill += means.sum(axis=0, dtype=np.float64) / count
    whole, right = np.empty(count), np.empty(count, bool)
    increases, squares, drops = np.zeros((3, len(numbers)))
    silenced = _SilencedNetwork(network, info)
    size = network.activation_bytes()
    batch = batch_size(size, byte_budget, _BATCH)
    room = max(1, byte_budget // (size * min(batch, count)))
    label, done, total = f"{info.name}: ablation", 0, len(numbers) * -(-count // batch)
    progress(label, done, total)
    for rows, part in image_batches(pixels, size, byte_budget, _BATCH):
        run = silenced.on(part, codes[rows], fill)
        whole[rows], right[rows] = (values[0] for values in run(np.array([-1])))
        for start in range(0, len(numbers), room):
            block = slice(start, start + room)
            losses, hits = run(numbers[block])
            gained = losses - whole[rows]
            increases[block] += gained.sum(axis=1)
            squares[block] += (gained**2).sum(axis=1)
            drops[block] += (right[rows].astype(int) - hits).sum(axis=1)
            done += len(losses)
            progress(label, done, total)
    if not np.isfinite(whole).all():
        hint = "Look for NaN in the model's weights."
        raise DataError("the model's loss", "a finite number", whole.mean(), hint)
    mean = increases / count
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.maximum(squares / count - mean**2, 0.0) / count)
    return Ablation(
        layer=info.name,
        index=info.index,
        noun=info.noun,
        maps=numbers,
        to=to,
        loss=float(bits(whole.mean())),
        accuracy=float(right.mean()),
        loss_increase=bits(mean),
        low=bits(mean - _Z * spread),
        high=bits(mean + _Z * spread),
        accuracy_drop=drops / count,
        samples=count,
        split=split,
    )


class _Outcomes(NamedTuple):
    """Losses and hits of images for some silenced maps."""

    losses: np.ndarray
    """(maps, n) nats."""
    hits: np.ndarray
    """(maps, n) bool: the class is predicted correctly."""


def one_class_layer(network: Network) -> LayerInfo:
    """Return the layer that gives one class an image, whose loss is a cross-entropy.

    Raises:
        ModelError: the network does not end in classes.
        DataError: it gives several an image.
    """
    from oip.network import layer_types

    head = network.class_layer()
    if head.maps > 1 and layer_types.activation_name(head.response.layer) == "sigmoid":
        text = "one class an image (softmax, logits, or a single sigmoid)"
        hint = "The loss of several labels an image is not one cross-entropy."
        raise DataError("the model's output", text, f"{head.maps} sigmoids", hint)
    return head


class _SilencedNetwork:
    """A network that runs with one map of a layer after another silenced.

    A ModelError says that it does not end in classes, a DataError that it gives several an image.
    """

    def __init__(self, network: Network, layer: LayerInfo):
        import tensorflow as tf

        from oip.network.forward import compiled_for_images, layer_graph

        head = one_class_layer(network)
        single = head.maps == 1

        def outcomes(
            images: Tensor, values: Tensor, codes: Tensor, maps: Tensor, fill: Tensor
        ) -> tuple[Tensor, Tensor]:
            """Return losses and hits (maps, n).

            Args: images (n, h, w, bands), responses (n, *size, maps), codes (n,), numbers (k,) of
            the maps to silence, their new values (maps,).
            """
            count = tf.shape(maps)[0]
            logits, _ = run_silenced(network, layer, images, values, maps, fill, head.response)
            if single:
                logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
            true = tf.tile(codes, count[None])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
            hits = tf.argmax(logits, axis=-1, output_type=tf.int64) == true
            return tf.reshape(losses, [count, -1]), tf.reshape(hits, [count, -1])

        self._graph = layer_graph(network, layer.response)
        self._outcomes = compiled_for_images(
            network,
            outcomes,
            tf.TensorSpec((None, *layer.size, layer.maps), tf.float32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((layer.maps,), tf.float32),
        )

    def on(
        self, images: np.ndarray, codes: np.ndarray, fill: np.ndarray
    ) -> Callable[[np.ndarray], _Outcomes]:
        """Return `run(maps)`: the outcomes with each of these maps silenced; -1 silences nothing.

        For images (n, h, w, bands) float32 with their output units (n,); a silenced map takes its
        value in `fill` (maps,).
        """
        import tensorflow as tf

        batch, true = tf.constant(images), tf.constant(codes, tf.int64)
        values, new = self._graph(batch)[0].response, tf.constant(fill, tf.float32)

        def run(maps: np.ndarray) -> _Outcomes:
            losses, hits = self._outcomes(batch, values, true, tf.constant(maps, tf.int32), new)
            return _Outcomes(losses.numpy().astype(np.float64), hits.numpy())

        return run


def run_silenced(
    network: Network,
    layer: LayerInfo,
    images: Tensor,
    values: Tensor,
    maps: Tensor,
    fill: Tensor,
    output: LayerOutput,
) -> LayerActivations:
    """Run a network to a later layer with one map of a layer after another silenced, in a graph.

    Args:
        images: (n, h, w, bands).
        values: (n, *size, maps) float32: the layer's responses to them.
        maps: (k,) int32: the maps to silence; -1 silences none.
        fill: (maps,) float32: the values that they take.
        output: of the later layer.

    Returns:
        Pre-activation and response of the later layer, (k * n, *nodes, maps).
    """
    import tensorflow as tf

    axes, count = len(layer.size), tf.shape(maps)[0]

    def changed(own: Tensor) -> Tensor:
        """Return the layer's own output (k * n, *nodes, maps) with one map of it changed."""
        if layer.response.projection is None:
            mask = tf.reshape(tf.one_hot(maps, layer.maps), [-1, 1, *[1] * axes, layer.maps]) > 0
            return tf.reshape(tf.where(mask, fill, values[None]), tf.shape(own))
        # The part of the output along the direction, and no other, takes the new value.
        rows = tf.constant(layer.response.projection.weights)
        number = tf.maximum(maps, 0)
        weights = tf.reshape(tf.gather(rows, number), [count, 1, *[1] * axes, rows.shape[1]])
        level = tf.reshape(tf.gather(fill, number), [count, 1, *[1] * axes, 1])
        parts = tf.reshape(own, [count, -1, *layer.size, rows.shape[1]])
        along = tf.reduce_sum(parts * weights, axis=-1, keepdims=True)
        is_any = tf.reshape(maps >= 0, [count, 1, *[1] * axes, 1])
        return tf.reshape(tf.where(is_any, parts - (along - level) * weights, parts), tf.shape(own))

    return run_changed(network, layer, images, count, changed, output)


def run_changed(
    network: Network,
    layer: LayerInfo,
    images: Tensor,
    count: Tensor,
    changed: Callable[[Tensor], Tensor],
    output: LayerOutput,
) -> LayerActivations:
    """Run images (n, h, w, bands) `count` times to a later layer, with a layer's output changed.

    Args:
        changed: of the layer's own output (count * n, *nodes, maps), in that shape.
    """
    import tensorflow as tf

    from oip.network.forward import channels_last, run_to

    axes = len(layer.size)
    if layer.response.form != "activated":
        received = "heads" if layer.response.form == "heads" else "the logits of a softmax"
        expected = "maps, units, channels or directions"
        raise ModelError(f"silencing of '{layer.name}'", expected, received)

    def silence(own: Tensor) -> Tensor:
        result = changed(channels_last(own, layer.response))
        if layer.channels_first:
            result = tf.transpose(result, [0, axes + 1, *range(1, axes + 1)])
        return tf.cast(tf.reshape(result, tf.shape(own)), own.dtype)

    # What the model makes of the images before the map is no part of the result: TensorFlow leaves
    # it out, save where it leads past the map.
    repeated = tf.tile(images, tf.stack([count, *[1] * (len(images.shape) - 1)]))
    with changed_response(layer, silence):
        return run_to(network.model, network.feed(repeated), output)


@contextmanager
def changed_response(layer: LayerInfo, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Trace runs of the model in the block with the layer's response replaced by a change of it.

    The response is that of one use of a Keras layer, in the layout of the model.
    """
    from oip.network.tracing import shadowed

    uses = 0

    def wrap(_layer: object, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def changed(*args: object, **kwargs: object) -> Tensor:
            nonlocal uses
            response = call(*args, **kwargs)
            is_response = uses == layer.response.use
            uses += 1
            return change(response) if is_response else response

        return changed

    with shadowed([layer.response.layer], wrap):
        yield
