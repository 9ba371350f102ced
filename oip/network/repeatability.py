"""Whether a model gives an image the same answer each time, and as Keras runs it; and where not.

Layers may stay random at inference: dropout that is called with `training=True`, sampling, noise of
a user's own layer. Whatever comes after them depends on chance, unless they are of a kind that does
nothing at inference. A layer may also let an image depend on the others of its batch, as batch
normalization in training does. Models of Keras' own layers without random operations are not asked.
Every model is asked once whether its recorded layers end in what Keras returns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from oip.core.errors import ModelError
from oip.core.frameworks import Tensor, keras, tf
from oip.network import layer_types
from oip.network.tracing import (
    Call,
    Recording,
    call_model,
    leaf_layers,
    shadowed,
    without_noise,
)

_TOLERANCE = 1e-4
_OF_OUTPUTS = 1e-2
"""Share of the largest output; operations are fused in a graph, and some models are float16."""
_OF_BFLOAT16 = 5e-2
"""The same of values with 8 bits, whichever are compared."""
_CHANCE = "chance"
_BATCH = "the other images of a batch"
_DOUBTFUL = ("Random", "Multinomial", "PyFunc", "NumpyFunction")


class Repeatability(NamedTuple):
    """The calls of a model whose answer to an image is not always the same."""

    noise: list[Call]
    """Calls of dropout and its like, which are random and taken to do nothing."""
    random: dict[int, str]
    """Number of a call -> on what its output depends, and since where, in words."""


def repeatability(
    model: keras.Model, draw: Callable[[], Sequence[Tensor]], recording: Recording
) -> Repeatability:
    """Run a model more than once, if it has parts that could be random, and compare its outputs.

    Args:
        draw: returns random images, a tensor for each of the model's inputs.

    Raises:
        ModelError: a layer of the user's that is a kind of dropout, but changes its input.
    """
    own_calls = [call for call in recording.calls if not layer_types.is_keras_own(call.layer)]
    doubtful = any(name in kind for kind in recording.operations for name in _DOUBTFUL)
    classes = [model, *model._flatten_layers(include_self=False)]
    if not doubtful and all(map(layer_types.is_keras_own, classes)):
        return Repeatability([], {})
    images = draw()
    plain, changing = _answers(model, images, quiet=False)
    dropouts = [call for call in own_calls if layer_types.is_dropout(call.layer)]
    noise = [
        call
        for call in recording.calls
        if layer_types.is_dropout(call.layer) and call.index in _origins(recording.calls, changing)
    ]
    if not noise and not dropouts:
        return Repeatability([], _random(recording.calls, changing))
    quiet, repeated = _answers(model, images, quiet=True)
    for call in dropouts:
        output, quiet_output = plain[call.index], quiet[call.index]
        if call.index not in changing and _differ(output, quiet_output):
            raise ModelError(
                f"layer '{call.path}', a kind of dropout",
                "one that leaves its input as it is at inference",
                "one that changes it",
            )
    return Repeatability(noise, _random(recording.calls, repeated))


def check_outputs(
    model: keras.Model, images: Sequence[Tensor], recording: Recording, random: bool
) -> None:
    """Compare the outputs of the recorded layers with those of the model as Keras runs it.

    Models that change variables, such as states, are left alone.

    Args:
        images: one image, as a tensor for each of the model's inputs.
        random: the answers differ each time, or by the way of computing, and are not compared.

    Raises:
        ModelError: they differ; what is computed of the layers would not be of this model.
    """
    if random or recording.run is None or any("Assign" in kind for kind in recording.operations):
        return
    outputs = _own_outputs(model, images)
    for recorded, output in zip(recording.run(*images), outputs, strict=True):
        pair = recorded.numpy(), output.numpy()
        if all(map(_is_finite, pair)) and _differ(*pair, _OF_OUTPUTS):
            raise ModelError(
                f"the outputs of '{model.name}'",
                "the same from its recorded layers and from the model",
                "others; some layer runs in another way than through its `call`",
            )


def _own_outputs(model: keras.Model, images: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of a model as Keras runs it, at once where that is possible."""

    def run(*inputs: Tensor) -> list[Tensor]:
        return keras.tree.flatten(call_model(model, inputs))

    try:
        return run(*images)
    except Exception as error:  # channels first have kernels for some processors in a graph only
        try:
            return tf.function(run, autograph=False)(*images)
        except Exception:
            raise error from None  # it says more than that of a graph


