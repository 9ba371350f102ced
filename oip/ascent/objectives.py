"""Objectives of the ascent: a map, a node, a direction, a unit, a class, and sums of these.

An `Objective` is a weighted sum of terms. Each term is one number an image: the spatial mean of a
map's response, the response at one node, the spatial mean along a direction over maps, the output
of a unit of a dense layer, or the logit of a class.

`Targets` are the items that images are grown for, computed in the graph: the maps of a layer, or
some objectives. Each item has one value an image. Where an item's response can rest at zero, its
pre-activation comes with it.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np

from oip.core.errors import DataError, ModelError, SettingsError, did_you_mean
from oip.core.files import RefusedFile, check_regular
from oip.core.frameworks import Tensor, tf
from oip.network.forward import LayerActivations, run_to, run_to_all
from oip.network.layers import LayerInfo, LayerOutput
from oip.network.network import Network

Kind = Literal["map", "node", "direction", "unit", "class"]
KINDS: tuple[Kind, ...] = ("map", "node", "direction", "unit", "class")
_FORMS = "map:17, node:17@3,2, direction:FILE.npy, unit:3, class:4"
_FACTOR = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?")
_SIGN = re.compile(r"\s*([+-])(?=[\s\d.a-z])")
_BETWEEN = re.compile(r"\s+([+-])\s+")
_JOINED = re.compile(rf"[+-](?:[\d.]+\*)?(?:{'|'.join(KINDS)})$")
"""End of a layer's name where two terms were written without spaces."""


