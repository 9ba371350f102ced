"""Matrix Renyi information in networks: inequalities, pairs of maps, width, planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oip.core import seeds
from oip.core.files import sha256
from oip.core.progress import Progress
from oip.studies import renyi_plots
from oip.studies.data import Images, every_source, limited
from oip.studies.renyi_measures import (
    BATCH,
    KERNELS,
    LINE,
    MANY,
    SHARES,
    Amount,
    Kernel,
    Plan,
    Pruning,
    label_ceiling,
    trained,
    widths,
)
from oip.studies.renyi_plots import Trainings, by_filters, errors_of, other_filters, stages
from oip.studies.report import Agreement, Folder, StudySettings, agreement, base_name

_DRAWS = 1000
_LEVEL = 0.025
NEAR = 0.02
"""Share of a ceiling within which a value is at it, or at zero."""
_CHANGE = 0.05
"""Share of a curve's largest value that counts as a rise or as a compression."""
_SIDES = {"X": "input", "Y": "label"}


def violations(values: np.ndarray, forward: bool, seed: int = 0) -> tuple[int, int]:
    """Neighbouring layers whose information goes against the inequality, and how many there are.

    Args:
        values: (batches, layers): I with the input, that may not rise (`forward`); or with the
            last layer's error, that may not fall.
        forward: which of them.
        seed: of the bootstrap over batches.

    Returns:
        Pairs of which 97.5 % of the bootstrap means are on the wrong side, and all pairs.
    """
    wrong = np.diff(values, axis=1) if forward else -np.diff(values, axis=1)
    rows = seeds.generator(seed, "renyi bootstrap").integers(0, len(wrong), (_DRAWS, len(wrong)))
    low = np.quantile(wrong[rows].mean(axis=1), _LEVEL, axis=0)
    # Eigenvalues carry rounding; less than a millionth of a bit is none.
    return int((low > 1e-6).sum()), wrong.shape[1]


def inequalities(folder: Folder, key: str, watched: Trainings) -> None:
    """Whether the two data processing inequalities hold."""
    for measure, paper, left_out in (
        ("input", "The forward inequality I(X;T1) >= I(X;T2) >= ... holds in most cases", ""),
        (
            "backward",
            "The backward inequality of the errors, I(dK;dK-1) >= ... >= I(dK;d1), holds, with a "
            "few disruptions",
            " The last layer's error with itself is its entropy, not a step.",
        ),
    ):
        counted, parts = [], []
        for kernel in KERNELS:
            wrong, every = 0, 0
            where = []
            for plan, found in watched.items():
                for stage, record in stages(found):
                    if measure == "input":
                        values = found[f"{kernel.name} {measure}"][record]
                    else:
                        values = errors_of(found, kernel, record)
                    bad, pairs = violations(values, measure == "input")
                    wrong, every = wrong + bad, every + pairs
                    if bad:
                        where.append(f"{plan.activation} {stage} {bad}")
            told = f" ({', '.join(where)})" if where else ""
            parts.append(f"{kernel.label}: {wrong} of {every}{told}")
            counted.append(wrong / max(every, 1))
        folder.claim(
            f"{paper} ({key}).",
            f"Steps from layer to layer against it, at the start, after an epoch and at the end: "
            f"{'; '.join(parts)}.{left_out}",
            together([graded(1 - share, 0.75, 0.5) for share in counted]),
            f"{batch_count(watched)} batches of 128; a step counts if its bootstrap interval over "
            "batches leaves out 0; one training each",
        )


@dataclass(frozen=True)
class Curve:
    """What one quantity of a layer did over a training."""

    rises: bool
    """It ends above its start."""
    falls: bool
    """It ends below its largest value."""
    drop: float
    """By what share of it."""


