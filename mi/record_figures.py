"""Figures of a training record, after the kernel-wise studies of information in deep networks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files
from oip.core.errors import SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mi.training_record import RecordedLayer, TrainingRecord

_BOXES = 20
_COLUMNS = 5
_LABELLED = 32
_COLOUR = "#4477aa"


def boxes(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_boxes`; of many steps, 20 that are spread evenly."""
    from matplotlib.figure import Figure

    layers = _with_maps(record.layers)
    figure = Figure(figsize=(8, 2.4 * len(layers)), layout="constrained")
    shown = _spread(len(record), _BOXES)
    for axes, one in zip(_panels(figure, len(layers)), layers, strict=True):
        values = [row[np.isfinite(row)] for row in one.label[shown]]
        axes.boxplot(values, flierprops={"markersize": 2}, medianprops={"color": "#cc3311"})
        _steps_below(axes, record, shown, first=1)
        _ceiling(axes, record)
        axes.set_title(_plain(f"{one.layer}: {one.label.shape[1]} maps"), fontsize=9)
        axes.set_ylabel("bits")
    _titled(figure, record, "what maps know about the label")
    return figure


def differences(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_differences`."""
    from matplotlib.figure import Figure

    layers = _with_maps(record.layers)
    figure = Figure(figsize=(8, 2.2 * len(layers)), layout="constrained")
    for axes, one in zip(_panels(figure, len(layers)), layers, strict=True):
        finite = np.isfinite(one.label)
        total = np.where(finite, one.label, 0.0).sum(axis=1, dtype=np.float64)
        mean = total / np.maximum(finite.sum(axis=1), 1)
        axes.axhline(0.0, color="#888888", lw=0.8)
        axes.plot(record.steps[1:], np.diff(mean), color=_COLOUR, marker="o", ms=3, lw=1)
        _stepped(axes, record)
        axes.set_title(_plain(one.layer), fontsize=9)
        axes.set_ylabel("bits a record")
    _titled(figure, record, "first difference of the mean over maps")
    return figure


def class_maps(record: TrainingRecord, one: RecordedLayer, ranks: bool) -> Figure:
    """See `TrainingRecord.plot_classes`; of many steps, five that are spread evenly."""
    from matplotlib.figure import Figure

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
    figure = Figure(figsize=(2.0 * len(shown) + 1.2, height), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    image: Any = None
    for axes, step, table in zip(panels, record.steps[shown], values, strict=True):
        colours = "viridis_r" if ranks else "viridis"
        image = axes.imshow(
            table, aspect="auto", cmap=colours, vmin=least, vmax=most, interpolation="nearest"
        )
        axes.set_title(f"step {step}", fontsize=8)
        names = [_plain(name[:12]) for name in record.classes]
        if len(names) <= 20:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        else:
            axes.set_xlabel("class", fontsize=7)
    panels[0].set_ylabel("map, by its information at the start", fontsize=8)
    if len(start) <= _LABELLED:
        panels[0].set_yticks(range(len(start)), [str(number) for number in start], fontsize=5)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8)
    bar.set_label("rank among the maps" if ranks else "bits, one class against the rest")
    if ranks:
        bar.ax.invert_yaxis()
    _titled(figure, record, f"{one.layer}: " + ("rank by class" if ranks else "by class"))
    return figure


def plane(record: TrainingRecord) -> Figure:
    """See `TrainingRecord.plot_plane`."""
    from matplotlib import colors
    from matplotlib.figure import Figure

    if record.told.get("input_ceiling") is None:
        name = record.told["estimator"]
        raise SettingsError(
            expected("information plane", "an estimator of I(X;T), such as kde", f"'{name}'")
        )
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    axes = figure.subplots()
    scale = colors.SymLogNorm(1.0, vmin=0, vmax=max(1, int(record.steps[-1])), base=10)
    markers = "osD^v<>P*Xhpd"
    points: Any = None
    for place, one in enumerate(record.layers):
        axes.plot(one.whole_input, one.whole_label, color="#bbbbbb", lw=0.8, zorder=1)
        points = axes.scatter(
            one.whole_input,
            one.whole_label,
            c=record.steps,
            norm=scale,
            cmap="viridis",
            marker=markers[place % len(markers)],
            s=22,
            label=_plain(one.layer),
            zorder=2,
        )
    _ceiling(axes, record)
    axes.axvline(record.told["input_ceiling"], color="#cc3311", lw=1, ls=":", label="log n")
    axes.set_xlabel("I(X;T), bits")
    axes.set_ylabel("I(T;Y), bits")
    axes.legend(fontsize=7)
    figure.colorbar(points, ax=axes, label="step")
    _titled(figure, record, "information plane")
    return figure


def write(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Writes a figure as `name.png` and `name.svg`, without dates and random names in them."""
    import matplotlib

    paths = []
    for ending, told in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(buffer, format=ending, metadata=told)
        figure.set_layout_engine("none")  # what was laid out for the first file stays
        paths.append(Path(folder) / f"{name}.{ending}")
        files.write_bytes(paths[-1], buffer.getvalue())
    return paths


def _panels(figure: Figure, count: int) -> np.ndarray:
    return figure.subplots(count, 1, squeeze=False)[:, 0]


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
    axes.set_xticks(range(first, first + len(shown)), labels, fontsize=7)
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
        axes.axhline(ceiling, color="#cc3311", lw=1, ls="--", label="H(Y)")


def _titled(figure: Figure, record: TrainingRecord, what: str) -> None:
    where = f" of {record.told['split']}" if record.told.get("split") else ""
    text = f"{what} ({record.told['name_shown']}, {record.told['samples']} images{where})"
    figure.suptitle(_plain(text), fontsize=9)


def _plain(text: str) -> str:
    """Names from models and data, shown as they are, without control characters."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return printable.replace("$", r"\$")
