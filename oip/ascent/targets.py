"""Targets of the ascent: the items that images are grown for, computed in the graph.

They are the maps of a layer, or some objectives. Each item has one value per image. Where an item's
response can rest at zero, its pre-activation comes with it. A graph of own items knows the kinds of
the items; which they are is an input.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from oip.ascent.objectives import KINDS, Objective, Term, parse_objectives
from oip.core.errors import ModelError, SettingsError, did_you_mean, notice
from oip.core.frameworks import Tensor, tf
from oip.network.forward import (
    LayerActivations,
    has_own_maps,
    layer_graph,
    run_to,
    run_to_all,
    run_to_own,
)
from oip.network.layers import LayerInfo, LayerOutput
from oip.network.network import Network

Form = Literal["node", "mean", "direction"]
"""The way in which a term is read from a tensor."""
_JOINED = re.compile(rf"[+-](?:[\d.]+\*)?(?:{'|'.join(KINDS)})$")
"""End of a layer's name where two terms were written without spaces."""


class Activations(NamedTuple):
    """Values of all items: (n, items)."""

    post: Tensor
    """After the activation."""
    pre: Tensor
    """Of the pre-activation; the same tensor where there is none."""
    peak: Tensor
    """The largest pre-activation over the nodes; only of maps, else the same as `pre`."""


class OwnActivations(NamedTuple):
    """Values (n,) of each image's own item, and the gradient of what it climbs."""

    post: Tensor
    """After the activation."""
    pre: Tensor
    """Of the pre-activation; the same tensor where there is none."""
    tensors: list[Tensor]
    """The tensors of the network that items are computed from."""
    slopes: list[Tensor]
    """The gradient by each of them of the value that the ascent climbs now: the pre-activation in
    the warm-up or where inactive."""
    capped: Tensor
    """(n,) bool: all that the item adds up is at the upper limit of its activation."""
    features: Tensor
    """(n, nodes, maps) of the layer, by which starts of one item are compared; of layers with
    `has_own_maps` only if all maps are run."""


class Stage(NamedTuple):
    """The value that images climb at a step. Bool scalars, in the graph or not."""

    warming: Tensor | bool
    """The pre-activation, whether inactive or not."""
    peak: Tensor | bool = False
    """Of an inactive map the largest pre-activation, not the mean."""
    climb_inactive: Tensor | bool = True
    """An inactive item climbs its pre-activation; without, nothing is warmed up either."""


