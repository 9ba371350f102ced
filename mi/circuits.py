"""Causes of a unit: which units of an earlier layer feed it, and which outputs it moves.

Each unit of the earlier layer is silenced in turn, to zero or to its mean, and the unit's mean
response is measured again on the same images; so are the network's logits when the unit itself is
silenced. That is what a unit does to another in this network, through all layers between, which
neither kernels nor correlations tell. Effects do not add up: two units that stand in for each other
have none each.

References:
    N. Cammarata et al.: Thread: circuits. Distill 2020. A. Conmy et al.: Towards automated circuit
    discovery for mechanistic interpretability. NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from oip.core import html
from oip.core.checks import check_choice, check_whole
from oip.core.errors import ModelError, SettingsError
from oip.core.formats import UnitCauses
from oip.core.progress import Progress, automatic, silent
from oip.core.units import finite_list, finite_or_none, three_best
from oip.mi.ablation import ablate, run_silenced
from oip.mi.layer_sample import BYTE_BUDGET, LayerSample, unlabeled_subset

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo, LayerOutput
    from oip.network.network import Network

_BATCH = 128
_Z = 1.959964
"""Half the width of a 95 % interval, in standard errors."""
_FEW = 16
"""Images that show whether a layer feeds a unit at all."""


@dataclass(frozen=True, eq=False)
class Causes:
    """Effects on a unit and of it, means over images; NaN if not finite."""

    layer: str
    index: int
    unit: int
    response: float
    """The unit's mean response."""
    source: str
    """The earlier layer."""
    source_index: int
    maps: np.ndarray
    """(s,) int: units of the earlier layer."""
    effect: np.ndarray
    """(s,): the unit's mean response less that without each of them, in units of the response;
    above 0 it excites, below 0 it inhibits."""
    low: np.ndarray
    """(s,): lower end of the 95 % interval over images."""
    high: np.ndarray
    """(s,): upper end of the 95 % interval over images."""
    share: np.ndarray
    """(s,): the effect as a share of the unit's mean response without its sign."""
    kernel: np.ndarray
    """(s,): length of the kernel slice from each of them to the unit; NaN where layers lie between.
    """
    classes: tuple[str, ...]
    """Names of the outputs; empty for a network that does not end in classes."""
    logit_effect: np.ndarray
    """(c,): mean logit of each output less that without the unit."""
    logit_low: np.ndarray
    """(c,): lower end of the 95 % interval over images."""
    logit_high: np.ndarray
    """(c,): upper end of the 95 % interval over images."""
    to: str
    """The value of silenced units, `zero` or `mean`."""
    samples: int
    split: str = ""
    notices: tuple[str, ...] = ()
    agreement: float = np.nan
    """Spearman's correlation, over the units of the earlier layer, of their effects without sign
    with the increase of the network's loss without each of them; NaN without labels."""

    @property
    def order(self) -> np.ndarray:
        """(s,) int: units of the earlier layer, the largest effect of either sign first."""
        return self.maps[self._rows]

    @property
    def _rows(self) -> np.ndarray:
        return np.argsort(-np.abs(np.nan_to_num(self.effect)), kind="stable")

    @property
    def outputs(self) -> np.ndarray:
        """(c,) int: outputs, the largest effect of either sign first."""
        return np.argsort(-np.abs(np.nan_to_num(self.logit_effect)), kind="stable")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `oip trace --json` prints them."""
        names = ("effect", "low", "high", "share", "kernel")
        columns = {name: finite_list(getattr(self, name)) for name in names}
        ends = ("logit_effect", "logit_low", "logit_high")
        outputs = {name: finite_list(getattr(self, name)) for name in ends}
        return {
            "layer": self.layer,
            "index": self.index,
            "unit": self.unit,
            "response": self.response,
            "source": self.source,
            "source_index": self.source_index,
            "silenced_to": self.to,
            "samples": self.samples,
            "split": self.split,
            "agreement": finite_or_none(self.agreement),
            "units": [
                {"map": int(self.maps[row]), **{name: columns[name][row] for name in names}}
                for row in self._rows
            ],
            "outputs": [
                {"output": int(row), "class": self.classes[row]}
                | {name: outputs[name][row] for name in ends}
                for row in self.outputs
            ],
            "notices": list(self.notices),
        }

    def to_file(self, most: int = 16) -> UnitCauses:
        """Return what a run keeps of it: the largest effects, at most so many."""
        rows, outputs = self._rows[:most], self.outputs[: most if self.classes else 0]
        size = abs(self.response) or np.nan
        return UnitCauses(
            unit=self.unit,
            response=finite_or_none(self.response),
            source=self.source,
            source_index=self.source_index,
            silenced_to=self.to,
            samples=self.samples,
            split=self.split,
            agreement=finite_or_none(self.agreement),
            units=self.maps[rows].tolist(),
            share=finite_list(self.share[rows]),
            low=finite_list(self.low[rows] / size),
            high=finite_list(self.high[rows] / size),
            outputs=outputs.tolist(),
            classes=[self.classes[row] for row in outputs],
            logit_effect=finite_list(self.logit_effect[outputs]),
            logit_low=finite_list(self.logit_low[outputs]),
            logit_high=finite_list(self.logit_high[outputs]),
        )

    def to_pandas(self) -> DataFrame:
        """Return a row for each unit of the earlier layer, the largest effect first."""
        import pandas

        names = ("effect", "low", "high", "share", "kernel")
        columns = {name: getattr(self, name)[self._rows] for name in names}
        return pandas.DataFrame({"layer": self.source, "map": self.order, **columns})

    def outputs_to_pandas(self) -> DataFrame:
        """Return a row for each output of the network, the largest effect first."""
        import pandas

        rows = self.outputs
        names = ("logit_effect", "logit_low", "logit_high")
        columns = {name: getattr(self, name)[rows] for name in names}
        named = {"output": rows, "class": [self.classes[row] for row in rows]}
        return pandas.DataFrame({**named, **columns})

    def __repr__(self) -> str:
        best = three_best(self.order, self.effect[self._rows])
        moved = three_best([self.classes[row] for row in self.outputs], self._moved)
        return f"Causes({self.layer}:{self.unit}; fed by {self.source} {best}; moves {moved})"

    @property
    def _moved(self) -> np.ndarray:
        return self.logit_effect[self.outputs]

    def _repr_html_(self) -> str:
        headings = {"map": "unit", "effect": "effect on the response", "low": "from"}
        headings |= {"high": "to, 95 %", "share": "share", "kernel": "length of the kernel"}
        text = f"mean response {self.response:z.3g}; {self.samples} images, silenced to {self.to}"
        if np.isfinite(self.agreement):
            text += f"; agreement with the loss of the whole network {self.agreement:z.2f}"
        paragraphs = [html.paragraph(line) for line in (text, *self.notices)]
        tables = [html.frame(self.to_pandas(), headings, 20)]
        if self.classes:
            headings = {"class": "output", "logit_effect": "effect on the logit"}
            headings |= {"logit_low": "from", "logit_high": "to, 95 %"}
            tables.append(html.frame(self.outputs_to_pandas(), headings, 20))
        title = f"{self.layer}:{self.unit}: fed by {self.source}"
        return html.block(title, *paragraphs, *tables)


def causes(
    model_or_path: ModelLike,
    images: np.ndarray,
    layer: str | LayerInfo,
    unit: int,
    *,
    source: str | LayerInfo | None = None,
    to: Literal["zero", "mean"] = "zero",
    labels: ArrayLike | None = None,
    samples: int = 500,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    split: str = "",
    progress: Progress = automatic,
    byte_budget: int = BYTE_BUDGET,
) -> Causes:
    """Measure which units of an earlier layer feed a unit, and which outputs it moves.

    Args:
        model_or_path: a Keras model, its path, or an `oip.Network`.
        images: (n, h, w, bands), as the model takes them.
        layer: name of the unit's layer.
        unit: its number.
        source: name of an earlier layer; the nearest one that feeds the unit if None.
        to: `zero`, as if a unit had been cut out; `mean`, its mean over images and nodes: what it
            tells is lost, while the level that later layers were trained with stays.
        labels: (n,) as `mi.ablate` takes them, to compare the effects on the unit with those on the
            whole network's loss; not needed for anything else.
        samples: images that are used.
        classes: names of the outputs; those of the network if None.
        seed: of the images drawn.
        split: name of the images, for the result.
        progress: called with the progress of each step.
        byte_budget: of activations in memory at a time.

    Returns:
        Effects with 95 % intervals over the images (paired, normal).

    Raises:
        ModelError: an unknown layer, or none before it.
        SettingsError: an unknown unit; a source that is not before the layer.
        DataError: images that do not fit.

    References:
        See the module.

    >>> mi.causes("model.keras", images, "Conv2D_3", 17).order[:5]  # doctest: +SKIP
    """
    check_choice("to", to, ("zero", "mean"))
    samples = check_whole("samples", samples)
    sample = LayerSample.of(model_or_path, images, layer, seed=seed)
    network, info = sample.network, sample.layer
    if isinstance(unit, bool) or not 0 <= unit < info.maps:
        raise SettingsError("unit", f"0 to {info.maps - 1} of '{info.name}'", unit)
    sample = sample.take(unlabeled_subset(len(sample), samples, seed))
    earlier = _source(network, info, unit, source, sample.images, to)
    label = f"{earlier.name} to {info.name}:{unit}"
    fed = _effects(sample, earlier, info.response, _mean_of(unit), to, label, progress, byte_budget)
    moved, names = None, ()
    if _ends_in_classes(network) and network.class_layer().last_call > info.last_call:
        head = network.class_layer()
        label = f"{info.name}:{unit} to the outputs"
        more = (to, label, progress, byte_budget)
        moved = _effects(sample, info, head.response, _logits, *more, maps=np.array([unit]))
        given = classes or network.classes or ()
        names = tuple(map(str, given if len(given) == head.maps else range(head.maps)))
    empty = np.full((1, 0), np.nan)
    logits = _SilencingEffects(empty, empty, empty, np.empty(0)) if moved is None else moved
    size = abs(float(fed.whole[0]))
    notices = []
    if size == 0:
        notices.append("The unit is silent on these images: there is nothing to take away.")
    share = fed.mean[:, 0] / size if size > 0 else np.full(earlier.maps, np.nan)
    agreement = np.nan
    if labels is not None:
        whole = ablate(network, images, labels, earlier, to=to, samples=samples, seed=seed)
        agreement = _agreement(fed.mean[:, 0], whole.loss_increase)
    return Causes(
        layer=info.name,
        index=info.index,
        unit=int(unit),
        response=float(fed.whole[0]),
        source=earlier.name,
        source_index=earlier.index,
        maps=np.arange(earlier.maps),
        effect=fed.mean[:, 0],
        low=fed.low[:, 0],
        high=fed.high[:, 0],
        share=share,
        kernel=_kernel_lengths(earlier, info, unit),
        classes=names,
        logit_effect=logits.mean[0],
        logit_low=logits.low[0],
        logit_high=logits.high[0],
        to=to,
        samples=len(sample),
        split=split,
        notices=tuple(notices),
        agreement=agreement,
    )


def _agreement(effects: np.ndarray, increases: np.ndarray) -> float:
    """Return Spearman's correlation of effects without sign and increases of the loss."""
    from scipy.stats import spearmanr

    finite = np.isfinite(effects) & np.isfinite(increases)
    sides = np.abs(effects[finite]), increases[finite]
    if finite.sum() < 3 or not all(np.ptp(side) > 0 for side in sides):
        return np.nan
    result: Any = spearmanr(*sides)
    return float(result.statistic)


