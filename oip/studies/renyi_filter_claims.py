"""What the paper says of the number of filters and of single maps, and what was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from oip.studies.frame import Agreement, Folder
from oip.studies.renyi_claims import NEAR, batch_count
from oip.studies.renyi_figures import Trainings, by_filters
from oip.studies.renyi_measures import KERNELS, SHARES
from oip.studies.renyi_width import LINE, MANY
from oip.studies.verdicts import agreement

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