def _answers(
    model: keras.Model, images: Sequence[Tensor], quiet: bool
) -> tuple[list[np.ndarray], dict[int, str]]:
    """Return the outputs of every call, and on what those depend that change, by their numbers.

    The model runs twice in one graph, and in another one for chance that is drawn when a graph is
    made; there also with other images behind the first one.
    """
    changed = [tf.concat([image[:1], tf.zeros_like(image[1:])], 0) for image in images]
    runs: list[list[np.ndarray]] = []
    for batches in ((images, images), (images, changed)):
        graph = tf.function(_outputs(model, quiet), autograph=False)
        concrete = graph.get_concrete_function(
            *(tf.TensorSpec(image.shape, image.dtype) for image in images)
        )
        runs += [[output.numpy() for output in concrete(*batch)] for batch in batches]
    count = int(images[0].shape[0] or 1)
    changing: dict[int, str] = {}
    for call_index, (first, *middle_answers, last) in enumerate(zip(*runs, strict=True)):
        rows = len(first) // count if first.ndim and last.shape == first.shape else 0
        if any(_differ(first, middle) for middle in middle_answers):
            changing[call_index] = _CHANCE
        elif _differ(first[:rows], last[:rows]) if rows else False:
            changing[call_index] = _BATCH
    return runs[0], changing


def _outputs(model: keras.Model, quiet: bool) -> Callable[..., list[Tensor]]:
    """Return a function of the model's inputs that gives the first output of every call."""

    def run(*inputs: Tensor) -> list[Tensor]:
        graph = tf.compat.v1.get_default_graph()
        outputs: list[Tensor] = []

        def watch(_layer: keras.Layer, call: Callable) -> Callable:
            def watched(*args: object, **kwargs: object) -> object:
                result = call(*args, **kwargs)
                if tf.compat.v1.get_default_graph() is graph:
                    tensors = [
                        tensor for tensor in tf.nest.flatten(result) if hasattr(tensor, "op")
                    ]
                    outputs.append(tf.identity(tensors[0]) if tensors else tf.zeros(()))
                return result

            return watched

        leaves = [layer for _, layer in leaf_layers(model)]
        with without_noise(model) if quiet else nullcontext(), shadowed(leaves, watch):
            call_model(model, inputs)
        return outputs

    return run


def _differ(first: np.ndarray, second: np.ndarray, tolerance: float = _TOLERANCE) -> bool:
    if first.shape != second.shape:
        return True
    if first.dtype == tf.bfloat16.as_numpy_dtype:  # which is no float to NumPy
        tolerance = max(tolerance, _OF_BFLOAT16)
    elif first.dtype.kind not in "fiub":
        return not np.array_equal(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    largest = np.abs(first[np.isfinite(first)]).max(initial=0.0)
    return not np.allclose(first, second, tolerance, tolerance * largest, equal_nan=True)


def _is_finite(values: np.ndarray) -> bool:
    """Return whether outputs are finite: only then does each way of running give the same.

    Fused layers of some processors turn NaN into 0.
    """
    return values.dtype.kind in "OSU" or bool(np.isfinite(values).all())


def _origins(calls: Sequence[Call], changing: Collection[int]) -> set[int]:
    """Return the numbers of the calls whose output changes although nothing they receive does."""
    return {n for n in changing if not any(source in changing for source in calls[n].sources)}


def _random(calls: Sequence[Call], changing: Mapping[int, str]) -> dict[int, str]:
    """Return all calls that depend on one that changes: it may not show for some images."""
    reasons: dict[int, str] = {}
    for call in calls:
        reason = next((reasons[source] for source in call.sources if source in reasons), None)
        if reason is not None:
            reasons[call.index] = reason
        elif call.index in changing:
            reasons[call.index] = f"{changing[call.index]} since {call.described}"
    return reasons