class _SilencingEffects(NamedTuple):
    """Effects of k silenced maps on c numbers."""

    mean: np.ndarray
    """(k, c): mean over images of the numbers less those without the map."""
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray
    """(c,): mean of the numbers with all maps."""


def _effects(
    sample: LayerSample,
    source: LayerInfo,
    output: LayerOutput,
    numbers: Callable[[Any], Tensor],
    to: str,
    label: str,
    progress: Progress,
    byte_budget: int,
    maps: np.ndarray | None = None,
) -> _SilencingEffects:
    """Silence one map of a layer after another, and measure what becomes of a later layer.

    Args:
        numbers: of the later layer's activations, (n, c).
        maps: of the source; all if None.
    """
    import tensorflow as tf

    from oip.network.forward import (
        batch_size,
        compiled_for_images,
        image_batches,
        layer_graph,
        spatial_means,
    )

    network, pixels, count = sample.network, sample.images, len(sample)
    silenced = np.arange(source.maps) if maps is None else maps
    fill = np.zeros(source.maps)
    if to == "mean":
        for means in spatial_means(network, pixels, source):
            fill += means.sum(axis=0, dtype=np.float64) / count
    new = tf.constant(fill, tf.float32)

    def outcomes(images: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
        """Return (k, n, c)."""
        result = numbers(run_silenced(network, source, images, values, chosen, new, output))
        return tf.reshape(result, [tf.shape(chosen)[0], tf.shape(images)[0], -1])

    before = layer_graph(network, source.response)
    run = compiled_for_images(
        network,
        outcomes,
        tf.TensorSpec((None, *source.size, source.maps), tf.float32),
        tf.TensorSpec((None,), tf.int32),
    )
    size = network.activation_bytes()
    batch = batch_size(size, byte_budget, _BATCH)
    room = max(1, byte_budget // (size * min(batch, count)))
    sums = squares = whole = 0.0
    done, total = 0, len(silenced) * -(-count // batch)
    progress(label, done, total)
    for _, part in image_batches(pixels, size, byte_budget, _BATCH):
        images = tf.constant(part)
        values = before(images)[0].response
        own = run(images, values, tf.constant([-1])).numpy().astype(np.float64)
        changes = []
        for start in range(0, len(silenced), room):
            block = silenced[start : start + room]
            without = run(images, values, tf.constant(block, tf.int32)).numpy()
            changes.append(own - without)
            done += len(block)
            progress(label, done, total)
        change = np.concatenate(changes)
        sums = sums + change.sum(axis=1)
        squares = squares + np.square(change).sum(axis=1)
        whole = whole + own[0].sum(axis=0)
    mean = np.asarray(sums) / count
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0.0) / count)
    return _SilencingEffects(
        mean, mean - _Z * spread, mean + _Z * spread, np.asarray(whole) / count
    )


def _mean_of(unit: int) -> Callable[[Any], Tensor]:
    """Return a function of a layer's activations: the unit's mean response (n, 1)."""
    import tensorflow as tf

    def mean(activations: Any) -> Tensor:
        response = activations.response[..., unit]
        return tf.reduce_mean(tf.reshape(response, [tf.shape(response)[0], -1]), 1, keepdims=True)

    return mean


def _logits(activations: Any) -> Tensor:
    """Return the logits (n, c) of the class layer's activations."""
    return activations.pre_activation


def _ends_in_classes(network: Network) -> bool:
    try:
        network.class_layer()
    except ModelError:
        return False
    return True


def _source(
    network: Network,
    layer: LayerInfo,
    unit: int,
    source: str | LayerInfo | None,
    images: np.ndarray,
    to: str,
) -> LayerInfo:
    """Return the layer that is named, or the nearest earlier one that feeds the unit.

    Raises:
        ModelError: there is none.
        SettingsError: it is not before the layer.
    """
    if source is not None:
        info = network.find_output(source) if isinstance(source, str) else source
        if info.last_call >= layer.last_call:
            raise SettingsError("source", f"a layer before '{layer.name}'", f"'{info.name}'")
        return info
    few = LayerSample.of(network, images[:_FEW], layer)
    earlier = [candidate for candidate in network.shown_layers() if _is_before(candidate, layer)]
    if not earlier:
        raise ModelError(f"'{layer.name}'", "a layer with maps or units before it", "none")
    for info in reversed(earlier):
        effects = _effects(few, info, layer.response, _mean_of(unit), to, "", silent, BYTE_BUDGET)
        if np.any(effects.mean):
            return info
    return earlier[-1]


def _is_before(info: LayerInfo, layer: LayerInfo) -> bool:
    """Return whether a layer is an earlier one with kernels; pooling has the maps of another."""
    from oip.network.layer_types import is_pooling

    own = info.response.layer
    is_another = own is not layer.response.layer and not is_pooling(own)
    is_silenced_as_it_is = info.response.form == "activated"  # no heads, no softmax
    return is_another and is_silenced_as_it_is and info.last_call < layer.last_call


def _kernel_lengths(source: LayerInfo, layer: LayerInfo, unit: int) -> np.ndarray:
    """Return (s,): the length of each kernel slice to the unit, NaN where it does not read them."""
    from oip.network.layer_types import why_not_plain
    from oip.network.surgery import kernel_matrix

    own = layer.response.layer
    lengths = np.full(source.maps, np.nan)
    if type(own).__name__ not in ("Conv1D", "Conv2D", "Dense") or why_not_plain(own):
        return lengths
    kernel = kernel_matrix(own)
    if kernel.shape[1] != source.maps or getattr(own, "groups", 1) != 1:
        return lengths
    return np.linalg.norm(kernel[:, :, unit], axis=0)
