"""Figures of the study `plane`, after the paper's figures 2, 3, 4 and 12."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oip.core import plots
from oip.studies.frame import slug
from oip.studies.training import Trained
from oip.studies.watched import RECORDED, WIDTHS

if TYPE_CHECKING:
    from oip.studies.frame import Folder

_FIRST = next(iter(WIDTHS))
_MARKERS = "os^Dv<>P"


def planes(folder: Folder, name: str, networks: dict[str, Trained]) -> None:
    """The information plane of each network, coloured by iteration; a row for each width."""
    from matplotlib.colors import SymLogNorm

    most = max(one.iterations for one in networks.values())
    norm = SymLogNorm(1.0, vmin=0, vmax=most, base=10)
    drawing, panels = plots.figure(1.0 + 2.5 * len(networks), 5.4, len(WIDTHS), len(networks))
    numbers: dict[str, Any] = {}
    points: Any = None
    for row, width in enumerate(WIDTHS):
        for column, (network, one) in enumerate(networks.items()):
            axes, record = panels[row, column], one.records[width]
            for place, layer in enumerate(record.layers):
                axes.plot(layer.whole_input, layer.whole_label, color=plots.QUIET, lw=0.5, zorder=1)
                points = axes.scatter(
                    layer.whole_input,
                    layer.whole_label,
                    c=record.steps,
                    norm=norm,
                    cmap=plots.SEQUENTIAL,
                    marker=_MARKERS[place % len(_MARKERS)],
                    s=14,
                    label=_layer_name(one, place),
                    zorder=2,
                )
                key = f"{network}, {width} width, {_layer_name(one, place)}"
                numbers[f"{key}: I(X;T), bits"] = layer.whole_input
                numbers[f"{key}: I(T;Y), bits"] = layer.whole_label
            axes.axhline(record.told["label_ceiling"], color=plots.QUIET, ls="--", lw=0.8)
            axes.axvline(record.told["input_ceiling"], color=plots.QUIET, ls=":", lw=0.8)
            axes.set_title(f"{network}, {width} width", fontsize=plots.FONT)
            axes.set_xlabel("I(X;T), bits")
            axes.legend(fontsize=plots.SMALL - 1, loc="lower right", frameon=False)
            if not column:
                axes.set_ylabel("I(T;Y), bits")
            numbers[f"{network}: iterations"] = record.steps
            numbers[f"{network}: H(Y), bits"] = record.told["label_ceiling"]
            numbers[f"{network}: log2 of the images"] = record.told["input_ceiling"]
    bar = drawing.colorbar(points, ax=panels, shrink=0.7)
    bar.set_label("iteration", fontsize=plots.FONT)
    bar.ax.tick_params(labelsize=plots.SMALL)
    folder.figure(
        f"plane-{slug(name)}",
        drawing,
        f"Information plane, {name}: what whole layers know of the input and of the label over "
        f"training, in bits (kernel estimate, {RECORDED} images of the test part). Dashed: H(Y); "
        f"dotted: log2 of the number of images; both are ceilings.",
        numbers,
    )


def last_layers(folder: Folder, name: str, networks: dict[str, Trained]) -> None:
    """Accuracy, and information of the last layer about the label, over training."""
    drawing, panels = plots.figure(7.2, 2.5, 1, 1 + len(WIDTHS))
    numbers: dict[str, Any] = {}
    for network, one in networks.items():
        for axes, width in zip(panels[0, 1:], WIDTHS, strict=True):
            record = one.records[width]
            known = record.layers[-1].whole_label
            axes.plot(record.steps, known, marker="o", ms=2, label=network)
            axes.axhline(record.told["label_ceiling"], color=plots.QUIET, ls="--", lw=0.8)
            axes.set_title(f"last layer, {width} width", fontsize=plots.FONT)
            axes.set_ylabel("I(T;Y), bits")
            numbers[f"{network}, {width} width: I(T;Y) of the last layer, bits"] = known
        record = one.records[_FIRST]
        if record.accuracy is not None:
            panels[0, 0].plot(record.steps, 100 * record.accuracy, marker="o", ms=2, label=network)
            numbers[f"{network}: accuracy of the recorded images"] = record.accuracy
        numbers[f"{network}: iterations"] = record.steps
        numbers[f"{network}: accuracy of the whole test part at the end"] = one.accuracy
    panels[0, 0].set_ylabel(f"accuracy of {RECORDED} images, %")
    panels[0, 0].legend(fontsize=plots.SMALL, frameon=False)
    for axes in panels.flat:
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=-0.2)
        axes.set_xlabel("iteration")
    folder.figure(
        f"last-layers-{slug(name)}",
        drawing,
        f"{name}: accuracy, and what the last layer (class probabilities) knows about the label, "
        f"over training; {RECORDED} images of the test part. Dashed: H(Y).",
        numbers,
    )


def _layer_name(one: Trained, place: int) -> str:
    blocks = len(one.watched.blocks)
    if place < blocks:
        return f"block {place + 1}"
    name = one.records[_FIRST].layers[place].layer
    return "output" if name == "classes" else name.replace("Dense_", "dense ")
