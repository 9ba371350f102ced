"""One view of any Keras model: its layers with maps, its input, its weights' state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from oip.core import files, html, seeds
from oip.core.checks import check_choice
from oip.core.errors import DataError, ModelError, SettingsError, did_you_mean, notice, reason_of
from oip.core.frameworks import Tensor, keras, tf
from oip.network import inputs, layer_types, loading, tracing
from oip.network.graphs import Graphs
from oip.network.image_input import image_input
from oip.network.layers import (
    At,
    DirectionSet,
    LayerInfo,
    LayerOutput,
    check_input,
    class_layer,
    direction_layers,
    layers_with_maps,
    other_layers,
)
from oip.network.repeatability import check_outputs, repeatability

_IMAGES = 4
"""Images that a model is given twice."""
_LISTED = 12
"""Layers that a message lists."""


class Network:
    """A Keras model with its layers, its input and its classes. The model is never changed.

    Args:
        model: a Keras model, or the path of a `.keras` or `.h5` file.
        imports: modules that register custom layers, trusted by the caller.
        input_shape: (h, w, b) or (h, w) for models whose own shape is free; free sides are 128
            otherwise.
        input: name of the input that takes the images, or `@1` for the second; the first that can
            otherwise. All others are fed zeros.

    Raises:
        ModelError: the model cannot be read, has no image input, or not of this shape.

    Example:
        >>> network = oip.Network("model.keras")  # doctest: +SKIP
        >>> [layer.name for layer in network.layers]  # doctest: +SKIP
        ['Conv2D_1', 'Conv2D_2', 'Conv2D_3']
    """

    def __init__(
        self,
        model: keras.Model | str | Path,
        imports: Iterable[str] = (),
        input_shape: tuple[int, ...] | None = None,
        input: str | None = None,
    ):
        self.graphs = Graphs()  # before the model: pickle then refuses without having copied it
        self.imports = tuple(imports)
        if isinstance(model, Network):
            raise ModelError("Network", "a Keras model or a path", "a Network")
        if isinstance(model, (str, Path)):
            path = Path(model)
            self._stamp = _stamp(path)
            self.model: keras.Model = loading.load_model(path, self.imports)
            self._loaded_checksum = loading.checksum(self.model)
            self.name = path.name
            self.path: Path | None = path
            self.sidecar = inputs.read_sidecar(path)
        else:
            if isinstance(model, type) or not (hasattr(model, "layers") and callable(model)):
                raise ModelError("the model", "a Keras model or a path", type(model).__name__)
            self.model = model
            self.name = str(getattr(model, "name", "model"))
            self.path = self.sidecar = None
        layouts = [getattr(layer, "data_format", None) for layer in self._leaf_layers]
        layouts = [name for name in layouts if name in ("channels_first", "channels_last")]
        self.channels_first = layouts[:1] == ["channels_first"]
        declared = getattr(self.model, "inputs", None) or ()
        shape = tuple(declared[0].shape[1:]) if len(declared) == 1 else ()
        self.lacks_bands = layer_types.lacks_bands(self._leaf_layers, shape)
        turns = any(layer_types.moves_bands_last(layer, shape) for layer in self._leaf_layers[:1])
        self.bands_first = self.channels_first or turns
        names = self.sidecar.classes if self.sidecar is not None else None
        self.classes: tuple[str, ...] | None = tuple(map(str, names)) if names else None
        self._input = input
        self.directions: tuple[DirectionSet, ...] = ()
        """Sets of directions over the maps of some layers, as `with_directions` added them."""
        self._set_shape(input_shape)

    @classmethod
    def of(
        cls,
        model: keras.Model | str | Path | Network,
        imports: Iterable[str] = (),
        images: np.ndarray | None = None,
    ) -> Network:
        """Return a view of a model that fits some images.

        It takes images of their size, if the model takes any, and has their mean and deviation, if
        nothing is known of the model's input.

        Args:
            model: as for `Network`; a Network keeps its size, and is itself never changed.
            imports: as for `Network`.
            images: (n, h, w, b), not yet checked, or None.
        """
        network = model if isinstance(model, Network) else cls(model, imports).fitted_to(images)
        if images is None:
            return network
        try:
            spec = network.inputs.measured_if_new(images)
        except DataError:  # images of one color have responses, but no statistics to use
            return network
        if spec is network.inputs:
            return network
        fitted = copy.copy(network)
        fitted.inputs = spec
        return fitted

    def __repr__(self) -> str:
        sides = " x ".join(map(str, self.inputs.shape))
        return f"Network('{self.name}', input {sides}, {len(self.layers)} layers with maps)"

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            columns = (layer.size, layer.receptive_field, layer.jump)
            sides = (
                "-" if values is None else " x ".join(f"{side:g}" for side in values)
                for values in columns
            )
            rows.append((f"@{layer.index}", layer.name, layer.layer_class, layer.maps, *sides))
        spec = self.inputs
        shape = " x ".join(map(str, spec.shape))
        mean, std = (
            " ".join(f"{value:z.4g}" for value in values) for values in (spec.mean, spec.std)
        )
        source = "as given" if spec.source == "told" else f"from {spec.source}"
        statistics = f"mean {mean}, deviation {std} ({source})"
        headings = ("index", "layer", "class", "maps", "nodes", "receptive field", "jump")
        return html.block(
            self.name,
            html.paragraph(f"input {shape}, {statistics if spec.is_known else 'mean not known'}"),
            html.table(headings, rows),
        )

    def fitted_to(self, images: np.ndarray | None) -> Network:
        """Return the same model on images of this size, where it takes any; else itself.

        Args:
            images: (n, h, w, b), or None.
        """
        if images is None or not self.free:
            return self
        values = inputs.with_bands(inputs.image_array(images), self.inputs.shape)
        if values.ndim != len(self.inputs.shape) + 1:
            return self
        shape = tuple(int(side) for side in values.shape[1:])
        if shape == self.inputs.shape:
            return self
        network = copy.copy(self)
        for name in ("recording", "layers", "other_layers", "direction_layers"):
            vars(network).pop(name, None)
        network._set_shape(shape)
        return network

    def with_directions(self, sets: Iterable[DirectionSet]) -> Network:
        """Return the same model with directions over the maps of layers, as layers of their own.

        Raises:
            ModelError: a set is over a layer that is not there.
        """
        network = copy.copy(self)
        network.directions = tuple(sets)
        vars(network)["direction_layers"] = direction_layers(
            (*self.layers, *self.other_layers), network.directions
        )
        return network

    def with_classes(self, names: Iterable[str]) -> Network:
        """Return the same model with other names of its classes."""
        network = copy.copy(self)
        network.classes = tuple(map(str, names))
        return network

    @property
    def _leaf_layers(self) -> list[keras.Layer]:
        return [layer for _, layer in tracing.leaf_layers(self.model)]

    def _set_shape(self, input_shape: tuple[int, ...] | None) -> None:
        if self.lacks_bands and input_shape is not None and tuple(input_shape[2:]) == (1,):
            input_shape = input_shape[:2]
        choice = image_input(self.model, input_shape, self.bands_first, self._input)
        self.specs, self.image_input = choice.specs, choice.index
        self.free, self.input_names = choice.free, choice.names
        sides = tuple(int(side or 0) for side in self.specs[self.image_input].shape[1:])
        sides = (*sides, 1) if self.lacks_bands else sides
        shape = (*sides[1:], sides[0]) if self.bands_first else sides
        several = len(self.specs) > 1
        first = self._first_calls() if several else []
        self._first_uses = {id(call.layer): call.use for call in reversed(first)}
        layers = [call.layer for call in first] if several else self._leaf_layers
        inner_layers = self.model._flatten_layers(include_self=True)
        models = [layer.name for layer in inner_layers if isinstance(layer, keras.Model)]
        spec = inputs.input_spec(shape, layers, self.sidecar, self._received, models)
        self.inputs = replace(spec, name=self.input_name) if several else spec

    def _first_calls(self) -> list[tracing.Call]:
        """Return the calls that images reach, up to the first of a layer with weights."""
        try:
            calls = [call for call in self.calls if self.image_input in call.inputs]
        except ModelError:  # it comes again where the layers are asked for
            return []
        weighted = (n for n, call in enumerate(calls, 1) if _learns(call.layer))
        return calls[: next(weighted, len(calls))]

    def _received(self, images: np.ndarray, layers: Sequence[keras.Layer]) -> np.ndarray | None:
        """Return what the first of some layers to be called receives, the channels last."""
        declared = getattr(self.model, "inputs", None)
        size = declared[0].shape[0] if declared else None
        batches = (
            [images] if size is None else [np.repeat(image[None], size, 0) for image in images]
        )
        parts = []
        try:
            for batch in batches:
                fed = self.feed(tf.constant(batch))
                tensor = tracing.first_received(self.model, fed, layers, self._first_uses)
                if tensor is None:
                    return None
                parts.append(tensor.numpy() if size is None else tensor.numpy()[:1])
        except Exception:  # a model may fail in any way; what is wrong is said where it is recorded
            return None
        values = np.concatenate(parts)
        is_first = self.channels_first or (
            self.bands_first and values.shape[1:] == self.specs[self.image_input].shape[1:]
        )
        return np.moveaxis(values, 1, -1) if is_first and values.ndim > 2 else values

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or of configuration and weights of a model from no file.

        Weights may change: those of a model in memory are read again each time, and a model from a
        file that was trained on since is one in memory.
        """
        if self.path is None or loading.checksum(self.model) != self._loaded_checksum:
            return loading.digest(self.model)
        return self._file_digest

    @cached_property
    def _file_digest(self) -> str:
        if self.path and self._stamp and _stamp(self.path) == self._stamp:
            return files.sha256(self.path)
        notice(f"'{self.path}' changed after it was loaded; results name the weights, not the file")
        return loading.digest(self.model)

    @cached_property
    def finite_weights(self) -> list[tuple[tf.Variable, np.ndarray]]:
        """Variables that hold NaN or infinity, with their values and zeros instead of those.

        A gradient multiplies every weight of a layer, also by zero; one NaN would reach all maps.
        """
        replaced = []
        with tf.init_scope():  # a function may be traced at the moment
            weights = [(variable, variable.numpy()) for variable in self.model.weights]
        for variable, values in weights:
            finite = np.isfinite(values)  # also of bfloat16, which is no float to NumPy
            if not finite.all():
                replaced.append((variable, np.where(finite, values, 0).astype(values.dtype)))
        return replaced

    @property
    def spoiled(self) -> bool:
        """Whether some weights are NaN or infinite."""
        return bool(self.finite_weights)

    @property
    def calls(self) -> list[tracing.Call]:
        """The calls of layers when the model is called."""
        return self.recording.calls

    @cached_property
    def recording(self) -> tracing.Recording:
        """The calls of layers when the model is called, and its outputs."""
        with self._called():
            return tracing.record_calls(self.model, self.specs)

    @contextmanager
    def _called(self) -> Iterator[None]:
        """Raise what goes wrong in a call of the model as a ModelError."""
        try:
            yield
        except ModelError:
            raise
        except Exception as error:  # a model may fail in any way on an input that does not suit it
            shape = tuple(self.specs[self.image_input].shape)
            raise ModelError(
                f"cannot call '{self.name}' on {shape}", "a model of images", reason_of(error)
            ) from error

    @contextmanager
    def _state_kept(self) -> Iterator[None]:
        """Set variables back that calls of the model change, such as the states of a layer."""
        changes = any("Assign" in kind for kind in self.recording.operations)
        variables = self.model.non_trainable_variables if changes else []
        states = [(variable, variable.numpy()) for variable in variables]
        yield
        for variable, values in states:
            variable.assign(values)

    @cached_property
    def layers(self) -> list[LayerInfo]:
        """Layers with maps, in the order in which they run; may be empty."""
        return layers_with_maps(self.calls, len(self.inputs.shape) - 1)

    @cached_property
    def other_layers(self) -> list[LayerInfo]:
        """All other layers whose output has channels, in the order in which they run.

        Their indices begin after that of the objectives.
        """
        axes = len(self.inputs.shape) - 1
        return other_layers(self.calls, axes, self.channels_first, self.objectives_index + 1)

    @cached_property
    def direction_layers(self) -> list[LayerInfo]:
        """A layer for each set of directions; none unless they were added."""
        return direction_layers((*self.layers, *self.other_layers), self.directions)

    @property
    def first_direction_index(self) -> int:
        """The index from which sets of directions are numbered in a run: after all layers."""
        return self.objectives_index + 1 + len(self.other_layers)

    @property
    def objectives_index(self) -> int:
        """The index of objectives in a run: that after the last layer with maps."""
        return len(self.layers)

    @property
    def default_layers(self) -> list[LayerInfo]:
        """The layers with maps; of a network without, its dense layers and attention heads.

        Raises:
            ModelError: the network has none of these.
        """
        if self.layers:
            return self.layers
        layers = [layer for layer in self.other_layers if layer.is_dense or layer.kind == "heads"]
        if not layers:
            raise self._no_layers_error("a model with convolutional or dense layers")
        return layers

    def layer_at(self, index: int) -> LayerInfo:
        """Return a layer by its index.

        Raises:
            ModelError: there is none.
        """
        if 0 <= index < len(self.layers):
            return self.layers[index]
        layers = {layer.index: layer for layer in (*self.other_layers, *self.direction_layers)}
        if index not in layers:
            ranges = [f"@0 to @{len(self.layers) - 1}"] if self.layers else []
            ranges += [f"@{min(layers)} to @{max(layers)}"] if layers else []
            indices = ", or of other layers ".join(ranges)
            choices = indices or "a model with layers whose outputs are maps or units"
            raise ModelError(f"layer '@{index}'", choices, f"@{index}" if indices else "none")
        return layers[index]

    @cached_property
    def random(self) -> dict[int, str]:
        """Number of a call whose answer to an image is not always the same -> why, in words.

        Dropout and its like that stay random at inference are taken to do nothing, with a notice.
        The model is tried here, once; a ModelError says that its layers do not give its outputs.
        """

        def images(count: int) -> list[Tensor]:
            draw = seeds.generator(0, "repeatability")
            pixels = draw.normal(size=(count, *self.inputs.shape)) * self.inputs.std
            return self.feed(tf.constant((pixels + self.inputs.mean).astype(np.float32)))

        declared = getattr(self.model, "inputs", None)
        count = declared[0].shape[0] or _IMAGES if declared else _IMAGES
        with tf.init_scope(), self._called(), self._state_kept():
            result = repeatability(self.model, lambda: images(count), self.recording)
            is_random = bool(result.noise or result.random)
            # Fused layers of some processors turn NaN into 0, so that answers differ by the way.
            check_outputs(self.model, images(1), self.recording, is_random or self.spoiled)
        vars(self)["recording"] = self.recording._replace(run=None)  # its graph is freed
        if result.noise:
            names = ", ".join(call.described for call in result.noise)
            notice(
                f"'{self.name}' answers at random: {names}. These layers are taken to do nothing, "
                "as they do at inference."
            )
        return result.random

    def check_repeatable(self, layer: LayerInfo) -> LayerInfo:
        """Return a layer whose response to an image is always the same, and depends on it.

        Raises:
            ModelError: it does not, or depends on other inputs alone.
        """
        check_input(layer, self.image_input, self.input_names)
        if layer.last_call in self.random:
            raise ModelError(
                f"layer '{layer.name}'",
                "a response that is the same each time",
                f"one that depends on {self.random[layer.last_call]}",
            )
        return layer

    @property
    def elsewhere(self) -> list[LayerInfo]:
        """Layers that do not depend on the input that takes the images, but on another one."""
        return [layer for layer in self.layers if self.image_input not in layer.inputs]

    def reached(self, layers: Iterable[LayerInfo]) -> list[LayerInfo]:
        """Return those of some layers that depend on the input that takes the images."""
        several = len(self.input_names) > 1
        return [item for item in layers if not several or self.image_input in item.inputs]

    @property
    def input_name(self) -> str:
        """The name of the input that takes the images; `@0` where it has none."""
        return self.input_names[self.image_input] if self.input_names else "@0"

    @property
    def convolutional(self) -> list[LayerInfo]:
        """The layers with maps; a ModelError where there are none."""
        if not self.layers:
            raise self._no_layers_error("a model with convolutional layers")
        return self.layers

    def find(self, name: str | LayerInfo) -> LayerInfo:
        """Return a layer whose output has channels, by its name, or by `@index`.

        Args:
            name: in a model inside the model the path, `backbone/conv1`, or its end, `conv1`, where
                no other path ends so. A layer that was found already is returned.

        Raises:
            ModelError: there is none, or its output has none; the message names the nearest.
        """
        if isinstance(name, LayerInfo):
            return name
        if not isinstance(name, str):
            received = f"an object of type {type(name).__name__}"
            raise ModelError("layer", "its name, such as 'Conv2D_3'", received)
        if name.startswith("@") and name[1:].isdecimal():
            return self.check_repeatable(self.layer_at(int(name[1:])))
        layers = (*self.layers, *self.other_layers, *self.direction_layers)
        for layer in layers:
            if name in (layer.name, layer.inner_name):
                return self.check_repeatable(layer)
        for call in self.calls:
            if call.name == name:
                expected = "an output with channels last: maps, tokens or units"
                shape = ", ".join(["n", *(str(side or "any") for side in call.output_shape[1:])])
                raise ModelError(f"layer {call.described}", expected, f"shape ({shape})")
        inner_layers = [layer for layer in layers if layer.name.endswith(f"/{name}")]
        if len(inner_layers) == 1:
            return self.check_repeatable(inner_layers[0])
        raise _unknown_layer("layer", name, [layer.name for layer in inner_layers or layers])

    def find_output(self, name: str, at: At = "response") -> LayerInfo:
        """Return any layer whose output has channels, as the layer gives it: softmax included.

        Pooling has the index of the layer whose maps it pools.

        Args:
            name: of the layer, or `@index`. Convolutions and dense layers are taken after their
                activation, all others as they are.
            at: `block` takes a convolution after the pooling that follows.

        Raises:
            ModelError: there is none of that name, or its output has none; the nearest is named.
            SettingsError: `block` where no pooling follows, or another `at`.
        """
        check_choice("at", at, ("response", "block"))
        layer = self.find(name)
        if at == "block":
            if layer.index > len(self.layers):
                argument = f"at block for layer '{name}'"
                raise SettingsError(argument, "a layer with kernels", layer.layer_class)
            return self._pooling(layer)
        for info in self.layers:
            block = info.block
            if block is not None and block.key == layer.response.key:
                return replace(layer, index=info.index)
        return layer.with_softmax()

    def shown_layers(self) -> list[LayerInfo]:
        """List the layers with maps, the pooling after them, dense layers and attention heads.

        Raises:
            ModelError: the model has none of these.
        """
        pooling = [self._pooling(layer) for layer in self.layers if layer.block is not None]
        dense_and_heads = [
            layer.with_softmax()
            for layer in self.other_layers
            if layer.kind == "heads" or (layer.is_dense and layer.kind != "maps")
        ]
        layers = [*self.layers, *pooling, *dense_and_heads]
        if not layers:
            raise self._no_layers_error("a model with convolutional or dense layers")
        return sorted(self.reached(layers), key=lambda layer: layer.last_call)

    def dense_layer(self, name: str) -> LayerInfo:
        """Return a layer whose output is (n, units), such as `Dense`, after its activation.

        Raises:
            ModelError: there is none of that name; the message names the nearest.
        """
        layers = {layer.name: layer for layer in self.other_layers if layer.kind == "units"}
        if name not in layers:
            raise _unknown_layer("layer of units", name, layers)
        return self.check_repeatable(layers[name].with_softmax())

    def class_layer(self) -> LayerInfo:
        """Return the layer that gives the model's output (n, classes).

        Its pre-activation is the logits, before softmax or sigmoid.

        Raises:
            ModelError: the model does not end in a vector that a layer gives.
        """
        layer = class_layer(self.calls, self.recording.outputs)
        if layer is None:
            shapes = ", ".join(str(output.shape) for output in self.recording.outputs) or "none"
            raise ModelError("class: the model's output", "a vector of classes", f"shape {shapes}")
        return self.check_repeatable(layer)

    def last_with_kernel(self) -> LayerOutput:
        """Return the output of the last layer with a kernel before the classes.

        What it receives are the model's penultimate features.

        Raises:
            ModelError: the model does not end in classes, or not in one chain of layers.
        """
        call: tracing.Call = self.calls[self.class_layer().last_call]
        while not (layer_types.is_dense(call.layer) or layer_types.is_convolution(call.layer)):
            if len(call.sources) != 1 or call.sources[0] < 0:
                received = f"{call.described} with several inputs"
                raise ModelError("the last layer", "a dense layer or a convolution", received)
            call = self.calls[call.sources[0]]
        return LayerOutput(
            call.layer, call.use, channels_first=layer_types.is_channels_first(call.layer)
        )

    def _pooling(self, layer: LayerInfo) -> LayerInfo:
        """Return the pooling layer after a layer, with the index of that layer."""
        key = layer.at("block").response.key
        pooling = next(info for info in self.other_layers if info.response.key == key)
        return replace(pooling, index=layer.index)

    def _no_layers_error(self, expected: str) -> ModelError:
        kinds = sorted({type(call.layer).__name__ for call in self.calls})
        return ModelError(f"'{self.name}'", expected, ", ".join(kinds))

    @property
    def takes_integers(self) -> bool:
        """Whether the model's images are integers."""
        return self.specs[self.image_input].dtype.is_integer

    def feed(self, images: Tensor, for_gradient: bool = False) -> list[Tensor]:
        """Return the model's inputs for images (n, h, w, b) in input units, in a graph or at once.

        Inputs that take no images are zeros. Where the model takes integers, images are rounded and
        kept within what these hold.

        Args:
            for_gradient: rounded images stay floats, which a gradient goes through as it is.
        """
        if self.lacks_bands:
            images = tf.squeeze(images, axis=-1)
        elif self.bands_first:
            axes = [0, len(images.shape) - 1, *range(1, len(images.shape) - 1)]
            images = tf.transpose(images, axes)
        fed = []
        for index, spec in enumerate(self.specs):
            if index == self.image_input:
                fed.append(_cast(images, spec.dtype, for_gradient))
            else:
                shape = [tf.shape(images)[0], *spec.shape[1:]]
                fed.append(tf.zeros(shape, spec.dtype))
        return fed

    def activation_bytes(self, layer: LayerInfo | None = None) -> int:
        """Return the float32 bytes of all outputs up to a layer (None: the end), for one image."""
        end = len(self.calls) if layer is None else layer.last_call + 1
        counts = [
            int(np.prod([side or 1 for side in call.output_shape[1:]])) for call in self.calls[:end]
        ]
        return 4 * (sum(counts) + int(np.prod(self.inputs.shape)))


