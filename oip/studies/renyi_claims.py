"""What the paper says of a network's layers over training, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oip.core import seeds
from oip.studies.frame import Agreement, Folder
from oip.studies.renyi_figures import Trainings, errors_of, other_filters, stages
from oip.studies.renyi_measures import KERNELS, Kernel

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
