"""Which of a model's inputs the images go into, and in which shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oip.core.errors import ModelError, expected
from oip.network.loading import reason_of

_FREE_SIDE = 128


@dataclass(frozen=True)
class ImageInput:
    """The inputs of a model, one of which takes the images."""

    specs: list[Any]
    """A `tf.TensorSpec` for each input, for one image."""
    place: int
    """Which of them takes the images."""
    free: bool
    """That input takes images of any size."""
    names: tuple[str, ...]
    """Of all inputs, as `Network(..., input=NAME)` takes them; empty where they have none."""


def image_input(
    model: Any, wanted: tuple[int, ...] | None, channels_first: bool, name: str | None = None
) -> ImageInput:
    """Finds the input of a model that takes images.

    Args:
        model: the Keras model. One that was never called is called, as Keras builds it.
        wanted: (h, w, b) or (h, w); None for the model's own.
        channels_first: the model's layout.
        name: of the input, or `@1` for the second one; None for the first that takes images.

    Raises:
        ModelError: there is no such input, or it does not take this shape.
    """
    import tensorflow as tf

    declared = getattr(model, "inputs", None)
    if not declared:
        if name is not None:
            raise ModelError(expected("input", "a model with named inputs", f"'{name}'"))
        shape = _subclassed_shape(model, wanted)
        if not getattr(model, "built", True):
            _build(model, shape)
        return ImageInput([tf.TensorSpec((1, *shape), tf.float32)], 0, False, ())
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in declared]
    names = _names(model, declared)
    takes = [place for place, spec in enumerate(specs) if len(spec.shape) in (3, 4)]
    if not takes:
        shapes = ", ".join(str(tuple(spec.shape[1:])) for spec in specs)
        raise ModelError(expected("the model's input", "images (h, w, bands)", shapes))
    place = takes[0] if name is None else _chosen(name, names, takes)
    own = tuple(specs[place].shape[1:])
    shape = tuple(_FREE_SIDE if side is None else int(side) for side in own)
    if wanted is not None:
        shape = _asked(own, tuple(int(side) for side in wanted), channels_first)
    for other in takes:  # the others' free sides only have to be some number
        sides = tuple(_FREE_SIDE if side is None else int(side) for side in specs[other].shape[1:])
        specs[other] = tf.TensorSpec((1, *sides), specs[other].dtype)
    specs[place] = tf.TensorSpec((1, *shape), specs[place].dtype)
    return ImageInput(specs, place, None in own, names)


def _names(model: Any, declared: list[Any]) -> tuple[str, ...]:
    """Keys of a dictionary of inputs, else what the inputs are called."""
    import keras

    structure = None if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, dict) and len(structure) == len(declared):
        by_tensor = {id(tensor): str(key) for key, tensor in structure.items()}
        return tuple(by_tensor.get(id(tensor), str(tensor.name)) for tensor in declared)
    return tuple(str(tensor.name) for tensor in declared)


def _chosen(name: str, names: tuple[str, ...], takes: list[int]) -> int:
    if name.startswith("@") and name[1:].isdecimal() and int(name[1:]) in takes:
        return int(name[1:])
    for place in takes:
        if names[place] == name:
            return place
    listed = ", ".join(f"{names[place]} (@{place})" for place in takes)
    raise ModelError(
        expected("input", f"one of the inputs that take images, {listed}", f"'{name}'")
    )


def _asked(
    own: tuple[int | None, ...], wanted: tuple[int, ...], channels_first: bool
) -> tuple[int, ...]:
    """The shape that is asked for in the model's own layout, if the model takes it."""
    bands = own[0] if channels_first else own[-1]
    if len(wanted) == len(own) - 1 and bands is not None:
        wanted = (*wanted, bands)
    shape = (wanted[-1], *wanted[:-1]) if channels_first else wanted
    fits = len(shape) == len(own) and all(
        size > 0 and side in (None, size) for side, size in zip(own, shape, strict=True)
    )
    if not fits:
        raise ModelError(expected("the input's shape", f"{own}, None being free", wanted))
    return shape


def _subclassed_shape(model: Any, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """What is asked for, with the bands that the model was built on where they are not told."""
    built = _built_shape(model)
    shape = built if wanted is None else tuple(int(side) for side in wanted)
    if shape is None:
        raise ModelError(
            expected(
                f"'{getattr(model, 'name', 'the model')}'",
                "a model that knows its input",
                "one that was never built",
                "Call it once on images, or say input_shape=(h, w, bands).",
            )
        )
    if built is not None and len(shape) == len(built) - 1:
        shape = (*shape, built[-1])
    if any(side < 1 for side in shape) or (built is not None and len(shape) != len(built)):
        told = "(h, w, bands)" if built is None else f"(h, w) or (h, w, {built[-1]})"
        raise ModelError(expected("the input's shape", told, wanted))
    return shape


def _build(model: Any, shape: tuple[int, ...]) -> None:
    """Calls a model that was never called, as Keras builds it."""
    import tensorflow as tf

    try:
        model(tf.zeros((1, *shape)), training=False)
    except Exception as error:  # a model may fail in any way on an input it does not want
        raise ModelError(
            expected(
                f"cannot call '{getattr(model, 'name', 'the model')}' on {(1, *shape)}",
                "the shape of its images as (h, w, bands)",
                shape,
                f"It says: {reason_of(error)}",
            )
        ) from error


def _built_shape(model: Any) -> tuple[int, ...] | None:
    """What a subclassed model was built on, without the batch axis."""
    try:
        shape = (model.get_build_config() or {}).get("input_shape")
    except (AttributeError, NotImplementedError):
        return None
    if not isinstance(shape, (tuple, list)) or not all(isinstance(s, int) for s in shape[1:]):
        return None
    return tuple(shape[1:])
