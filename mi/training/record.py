"""A training record: the information of maps and layers at every recorded step, with figures.

FOLDER/record.json              layers over the steps, and the settings: `TrainingRecordFile`
FOLDER/layer-NNN.npz            maps over the steps: `RecordedMapsFile`
FOLDER/steps/000000469.npz      one step of all layers, from which the others are made

The time to write a step does not depend on their number; the steps are joined when their number has
doubled and at the end, so that a record of any length is written in bounded memory, layer by layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from oip.core import files, html, plots
from oip.core.checks import check_path
from oip.core.errors import RunError, SettingsError, notice
from oip.core.formats import RecordedLayerPart, RecordedMapsFile, TrainingRecordFile, step_array
from oip.core.output_formats import TrainingStepFile
from oip.core.units import finite_list

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

RECORD = "record.json"
_OTHER = "Choose another folder, or remove it."
_BOXES = 20
"""Steps of box plots, at the most."""
_TABLES = 5
"""Steps of class tables, at the most."""
_LABELED_MAPS = 32
_LABELED_CLASSES = 20
_EMPHASIS = plots.PALETTE[1]
_MARKERS = "osD^v<>P*Xhpd"


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

    def __repr__(self) -> str:
        steps, maps = self.label.shape
        return f"RecordedLayer({self.layer}: {maps} maps, {steps} steps)"

    def mean_of_maps(self, step: int) -> float | None:
        """Return the mean information of the maps at a recorded step, None without numbers."""
        values = self.label[step]
        return float(np.nanmean(values)) if np.isfinite(values).any() else None


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """The information of a network's layers during a training; see `TrainingRecord.open`."""

    steps: np.ndarray
    """(t,) int: batches that were learned from."""
    layers: tuple[RecordedLayer, ...]
    classes: tuple[str, ...]
    accuracy: np.ndarray | None
    """(t,): share of the recorded images whose class was predicted."""
    file: TrainingRecordFile = field(repr=False)
    """The content of record.json: estimator, ceilings, samples and the like."""

    @classmethod
    def open(cls, path: str | Path) -> TrainingRecord:
        """Open the record of a run, or the record's own folder.

        Raises:
            RunError: there is none, or it is damaged.

        Example:
            >>> mi.TrainingRecord.open("runs/mnist").plot_plane()  # doctest: +SKIP
        """
        folder = check_path("folder of the record", path)
        if (folder / "record" / RECORD).is_file():
            folder = folder / "record"
        if not (folder / RECORD).is_file():
            raise RunError(f"'{path}'", "a training record", f"no {RECORD}")
        file = TrainingRecordFile.read(folder / RECORD)
        return cls(
            steps=np.array(file.steps),
            layers=tuple(_recorded_layer(folder, file, layer) for layer in file.layers),
            classes=tuple(file.classes),
            accuracy=None if file.accuracy is None else np.array(file.accuracy),
            file=file,
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        names = ", ".join(layer.layer for layer in self.layers)
        return f"TrainingRecord({self._span}; {self.file.estimator}; layers {names})"

    @property
    def _span(self) -> str:
        span = f"steps {self.steps[0]} to {self.steps[-1]}" if len(self) else "nothing yet"
        return f"{len(self)} records, {span}"

    @property
    def label_ceiling(self) -> float:
        """H(Y) in bits, NaN where it is not known."""
        ceiling = self.file.label_ceiling
        return float("nan") if ceiling is None else ceiling

    @property
    def input_ceiling(self) -> float:
        """log n in bits, NaN where the estimator has no information about the input."""
        ceiling = self.file.input_ceiling
        return float("nan") if ceiling is None else ceiling

    @property
    def with_maps(self) -> tuple[RecordedLayer, ...]:
        """The layers of which each map was recorded."""
        return tuple(layer for layer in self.layers if layer.label.shape[1])

    def __getitem__(self, layer: str) -> RecordedLayer:
        """Return a layer by its name, or by `@index`."""
        for recorded in self.layers:
            if layer in (recorded.layer, f"@{recorded.index}"):
                return recorded
        names = ", ".join(recorded.layer for recorded in self.layers)
        raise SettingsError("layer of this record", names, f"'{layer}'")

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            maps = (int(layer.label.shape[1]), layer.mean_of_maps(0), layer.mean_of_maps(-1))
            layer_information = (float(layer.whole_label[-1]), float(layer.whole_input[-1]))
            rows.append((layer.layer, *maps, *layer_information))
        headings = ("layer", "maps", "mean bits a map, first", "last")
        headings += ("I(T;Y) of the layer, last", "I(X;T), last")
        return html.block(f"training record: {self._span}", html.table(headings, rows))

    def to_pandas(self) -> DataFrame:
        """Return a row for each step, layer and map; information in bits."""
        import pandas

        tables = []
        for layer in self.with_maps:
            steps, maps = layer.label.shape
            by_class = zip(self.classes, np.moveaxis(layer.per_class, 2, 0), strict=True)
            table = {
                "step": np.repeat(self.steps, maps),
                "layer": layer.layer,
                "map": np.tile(np.arange(maps), steps),
                "mi": layer.label.astype(float).ravel(),
                **{f"mi:{name}": values.astype(float).ravel() for name, values in by_class},
            }
            tables.append(pandas.DataFrame(table))
        return pandas.concat(tables or [pandas.DataFrame()], ignore_index=True)

    def plot_boxes(self) -> Figure:
        """Draw box plots of the maps' information about the label, a panel a layer; of 20 steps.

        Raises:
            SettingsError: no layer of the record has maps; so for all figures of maps.
        """
        layers = self._layers_with_maps()
        figure, panels = plots.figure(7, 2.2 * len(layers), rows=len(layers))
        indices = _evenly_spread(len(self), _BOXES)
        for axes, layer in zip(panels[:, 0], layers, strict=True):
            values = [row[np.isfinite(row)] for row in layer.label[indices]]
            axes.boxplot(values, flierprops={"markersize": 2}, medianprops={"color": _EMPHASIS})
            axes.set_xticks(range(1, 1 + len(indices)), [str(step) for step in self.steps[indices]])
            axes.set_xlabel("step")
            self._draw_ceiling(axes)
            title = f"{layer.layer}: {layer.label.shape[1]} maps"
            axes.set_title(plots.printable(title), fontsize=plots.FONT)
            axes.set_ylabel("bits")
        self._draw_title(figure, "information of maps about the label")
        return figure

    def plot_differences(self) -> Figure:
        """Draw the first difference of the mean information of each layer's maps."""
        layers = self._layers_with_maps()
        figure, panels = plots.figure(7, 2.0 * len(layers), rows=len(layers))
        gaps = np.diff(self.steps)
        for axes, layer in zip(panels[:, 0], layers, strict=True):
            finite = np.isfinite(layer.label)
            total = np.where(finite, layer.label, 0.0).sum(axis=1, dtype=np.float64)
            mean = total / np.maximum(finite.sum(axis=1), 1)
            axes.axhline(0.0, color=plots.QUIET, lw=0.8)
            axes.plot(self.steps[1:], np.diff(mean), marker="o")
            if len(gaps) > 2 and gaps.max() > 20 * gaps.min():
                axes.set_xscale("symlog")
            axes.set_xlabel("step")
            axes.set_title(plots.printable(layer.layer), fontsize=plots.FONT)
            axes.set_ylabel("bits a record")
        self._draw_title(figure, "first difference of the mean over maps")
        return figure

    def plot_classes(self, layer: str, ranks: bool = False) -> Figure:
        """Draw tables of map x class at up to five steps, maps in the order of the first step.

        In bits, or the maps' ranks by class.
        """
        recorded = self[layer]
        self._layers_with_maps((recorded,))
        indices = _evenly_spread(len(self), _TABLES)
        start = np.argsort(-np.nan_to_num(recorded.label[0], nan=-1.0), kind="stable")
        values = recorded.per_class[indices][:, start]
        if ranks:
            missing = np.isnan(values)
            falling = -np.nan_to_num(values, nan=-1.0)
            order = falling.argsort(axis=1, kind="stable").argsort(axis=1)
            values = np.where(missing, np.nan, order + 1.0)
        limits = (1, values.shape[1]) if ranks else (0.0, float(np.nanmax(values, initial=1e-9)))
        size = (1.6 * len(indices) + 1.0, min(9.0, 1.6 + 0.09 * len(start)))
        figure, grid = plots.figure(*size, columns=len(indices), sharey=True)
        colors = f"{plots.SEQUENTIAL}_r" if ranks else plots.SEQUENTIAL
        names = [plots.printable(name[:12]) for name in self.classes]
        look = {"aspect": "auto", "cmap": colors, "vmin": limits[0], "vmax": limits[1]}
        images = []
        for axes, step, table in zip(grid[0], self.steps[indices], values, strict=True):
            images.append(axes.imshow(table, interpolation="nearest", **look))
            axes.set_title(f"step {step}", fontsize=plots.FONT)
            if len(names) <= _LABELED_CLASSES:
                axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
            else:
                axes.set_xlabel("class")
        first_axes = grid[0, 0]
        first_axes.set_ylabel("map, by its information at the start")
        if len(start) <= _LABELED_MAPS:
            first_axes.set_yticks(range(len(start)), list(map(str, start)), fontsize=5)
        bar = figure.colorbar(images[-1], ax=list(grid[0]), shrink=0.8)
        label = "rank among the maps" if ranks else "bits, one class against the rest"
        bar.set_label(label, fontsize=plots.FONT)
        bar.ax.tick_params(labelsize=plots.SMALL)
        if ranks:
            bar.ax.invert_yaxis()
        title = "rank by class" if ranks else "by class"
        self._draw_title(figure, f"{recorded.layer}: {title}")
        return figure

    def plot_plane(self) -> Figure:
        """Draw the information plane: I(X;T) and I(T;Y) of whole layers, colored by step.

        Raises:
            SettingsError: the estimator does not estimate the information about the input.
        """
        from matplotlib import colors

        if np.isnan(self.input_ceiling):
            text = "an estimator of I(X;T), such as kde"
            raise SettingsError("information plane", text, f"'{self.file.estimator}'")
        figure, panels = plots.figure(5, 3.8)
        axes = panels[0, 0]
        scale = colors.SymLogNorm(1.0, vmin=0, vmax=max(1, int(self.steps[-1])), base=10)
        points = []
        for layer_index, layer in enumerate(self.layers):
            axes.plot(layer.whole_input, layer.whole_label, color=plots.QUIET, lw=0.8, zorder=1)
            look = {"marker": _MARKERS[layer_index % len(_MARKERS)], "s": 22, "zorder": 2}
            look |= {"norm": scale, "cmap": plots.SEQUENTIAL, "label": plots.printable(layer.layer)}
            points.append(axes.scatter(layer.whole_input, layer.whole_label, c=self.steps, **look))
        self._draw_ceiling(axes)
        axes.axvline(self.input_ceiling, color=_EMPHASIS, lw=1, ls=":", label="log n")
        axes.set_xlabel("I(X;T), bits")
        axes.set_ylabel("I(T;Y), bits")
        axes.legend(fontsize=plots.SMALL)
        bar = figure.colorbar(points[-1], ax=axes)
        bar.set_label("step", fontsize=plots.FONT)
        bar.ax.tick_params(labelsize=plots.SMALL)
        self._draw_title(figure, "information plane")
        return figure

    def save_figures(self, folder: str | Path) -> list[Path]:
        """Write all figures as PNG and SVG; the same record gives the same bytes.

        Returns:
            The files.
        """
        figures = {}
        if self.with_maps:
            figures = {"boxes": self.plot_boxes(), "differences": self.plot_differences()}
        if not np.isnan(self.input_ceiling):
            figures["plane"] = self.plot_plane()
        for layer in self.with_maps:
            name = f"@{layer.index}"
            figures[f"classes-{layer.index:03d}"] = self.plot_classes(name)
            figures[f"class-ranks-{layer.index:03d}"] = self.plot_classes(name, ranks=True)
        return [
            plots.save(figure, Path(folder) / f"{name}.{ending}")
            for name, figure in figures.items()
            for ending in ("png", "svg")
        ]

    def _layers_with_maps(
        self, layers: tuple[RecordedLayer, ...] | None = None
    ) -> list[RecordedLayer]:
        """Return those of some layers, or of all, that have maps."""
        candidates = self.layers if layers is None else layers
        result = [layer for layer in candidates if layer.label.shape[1]]
        if not result:
            names = ", ".join(layer.layer for layer in candidates)
            raise SettingsError("a figure of maps", "a record of layers with maps", names)
        return result

    def _draw_ceiling(self, axes: Axes) -> None:
        if not np.isnan(self.label_ceiling):
            axes.axhline(self.label_ceiling, color=_EMPHASIS, lw=1, ls="--", label="H(Y)")

    def _draw_title(self, figure: Figure, title: str) -> None:
        split = f" of {self.file.split}" if self.file.split else ""
        text = f"{title}\n{self.file.name_shown}, {self.file.samples} images{split}"
        figure.suptitle(plots.printable_lines(text), fontsize=plots.FONT + 1)


def _recorded_layer(
    folder: Path, file: TrainingRecordFile, layer: RecordedLayerPart
) -> RecordedLayer:
    """Read the maps of a layer, and join them with the numbers of the whole layer."""
    maps = RecordedMapsFile.read(maps_file(folder, layer.index))
    if maps.steps.tolist() != file.steps:
        received = f"layer {layer.index} has other steps than {RECORD}"
        raise RunError(f"'{folder}'", "a whole training record", received)
    per_class = maps.per_class
    if per_class is None:
        per_class = np.full((*maps.label.shape, len(file.classes)), np.nan)
    return RecordedLayer(
        layer=layer.layer,
        index=layer.index,
        label=maps.label,
        per_class=per_class,
        whole_label=np.array(layer.label, float),
        whole_input=np.array(layer.input, float),
    )


def _evenly_spread(count: int, max_records: int) -> np.ndarray:
    """Return the indices of `max_records` of `count` records, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, max_records)).round().astype(int))


def maps_file(folder: Path, index: int) -> Path:
    """Return the path of a layer's maps over the steps."""
    return folder / f"layer-{index:03d}.npz"


class RecordFolder:
    """The folder that the steps of one training are written to; made with the first step.

    `empty` is the record of no step; its `key` distinguishes one record from another.
    """

    def __init__(self, path: Path, empty: TrainingRecordFile):
        self.path = path
        self._empty = empty

    def begin(self, step: int) -> list[int]:
        """Continue after `step` batches, and return the steps that are kept.

        Later steps belong to a training that was given up, and are removed; so are steps whose file
        is damaged, with a notice: at the end of the training it would be too late to say so.

        Raises:
            RunError: the folder holds a record of something else, or cannot be written.
        """
        files.check_writable(self.path)
        if (self.path / RECORD).exists():
            if TrainingRecordFile.read(self.path / RECORD).key != self._empty.key:
                received = "one of other images, layers or settings"
                raise RunError(f"'{self.path}'", "a record of this training", received, _OTHER)
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(f"'{self.path}'", "a training record", "other files", _OTHER)
        for recorded in self.steps():
            path = self._step_file(recorded)
            if recorded <= step:
                if TrainingStepFile.read_if_whole(path) is not None:
                    continue
                notice(f"'{path}' is damaged; the record goes on without step {recorded}.")
            path.unlink(missing_ok=True)
        return self.steps()

    def steps(self) -> list[int]:
        """Return the recorded steps, rising."""
        return sorted(int(path.stem) for path in (self.path / "steps").glob("[0-9]*.npz"))

    def write(self, step: int, record: TrainingStepFile) -> None:
        """Keep one step; the first one makes record.json."""
        record.write(self._step_file(step))
        count = len(self.steps())
        if count & (count - 1) == 0:
            self.join()

    def join(self) -> None:
        """Write record.json and the layers' files from all steps that are there.

        Raises:
            RunError: a step's file is damaged.
        """
        steps = self.steps()
        layers = []
        for layer in self._empty.layers:
            label, per_class, layer_information = (
                self._values_at_steps(step_array(layer.index, kind), steps)
                for kind in ("label", "per_class", "layer")
            )
            RecordedMapsFile(
                maps=np.arange(label.shape[1]),
                steps=np.array(steps),
                label=label,
                per_class=per_class,
            ).write(maps_file(self.path, layer.index))
            about_input, about_label = (
                finite_list(layer_information[:, 0]),
                finite_list(layer_information[:, 1]),
            )
            layers.append(replace(layer, input=about_input, label=about_label))
        accuracy = self._values_at_steps("accuracy", steps)
        shares = accuracy.tolist() if np.isfinite(accuracy).all() else None
        record = replace(self._empty, steps=steps, layers=layers, accuracy=shares)
        record.write(self.path / RECORD)

    def _values_at_steps(self, name: str, steps: list[int]) -> np.ndarray:
        return np.stack([files.read_array(self._step_file(step), name) for step in steps])

    def _step_file(self, step: int) -> Path:
        return self.path / "steps" / f"{step:09d}.npz"
