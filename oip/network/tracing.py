"""What happens when a model is called: which layer ran, on which tensors, in which order.

Keras models come as Sequential, Functional, nested and subclassed; a layer may run twice. Their
graphs are kept in different places, or nowhere. Calling the model once inside a graph (no numbers
are computed) and noting every call of every layer is the same for all of them. For the time of that
call the layers' `call` is shadowed by a wrapper in the instance; afterwards it is as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from oip.core.errors import ModelError, expected
from oip.network.activations import COPIES, OPERATIONS, Elementwise, after, inside

_shadowing = threading.RLock()
_PASSED_THROUGH = OPERATIONS | frozenset(
    {"AddN", "BiasAdd", "ConcatV2", "Const", "NoOp", "ReadVariableOp"}
)


@dataclass(frozen=True)
class Call:
    """One call of one layer."""

    number: int
    layer: Any = field(repr=False)
    path: str
    """Names from the outside in, such as `encoder/conv1`."""
    use: int
    """0 for the layer's first call, 1 for its second, ..."""
    sources: tuple[int, ...]
    """Numbers of the calls that its inputs come from; below zero are the model's own inputs, -1
    the first, -2 the second."""
    plain: bool
    """The inputs are those calls' outputs with nothing but elementwise operations between."""
    direct: bool
    """The inputs are those calls' outputs, as they are."""
    input_shapes: tuple[tuple[int | None, ...], ...]
    output_shape: tuple[int | None, ...]
    then: Elementwise | None = field(default=None, repr=False)
    """What is made of the output outside all layers, where nothing uses the output as it is."""
    own: Elementwise | None = field(default=None, repr=False)
    """What a layer that is none of Keras' own does, if that is elementwise."""

    @property
    def name(self) -> str:
        """The path, with `#1` for the second use of a layer."""
        return f"{self.path}#{self.use}" if self.use else self.path


