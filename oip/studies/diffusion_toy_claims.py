"""What the paper says of diffusion spectra of toy data and blobs, and what was found."""

from __future__ import annotations

import numpy as np

from oip.studies.diffusion_blobs import KINDS as BLOBS
from oip.studies.diffusion_blobs import SHOWN, Blobs
from oip.studies.diffusion_measures import SCALES
from oip.studies.diffusion_toy import BRANCHES, KINDS, SAMPLES, Toys
from oip.studies.frame import Folder
from oip.studies.verdicts import agreement

Found = dict[str, np.ndarray]
_NEAR = 0.05
"""Share of a whole that counts as nothing."""
_GONE = 0.1
"""Share of the clean value under which information of random labels is near zero."""


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
    _over_corruption(folder, names, found["corruption"].mean(axis=0), one)
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


def _over_corruption(folder: Folder, names: list[str], values: np.ndarray, one: Blobs) -> None:
    """Whether information (panels, methods, corruptions) goes to zero with corrupted labels."""
    clean = np.maximum(values[..., 0], 1e-12)
    near = np.abs(values[..., -1]) < _GONE * clean
    told = "; ".join(
        f"{name} "
        + ", ".join(
            f"{row[place, 0]:.2f} to {row[place, -1]:.2f} ({d} dimensions)"
            for place, d in enumerate(SHOWN)
        )
        for name, row in zip(names, values.swapaxes(0, 1), strict=True)
    )
    folder.claim(
        "All methods gradually approach zero when the labels are corrupted (fig. 4, left panels).",
        f"Bits from clean labels to random ones: {told}.",
        agreement(bool(near[:, row].all()) for row in range(len(names))),
        f"{one.runs} runs of {one.samples} samples; near zero is less than {_GONE:.0%} of the "
        "clean value in both panels; the paper does not say what its blobs are",
    )


def rising(values: np.ndarray) -> bool:
    """Whether values rise at every step, but for 1 % of their span."""
    return bool((np.diff(values) > -0.01 * max(np.ptp(values), 1e-12)).all() and np.ptp(values) > 0)
