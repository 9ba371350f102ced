"""What the paper says of diffusion spectra, and what was found."""

from __future__ import annotations

import numpy as np

from oip.studies.diffusion_blobs import KINDS as BLOBS
from oip.studies.diffusion_blobs import SHOWN, Blobs
from oip.studies.diffusion_measures import SCALES
from oip.studies.diffusion_networks import correlations
from oip.studies.diffusion_toy import BRANCHES, KINDS, SAMPLES, Toys
from oip.studies.frame import Agreement, Folder
from oip.studies.verdicts import agreement

Found = dict[str, np.ndarray]
_NEAR = 0.05
"""Share of a whole that counts as nothing."""


def toys(folder: Folder, found: Found, one: Toys) -> None:
    """Toy data: entropy over dimension and the identity's weight, information over corruption."""
    runs = f"{one.runs} runs"
    rises = [rising(found["identity"][:, row].mean(axis=0)) for row in range(len(one.sizes))]
    ends = found["identity"][:, :, [0, -1]].mean(axis=0)
    folder.claim(
        "The entropy of a positive matrix rises as it nears the identity, where it is largest "
        "(fig. 3 A).",
        f"It rises at every step for {sum(rises)} of {len(rises)} sizes: "
        + ", ".join(
            f"n {size}: {low:.2f} to {high:.2f} bits"
            for size, (low, high) in zip(one.sizes, ends, strict=True)
        )
        + ".",
        agreement(rises),
        runs,
    )
    parts, outcomes = [], []
    for scale in SCALES:
        for kind in KINDS:
            mean = found[f"{kind} {scale.name}"].mean(axis=0)
            outcomes.append(rising(mean))
            parts.append(f"{scale.name} {kind}: {mean[0]:.2f} to {mean[-1]:.2f} bits"
                         f"{'' if outcomes[-1] else ', not at every step'}")  # fmt: skip
    classic = np.array([found[f"{kind} binned"].mean(axis=0) for kind in KINDS])
    flat = bool((classic >= (1 - 1e-3) * np.log2(SAMPLES)).all())
    folder.claim(
        "Diffusion entropy rises with the intrinsic dimension; classic entropy is at log n (fig. "
        "3 A).",
        f"From dimension {one.dimensions[0]} to {one.dimensions[-1]}: {'; '.join(parts)}. Classic: "
        f"{classic.min():.2f} to {classic.max():.2f} of {np.log2(SAMPLES):.2f} bits.",
        agreement([*outcomes, flat]),
        f"{runs} of {SAMPLES} points",
    )
    parts, outcomes = [], []
    for scale in SCALES:
        values = found[f"tree {scale.name}"].mean(axis=0)
        for row, branches in enumerate(BRANCHES):
            falls = rising(-values[row])
            gone = abs(values[row, -1]) < _NEAR * max(values[row, 0], 1e-12)
            outcomes.append(falls and gone)
            parts.append(f"{scale.name} {branches}: {values[row, 0]:.2f} to {values[row, -1]:.2f}")
    folder.claim(
        "Diffusion information falls as labels are corrupted, and is zero for random labels (fig. "
        "3 B).",
        f"Bits by number of branches, from clean labels to random ones: {'; '.join(parts)}.",
        agreement(outcomes),
        f"{runs}; zero is less than {_NEAR:.0%} of the clean value. By the published equation what "
        "few samples of a class lack is there for any labels; the authors' code takes it out",
    )
    values = found["tree binned"].mean(axis=0)
    kept = values[:, -1] / np.maximum(values[:, 0], 1e-12)
    folder.claim(
        "Classic information does not follow the corruption of labels (fig. 3 B).",
        "With random labels it has "
        + ", ".join(
            f"{share:.0%} ({branches} branches)"
            for share, branches in zip(kept, BRANCHES, strict=True)
        )
        + " of what it has with clean ones.",
        agreement([bool(share > 0.9) for share in kept]),
        f"{runs}; ten bins of equal shares in each of 20 dimensions",
    )