def _learns(layer: keras.Layer) -> bool:
    return bool(layer.weights) and type(layer).__name__ != "Normalization"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written again; None of no file."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # such as a name that no file can have
        return None
    return stat.st_mtime_ns, stat.st_size


def _cast(images: Tensor, dtype: tf.DType, for_gradient: bool) -> Tensor:
    if not dtype.is_integer:
        return tf.cast(images, dtype)
    integers = tf.saturate_cast(tf.round(images), dtype)
    if not for_gradient:
        return integers
    return tf.grad_pass_through(lambda _: tf.cast(integers, tf.float32))(images)


def _unknown_layer(kind: str, name: str, layers: Iterable[str]) -> ModelError:
    """Return the error that no layer has a name, with some of the names that there are."""
    names = list(layers)
    hidden = len(names) - _LISTED
    listed = names if hidden <= 0 else [*names[:_LISTED], f"{hidden} more ('oip layers')"]
    listing = ", ".join(listed) or "none in this model"
    if "+" in name and name.rpartition("+")[0] in names:
        hint = (
            "Directions are layers of the run that 'oip directions' found them for: give that "
            "run (--out, or --directions)."
        )
    else:
        inner_names = [layer.rpartition("/")[2] for layer in names]
        hint = did_you_mean(name, [*names, *inner_names])
    return ModelError(kind, f"one of {listing}", f"'{name}'", hint)
