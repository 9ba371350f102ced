"""The calls of a model's layers: which layer runs, on which tensors, in which order.

Keras models come as Sequential, Functional, nested and subclassed; a layer may run twice. Their
graphs are kept in different places, or nowhere. Calling the model once inside a graph (no numbers
are computed) and recording every call of every layer is the same for all of them. For the time of
that call the layers' `call` is shadowed by a wrapper in the instance; afterwards it is as it was.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from oip.core.errors import ModelError, expected
from oip.core.frameworks import Tensor, keras, tf
from oip.network import layer_types
from oip.network.activations import (
    COPIES,
    OPERATIONS,
    Elementwise,
    elementwise_after,
    elementwise_between,
)

_shadowing = threading.RLock()
_MISSING = object()
_NAME_IN_GRAPH = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")
_PASSED_THROUGH = OPERATIONS | frozenset(
    {"AddN", "BiasAdd", "ConcatV2", "Const", "NoOp", "ReadVariableOp"}
)


@dataclass(frozen=True)
class Call:
    """One call of one layer."""

    index: int
    layer: keras.Layer = field(repr=False)
    path: str
    """Names from the outside in, such as `encoder/conv1`."""
    use: int
    """0 for the layer's first call, 1 for its second, ..."""
    sources: tuple[int, ...]
    """Indices of the calls that its inputs come from; below zero are the model's own inputs, -1
    the first, -2 the second."""
    plain: bool
    """The inputs are those calls' outputs with nothing but elementwise operations between."""
    direct: bool
    """The inputs are those calls' outputs, as they are."""
    adds_axis: bool
    """The inputs are those calls' outputs with one axis more, and elementwise operations."""
    inputs: frozenset[int]
    """Indices of the model's inputs that it depends on."""
    input_shapes: tuple[tuple[int | None, ...], ...]
    output_shape: tuple[int | None, ...]
    then: Elementwise | None = field(default=None, repr=False)
    """The function that is applied to the output outside all layers, where nothing uses the output
    as it is."""
    reads_then: bool = False
    """Its first input is what `then` of the one call before gives, and nothing was done to it."""
    own_function: Elementwise | None = field(default=None, repr=False)
    """The function of a layer that is none of Keras' own, if that is elementwise."""
    attention: keras.Layer | None = field(default=None, repr=False)
    """The attention layer that it is a part of."""

    @property
    def name(self) -> str:
        """The path, with `#1` for the second use of a layer."""
        return f"{self.path}#{self.use}" if self.use else self.path

    @property
    def described(self) -> str:
        """The name and the layer's class."""
        return f"'{self.name}' ({type(self.layer).__name__})"


