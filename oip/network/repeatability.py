"""Whether a model gives the same answer twice, and as Keras runs it; and where it does not.

Layers may stay random at inference: dropout that is called with `training=True`, sampling, noise of
a user's own layer. Whatever comes after them depends on chance, unless they are of a kind that does
nothing at inference. Models of Keras' own layers without random operations are not asked twice.
Every model is asked once whether its recorded layers end in what Keras returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

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
_DOUBTFUL = ("Random", "Multinomial", "PyFunc", "NumpyFunction")


class Repeatability(NamedTuple):
    """The calls of a model that depend on chance."""

    noise: list[Call]
    """Calls of dropout and its like, which are random and taken to do nothing."""
    random: dict[int, str]
    """Number of a call whose output depends on chance -> name of where chance comes in."""


def repeatability(
    model: keras.Model, draw: Callable[[], Sequence[Tensor]], recording: Recording
) -> Repeatability:
    """Ask a model twice, if it has parts that could be random.

    Args:
        draw: returns random images, a tensor for each of the model's inputs.

    Raises:
        ModelError: a layer of the user's that is a kind of dropout, but changes its input.
    """
    own = [call for call in recording.calls if not layer_types.is_keras_own(call.layer)]
    doubtful = any(name in kind for kind in recording.operations for name in _DOUBTFUL)
    classes = [model, *model._flatten_layers(include_self=False)]
    if not doubtful and all(map(layer_types.is_keras_own, classes)):
        return Repeatability([], {})
    images = draw()
    plain, changing = _answers(model, images, quiet=False)
    dropouts = [call for call in own if layer_types.is_dropout(call.layer)]
    noise = [
        call
        for call in recording.calls
        if layer_types.is_dropout(call.layer) and call.number in _origins(recording.calls, changing)
    ]
    if not noise and not dropouts:
        return Repeatability([], _random(recording.calls, changing))
    quiet, still = _answers(model, images, quiet=True)
    for call in dropouts:
        before, after = plain[call.number], quiet[call.number]
        if call.number not in changing and _differ(before, after):
            raise ModelError(
                f"layer '{call.path}', a kind of dropout",
                "one that leaves its input as it is at inference",
                "one that changes it",
            )
    return Repeatability(noise, _random(recording.calls, still))


def check_outputs(
    model: keras.Model, images: Sequence[Tensor], recording: Recording, random: bool
) -> None:
    """Compare the outputs of the recorded layers with those of the model as Keras runs it.

    Models that change variables, such as states, are left alone.

    Args:
        images: one image, as a tensor for each of the model's inputs.
        random: the answers differ each time, and are not compared.

    Raises:
        ModelError: they differ; what is computed of the layers would not be of this model.
    """
    if random or recording.run is None or any("Assign" in kind for kind in recording.operations):
        return
    outputs = _own_outputs(model, images)
    for kept, own in zip(recording.run(*images), outputs, strict=True):
        if _differ(kept.numpy(), own.numpy(), _OF_OUTPUTS):
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
) -> tuple[list[np.ndarray], set[int]]:
    """Return the outputs of every call, and the numbers of those that change.

    The model runs twice in one graph and once in another one, for chance that is drawn when a
    graph is made.
    """
    runs: list[list[np.ndarray]] = []
    for repeats in (2, 1):
        graph = tf.function(_outputs(model, quiet), autograph=False)
        concrete = graph.get_concrete_function(
            *(tf.TensorSpec(image.shape, image.dtype) for image in images)
        )
        runs += [[part.numpy() for part in concrete(*images)] for _ in range(repeats)]
    first, *rest = runs
    changing = {
        number for run in rest for number, part in enumerate(run) if _differ(first[number], part)
    }
    return first, changing


def _outputs(model: keras.Model, quiet: bool) -> Callable[..., list[Tensor]]:
    """Return a function of the model's inputs that gives the first output of every call."""

    def run(*inputs: Tensor) -> list[Tensor]:
        graph = tf.compat.v1.get_default_graph()
        outputs: list[Tensor] = []

        def watch(_layer: keras.Layer, call: Callable) -> Callable:
            def kept(*args: Any, **kwargs: Any) -> Any:
                result = call(*args, **kwargs)
                if tf.compat.v1.get_default_graph() is graph:
                    parts = [part for part in tf.nest.flatten(result) if hasattr(part, "op")]
                    outputs.append(tf.identity(parts[0]) if parts else tf.zeros(()))
                return result

            return kept

        leaves = [layer for _, layer in leaf_layers(model)]
        with without_noise(model) if quiet else nullcontext(), shadowed(leaves, watch):
            call_model(model, inputs)
        return outputs

    return run


def _differ(first: np.ndarray, second: np.ndarray, tolerance: float = _TOLERANCE) -> bool:
    if first.shape != second.shape:
        return True
    if first.dtype.kind not in "fiub":
        return not np.array_equal(first, second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    largest = np.abs(first[np.isfinite(first)]).max(initial=0.0)
    return not np.allclose(first, second, tolerance, tolerance * largest, equal_nan=True)


def _origins(calls: Sequence[Call], changing: set[int]) -> set[int]:
    """Numbers of the calls that change though nothing they receive does."""
    return {number for number in changing if changing.isdisjoint(calls[number].sources)}


def _random(calls: Sequence[Call], changing: set[int]) -> dict[int, str]:
    origins = _origins(calls, changing)
    names: dict[int, str] = {}
    for number in sorted(changing):
        call = calls[number]
        before = next((names[source] for source in call.sources if source in names), None)
        names[number] = call.described if number in origins or before is None else before
    return names
