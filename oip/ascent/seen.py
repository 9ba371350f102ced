"""Images held to the pixels that are seen: mean 0, deviation 1 and lengths over these alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_TINY = 1e-12


@dataclass(frozen=True)
class Seen:
    """The pixels that count for each image of a batch, in the graph being traced."""

    mask: Any
    """(h, w, b) for all images alike, or (n, h, w, b): 1 where pixels are seen, else 0."""
    count: Any
    """Scalar or (n,): values that are seen."""

    def restored(self, images: Any) -> Any:
        """Mean 0 and deviation 1 over the pixels that are seen, 0 elsewhere."""
        import tensorflow as tf

        axes = _axes(images)
        mean = tf.reduce_sum(images * self.mask, axes) / self.count
        centred = (images - each(mean, images)) * self.mask
        spread = tf.sqrt(tf.reduce_sum(tf.square(centred), axes) / self.count)
        return centred / each(tf.maximum(spread, _TINY), images)

    def unit(self, direction: Any) -> Any:
        """RMS 1 over the pixels that are seen; zero stays zero."""
        import tensorflow as tf

        square = tf.reduce_sum(tf.square(direction) * self.mask, _axes(direction))
        size = tf.sqrt(square / self.count)
        return direction / each(tf.where(size > 0, size, 1.0), direction)

    def share(self, shape: tuple[int, ...]) -> Any:
        """Scalar or (n,): root of the part of an image (h, w, b) that is seen."""
        import tensorflow as tf

        return tf.sqrt(self.count / float(np.prod(shape)))


class Fields:
    """The pixels that each item of a readout sees."""

    def __init__(self, visible: np.ndarray, shape: tuple[int, ...]):
        """Keeps each different field once.

        Args:
            visible: bool, of the image's sides for all items alike, or (items, *sides).
            shape: of an image, bands last.
        """
        sides = shape[:-1]
        masks, self._of = np.unique(
            visible.reshape(-1, int(np.prod(sides))), axis=0, return_inverse=True
        )
        bands = np.ones(shape[-1], np.float32)
        self._masks = masks.reshape(-1, *sides)[..., None] * bands
        self._counts = np.maximum(1.0, self._masks.sum(axis=tuple(range(1, len(shape) + 1))))

    def of(self, items: Any) -> Seen:
        """Of the images of a batch.

        Args:
            items: (n,) int32: the item that each image is for.
        """
        import tensorflow as tf

        if len(self._masks) == 1:
            return Seen(tf.constant(self._masks[0]), tf.constant(self._counts[0], tf.float32))
        rows = tf.gather(tf.constant(self._of.reshape(-1), tf.int32), items)
        counts = tf.constant(self._counts, tf.float32)
        return Seen(tf.gather(tf.constant(self._masks), rows), tf.gather(counts, rows))


def each(values: Any, images: Any) -> Any:
    """(n,) values in a shape that goes with images (n, h, w, b)."""
    import tensorflow as tf

    return tf.reshape(values, [-1, *[1] * (len(images.shape) - 1)])


def _axes(images: Any) -> list[int]:
    return list(range(1, len(images.shape)))