def over_blobs(folder: Folder, found: Found, one: Blobs) -> None:
    """Blobs: estimators over dimension, and their time."""
    names = [str(name) for name in found["methods"]]
    mean = found["corruption"].mean(axis=0)[-1]
    chance = mean[:, -1]
    usable = chance < 0.2 * mean[:, 0]
    blind = [name for name, able in zip(names, usable, strict=True) if not able]
    for kind, where in BLOBS.items():
        values = found[f"{kind} dimension"].mean(axis=0)
        truth = found[f"{kind} dimension truth"].mean(axis=0)
        told = "; ".join(
            f"{name} {row[0]:.2f} to {row[-1]:.2f}" for name, row in zip(names, values, strict=True)
        )
        kept = np.where(usable, values[:, -1] / np.maximum(values[:, 0], 1e-12), -np.inf)
        others = kept[len(SCALES) :].max()
        folder.claim(
            "Diffusion information decays more slowly with the dimension of the data than classic "
            f"information, neighbours and MINE (fig. 4) ({where}).",
            f"Bits from {one.dimensions[0]} to {one.dimensions[-1]} dimensions: {told}; truth "
            f"{truth[0]:.2f} to {truth[-1]:.2f}. Left out, since random labels in {SHOWN[-1]} "
            "dimensions have a fifth or more of what clean ones have, a value that stays for its "
            f"ceiling: {', '.join(blind) or 'none'}.",
            agreement([bool(one_ > others) for one_ in kept[: len(SCALES)]]),
            f"{one.runs} runs of {one.samples} samples; compared by the share of the first value "
            "that is left, as the scale of diffusion information is not Shannon's",
        )
    seconds = found["seconds"]
    grows = seconds[:, -1] / seconds[:, 0]
    best = [bool(value <= grows[len(SCALES) :].min()) for value in grows[: len(SCALES)]]
    slow = [bool(value > seconds[len(SCALES) :, 0].min()) for value in seconds[: len(SCALES), 0]]
    folder.claim(
        "The run time of diffusion information grows least with the dimension; at few dimensions "
        "it is not the quickest (fig. 5).",
        f"Seconds from {one.dimensions[0]} to {one.dimensions[-1]} dimensions: "
        + "; ".join(
            f"{name} {row[0]:.3f} to {row[-1]:.3f} (times {grow:.1f})"
            for name, row, grow in zip(names, seconds, grows, strict=True)
        )
        + ".",
        agreement([*best, *slow]),
        "shortest of some runs on a machine that may do other things; this project's own code",
    )


def trainings(folder: Folder, where: str, found: dict[str, list[Found]]) -> None:
    """Entropy and information over training, by how it is trained."""
    seeds = f"{len(next(iter(found.values())))} seeds"
    heart = np.mean([float(one["fitted"]) for one in found["random labels"]])
    learned = f"{heart:.0%} of the random labels were learned by heart"

    def every(quantity: str) -> tuple[str, dict[str, list[bool | None]]]:
        parts, outcomes = [], {}
        for scale in SCALES:
            told = []
            for method, several in found.items():
                rows = [one[f"{scale.name} {quantity}"] for one in several]
                change = np.array([row[-1] - row[0] for row in rows])
                outcomes.setdefault(method, []).append(grown(change))
                start = np.mean([row[0] for row in rows])
                told.append(f"{method} {start:.2f} {change.mean():+.2f} +- {change.std():.2f}")
            parts.append(f"{scale.name}: {', '.join(told)}")
        return "; ".join(parts), outcomes

    told, outcomes = every("entropy")
    folder.claim(
        f"S(Z) rises in training, supervised, by SimCLR, and on random labels ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(value for values in outcomes.values() for value in values),
        f"{seeds}; a change counts if it is more than two deviations over seeds",
    )
    told, outcomes = every("label")
    folder.claim(
        f"I(Z;Y) rises in proper training and not on random labels ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(
            [
                value
                for method, values in outcomes.items()
                for value in (
                    [one is not True for one in values] if method == "random labels" else values
                )
            ]
        ),
        f"{seeds}; a change counts if it is more than two deviations over seeds; {learned}",
    )
    told, outcomes = every("input")
    folder.claim(
        f"I(Z;X) rises, also on random labels (MNIST; on other data it peaks and falls) ({where}).",
        f"Bits at the start, and the change: {told}. {_peaks(found)}",
        agreement(value for values in outcomes.values() for value in values),
        f"{seeds}; the input is ten spectral clusters",
    )


def _peaks(found: dict[str, list[Found]]) -> str:
    """Where the supervised curve of I(Z;X) has its largest value."""
    told = []
    for scale in SCALES:
        longest = max(len(one["steps"]) for one in found["supervised"])
        rows = [
            one[f"{scale.name} input"]
            for one in found["supervised"]
            if len(one["steps"]) == longest
        ]
        mean = np.mean(rows, axis=0)
        top = int(np.argmax(mean))
        step = int(found["supervised"][0]["steps"][top])
        told.append(
            f"{scale.name} at iteration {step}, {mean[top] - mean[-1]:.2f} bits above the end"
        )
    return f"Supervised it is largest ({'; '.join(told)})."


