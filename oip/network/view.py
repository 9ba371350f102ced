"""One view of any Keras model: its layers with maps, its input, its weights' state."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from oip.core import files, notebook
from oip.core.errors import ModelError, expected
from oip.core.quiet import import_quietly
from oip.network import inputs, loading, tracing
from oip.network.layers import LayerInfo, layers_with_maps

_FREE_SIDE = 128


class Network:
    """A Keras model as the rest of the project sees it. The model is never changed.

    Args:
        model: a Keras model, or the path of a `.keras` or `.h5` file.
        imports: modules that register custom layers, trusted by the caller.
        input_shape: (h, w, b) or (h, w) for models whose own shape is free; free sides are 128
            otherwise.

    Raises:
        ModelError: the model cannot be read, has no image input, or not of this shape.

    Example:
        >>> network = oip.Network("model.keras")  # doctest: +SKIP
        >>> [layer.name for layer in network.layers]  # doctest: +SKIP
        ['Conv2D_1', 'Conv2D_2', 'Conv2D_3']
    """

    def __init__(
        self,
        model: Any,
        imports: Iterable[str] = (),
        input_shape: tuple[int, ...] | None = None,
    ):
        import_quietly("keras")
        sidecar = None
        if isinstance(model, Network):
            raise ModelError(expected("Network", "a Keras model or a path", "a Network"))
        if isinstance(model, (str, Path)):
            path = Path(model)
            self.model: Any = loading.load_model(path, imports)
            self.name = path.name
            self.path: Path | None = path
            sidecar = inputs.read_sidecar(path)
        else:
            if not (hasattr(model, "layers") and callable(model)):
                raise ModelError(
                    expected("the model", "a Keras model or a path", type(model).__name__)
                )
            self.model = model
            self.name = str(getattr(model, "name", "model"))
            self.path = None
        self.channels_first = _channels_first(self.model)
        self.sidecar = sidecar
        self._set_shape(input_shape)

    @classmethod
    def of(
        cls, model: Any, imports: Iterable[str] = (), images: np.ndarray | None = None
    ) -> Network:
        """`model` itself if it is a Network; else a view of it, free sides those of images."""
        return model if isinstance(model, Network) else cls(model, imports).fitted_to(images)

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            told = (layer.size, layer.receptive_field, layer.jump)
            sides = (
                "-" if one is None else " x ".join(f"{side:g}" for side in one) for one in told
            )
            rows.append((f"@{layer.index}", layer.name, layer.kind, layer.maps, *sides))
        spec = self.inputs
        shape = " x ".join(map(str, spec.shape))
        mean, std = (" ".join(f"{value:.4g}" for value in part) for part in (spec.mean, spec.std))
        known = f"mean {mean}, deviation {std} (from {spec.source})"
        headings = ("index", "layer", "class", "maps", "nodes", "receptive field", "jump")
        return notebook.block(
            self.name,
            notebook.paragraph(f"input {shape}, {known if spec.known else 'mean not known'}"),
            notebook.table(headings, rows),
        )

    def fitted_to(self, images: np.ndarray | None) -> Network:
        """The same model on images of this size, where it takes any; else itself.

        Args:
            images: (n, h, w, b), or None.
        """
        if images is None or not self.free or np.ndim(images) != len(self.inputs.shape) + 1:
            return self
        shape = tuple(int(side) for side in np.shape(images)[1:])
        if shape == self.inputs.shape:
            return self
        other = copy.copy(self)
        for name in ("calls", "layers"):
            vars(other).pop(name, None)
        other._set_shape(shape)
        return other

    def _set_shape(self, input_shape: tuple[int, ...] | None) -> None:
        self.specs, self.image_input, self.free = _input_specs(
            self.model, input_shape, self.channels_first
        )
        sides = tuple(int(side) for side in self.specs[self.image_input].shape[1:])
        shape = (*sides[1:], sides[0]) if self.channels_first else sides
        self.inputs = inputs.input_spec(shape, self.model, self.sidecar)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, or of configuration and weights of a model from no file."""
        return files.sha256(self.path) if self.path else loading.digest(self.model)

    @cached_property
    def finite_weights(self) -> list[tuple[Any, np.ndarray]]:
        """Variables that hold NaN or infinity, with zeros in those places.

        A gradient multiplies every weight of a layer, also by zero; one NaN would reach all maps.
        """
        import tensorflow as tf

        found = []
        with tf.init_scope():  # it may be asked for while a function is traced
            numbers = [(variable, variable.numpy()) for variable in self.model.weights]
        for variable, values in numbers:
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                found.append(
                    (variable, np.where(np.isfinite(values), values, 0).astype(values.dtype))
                )
        return found

    @property
    def spoiled(self) -> bool:
        """Some weights are NaN or infinite."""
        return bool(self.finite_weights)

    @cached_property
    def calls(self) -> list[tracing.Call]:
        """What runs when the model is called."""
        try:
            return tracing.record(self.model, self.specs)
        except Exception as error:  # a model may fail in any way on an input it does not want
            shape = tuple(self.specs[self.image_input].shape)
            raise ModelError(
                expected(
                    f"cannot call '{self.name}' on {shape}",
                    "a model of images",
                    loading.reason_of(error),
                )
            ) from error

    @cached_property
    def layers(self) -> list[LayerInfo]:
        """Layers with maps, in the order in which they run; may be empty."""
        return layers_with_maps(self.calls, len(self.inputs.shape) - 1)

    @property
    def convolutional(self) -> list[LayerInfo]:
        """The same list, or a ModelError where it is empty."""
        if not self.layers:
            kinds = sorted({type(call.layer).__name__ for call in self.calls})
            raise ModelError(
                expected(f"'{self.name}'", "a model with convolutional layers", ", ".join(kinds))
            )
        return self.layers

    def find(self, name: str) -> LayerInfo:
        """A layer by its name, or by `@index`.

        Raises:
            ModelError: there is none; the message names the nearest.
        """
        layers = self.convolutional
        if name.startswith("@") and name[1:].isdecimal():
            index = int(name[1:])
            if index < len(layers):
                return layers[index]
            raise ModelError(expected(f"layer '{name}'", f"@0 to @{len(layers) - 1}", name))
        for layer in layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in layers]
        near = difflib.get_close_matches(name, names, 1)
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        hint = f"Did you mean '{near[0]}'?" if near else ""
        raise ModelError(expected("layer", f"one of {listed}", f"'{name}'", hint))

    def feed(self, images: Any) -> list[Any]:
        """The model's inputs, in the graph being traced, for images (n, h, w, b) in input units.

        Inputs other than the image are fed zeros.
        """
        import tensorflow as tf

        if self.channels_first:
            axes = [0, len(images.shape) - 1, *range(1, len(images.shape) - 1)]
            images = tf.transpose(images, axes)
        fed = []
        for place, spec in enumerate(self.specs):
            if place == self.image_input:
                fed.append(tf.cast(images, spec.dtype))
            else:
                shape = [tf.shape(images)[0], *spec.shape[1:]]
                fed.append(tf.zeros(shape, spec.dtype))
        return fed

    def activation_bytes(self, layer: LayerInfo | None = None) -> int:
        """Bytes of all outputs up to a layer (None: of the model), for one image, in float32."""
        end = len(self.calls) if layer is None else layer.last_call + 1
        counts = [
            int(np.prod([side or 1 for side in call.output_shape[1:]])) for call in self.calls[:end]
        ]
        return 4 * (sum(counts) + int(np.prod(self.inputs.shape)))


