"""What a trained network loses when one of its maps is silenced."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import html
from oip.core.checks import check_choice, check_whole
from oip.core.errors import DataError, expected
from oip.core.progress import Progress, automatic
from oip.core.units import bits
from oip.mi.layer_sample import LayerSample, output_subset

if TYPE_CHECKING:
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

SCHEMA = 1
_BYTE_BUDGET = 256 << 20
_BATCH = 256
_ROWS = 20
_Z = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True, eq=False)
class Ablation:
    """The loss without each map of a layer; information in bits.

    `loss` and `accuracy` are those of the whole network. Maps whose loss is not finite are NaN.
    """

    layer: str
    index: int
    maps: np.ndarray
    """(m,) int: map numbers; the rows of all arrays."""
    to: str
    """What a silenced map is set to."""
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

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def order(self) -> np.ndarray:
        """(m,) int: map numbers, the one that is missed most first; NaN last."""
        return self.maps[np.argsort(-self.loss_increase, kind="stable")]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a layer's `ablation.json` holds them; without maps that are NaN."""
        rows = zip(
            self.maps, self.loss_increase, self.low, self.high, self.accuracy_drop, strict=True
        )
        return {
            "schema": SCHEMA,
            "samples": self.samples,
            "split": self.split,
            "silenced_to": self.to,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "maps": [
                {
                    "map": int(number),
                    "loss_increase": float(value),
                    "low": float(low),
                    "high": float(high),
                    "accuracy_drop": float(drop),
                }
                for number, value, low, high, drop in rows
                if np.isfinite(value)
            ],
        }

    def _repr_html_(self) -> str:
        places = np.argsort(-self.loss_increase, kind="stable")[:_ROWS]
        rows = [
            (
                int(self.maps[place]),
                float(self.loss_increase[place]),
                f"{self.low[place]:.4f} to {self.high[place]:.4f}",
                f"{self.accuracy_drop[place]:.2%}",
            )
            for place in places
        ]
        where = f", {self.split}" if self.split else ""
        told = (
            f"silenced to {self.to}; {self.samples} images{where}; "
            f"the whole network: loss {self.loss:.4f} bits, accuracy {self.accuracy:.2%}"
        )
        return html.block(
            f"{self.layer}: what the network loses without each of {len(self)} maps",
            html.paragraph(told),
            html.table(
                ("map", "loss gains, bits", "95 %", "accuracy falls"), rows, len(self) - len(rows)
            ),
        )


