"""Figures of the study `kernels`, after the paper's figures 5 to 10 and 13 to 18."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from oip.core import plots
from oip.mi.estimators.results import SATURATED
from oip.studies import panels
from oip.studies.report import Folder, slug
from oip.studies.trained import BLOCKS, RECORDED, RecordedTraining

if TYPE_CHECKING:
    from oip.studies.data import Images

_BOXES = 16
_UNRANKED = "#cccccc"
_WIDTHS = {"relative": "width relative to the responses", "fixed": "fixed width"}


class ShownResponses(NamedTuple):
    """Responses of the first block's best and worst kernels to one image of each class."""

    images: np.ndarray
    """(classes, h, w, bands), as they are stored."""
    kernels: np.ndarray
    """(2 k,): numbers of the kernels, the k with the highest information first, then the lowest."""
    information: np.ndarray
    """(2 k,) bits."""
    values: np.ndarray
    """(2 k, classes, h', w') block output."""


def draw_boxes(
    folder: Folder, data: Images, trainings: Mapping[str, RecordedTraining], width: str
) -> None:
    """Draw the kernels' information over training as boxes, and the mean's first difference."""
    drawing, axes = plots.figure(7.2, 6.6, 4, len(trainings), sharey="row")
    numbers: dict[str, np.ndarray] = {}
    for column, (name, training) in enumerate(trainings.items()):
        record = training.records[width]
        shown = np.unique(np.linspace(0, len(record) - 1, _BOXES).round().astype(int))
        ticks = [f"{step / 1000:g}k" if step >= 1000 else str(step) for step in record.steps[shown]]
        for number, (layer, block) in enumerate(zip(training.network.blocks, BLOCKS, strict=False)):
            values = record[layer].label
            change = np.diff(values.mean(axis=1))
            above, below = axes[2 * number, column], axes[2 * number + 1, column]
            panels.boxes(above, list(values[shown]), ticks)
            panels.ceiling(above, record.label_ceiling)
            above.set_title(f"{name}, {block}: {values.shape[1]} kernels")
            below.axhline(0, color=plots.QUIET, lw=0.6)
            below.plot(record.steps[1:], change, marker="o", ms=2)
            panels.step_axis(below)
            if not column:
                above.set_ylabel("MI with the label, bits")
                below.set_ylabel("change of the mean,\nbits a record")
            numbers[f"{name}, {block}: bits by iteration and kernel"] = values
            numbers[f"{name}, {block}: first difference of the mean"] = change
        numbers[f"{name}: iterations"] = record.steps
    folder.figure(
        f"boxes-{width}-{slug(data.name)}",
        drawing,
        f"{data.test.source}: information of each kernel about the label over training, in bits "
        f"(kernel estimate, {_WIDTHS[width]}, {RECORDED} images). Boxes: quartiles and median over "
        f"the kernels of a block; circles: kernels further than 1.5 box lengths away; dashed: "
        f"H(Y), the most there can be. Below each, the first difference of the mean between "
        f"records.",
        numbers,
    )


