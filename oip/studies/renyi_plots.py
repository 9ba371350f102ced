"""Figures of the study of matrix Renyi information; each is a name, a drawing, caption, numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core.plots import FONT, PALETTE, QUIET, SEQUENTIAL, SMALL, figure, printable
from oip.studies.renyi_measures import BATCH, KERNELS, LINE, Kernel, Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = tuple[str, "Figure", str, dict[str, Any]]
Trainings = dict[Plan, dict[str, np.ndarray]]
_ORDINAL = ("first", "second")
_MARKERS = "os^Dv<>ph*8PXd"
_PAPER_PLANES = (6, 32)
"""Filters of the paper's figure 7."""


def stages(found: dict[str, np.ndarray]) -> list[tuple[str, int]]:
    """Name and record of the start, the end of the first epoch, and the end."""
    steps = found["steps"]
    first = int(np.argmin(np.abs(steps - found["epoch"])))
    return [("start", 0), ("after an epoch", first), ("end", len(steps) - 1)]


def errors_of(found: dict[str, np.ndarray], kernel: Kernel, record: int) -> np.ndarray:
    """(batches, layers - 1): I of the last layer's error and those of the layers before it.

    The last layer's error with itself is its entropy and no step of the paper's inequality.
    """
    return found[f"{kernel.name} backward"][record][:, :-1]


def other_filters(watched: Trainings) -> str:
    """Says where the networks of the planes are not the paper's."""
    own = {plan.filters for plan in watched if plan.recipe == "lenet5"}
    if not own or own == {_PAPER_PLANES}:
        return ""
    had = " and ".join(str(count) for count in _PAPER_PLANES)
    have = ", ".join(" and ".join(str(count) for count in filters) for filters in sorted(own))
    return f" The paper's networks of this figure have {had} filters, these {have}."


def inequalities(key: str, watched: Trainings, kernel: Kernel, told: str) -> Drawn:
    """Information with the input, forward, and with the output's error, backward (figure 2)."""
    drawing, panels = figure(6.8, 2.1 * len(watched) + 0.3, len(watched), 3, sharey=True)
    numbers: dict[str, Any] = {}
    for row, (plan, found) in zip(panels, watched.items(), strict=True):
        names = [_short(name) for name in found["names"]]
        for axes, (stage, record) in zip(row, stages(found), strict=True):
            for measure, colour, label in (
                ("input", PALETTE[0], "I(X;T), forward"),
                ("backward", PALETTE[2], "I(last error; error), backward"),
            ):
                values = (
                    found[f"{kernel.name} input"][record]
                    if measure == "input"
                    else errors_of(found, kernel, record)
                )
                places = np.arange(values.shape[1])
                spread = values.std(axis=0)
                axes.errorbar(
                    places, values.mean(0), spread, color=colour, marker="o", capsize=2, label=label
                )
                numbers[f"{plan.name} {stage} {measure}"] = values
            axes.axhline(math.log2(_samples(found)), color=QUIET, ls=":", lw=0.8)
            axes.set_xticks(range(len(names)), names, rotation=40 if len(names) > 4 else 0)
            axes.set_title(f"{plan.activation}, {stage}")
        row[0].set_ylabel("bits")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL
    )
    return (
        f"dpi-{key}-{kernel.name}",
        drawing,
        f"{key}: data processing inequalities, kernels of {kernel.label}; mean and standard "
        f"deviation of the batches. Forward lines may not rise to the right, backward lines not to "
        f"the left; the last layer's error with itself is no step. Dotted: log2 n. {told}.",
        numbers,
    )


