"""What an image is grown for: a map, a node, a direction, a unit, a class, and sums of these.

An objective is a weighted sum of terms. Each term is one number an image: the spatial mean of a
map's response, the response at one node, the spatial mean along a direction over maps, the output
of a unit of a dense layer, or the logit of a class.

What a run of the model says about the things that images are grown for.

A targets has items: the maps of a layer, or objectives. Each item has one value an image. Where an
item's response can be flat zero, its pre-activation stands beside it.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oip.core.errors import DataError, ModelError, SettingsError, expected
from oip.network.forward import run_to, run_to_all
from oip.network.layers import LayerInfo, LayerOutput
from oip.network.network import Network

Kind = Literal["map", "node", "direction", "unit", "class"]
KINDS: tuple[Kind, ...] = ("map", "node", "direction", "unit", "class")
_FORMS = "map:17, node:17@3,2, direction:FILE.npy, unit:3, class:4"
_FACTOR = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?")
_SIGN = re.compile(r"\s*([+-])(?=[\s\d.a-z])")
_BETWEEN = re.compile(r"\s+([+-])\s+")


@dataclass(frozen=True, eq=False)
class Term:
    """One number an image."""

    kind: Kind
    number: int = 0
    """Of the map, unit or class."""
    node: tuple[int, ...] = ()
    """Place of the node along each spatial axis."""
    weights: np.ndarray | None = None
    """(maps,): the direction."""
    layer: str | None = None
    """None: the layer that is asked for beside the objective (of a class: the model's output)."""
    file: str = ""
    """Where the direction came from."""

    @property
    def key(self) -> str:
        """Equal for terms that are the same."""
        if self.weights is None:
            return str(self)
        return f"{self} {hashlib.sha256(self.weights.tobytes()).hexdigest()}"

    def __str__(self) -> str:
        place = f"{self.layer}:" if self.layer is not None else ""
        if self.kind == "direction":
            return f"direction:{place}{self.file or 'array'}"
        node = "@" + ",".join(map(str, self.node)) if self.node else ""
        return f"{self.kind}:{place}{self.number}{node}"


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of terms, with the arithmetic of sums.

    Example:
        >>> print(2 * objective("class:4") - objective("class:9") / 2)
        2*class:4 - 0.5*class:9
    """

    terms: tuple[tuple[float, Term], ...]

    @classmethod
    def direction(cls, weights: np.ndarray, layer: str | None = None) -> Objective:
        """The spatial mean of the responses along a direction over the maps of a layer.

        Args:
            weights: (maps,) finite, not all zero; taken at length 1.
            layer: the layer's name; None for the one that is asked for beside the objective.

        Raises:
            DataError: weights that are no direction.
        """
        return cls(((1.0, Term("direction", weights=_direction(weights), layer=layer)),))

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return Objective(self.terms + other.terms)

    def __radd__(self, other: int) -> Objective:
        """What `sum` needs, which begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if not np.isfinite(factor):
            raise SettingsError(expected("factor of an objective", "a finite number", factor))
        return Objective(tuple((float(factor) * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        if not isinstance(divisor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if divisor == 0:
            raise SettingsError(expected("divisor of an objective", "a number", "zero"))
        return self * (1.0 / float(divisor))

    def __neg__(self) -> Objective:
        return self * -1.0

    def __sub__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + (-other)

    def __str__(self) -> str:
        text = ""
        for weight, term in self.terms:
            sign = "-" if weight < 0 else "+"
            factor = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            if text:
                text += f" {sign} {factor}{term}"
            else:
                text = f"{'-' if weight < 0 else ''}{factor}{term}"
        return text


def objective(text: str | Objective) -> Objective:
    """An objective from its expression.

    Args:
        text: terms `map:17`, `node:17@3,2` (row, column), `direction:FILE.npy` (an array of one
            number a map), `unit:3`, `class:4`, each with a factor before `*` if wanted, joined by
            ` + ` and ` - ` (with spaces). A layer's name may stand before the number, as in
            `map:block1/conv2:17`.

    Raises:
        SettingsError: what is no objective.
        DataError: a direction that cannot be read.

    Example:
        >>> print(objective("class:4 - 0.5*class:9"))
        class:4 - 0.5*class:9
        >>> print(-objective("map:3"))
        -map:3
    """
    if isinstance(text, Objective):
        return text
    if not isinstance(text, str) or not text.strip():
        raise SettingsError(expected("objective", _FORMS, f"'{text}'"))
    sign = _SIGN.match(text)
    signs, rest = (sign.group(1), text[sign.end() :]) if sign else ("+", text)
    parts = _BETWEEN.split(rest)
    total: Objective | None = None
    for part, symbol in zip(parts[::2], (signs, *parts[1::2]), strict=True):
        factor = _FACTOR.match(part)
        weight = float(factor.group(1)) if factor and factor.group(1) else 1.0
        term = _term(part[factor.end() if factor else 0 :].strip(), text)
        one = Objective(((-weight if symbol == "-" else weight, term),))
        total = one if total is None else total + one
    if total is None or all(weight == 0 for weight, _ in total.terms):
        raise SettingsError(expected("objective", "a term that counts", f"'{text}'"))
    return total


def _term(text: str, whole: str) -> Term:
    kind, _, argument = text.partition(":")
    if kind not in KINDS or not argument:
        what = f"'{text}' in '{whole}'" if text != whole else f"'{text}'"
        raise SettingsError(expected("objective", _FORMS, what))
    if kind == "direction":
        return _from_file(argument)
    layer, colon, number = argument.rpartition(":")
    place = layer if colon else None
    node: tuple[int, ...] = ()
    if kind == "node":
        number, at, places = number.partition("@")
        if not at or not re.fullmatch(r"\d+(,\d+)*", places):
            raise SettingsError(expected("objective", "node:MAP@ROW,COLUMN", f"'{text}'"))
        node = tuple(int(one) for one in places.split(","))
    if not number.isdecimal():
        raise SettingsError(expected("objective", f"{kind}:NUMBER", f"'{text}'"))
    return Term(kind, int(number), node, layer=place)  # type: ignore[arg-type]


def _from_file(argument: str) -> Term:
    path, layer = Path(argument), None
    if not path.is_file() and ":" in argument:
        name, _, tail = argument.rpartition(":")
        path, layer = Path(tail), name
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        raise DataError(
            expected(f"direction '{path}'", "an .npy array of one number a map", reason)
        ) from error
    term = Term("direction", weights=_direction(values), layer=layer)
    return replace(term, file=path.name)


def _direction(weights: Any) -> np.ndarray:
    values = np.asarray(weights)
    if values.dtype.kind not in "buif" or values.ndim != 1 or not values.size:
        told = f"dtype {values.dtype}, shape {values.shape}"
        raise DataError(expected("direction", "an array of one number a map", told))
    values = values.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0:
        raise DataError(expected("direction", "finite numbers, not all zero", length))
    return values / length


_JOINED = re.compile(rf"[+-](?:[\d.]+\*)?(?:{'|'.join(KINDS)})$")
"""What the name of a layer ends with where two terms were written without spaces."""


@dataclass(frozen=True)
class Reading:
    """Values in the graph being traced."""

    post: Any
    """(n,) or (n, items): the items' values, after the activation."""
    pre: Any
    """The same of the pre-activation; the same tensor where there is none."""
    peak: Any
    """The largest pre-activation over the nodes; only of maps, else the same as `pre`."""
    climbed: Any
    """What the ascent climbs now: pre-activations where it warms up or is silent."""
    features: Any
    """(n, nodes, maps): of the layer; what starts of one item are told apart by."""


class Targets(ABC):
    """The items of one layer, or some objectives, of one network."""

    name: str
    """Of the layer; `objectives` otherwise."""
    index: int
    """Of the layer as `oip layers` prints it; objectives come after the last."""
    labels: tuple[str, ...]
    """Of objectives; empty for maps."""
    silent: np.ndarray
    """(items,) bool: the value rests at zero, without gradient, when nothing excites the item."""
    jump: tuple[float, ...] | None
    """Pixels from node to node."""
    looks: np.ndarray
    """(items, probes) bool: the probes that each item is read from; (1, 1) where all share one."""
    bytes_per_image: int
    """Of all that a forward pass keeps."""
    refuses_constants = False
    """An item that does not depend on the input is an error; else it has a verdict like others."""

    @abstractmethod
    def everything(self, fed: Sequence[Any]) -> Reading:
        """(n, items) values of all items; not to be climbed."""

    @abstractmethod
    def own(
        self, fed: Sequence[Any], items: Any, warming: Any, peak: Any, climb_silent: bool
    ) -> Reading:
        """(n,) value of each image's own item.

        Args:
            fed: the model's inputs.
            items: (n,) int32: the item that each image is for.
            warming: bool scalar: pre-activations are climbed whether silent or not.
            peak: bool scalar: of a silent map, the largest pre-activation is climbed, not the mean.
            climb_silent: a silent item climbs its pre-activation.
        """

    @abstractmethod
    def probes(self, fed: Sequence[Any]) -> list[Any]:
        """(n, values) of all places that any item is read from, before their activation."""


class MapTargets(Targets):
    """The maps of one layer: spatial means of their responses."""

    def __init__(self, network: Network, layer: LayerInfo):
        self._network = network
        self._layer = layer
        self.name, self.index, self.labels = layer.name, layer.index, ()
        self.silent = np.full(layer.maps, layer.silent_possible)
        self.jump = layer.jump
        self.looks = np.ones((1, 1), bool)
        self.bytes_per_image = network.activation_bytes(layer)

    def everything(self, fed: Sequence[Any]) -> Reading:
        import tensorflow as tf

        before, after = self._tensors(fed)
        nodes = _node_axes(before)
        post, pre = tf.reduce_mean(after, nodes), tf.reduce_mean(before, nodes)
        return Reading(post, pre, tf.reduce_max(before, nodes), post, None)

    def own(
        self, fed: Sequence[Any], items: Any, warming: Any, peak: Any, climb_silent: bool
    ) -> Reading:
        import tensorflow as tf

        before, after = self._tensors(fed, True)
        nodes = _node_axes(before)
        features = tf.reshape(before, [tf.shape(before)[0], -1, before.shape[-1]])
        post = tf.gather(tf.reduce_mean(after, nodes), items, batch_dims=1)
        if before is after:
            return Reading(post, post, post, post, features)
        pre = tf.gather(tf.reduce_mean(before, nodes), items, batch_dims=1)
        if not climb_silent:
            return Reading(post, pre, pre, post, features)
        if not self._layer.silent_possible:
            climbed = tf.where(tf.fill(tf.shape(post), warming), pre, post)
            return Reading(post, pre, pre, climbed, features)
        top = tf.cond(
            peak,
            lambda: tf.gather(tf.reduce_max(before, nodes), items, batch_dims=1),
            lambda: pre,
        )
        climbed = tf.where(post > 0, tf.where(warming, pre, post), top)
        return Reading(post, pre, top, climbed, features)

    def probes(self, fed: Sequence[Any]) -> list[Any]:
        return [self._tensors(fed, instead=True)[0]]

    def _tensors(
        self, fed: Sequence[Any], for_gradient: bool = False, instead: bool = False
    ) -> tuple[Any, Any]:
        network, layer = self._network, self._layer
        whole = network.finite_weights if for_gradient or instead else ()
        return run_to(
            network.model,
            fed,
            layer.response,
            whole,
            for_gradient,
            network.spoiled,
        )


@dataclass(frozen=True)
class _Tap:
    """A term and where its tensor is taken."""

    term: Term
    output: LayerOutput
    silent: bool
    undone: bool
    """Only the pre-activation counts: a class's logit."""
    jump: tuple[float, ...] | None

    @property
    def look(self) -> tuple[Any, ...]:
        """Equal for terms that are read from the same nodes, of whatever maps."""
        output = self.output
        return id(output.layer), output.use, output.pre_activation, self.term.node

    def looked_at(self, tensor: Any) -> Any:
        """(n, values): all maps of a tensor (n, *nodes, maps) at the nodes of the term."""
        import tensorflow as tf

        part = tensor[(slice(None), *self.term.node)] if self.term.node else tensor
        return tf.reshape(part, [tf.shape(part)[0], -1])

    def value(self, tensor: Any) -> Any:
        """(n,) of a tensor (n, *nodes, maps)."""
        import tensorflow as tf

        if self.term.kind == "node":
            return tensor[(slice(None), *self.term.node, self.term.number)]
        means = tf.reduce_mean(tensor, _node_axes(tensor)) if len(tensor.shape) > 2 else tensor
        if self.term.weights is None:
            return means[:, self.term.number]
        return tf.linalg.matvec(means, tf.constant(self.term.weights, tf.float32))


class ObjectiveTargets(Targets):
    """Objectives: weighted sums of terms at any places of the network."""

    def __init__(self, network: Network, objectives: Sequence[Objective], layer: str | None = None):
        self._network = network
        self.name, self.index = "objectives", len(network.layers)
        self.labels = tuple(str(one) for one in objectives)
        terms = {term.key: term for one in objectives for _, term in one.terms}
        keys = list(terms)
        self.identity = [
            " + ".join(f"{weight!r}*{term.key}" for weight, term in one.terms) for one in objectives
        ]
        self._taps = [_tap(network, terms[key], layer) for key in keys]
        self._weights = np.zeros((len(objectives), len(keys)), np.float32)
        for row, one in enumerate(objectives):
            for weight, term in one.terms:
                self._weights[row, keys.index(term.key)] += weight
            if not self._weights[row].any():
                raise SettingsError(
                    expected(f"objective '{one}'", "one that depends on the input", "a constant")
                )
        can = np.array([tap.silent for tap in self._taps])
        used = self._weights != 0
        self.silent = np.all((self._weights >= 0) & (can | ~used), axis=1)
        looks = [tap.look for tap in self._taps]
        self._probed = [looks.index(look) for look in dict.fromkeys(looks)]
        same = np.array([[look == looks[first] for first in self._probed] for look in looks])
        self.looks = (used[:, :, None] & same).any(1)
        self.jump = next((tap.jump for tap in self._taps if tap.jump is not None), None)
        self.bytes_per_image = network.activation_bytes()
        self.refuses_constants = True

    def everything(self, fed: Sequence[Any]) -> Reading:
        post, pre, _ = self._values(fed)
        sums = [self._summed(part) for part in (post, pre)]
        return Reading(sums[0], sums[1], sums[1], sums[0], None)

    def _summed(self, terms: Any) -> Any:
        """(n, objectives) from (n, terms); NaN where a term of the objective itself is not finite.

        A plain product would be NaN for all of them, zero times NaN being NaN.
        """
        import tensorflow as tf

        finite = tf.math.is_finite(terms)
        sums = tf.matmul(tf.where(finite, terms, 0.0), self._weights, transpose_b=True)
        used = (self._weights != 0).astype(np.float32)
        broken = tf.matmul(tf.cast(~finite, tf.float32), used, transpose_b=True) > 0
        return tf.where(broken, np.nan, sums)

    def own(
        self, fed: Sequence[Any], items: Any, warming: Any, peak: Any, climb_silent: bool
    ) -> Reading:
        import tensorflow as tf

        post, pre, features = self._values(fed, True)
        weights = tf.gather(tf.constant(self._weights), items)
        climbed = post
        if climb_silent:
            shut = tf.constant([tap.silent for tap in self._taps]) & (post <= 0)
            climbed = tf.where((weights > 0) & (warming | shut), pre, post)
        sums = [tf.reduce_sum(part * weights, 1) for part in (post, pre, climbed)]
        return Reading(sums[0], sums[1], sums[1], sums[2], features)

    def probes(self, fed: Sequence[Any]) -> list[Any]:
        tensors = self._tensors(fed, True)
        return [self._taps[tap].looked_at(tensors[tap][0]) for tap in self._probed]

    def _values(self, fed: Sequence[Any], for_gradient: bool = False) -> tuple[Any, Any, Any]:
        """(n, terms) values after and before their activation, and the first term's layer."""
        import tensorflow as tf

        tensors = self._tensors(fed, for_gradient)
        post, pre = [], []
        for tap, (before, after) in zip(self._taps, tensors, strict=True):
            pre.append(tap.value(before))
            post.append(pre[-1] if tap.undone or before is after else tap.value(after))
        first = tensors[0][0]
        features = tf.reshape(first, [tf.shape(first)[0], -1, first.shape[-1]])
        return tf.stack(post, 1), tf.stack(pre, 1), features

    def _tensors(self, fed: Sequence[Any], for_gradient: bool = False) -> list[tuple[Any, Any]]:
        outputs = [tap.output for tap in self._taps]
        whole = self._network.finite_weights if for_gradient else ()
        spoiled = self._network.spoiled
        return run_to_all(self._network.model, fed, outputs, whole, for_gradient, spoiled)


def _tap(network: Network, term: Term, layer: str | None) -> _Tap:
    """Where a term is read.

    Raises:
        ModelError, SettingsError: the network has no such place.
    """
    try:
        return _place(network, term, layer)
    except ModelError as error:
        if term.layer is not None and _JOINED.search(term.layer):
            wanted = "spaces around + and -, which layers' names may hold"
            raise SettingsError(expected("objective", wanted, f"'{term}'")) from error
        raise


def _place(network: Network, term: Term, layer: str | None) -> _Tap:
    name = term.layer if term.layer is not None else layer
    if term.kind == "class":
        head = network.class_layer() if term.layer is None else network.dense_layer(term.layer)
        _within(term, head.maps, f"classes of '{head.name}'")
        return _Tap(term, head.response, False, True, None)
    if name is None:
        raise SettingsError(
            expected(f"objective '{term}'", "the name of a layer beside it", "none")
        )
    if term.kind == "unit":
        head = network.dense_layer(name)
        _within(term, head.maps, f"units of '{head.name}'")
        return _Tap(term, head.response, head.silent_possible, False, None)
    try:
        info = network.find(name)
    except ModelError as error:
        if any(call.path == name for call in network.calls):
            what = f"a layer with maps for '{term}'"
            raise ModelError(expected(what, "a convolutional layer", f"'{name}'")) from error
        raise
    if term.weights is None:
        _within(term, info.maps, f"maps of layer '{info.name}'")
    elif len(term.weights) != info.maps:
        raise SettingsError(
            expected(f"'{term}' for '{info.name}'", f"{info.maps} numbers", len(term.weights))
        )
    if term.kind == "node" and not _inside(term.node, info.size):
        size = " x ".join(map(str, info.size))
        raise SettingsError(
            expected(f"objective '{term}'", f"a node of the {size} of '{info.name}'", term.node)
        )
    silent = info.silent_possible and (term.weights is None or bool(np.all(term.weights >= 0)))
    return _Tap(term, info.response, silent, False, info.jump)


def _within(term: Term, count: int, what: str) -> None:
    if term.number >= count:
        told = f"objective '{term}': {what}"
        raise SettingsError(expected(told, f"0 to {count - 1}", term.number))


def _inside(node: tuple[int, ...], size: tuple[int, ...]) -> bool:
    return len(node) == len(size) and all(p < side for p, side in zip(node, size, strict=True))


def _node_axes(tensor: Any) -> list[int]:
    return list(range(1, len(tensor.shape) - 1))