def planes(folder: Folder, key: str, watched: Trainings, known: float) -> None:
    """Whether curves rise and turn back in the planes, those of X and of Y apart.

    Args:
        folder: for the findings.
        key: name of the source.
        watched: the trainings.
        known: S(Y) of the batches in bits, the ceiling of I(T;Y).
    """
    rules = (
        f"A rise or a fall is one of more than {_CHANGE:.0%} of the largest value and two standard "
        f"errors over batches; curves within {_CHANGE:.0%} of the ceiling, or {NEAR:.0%} of zero, "
        "all the time cannot move and are left out"
    )
    sure = f"{batch_count(watched)} batches, one training each"
    parts, verdicts = [], []
    for kernel in KERNELS:
        for side, name in _SIDES.items():
            told, outcomes = [], []
            for plan, found in watched.items():
                curves, still = _curves(found, kernel, name, name, known)
                outcomes += [one.rises and not one.falls for one in curves]
                told.append(
                    f"{plan.activation} {sum(one.rises for one in curves)} of {len(curves)} rise, "
                    f"{sum(one.falls for one in curves)} fall back ({still} cannot move)"
                )
            parts.append(f"{side}, {kernel.label}: {', '.join(told)}")
            share = float(np.mean(outcomes)) if outcomes else np.nan
            verdicts.append(graded(share, 0.75, 0.4) if outcomes else "not tested")
    folder.claim(
        f"In the information plane both rise, without compression ({key}).",
        f"Layers' information about X and about Y: {'; '.join(parts)}. {rules}.",
        together(verdicts),
        sure,
    )
    parts, verdicts = [], []
    for kernel in KERNELS:
        for side, name in _SIDES.items():
            told, sums = [], {}
            for plan, found in watched.items():
                curves, still = _curves(found, kernel, f"plane {name}", name, known)
                if curves:
                    share = float(np.mean([one.falls for one in curves]))
                    drop = float(np.mean([max(one.drop, 0.0) for one in curves]))
                    sums[plan.activation] = (share, drop)
                    fell = sum(one.falls for one in curves)
                    told.append(
                        f"{plan.activation} {fell} of {len(curves)} fall back, mean drop {drop:.0%}"
                    )
                else:
                    told.append(f"{plan.activation} none can move")
            parts.append(f"{side}, {kernel.label}: {', '.join(told)}")
            verdicts.append(_turned(sums))
    folder.claim(
        "In the modified plane (non-redundant information) there is compression, more with "
        f"sigmoid than with ReLU ({key}).",
        f"Convolutions' non-redundant information about X and about Y: {'; '.join(parts)}. "
        f"{rules}.{other_filters(watched)}",
        together(verdicts),
        sure,
    )


def curve(values: np.ndarray) -> Curve:
    """What a curve (t, batches) did, beyond 5 % of its largest value and two standard errors."""
    mean = values.mean(axis=1)
    top = int(np.argmax(mean))
    least = _CHANGE * max(float(mean[top]), 1e-12)

    def clear(change: np.ndarray) -> bool:
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else 0.0
        return bool(change.mean() > max(least, 2 * float(error)))

    fall = values[top] - values[-1]
    drop = float(fall.mean() / max(float(mean[top]), 1e-12))
    return Curve(clear(values[-1] - values[0]), clear(fall), drop)


def _curves(
    found: dict[str, np.ndarray], kernel: Kernel, name: str, side: str, known: float
) -> tuple[list[Curve], int]:
    """Curves of the layers that have one and can move, and how many cannot."""
    most = known if side == "label" else float(found[f"{kernel.name} x"].mean())
    every = found[f"{kernel.name} {name}"]
    rows = [every[:, :, place] for place in range(every.shape[2])]
    rows = [row for row in rows if np.isfinite(row).all()]
    moving = [row for row in rows if not _still(row.mean(axis=1) / most)]
    return [curve(row) for row in moving], len(rows) - len(moving)


def _still(shares: np.ndarray) -> bool:
    """Whether a curve, as shares of its ceiling, is at the ceiling or at zero all the time."""
    return bool((shares >= 1 - _CHANGE).all() or (np.abs(shares) <= NEAR).all())