def _input_specs(
    model: Any, wanted: tuple[int, ...] | None, channels_first: bool
) -> tuple[list[Any], int, bool]:
    """A TensorSpec for each input, which of them is the image, and whether its size is free.

    Args:
        wanted: (h, w, b) or (h, w).
    """
    import tensorflow as tf

    declared = getattr(model, "inputs", None)
    if not declared:
        shape = wanted or _built_shape(model)
        if shape is None:
            raise ModelError(
                expected(
                    f"'{getattr(model, 'name', 'the model')}'",
                    "a model that knows its input",
                    "one that was never built",
                    "Call it once on images, or say input_shape=(h, w, bands).",
                )
            )
        if not getattr(model, "built", True):
            model(tf.zeros((1, *shape)), training=False)
        return [tf.TensorSpec((1, *shape), tf.float32)], 0, False
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in declared]
    image = next((place for place, spec in enumerate(specs) if len(spec.shape) in (3, 4)), None)
    if image is None:
        shapes = ", ".join(str(tuple(spec.shape[1:])) for spec in specs)
        raise ModelError(expected("the model's input", "images (h, w, bands)", shapes))
    own = tuple(specs[image].shape[1:])
    shape = tuple(_FREE_SIDE if side is None else int(side) for side in own)
    if wanted is not None:
        shape = _asked(own, tuple(int(side) for side in wanted), channels_first)
    specs[image] = tf.TensorSpec((1, *shape), specs[image].dtype)
    return specs, image, None in own


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


def _built_shape(model: Any) -> tuple[int, ...] | None:
    """What a subclassed model was built on, without the batch axis."""
    try:
        shape = (model.get_build_config() or {}).get("input_shape")
    except (AttributeError, NotImplementedError):
        return None
    if not isinstance(shape, (tuple, list)) or not all(isinstance(s, int) for s in shape[1:]):
        return None
    return tuple(shape[1:])


def _channels_first(model: Any) -> bool:
    for _, layer in tracing.leaf_layers(model):
        if hasattr(layer, "data_format") and layer.data_format in (
            "channels_first",
            "channels_last",
        ):
            return layer.data_format == "channels_first"
    return False
