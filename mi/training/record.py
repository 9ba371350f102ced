"""A training record as it is read: what maps and layers knew at every recorded step.

A training record on disk: one file a recorded step, joined into the files that are read.

FOLDER/record.json              layers over the steps, what was measured and how
FOLDER/layer-NNN.npz            maps over the steps: maps, steps, label (t, m), per_class (t, m, c)
FOLDER/steps/000000469.npz      one step, all layers; what the others are made from

Writing a step does not depend on how many there are; the steps are joined when their number has
doubled and at the end, so that a record of any length is written in bounded memory, layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import files, html, plots
from oip.core.errors import RunError, SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SCHEMA = 1
_OTHER = "Choose another folder, or remove it."


class RecordFolder:
    """Where the steps of one training are kept.

    Args:
        path: the folder; made with the first step.
        told: what record.json says besides steps and values; `key` tells one record from another.
    """

    def __init__(self, path: Path, told: dict[str, Any]):
        self.path = path
        self._told = told

    def begin(self, step: int) -> list[int]:
        """Goes on after `step` batches, and returns the steps that are kept.

        Steps after it belong to a training that was given up, and are removed.

        Raises:
            RunError: the folder holds a record of something else, or cannot be written.
        """
        files.check_writable(self.path)
        if (self.path / "record.json").exists():
            found = files.read_json(self.path / "record.json")
            key = found.get("key") if isinstance(found, dict) else None
            if key != self._told["key"]:
                what = "one of other images, layers or settings"
                raise RunError(
                    expected(f"'{self.path}'", "a record of this training", what, _OTHER)
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(expected(f"'{self.path}'", "a training record", "other files", _OTHER))
        for late in [one for one in self.steps() if one > step]:
            with suppress(FileNotFoundError):
                self._part(late).unlink()
        return self.steps()

    def steps(self) -> list[int]:
        """Recorded steps, rising."""
        return sorted(int(path.stem) for path in (self.path / "steps").glob("[0-9]*.npz"))

    def write(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Keeps one step; record.json is there from the first one on."""
        files.write_arrays(self._part(step), arrays)
        count = len(self.steps())
        if count & (count - 1) == 0:
            self.join()

    def join(self) -> None:
        """Writes record.json and the layers' files from all steps that are there.

        Raises:
            RunError: a step's file is damaged.
        """
        steps = self.steps()
        layers = []
        accuracy = self._over("accuracy", steps)
        for one in self._told["layers"]:
            name = f"layer-{one['index']:03d}"
            label, per_class = (
                self._over(f"{name}-{kind}", steps) for kind in ("label", "per_class")
            )
            arrays = {
                "schema": np.array(SCHEMA),
                "maps": np.arange(label.shape[1]),
                "steps": np.array(steps),
                "label": label,
                "per_class": per_class,
            }
            files.write_arrays(self.path / f"{name}.npz", arrays)
            whole = self._over(f"{name}-layer", steps)
            layers.append({**one, "input": _plain(whole[:, 0]), "label": _plain(whole[:, 1])})
        told = {"schema": SCHEMA, **self._told, "steps": steps, "layers": layers}
        if np.isfinite(accuracy).all():
            told["accuracy"] = _plain(accuracy)
        files.write_json(self.path / "record.json", told)

    def _over(self, name: str, steps: list[int]) -> np.ndarray:
        return np.stack([files.read_array(self._part(step), name) for step in steps])

    def _part(self, step: int) -> Path:
        return self.path / "steps" / f"{step:09d}.npz"


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