def leaf_layers(model: Any) -> list[tuple[str, Any]]:
    """Every layer without layers inside, with its path; each object once."""
    found: list[tuple[str, Any]] = []
    seen: set[int] = set()

    def visit(layer: Any, path: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        inner = [part for part in _inner(layer) if type(part).__name__ != "InputLayer"]
        if inner and not _is_kernel_layer(layer):
            for part in inner:
                visit(part, f"{path}/{part.name}" if path else part.name)
        elif path:
            found.append((path, layer))

    visit(model, "")
    return found


def record(model: Any, specs: Sequence[Any]) -> list[Call]:
    """The calls of one run of the model, in order.

    Args:
        model: any built Keras model.
        specs: a `tf.TensorSpec` for each of its inputs.
    """
    import tensorflow as tf

    calls: list[Call] = []
    origin: dict[str, int] = {}
    uses: dict[int, int] = {}
    traced = _Traced()
    paths = {id(layer): path for path, layer in leaf_layers(model)}

    def watch(layer: Any, call: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            use = uses.get(id(layer), 0)
            uses[id(layer)] = use + 1
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if _is_tensor(t)]
            sources, plain, direct = _sources(inputs, origin)
            shapes = tuple(tuple(t.shape.as_list()) for t in inputs if t.shape.rank)
            begin = _operations_so_far()
            try:
                outputs = call(*args, **kwargs)
            except Exception:
                traced.failed = traced.failed or too_small(layer, paths[id(layer)], shapes)
                raise
            flat = [t for t in tf.nest.flatten(outputs) if _is_tensor(t)]
            for tensor in flat:
                origin[tensor.name] = len(calls)
            traced.calls.append((begin, _operations_so_far(), inputs[:1], flat[:1]))
            calls.append(
                Call(
                    number=len(calls),
                    layer=layer,
                    path=paths[id(layer)],
                    use=use,
                    sources=sources,
                    plain=plain,
                    direct=direct,
                    input_shapes=shapes,
                    output_shape=tuple(flat[0].shape.as_list()) if flat else (),
                )
            )
            return outputs

        return noted

    def run(*fed: Any) -> None:
        for place, tensor in enumerate(fed):
            origin[tensor.name] = -1 - place
        with shadowed([layer for _, layer in leaf_layers(model)], watch):
            outputs = model(arranged(model, fed), training=False)
        traced.results = {t.name for t in tf.nest.flatten(outputs) if _is_tensor(t)}

    try:
        graph = tf.function(run, autograph=False).get_concrete_function(*specs).graph
    except Exception as error:
        if traced.failed:
            raise ModelError(traced.failed) from error
        raise
    return traced.completed(calls, graph)


def arranged(model: Any, inputs: Sequence[Any]) -> Any:
    """Inputs, one tensor for each of `model.inputs`, as the model wants to be called with them.

    A model that was made of a dictionary of inputs is called with such a dictionary.
    """
    import keras

    if getattr(model, "inputs", None) and not isinstance(model, keras.Sequential):
        return keras.tree.pack_sequence_as(model.input, list(inputs))
    return list(inputs) if len(inputs) > 1 else inputs[0]


def too_small(layer: Any, path: str, shapes: tuple[tuple[int | None, ...], ...]) -> str:
    """An error's text where a layer's window is larger than what it is laid on; else nothing."""
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not shapes or not isinstance(window, (tuple, list)) or len(shapes[0]) != len(window) + 2:
        return ""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    sides = shapes[0][2:] if first else shapes[0][1:-1]
    spread = getattr(layer, "dilation_rate", 1)
    spreads = spread if isinstance(spread, (tuple, list)) else (spread,) * len(window)
    spans = [(size - 1) * step + 1 for size, step in zip(window, spreads, strict=True)]
    if all(side is None or side >= span for side, span in zip(sides, spans, strict=True)):
        return ""
    wanted = " x ".join(map(str, spans))
    return expected(
        f"cannot call the model on so small an input: where layer '{path}' looks",
        f"an input larger than its receptive field, so that at least {wanted} are left there",
        " x ".join(map(str, sides)),
        "Say larger sides (--input-size, or input_shape).",
    )


class _Traced:
    """What is known of a trace beside its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, list[Any], list[Any]]] = []
        """Operations made before and after, the first input and output, call by call."""
        self.results: set[str] = set()
        """Names of the tensors that the model gives."""
        self.failed = ""

    def completed(self, calls: list[Call], graph: Any) -> list[Call]:
        """The calls with what is elementwise after and in them."""
        places = {one.name: place for place, one in enumerate(graph.get_operations())}
        names = list(places)
        outside = dict(places)
        for begin, end, _, gives in self.calls:
            for name in names[begin:end] if gives and gives[0].graph is graph else ():
                outside.pop(name, None)
        done = []
        for call, (begin, end, given, gives) in zip(calls, self.calls, strict=True):
            then = own = None
            if gives and gives[0].graph is graph:
                then = after(gives[0], outside, self.results)
                if given and _is_unknown(call.layer):
                    own = inside(given[0], gives[0], {n: places[n] for n in names[begin:end]})
            done.append(replace(call, then=then, own=own))
        return done


def _operations_so_far() -> int:
    import tensorflow as tf

    return len(tf.compat.v1.get_default_graph().get_operations())


def _is_unknown(layer: Any) -> bool:
    """A layer without weights that is none of Keras' own, or runs a function of the user's."""
    kind = type(layer)
    return not layer.weights and (
        not kind.__module__.startswith("keras.") or kind.__name__ == "Lambda"
    )


@contextmanager
def shadowed(
    layers: list[Any], wrap: Callable[[Any, Any], Any], method: str = "call"
) -> Iterator[None]:
    """For the time of the block, `layer.call` (or another method) is `wrap(layer, layer.call)`."""
    with _shadowing:
        done = []
        try:
            for layer in layers:
                vars(layer)[method] = wrap(layer, getattr(layer, method))
                done.append(layer)
            yield
        finally:
            for layer in done:
                vars(layer).pop(method, None)


def _sources(inputs: list[Any], origin: dict[str, int]) -> tuple[tuple[int, ...], bool, bool]:
    """The calls that tensors come from; whether only elementwise operations, or nothing but
    copies and casts, lie between."""
    found: list[int] = []
    plain = direct = True
    waiting = list(inputs)
    seen: set[str] = set()
    while waiting:
        tensor = waiting.pop(0)
        if tensor.name in origin:
            if origin[tensor.name] not in found:
                found.append(origin[tensor.name])
            continue
        if tensor.name in seen or getattr(tensor, "op", None) is None:
            continue
        seen.add(tensor.name)
        if tensor.op.inputs and tensor.op.type not in _PASSED_THROUGH:
            plain = False
        if tensor.op.type not in COPIES:
            direct = False
        waiting.extend(tensor.op.inputs)
    return tuple(found), plain, direct


def _inner(layer: Any) -> list[Any]:
    layers = getattr(layer, "layers", None)
    if layers is None:
        layers = getattr(layer, "_layers", [])
    return [part for part in layers if hasattr(part, "call") and hasattr(part, "name")]


def _is_kernel_layer(layer: Any) -> bool:
    """It has kernels of its own; a layer inside it is its activation."""
    from keras import layers

    from oip.network.layer_types import is_convolution

    return is_convolution(layer) or isinstance(layer, (layers.Dense, layers.EinsumDense))


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "op") and hasattr(value, "shape") and hasattr(value, "dtype")