def _turned(sums: dict[str, tuple[float, float]]) -> Agreement:
    """Of the share of curves that fall and their mean drop, by activation."""
    if not sums:
        return "not tested"
    if not any(share for share, _ in sums.values()):
        return "no"
    if len(sums) < 2:
        return "partly"
    often = float(np.mean([share for share, _ in sums.values()])) >= 0.5
    return "yes" if often and sums.get("sigmoid", ()) > sums.get("relu", ()) else "partly"


def together(verdicts: Sequence[Agreement]) -> Agreement:
    """What all looks that decide say; partly where they differ, or say yes but not all decide."""
    told: list[Agreement] = [one for one in verdicts if one != "not tested"]
    if not told:
        return "not tested"
    if len(set(told)) > 1 or (told[0] == "yes" and len(told) < len(verdicts)):
        return "partly"
    return told[0]


def graded(share: float, yes: float, partly: float) -> Agreement:
    """Yes from a share on, partly from a smaller one on."""
    return "yes" if share >= yes else "partly" if share >= partly else "no"


def batch_count(trainings: Trainings) -> int:
    """Batches that each network was measured with."""
    return int(next(iter(trainings.values()))[f"{KERNELS[0].name} input"].shape[1])


Wanted = tuple[tuple[str, str, str], ...]
"""Of each data set of a paper: what the name of its source holds, its name, and what to say."""


def not_given(folder: Folder, settings: StudySettings, wanted: Wanted) -> None:
    """Says of the paper's data that are not among the sources how they can be."""
    named = " ".join(base_name(source) for source in settings.data).lower()
    for word, what, command in wanted:
        if word not in named:
            folder.claim(
                f"Its findings on {what}.",
                f"Not among the data of this study: {command}",
                "not tested",
                "no data",
            )


NAME = "renyi"
TITLE = "Matrix Renyi information: data processing, redundancy and synergy, width, planes"
SOURCE = (
    "S. Yu, K. Wickstrom, R. Jenssen, J. C. Principe: Understanding convolutional neural networks "
    "with information theory: an initial exploration. arXiv:1804.06537; IEEE TNNLS 32 (2021) 435."
)
MINUTES = 5
TAKES = ("data",)
SCHEMA = 2
"""1 had the paper's rate of 0.1 for networks of ReLU, too."""
_BASE = (6, 12)
_RATES = {"sigmoid": 0.1, "relu": 0.02}
"""The paper has 0.1. With an input of deviation s in place of 1 the first layer learns as it does
with s^2 times the rate; pixels from 0 to 1 have a deviation of some 0.3, and here the input is
standardised. With 0.1 and momentum 0.95 three of seven networks of ReLU stayed at chance."""
_SMALL = 32
"""Images of at least so many pixels a side are for the AlexNet-like network, as in the paper."""

_WANTED = (
    ("hasy", "HASYv2", "oip study renyi --data FOLDER/hasy-data-labels.csv"),
    ("fruits", "Fruits 360", "oip study renyi --data FOLDER/fruits-360, with train and test in it"),
    ("cifar10", "CIFAR-10 by VGG-16", "oip study renyi --data cifar10"),
)
"""In the name of a source, the data, and what to say to have them."""


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    first: tuple[int, ...]
    """Filters of the first convolution, 12 in the second."""
    second: tuple[int, ...]
    """Filters of the second convolution, 6 in the first."""
    wide: int
    """Filters of the second convolution where maps are chosen."""
    images: int | None
    """That are learned from; all if None."""
    tested: int | None
    epochs: int
    seeds: int
    """Trainings of a network in the comparison of widths."""
    amount: Amount
    pruning: Pruning


QUICK = Size(
    first=(2, 6, 24),
    second=(3, 12, 48),
    wide=128,
    images=12_000,
    tested=2_000,
    epochs=5,
    seeds=1,
    amount=Amount(batches=3, pairs=20, steps=9),
    pruning=Pruning(shares=(0.25, 0.55, 0.8), chances=3),
)
FULL = Size(
    first=(1, 2, 4, 6, 12, 24),
    second=(3, 6, 12, 32, 64, 128),
    wide=128,
    images=None,
    tested=None,
    epochs=10,
    seeds=10,
    amount=Amount(batches=10, pairs=66, steps=24),
    pruning=Pruning(shares=(0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9), chances=10),
)