def planes(key: str, watched: Trainings, kernel: Kernel, known: float, told: str) -> Drawn:
    """The information plane, and the one of non-redundant information (figure 7).

    Args:
        key: name of the source.
        watched: the trainings.
        kernel: of the Gram matrices.
        known: S(Y) of the batches in bits, the ceiling of I(T;Y).
        told: how they were trained and measured.
    """
    drawing, panels = figure(6.0, 2.5 * len(watched) + 0.3, len(watched), 2)
    numbers: dict[str, Any] = {"S(Y)": known}
    image: Any = None
    markers: dict[str, Any] = {}
    for row, (plan, found) in zip(panels, watched.items(), strict=True):
        steps = found["steps"]
        colours = np.log10(1.0 + steps)
        for axes, (x_name, y_name), title in zip(
            row,
            (("input", "label"), ("plane input", "plane label")),
            ("information plane", "modified plane"),
            strict=True,
        ):
            for place, name in enumerate(found["names"]):
                x = found[f"{kernel.name} {x_name}"][:, :, place].mean(axis=1)
                y = found[f"{kernel.name} {y_name}"][:, :, place].mean(axis=1)
                if not np.isfinite(x).all():
                    continue
                marker = _MARKERS[place % len(_MARKERS)]
                axes.plot(x, y, color=QUIET, lw=0.6, zorder=1)
                image = axes.scatter(
                    x, y, c=colours, cmap=SEQUENTIAL, s=14, marker=marker, zorder=2
                )
                empty = axes.plot([], [], marker, color=QUIET, mfc="none")[0]
                markers.setdefault(_short(name), empty)
                numbers[f"{plan.name} {name} {x_name}"] = x
                numbers[f"{plan.name} {name} {y_name}"] = y
            if x_name == "input":
                axes.axvline(found[f"{kernel.name} x"].mean(), color=QUIET, ls=":", lw=0.8)
                axes.axhline(known, color=QUIET, ls=":", lw=0.8)
                axes.set(xlabel="I(X;T) (bits)", ylabel="I(T;Y) (bits)")
            else:
                axes.set(xlabel="non-redundant, of X (bits)", ylabel="of Y (bits)")
            axes.set_title(f"{plan.activation}: {title}")
        numbers[f"{plan.name} steps"] = steps
    bar = drawing.colorbar(image, ax=list(panels.flat), shrink=0.7)
    powers = [10**power for power in range(9) if math.log10(1 + 10**power) <= image.norm.vmax]
    counts = [0, *powers]
    bar.set_ticks([math.log10(1 + one) for one in counts], labels=[str(one) for one in counts])
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("iterations", fontsize=FONT)
    drawing.legend(
        list(markers.values()),
        list(markers),
        loc="outside lower center",
        ncols=min(6, len(markers)),
        frameon=False,
        fontsize=SMALL,
    )
    return (
        f"planes-{key}-{kernel.name}",
        drawing,
        f"{key}: information planes over training, kernels of {kernel.label}, means of the "
        "batches. Modified: the mean over pairs of maps of 2 I_ij - I_i - I_j. Dotted: S(X), and "
        f"S(Y), {known:.2f} bits.{other_filters(watched)} {told}.",
        numbers,
    )


def _samples(found: dict[str, np.ndarray]) -> int:
    """Of a batch: those there are where they are fewer than a batch has."""
    return min(BATCH, int(found["tested"]))


def by_filters(swept: Trainings, layer: int) -> dict[int, list[dict[str, np.ndarray]]]:
    """Trainings by the number of filters of one convolution."""
    grouped: dict[int, list[dict[str, np.ndarray]]] = {}
    for plan, found in swept.items():
        grouped.setdefault(plan.filters[layer], []).append(found)
    return grouped


def amounts(key: str, swept: Trainings, layer: int, told: str) -> Drawn:
    """Information of a layer at the end, and accuracy, over its number of filters (figure 4)."""
    grouped = by_filters(swept, layer)
    counts = list(grouped)
    drawing, panels = figure(6.4, 2.5, 1, 2)
    numbers: dict[str, Any] = {"filters": np.array(counts)}
    axes = panels[0, 0]
    for place, kernel in enumerate(KERNELS):
        values, starts = (
            np.array(
                [
                    np.mean([found[f"{kernel.name} input"][record, :, layer] for found in several])
                    for several in grouped.values()
                ]
            )
            for record in (-1, 0)
        )
        most = float(np.mean([found[f"{kernel.name} x"] for found in swept.values()]))
        axes.plot(counts, values, marker="o", color=PALETTE[place], label=kernel.label)
        axes.plot(counts, starts, ls="--", color=PALETTE[place], label="before training")
        axes.axhline(most, color="black", lw=0.8, ls=(0, (1, 1 + place)))
        numbers |= {f"{kernel.name} end": values, f"{kernel.name} start": starts}
        numbers[f"{kernel.name} entropy of the input"] = most
    axes.set(xlabel=f"filters of the {_ORDINAL[layer]} convolution", ylabel="I(X;T) (bits)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    accuracies = [[100 * float(one["accuracy"]) for one in several] for several in grouped.values()]
    axes = panels[0, 1]
    tested = min(int(one["tested"]) for one in swept.values())
    for count, several in zip(counts, accuracies, strict=True):
        share = np.array(several) / 100
        half = 196 * np.sqrt(share * (1 - share) / tested)
        axes.errorbar(
            [count] * len(several), several, half, fmt="o", color=PALETTE[1], alpha=0.5, capsize=2
        )
    axes.plot(counts, [np.nanmean(several) for several in accuracies], color=PALETTE[1])
    axes.set(xlabel=f"filters of the {_ORDINAL[layer]} convolution", ylabel="accuracy (%)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    numbers["accuracy (%)"] = np.array(accuracies)
    return (
        f"mmi-{key}-{_ORDINAL[layer]}",
        drawing,
        f"{key}: information of the {_ORDINAL[layer]} convolution's maps together about the input, "
        "and accuracy on test images (a point a training, with 95 % of the sampling of its test "
        "images; the line their mean). Black: the entropy of the input, the ceiling. "
        f"{told}.",
        numbers,
    )


def shares(key: str, swept: Trainings, layer: int, told: str) -> Drawn:
    """Redundancy less synergy, and non-redundant information, over training (figure 5)."""
    from matplotlib import colormaps

    grouped = by_filters(swept, layer)
    drawing, panels = figure(6.4, 4.4, 2, 2, sharex=True)
    numbers: dict[str, Any] = {}
    colours = colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, len(grouped)))
    for row, kernel in zip(panels, KERNELS, strict=True):
        for axes, name in zip(row, ("redundant", "non-redundant"), strict=True):
            for (count, several), colour in zip(grouped.items(), colours, strict=True):
                complete = [one for one in several if len(one["steps"]) == _longest(several)]
                values = np.array([one[f"{kernel.name} {name}"][:, :, layer] for one in complete])
                mean = 100 * values.mean(axis=(0, 2))
                if not np.isfinite(mean).all():
                    continue
                steps = complete[0]["steps"]
                axes.plot(steps, mean, marker="o", color=colour, label=str(count))
                numbers[f"{kernel.name} {name} {count} filters (%)"] = mean
                numbers["steps"] = steps
            axes.set_xscale("symlog", linthresh=1)
            axes.set_title(f"{_TITLES[name]} ({kernel.name})")
            axes.set_ylabel("% of I(X; both)")
    for axes in panels[1]:
        axes.set_xlabel("iterations")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=6,
        frameon=False,
        title="filters",
        fontsize=SMALL,
        title_fontsize=SMALL,
    )
    return (
        f"pairs-{key}-{_ORDINAL[layer]}",
        drawing,
        f"{key}: pairs of maps of the {_ORDINAL[layer]} convolution, means over pairs, batches and "
        f"trainings; top with {KERNELS[0].label}, bottom with {KERNELS[1].label}. {told}.",
        numbers,
    )