def leaf_layers(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """List every layer without layers inside, with its path; each object once, each path once."""
    leaves: list[tuple[str, keras.Layer]] = []
    visited: set[int] = set()

    def visit(layer: keras.Layer, path: str) -> None:
        if id(layer) in visited:
            return
        visited.add(id(layer))
        inner = [sublayer for sublayer in _inner(layer) if type(sublayer).__name__ != "InputLayer"]
        if inner and not _has_kernel(layer):
            for name, sublayer in _unique_names(inner):
                visit(sublayer, f"{path}/{name}" if path else name)
        elif path:
            leaves.append((path, layer))

    visit(model, "")
    return leaves


def _unique_names(layers: Sequence[keras.Layer]) -> list[tuple[str, keras.Layer]]:
    """Return layers with a name of their own: of several alike, the second has `_1` behind it.

    Subclassed models may have such.
    """
    names = {layer.name for layer in layers}
    layers_by_name: dict[str, keras.Layer] = {}
    for layer in {id(layer): layer for layer in layers}.values():
        name, number = layer.name, 0
        while name in layers_by_name or (number and name in names):
            number += 1
            name = f"{layer.name}_{number}"
        layers_by_name[name] = layer
    return list(layers_by_name.items())


def _attention_parts(model: keras.Model) -> dict[int, keras.Layer]:
    """Return the attention layer that each layer inside one is a part of, by the id of the part."""
    layers = model._flatten_layers(include_self=False)
    attention = [layer for layer in layers if layer_types.is_attention(layer)]
    return {id(sublayer): layer for layer in attention for sublayer in _inner(layer)}


class ModelOutput(NamedTuple):
    """One of the tensors that a model returns."""

    name: str
    """Key or index in what it returns; empty where it returns one tensor."""
    calls: tuple[int, ...]
    """Indices of the calls that it comes from; below zero are the model's inputs."""
    direct: bool
    """It is the output of one of them, as it is."""
    changed_by: frozenset[str]
    """Types of the operations between that change it."""
    shape: tuple[int | None, ...]


class Recording(NamedTuple):
    """One run of a model."""

    calls: list[Call]
    outputs: list[ModelOutput]
    """In the order of `tf.nest.flatten`."""
    operations: frozenset[str]
    """Types of all operations, also of those in functions, branches and loops."""
    run: Callable[..., list[Tensor]] | None = None
    """The graph of the calls: the outputs, from a tensor for each of the model's inputs."""


def record_calls(model: keras.Model, specs: Sequence[tf.TensorSpec]) -> Recording:
    """Record the calls of one run of the model, in order.

    Layers that run in a loop or in another function, such as the cells of a recurrent layer, are
    no calls of their own.

    Args:
        specs: a `tf.TensorSpec` for each of its inputs.

    Raises:
        ModelError: a convolution or dense layer takes part, but in a way that shows no call.
    """
    return _Recorder(model).record(specs)


class _Recorder:
    """Watches the layers of a model while one run of it is traced."""

    def __init__(self, model: keras.Model):
        self.model, self.leaves = model, leaf_layers(model)
        self.paths = {id(layer): path for path, layer in self.leaves}
        self.attention = _attention_parts(model)
        self.calls: list[Call] = []
        self.spans: list[_Span] = []
        self.origins: dict[str, int] = {}  # name of a tensor -> number of the call that made it
        self.uses: dict[int, int] = {}
        self.inner_ids: set[int] = set()  # layers that run in another function
        self.returned: list[tuple[str, Tensor]] = []
        self.failure = ""
        self.graph: tf.Graph | None = None

    def record(self, specs: Sequence[tf.TensorSpec]) -> Recording:
        """Trace one run of the model; see `record_calls`."""
        try:
            concrete = tf.function(self._run, autograph=False).get_concrete_function(*specs)
        except Exception as error:
            if self.failure:
                raise ModelError(self.failure) from error
            raise
        graph = concrete.graph
        self._check_quiet_layers({id(variable) for variable in graph.variables})
        names = {tensor.name for _, tensor in self.returned}
        calls = _add_functions(self.calls, self.spans, names, graph)
        outputs = [self._output(name, tensor) for name, tensor in self.returned]
        return Recording(calls, outputs, _operation_types(graph), concrete)

    def _run(self, *inputs: Tensor) -> list[Tensor]:
        self.graph = tf.compat.v1.get_default_graph()
        for index, tensor in enumerate(inputs):
            self.origins[tensor.name] = -1 - index
        with shadowed([layer for _, layer in self.leaves], self._watched):
            outputs = call_model(self.model, inputs)
        leaves = keras.tree.flatten_with_path(outputs)
        self.returned = [("/".join(map(str, path)), t) for path, t in leaves if _is_tensor(t)]
        return [tensor for _, tensor in self.returned]

    def _watched(self, layer: keras.Layer, call: Callable) -> Callable:
        """Return the call of a layer that is recorded as it runs."""

        def recorded(*args: object, **kwargs: object) -> object:
            if tf.compat.v1.get_default_graph() is not self.graph:
                self.inner_ids.add(id(layer))
                return call(*args, **kwargs)
            use = self.uses.get(id(layer), 0)
            self.uses[id(layer)] = use + 1
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if _is_tensor(t)]
            sources, changed_by, direct = _sources(inputs, self.origins)
            shapes = tuple(tuple(t.shape.as_list()) for t in inputs if t.shape.rank)
            begin = _operations_so_far()
            try:
                outputs = call(*args, **kwargs)
            except Exception:
                self.failure = self.failure or _too_small(layer, self.paths[id(layer)], shapes)
                raise
            flat = [t for t in tf.nest.flatten(outputs) if _is_tensor(t)]
            for tensor in flat:
                self.origins[tensor.name] = len(self.calls)
            source, target = (tensors[0] if tensors else None for tensors in (inputs, flat))
            self.spans.append(_Span(begin, _operations_so_far(), source, target))
            self.calls.append(
                Call(
                    index=len(self.calls),
                    layer=layer,
                    path=self.paths[id(layer)],
                    use=use,
                    sources=sources,
                    plain=not changed_by - _PASSED_THROUGH,
                    direct=direct,
                    adds_axis=changed_by - _PASSED_THROUGH == {"ExpandDims"},
                    inputs=frozenset().union(*map(self._source_inputs, sources)),
                    input_shapes=shapes,
                    output_shape=tuple(flat[0].shape.as_list()) if flat else (),
                    attention=self.attention.get(id(layer)),
                )
            )
            return outputs

        return recorded

    def _source_inputs(self, source: int) -> frozenset[int]:
        return frozenset({-1 - source}) if source < 0 else self.calls[source].inputs

    def _check_quiet_layers(self, weight_ids: set[int]) -> None:
        """Refuse a layer with a kernel that is used, by its id, without a call of the layer."""
        for path, layer in self.leaves:
            is_quiet = id(layer) not in self.uses and id(layer) not in self.inner_ids
            if not is_quiet or not _has_kernel(layer):
                continue
            if any(id(getattr(weight, "value", 0)) in weight_ids for weight in layer.weights):
                raise ModelError(
                    f"layer '{path}' ({type(layer).__name__})",
                    "a layer that runs through its `call`",
                    "one whose weights are used without it",
                )

    def _output(self, name: str, tensor: Tensor) -> ModelOutput:
        numbers, changed_by, direct = _sources([tensor], self.origins)
        shape = tuple(tensor.shape.as_list()) if tensor.shape.rank else ()
        return ModelOutput(name, numbers, direct and len(numbers) == 1, changed_by, shape)