def run(folder: Folder, settings: StudySettings, progress: Progress) -> None:
    """Everything for each source of images.

    Args:
        folder: for what is computed and drawn.
        settings: `data` names images in place of MNIST and Fashion-MNIST. Those of 32 x 32 pixels
            and more, such as HASYv2 and Fruits 360, are learned by the AlexNet-like network;
            `cifar10` by VGG-16.
        progress: told trainings.

    Raises:
        MissingData: no images at all can be had.
    """
    run_sized(folder, settings, progress, QUICK if settings.quick else FULL)


def run_sized(folder: Folder, settings: StudySettings, progress: Progress, size: Size) -> None:
    """See `run`; of any size."""
    for place, found in enumerate(every_source(folder, settings)):
        _of_source(folder, found, settings.seed, size, progress, place == 0)
    not_given(folder, settings, _WANTED)
    folder.note(
        "The paper's kernel width, sigma = 5 n^(-1 / (4 + d)) for responses and 0.1 n^(-1 / (4 + "
        "d)) for errors, is in the units of the values, so that it depends on how the network's "
        "input is scaled, which the paper does not say. Here networks standardise their input, and "
        "the input's own Gram matrix is that of pixels from 0 to 1. Everything was measured with "
        "a second kernel as well, 2 sigma^2 = the median squared distance, which has no units. "
        "Errors are derivatives of each image's own loss by the pre-activation."
    )
    folder.note(
        f"Networks of sigmoids learn at the paper's rate of {_RATES['sigmoid']}, those of ReLU at "
        f"{_RATES['relu']}: with a standardised input the first layer learns about ten times as "
        "fast as with pixels from 0 to 1. At the paper's rate three of seven stayed at chance (6, "
        "12; 24, 12; 6, 3 filters on MNIST, quick size), and what was found about redundancy over "
        "the number of filters was another: the rate was changed after that run."
    )
    folder.note(
        "The Hadamard product of many Gram matrices goes to the identity whatever the maps know: "
        "S(T) to log2 n = 7 bits, I(X;T) to S(X) and I(T;Y) to S(Y). Information of a layer that "
        "is at these ceilings says nothing of the layer."
    )


def _of_source(
    folder: Folder, images: Images, seed: int, size: Size, progress: Progress, first: bool
) -> None:
    """Trainings on one source, their figures and findings."""
    key = images.name
    data = limited(images.train, size.images), limited(images.test, size.tested)
    plans = plans_for(key, data[0].images.shape[1:], seed, size, first)
    # VGG-16 has 4,224 maps, each with two Gram matrices a batch.
    deep = any(plan.recipe == "vgg16-cifar" for plan in plans["watched"])
    amount = replace(size.amount, batches=2, steps=4) if deep else size.amount
    found: dict[Plan, dict[str, np.ndarray]] = {}
    for plan in dict.fromkeys(plan for group in plans.values() for plan in group):
        out = folder.file(f"models/{plan.name}.keras")
        found[plan] = folder.part(
            f"trainings/{plan.name}",
            lambda plan=plan, out=out: trained(plan, data, amount, out, progress),
            of=images.digest,
        )
    watched = {plan: found[plan] for plan in plans["watched"]}
    told = (
        f"{len(data[0])} images learned from for {next(iter(watched)).epochs} epochs, "
        f"{batch_count(watched)} batches of {min(BATCH, len(data[1]))} test images, "
        "alpha 1.01"
    )
    known = label_ceiling(data[1].labels, amount.batches, seed)
    for kernel in KERNELS:
        folder.figure(*renyi_plots.inequalities(key, watched, kernel, told))
        folder.figure(*renyi_plots.planes(key, watched, kernel, known, told))
    inequalities(folder, key, watched)
    planes(folder, key, watched, known)
    for group in ("first", "second"):
        if plans[group]:
            swept = {plan: found[plan] for plan in plans[group]}
            layer = ("first", "second").index(group)
            folder.figure(*renyi_plots.amounts(key, swept, layer, told))
            folder.figure(*renyi_plots.shares(key, swept, layer, told))
            amounts(folder, key, swept, layer)
            shares(folder, key, swept, layer)
    for plan in plans["chosen"]:
        if not np.isfinite(found[plan]["accuracy"]):
            folder.note(f"{plan.name}: the training diverged, no maps were chosen from.")
            continue
        model = folder.file(f"models/{plan.name}.keras")
        chosen = folder.part(
            f"widths/{plan.name}",
            lambda model=model: widths(model, data, size.pruning, seed),
            of=f"{images.digest} {sha256(model)}",
        )
        folder.figure(*renyi_plots.width(key, chosen, told))
        where = f"{chosen['layer']} of {plan.recipe} on {key}"
        width(folder, where, chosen, len(data[1]))