_TITLES = {"redundant": "redundancy less synergy", "non-redundant": "weighted non-redundant"}


def width(key: str, chosen: dict[str, np.ndarray], told: str) -> Drawn:
    """Conditional information, the bottleneck's objective, and what is lost without maps."""
    drawing, panels = figure(7.0, 4.6, 2, 2)
    for place, (axes, kernel) in enumerate(zip(panels[0], KERNELS, strict=True)):
        objective = chosen[f"{kernel.name} objective"]
        line = np.quantile(objective, 1 - LINE)
        axes.hist(objective, 24, color=PALETTE[0])
        axes.axvline(line, color=PALETTE[1], ls="--")
        axes.set(xlabel="I(X;T) - 2 I(T;Y) (bits)", ylabel="maps" if place == 0 else "")
        axes.set_title(f"objective, {kernel.label}")
    axes = panels[1, 0]
    for place, kernel in enumerate(KERNELS):
        p = chosen[f"{kernel.name} p"]
        axes.plot(
            np.arange(1, len(p) + 1),
            p,
            marker=_MARKERS[place],
            mfc="none",
            ms=4 + 3 * place,
            ls=("-", "--")[place],
            color=PALETTE[place],
            label=kernel.label,
        )
    axes.axhline(0.05, color=QUIET, ls=":", lw=0.8)
    longest = max(len(chosen[f"{kernel.name} p"]) for kernel in KERNELS)
    axes.set_xticks(range(1, longest + 1, max(1, longest // 8)))
    axes.set(xlabel="maps chosen", ylabel="p-value of the next map", title="CMI-permutation")
    axes.legend(frameon=False)
    axes = panels[1, 1]
    for place, name in enumerate(chosen["methods"]):
        values = 100 * chosen["pruned"][place]
        axes.errorbar(
            100 * chosen["shares"],
            np.nanmean(values, axis=1),
            np.nanstd(values, axis=1),
            marker=_MARKERS[place % 7],
            color=PALETTE[place % len(PALETTE)],
            capsize=2,
            lw=1.0,
            label=str(name),
        )
    axes.axhline(100 * float(chosen["accuracy"]), color=QUIET, ls=":", lw=0.8)
    axes.set(xlabel="maps removed (%)", ylabel="accuracy (%)", title="without retraining")
    axes.legend(frameon=False, fontsize=6)
    return (
        f"width-{key}",
        drawing,
        f"{key}: maps of the layer {printable(chosen['layer'])}. Top: the bottleneck's objective "
        f"of every map, low for maps to keep; {LINE:.0%} of them lie above the dashed line. Bottom "
        "left: p-value of the map that adds most to "
        "those chosen before. Bottom right: accuracy when maps with the worst score are removed; "
        f"the bar at random is the deviation over draws, dotted the whole network. {told}.",
        dict(chosen),
    )


def _longest(several: list[dict[str, np.ndarray]]) -> int:
    return max(len(one["steps"]) for one in several)


def _short(name: object) -> str:
    return printable(name).replace("Conv2D_", "conv ").replace("Dense_", "dense ")
