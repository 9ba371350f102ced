"""Rankings of the 2-D kernels that feed one map, by the information of their partial responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oip.core import html, plots
from oip.core.errors import ModelError, SettingsError
from oip.core.layer_formats import KernelInformation, KernelsFile, MapKernels
from oip.core.units import bits, finite_or_none, three_best
from oip.mi.backend import thread_map
from oip.mi.estimators.base import Estimator, label_estimator
from oip.mi.estimators.renyi import Renyi
from oip.mi.layer_sample import LayerSample, NoFiniteResponses
from oip.mi.ranking import EstimatorRanking

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from pandas import DataFrame
    from tensorflow import Tensor

    from oip.core.files import Json
    from oip.mi.layer_sample import ModelLike
    from oip.network.layers import LayerInfo
    from oip.network.network import Network
    from oip.network.tracing import Call

_RESPONSE_BYTES = 1 << 30
"""Partial responses of one map, at most."""
_BATCH_BYTES = 64 << 20
_SHUFFLES = 40
_DRAWN = 64
_ROWS = 20


@dataclass(frozen=True, eq=False)
class KernelRanking:
    """The kernels (input channel -> map) of one map, by the information of partial responses."""

    layer: str
    index: int
    map: int
    ranking: EstimatorRanking
    """About the label; a row an input channel."""
    with_map: np.ndarray
    """(inputs,) bits: information of a partial response about the map's response (Renyi)."""
    weights: np.ndarray
    """(inputs, rows, columns): the kernels."""
    samples: int
    split: str
    notices: tuple[str, ...] = ()

    @property
    def order(self) -> np.ndarray:
        """(inputs,) int: input channels, the most informative first."""
        return self.ranking.order

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        best = three_best(self.order, self.ranking.mi[self.order], "bits")
        return f"KernelRanking({self._title}, {self.samples} images; best: input {best})"

    @property
    def _title(self) -> str:
        return f"{self.layer}:{self.map}, {len(self)} kernels"

    def to_part(self) -> MapKernels:
        """Return the kernels as `kernels.json` holds them."""
        ranking = self.ranking
        return MapKernels(
            map=self.map,
            of=len(self),
            kernels=[
                KernelInformation(
                    input=int(row),
                    mi=float(ranking.mi[row]),
                    low=finite_or_none(ranking.low[row]),
                    high=finite_or_none(ranking.high[row]),
                    p_adjusted=finite_or_none(ranking.p_adjusted[row]),
                    chance=finite_or_none(ranking.chance[row]),
                    with_map=float(self.with_map[row]),
                    weights=self.weights[row].astype(float).tolist(),
                )
                for row in self.order
            ],
        )

    def to_file(self, key: str, maps: list[MapKernels]) -> KernelsFile:
        """Return the content of `kernels.json` with the kernels of these maps."""
        return KernelsFile(
            key=key,
            estimator=self.ranking.estimator,
            name_shown=self.ranking.name_shown,
            samples=self.samples,
            split=self.split,
            ceiling=self.ranking.ceiling,
            maps=maps,
        )

    def to_dict(self) -> dict[str, Json]:
        """Return plain values: the map and its kernels, best first; information in bits."""
        import msgspec

        return msgspec.to_builtins(self.to_part())

    def to_pandas(self) -> DataFrame:
        """Return a row for each kernel, best first; information in bits."""
        import pandas

        order = self.order
        names = ("rank", "mi", "low", "high", "p_adjusted", "chance")
        columns = {name: getattr(self.ranking, name)[order] for name in names}
        head = {"layer": self.layer, "map": self.map, "input": order}
        return pandas.DataFrame({**head, **columns, "with_map": self.with_map[order]})

    def plot(self, most: int = _DRAWN) -> Figure:
        """Draw the best kernels in their order, each with its input channel and its bits.

        Orange is negative, purple is positive; one scale for all, so that weak kernels look weak.
        """
        order = self.order[:most]
        columns = min(8, len(order))
        lines = -(-len(order) // columns)
        height = 1.35 * lines + 0.4
        figure, panels = plots.figure(max(1.1 * columns, 3.2), height, rows=lines, columns=columns)
        largest = float(np.abs(self.weights).max()) or 1.0
        scale = {"cmap": plots.DIVERGING, "vmin": -largest, "vmax": largest}
        for axes in panels.flat:
            axes.set_axis_off()
        images = [
            plots.image(axes, self.weights[row], f"{row}: {self.ranking.mi[row]:z.3f}", **scale)
            for axes, row in zip(panels.flat, order, strict=False)
        ]
        bar = figure.colorbar(images[-1], ax=panels.ravel().tolist(), shrink=0.8)
        bar.set_label("weight", fontsize=plots.SMALL)
        bar.ax.tick_params(labelsize=plots.SMALL)
        count_text = f", {most} of {len(self)}" if len(self) > most else ""
        title = f"{self.layer}:{self.map}, kernels by bits about the label{count_text}"
        figure.suptitle(plots.printable(title), fontsize=plots.FONT)
        return figure

    def _repr_html_(self) -> str:
        headings = {"input": "input channel", "mi": "bits about the label"}
        headings |= {"with_map": "bits with the map"}
        return html.block(
            self._title,
            *(html.paragraph(text) for text in self.notices),
            html.frame(self.to_pandas(), headings, _ROWS),
            html.embedded_figure(self.plot(16), self._title),
        )


def rank_kernels(
    model_or_path: ModelLike,
    images: np.ndarray,
    labels: ArrayLike | None,
    layer: str | LayerInfo,
    map: int,
    *,
    estimator: str | Estimator = "decoder",
    samples: int = 500,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    split: str = "",
) -> KernelRanking:
    """Order the 2-D kernels that feed a map by their partial responses' information on the label.

    A kernel's partial response is what it adds to the map's pre-activation: its input channel under
    its weights, without the bias. Information about the map's own response is by matrix Renyi at
    alpha 2: how much of the map is already in this kernel.

    Args:
        model_or_path, images, labels, layer, samples, seed, classes, split: as for `mi.rank`.
        map: its number.
        estimator: of the information about the label.

    Raises:
        ModelError: a layer without 2-D kernels of its own, such as a depthwise one.
        SettingsError: an unknown layer, map, estimator; partial responses of more than 1 GiB.
        DataError: images or labels that cannot be used; responses that are not finite.

    Example:
        >>> kernels = mi.rank_kernels("m.keras", images, labels, "Conv2D_2", 17)  # doctest: +SKIP
        >>> kernels.order[:5]  # doctest: +SKIP
    """
    from oip.network.channel_graph import kernel_call

    about_label = label_estimator(estimator)
    sample = LayerSample.of(model_or_path, images, layer, maps=map, seed=seed)
    sample = sample.draw(labels, samples, classes)
    map_index = int(sample.maps[0])
    call = kernel_call(sample.network, sample.layer)
    check_plain(call, sample.layer)
    _check_size(call, len(sample))
    partials = partial_responses(sample.network, call, sample.images, map_index)
    if not np.isfinite(partials).all():
        raise NoFiniteResponses.of(f"{sample.layer.name}:{map_index}")
    (block,) = sample.responses()
    response = block.values[:, 0]
    shuffles = _SHUFFLES if about_label.shuffles else 0
    estimates = about_label.over_maps(
        partials, sample.codes, seed, shuffles, about_label.map_draws, distinct=True
    )
    renyi = Renyi(alpha=2.0)
    shared = thread_map(
        lambda row: renyi.information(partials[:, row], response, seed).nats,
        range(partials.shape[1]),
    )
    weights = np.asarray(call.layer.get_weights()[0])[..., map_index]
    return KernelRanking(
        layer=sample.layer.name,
        index=sample.layer.index,
        map=map_index,
        ranking=EstimatorRanking.of(about_label, estimates),
        with_map=np.maximum(bits(np.array(shared)), 0.0),
        weights=np.moveaxis(weights if weights.ndim == 3 else weights[None], -1, 0),
        samples=len(sample),
        split=split,
        notices=sample.notices,
    )


def check_plain(call: Call, layer: LayerInfo) -> None:
    """Raise a ModelError for a layer that has no 2-D kernels of its own."""
    from oip.network.layer_types import is_convolution
    from oip.network.surgery import has_patches

    if not is_convolution(call.layer) or not has_patches(call.layer):
        text = "a plain convolution without groups, channels last"
        raise ModelError(f"kernels of layer '{layer.name}'", text, layer.layer_class)


def _check_size(call: Call, samples: int) -> None:
    """Raise a SettingsError for partial responses that do not fit in memory."""
    inputs = int(call.layer.weights[0].shape[-2])
    size = 4 * samples * inputs * int(np.prod([side or 1 for side in call.output_shape[1:-1]]))
    if size > _RESPONSE_BYTES:
        expected, hint = f"at most {_RESPONSE_BYTES >> 20} MiB", "Use fewer samples."
        raise SettingsError("partial responses", expected, f"{size >> 20} MiB", hint)


def partial_responses(
    network: Network, call: Call, images: np.ndarray, map_index: int
) -> np.ndarray:
    """Return (n, inputs, nodes) float32: what each kernel adds to the map's pre-activation."""
    import tensorflow as tf

    from oip.network.forward import compiled_for_images, run_in_batches, run_to
    from oip.network.layers import LayerOutput
    from oip.network.surgery import bytes_received, kernel_matrix, patches

    source = LayerOutput(call.layer, call.use, "input")
    kernel = kernel_matrix(call.layer)[..., map_index].astype(np.float32)

    def run(batch: Tensor) -> Tensor:
        received, _ = run_to(network.model, network.feed(batch), source)
        return tf.einsum("npkc,kc->ncp", patches(call.layer, received), kernel)

    graph = compiled_for_images(network, run)
    size = bytes_received(network, call.layer)
    batches = run_in_batches(graph, images, size, byte_budget=_BATCH_BYTES, max_images=256)
    return np.concatenate([responses for _, responses in batches])