def plans_for(
    source: str, shape: tuple[int, ...], seed: int, size: Size, first: bool
) -> dict[str, list[Plan]]:
    """Networks by what they are for.

    Args:
        source: of images.
        shape: (h, w, bands).
        seed: of the study.
        size: of the study.
        first: the source on which widths are compared; all are in a study that is not quick.

    Returns:
        `watched` (inequalities and planes), `first` and `second` (filters of a convolution),
        `chosen` (which of its maps are needed).
    """
    if source.startswith("cifar10"):
        epochs = 3 * size.epochs if size.images is None else 2
        vgg = Plan(source, "vgg16-cifar", (), "relu", None, epochs, seed)
        return {"watched": [vgg], "first": [], "second": [], "chosen": [vgg]}
    if min(shape[:2]) >= _SMALL:
        nets = [
            Plan(source, "alexnet-small", (), activation, 0.01, round(1.5 * size.epochs), seed)
            for activation in ("relu", "sigmoid")
        ]
        return {"watched": nets, "first": [], "second": [], "chosen": nets[:1]}

    def net(filters: tuple[int, ...], activation: str = "relu", place: int = 0) -> Plan:
        rate = _RATES[activation]
        return Plan(source, "lenet5", filters, activation, rate, size.epochs, seed + place)

    watched = [net(_BASE), net(_BASE, "sigmoid")]
    if not (first or size is FULL):
        return {"watched": watched, "first": [], "second": [], "chosen": []}
    several = range(size.seeds)
    return {
        "watched": watched,
        "first": [net((count, 12), place=place) for count in size.first for place in several],
        "second": [net((6, count), place=place) for count in size.second for place in several],
        "chosen": [net((6, size.wide))],
    }


_ORDINAL = ("first", "second")


