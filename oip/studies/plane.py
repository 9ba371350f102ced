"""The information plane of whole blocks over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oip.core import plots
from oip.core.progress import Progress
from oip.studies.curves import (
    LATE,
    RISING,
    TOO_SHORT,
    by_width,
    drift,
    late,
    peak,
    rises_all_along,
    trend,
)
from oip.studies.report import (
    Folder,
    StudySettings,
    agreement,
    all_of,
    at_ceiling,
    larger,
    shown,
    slug,
)
from oip.studies.trained import (
    CLOTHES,
    DENSENET,
    DIGITS,
    IP_MLP,
    LENET,
    RECORDED,
    RELU_MLP,
    SHOWN,
    SOURCE,
    TANH_MLP,
    WIDTHS,
    Images,
    Trained,
    every_source,
    how_trained,
    images,
    watched_training,
)

if TYPE_CHECKING:
    from oip.studies.report import Folder

NAME = "plane"
TITLE = "The information plane of whole layers during training"
MINUTES = 3
TAKES = ("data", "iterations")
SCHEMA = 1
_BINARY = "binary-12"

__all__ = ["MINUTES", "NAME", "SCHEMA", "SOURCE", "TAKES", "TITLE", "run"]


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Trains the paper's five networks, draws their planes, and compares."""
    folder.note(
        f"I(X;T) and I(T;Y) of a whole layer T by kernel estimates in bits from {RECORDED} images "
        f"of the test part: T with Gaussian noise added, without which I(X;T) would be that of the "
        f"images themselves. Two widths: 'relative', variance 0.1 of the layer's median squared "
        f"distance, which no scaling of the responses changes; and 'fixed', variance 0.1 in the "
        f"responses' own units, as is usual where the paper took its estimator from. Pixels are "
        f"brought to 0 to 1. I(X;T) cannot exceed log2 of the number of images, I(T;Y) cannot "
        f"exceed H(Y); near those lines nothing can be told apart. A finding agrees if it does for "
        f"both widths."
    )
    folder.note(how_trained(settings))
    found: dict[str, dict[str, Trained]] = {}
    sources = every_source(folder, settings)
    for data in sources:
        networks = {
            SHOWN[network]: watched_training(folder, network, data, settings, progress)
            for network in (RELU_MLP, LENET, DENSENET)
        }
        planes(folder, data.name, networks)
        last_layers(folder, data.name, networks)
        compare(folder, data.name, networks, len(data.test))
        found[data.name] = networks
    compare_sources(folder, found)
    _older(folder, sources[0], settings, progress)


def _older(folder: Folder, digits: Images, settings: StudySettings, progress: Progress) -> None:
    """The two networks of the first information planes."""
    vectors = images(folder, _BINARY, settings)
    folder.note(
        "The tanh network learns a re-creation of its data: all 4,096 binary vectors of 12 numbers "
        "(3,277 to learn from), corners of an icosahedron that are on or off; a vector is of class "
        "'many' if more than 15 of the 30 edges join a corner that is on to one that is off. So "
        "small a network learns for as long as in the paper in the quick size too."
    )
    networks = {
        SHOWN[TANH_MLP]: watched_training(folder, TANH_MLP, vectors, settings, progress),
        SHOWN[IP_MLP]: watched_training(folder, IP_MLP, digits, settings, progress),
    }
    planes(folder, "older networks", networks)
    compare_older(folder, networks)


_REPORTED = {SHOWN[RELU_MLP]: 96.93, SHOWN[LENET]: 99.22, SHOWN[DENSENET]: 99.23}
"""Accuracy on MNIST in the paper, after 50,000 iterations, in percent."""
_LONG = 50_000
_USUAL = 10_000
"""Iterations after which the paper says that nothing has converged."""
_NOTABLE = 0.1
"""Bits above which a fall is one."""
_AT_CEILING = " (at the ceiling)"


def compare(folder: Folder, source: str, networks: dict[str, Trained], count: int) -> None:
    """One row of the table for each finding about one data set.

    Args:
        folder: of the study.
        source: name of the data.
        networks: name -> training.
        count: images of the test part.
    """
    if source == DIGITS:
        _accuracies(folder, networks, count)
    _last_layers(folder, source, networks)
    _converged(folder, source, networks)
    _ways(folder, source, networks)