def starts(folder: Folder, where: str, found: dict[float, list[Found]]) -> None:
    """Entropy at the start, and what it has to do with convergence."""
    deviations = list(found)
    several = f"{len(next(iter(found.values())))} seeds, {len(deviations)} deviations"
    parts, outcomes, first = [], [], {}
    for scale in SCALES:
        mean = np.array(
            [np.mean([one[f"{scale.name} entropy"][0] for one in rows]) for rows in found.values()]
        )
        first[scale.name] = mean
        outcomes.append(rising(mean))
        parts.append(f"{scale.name}: {', '.join(f'{value:.2f}' for value in mean)}")
    folder.claim(
        f"The entropy at the start rises with the deviation of the first kernels ({where}).",
        f"Bits for deviations {', '.join(f'{value:g}' for value in deviations)}: "
        f"{'; '.join(parts)}.",
        agreement(outcomes),
        f"{several}; the kernel that has no units does not see the scale",
    )
    early = np.array([np.mean([area(one) for one in rows]) for rows in found.values()])
    end = np.array([np.mean([one["accuracy"][-1] for one in rows]) for rows in found.values()])
    entropy = first[SCALES[0].name]
    ranks = [_spearman(-entropy, values) for values in (early, end)]
    best = int(np.argmax(early))
    folder.claim(
        f"Networks that begin at a low entropy learn faster and become better ({where}).",
        "Mean accuracy over the training, and at the end, in %: "
        + "; ".join(
            f"deviation {deviation:g} ({low:.2f} bits) {100 * mean:.1f}, {100 * last:.1f}"
            for deviation, low, mean, last in zip(deviations, entropy, early, end, strict=True)
        )
        + f". Rank correlation of low entropy with speed {ranks[0]:+.2f}, with the end "
        f"{ranks[1]:+.2f}; fastest with {deviations[best]:g}.",
        "yes" if min(ranks) > 0.8 else "partly" if max(ranks) > 0.3 else "no",
        f"{several}, one layer's width; few points for a rank correlation",
    )


def area(one: Found) -> float:
    """Mean accuracy over a training, up to its last record."""
    steps, values = one["steps"].astype(float), one["accuracy"]
    widths = np.diff(steps)
    return float((widths * (values[1:] + values[:-1]) / 2).sum() / max(widths.sum(), 1.0))


def networks(folder: Folder, found: dict[str, Found], told: str, seed: int) -> None:
    """Correlation with accuracy over networks."""
    scores = np.array([float(one["accuracy"]) for one in found.values()])
    known = {
        (scale.name, quantity): correlations(
            np.array([float(one[f"{scale.name} {quantity}"]) for one in found.values()]),
            scores,
            seed,
        )
        for scale in SCALES
        for quantity in ("label", "input", "entropy")
    }
    label = [known[scale.name, "label"] for scale in SCALES]
    strong = [bool(one["spearman"] > 0.5 and one["spearman p"] < 0.001) for one in label]
    verdict: Agreement = "yes" if all(strong) else "partly" if any(strong) else "no"
    folder.claim(
        "I(Z;Y) is strongly correlated with accuracy over networks, p < 0.001 (fig. 10).",
        f"{_both(label)}.",
        verdict,
        f"{told}; intervals by bootstrap over networks",
    )
    for quantity, symbol in (("input", "I(Z;X)"), ("entropy", "S(Z)")):
        rows = [known[scale.name, quantity] for scale in SCALES]
        weaker = [
            bool(abs(one["spearman"]) < abs(best["spearman"]))
            for one, best in zip(rows, label, strict=True)
        ]
        folder.claim(
            f"{symbol} is less strongly correlated with accuracy than I(Z;Y) (fig. 10).",
            "; ".join(
                f"{scale.name}: {_shown(one)}" for scale, one in zip(SCALES, rows, strict=True)
            )
            + ".",
            agreement(weaker),
            f"{told}; intervals by bootstrap over networks",
        )


def rising(values: np.ndarray) -> bool:
    """Whether values rise at every step, but for 1 % of their span."""
    return bool((np.diff(values) > -0.01 * max(np.ptp(values), 1e-12)).all() and np.ptp(values) > 0)


def grown(change: np.ndarray) -> bool | None:
    """Whether a change over seeds is above 0; None where it is within two deviations of it."""
    spread = 2 * float(change.std(ddof=1)) if len(change) > 1 else 0.0
    if abs(change.mean()) <= spread:
        return None
    return bool(change.mean() > 0)


def _both(rows: list[dict[str, float]]) -> str:
    """Correlations of every scale."""
    parts = zip(SCALES, rows, strict=True)
    return "; ".join(f"{scale.name}: {_shown(one)}" for scale, one in parts)


def _shown(known: dict[str, float]) -> str:
    """Both correlations with what makes them sure."""
    return (
        f"r {known['pearson']:+.2f} (p {known['pearson p']:.2g}), rank {known['spearman']:+.2f} "
        f"({known['low']:+.2f} to {known['high']:+.2f}, p {known['spearman p']:.2g})"
    )


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from mi.agreement import spearman

    return float(spearman(first, second))
