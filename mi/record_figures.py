"""Figures of a training record, after the kernel-wise studies of information in deep networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import plots
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mi.training_record import RecordedLayer, TrainingRecord

_BOXES = 20
_COLUMNS = 5
_LABELLED = 32
_EMPHASIS = plots.PALETTE[1]


def boxes(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_boxes`; of many steps, 20 that are spread evenly."""
    layers = _with_maps(record.layers)
    figure, panels = plots.figure(7, 2.2 * len(layers), rows=len(layers))
    shown = _spread(len(record), _BOXES)
    for axes, one in zip(panels[:, 0], layers, strict=True):
        values = [row[np.isfinite(row)] for row in one.label[shown]]
        axes.boxplot(values, flierprops={"markersize": 2}, medianprops={"color": _EMPHASIS})
        _steps_below(axes, record, shown, first=1)
        _ceiling(axes, record)
        axes.set_title(
            plots.printable(f"{one.layer}: {one.label.shape[1]} maps"), fontsize=plots.FONT
        )
        axes.set_ylabel("bits")
    _titled(figure, record, "what maps know about the label")
    return figure


def differences(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_differences`."""
    layers = _with_maps(record.layers)
    figure, panels = plots.figure(7, 2.0 * len(layers), rows=len(layers))
    for axes, one in zip(panels[:, 0], layers, strict=True):
        finite = np.isfinite(one.label)
        total = np.where(finite, one.label, 0.0).sum(axis=1, dtype=np.float64)
        mean = total / np.maximum(finite.sum(axis=1), 1)
        axes.axhline(0.0, color=plots.QUIET, lw=0.8)
        axes.plot(record.steps[1:], np.diff(mean), marker="o")
        _stepped(axes, record)
        axes.set_title(plots.printable(one.layer), fontsize=plots.FONT)
        axes.set_ylabel("bits a record")
    _titled(figure, record, "first difference of the mean over maps")
    return figure


def class_maps(record: TrainingRecord, one: RecordedLayer, ranks: bool) -> Figure:
    """See `TrainingRecord.plot_classes`; of many steps, five that are spread evenly."""
    _with_maps((one,))
    shown = _spread(len(record), _COLUMNS)
    start = np.argsort(-np.nan_to_num(one.label[0], nan=-1.0), kind="stable")
    values = one.per_class[shown][:, start]
    if ranks:
        missing = np.isnan(values)
        values = (-np.nan_to_num(values, nan=-1.0)).argsort(axis=1, kind="stable").argsort(axis=1)
        values = np.where(missing, np.nan, values + 1.0)
    most = values.shape[1] if ranks else float(np.nanmax(values, initial=1e-9))
    least = 1 if ranks else 0.0
    height = min(9.0, 1.6 + 0.09 * len(start))
    width = 1.6 * len(shown) + 1.0
    figure, grid = plots.figure(width, height, columns=len(shown), sharey=True)
    panels = grid[0]
    image: Any = None
    for axes, step, table in zip(panels, record.steps[shown], values, strict=True):
        colours = f"{plots.SEQUENTIAL}_r" if ranks else plots.SEQUENTIAL
        image = axes.imshow(
            table, aspect="auto", cmap=colours, vmin=least, vmax=most, interpolation="nearest"
        )
        axes.set_title(f"step {step}", fontsize=plots.FONT)
        names = [plots.printable(name[:12]) for name in record.classes]
        if len(names) <= 20:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        else:
            axes.set_xlabel("class")
    panels[0].set_ylabel("map, by its information at the start")
    if len(start) <= _LABELLED:
        panels[0].set_yticks(range(len(start)), [str(number) for number in start], fontsize=5)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8)
    told = "rank among the maps" if ranks else "bits, one class against the rest"
    bar.set_label(told, fontsize=plots.FONT)
    bar.ax.tick_params(labelsize=plots.SMALL)
    if ranks:
        bar.ax.invert_yaxis()
    _titled(figure, record, f"{one.layer}: " + ("rank by class" if ranks else "by class"))
    return figure


def plane(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_plane`."""
    from matplotlib import colors

    if record.told.get("input_ceiling") is None:
        name = record.told["estimator"]
        raise SettingsError(
            expected("information plane", "an estimator of I(X;T), such as kde", f"'{name}'")
        )
    figure, panels = plots.figure(5, 3.8)
    axes = panels[0, 0]
    scale = colors.SymLogNorm(1.0, vmin=0, vmax=max(1, int(record.steps[-1])), base=10)
    markers = "osD^v<>P*Xhpd"
    points: Any = None
    for place, one in enumerate(record.layers):
        axes.plot(one.whole_input, one.whole_label, color=plots.QUIET, lw=0.8, zorder=1)
        points = axes.scatter(
            one.whole_input,
            one.whole_label,
            c=record.steps,
            norm=scale,
            cmap=plots.SEQUENTIAL,
            marker=markers[place % len(markers)],
            s=22,
            label=plots.printable(one.layer),
            zorder=2,
        )
    _ceiling(axes, record)
    axes.axvline(record.told["input_ceiling"], color=_EMPHASIS, lw=1, ls=":", label="log n")
    axes.set_xlabel("I(X;T), bits")
    axes.set_ylabel("I(T;Y), bits")
    axes.legend(fontsize=plots.SMALL)
    bar = figure.colorbar(points, ax=axes)
    bar.set_label("step", fontsize=plots.FONT)
    bar.ax.tick_params(labelsize=plots.SMALL)
    _titled(figure, record, "information plane")
    return figure


def write(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Writes a figure as `name.png` and `name.svg`; see `oip.core.plots.save`."""
    return [plots.save(figure, Path(folder) / f"{name}.{ending}") for ending in ("png", "svg")]


def _with_maps(layers: Sequence[RecordedLayer]) -> list[RecordedLayer]:
    found = [one for one in layers if one.label.shape[1]]
    if not found:
        names = ", ".join(one.layer for one in layers)
        raise SettingsError(expected("a figure of maps", "a record of layers with maps", names))
    return found


def _spread(count: int, most: int) -> np.ndarray:
    """Places of `most` of `count` records, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _steps_below(axes: Any, record: TrainingRecord, shown: np.ndarray, first: int) -> None:
    labels = [str(step) for step in record.steps[shown]]
    axes.set_xticks(range(first, first + len(shown)), labels)
    axes.set_xlabel("step")


def _stepped(axes: Any, record: TrainingRecord) -> None:
    """A logarithmic axis where the steps grow by more than a constant."""
    gaps = np.diff(record.steps)
    if len(gaps) > 2 and gaps.max() > 20 * gaps.min():
        axes.set_xscale("symlog")
    axes.set_xlabel("step")


def _ceiling(axes: Any, record: TrainingRecord) -> None:
    ceiling = record.told.get("label_ceiling")
    if ceiling is not None:
        axes.axhline(ceiling, color=_EMPHASIS, lw=1, ls="--", label="H(Y)")


def _titled(figure: Figure, record: TrainingRecord, what: str) -> None:
    where = f" of {record.told['split']}" if record.told.get("split") else ""
    text = f"{what}\n{record.told['name_shown']}, {record.told['samples']} images{where}"
    figure.suptitle(plots.printable_lines(text), fontsize=plots.FONT + 1)
