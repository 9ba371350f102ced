"""The inputs of a model: which one takes the images, and of what shape."""

from __future__ import annotations

from dataclasses import dataclass

from oip.core.errors import ModelError, reason_of
from oip.core.frameworks import keras, tf

_FREE_SIDE = 128
"""Pixels along a side of the input that may have any length."""


@dataclass(frozen=True)
class ImageInput:
    """The inputs of a model, one of which takes the images."""

    specs: list[tf.TensorSpec]
    """One for each input, for one image."""
    index: int
    """The input that takes the images."""
    free: bool
    """That input takes images of any size."""
    names: tuple[str, ...]
    """Of all inputs, as `Network(..., input=NAME)` takes them; empty where they have none."""


def image_input(
    model: keras.Model, shape: tuple[int, ...] | None, channels_first: bool, name: str | None = None
) -> ImageInput:
    """Find the input of a model that takes images.

    Args:
        model: the Keras model. One that was never called is called, as Keras builds it.
        shape: (h, w, b) or (h, w); None for the model's own.
        name: of the input, or `@1` for the second one; None for the first that takes images.

    Raises:
        ModelError: there is no such input, or it does not take this shape.
    """
    declared = getattr(model, "inputs", None)
    if not declared:
        if name is not None:
            raise ModelError("input", "a model with named inputs", f"'{name}'")
        sides = _subclassed_shape(model, shape)
        if not getattr(model, "built", True):
            _build(model, sides)
        return ImageInput([tf.TensorSpec((1, *sides), tf.float32)], 0, False, ())
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in declared]
    names = _names(model, declared)
    candidates = [index for index, spec in enumerate(specs) if len(spec.shape) in (3, 4)]
    if not candidates:
        shapes = ", ".join(str(tuple(spec.shape[1:])) for spec in specs)
        ways = "keras.Sequential([keras.Input((h, w, bands)), keras.layers.Flatten(), model])"
        is_of_vectors = len(specs) == len(specs[0].shape) - 1 == 1 and specs[0].dtype.is_floating
        hint = f"Give it images: {ways}." if is_of_vectors else ""
        raise ModelError("the model's input", "images (h, w, bands)", shapes, hint)
    index_of_images = candidates[0] if name is None else _input_index(name, names, candidates)
    image_shape = tuple(specs[index_of_images].shape[1:])
    for index in candidates:  # free sides of the other inputs only have to be some number
        sides = tuple(_FREE_SIDE if side is None else int(side) for side in specs[index].shape[1:])
        if index == index_of_images and shape is not None:
            sides = _fitting(image_shape, tuple(int(side) for side in shape), channels_first)
        specs[index] = tf.TensorSpec((1, *sides), specs[index].dtype)
    return ImageInput(specs, index_of_images, None in image_shape, names)


def _names(model: keras.Model, declared: list[keras.KerasTensor]) -> tuple[str, ...]:
    """Return the keys of a dictionary of inputs, else the names of the tensors."""
    structure = None if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, dict) and len(structure) == len(declared):
        by_tensor = {id(tensor): str(key) for key, tensor in structure.items()}
        return tuple(by_tensor.get(id(tensor), str(tensor.name)) for tensor in declared)
    return tuple(str(tensor.name) for tensor in declared)


def _input_index(name: str, names: tuple[str, ...], candidates: list[int]) -> int:
    if name.startswith("@") and name[1:].isdecimal() and int(name[1:]) in candidates:
        return int(name[1:])
    for index in candidates:
        if names[index] == name:
            return index
    listed = ", ".join(f"{names[index]} (@{index})" for index in candidates)
    raise ModelError("input", f"one of the inputs that take images, {listed}", f"'{name}'")


def _fitting(
    input_shape: tuple[int | None, ...], shape: tuple[int, ...], channels_first: bool
) -> tuple[int, ...]:
    """Return the user's shape in the model's own layout, if the model takes it."""
    bands = input_shape[0] if channels_first else input_shape[-1]
    if len(shape) == len(input_shape) - 1 and bands is not None:
        shape = (*shape, bands)
    sides = (shape[-1], *shape[:-1]) if channels_first else shape
    fits = len(sides) == len(input_shape) and all(
        size > 0 and side in (None, size) for side, size in zip(input_shape, sides, strict=True)
    )
    if not fits:
        raise ModelError("the input's shape", f"{input_shape}, None being free", shape)
    return sides


def _subclassed_shape(model: keras.Model, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the user's shape, with the bands that the model was built on if they are missing."""
    built = _built_shape(model)
    sides = built if shape is None else tuple(int(side) for side in shape)
    if sides is None:
        name = f"'{getattr(model, 'name', 'the model')}'"
        hint = "Call it once on images, or give input_shape=(h, w, bands)."
        raise ModelError(name, "a model that knows its input", "one that was never built", hint)
    if built is not None and len(sides) == len(built) - 1:
        sides = (*sides, built[-1])
    if any(side < 1 for side in sides) or (built is not None and len(sides) != len(built)):
        form = "(h, w, bands)" if built is None else f"(h, w) or (h, w, {built[-1]})"
        raise ModelError("the input's shape", form, shape)
    return sides


def _build(model: keras.Model, shape: tuple[int, ...]) -> None:
    """Call a model that was never called, as Keras builds it."""
    try:
        model(tf.zeros((1, *shape)), training=False)
    except Exception as error:  # a model may fail in any way on an input that does not suit it
        raise ModelError(
            f"cannot call '{getattr(model, 'name', 'the model')}' on {(1, *shape)}",
            "the shape of its images as (h, w, bands)",
            shape,
            f"It says: {reason_of(error)}",
        ) from error


def _built_shape(model: keras.Model) -> tuple[int, ...] | None:
    """Return the shape that a subclassed model was built on, without the batch axis."""
    try:
        shape = (model.get_build_config() or {}).get("input_shape")
    except (AttributeError, NotImplementedError):
        return None
    if not isinstance(shape, (tuple, list)) or not all(isinstance(s, int) for s in shape[1:]):
        return None
    return tuple(shape[1:])