@dataclass(frozen=True, eq=False)
class Term:
    """One number an image."""

    kind: Kind
    number: int = 0
    """Of the map, unit or class."""
    node: tuple[int, ...] = ()
    """Index of the node along each spatial axis."""
    weights: np.ndarray | None = None
    """(maps,): the direction."""
    layer: str | None = None
    """None: the layer that is named beside the objective (of a class: the model's output)."""
    file: str = ""
    """File that the direction was read from."""
    class_name: str = ""
    """Of a class, in place of its number; it may begin with `LAYER:`."""

    @property
    def key(self) -> str:
        """Text that is equal for equal terms."""
        if self.weights is None:
            return str(self)
        return f"{self} {hashlib.sha256(self.weights.tobytes()).hexdigest()}"

    def __str__(self) -> str:
        layer = f"{self.layer}:" if self.layer is not None else ""
        if self.kind == "direction":
            return f"direction:{layer}{self.file or 'array'}"
        node = "@" + ",".join(map(str, self.node)) if self.node else ""
        return f"{self.kind}:{layer}{self.class_name or self.number}{node}"


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """A weighted sum of terms, with the arithmetic of sums.

    Example:
        >>> 2 * objective("class:4") - objective("class:9") / 2
        Objective('2*class:4 - 0.5*class:9')
    """

    terms: tuple[tuple[float, Term], ...]

    @classmethod
    def direction(cls, weights: np.ndarray, layer: str | None = None) -> Objective:
        """Return the spatial mean of the responses along a direction over the maps of a layer.

        Args:
            weights: (maps,) finite, not all zero; taken at length 1.
            layer: the layer's name; None for the one that is named beside the objective.

        Raises:
            DataError: weights that are no direction.
        """
        return cls(((1.0, Term("direction", weights=_direction(weights), layer=layer)),))

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return Objective(self.terms + other.terms)

    def __radd__(self, other: int) -> Objective:
        """Support `sum`, which begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if not np.isfinite(factor):
            raise SettingsError("factor of an objective", "a finite number", factor)
        return Objective(tuple((float(factor) * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        if not isinstance(divisor, (int, float, np.integer, np.floating)):
            return NotImplemented
        if divisor == 0:
            raise SettingsError("divisor of an objective", "a number", "zero")
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
            factor = "" if abs(weight) == 1 else f"{abs(weight):g}*"
            sign = "-" if weight < 0 else "+" if text else ""
            text += f" {sign} {factor}{term}" if text else f"{sign}{factor}{term}"
        return text

    def __repr__(self) -> str:
        return f"Objective('{self}')"


def objective(text: str | Objective) -> Objective:
    """Return an objective from its expression.

    Args:
        text: terms `map:17`, `node:17@3,2` (row, column), `direction:FILE.npy` (an array of one
            number a map), `unit:3`, `class:4` or a class's name, each with an optional factor
            before `*`, joined by ` + ` and ` - ` (with spaces). A layer's name may stand before
            the number, as in `map:block1/conv2:17`.

    Raises:
        SettingsError: a text that is no objective.
        DataError: a direction that cannot be read.

    Example:
        >>> objective("class:4 - 0.5*class:9")
        Objective('class:4 - 0.5*class:9')
        >>> -objective("map:3")
        Objective('-map:3')
    """
    if isinstance(text, Objective):
        return text
    if not isinstance(text, str) or not text.strip():
        raise SettingsError("objective", _FORMS, f"'{text}'")
    sign = _SIGN.match(text)
    first, rest = (sign.group(1), text[sign.end() :]) if sign else ("+", text)
    parts = _BETWEEN.split(rest)
    terms = []
    for part, symbol in zip(parts[::2], (first, *parts[1::2]), strict=True):
        factor = _FACTOR.match(part)
        weight = float(factor.group(1)) if factor and factor.group(1) else 1.0
        term = _parsed_term(part[factor.end() if factor else 0 :].strip(), text)
        terms.append((-weight if symbol == "-" else weight, term))
    if all(weight == 0 for weight, _ in terms):
        raise SettingsError("objective", "a term that counts", f"'{text}'")
    return Objective(tuple(terms))


def _parsed_term(text: str, whole: str) -> Term:
    kind, _, argument = text.partition(":")
    if kind not in KINDS or not argument:
        received = f"'{text}' in '{whole}'" if text != whole else f"'{text}'"
        raise SettingsError("objective", _FORMS, received)
    if kind == "direction":
        return _term_from_file(argument)
    layer, colon, number = argument.rpartition(":")
    node: tuple[int, ...] = ()
    if kind == "node":
        number, at, indices = number.partition("@")
        if not at or not re.fullmatch(r"\d{1,9}(,\d{1,9})*", indices):
            raise SettingsError("objective", "node:MAP@ROW,COLUMN", f"'{text}'")
        node = tuple(int(index) for index in indices.split(","))
    if kind == "class" and re.search(r"[^\W\d_]", number):
        return Term("class", class_name=argument)
    if not number.isdecimal() or len(number) > 9:
        forms = "class:NUMBER or class:NAME" if kind == "class" else f"{kind}:NUMBER"
        raise SettingsError("objective", forms, f"'{text}'")
    return Term(cast(Kind, kind), int(number), node, layer=layer if colon else None)


def _term_from_file(argument: str) -> Term:
    path, layer = Path(argument), None
    if not path.is_file() and ":" in argument:
        layer, _, tail = argument.rpartition(":")
        path = Path(tail)
    try:
        check_regular(path)
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "another file"
        reason = error if isinstance(error, RefusedFile) else reason
        raise DataError(
            f"direction '{path}'", "an .npy array of one number a map", reason
        ) from error
    return Term("direction", weights=_direction(values), layer=layer, file=path.name)


def _direction(weights: np.ndarray) -> np.ndarray:
    """Return a direction at length 1."""
    values = np.asarray(weights)
    if values.dtype.kind not in "buif" or values.ndim != 1 or not values.size:
        received = f"dtype {values.dtype}, shape {values.shape}"
        raise DataError("direction", "an array of one number a map", received)
    values = values.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0:
        raise DataError("direction", "finite numbers, not all zero", length)
    return values / length


class Activations(NamedTuple):
    """Values of the items in the graph: (n, items), or (n,) of each image's own item."""

    post: Tensor
    """After the activation."""
    pre: Tensor
    """Of the pre-activation; the same tensor where there is none."""
    peak: Tensor
    """The largest pre-activation over the nodes; only of maps, else the same as `pre`."""
    climbed: Tensor
    """The value that the ascent climbs now: the pre-activation in the warm-up or where inactive."""
    features: Tensor
    """(n, nodes, maps) of the layer, by which starts of one item are compared."""


class Stage(NamedTuple):
    """The value that images climb at a step."""

    warming: Tensor
    """Bool scalar: the pre-activation, whether inactive or not."""
    peak: Tensor
    """Bool scalar: of an inactive map the largest pre-activation, not the mean."""
    climb_inactive: bool = True
    """An inactive item climbs its pre-activation."""


