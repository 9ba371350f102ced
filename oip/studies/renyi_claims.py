"""What the paper says of matrix Renyi information, and what was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.core import seeds
from oip.studies.frame import Agreement, Folder
from oip.studies.renyi_figures import Trainings, by_filters, stages
from oip.studies.renyi_measures import KERNELS, SHARES, Kernel
from oip.studies.renyi_width import LINE, MANY
from oip.studies.verdicts import agreement

_DRAWS = 1000
_LEVEL = 0.025
_NEAR = 0.02
"""Share of a ceiling within which a value is at it."""
_DROP = 0.05
"""Share of the largest value that counts as a compression."""
_ORDINAL = ("first", "second")


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
    for measure, paper in (
        ("input", "The forward inequality I(X;T1) >= I(X;T2) >= ... holds in most cases"),
        ("backward", "The backward inequality of the errors holds, with a few disruptions"),
    ):
        counted, parts = [], []
        for kernel in KERNELS:
            wrong, every = 0, 0
            where = []
            for plan, found in watched.items():
                for stage, record in stages(found):
                    values = found[f"{kernel.name} {measure}"][record]
                    bad, pairs = violations(values, measure == "input")
                    wrong, every = wrong + bad, every + pairs
                    if bad:
                        where.append(f"{plan.activation} {stage} {bad}")
            told = f" ({', '.join(where)})" if where else ""
            parts.append(f"{kernel.label}: {wrong} of {every}{told}")
            counted.append(wrong / every)
        folder.claim(
            f"{paper} ({key}).",
            f"Steps from layer to layer against it, at the start, after an epoch and at the end: "
            f"{'; '.join(parts)}.",
            _both([_graded(1 - share, 0.75, 0.5) for share in counted]),
            f"{_batches(watched)} batches of 128; a step counts if its bootstrap interval over "
            "batches leaves out 0; one training each",
        )


def planes(folder: Folder, key: str, watched: Trainings) -> None:
    """Whether curves turn back in the planes."""
    for names, paper, wants_drop in (
        (("input", "label"), "In the information plane both rise, without compression", False),
        (
            ("plane input", "plane label"),
            "In the modified plane (non-redundant information) there is compression, more with "
            "sigmoid than with ReLU",
            True,
        ),
    ):
        parts, verdicts = [], []
        for kernel in KERNELS:
            told = []
            sums: dict[str, float] = {}
            for plan, found in watched.items():
                drops = _compressions(found, kernel, names)
                if not drops:
                    continue
                share = float(np.mean([real for real, _ in drops]))
                sums[plan.activation] = share
                size = float(np.mean([max(value, 0.0) for _, value in drops]))
                told.append(f"{plan.activation} {share:.0%} of curves, mean drop {size:.0%}")
            parts.append(f"{kernel.label}: {', '.join(told)}")
            verdicts.append(sums)
        folder.claim(
            f"{paper} ({key}).",
            "Curves (a layer's information about input or label over training) that end below "
            f"their largest value by more than {_DROP:.0%} of it and two standard errors: "
            f"{'; '.join(parts)}.",
            _both([_turned(sums, wants_drop) for sums in verdicts]),
            f"{_batches(watched)} batches, one training each",
        )


def compression(values: np.ndarray) -> tuple[bool, float]:
    """Whether a curve ends below its largest value, and by what share of it.

    Args:
        values: (t, batches).

    Returns:
        True where the fall is more than 5 % and two standard errors over batches; the share.
    """
    mean = values.mean(axis=1)
    top = int(np.argmax(mean))
    fall = values[top] - values[-1]
    share = float(fall.mean() / max(mean[top], 1e-12))
    error = float(fall.std(ddof=1) / np.sqrt(len(fall))) if len(fall) > 1 else 0.0
    return bool(share > _DROP and fall.mean() > 2 * error), share


def amounts(folder: Folder, key: str, swept: Trainings, layer: int) -> None:
    """Whether information grows with filters and is soon at its ceiling; accuracy."""
    grouped = by_filters(swept, layer)
    counts = list(grouped)
    parts, at_ceiling = [], []
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
        full = values >= (1 - _NEAR) * most
        first = next((count for count, hit in zip(counts, full, strict=True) if hit), None)
        parts.append(
            f"{kernel.label}: {_row(values)} of {most.mean():.2f} bits for {_row(counts, 0)} "
            f"filters, at the ceiling from {first if first else 'none of them'} on; untrained "
            f"{_row(starts)}"
        )
        at_ceiling.append(first is not None and bool(np.all(np.diff(values) > -0.05 * most[1:])))
    folder.claim(
        f"Information about the input grows with the filters of the {_ORDINAL[layer]} convolution "
        f"and is at its maximum with few ({key}).",
        f"{'; '.join(parts)}. The product of many Gram matrices is at the ceiling by construction: "
        "untrained networks are, too.",
        "yes" if all(at_ceiling) else "partly" if any(at_ceiling) else "no",
        f"{_batches(swept)} batches, {_trainings(grouped)}",
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
        f"{_batches(swept)} batches, {_trainings(grouped)}; a rank correlation of {len(counts)} "
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
        f"{_batches(swept)} batches, {_trainings(grouped)}",
    )


def width(folder: Folder, key: str, chosen: dict[str, np.ndarray], tested: int) -> None:
    """How many maps are enough, and what the objective's order is worth."""
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
        f"CMI-permutation finds few maps enough (5 of 128), and is likely to find too few ({key}).",
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
        f"More than half of the maps, those with a high objective I(X;T) - 2 I(T;Y), can be "
        f"removed with negligible loss, as by APoZ ({key}).",
        f"Accuracy lost in points when {share:.0%} of {maps} maps are removed, without "
        f"retraining: {others}.",
        agreement(small),
        f"one training, {tested} test images; random: mean of {chosen['pruned'].shape[2]} orders",
    )


