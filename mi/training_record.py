"""A training record as it is read: what maps and layers knew at every recorded step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mi.record_files import SCHEMA
from oip.core import files, notebook
from oip.core.errors import RunError, SettingsError, expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


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
        return notebook.block(
            f"training record: {len(self)} records, {span}", notebook.table(headings, rows)
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
        from mi.record_figures import boxes

        return boxes(self)

    def plot_differences(self) -> Figure:
        """First difference of the mean information of each layer's maps."""
        from mi.record_figures import differences

        return differences(self)

    def plot_classes(self, layer: str, ranks: bool = False) -> Figure:
        """Map x class, at the start, on the way and at the end; maps in the order of the start.

        Args:
            layer: name or `@index`.
            ranks: the maps' places by class in place of bits.
        """
        from mi.record_figures import class_maps

        return class_maps(self, self[layer], ranks)

    def plot_plane(self) -> Figure:
        """The information plane: I(X;T) and I(T;Y) of whole layers, coloured by step.

        Raises:
            SettingsError: the estimator does not tell what a response knows of the input.
        """
        from mi.record_figures import plane

        return plane(self)

    def save_figures(self, folder: str | Path) -> list[Path]:
        """Writes all figures as PNG and SVG; the same record gives the same bytes.

        Returns:
            The files.
        """
        from mi.record_figures import write

        drawn = {}
        if self.with_maps:
            drawn = {"boxes": self.plot_boxes(), "differences": self.plot_differences()}
        if self.told.get("input_ceiling") is not None:
            drawn["plane"] = self.plot_plane()
        for one in self.with_maps:
            drawn[f"classes-{one.index:03d}"] = self.plot_classes(f"@{one.index}")
            drawn[f"class-ranks-{one.index:03d}"] = self.plot_classes(f"@{one.index}", ranks=True)
        return [path for name, figure in drawn.items() for path in write(figure, folder, name)]
