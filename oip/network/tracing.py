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
from dataclasses import dataclass, field
from typing import Any

_shadowing = threading.RLock()
_PASSED_THROUGH = frozenset(
    "Add AddV2 BiasAdd Cast Identity IdentityN LeakyRelu Maximum Minimum Mul Neg NoOp RealDiv "
    "ReadVariableOp Relu Relu6 Rsqrt Sigmoid Softplus Sqrt Square StopGradient Sub Tanh Elu Selu "
    "Erf Exp Const AddN ConcatV2 GreaterEqual SelectV2 ZerosLike Pow Softsign Log1p Abs".split()
)


_COPIES = frozenset({"Cast", "Identity", "IdentityN", "StopGradient"})


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
    """Numbers of the calls that its inputs come from; -1 is the model's own input."""
    plain: bool
    """The inputs are those calls' outputs with nothing but elementwise operations between."""
    direct: bool
    """The inputs are those calls' outputs, as they are."""
    input_shapes: tuple[tuple[int | None, ...], ...]
    output_shape: tuple[int | None, ...]


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
    paths = {id(layer): path for path, layer in leaf_layers(model)}

    def watch(layer: Any, call: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            use = uses.get(id(layer), 0)
            uses[id(layer)] = use + 1
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if _is_tensor(t)]
            sources, plain, direct = _sources(inputs, origin)
            outputs = call(*args, **kwargs)
            flat = [t for t in tf.nest.flatten(outputs) if _is_tensor(t)]
            for tensor in flat:
                origin[tensor.name] = len(calls)
            calls.append(
                Call(
                    number=len(calls),
                    layer=layer,
                    path=paths[id(layer)],
                    use=use,
                    sources=sources,
                    plain=plain,
                    direct=direct,
                    input_shapes=tuple(tuple(t.shape.as_list()) for t in inputs if t.shape.rank),
                    output_shape=tuple(flat[0].shape.as_list()) if flat else (),
                )
            )
            return outputs

        return noted

    def run(*fed: Any) -> None:
        for tensor in fed:
            origin[tensor.name] = -1
        with shadowed([layer for _, layer in leaf_layers(model)], watch):
            inputs = list(fed)
            model(inputs if len(inputs) > 1 else inputs[0], training=False)

    tf.function(run, autograph=False).get_concrete_function(*specs)
    return calls


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
        if tensor.op.type not in _COPIES:
            direct = False
        waiting.extend(tensor.op.inputs)
    return tuple(found), plain, direct


def _inner(layer: Any) -> list[Any]:
    layers = getattr(layer, "layers", None)
    if layers is None:
        layers = getattr(layer, "_layers", [])
    return [part for part in layers if hasattr(part, "call") and hasattr(part, "name")]


def _is_kernel_layer(layer: Any) -> bool:
    from oip.network.kinds import is_convolution

    return is_convolution(layer)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "op") and hasattr(value, "shape") and hasattr(value, "dtype")