def amounts(folder: Folder, key: str, swept: Trainings, layer: int) -> None:
    """Whether information grows with filters and is soon at its ceiling; accuracy."""
    grouped = by_filters(swept, layer)
    counts = list(grouped)
    parts, outcomes = [], []
    for kernel in KERNELS:
        values, starts, most = (
            np.array(
                [np.mean([select(one, kernel) for one in several]) for several in grouped.values()]
            )
            for select in (
                lambda one, kernel: one[f"{kernel.name} input"][-1, :, layer],
                lambda one, kernel: one[f"{kernel.name} input"][0, :, layer],
                lambda one, kernel: one[f"{kernel.name} x"],
            )
        )
        first = _first_full(counts, values, most)
        before = _first_full(counts, starts, most)
        parts.append(
            f"{kernel.label}: {_row(values)} of {most.mean():.2f} bits for {_row(counts, 0)} "
            f"filters, at the ceiling from {first or 'none of them'} on; untrained "
            f"{_row(starts)}, from {before or 'none of them'} on"
        )
        outcomes.append(saturates(values, most))
    folder.claim(
        f"Information about the input grows with the filters of the {_ORDINAL[layer]} convolution "
        f"and is at its maximum with few ({key}).",
        f"{'; '.join(parts)}. The product of many Gram matrices goes to the ceiling by "
        "construction. Where the fewest filters are at it already, nothing can grow.",
        "not tested" if all(one is None for one in outcomes) else agreement(outcomes),
        f"{batch_count(swept)} batches, {_trainings(grouped)}",
    )
    scores = [np.array([float(one["accuracy"]) for one in several]) for several in grouped.values()]
    tested = int(next(iter(swept.values()))["tested"])
    means = np.array([np.nanmean(one) if np.isfinite(one).any() else np.nan for one in scores])
    half = 1.96 * np.sqrt(np.maximum(means * (1 - means), 1e-4) / tested)
    best = int(np.nanargmax(means))
    last = means[-1] + half[-1] < means[best] - half[best]
    rises = means[best] - half[best] > means[0] + half[0]
    bad = sum(int((~np.isfinite(one)).sum()) for one in scores)
    folder.claim(
        f"More filters of the {_ORDINAL[layer]} convolution raise accuracy at first, and need not "
        f"later ({key}).",
        f"Accuracy in % for {_row(counts, 0)} filters: {_row(100 * means, 1)}; best with "
        f"{counts[best]}"
        + (f"; {bad} trainings diverged" if bad else "")
        + (", significantly better than the most filters" if last else "")
        + ("" if rises else "; no difference is beyond sampling")
        + ".",
        "yes" if rises and (last or best < len(counts) - 1) else "partly" if best else "no",
        f"{_trainings(grouped)}; 95 % of sampling on {tested} images is +-{100 * half[best]:.1f} "
        "points at the best",
    )


def saturates(values: np.ndarray, most: np.ndarray) -> bool | None:
    """Whether information grows with the filters and is at its ceiling before the most of them.

    Args:
        values: (counts,) bits, from few filters to many.
        most: (counts,): the ceilings.

    Returns:
        None where the fewest filters are at the ceiling: nothing is left to grow.
    """
    full = values >= (1 - NEAR) * most
    if full[0]:
        return None
    grows = bool(np.all(np.diff(values) > -0.05 * most[1:])) and values[-1] > values[0]
    return bool(grows and full[:-1].any())


def _first_full(counts: list[int], values: np.ndarray, most: np.ndarray) -> int | None:
    """The fewest filters whose information is at the ceiling."""
    full = values >= (1 - NEAR) * most
    return next((count for count, hit in zip(counts, full, strict=True) if hit), None)


def shares(folder: Folder, key: str, swept: Trainings, layer: int) -> None:
    """Whether redundancy gives way to synergy with more filters, and stays above it."""
    grouped = by_filters(swept, layer)
    several_maps = {count: several for count, several in grouped.items() if count > 1}
    counts = list(several_maps)
    parts, falls, signs = [], [], []
    for kernel in KERNELS:
        rows = {}
        for name in SHARES:
            rows[name] = np.array(
                [
                    np.mean([one[f"{kernel.name} {name}"][-1, :, layer] for one in several])
                    for several in several_maps.values()
                ]
            )
        own = np.array(
            [
                one[f"{kernel.name} redundant"][-1, :, layer].mean()
                for several in several_maps.values()
                for one in several
            ]
        )
        falls.append(_trend(counts, rows["redundant"]))
        signs.append(bool((own > 0).all()))
        parts.append(
            f"{kernel.label}: redundancy less synergy {_row(100 * rows['redundant'], 0)} %, "
            f"non-redundant {_row(100 * rows['non-redundant'], 0)} %, rank correlation of the "
            f"first with filters {falls[-1]:+.2f}"
        )
    folder.claim(
        f"With more filters of the {_ORDINAL[layer]} convolution pairs of maps are less redundant "
        f"and more synergistic ({key}).",
        f"At the end, for {_row(counts, 0)} filters: {'; '.join(parts)}.",
        "yes" if all(one < -0.5 for one in falls) else "partly" if min(falls) < -0.5 else "no",
        f"{batch_count(swept)} batches, {_trainings(grouped)}; a rank correlation of {len(counts)} "
        "points",
    )
    folder.claim(
        f"Redundancy stays above synergy, for all pairs on average (convolution {layer + 1}, "
        f"{key}).",
        "; ".join(
            f"{kernel.label}: {'above 0 in every network' if sign else 'not above 0 in all'}"
            for kernel, sign in zip(KERNELS, signs, strict=True)
        )
        + ".",
        "yes" if all(signs) else "partly" if any(signs) else "no",
        f"{batch_count(swept)} batches, {_trainings(grouped)}",
    )