class Targets(ABC):
    """Items that images are grown for: the maps of one layer, or some objectives."""

    name: str
    """Of the layer; `objectives` otherwise."""
    index: int
    """Of the layer as `oip layers` prints it; objectives come after the last."""
    noun: str
    """One of the items, such as `map`."""
    labels: tuple[str, ...]
    """Of objectives; empty for maps."""
    can_be_inactive: np.ndarray
    """(items,) bool: the value rests at zero, without gradient, when nothing excites the item."""
    upper_limit: np.ndarray
    """(items,): the largest value that the activation lets an item have; infinity if none."""
    jump: tuple[float, ...] | None
    """Pixels from node to node."""
    uses_probe: np.ndarray
    """(items, probes) bool: the probes that each item is computed from; (1, 1) if all share one."""
    bytes_per_image: int
    """Memory of all activations of a forward pass."""
    are_units = False
    """All items are classes, or other units of layers without nodes in the image."""
    any_size = True
    """Items mean the same for images of another size."""
    refuses_constants = False
    """An item that does not depend on the input is an error; else it has a verdict like others."""
    key: tuple[Hashable, ...]
    """Equal for targets of one network whose own items make the same graph, given their arrays."""
    arrays: tuple[np.ndarray, ...] = ()
    """What the graph of the own items needs to know besides."""
    array_shapes: tuple[tuple[int | None, ...], ...] = ()
    """Their shapes, None where targets with the same key may differ."""

    @abstractmethod
    def all_activations(self, images: Tensor) -> Activations:
        """Return (n, items) values of all items for images in input units, without gradients."""

    @abstractmethod
    def own_activations(
        self,
        inputs: Sequence[Tensor],
        items: Tensor,
        stage: Stage,
        arrays: Sequence[Tensor],
        all_maps: bool = False,
    ) -> OwnActivations:
        """Return the (n,) value of each image's own item.

        Args:
            inputs: one tensor for each of the model's inputs.
            items: (n,) int32: the item that each image is for.
            arrays: of the targets, as tensors.
            all_maps: run all maps of the layer, for their features.
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
        self.noun = layer.noun
        self.can_be_inactive = np.full(layer.maps, layer.can_be_inactive)
        self.upper_limit = np.full(layer.maps, layer.upper_limit)
        self.jump = layer.jump
        self.are_units = not layer.size
        self.uses_probe = np.ones((1, 1), bool)
        self.bytes_per_image = network.activation_bytes(layer)
        self.key = ("maps", layer.response.key, layer.can_be_inactive)

    def all_activations(self, images: Tensor) -> Activations:
        (pre_activation, response), *_ = layer_graph(self._network, self.layer.response)(images)
        nodes = _node_axes(pre_activation)
        post = tf.reduce_mean(response, nodes)  # (n, maps)
        pre = tf.reduce_mean(pre_activation, nodes)
        return Activations(post, pre, tf.reduce_max(pre_activation, nodes))

    def own_activations(
        self,
        inputs: Sequence[Tensor],
        items: Tensor,
        stage: Stage,
        arrays: Sequence[Tensor],
        all_maps: bool = False,
    ) -> OwnActivations:
        output, maps = self.layer.response, self.layer.maps
        single = not all_maps and has_own_maps(self._network, output)
        if single:  # (n, *nodes, 1), else (n, *nodes, maps)
            pre_activation, response = run_to_own(self._network, list(inputs), output, items)
        else:
            pre_activation, response = self._tensors(inputs, for_gradient=True)
        nodes, ones = _node_axes(pre_activation), [1] * (len(pre_activation.shape) - 1)
        positions = None if single else tf.stack([tf.range(tf.size(items)), items], 1)
        own_map = None if single else tf.reshape(tf.one_hot(items, maps), [-1, *ones[1:], maps])

        def of_items(values: Tensor) -> Tensor:
            """Return (n,) of (n, maps), or of (n, 1)."""
            return (
                tf.reshape(values, [-1]) if positions is None else tf.gather_nd(values, positions)
            )

        def of_means(selection: Tensor) -> Tensor:
            """Return the gradient of the means of chosen images, (n, 1, ..., maps)."""
            share = tf.cast(selection, tf.float32) / _node_count(pre_activation)  # (n,)
            share = tf.reshape(share, [-1, *ones])
            return share if own_map is None else share * own_map

        features, shape = _features(pre_activation), tf.shape(pre_activation)
        post = of_items(tf.reduce_mean(response, nodes))
        if pre_activation is response:
            slope = tf.broadcast_to(of_means(tf.fill(tf.shape(post), True)), shape)
            by_pre = tf.zeros_like(post, tf.bool)
            return OwnActivations(post, post, [response], [slope], by_pre, features)
        pre = of_items(tf.reduce_mean(pre_activation, nodes))
        inactive = tf.logical_not(post > 0) & self.layer.can_be_inactive
        by_pre = (inactive | stage.warming) & stage.climb_inactive
        by_peak = by_pre & inactive & stage.peak

        def of_peaks() -> Tensor:
            """Return the gradient of the means, or of the largest values, shared by equal ones."""
            largest = tf.equal(pre_activation, tf.reduce_max(pre_activation, nodes, keepdims=True))
            largest = tf.cast(largest & tf.reshape(by_peak, [-1, *ones]), tf.float32)
            count = tf.maximum(tf.reduce_sum(largest, nodes, keepdims=True), 1.0)
            slope = largest / count
            slope = slope if own_map is None else slope * own_map
            return slope + of_means(by_pre & tf.logical_not(by_peak))

        def of_all_means() -> Tensor:
            return tf.broadcast_to(of_means(by_pre), shape)

        slope = of_peaks() if single else tf.cond(tf.reduce_any(by_peak), of_peaks, of_all_means)
        by_post = tf.broadcast_to(of_means(tf.logical_not(by_pre)), shape)
        at_limit = response >= self.layer.upper_limit
        if math.isfinite(self.layer.upper_limit):  # no gradient leads on there
            slope += tf.where(at_limit, by_post, 0.0)
        capped = of_items(tf.cast(tf.reduce_all(at_limit, nodes), tf.float32)) > 0
        return OwnActivations(
            post, pre, [pre_activation, response], [slope, by_post], capped, features
        )

    def probes(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [self._tensors(inputs)[0]]

    def _tensors(self, inputs: Sequence[Tensor], for_gradient: bool = False) -> LayerActivations:
        """Return pre-activation and response, both (n, *nodes, maps), with finite weights."""
        network, response = self._network, self.layer.response
        finite = network.finite_weights
        return run_to(network.model, inputs, response, finite, for_gradient, network.spoiled)


@dataclass(frozen=True)
class _TermSource:
    """A term and the tensor of the network that it is computed from."""

    term: Term
    output: LayerOutput
    can_be_inactive: bool = False
    upper_limit: float = math.inf
    """The largest value that the term can have."""
    logit: bool = False
    """Only the pre-activation counts: a class's logit."""
    sign: float = 1.0
    """-1 for class 0 of a single unit, whose logit is that of class 1."""
    jump: tuple[float, ...] | None = None
    is_unit: bool = False
    """Its layer has no nodes in the image."""

    @property
    def probe(self) -> tuple[object, ...]:
        """A key that is equal for terms of the same nodes, whatever their maps."""
        return self.output.key, self.term.node

    @property
    def group(self) -> _TermGroup:
        """The group of terms that are read alike."""
        form: Form = "node" if self.term.kind == "node" else "mean"
        form = form if self.term.weights is None else "direction"
        return _TermGroup(self.output.key, form, self.logit)

    def probed(self, tensor: Tensor) -> Tensor:
        """Return (n, values): all maps of a tensor (n, *nodes, maps) at the nodes of the term."""
        at_node = tensor[(slice(None), *self.term.node)] if self.term.node else tensor
        return tf.reshape(at_node, [tf.shape(at_node)[0], -1])


