"""What the paper says about whole layers, beside what was found here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from oip.studies.networks import CLOTHES, DENSENET, DIGITS, LENET, RELU_MLP, SHOWN
from oip.studies.training import Trained
from oip.studies.verdicts import TOO_SHORT, agreement, by_width, larger, late, shown, trend
from oip.studies.watched import RECORDED, WIDTHS

if TYPE_CHECKING:
    from oip.studies.frame import Folder

_REPORTED = {SHOWN[RELU_MLP]: 96.93, SHOWN[LENET]: 99.22, SHOWN[DENSENET]: 99.23}
"""Accuracy on MNIST in the paper, after 50,000 iterations, in percent."""
_LONG = 50_000
_CONSISTENT = 0.5
"""Rank correlation with the iteration above which something rises."""


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
        for width in WIDTHS:
            rises = [trend(layer.whole_label) for layer in one.records[width].layers]
            texts[width] = ", ".join(shown(rise, "+.2f") for rise in rises)
            outcomes += [larger(rise, _CONSISTENT, 0.0) for rise in rises]
        folder.claim(
            f"{name}: what every layer knows about the label rises consistently.",
            f"Spearman correlation of I(T;Y) with the iteration, first layer to last: "
            f"{by_width(texts)}. Accuracy {100 * one.accuracy:.1f} %.",
            agreement(outcomes),
            f"'consistently' is a correlation above {_CONSISTENT}; one training",
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
        texts[width] = ", ".join(f"{name} {mean:.2f}" for name, (mean, _) in ends.items())
        for name, (mean, spread) in ends.items():
            if name != dense:
                outcomes.append(larger(ends[dense][0], mean, max(spread, ends[dense][1])))
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
    half = min(5_000, iterations // 2)
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            record = one.records[width]
            first = np.flatnonzero(record.steps <= half)[-1]
            values = record.layers[-1].whole_label[first:]
            rise = trend(values)
            told.append(f"{name} {values[-1] - values[0]:+.2f} bits ({shown(rise, '+.2f')})")
            outcomes.append(larger(rise, _CONSISTENT, 0.0))
        texts[width] = ", ".join(told)
    folder.claim(
        f"{source}: after 10,000 iterations no network has converged; information of the last "
        f"layer still rises up to 50,000.",
        f"From about iteration {half:,} to {iterations:,}, with the Spearman correlation: "
        f"{by_width(texts)}.",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        f"{iterations:,} iterations" + ("" if iterations >= _LONG else "; the paper has 50,000"),
    )


def _ways(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    """What layers know about the label over training, and whether they forget the input."""
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            layers = one.records[width].layers
            rises = [bool(layer.whole_label[-1] > layer.whole_label[0]) for layer in layers]
            told.append(f"{name} {sum(rises)} of {len(rises)}")
            outcomes.append(all(rises))
        texts[width] = ", ".join(told)
    folder.claim(
        f"{source}: what the layers know about the label grows during training.",
        f"Layers that end above their start: {by_width(texts)}.",
        agreement(outcomes),
        "a layer at the ceiling from the start cannot grow; one training each",
    )
    _compression(folder, source, networks)


def _compression(folder: Folder, source: str, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            values, steps = one.records[width].layers[-1].whole_input, one.records[width].steps
            top = int(np.argmax(values))
            end, spread = late(values, steps)
            told.append(
                f"{name} {values[top]:.2f} (iteration {one.records[width].steps[top]:,}) "
                f"to {end:.2f}"
            )
            fell = larger(float(values[top]), end, spread)
            outcomes.append(
                fell if fell is not None and top > 0 else None if fell is None else False
            )
        texts[width] = ", ".join(told)
    folder.claim(
        f"{source}: networks first fit, then compress: the information about the input rises, then "
        f"falls.",
        f"I(X;T) of the last layer, highest to end, bits: {by_width(texts)}.",
        agreement(outcomes),
        "counts as compression if the highest value comes after the start and the fall exceeds "
        "twice the spread of the last quarter; it hangs on the noise that is added",
    )


def _drops(folder: Folder, networks: dict[str, Trained]) -> None:
    texts, outcomes = {}, []
    for width in WIDTHS:
        told = []
        for name, one in networks.items():
            values = _last(one, width)
            end, spread = _late(one, width)
            told.append(f"{name} {values.max():.2f} to {end:.2f}")
            outcomes.append(larger(float(values.max()), end, spread))
        texts[width] = ", ".join(told)
    iterations = next(iter(networks.values())).iterations
    folder.claim(
        "On Fashion-MNIST the information drops significantly during training.",
        f"I(T;Y) of the last layer, highest to end, bits: {by_width(texts)}.",
        "not tested" if iterations < TOO_SHORT else agreement(outcomes),
        "drop beside twice the spread of the last quarter",
    )


def _last(one: Trained, width: str) -> np.ndarray:
    """(t,): information of the last layer about the label, in bits."""
    return one.records[width].layers[-1].whole_label


def _late(one: Trained, width: str) -> tuple[float, float]:
    """Mean of the same over the last quarter of the training, and its spread."""
    return late(_last(one, width), one.records[width].steps)


def _gap(one: Trained, width: str) -> tuple[float, float]:
    """Bits from the last layer's information to H(Y) in the last quarter, and their spread."""
    mean, spread = _late(one, width)
    return one.records[width].told["label_ceiling"] - mean, spread