def _operation_types(graph: tf.Graph) -> frozenset[str]:
    types = {operation.type for operation in graph.get_operations()}
    if any(name in kind for kind in types for name in ("PartitionedCall", "While", "If", "Case")):
        functions = graph.as_graph_def().library.function
        types |= {node.op for function in functions for node in function.node_def}
    return frozenset(types)


def call_model(model: keras.Model, inputs: Sequence[Tensor], training: bool = False) -> Any:
    """Call a model, also one whose layers have names that no graph takes.

    Args:
        inputs: one tensor for each of `model.inputs`.
        training: not for inference.
    """
    renamed = []
    try:
        for layer in (model, *model._flatten_layers(include_self=False)):
            name = layer.name
            if not _NAME_IN_GRAPH.fullmatch(name):
                layer.name = "x" + re.sub(r"[^A-Za-z0-9_.-]", "_", name)
                renamed.append((layer, name))
        with _integers_as_floats(model, inputs):
            return model(arrange_inputs(model, inputs), training=training)
    finally:
        for layer, name in renamed:
            layer.name = name


@contextmanager
def _integers_as_floats(model: keras.Model, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Let a model whose images are integers take floats in the block, where these are given.

    Keras casts what a model receives to the type that its input declares; a cast to integers has no
    gradient. Models inside that declare integer images take floats, too.
    """
    declared = getattr(model, "inputs", None) or ()
    pairs = zip(declared, inputs, strict=True) if declared else ()
    if not any(
        is_integer_image(tensor) and received.dtype.is_floating for tensor, received in pairs
    ):
        yield
        return
    layers = (model, *model._flatten_layers(include_self=False))
    models = [layer for layer in layers if isinstance(layer, keras.Model)]
    tensors = [tensor for layer in models for tensor in getattr(layer, "inputs", None) or ()]
    images = [tensor for tensor in tensors if is_integer_image(tensor)]
    owners = [tensor._keras_history.operation for tensor in images]
    input_layers = [owner for owner in owners if isinstance(owner, keras.layers.InputLayer)]
    dtypes = [
        (item, item._dtype)
        for item in {id(item): item for item in (*images, *input_layers)}.values()
    ]
    try:
        for item, _ in dtypes:
            item._dtype = "float32"
        yield
    finally:
        for item, dtype in dtypes:
            item._dtype = dtype


def is_integer_image(tensor: keras.KerasTensor | tf.TensorSpec) -> bool:
    """Return whether an input of a model has the form of images, and integers as values."""
    return len(tensor.shape) in (3, 4) and tf.as_dtype(tensor.dtype).is_integer


class Reached(BaseException):
    """Leaves a model where a run has come far enough; Keras wraps what derives from Exception."""


def first_received(
    model: keras.Model,
    inputs: Sequence[Tensor],
    layers: Sequence[keras.Layer],
    uses: Mapping[int, int],
) -> Tensor | None:
    """Run a model until it calls one of some layers, and return what that layer receives.

    Args:
        inputs: one tensor for each of `model.inputs`.
        uses: id of a layer -> number of the call that is meant, 0 for the first; 0 of all others.

    Returns:
        None where it calls none of them, or one without a tensor.
    """

    received: list[Tensor] = []
    counts: dict[int, int] = {}

    def stopped(layer: keras.Layer, call: Callable) -> Callable:
        def stop(*args: object, **kwargs: object) -> object:
            use = counts.get(id(layer), 0)
            counts[id(layer)] = use + 1
            if use < uses.get(id(layer), 0):
                return call(*args, **kwargs)
            received.extend(t for t in tf.nest.flatten((args, kwargs)) if tf.is_tensor(t))
            raise Reached

        return stop

    with shadowed(layers, stopped), without_noise(model), suppress(Reached):
        call_model(model, inputs)
    return received[0] if received else None


@contextmanager
def any_size(model: keras.Model) -> Iterator[None]:
    """Let a model, and models inside it, take images of other sizes than their own in the block.

    Whether its layers take them is another question.
    """
    layers = (model, *model._flatten_layers(include_self=False))
    models = [layer for layer in layers if isinstance(layer, keras.Model)]
    name = "_manual_input_spec"  # Keras checks sizes by it, where it is set
    input_specs = [vars(inner).get(name, _MISSING) for inner in models]
    try:
        for inner in models:
            inner.__dict__[name] = None
        yield
    finally:
        for inner, spec in zip(models, input_specs, strict=True):
            if spec is _MISSING:
                inner.__dict__.pop(name, None)
            else:
                inner.__dict__[name] = spec


def arrange_inputs(model: keras.Model, inputs: Sequence[Tensor]) -> Any:
    """Arrange inputs, one tensor for each of `model.inputs`, as the model is called with them.

    A model that was made of a dictionary of inputs is called with such a dictionary.
    """
    if getattr(model, "inputs", None) and not isinstance(model, keras.Sequential):
        return keras.tree.pack_sequence_as(model.input, list(inputs))
    return list(inputs) if len(inputs) > 1 else inputs[0]


def _too_small(layer: keras.Layer, path: str, shapes: tuple[tuple[int | None, ...], ...]) -> str:
    """Return the error's text where a layer's window is larger than its input; else nothing."""
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not shapes or not isinstance(window, (tuple, list)) or len(shapes[0]) != len(window) + 2:
        return ""
    sides = layer_types.spatial_sides(shapes[0], layer)
    dilation = getattr(layer, "dilation_rate", 1)
    rates = dilation if isinstance(dilation, (tuple, list)) else (dilation,) * len(window)
    spans = [(size - 1) * rate + 1 for size, rate in zip(window, rates, strict=True)]
    if all(side is None or side >= span for side, span in zip(sides, spans, strict=True)):
        return ""
    smallest = " x ".join(map(str, spans))
    return expected(
        f"cannot call the model on so small an input: where layer '{path}' looks",
        f"an input larger than its receptive field, so that at least {smallest} are left there",
        " x ".join(map(str, sides)),
        "Give larger sides: input_shape=(h, w).",
    )


class _Span(NamedTuple):
    """The part of the graph that one call made."""

    begin: int
    """Number of operations before the call."""
    end: int
    """Number of operations after it."""
    source: Tensor | None
    """Its first input."""
    target: Tensor | None
    """Its first output."""


def _add_functions(
    calls: list[Call], spans: list[_Span], results: set[str], graph: tf.Graph
) -> list[Call]:
    """Complete the calls with the elementwise functions after and in them."""
    operations = {operation.name: n for n, operation in enumerate(graph.get_operations())}
    names = list(operations)

    def is_here(span: _Span) -> bool:
        return span.target is not None and span.target.graph is graph

    outer_operations = dict(operations)
    for span in filter(is_here, spans):
        for name in names[span.begin : span.end]:
            outer_operations.pop(name, None)
    completed: list[Call] = []
    for call, span in zip(calls, spans, strict=True):
        then = own_activation = None
        if span.target is not None and is_here(span):
            then = elementwise_after(span.target, outer_operations, results)
            kind = type(call.layer)
            own_layer = not kind.__module__.startswith("keras.") or kind.__name__ == "Lambda"
            if span.source is not None and own_layer and not call.layer.weights:
                inner_operations = {name: operations[name] for name in names[span.begin : span.end]}
                own_activation = elementwise_between(span.source, span.target, inner_operations)
        activation = completed[call.sources[0]].then if _has_one_source(call) else None
        reads_then = activation is not None and _is_copy(span.source, activation.target)
        completed.append(
            replace(call, then=then, own_function=own_activation, reads_then=reads_then)
        )
    return completed


def _has_one_source(call: Call) -> bool:
    return len(call.sources) == 1 and call.sources[0] >= 0


def _is_copy(tensor: Tensor | None, name: str) -> bool:
    """Return whether a tensor is the one of a name, or a copy of it."""
    while tensor is not None and tensor.name != name and tensor.op.type in COPIES:
        tensor = tensor.op.inputs[0]
    return tensor is not None and tensor.name == name


def _operations_so_far() -> int:
    return len(tf.compat.v1.get_default_graph().get_operations())


@contextmanager
def shadowed(
    layers: Sequence[keras.Layer],
    wrap: Callable[[keras.Layer, Callable], Callable],
    method: str | None = None,
) -> Iterator[None]:
    """Let `layer.call` (or another method) be `wrap(layer, layer.call)` within the block.

    Without a method it is the one that runs the layer, which is another one in quantized layers.
    Other threads that call the model meanwhile get the layer's own method.
    """
    with _shadowing:
        methods = []
        try:
            for layer in layers:
                name = method or _running_method(layer)
                shadow = vars(layer).get(name, _MISSING)
                original = getattr(layer, name)
                layer.__dict__[name] = _limited_to_thread(wrap(layer, original), original)
                methods.append((layer, name, shadow))
            yield
        finally:
            for layer, name, shadow in reversed(methods):
                if shadow is _MISSING:
                    vars(layer).pop(name, None)
                else:
                    layer.__dict__[name] = shadow


def _limited_to_thread(wrapped: Callable, original: Callable) -> Callable:
    owner = threading.get_ident()

    def call_own(*args: object, **kwargs: object) -> object:
        return (wrapped if threading.get_ident() == owner else original)(*args, **kwargs)

    return call_own


@contextmanager
def without_noise(model: keras.Model) -> Iterator[None]:
    """Let dropout, noise and augmentation do nothing within the block, whatever `training` says.

    That is what they do at inference, unless a model calls them with `training=True`.
    """

    def idle(layer: keras.Layer, call: Callable) -> Callable:
        def unchanged(*args: object, **kwargs: object) -> object:
            if not layer_types.is_keras_own(layer) and args and tf.is_tensor(args[0]):
                return args[0]
            return call(*args, **kwargs | ({"training": False} if kwargs.get("training") else {}))

        return unchanged

    with shadowed(
        [layer for _, layer in leaf_layers(model) if layer_types.is_dropout(layer)], idle
    ):
        yield


def _running_method(layer: keras.Layer) -> str:
    return "call" if getattr(layer, "quantization_mode", None) is None else "quantized_call"


class _Sources(NamedTuple):
    calls: tuple[int, ...]
    changed_by: frozenset[str]
    """Types of the operations with inputs between, but for copies."""
    direct: bool


def _sources(inputs: list[Tensor], origins: dict[str, int]) -> _Sources:
    """Find the calls that tensors come from, see `Call.sources`, `plain` and `direct`."""
    calls: list[int] = []
    changed_by: set[str] = set()
    direct = True
    waiting = list(inputs)
    visited: set[str] = set()
    while waiting:
        tensor = waiting.pop(0)
        if tensor.name in origins:
            if origins[tensor.name] not in calls:
                calls.append(origins[tensor.name])
            continue
        if tensor.name in visited or getattr(tensor, "op", None) is None:
            continue
        visited.add(tensor.name)
        if tensor.op.type not in COPIES:
            direct = False
            if tensor.op.inputs:
                changed_by.add(tensor.op.type)
        waiting.extend(tensor.op.inputs)
    return _Sources(tuple(calls), frozenset(changed_by), direct)


def _inner(layer: keras.Layer) -> list[keras.Layer]:
    if isinstance(layer, (keras.layers.RNN, keras.layers.TimeDistributed)):
        return []  # what is inside runs in a loop
    layers = getattr(layer, "layers", None)
    if layers is None:
        layers = getattr(layer, "_layers", [])
    return [layer for layer in layers if hasattr(layer, "call") and hasattr(layer, "name")]


def _has_kernel(layer: keras.Layer) -> bool:
    """Return whether a layer has kernels of its own; one inside it is then its activation."""
    return (
        layer_types.is_convolution(layer)
        or layer_types.is_dense(layer)
        or isinstance(layer, keras.layers.EinsumDense)
    )


def _is_tensor(value: object) -> bool:
    return hasattr(value, "op") and hasattr(value, "shape") and hasattr(value, "dtype")