def ablate(
    model_or_path: Any,
    images: np.ndarray,
    labels: Any,
    layer: str | LayerInfo,
    *,
    maps: str | Iterable[int] | int | None = None,
    to: Literal["zero", "mean"] = "zero",
    samples: int = 2000,
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = _BYTE_BUDGET,
) -> Ablation:
    """What the loss of a network gains when one map of a layer is silenced, for each of its maps.

    The loss is the cross-entropy of the network's classes. The layers before the map run once for
    every batch of images; those after it run for many silenced maps at once. The model is not
    changed.

    Args:
        model_or_path: a Keras model, the path of one, or an `oip.Network`.
        images: (n, h, w, bands), as the model is fed with them.
        labels: (n,) whole numbers, the places of the classes in the model's output, or one-hot.
        layer: name as `oip layers` prints it, `@index`, or a `LayerInfo`.
        maps: map numbers; all if None.
        to: `zero`, as if the map had been cut out; `mean`, its mean over images and nodes: what it
            tells is lost, the level that the next layer was trained with stays.
        samples: most images that are used, in the shares of their classes.
        seed: of the subsample.
        split: what the images are, such as "mnist:test"; shown with the result.
        progress: is told how many maps are done.
        byte_budget: for the activations that are in memory at a time.

    Returns:
        The ablation; intervals are of the mean over images (paired, normal).

    Raises:
        ModelError: an unknown layer, or a model that does not end in classes.
        SettingsError: an unknown map, or another `to`.
        DataError: images or labels that cannot be used, or a loss that is not finite.

    Units:
        Bits; accuracies are shares.

    Example:
        >>> mi.ablate("model.keras", images, labels, "Conv2D_3").order[:5]  # doctest: +SKIP
    """
    from oip.network.forward import batch_size, image_batches, spatial_means

    check_choice("to", to, ("zero", "mean"))
    everything = LayerSample.of(model_or_path, images, layer, maps=maps, seed=seed)
    network, info, numbers = everything.network, everything.layer, everything.maps
    sample = everything.take(
        output_subset(network, labels, len(everything), check_whole("samples", samples), seed)
    )
    pixels, codes = sample.images, sample.codes

    fill = np.zeros(info.maps)
    if to == "mean":
        for part in spatial_means(network, pixels, info):
            fill += part.sum(axis=0, dtype=np.float64) / len(pixels)
    whole, right = np.empty(len(pixels)), np.empty(len(pixels), bool)
    sums = np.zeros((3, len(numbers)))
    outcomes = _outcomes(network, info)
    size = network.activation_bytes()
    batch = batch_size(size, byte_budget, _BATCH)
    room = max(1, byte_budget // (size * min(batch, len(pixels))))
    total_work = len(numbers) * -(-len(pixels) // batch)
    label, done = f"{info.name}: ablation", 0
    progress(label, 0, total_work)
    for rows, part in image_batches(pixels, size, byte_budget, _BATCH):
        run = outcomes(part, codes[rows], fill.astype(np.float32))
        whole[rows], right[rows] = (found[0] for found in run(np.array([-1])))
        for start in range(0, len(numbers), room):
            block = slice(start, start + room)
            losses, hits = run(numbers[block])
            gained = losses - whole[rows]
            sums[0, block] += gained.sum(axis=1)
            sums[1, block] += (gained**2).sum(axis=1)
            sums[2, block] += (right[rows].astype(int) - hits).sum(axis=1)
            done += len(losses)
            progress(label, done, total_work)
    if not np.isfinite(whole).all():
        hint = "Look for NaN in the model's weights."
        raise DataError(expected("the model's loss", "a finite number", whole.mean(), hint))
    mean = sums[0] / len(pixels)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.maximum(sums[1] / len(pixels) - mean**2, 0.0) / len(pixels))
    return Ablation(
        layer=info.name,
        index=info.index,
        maps=numbers,
        to=to,
        loss=float(bits(whole.mean())),
        accuracy=float(right.mean()),
        loss_increase=bits(mean),
        low=bits(mean - _Z * spread),
        high=bits(mean + _Z * spread),
        accuracy_drop=sums[2] / len(pixels),
        samples=len(pixels),
        split=split,
    )


def _outcomes(network: Network, layer: LayerInfo) -> Callable[..., Any]:
    """`outcomes(part, codes, fill)` -> `run(maps)` -> losses in nats and hits, (maps, n) each.

    A map number of -1 silences nothing.
    """
    import tensorflow as tf

    from oip.network import layer_types
    from oip.network.forward import compiled_for_images, run_to
    from oip.network.tracing import shadowed

    head = network.class_layer()
    one_output = head.maps == 1
    if not one_output and layer_types.activation_name(head.response.layer) == "sigmoid":
        raise DataError(
            expected(
                "the model's output",
                "one class an image (softmax, logits, or a single sigmoid)",
                f"{head.maps} sigmoids",
                "The loss of several labels an image is not one cross-entropy.",
            )
        )
    axes = len(layer.size)

    def response(part: Any) -> Any:
        return run_to(network.model, network.feed(part), layer.response)[1]

    def after(part: Any, known: Any, codes: Any, maps: Any, fill: Any) -> tuple[Any, Any]:
        count = tf.shape(maps)[0]
        mask = tf.reshape(tf.one_hot(maps, layer.maps), [-1, 1, *[1] * axes, layer.maps]) > 0
        silenced = tf.where(mask, fill, known[None])
        silenced = tf.reshape(silenced, [-1, *layer.size, layer.maps])
        # What the model makes of the images before the map is no part of the result: TensorFlow
        # leaves it out, save where it leads past the map.
        times: Any = [count, *[1] * (len(part.shape) - 1)]
        images = tf.tile(part, times)
        with shadowed([layer.response.layer], _replaced(layer, silenced)):
            logits, _ = run_to(network.model, network.feed(images), head.response)
        if one_output:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        true = tf.tile(codes, times[:1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
        hits = tf.argmax(logits, axis=-1, output_type=tf.int64) == true
        return tf.reshape(losses, [count, -1]), tf.reshape(hits, [count, -1])

    before = compiled_for_images(network, response)
    rest = compiled_for_images(
        network,
        after,
        tf.TensorSpec((None, *layer.size, layer.maps), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((layer.maps,), tf.float32),
    )

    def outcomes(part: np.ndarray, codes: np.ndarray, fill: np.ndarray) -> Callable[..., Any]:
        fed, true = tf.constant(part), tf.constant(codes, tf.int64)
        known = before(fed)

        def run(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            losses, hits = rest(fed, known, true, tf.constant(maps, tf.int32), tf.constant(fill))
            return losses.numpy().astype(np.float64), hits.numpy()

        return run

    return outcomes


def _replaced(layer: LayerInfo, values: Any) -> Callable[..., Any]:
    """Shadow of a layer that gives `values` (channels last) in place of the layer's response."""
    import tensorflow as tf

    uses = {"seen": 0}

    def wrap(_: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def given(*args: Any, **kwargs: Any) -> Any:
            own = call(*args, **kwargs)
            here = uses["seen"] == layer.response.use
            uses["seen"] += 1
            if not here:
                return own
            known = values
            if layer.channels_first:
                rank = len(values.shape)
                known = tf.transpose(values, [0, rank - 1, *range(1, rank - 1)])
            return tf.cast(known, own.dtype)

        return given

    return wrap
