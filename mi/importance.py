"""How much maps matter by what has been proposed for pruning: one number a map."""

from __future__ import annotations

from typing import Any

import numpy as np

from mi.subject import At, Subject
from oip.core import seeds
from oip.core.errors import DataError, ModelError, expected


def active(subject: Subject, at: At) -> np.ndarray:
    """(m,): share of responses above 0, one less the average percentage of zeros (APoZ).

    References:
        H. Hu et al.: Network trimming. arXiv:1607.03250 (2016), eq. 1.
    """
    return _over_blocks(subject, at, lambda values: (values > 0).mean(axis=(0, 2)))


def mean_response(subject: Subject, at: At) -> np.ndarray:
    """(m,): mean response over images and nodes."""
    return _over_blocks(subject, at, lambda values: values.mean(axis=(0, 2), dtype=np.float64))


def kernel_size(subject: Subject) -> np.ndarray:
    """(m,): sum of the absolute weights of a map's kernels.

    References:
        H. Li et al.: Pruning filters for efficient ConvNets. ICLR 2017.
    """
    from oip.network.channels import convolution_call, of_network

    layer = convolution_call(subject.network, subject.info).layer
    known = of_network(subject.network)
    known.of_layer(subject.network, subject.info)  # says so where the layer makes no maps
    cut = next(cut for cut in known.cuts[id(layer)] if not cut.reads)
    kernel = np.abs(np.asarray(layer.get_weights()[cut.weight], np.float64))
    axes = tuple(axis for axis in range(kernel.ndim) if axis != cut.axis % kernel.ndim)
    return kernel.sum(axis=axes)[subject.maps]


def random_numbers(subject: Subject, seed: int) -> np.ndarray:
    """(m,): chance."""
    return seeds.generator(seed, "random maps", subject.info.index).random(len(subject.maps))


def taylor(subject: Subject, labels: Any) -> np.ndarray:
    """(m,): |response x gradient of the loss|, summed over nodes, mean over images.

    To first order it is what the loss changes by when the map is silenced for one image.

    Args:
        subject: with labels.
        labels: (n,) of all images that were given; numbers of the model's classes.

    Raises:
        DataError: labels that are no numbers of classes of the model.
        ModelError: the model does not end in classes.

    References:
        P. Molchanov et al.: Pruning convolutional neural networks for resource efficient inference.
        ICLR 2017, eq. 7.
    """
    import tensorflow as tf

    from oip.network.cut import run_to
    from oip.network.graphs import compiled
    from oip.network.heads import classes
    from oip.network.tracing import shadowed

    network, info = subject.network, subject.info
    head = classes(network)
    targets = class_numbers(subject, labels, max(head.units, 2))
    axes = len(info.size)
    place = 1 if info.channels_first else axes + 1

    def gated(part: Any, known: Any) -> Any:
        gate = tf.ones([tf.shape(part)[0], info.maps])
        shape = [-1, *[1] * (axes + 1)]
        shape[place] = info.maps

        def wrap(layer: Any, call: Any) -> Any:
            uses = [0]

            def silenced(*args: Any, **kwargs: Any) -> Any:
                found = call(*args, **kwargs)
                here = uses[0] == info.response.use
                uses[0] += 1
                return found * tf.cast(tf.reshape(gate, shape), found.dtype) if here else found

            return silenced

        with tf.GradientTape() as tape:
            tape.watch(gate)
            with shadowed([info.response.layer], wrap):
                logits, _ = run_to(network.model, network.feed(part), head.place, False)
            if head.units == 1:
                wanted = tf.cast(known, tf.float32)
                loss = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits[:, 0])
            else:
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(known, logits)
        return tape.gradient(loss, gate)

    image = tf.TensorSpec((None, *network.inputs.shape), tf.float32)
    if head.place.layer is info.response.layer:
        raise ModelError(expected(f"layer '{info.name}'", "a layer before the output", "it"))
    graph = compiled(gated, image, tf.TensorSpec((None,), tf.int32))
    batch = int(np.clip((256 << 20) // network.activation_bytes(), 1, 256))
    total = np.zeros(info.maps)
    for start in range(0, len(subject.images), batch):
        part = np.asarray(subject.images[start : start + batch], np.float32)
        known = tf.constant(targets[start : start + batch], tf.int32)
        total += np.abs(graph(tf.constant(part), known).numpy()).sum(axis=0, dtype=np.float64)
    return (total / len(subject.images))[subject.maps]


def class_numbers(subject: Subject, labels: Any, classes: int) -> np.ndarray:
    """(n,) int: the model's class of each image of the sample.

    Raises:
        DataError: labels that are no whole numbers from 0 to the model's classes.
    """
    values = np.asarray(labels)
    if values.ndim == 2 and values.shape[1] > 1:
        values = values.argmax(axis=1)
    values = values.reshape(len(values))
    wanted = f"numbers of the model's classes, 0 to {classes - 1}"
    if values.dtype.kind not in "bui":
        raise DataError(expected("labels", wanted, f"'{values[0]}'"))
    if values.min() < 0 or values.max() >= classes:
        raise DataError(expected("labels", wanted, f"{values.min()} to {values.max()}"))
    return values[subject.places].astype(np.int64)


def _over_blocks(subject: Subject, at: At, measure: Any) -> np.ndarray:
    return np.concatenate([measure(values) for _, values in subject.responses(at)])