def draw_heat_maps(
    folder: Folder, data: Images, name: str, training: RecordedTraining, width: str
) -> None:
    """Draw kernel by class: one-vs-rest information and rank orders, at the kept iterations.

    An estimate at its ceiling has no rank: it is gray, and the caption says how many there are.
    """
    from scipy.stats import rankdata

    record = training.records[width]
    rows = np.searchsorted(record.steps, training.kept)
    size = min(1.4 + 1.9 * len(rows), 13.0), 6.4
    drawing, axes = plots.figure(*size, 4, len(rows), sharey=True)
    classes = [plots.printable(label[:11]) for label in data.test.classes]
    numbers: dict[str, np.ndarray | list[str]] = {
        "iterations": np.array(training.kept),
        "classes": list(data.test.classes),
    }
    ceilings = []
    for number, (layer, block) in enumerate(zip(training.network.blocks, BLOCKS, strict=False)):
        order = np.argsort(-record[layer].label[0], kind="stable")
        tables = record[layer].per_class[rows][:, order]
        ranks = rankdata(-tables, method="average", axis=1)
        full = tables >= SATURATED * np.array(record.file.class_ceilings)
        ceilings.append(f"{block} " + ", ".join(f"{share:.0%}" for share in full.mean((1, 2))))
        kinds = (
            ("MI, bits", tables, (0, float(tables.max())), plots.SEQUENTIAL),
            (
                "rank among the kernels",
                np.ma.masked_array(ranks, full),
                (1, len(order)),
                f"{plots.SEQUENTIAL}_r",
            ),
        )
        for line, (label, values, (low, high), colors) in zip(
            axes[2 * number : 2 * number + 2], kinds, strict=True
        ):
            for panel, table, step in zip(line, values, training.kept, strict=True):
                panel.set_facecolor(_UNRANKED)
                look = {"aspect": "auto", "interpolation": "nearest", "cmap": colors}
                image = panel.imshow(table.T, vmin=low, vmax=high, **look)
                panel.set_xticks([])
                if label == "MI, bits" and not number:
                    panel.set_title(f"iteration {step:,}")
                elif label != "MI, bits":
                    panel.set_xlabel(f"{block}: {len(order)} kernels")
            line[0].set_yticks(range(len(classes)), classes, fontsize=plots.SMALL - 1)
            bar = panels.side_color_bar(drawing, image, line, label)
            if label != "MI, bits":
                bar.invert_yaxis()
        numbers[f"{block}: kernels in this order"] = order
        numbers[f"{block}: bits by iteration, kernel and class"] = tables
        numbers[f"{block}: ranks by iteration, kernel and class"] = ranks
        numbers[f"{block}: at the ceiling, by iteration, kernel and class"] = full
    most = max(filter(None, record.file.class_ceilings))
    folder.figure(
        f"classes-{width}-{slug(data.name)}-{name.lower()}",
        drawing,
        f"{data.test.source}, {name}: information of each kernel about being of a class or not "
        f"(first and third row, bits; at most {most:.2f}) and its "
        f"rank among the kernels for that class (second and fourth row, 1 is the highest; equal "
        f"values share their mean rank; gray: at the ceiling, where an order means nothing). At "
        f"the ceiling, by iteration: {'; '.join(ceilings)}. Kernels from left to right by their "
        f"information about the label at the start; {_WIDTHS[width]}, {RECORDED} images.",
        numbers,
    )


def draw_responses(folder: Folder, data: Images, name: str, shown: ShownResponses) -> None:
    """Draw block outputs of the kernels with the highest and the lowest information."""
    half = len(shown.kernels) // 2
    shape = 1 + len(shown.kernels), len(shown.images)
    drawing, axes = plots.figure(7.2, 7.4, *shape, gridspec_kw={"hspace": 0, "wspace": 0})
    for panel, picture, label in zip(axes[0], shown.images, data.test.classes, strict=False):
        pixels = picture[..., 0] if picture.shape[-1] == 1 else picture.astype(np.uint8)
        plots.image(panel, pixels, label[:11])
    for row, (line, values) in enumerate(zip(axes[1:], shown.values, strict=True)):
        top = max(float(values.max()), 1e-9)
        for panel, response in zip(line, values, strict=True):
            plots.image(panel, response, vmin=0, vmax=top, cmap=plots.SEQUENTIAL)
        text = f"{'highest' if row < half else 'lowest'}\nkernel {shown.kernels[row]}\n"
        text += f"{shown.information[row]:.2f} bits"
        where = {"transform": line[0].transAxes, "ha": "right", "va": "center"}
        line[0].text(-0.12, 0.5, text, fontsize=6, **where)
    folder.figure(
        f"responses-{slug(data.name)}-{name.lower()}",
        drawing,
        f"{data.test.source}, {name}, end of the training: block outputs of the first block for "
        f"one image of each class. Above the four kernels with the highest information about the "
        f"label, below the four with the lowest; each row has one scale from 0 to its maximum.",
        {
            "kernels": shown.kernels,
            "information, bits": shown.information,
            "block outputs by kernel and class": shown.values,
        },
    )