class Targets(ABC):
    """Items that images are grown for: the maps of one layer, or some objectives."""

    name: str
    """Of the layer; `objectives` otherwise."""
    index: int
    """Of the layer as `oip layers` prints it; objectives come after the last."""
    labels: tuple[str, ...]
    """Of objectives; empty for maps."""
    can_be_inactive: np.ndarray
    """(items,) bool: the value rests at zero, without gradient, when nothing excites the item."""
    jump: tuple[float, ...] | None
    """Pixels from node to node."""
    uses_probe: np.ndarray
    """(items, probes) bool: the probes that each item is computed from; (1, 1) if all share one."""
    bytes_per_image: int
    """Memory of all activations of a forward pass."""
    refuses_constants = False
    """An item that does not depend on the input is an error; else it has a verdict like others."""

    @abstractmethod
    def all_items(self, inputs: Sequence[Tensor]) -> Activations:
        """Return (n, items) values of all items, without gradients."""

    @abstractmethod
    def own_items(self, inputs: Sequence[Tensor], items: Tensor, stage: Stage) -> Activations:
        """Return the (n,) value of each image's own item.

        Args:
            items: (n,) int32: the item that each image is for.
        """

    @abstractmethod
    def probes(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return (n, values) of every tensor that items are computed from, before activation."""


class MapTargets(Targets):
    """The maps of one layer: spatial means of their responses."""

    def __init__(self, network: Network, layer: LayerInfo):
        self._network = network
        self.layer = layer
        self.name, self.index, self.labels = layer.name, layer.index, ()
        self.can_be_inactive = np.full(layer.maps, layer.silent_possible)
        self.jump = layer.jump
        self.uses_probe = np.ones((1, 1), bool)
        self.bytes_per_image = network.activation_bytes(layer)

    def all_items(self, inputs: Sequence[Tensor]) -> Activations:
        before, after = self._tensors(inputs)
        nodes = _node_axes(before)
        post, pre = tf.reduce_mean(after, nodes), tf.reduce_mean(before, nodes)
        return Activations(post, pre, tf.reduce_max(before, nodes), post, _features(before))

    def own_items(self, inputs: Sequence[Tensor], items: Tensor, stage: Stage) -> Activations:
        before, after = self._tensors(inputs, for_gradient=True)
        nodes = _node_axes(before)
        features = _features(before)
        post = tf.gather(tf.reduce_mean(after, nodes), items, batch_dims=1)
        if before is after:
            return Activations(post, post, post, post, features)
        pre = tf.gather(tf.reduce_mean(before, nodes), items, batch_dims=1)
        if not stage.climb_inactive:
            return Activations(post, pre, pre, post, features)
        if not self.layer.silent_possible:
            climbed = tf.where(tf.fill(tf.shape(post), stage.warming), pre, post)
            return Activations(post, pre, pre, climbed, features)
        top = tf.cond(
            stage.peak,
            lambda: tf.gather(tf.reduce_max(before, nodes), items, batch_dims=1),
            lambda: pre,
        )
        climbed = tf.where(post > 0, tf.where(stage.warming, pre, post), top)
        return Activations(post, pre, top, climbed, features)

    def probes(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [self._tensors(inputs, finite=True)[0]]

    def _tensors(
        self, inputs: Sequence[Tensor], for_gradient: bool = False, finite: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return pre-activation and response, both (n, *nodes, maps)."""
        network, layer = self._network, self.layer
        return run_to(
            network.model,
            inputs,
            layer.response,
            network.finite_weights if for_gradient or finite else (),
            for_gradient,
            network.spoiled,
        )


@dataclass(frozen=True)
class _TermSource:
    """A term and the tensor of the network that it is computed from."""

    term: Term
    output: LayerOutput
    can_be_inactive: bool = False
    logit: bool = False
    """Only the pre-activation counts: a class's logit."""
    sign: float = 1.0
    """-1 for class 0 of a single unit, whose logit is that of class 1."""
    jump: tuple[float, ...] | None = None

    @property
    def probe(self) -> tuple[object, ...]:
        """A key that is equal for terms of the same nodes, whatever their maps."""
        output = self.output
        return id(output.layer), output.use, output.pre_activation, self.term.node

    def probed(self, tensor: Tensor) -> Tensor:
        """Return (n, values): all maps of a tensor (n, *nodes, maps) at the nodes of the term."""
        part = tensor[(slice(None), *self.term.node)] if self.term.node else tensor
        return tf.reshape(part, [tf.shape(part)[0], -1])

    def value(self, tensor: Tensor) -> Tensor:
        """Return (n,) of a tensor (n, *nodes, maps)."""
        if self.term.kind == "node":
            return tensor[(slice(None), *self.term.node, self.term.number)]
        means = tf.reduce_mean(tensor, _node_axes(tensor)) if len(tensor.shape) > 2 else tensor
        if self.term.weights is None:
            return self.sign * means[:, self.term.number]
        return tf.linalg.matvec(means, tf.constant(self.term.weights, tf.float32))


class ObjectiveTargets(Targets):
    """Objectives: weighted sums of terms of any layers of the network."""

    def __init__(self, network: Network, objectives: Sequence[Objective], layer: str | None = None):
        self._network = network
        self.name, self.index = "objectives", len(network.layers)
        self.labels = tuple(map(str, objectives))
        terms = {term.key: term for item in objectives for _, term in item.terms}
        keys = list(terms)
        self.identity = [
            " + ".join(f"{weight!r}*{term.key}" for weight, term in item.terms)
            for item in objectives
        ]
        self._sources = [_term_source(network, terms[key], layer) for key in keys]
        self._weights = np.zeros((len(objectives), len(keys)), np.float32)
        for row, item in enumerate(objectives):
            for weight, term in item.terms:
                self._weights[row, keys.index(term.key)] += weight
            if not self._weights[row].any():
                raise SettingsError(
                    f"objective '{item}'", "one that depends on the input", "a constant"
                )
        self._inactive = np.array([source.can_be_inactive for source in self._sources])
        used = self._weights != 0
        self.can_be_inactive = np.all((self._weights >= 0) & (self._inactive | ~used), axis=1)
        probes = [source.probe for source in self._sources]
        self._probed = [probes.index(probe) for probe in dict.fromkeys(probes)]
        same = np.array([[probe == probes[first] for first in self._probed] for probe in probes])
        self.uses_probe = (used[:, :, None] & same).any(1)
        self.jump = next((s.jump for s in self._sources if s.jump is not None), None)
        self.bytes_per_image = network.activation_bytes()
        self.refuses_constants = True

    def all_items(self, inputs: Sequence[Tensor]) -> Activations:
        post, pre, features = self._values(inputs)
        post, pre = self._sums(post), self._sums(pre)
        return Activations(post, pre, pre, post, features)

    def _sums(self, terms: Tensor) -> Tensor:
        """Return (n, objectives) from (n, terms); NaN where a term of the objective is not finite.

        A plain product would be NaN for all of them, zero times NaN being NaN.
        """
        finite = tf.math.is_finite(terms)
        sums = tf.matmul(tf.where(finite, terms, 0.0), self._weights, transpose_b=True)
        used = (self._weights != 0).astype(np.float32)
        broken = tf.matmul(tf.cast(~finite, tf.float32), used, transpose_b=True) > 0
        return tf.where(broken, np.nan, sums)

    def own_items(self, inputs: Sequence[Tensor], items: Tensor, stage: Stage) -> Activations:
        post, pre, features = self._values(inputs, for_gradient=True)
        weights = tf.gather(tf.constant(self._weights), items)
        climbed = post
        if stage.climb_inactive:
            inactive = tf.constant(self._inactive) & (post <= 0)
            climbed = tf.where((weights > 0) & (stage.warming | inactive), pre, post)
        post, pre, climbed = (tf.reduce_sum(part * weights, 1) for part in (post, pre, climbed))
        return Activations(post, pre, pre, climbed, features)

    def probes(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        tensors = self._tensors(inputs, for_gradient=True)
        return [self._sources[row].probed(tensors[row][0]) for row in self._probed]

    def _values(
        self, inputs: Sequence[Tensor], for_gradient: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (n, terms) after and before their activation, and the first term's features."""
        tensors = self._tensors(inputs, for_gradient)
        post, pre = [], []
        for source, (before, after) in zip(self._sources, tensors, strict=True):
            pre.append(source.value(before))
            post.append(pre[-1] if source.logit or before is after else source.value(after))
        return tf.stack(post, 1), tf.stack(pre, 1), _features(tensors[0][0])

    def _tensors(self, inputs: Sequence[Tensor], for_gradient: bool) -> list[LayerActivations]:
        outputs = [source.output for source in self._sources]
        finite = self._network.finite_weights if for_gradient else ()
        model, spoiled = self._network.model, self._network.spoiled
        return run_to_all(model, inputs, outputs, finite, for_gradient, spoiled)


def objective_targets(
    network: Network,
    objectives: str | Objective | Sequence[str | Objective],
    layer: str | None = None,
) -> ObjectiveTargets:
    """Return objectives of one network, from their expressions.

    Args:
        layer: of the terms that name none.

    Raises:
        SettingsError, ModelError, DataError: no objectives, or not of this network.
    """
    items = [objectives] if isinstance(objectives, (str, Objective)) else list(objectives)
    if not items:
        raise SettingsError("objective", "at least one", "none")
    return ObjectiveTargets(network, [objective(item) for item in items], layer)


def _term_source(network: Network, term: Term, layer: str | None) -> _TermSource:
    """Return the tensor of a term.

    Raises:
        ModelError, SettingsError: the network has no such layer, map, unit or node.
    """
    name = term.layer if term.layer is not None else layer
    try:
        if term.kind in ("class", "unit"):
            return _dense_source(network, term, name)
        return _map_source(network, term, name)
    except ModelError as error:
        if term.layer is not None and _JOINED.search(term.layer):
            form = "spaces around + and -, which layers' names may hold"
            raise SettingsError("objective", form, f"'{term}'") from error
        raise


def _dense_source(network: Network, term: Term, name: str | None) -> _TermSource:
    if term.kind == "class":
        return _class_source(network, term)
    head = network.dense_layer(_required(name, term))
    _check_number(term, head.maps, f"units of '{head.name}'")
    return _TermSource(term, head.response, can_be_inactive=head.silent_possible)


def _class_source(network: Network, term: Term) -> _TermSource:
    """Return the logit of a class; one unit is two classes, the first its negative."""
    layer, name = term.layer, term.class_name
    if name and name not in (network.classes or ()) and ":" in name:
        layer, _, name = name.rpartition(":")
    head = network.class_layer() if layer is None else network.dense_layer(layer)
    count = max(2, head.maps)
    number = term.number
    if name:
        names = network.classes if network.classes and len(network.classes) == count else ()
        if name not in names:
            listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            forms = f"0 to {count - 1}" + (f" or one of {listed}" if names else ", no names known")
            hint = did_you_mean(name, names)
            raise SettingsError(f"objective '{term}': classes", forms, f"'{name}'", hint)
        number = names.index(name)
    else:
        _check_number(term, count, f"classes of '{head.name}'")
    sign = -1.0 if head.maps == 1 and number == 0 else 1.0
    number = 0 if head.maps == 1 else number
    return _TermSource(replace(term, number=number), head.response, logit=True, sign=sign)


def _map_source(network: Network, term: Term, name: str | None) -> _TermSource:
    name = _required(name, term)
    try:
        layer = network.find(name)
    except ModelError as error:
        if any(call.path == name for call in network.calls):
            subject = f"a layer with maps for '{term}'"
            raise ModelError(subject, "a convolutional layer", f"'{name}'") from error
        raise
    if term.weights is None:
        _check_number(term, layer.maps, f"maps of layer '{layer.name}'")
    elif len(term.weights) != layer.maps:
        raise SettingsError(
            f"'{term}' for '{layer.name}'", f"{layer.maps} numbers", len(term.weights)
        )
    inside = len(term.node) == len(layer.size) and np.all(np.less(term.node, layer.size))
    if term.kind == "node" and not inside:
        size = " x ".join(map(str, layer.size))
        raise SettingsError(
            f"objective '{term}'", f"a node of the {size} of '{layer.name}'", term.node
        )
    positive = term.weights is None or bool(np.all(term.weights >= 0))
    return _TermSource(
        term, layer.response, can_be_inactive=layer.silent_possible and positive, jump=layer.jump
    )


def _required(name: str | None, term: Term) -> str:
    if name is None:
        raise SettingsError(f"objective '{term}'", "the name of a layer beside it", "none")
    return name


def _check_number(term: Term, count: int, items: str) -> None:
    if term.number >= count:
        raise SettingsError(f"objective '{term}': {items}", f"0 to {count - 1}", term.number)


def _node_axes(tensor: Tensor) -> list[int]:
    return list(range(1, len(tensor.shape) - 1))


def _features(tensor: Tensor) -> Tensor:
    """Return (n, nodes, maps) of a tensor (n, *nodes, maps)."""
    return tf.reshape(tensor, [tf.shape(tensor)[0], -1, tensor.shape[-1]])
