"""Figures of the study `kernels`, after the paper's figures 5 to 10 and 13 to 18."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import plots
from oip.mi.estimators.results import SATURATED
from oip.studies.report import slug
from oip.studies.trained import RECORDED, Trained

if TYPE_CHECKING:
    from oip.studies.kernels import Responses
    from oip.studies.report import Folder
    from oip.studies.trained import Images

_BOXES = 16
_UNRANKED = "#cccccc"
_BLOCKS = ("first block", "second block")
_WIDTHS = {"relative": "width relative to the responses", "fixed": "fixed width"}


def boxes(folder: Folder, data: Images, networks: dict[str, Trained], width: str) -> None:
    """Box plots of the kernels' information over training, and the mean's first difference."""
    drawing, panels = plots.figure(7.2, 6.6, 4, len(networks), sharey="row")
    numbers: dict[str, Any] = {}
    for column, (name, one) in enumerate(networks.items()):
        record = one.records[width]
        shown = np.unique(np.linspace(0, len(record) - 1, _BOXES).round().astype(int))
        for block, layer in enumerate(one.watched.blocks[:2]):
            values = record[layer].label
            axes = panels[2 * block, column]
            axes.boxplot(
                list(values[shown]),
                widths=0.6,
                flierprops={"markersize": 2, "markeredgecolor": plots.QUIET},
                medianprops={"color": plots.PALETTE[1]},
            )
            axes.axhline(record.label_ceiling, color=plots.QUIET, ls="--", lw=0.8)
            labels = [_short(step) for step in record.steps[shown]]
            axes.set_xticks(range(1, len(shown) + 1), labels, rotation=60, fontsize=plots.SMALL - 1)
            axes.set_title(
                f"{name}, {_BLOCKS[block]}: {values.shape[1]} kernels", fontsize=plots.FONT
            )
            below = panels[2 * block + 1, column]
            mean = values.mean(axis=1)
            below.axhline(0, color=plots.QUIET, lw=0.6)
            below.plot(record.steps[1:], np.diff(mean), marker="o", ms=2)
            below.set_xscale("symlog", linthresh=1)
            below.set_xlabel("iteration")
            if not column:
                axes.set_ylabel("MI with the label, bits")
                below.set_ylabel("change of the mean,\nbits a record")
            key = f"{name}, {_BLOCKS[block]}"
            numbers[f"{key}: bits by iteration and kernel"] = values
            numbers[f"{key}: first difference of the mean"] = np.diff(mean)
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


def heat_maps(folder: Folder, data: Images, name: str, one: Trained, width: str) -> None:
    """Kernel by class: one-vs-rest information and rank orders, at the iterations that are kept.

    What is at its ceiling has no rank: it is left grey, and the caption says how much it is.
    """
    from scipy.stats import rankdata

    record = one.records[width]
    columns = [int(np.flatnonzero(record.steps == step)[0]) for step in one.kept]
    drawing, panels = plots.figure(
        min(1.4 + 1.9 * len(columns), 13.0), 6.4, 4, len(columns), sharey=True
    )
    numbers: dict[str, Any] = {"iterations": np.array(one.kept), "classes": list(data.test.classes)}
    ceilings = []
    for block, layer in enumerate(one.watched.blocks[:2]):
        values = record[layer].per_class
        order = np.argsort(-record[layer].label[0], kind="stable")
        tables = values[columns][:, order]
        ranks = rankdata(-tables, method="average", axis=1)
        full = tables >= SATURATED * np.array(record.file.class_ceilings)
        shares = [f"{share:.0%}" for share in full.mean(axis=(1, 2))]
        ceilings.append(f"{_BLOCKS[block]} {', '.join(shares)}")
        ordered = np.ma.masked_array(ranks, full)
        most = float(tables.max())
        for row, (told, top, colours) in enumerate(
            ((tables, most, plots.SEQUENTIAL), (ordered, len(order), f"{plots.SEQUENTIAL}_r"))
        ):
            image: Any = None
            for column, table in enumerate(told):
                axes = panels[2 * block + row, column]
                axes.set_facecolor(_UNRANKED)
                image = axes.imshow(
                    table.T,
                    aspect="auto",
                    cmap=colours,
                    vmin=0 if row == 0 else 1,
                    vmax=top,
                    interpolation="nearest",
                )
                axes.set_xticks([])
                if not column:
                    names = [plots.printable(one[:11]) for one in data.test.classes]
                    axes.set_yticks(range(len(names)), names, fontsize=plots.SMALL - 1)
                if not block and not row:
                    axes.set_title(f"iteration {one.kept[column]:,}", fontsize=plots.FONT)
                if row:
                    axes.set_xlabel(f"{_BLOCKS[block]}: {len(order)} kernels")
            label = "rank among the kernels" if row else "MI, bits"
            bar = drawing.colorbar(image, ax=list(panels[2 * block + row]))
            bar.set_label(label, fontsize=plots.FONT)
            bar.ax.tick_params(labelsize=plots.SMALL)
            if row:
                bar.ax.invert_yaxis()
        numbers[f"{_BLOCKS[block]}: kernels in this order"] = order
        numbers[f"{_BLOCKS[block]}: bits by iteration, kernel and class"] = tables
        numbers[f"{_BLOCKS[block]}: ranks by iteration, kernel and class"] = ranks
        numbers[f"{_BLOCKS[block]}: at the ceiling, by iteration, kernel and class"] = full
    folder.figure(
        f"classes-{width}-{slug(data.name)}-{name.lower()}",
        drawing,
        f"{data.test.source}, {name}: information of each kernel about being of a class or not "
        f"(first and third row, bits; at most {max(record.file.class_ceilings):.2f}) and its "
        f"rank among the kernels for that class (second and fourth row, 1 is the highest; equal "
        f"values share their mean rank; grey: at the ceiling, where an order means nothing). At "
        f"the ceiling, by iteration: {'; '.join(ceilings)}. Kernels from left to right by their "
        f"information about the label at the start; {_WIDTHS[width]}, {RECORDED} images.",
        numbers,
    )


def responses(folder: Folder, data: Images, name: str, found: Responses) -> None:
    """Block outputs of the kernels with the highest and the lowest information."""
    half = len(found.kernels) // 2
    drawing, panels = plots.figure(
        7.2, 7.4, 1 + len(found.kernels), len(found.images), gridspec_kw={"hspace": 0, "wspace": 0}
    )
    for column, picture in enumerate(found.images):
        pixels = picture[..., 0] if picture.shape[-1] == 1 else picture.astype(np.uint8)
        plots.image(panels[0, column], pixels, data.test.classes[column][:11])
    for row, (kernel, known) in enumerate(zip(found.kernels, found.information, strict=True), 1):
        top = max(float(found.values[row - 1].max()), 1e-9)
        for column, response in enumerate(found.values[row - 1]):
            options = {"vmin": 0, "vmax": top, "cmap": plots.SEQUENTIAL}
            plots.image(panels[row, column], response, **options)
        side = panels[row, 0]
        text = f"{'highest' if row <= half else 'lowest'}\nkernel {kernel}\n{known:.2f} bits"
        side.text(-0.12, 0.5, text, transform=side.transAxes, ha="right", va="center", fontsize=6)
    folder.figure(
        f"responses-{slug(data.name)}-{name.lower()}",
        drawing,
        f"{data.test.source}, {name}, end of the training: block outputs of the first block for "
        f"one image of each class. Above the four kernels with the highest information about the "
        f"label, below the four with the lowest; each row has one scale from 0 to its maximum.",
        {
            "kernels": found.kernels,
            "information, bits": found.information,
            "block outputs by kernel and class": found.values,
        },
    )


def _short(step: int) -> str:
    return f"{step / 1000:g}k" if step >= 1000 else str(step)
