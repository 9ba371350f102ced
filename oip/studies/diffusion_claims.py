"""What the paper says of diffusion spectra in trained networks, and what was found."""

from __future__ import annotations

import numpy as np

from oip.studies.diffusion_measures import SCALES
from oip.studies.diffusion_networks import correlations
from oip.studies.diffusion_toy_claims import rising
from oip.studies.frame import Agreement, Folder
from oip.studies.verdicts import agreement

Found = dict[str, np.ndarray]
_FALL = 0.05
"""Share of a peak by which a curve must end below it."""
_PEAKING = ("cifar", "stl")
"""In the names of the data whose I(Z;X) peaks and falls in the paper; that of MNIST rises."""


def trainings(folder: Folder, source: str, where: str, found: dict[str, list[Found]]) -> None:
    """Entropy and information over training, by how it is trained.

    Args:
        folder: for the findings.
        source: of the images, on which what the paper says depends.
        where: network and source, as they are shown.
        found: trainings by method.
    """
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
    random = outcomes.pop("random labels")
    paper, rows, extra = _of_input(source, found, outcomes)
    folder.claim(
        f"{paper} ({where}).",
        f"Bits at the start, and the change: {told}. {_peaks(found)}",
        "not tested" if rows is None else agreement(rows),
        f"{seeds}; the input is ten spectral clusters{extra}",
    )
    folder.claim(
        f"I(Z;X) rises on random labels, too ({where}).",
        f"Bits at the start, and the change: {told}.",
        agreement(random),
        f"{seeds}; the input is ten spectral clusters; {learned}",
    )


def _of_input(
    source: str, found: dict[str, list[Found]], changes: dict[str, list[bool | None]]
) -> tuple[str, list[bool | None] | None, str]:
    """What the paper says of I(Z;X) of these data in proper training, outcomes, and a remark.

    Args:
        source: of the images.
        found: trainings by method.
        changes: whether I(Z;X) ends above its start, by method that is no random labels.
    """
    name = source.lower()
    if name.startswith("mnist"):
        return "I(Z;X) rises on MNIST", [one for rows in changes.values() for one in rows], ""
    if any(word in name for word in _PEAKING):
        rows = [
            peaked(_complete(found[method], f"{scale.name} input"))
            for method in changes
            for scale in SCALES
        ]
        rule = f"; a peak is one from which every curve falls by more than {_FALL:.0%} to the end"
        return "I(Z;X) soon peaks and then falls on CIFAR-10 and STL-10", rows, rule
    return (
        "I(Z;X) rises on MNIST, and soon peaks and then falls on CIFAR-10 and STL-10",
        None,
        "; the paper says nothing of these data",
    )


def peaked(rows: np.ndarray) -> bool | None:
    """Whether curves (seeds, t) rise to a peak and fall from it; None where seeds differ."""
    mean = rows.mean(axis=0)
    top = int(np.argmax(mean))
    fall = rows[:, top] - rows[:, -1]
    if top in (0, len(mean) - 1) or fall.mean() <= _FALL * abs(mean[top]):
        return False
    up, down = grown(rows[:, top] - rows[:, 0]), grown(fall)
    return True if up and down else None if None in (up, down) else False


def _complete(several: list[Found], name: str) -> np.ndarray:
    """(seeds, t): a quantity of the trainings of which every step was measured."""
    longest = max(len(one["steps"]) for one in several)
    return np.array([one[name] for one in several if len(one["steps"]) == longest])


def _peaks(found: dict[str, list[Found]]) -> str:
    """Where the supervised curve of I(Z;X) has its largest value."""
    told = []
    for scale in SCALES:
        mean = _complete(found["supervised"], f"{scale.name} input").mean(axis=0)
        top = int(np.argmax(mean))
        longest = max((one["steps"] for one in found["supervised"]), key=len)
        step = int(longest[top])
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
        f"The entropy at the start rises with the deviation that kernels begin with ({where}).",
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