def compare_sources(folder: Folder, found: dict[str, dict[str, Trained]]) -> None:
    """Fashion-MNIST beside MNIST."""
    paper = "On Fashion-MNIST the planes end farther from the bound H(Y) than on MNIST."
    if not {DIGITS, CLOTHES} <= set(found):
        folder.claim(paper, "Needs both data sets.", "not tested", "one data set only")
        return
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name in found[DIGITS]:
            gaps = [_gap(found[source][name], width) for source in (CLOTHES, DIGITS)]
            told.append(f"{name} {gaps[0][0]:.2f} against {gaps[1][0]:.2f}")
            outcomes.append(larger(gaps[0][0], gaps[1][0], max(gaps[0][1], gaps[1][1])))
        texts[width] = ", ".join(told)
    folder.claim(
        paper,
        f"Bits from the last layer's information to H(Y): {by_width(texts)}.",
        agreement(outcomes),
        "beside twice the spread of the last quarter; one training each",
    )
    _drops(folder, found[CLOTHES])


def compare_older(folder: Folder, networks: dict[str, Trained]) -> None:
    """The two networks of the first information planes."""
    for name, one in networks.items():
        texts, outcomes = {}, []
        for width, record in one.records.items():
            ceiling, told = record.label_ceiling, []
            for layer in record.layers:
                values = layer.whole_label
                mark = _AT_CEILING if at_ceiling(values[-1], ceiling) else ""
                told.append(shown(trend(values), "+.2f") + mark)
                outcomes += rises_all_along(values, record.steps, ceiling)
            texts[width] = ", ".join(told)
        folder.claim(
            f"{name}: what every layer knows about the label rises consistently.",
            f"Spearman correlation of I(T;Y) with the iteration, first layer to last: "
            f"{by_width(texts)}. Accuracy {100 * one.accuracy:.1f} %.",
            agreement(outcomes),
            f"'consistently': a rise beside twice the spread of the last quarter, a correlation "
            f"above {RISING}, and a line through the second half that rises by twice the spread "
            f"about it; a layer that ends at the ceiling does not decide; one training",
        )
    _compression(folder, "The older networks", networks)


def _accuracies(folder: Folder, networks: dict[str, Trained], count: int) -> None:
    iterations = next(iter(networks.values())).iterations
    told, outcomes = [], []
    for name, one in networks.items():
        percent = 100 * one.accuracy
        told.append(f"{name} {percent:.2f}")
        outcomes.append(percent >= _REPORTED[name] - 0.5)
    error = max(
        100 * np.sqrt(one.accuracy * (1 - one.accuracy) / count) for one in networks.values()
    )
    folder.claim(
        "Accuracy on MNIST after 50,000 iterations: "
        + ", ".join(f"{name} {value}" for name, value in _REPORTED.items())
        + " %.",
        f"After {iterations:,} iterations: {', '.join(told)} %.",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        f"agrees if not half a point less; standard error up to {error:.2f}; {count:,} test images",
    )