class _TermGroup(NamedTuple):
    """Terms that are read from one tensor in one way, all at once."""

    output: tuple[Hashable, ...]
    form: Form
    logit: bool

    def array(self, sources: Sequence[_TermSource]) -> np.ndarray:
        """Return the key of a group of t terms.

        Nodes as (t, axes + 1) int32, maps or units as (t, 2) of number and sign, directions as
        (t, maps).
        """
        terms = [source.term for source in sources]
        if self.form == "node":
            return np.array([(*term.node, term.number) for term in terms], np.int32)
        if self.form == "direction":
            return np.array([term.weights for term in terms], np.float32)
        signs = [source.sign for source in sources]
        return np.array(
            [(term.number, sign) for term, sign in zip(terms, signs, strict=True)], np.float32
        )

    def read(self, tensor: Tensor, array: Tensor) -> Tensor:
        """Return (n, t) of a tensor (n, *nodes, maps)."""
        if self.form == "node":
            return tf.gather_nd(tensor, self._indices(tensor, array))
        means = tf.reduce_mean(tensor, _node_axes(tensor)) if len(tensor.shape) > 2 else tensor
        if self.form == "direction":
            return tf.matmul(means, array, transpose_b=True)
        return tf.gather(means, tf.cast(array[:, 0], tf.int32), axis=1) * array[:, 1]

    def slope(self, tensor: Tensor, array: Tensor, weights: Tensor) -> Tensor:
        """Return the gradient by the tensor of the terms' sum with weights (n, t)."""
        shape = tf.shape(tensor)
        if self.form == "node":
            return tf.scatter_nd(self._indices(tensor, array), weights, shape)
        if self.form == "mean":
            numbers = tf.one_hot(tf.cast(array[:, 0], tf.int32), tensor.shape[-1])  # (t, maps)
            array = numbers * array[:, 1:]
        slope = tf.matmul(weights, array) / _node_count(tensor)  # (n, maps)
        ones = [1] * (len(tensor.shape) - 2)
        return tf.broadcast_to(tf.reshape(slope, [-1, *ones, tensor.shape[-1]]), shape)

    def _indices(self, tensor: Tensor, array: Tensor) -> Tensor:
        """Return (n, t, axes + 2): image, node and map."""
        images, terms = tf.shape(tensor)[0], tf.shape(array)[0]
        rows = tf.broadcast_to(tf.range(images)[:, None, None], [images, terms, 1])
        return tf.concat([rows, tf.tile(array[None], tf.stack([images, 1, 1]))], 2)


