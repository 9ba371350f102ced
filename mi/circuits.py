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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from oip.core import html
from oip.core.checks import check_choice, check_whole
from oip.core.errors import ModelError, SettingsError
from oip.core.formats import UnitCauses
from oip.core.progress import Progress, automatic
from oip.core.units import finite_list, finite_or_none, three_best
from oip.mi.ablation import ablate
from oip.mi.layer_sample import BYTE_BUDGET, ImageSubset, LayerSample, unlabeled_subset
from oip.mi.ranking import spearman
from oip.mi.silencing import (
    ImageNumbers,
    SilencedMaps,
    SilencingEffects,
    fill_values,
    silencing_effects,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.mi.layer_sample import ModelLike
    from oip.network.forward import LayerActivations
    from oip.network.layers import LayerInfo
    from oip.network.network import Network

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
        effect_names = ("logit_effect", "logit_low", "logit_high")
        outputs = {name: finite_list(getattr(self, name)) for name in effect_names}
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
                | {name: outputs[name][row] for name in effect_names}
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
        head = {"output": rows, "class": [self.classes[row] for row in rows]}
        return pandas.DataFrame({**head, **columns})

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
    unit = check_whole(f"unit of '{info.name}'", unit, 0)
    if unit >= info.maps:
        raise SettingsError("unit", f"0 to {info.maps - 1} of '{info.name}'", unit)
    sample = sample.take(unlabeled_subset(len(sample), samples, seed))
    response = _mean_response(info, unit)
    earlier = _source(sample, response, source, to)
    fill = fill_values(sample, earlier, to, byte_budget)
    silenced = SilencedMaps(earlier, np.arange(earlier.maps), fill)
    label = f"{earlier.name} to {info.name}:{unit}"
    on_unit = silencing_effects(sample, silenced, response, label, progress, byte_budget)
    names, on_logits = _effects_on_logits(sample, unit, to, classes, progress, byte_budget)
    effect, margin = 0.0 - on_unit.mean[:, 0], on_unit.margin[:, 0]  # 0.0, not -0.0, for no change
    logit_effect, logit_margin = 0.0 - on_logits.mean[0], on_logits.margin[0]
    size = abs(float(on_unit.whole[0]))
    agreement = np.nan
    if labels is not None:
        ablation = ablate(
            network,
            images,
            labels,
            earlier,
            to=to,
            samples=samples,
            seed=seed,
            progress=progress,
            byte_budget=byte_budget,
        )
        agreement = spearman(np.abs(effect), ablation.loss_increase)
    notices = []
    if size == 0:
        notices.append(
            "The unit does not respond to these images, so that no effect can be measured. Use "
            "other images."
        )
    if info.response.form == "heads":
        notices.append("Heads are not silenced: the outputs that they move are not measured.")
    return Causes(
        layer=info.name,
        index=info.index,
        unit=int(unit),
        response=float(on_unit.whole[0]),
        source=earlier.name,
        source_index=earlier.index,
        maps=np.arange(earlier.maps),
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        share=effect / (size or np.nan),
        kernel=_kernel_lengths(earlier, info, unit),
        classes=names,
        logit_effect=logit_effect,
        logit_low=logit_effect - logit_margin,
        logit_high=logit_effect + logit_margin,
        to=to,
        samples=len(sample),
        split=split,
        notices=tuple(notices),
        agreement=agreement,
    )


def _effects_on_logits(
    sample: LayerSample,
    unit: int,
    to: str,
    classes: Sequence[str] | None,
    progress: Progress,
    byte_budget: int,
) -> tuple[tuple[str, ...], SilencingEffects]:
    """Return the names of the outputs and the effects of silencing the unit on their logits.

    Both are empty for a network that does not end in classes, for the layer that gives them, and
    for attention heads, whose response is the length of a vector and not that itself.
    """
    network, layer = sample.network, sample.layer
    head = _class_layer(network)
    if head is None or head.last_call <= layer.last_call or layer.response.form == "heads":
        return (), SilencingEffects(np.empty(0), np.empty((1, 0)), np.empty((1, 0)))
    silenced = SilencedMaps(layer, np.array([unit]), fill_values(sample, layer, to, byte_budget))
    logits = ImageNumbers(head.response, _pre_activation)
    label = f"{layer.name}:{unit} to the outputs"
    effects = silencing_effects(sample, silenced, logits, label, progress, byte_budget)
    class_names = classes or network.classes or ()
    return tuple(
        map(str, class_names if len(class_names) == head.maps else range(head.maps))
    ), effects


def _mean_response(layer: LayerInfo, unit: int) -> ImageNumbers:
    """Return the mean response (n, 1) of a unit."""

    def mean(activations: LayerActivations, _codes: Tensor) -> Tensor:
        import tensorflow as tf

        response = tf.gather(activations.response, unit, axis=-1)
        return tf.reduce_mean(tf.reshape(response, [tf.shape(response)[0], -1]), 1, keepdims=True)

    return ImageNumbers(layer.response, mean)


def _pre_activation(activations: LayerActivations, _codes: Tensor) -> Tensor:
    return activations.pre_activation


def _class_layer(network: Network) -> LayerInfo | None:
    """Return the layer that gives the classes, None for a network that does not end in them."""
    try:
        return network.class_layer()
    except ModelError:
        return None


def _source(
    sample: LayerSample, response: ImageNumbers, source: str | LayerInfo | None, to: str
) -> LayerInfo:
    """Return the layer that is named, or the nearest earlier one that feeds the unit.

    Raises:
        ModelError: there is none.
        SettingsError: it is not before the layer.
    """
    from oip.network.layer_types import is_recurrent

    network, layer = sample.network, sample.layer
    if source is not None:
        info = network.find_output(source) if isinstance(source, str) else source
        if info.last_call >= layer.last_call:
            raise SettingsError("source", f"a layer before '{layer.name}'", f"'{info.name}'")
        return info
    recurrent = [info for info in network.other_layers if is_recurrent(info.response.layer)]
    candidates = (*network.shown_layers(), *recurrent)
    earlier = [candidate for candidate in candidates if _is_earlier(candidate, layer)]
    earlier.sort(key=lambda info: info.last_call)
    if not earlier:
        text = "a convolution, dense or recurrent layer or attention before it"
        raise ModelError(f"'{layer.name}'", text, "none", "Another layer can be named.")
    few_images = sample.take(ImageSubset(np.arange(min(_FEW, len(sample)))))
    for info in reversed(earlier):
        silenced = SilencedMaps(info, np.arange(info.maps), fill_values(few_images, info, to))
        if np.any(silencing_effects(few_images, silenced, response).mean):
            return info
    return earlier[-1]


def _is_earlier(info: LayerInfo, layer: LayerInfo) -> bool:
    """Return whether a layer is an earlier one with kernels; pooling has the maps of another."""
    from oip.network.layer_types import is_pooling

    response_layer = info.response.layer
    is_another = response_layer is not layer.response.layer and not is_pooling(response_layer)
    is_silenced_as_it_is = info.response.form == "activated"  # no heads, no softmax
    return is_another and is_silenced_as_it_is and info.last_call < layer.last_call


def _kernel_lengths(source: LayerInfo, layer: LayerInfo, unit: int) -> np.ndarray:
    """Return (s,): the length of each kernel slice to the unit, NaN where it does not read them."""
    from oip.network.layer_types import why_not_plain
    from oip.network.surgery import kernel_matrix

    keras_layer = layer.response.layer
    lengths = np.full(source.maps, np.nan)
    if type(keras_layer).__name__ not in ("Conv1D", "Conv2D", "Dense") or why_not_plain(
        keras_layer
    ):
        return lengths
    kernel = kernel_matrix(keras_layer)
    if kernel.shape[1] != source.maps or getattr(keras_layer, "groups", 1) != 1:
        return lengths
    return np.linalg.norm(kernel[:, :, unit], axis=0)