def _last_layers(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    dense = SHOWN[DENSENET]
    for width in WIDTHS:
        ends = {name: _late(one, width) for name, one in networks.items()}
        full = {name: _full(one, width) for name, one in networks.items()}
        texts[width] = ", ".join(
            f"{name} {mean:.2f}{_AT_CEILING if full[name] else ''}"
            for name, (mean, _) in ends.items()
        )
        for name, (mean, spread) in ends.items():
            if name != dense:
                more = larger(ends[dense][0], mean, max(spread, ends[dense][1]))
                outcomes.append(None if full[name] or full[dense] else more)
    short = networks[dense].iterations < TOO_SHORT
    folder.claim(
        f"{source}: the last layer of DenseNet ends with more information about the label than "
        f"those of LeNet and ReLU-MLP.",
        f"I(T;Y) of the last layer, mean of the last quarter, bits: {by_width(texts)}.",
        "not tested" if short else agreement(outcomes),
        f"beside twice the spread of the last quarter; {RECORDED} images, one training each",
    )


def _converged(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    iterations = next(iter(networks.values())).iterations
    first = _USUAL if iterations > _USUAL else iterations / 2
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            steps = one.records[width].steps
            some = steps >= first
            rise, about = drift(_last(one, width)[some], steps[some])
            ceiling = _full(one, width)
            told.append(
                f"{name} {shown(rise, '+.3f')} bits (spread {shown(about, '.3f')})"
                f"{_AT_CEILING if ceiling else ''}"
            )
            outcomes.append(None if ceiling else larger(rise, 0.0, about))
        texts[width] = ", ".join(told)
    folder.claim(
        f"{source}: after 10,000 iterations no network has converged; information of the last "
        f"layer still rises up to 50,000.",
        f"Rise of a straight line from iteration {first:,.0f} to {iterations:,}: "
        f"{by_width(texts)}.",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        f"beside twice the spread about the line; {iterations:,} iterations"
        + ("" if iterations >= _LONG else ", the paper has 50,000"),
    )


def _ways(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    """What layers know about the label over training, and whether they forget the input."""
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            record = one.records[width]
            ceiling = record.label_ceiling
            free = [
                layer.whole_label
                for layer in record.layers
                if not at_ceiling(layer.whole_label[0], ceiling)
            ]
            rises = []
            for values in free:
                end, spread = late(values, record.steps)
                rises.append(larger(end, values[0], spread))
            pinned = len(record.layers) - len(free)
            text = f"{name} {sum(one is True for one in rises)} of {len(free)}"
            told.append(text + (f" ({pinned} at the ceiling from the start)" if pinned else ""))
            outcomes.append(all_of(rises))
        texts[width] = ", ".join(told)
    folder.claim(
        f"{source}: what the layers know about the label grows during training.",
        f"Layers that end above their start: {by_width(texts)}.",
        agreement(outcomes),
        "mean of the last quarter, beside twice its spread; a layer at the ceiling from the start "
        "cannot grow and does not count; one training each",
    )
    _compression(folder, source, networks)


def _compression(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            record = one.records[width]
            values = record.layers[-1].whole_input
            top, place = peak(values)
            end, spread = _settled(values, record.steps)
            told.append(
                f"{name} {values[0]:.2f} to {shown(top)} (about iteration "
                f"{record.steps[place]:,}) to {end:.2f}"
            )
            short = one.iterations < TOO_SHORT
            rose = larger(top - values[0], _NOTABLE, spread)
            outcomes.append(None if short else all_of([rose, larger(top - end, _NOTABLE, spread)]))
        texts[width] = ", ".join(told)
    short = all(one.iterations < TOO_SHORT for one in networks.values())
    folder.claim(
        f"{source}: networks first fit, then compress: the information about the input rises, then "
        f"falls.",
        f"I(X;T) of the last layer, start to highest to end, bits: {by_width(texts)}.",
        "not tested" if short else agreement(outcomes),
        f"counts as compression if it rises by more than {_NOTABLE} bits and falls by more than "
        f"{_NOTABLE} bits, beside twice the spread about a line through the last quarter; highest "
        f"mean of three records in a row; trainings under {TOO_SHORT:,} iterations do not decide; "
        f"it hangs on the noise that is added",
    )


def _drops(folder: Folder, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            top, _ = peak(_last(one, width))
            end, spread = _settled(_last(one, width), one.records[width].steps)
            told.append(f"{name} {shown(top)} to {end:.2f}")
            outcomes.append(larger(top - end, _NOTABLE, spread))
        texts[width] = ", ".join(told)
    iterations = next(iter(networks.values())).iterations
    folder.claim(
        "On Fashion-MNIST the information drops significantly during training.",
        f"I(T;Y) of the last layer, highest to end, bits: {by_width(texts)}.",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        f"a drop is significant above {_NOTABLE} bits, beside twice the spread about a line "
        f"through the last quarter; highest mean of three records in a row",
    )


def _settled(values: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Mean of the last quarter, and the spread about a line through it.

    What still rises there is no noise, and must not hide that nothing fell.
    """
    last = steps >= LATE * steps[-1]
    return late(values, steps)[0], drift(np.asarray(values)[last], steps[last])[1]


def _full(one: Trained, width: str) -> bool:
    """Whether the last layer ends at the most that it can know about the label."""
    return at_ceiling(_late(one, width)[0], one.records[width].label_ceiling)


def _last(one: Trained, width: str) -> np.ndarray:
    """(t,): information of the last layer about the label, in bits."""
    return one.records[width].layers[-1].whole_label


def _late(one: Trained, width: str) -> tuple[float, float]:
    """Mean of the same over the last quarter of the training, and its spread."""
    return late(_last(one, width), one.records[width].steps)


def _gap(one: Trained, width: str) -> tuple[float, float]:
    """Bits from the last layer's information to H(Y) in the last quarter, and their spread."""
    mean, spread = _late(one, width)
    return one.records[width].label_ceiling - mean, spread


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
            axes.axhline(record.label_ceiling, color=plots.QUIET, ls="--", lw=0.8)
            axes.axvline(record.input_ceiling, color=plots.QUIET, ls=":", lw=0.8)
            axes.set_title(f"{network}, {width} width", fontsize=plots.FONT)
            axes.set_xlabel("I(X;T), bits")
            axes.legend(fontsize=plots.SMALL - 1, loc="lower right", frameon=False)
            if not column:
                axes.set_ylabel("I(T;Y), bits")
            numbers[f"{network}: iterations"] = record.steps
            numbers[f"{network}: H(Y), bits"] = record.label_ceiling
            numbers[f"{network}: log2 of the images"] = record.input_ceiling
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
            axes.axhline(record.label_ceiling, color=plots.QUIET, ls="--", lw=0.8)
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