class _TermArrays(NamedTuple):
    """The arrays of objectives, as tensors of a graph."""

    weights: Tensor
    """(objectives, terms)."""
    can_be_inactive: Tensor
    """(terms,), as `limits`."""
    limits: Tensor
    """Responses that are the largest."""
    groups: Sequence[Tensor]
    """(terms of the group, ...) for each group of terms."""

    @classmethod
    def of(cls, arrays: Sequence[Tensor]) -> Self:
        """Return the arrays in the order of `ObjectiveTargets.arrays`."""
        weights, can_be_inactive, limits, *groups = arrays
        return cls(weights, can_be_inactive, limits, groups)


class ObjectiveTargets(Targets):
    """Objectives: weighted sums of terms of any layers of the network."""

    def __init__(self, network: Network, objectives: Sequence[Objective], layer: str | None = None):
        self._network = network
        self.name, self.index = "objectives", network.objectives_index
        self.noun = "objective"
        self.labels = tuple(map(str, objectives))
        self.identity = [
            " + ".join(f"{weight!r}*{term.key}" for weight, term in item.terms)
            for item in objectives
        ]
        terms = {term.key: term for item in objectives for _, term in item.terms}
        sources = {key: _term_source(network, term, layer) for key, term in terms.items()}
        members: dict[_TermGroup, list[str]] = {}
        for key, source in sources.items():
            members.setdefault(source.group, []).append(key)
        self._groups = list(members)
        keys = [key for group_keys in members.values() for key in group_keys]
        self._sources = [sources[key] for key in keys]
        self._outputs = list(
            {source.output.key: source.output for source in self._sources}.values()
        )
        self._weights = _weights(objectives, keys)
        is_used = self._weights != 0
        inactive = np.array([source.can_be_inactive for source in self._sources])
        self.can_be_inactive = np.all((self._weights >= 0) & (inactive | ~is_used), axis=1)
        limits = np.array([source.upper_limit for source in self._sources], np.float32)
        self.upper_limit = _upper_limits(self._weights, limits)
        self._probed, self.uses_probe = _probe_terms(self._sources, is_used)
        self.jump = next((s.jump for s in self._sources if s.jump is not None), None)
        self.are_units = all(source.is_unit for source in self._sources)
        self.bytes_per_image = network.activation_bytes()
        self.refuses_constants = True
        self.any_size = all(group.form != "node" for group in self._groups)
        self.key = ("objectives", *self._groups)
        group_arrays = [
            group.array([sources[key] for key in group_keys])
            for group, group_keys in members.items()
        ]
        self.arrays = (self._weights, inactive, limits, *group_arrays)
        group_shapes = ((None, array.shape[1]) for array in group_arrays)
        self.array_shapes = ((None, None), (None,), (None,), *group_shapes)

    def all_activations(self, images: Tensor) -> Activations:
        arrays = _TermArrays.of([tf.constant(array) for array in self.arrays])
        reached = layer_graph(self._network, *self._outputs)(images)
        post, pre = self._values(reached, arrays.groups)  # (n, terms)
        post, pre = self._sums(post), self._sums(pre)  # (n, objectives)
        return Activations(post, pre, pre)

    def _sums(self, terms: Tensor) -> Tensor:
        """Return (n, objectives) from (n, terms); NaN where a term of the objective is not finite.

        A plain product would be NaN for all of them, zero times NaN being NaN.
        """
        finite = tf.math.is_finite(terms)
        sums = tf.matmul(tf.where(finite, terms, 0.0), self._weights, transpose_b=True)
        uses = (self._weights != 0).astype(np.float32)
        broken = tf.matmul(tf.cast(~finite, tf.float32), uses, transpose_b=True) > 0
        return tf.where(broken, np.nan, sums)

    def own_activations(
        self,
        inputs: Sequence[Tensor],
        items: Tensor,
        stage: Stage,
        arrays: Sequence[Tensor],
        all_maps: bool = False,
    ) -> OwnActivations:
        reached = self._tensors(inputs)
        terms = _TermArrays.of(arrays)
        post, pre = self._values(reached, terms.groups)  # (n, terms)
        weights = tf.gather(terms.weights, items)  # (n, terms)
        inactive = terms.can_be_inactive & (post <= 0)  # (n, terms), as at_limit
        at_limit = post >= terms.limits
        by_pre = (weights > 0) & (((inactive | stage.warming) & stage.climb_inactive) | at_limit)
        for_pre, for_post = tf.where(by_pre, weights, 0.0), tf.where(by_pre, 0.0, weights)
        tensors: dict[int, Tensor] = {}
        slopes: dict[int, list[Tensor]] = {}
        begin = 0
        for group, array in zip(self._groups, terms.groups, strict=True):
            pre_activation, group_response = reached[self._number(group)]
            end = begin + tf.shape(array)[0]
            for tensor, share in (
                (pre_activation, for_pre),
                (pre_activation if group.logit else group_response, for_post),
            ):
                slope = group.slope(tensor, array, share[:, begin:end])
                tensors[id(tensor)] = tensor
                slopes.setdefault(id(tensor), []).append(slope)
            begin = end
        capped = tf.reduce_all(((weights > 0) & at_limit) | tf.equal(weights, 0.0), 1)
        post, pre = (tf.reduce_sum(response * weights, 1) for response in (post, pre))
        features = _features(reached[0].pre_activation)
        return OwnActivations(
            post,
            pre,
            list(tensors.values()),
            [tf.add_n(of_groups) for of_groups in slopes.values()],
            capped,
            features,
        )

    def probes(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        reached = self._tensors(inputs)
        sources = [self._sources[row] for row in self._probed]
        return [source.probed(reached[self._number(source.group)][0]) for source in sources]

    def _number(self, group: _TermGroup) -> int:
        """Return the number of the output that a group is read from."""
        return [output.key for output in self._outputs].index(group.output)

    def _values(
        self, reached: Sequence[LayerActivations], group_arrays: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return (n, terms) after and before their activation."""
        post, pre = [], []
        for group, array in zip(self._groups, group_arrays, strict=True):
            pre_activation, response = reached[self._number(group)]
            pre.append(group.read(pre_activation, array))
            is_same = group.logit or pre_activation is response
            post.append(pre[-1] if is_same else group.read(response, array))
        return tf.concat(post, 1), tf.concat(pre, 1)

    def _tensors(self, inputs: Sequence[Tensor]) -> list[LayerActivations]:
        network = self._network
        finite = network.finite_weights
        return run_to_all(network.model, inputs, self._outputs, finite, True, network.spoiled)


def _weights(objectives: Sequence[Objective], keys: Sequence[str]) -> np.ndarray:
    """Return the weights (objectives, terms) of terms by their keys.

    Raises:
        SettingsError: an objective whose weights cancel out.
    """
    weights = np.zeros((len(objectives), len(keys)), np.float32)
    for row, item in enumerate(objectives):
        for weight, term in item.terms:
            weights[row, keys.index(term.key)] += weight
        if not weights[row].any():
            raise SettingsError(
                f"objective '{item}'", "one that depends on the input", "a constant"
            )
    return weights


def _upper_limits(weights: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the largest value (objectives,) of each objective; infinity if there is none.

    Args:
        weights: (objectives, terms).
        limits: (terms,): the largest value of each term.
    """
    highest = np.where(weights < 0, np.inf, limits)
    products = np.multiply(abs(weights), highest, np.zeros(weights.shape), where=weights != 0)
    return products.sum(1)


def _probe_terms(
    sources: Sequence[_TermSource], is_used: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """Return a term of each probe, and the probes of each objective, (objectives, probes) bool.

    Args:
        sources: of the terms; those with equal probes share one.
        is_used: (objectives, terms) bool.
    """
    probes = [source.probe for source in sources]
    probed = [probes.index(probe) for probe in dict.fromkeys(probes)]
    is_same = np.array([[probe == probes[index] for index in probed] for probe in probes])
    return probed, np.any(is_used[:, :, None] & is_same, axis=1)


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
    return ObjectiveTargets(network, parse_objectives(objectives), layer)


def _term_source(network: Network, term: Term, layer: str | None) -> _TermSource:
    """Return the tensor of a term.

    Raises:
        ModelError, SettingsError: the network has no such layer, map, unit or node.
    """
    name = term.layer if term.layer is not None else layer
    try:
        if term.kind == "class":
            return _class_source(network, term)
        return _channel_source(network, term, _required(name, term))
    except ModelError as error:
        if term.layer is not None and _JOINED.search(term.layer):
            form = "spaces around + and -, which layers' names may hold"
            raise SettingsError("objective", form, f"'{term}'") from error
        raise


def _class_source(network: Network, term: Term) -> _TermSource:
    """Return the logit of a class; one unit is two classes, the first its negative."""
    layer, name = term.layer, term.class_name
    if name and name not in (network.classes or ()) and ":" in name:
        layer, _, name = name.rpartition(":")
    head = network.class_layer() if layer is None else network.dense_layer(layer)
    count = max(2, head.maps)
    class_index = term.number
    if name:
        names = network.classes if network.classes and len(network.classes) == count else ()
        if name not in names:
            listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            forms = f"0 to {count - 1}" + (f" or one of {listed}" if names else ", no names known")
            hint = did_you_mean(name, names)
            if network.classes and not names:
                hint = f"The names that are there are of {len(network.classes)} classes."
            raise SettingsError(f"objective '{term}': classes", forms, f"'{name}'", hint)
        if names.count(name) > 1:
            numbers = " or ".join(
                str(k) for k, other_name in enumerate(names) if other_name == name
            )
            forms, received = f"a number, {numbers}", f"'{name}', the name of each of them"
            raise SettingsError(f"objective '{term}': classes", forms, received)
        class_index = names.index(name)
    else:
        _check_number(term, count, f"classes of '{head.name}'")
        _warn_of_class_number(term, network.classes or (), count)
    sign = -1.0 if head.maps == 1 and class_index == 0 else 1.0
    class_index = 0 if head.maps == 1 else class_index
    return _TermSource(
        replace(term, number=class_index), head.response, logit=True, sign=sign, is_unit=True
    )


def _warn_of_class_number(term: Term, names: Sequence[str], count: int) -> None:
    """Warn where a class's number is the name of another class."""
    name = str(term.number)
    if len(names) == count and name in names and names.index(name) != term.number:
        notice(
            f"'{term}' is the class of number {name}, called '{names[term.number]}'; the one "
            f"called '{name}' has number {names.index(name)}."
        )


def _channel_source(network: Network, term: Term, name: str) -> _TermSource:
    layer = network.find(name)
    if term.kind == "unit":  # as the layer gives it; the logits of a softmax are those of classes
        layer = layer.with_softmax()
    if term.weights is None:
        _check_number(term, layer.maps, f"{layer.noun}s of layer '{layer.name}'")
    elif len(term.weights) != layer.maps:
        raise SettingsError(
            f"'{term}' for '{layer.name}'", f"{layer.maps} numbers", len(term.weights)
        )
    is_inside = len(term.node) == len(layer.size) and np.all(np.less(term.node, layer.size))
    if term.kind == "node" and not is_inside:
        size = " x ".join(map(str, layer.size)) or "one value"
        raise SettingsError(
            f"objective '{term}'", f"a node of the {size} of '{layer.name}'", term.node
        )
    positive = term.weights is None or bool(np.all(term.weights >= 0))
    return _TermSource(
        term,
        layer.response,
        can_be_inactive=layer.can_be_inactive and positive,
        upper_limit=layer.upper_limit if term.weights is None else math.inf,
        jump=layer.jump,
        is_unit=not layer.size,
    )


def _required(name: str | None, term: Term) -> str:
    if name is None:
        raise SettingsError(
            f"objective '{term}'", "the name of its layer, as in map:LAYER:17", "none"
        )
    return name


def _check_number(term: Term, count: int, items: str) -> None:
    if term.number >= count:
        raise SettingsError(f"objective '{term}': {items}", f"0 to {count - 1}", term.number)


def _node_axes(tensor: Tensor) -> list[int]:
    return list(range(1, len(tensor.shape) - 1))


def _node_count(tensor: Tensor) -> float:
    return float(np.prod([int(side or 0) for side in tensor.shape[1:-1]]))


def _features(tensor: Tensor) -> Tensor:
    """Return (n, nodes, maps) of a tensor (n, *nodes, maps)."""
    return tf.reshape(tensor, [tf.shape(tensor)[0], -1, tensor.shape[-1]])