def _compressions(
    found: dict[str, np.ndarray], kernel: Kernel, names: tuple[str, str]
) -> list[tuple[bool, float]]:
    curves = []
    for name in names:
        values = found[f"{kernel.name} {name}"]
        curves += [
            compression(values[:, :, place])
            for place in range(values.shape[2])
            if np.isfinite(values[:, :, place]).all()
        ]
    return curves


def _turned(shares_: dict[str, float], wants_drop: bool) -> Agreement:
    if not shares_:
        return "not tested"
    if not wants_drop:
        return _graded(1 - float(np.mean(list(shares_.values()))), 0.75, 0.4)
    more = shares_.get("sigmoid", 0.0) > shares_.get("relu", 0.0)
    if max(shares_.values()) == 0:
        return "no"
    return "yes" if more and np.mean(list(shares_.values())) >= 0.5 else "partly"


def _both(verdicts: list[Agreement]) -> Agreement:
    """That of all kernels where they agree, else partly."""
    return verdicts[0] if len(set(verdicts)) == 1 else "partly"


def _graded(share: float, yes: float, partly: float) -> Agreement:
    return "yes" if share >= yes else "partly" if share >= partly else "no"


def _trend(counts: list[int], values: np.ndarray) -> float:
    """Rank correlation of values with the number of filters; 0 where there is none."""
    if len(counts) < 2 or not np.ptp(values):
        return 0.0
    from scipy.stats import spearmanr

    rank: Any = spearmanr(counts, values)
    return float(rank.statistic)


def _row(values: Any, digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _batches(trainings: Trainings) -> int:
    return int(next(iter(trainings.values()))[f"{KERNELS[0].name} input"].shape[1])


def _trainings(grouped: dict[int, list[Any]]) -> str:
    count = max(len(several) for several in grouped.values())
    return f"{count} training{'s' if count > 1 else ''} of each network"