def width(folder: Folder, where: str, chosen: dict[str, np.ndarray], tested: int) -> None:
    """How many maps are enough, and what the objective's order is worth.

    Args:
        folder: for the findings.
        where: layer, network and source, which are not always the paper's.
        chosen: see `renyi_width.widths`.
        tested: images.
    """
    whole = 100 * float(chosen["accuracy"])
    maps = len(chosen[f"{KERNELS[0].name} objective"])
    parts, told = [], []
    looks = {kernel.name: f"{kernel.label}, 128 samples" for kernel in KERNELS}
    for name, label in {**looks, "many": f"the median distance, {MANY} samples, alpha 2"}.items():
        enough, kept = int(chosen[f"{name} width"]), float(chosen[f"{name} kept"])
        if enough < 0:
            parts.append(f"{label}: no conclusion, the maps together are soon at log2 n")
            continue
        lost = f", accuracy {100 * kept:.1f} % with these alone" if np.isfinite(kept) else ""
        parts.append(f"{label}: {enough}{lost}")
        told.append((enough, kept))
    short = [enough < 0.3 * maps and 100 * kept < whole - 1 for enough, kept in told]
    verdict: Agreement = "not tested"
    if told:
        verdict = "yes" if all(short) else "partly" if any(short) else "no"
    folder.claim(
        "CMI-permutation finds few maps enough (the paper: 5 of 128 of LeNet-5 on MNIST, 21 of "
        "512 of CONV5-3 of VGG-16 on CIFAR-10), and is likely to find too few (here: "
        f"{where}).",
        f"Of {maps} maps: {'; '.join(parts)}. The whole network: {whole:.1f} %.",
        verdict,
        f"one training, 100 permutations, level 0.05; {tested} test images",
    )
    near = int(np.argmin(np.abs(chosen["shares"] - LINE)))
    share = float(chosen["shares"][near])
    losses = {
        str(name): whole - 100 * float(np.nanmean(values[near]))
        for name, values in zip(chosen["methods"], chosen["pruned"], strict=True)
    }
    small = [losses[f"IB, {kernel.label}"] < 1 for kernel in KERNELS]
    others = ", ".join(f"{name} {value:+.1f}" for name, value in losses.items())
    folder.claim(
        "More than half of the maps, those with a high objective I(X;T) - 2 I(T;Y), can be "
        f"removed with negligible loss, as by APoZ (the paper: CONV5-3 of VGG-16 on CIFAR-10; "
        f"here: {where}).",
        f"Accuracy lost in points when {share:.0%} of {maps} maps are removed, without "
        f"retraining: {others}.",
        agreement(small),
        f"one training, {tested} test images; random: mean of {chosen['pruned'].shape[2]} orders",
    )


def _trend(counts: list[int], values: np.ndarray) -> float:
    """Rank correlation of values with the number of filters; 0 where there is none."""
    if len(counts) < 2 or not np.ptp(values):
        return 0.0
    from scipy.stats import spearmanr

    rank: Any = spearmanr(counts, values)
    return float(rank.statistic)


def _row(values: Any, digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _trainings(grouped: dict[int, list[Any]]) -> str:
    count = max(len(several) for several in grouped.values())
    return f"{count} training{'s' if count > 1 else ''} of each network"