@dataclass(frozen=True, eq=False)
class RecordedLayer:
    """One layer over the t recorded steps; information in bits, NaN where there is no number."""

    layer: str
    index: int
    label: np.ndarray
    """(t, m): of each map's response about the label; (t, 0) of a layer without maps."""
    per_class: np.ndarray
    """(t, m, classes): about being of a class or not."""
    whole_label: np.ndarray
    """(t,): of the layer's whole response about the label, I(T;Y)."""
    whole_input: np.ndarray
    """(t,): of the layer's whole response about the input, I(X;T)."""


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """What a training was recorded to know; open one with `TrainingRecord.open`."""

    steps: np.ndarray
    """(t,) int: batches that were learned from."""
    layers: tuple[RecordedLayer, ...]
    classes: tuple[str, ...]
    accuracy: np.ndarray | None
    """(t,): share of the recorded images whose class was predicted."""
    told: dict[str, Any] = field(repr=False)
    """record.json."""

    @classmethod
    def open(cls, path: str | Path) -> TrainingRecord:
        """Opens the record of a run, or the record's own folder.

        Raises:
            RunError: there is none, or it is damaged.

        Example:
            >>> mi.TrainingRecord.open("runs/mnist").plot_plane()  # doctest: +SKIP
        """
        folder = Path(path)
        if (folder / "record" / "record.json").is_file():
            folder = folder / "record"
        if not (folder / "record.json").is_file():
            raise RunError(expected(f"'{path}'", "a training record", "no record.json"))
        told = files.read_json(folder / "record.json")
        if not isinstance(told, dict) or told.get("schema") != SCHEMA:
            raise RunError(expected(f"'{folder}'", f"a record of schema {SCHEMA}", "another"))
        try:
            return cls._of(folder, told)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunError(expected(f"'{folder}'", "a whole training record", error)) from error

    @classmethod
    def _of(cls, folder: Path, told: dict[str, Any]) -> TrainingRecord:
        layers = []
        for one in told["layers"]:
            arrays = files.read_arrays(folder / f"layer-{one['index']:03d}.npz")
            if arrays["steps"].tolist() != told["steps"]:
                raise ValueError(f"layer {one['index']} has other steps than record.json")
            layers.append(
                RecordedLayer(
                    layer=one["layer"],
                    index=one["index"],
                    label=arrays["label"],
                    per_class=arrays["per_class"],
                    whole_label=np.array(one["label"], float),
                    whole_input=np.array(one["input"], float),
                )
            )
        return cls(
            steps=np.array(told["steps"]),
            layers=tuple(layers),
            classes=tuple(told["classes"]),
            accuracy=np.array(told["accuracy"]) if "accuracy" in told else None,
            told=told,
        )

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def with_maps(self) -> tuple[RecordedLayer, ...]:
        """The layers of which each map was recorded."""
        return tuple(one for one in self.layers if one.label.shape[1])

    def __getitem__(self, layer: str) -> RecordedLayer:
        """A layer by its name, or by `@index`."""
        for one in self.layers:
            if layer in (one.layer, f"@{one.index}"):
                return one
        names = ", ".join(one.layer for one in self.layers)
        raise SettingsError(expected("layer of this record", names, f"'{layer}'"))

    def _repr_html_(self) -> str:
        rows = []
        for one in self.layers:
            ends = [one.label[0], one.label[-1]] if one.label.shape[1] else []
            means = [float(np.nanmean(end)) if np.isfinite(end).any() else None for end in ends]
            rows.append(
                (
                    one.layer,
                    int(one.label.shape[1]),
                    *(means or (None, None)),
                    float(one.whole_label[-1]),
                    float(one.whole_input[-1]),
                )
            )
        headings = (
            "layer",
            "maps",
            "mean bits a map, first",
            "last",
            "I(T;Y) of the layer, last",
            "I(X;T), last",
        )
        span = f"steps {self.steps[0]} to {self.steps[-1]}" if len(self) else "nothing yet"
        return html.block(
            f"training record: {len(self)} records, {span}", html.table(headings, rows)
        )

    def to_pandas(self) -> DataFrame:
        """A row for each step, layer and map; information in bits."""
        import pandas

        rows = []
        for one in self.layers:
            for place, step in enumerate(self.steps):
                for number, value in enumerate(one.label[place]):
                    per_class = zip(self.classes, one.per_class[place, number], strict=True)
                    rows.append(
                        {"step": int(step), "layer": one.layer, "map": number, "mi": float(value)}
                        | {f"mi:{name}": float(known) for name, known in per_class}
                    )
        return pandas.DataFrame(rows)

    def plot_boxes(self) -> Figure:
        """Box plots of the maps' information about the label over training, a panel a layer.

        Raises:
            SettingsError: no layer of the record has maps; so for all figures of maps.
        """

        return boxes(self)

    def plot_differences(self) -> Figure:
        """First difference of the mean information of each layer's maps."""

        return differences(self)

    def plot_classes(self, layer: str, ranks: bool = False) -> Figure:
        """Map x class, at the start, on the way and at the end; maps in the order of the start.

        Args:
            layer: name or `@index`.
            ranks: the maps' places by class in place of bits.
        """

        return class_maps(self, self[layer], ranks)

    def plot_plane(self) -> Figure:
        """The information plane: I(X;T) and I(T;Y) of whole layers, coloured by step.

        Raises:
            SettingsError: the estimator does not tell what a response knows of the input.
        """

        return plane(self)

    def save_figures(self, folder: str | Path) -> list[Path]:
        """Writes all figures as PNG and SVG; the same record gives the same bytes.

        Returns:
            The files.
        """

        drawn = {}
        if self.with_maps:
            drawn = {"boxes": self.plot_boxes(), "differences": self.plot_differences()}
        if self.told.get("input_ceiling") is not None:
            drawn["plane"] = self.plot_plane()
        for one in self.with_maps:
            drawn[f"classes-{one.index:03d}"] = self.plot_classes(f"@{one.index}")
            drawn[f"class-ranks-{one.index:03d}"] = self.plot_classes(f"@{one.index}", ranks=True)
        return [path for name, figure in drawn.items() for path in write(figure, folder, name)]


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
